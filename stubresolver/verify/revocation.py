"""Has the leaf been revoked? What the stapled OCSP response says, and what it means under the policy. PURE.

A staple proves good standing; its absence proves nothing, because whoever stole a key can leave it out. So a staple
that proves nothing (expired, about another certificate, badly signed) is taken as none at all: to refuse it would stop
no attacker and cut off whoever uses a server that is careless with its staples. A staple that is validly signed and
does not say "good" refuses under both settings that look at it.
"""

from collections.abc import Sequence
from datetime import datetime

from stubresolver.ct.der import MalformedDer, content, elements, extensions
from stubresolver.verify.certificate import Certificate, printable
from stubresolver.verify.ocsp import BadStaple, check_staple
from stubresolver.verify.policy import Revocation
from stubresolver.verify.presented import Presented
from stubresolver.verify.verdict import Finding, Outcome, Rule

_TLS_FEATURE_OID = bytes.fromhex("2b06010505070118")  # 1.3.6.1.5.5.7.1.24, RFC 7633 s6
_STATUS_REQUEST = b"\5"  # RFC 6066 s8: the TLS extension that asks for a staple; RFC 7633 s4.2.3.1


def judge_staple(
    presented: Presented, leaf: Certificate, path: Sequence[Certificate], check: Revocation, now: datetime
) -> Finding:
    """The finding on the staple; `path` is the verified path, leaf first, empty where there is none."""

    def found(outcome: Outcome, detail: str) -> Finding:
        return Finding(Rule.REVOCATION_STAPLE, outcome, leaf.subject, detail)

    if check is Revocation.OFF:
        return found(Outcome.NOTE, "not judged: the policy does not look at staples")
    if not path:
        return found(Outcome.NOTE, "not judged: no valid path")
    if presented.staple is None:
        problem = "no OCSP response was stapled"
    elif len(path) < 2:  # the leaf is an anchor: whoever has its key could write the response, too
        problem = "the stapled OCSP response proves nothing: the path has no issuer"
    else:
        try:
            status = check_staple(presented.staple, leaf, path[1], now)
        except BadStaple as error:
            problem = printable(f"the stapled OCSP response proves nothing: {error}", 300)
        else:
            return found(Outcome.PASS if status.good else Outcome.FAIL, status.detail)
    if check is Revocation.REQUIRE_STAPLE:
        return found(Outcome.FAIL, f"{problem}; the policy demands one that says good")
    if presented.tls is not None and _must_staple(leaf.der):
        return found(Outcome.FAIL, f"{problem}; the certificate demands one (must-staple, RFC 7633)")
    return found(Outcome.NOTE, problem)


def _must_staple(der: bytes) -> bool:
    """True if the certificate may only be shown with a staple; a mark that cannot be read is taken as that one.

    RFC 7633 s6: Features ::= SEQUENCE OF INTEGER
    """
    try:
        value = extensions(der).get(_TLS_FEATURE_OID)
        return value is not None and any(number == _STATUS_REQUEST for _, number, _ in elements(content(value, 0x30)))
    except MalformedDer:
        return True
