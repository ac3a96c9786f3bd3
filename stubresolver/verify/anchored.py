"""Which of the certificates that a peer shows can lead to an anchor at all: a look before any search. PURE.

Why: the path verifier tries all ways from the leaf upwards and holds every name of the leaf against every name
constraint on each of them. Somebody who is no CA can show it nine CA certificates that he signed himself, with hundreds
of constraints, and a leaf of thousands of names: half a second of work for one refusal, in which nobody else is
answered. Looking downwards from the anchors, whose keys he does not have, his certificates are never reached. Nor by a
key that a CA has certified for a web site of his: nobody who says of himself that he is no CA is followed further.

It only ever leaves certificates out: what is left in is judged by the path verifier alone (RFC 5280 s6.1).
"""

from collections.abc import Sequence

from stubresolver.ct.der import MalformedDer, content, elements, extensions
from stubresolver.verify.certificate import Certificate

_BASIC_CONSTRAINTS = bytes.fromhex("551d13")  # 2.5.29.19, RFC 5280 s4.2.1.9
_TRUE = (0x01, b"\xff")  # X.690 s11.1: BOOLEAN in DER


def anchored(presented: Sequence[Certificate], anchors: Sequence[Certificate]) -> list[Certificate]:
    """Those of `presented` that are anchors, were signed by one, or by a CA among these; in their order.

    Each pair whose names fit (RFC 5280 s6.1.3(a)(4)) is looked at once at most: for ten certificates a hundred
    signatures, were they all signed by a CA.
    """
    reached: set[int] = set()
    issuers = list(anchors)
    while issuers:
        issuer = issuers.pop()
        for number, certificate in enumerate(presented):
            if number not in reached and (certificate.parsed == issuer.parsed or _signed(certificate, issuer)):
                reached.add(number)
                if _is_ca(certificate):
                    issuers.append(certificate)
    return [certificate for number, certificate in enumerate(presented) if number in reached]


def _signed(certificate: Certificate, issuer: Certificate) -> bool:
    try:
        certificate.parsed.verify_directly_issued_by(issuer.parsed)
    except Exception:  # noqa: BLE001 - hostile octets: any fault means that it was not
        return False
    return True


def _is_ca(certificate: Certificate) -> bool:
    """Whether it may have signed another one of a path: RFC 5280 s6.1.4(k) demands cA of every one but the leaf.

    BasicConstraints ::= SEQUENCE { cA BOOLEAN DEFAULT FALSE, pathLenConstraint INTEGER OPTIONAL }
    """
    try:
        members = elements(content(extensions(certificate.der).get(_BASIC_CONSTRAINTS, b"\x30\x00"), 0x30))
        return next(((tag, value) == _TRUE for tag, value, _ in members), False)
    except MalformedDer:
        return False
