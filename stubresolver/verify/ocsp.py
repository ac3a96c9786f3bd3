"""One OCSP response (RFC 6960): is it about this certificate, from somebody who may say so, and of now? PURE.

Everything in it is hostile until its signature is verified, and the work is bounded before that: the octets, the
certificates that are looked at, one signature of the response and one of its signer.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, SignatureAlgorithmOID

from stubresolver.ct.der import content, elements, subject_public_key_info
from stubresolver.verify.certificate import Certificate, printable, read_certificate

MAXIMUM_OCTETS = 64 * 1024  # a response is 0.3 to 3 KiB; the length field of RFC 6066 s8 would allow 16 MiB
MAXIMUM_CERTIFICATES = 4  # in a response; responders send one, or the path of their own
TOLERANCE = timedelta(seconds=300)  # clocks differ; OpenSSL's `ocsp` program has the same default (-validity_period)
# CA/Browser Forum Baseline Requirements s4.9.10: "OCSP responses MUST have a validity interval less than or equal to
# ten days". So much is one believed that names no end of its own.
MAXIMUM_AGE = timedelta(days=10)

# RFC 6960 s4.3 wants these two in a CertID read; others are nobody's.
_ID_HASHES = {"sha1": hashlib.sha1, "sha256": hashlib.sha256}
# What responders sign with; no SHA-1 (CA/Browser Forum Baseline Requirements s7.1.3.2).
_RSA = {
    SignatureAlgorithmOID.RSA_WITH_SHA256: hashes.SHA256(),
    SignatureAlgorithmOID.RSA_WITH_SHA384: hashes.SHA384(),
    SignatureAlgorithmOID.RSA_WITH_SHA512: hashes.SHA512(),
}
_ECDSA = {
    SignatureAlgorithmOID.ECDSA_WITH_SHA256: hashes.SHA256(),
    SignatureAlgorithmOID.ECDSA_WITH_SHA384: hashes.SHA384(),
    SignatureAlgorithmOID.ECDSA_WITH_SHA512: hashes.SHA512(),
}


class BadStaple(ValueError):
    """A response that proves nothing about the certificate, and why."""


@dataclass(frozen=True, slots=True)
class Status:
    """What the CA says about the certificate."""

    good: bool
    detail: str  # "good, as of 2026-11-02 ...", "revoked on ... (key compromise)", "unknown to its issuer"


def check_staple(octets: bytes, leaf: Certificate, issuer: Certificate, now: datetime) -> Status:
    """What the response says about `leaf`, which `issuer` is verified to have signed; raises `BadStaple`.

    "Revoked" is believed at any time once it is signed: a revocation is for good (CA/Browser Forum Baseline
    Requirements s4.9.13 forbids to suspend a certificate).
    """
    if len(octets) > MAXIMUM_OCTETS:
        raise BadStaple(f"{len(octets)} octets, at most {MAXIMUM_OCTETS} are looked at")
    try:
        response = ocsp.load_der_ocsp_response(octets)
        _require_successful(response)
        _require_subject(response, leaf, issuer)
        _require_signature(response, issuer, now)
        if response.certificate_status is ocsp.OCSPCertStatus.REVOKED:
            return Status(good=False, detail=_revocation(response))
        _require_time(response, now)
        if response.certificate_status is ocsp.OCSPCertStatus.GOOD:
            return Status(good=True, detail=f"good, as of {_shown(response.this_update_utc)}")
    except BadStaple:
        raise
    except Exception as error:  # noqa: BLE001 - hostile octets: whatever the library raises makes it worthless
        raise BadStaple(f"cannot be read: {printable(str(error)) or type(error).__name__}") from None
    # RFC 6960 s2.2: "The "unknown" state indicates that the responder doesn't know about the certificate"
    return Status(good=False, detail="unknown to its issuer")


def _require_successful(response: ocsp.OCSPResponse) -> None:
    """RFC 6960 s4.2.1: an error response says nothing and is not signed."""
    if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        raise BadStaple(f"the responder answered {response.response_status.name.lower()}")
    # RFC 6960 s4.4: "Unrecognized extensions MUST be ignored (unless they have the critical flag set ...)"
    for extension in (*response.extensions, *response.single_extensions):
        if extension.critical:
            raise BadStaple(f"a critical extension {extension.oid.dotted_string}, which is not known here")


def _require_subject(response: ocsp.OCSPResponse, leaf: Certificate, issuer: Certificate) -> None:
    """RFC 6960 s3.2: "1. The certificate identified in a received response corresponds to the certificate" asked for.

    The library refuses a response with more than one certificate in it as soon as a field of the one is asked for.
    """
    digest = _ID_HASHES.get(response.hash_algorithm.name)
    if digest is None:
        raise BadStaple(f"it names the certificate by {response.hash_algorithm.name}, expected SHA-1 or SHA-256")
    name = leaf.parsed.issuer.public_bytes()
    wanted = (digest(name).digest(), digest(_public_key(issuer)).digest(), leaf.serial)
    if (response.issuer_name_hash, response.issuer_key_hash, response.serial_number) != wanted:
        raise BadStaple(f"it is about another certificate (serial {response.serial_number:x})")


def _require_signature(response: ocsp.OCSPResponse, issuer: Certificate, now: datetime) -> None:
    """RFC 6960 s3.2: "2. The signature on the response is valid; 3. The identity of the signer matches ..."."""
    signer = _signer(response, issuer, now)
    oid, key = response.signature_algorithm_oid, signer.parsed.public_key()
    try:
        if isinstance(key, rsa.RSAPublicKey) and oid in _RSA and key.key_size >= 2048:
            key.verify(response.signature, response.tbs_response_bytes, padding.PKCS1v15(), _RSA[oid])
            return
        if isinstance(key, ec.EllipticCurvePublicKey) and oid in _ECDSA:
            key.verify(response.signature, response.tbs_response_bytes, ec.ECDSA(_ECDSA[oid]))
            return
    except Exception:  # noqa: BLE001 - any fault of the signature is one
        raise BadStaple("its signature is not of the responder that it names") from None
    raise BadStaple(f"signed with {oid.dotted_string}, expected RSA or ECDSA with SHA-256, SHA-384 or SHA-512")


def _signer(response: ocsp.OCSPResponse, issuer: Certificate, now: datetime) -> Certificate:
    """The issuer itself, or a responder that the issuer authorized, as the responder id says; raises `BadStaple`."""
    if _is_named(response, issuer):
        return issuer
    sent = response.certificates  # parsed anew each time that the library is asked
    if len(sent) > MAXIMUM_CERTIFICATES:
        raise BadStaple(f"{len(sent)} certificates in it, at most {MAXIMUM_CERTIFICATES}")
    for parsed in sent:
        candidate = read_certificate(parsed.public_bytes(Encoding.DER))
        if _is_named(response, candidate):
            _require_authorized(candidate, issuer, now)
            return candidate
    raise BadStaple("its responder is neither the issuer nor a certificate in it")


def _require_authorized(responder: Certificate, issuer: Certificate, now: datetime) -> None:
    """A responder's certificate that the issuer itself gave for this purpose, in its time.

    RFC 6960 s4.2.2.2: "OCSP signing delegation SHALL be designated by the inclusion of id-kp-OCSPSigning in an extended
    key usage certificate extension ... This certificate MUST be issued directly by the CA that is identified in the
    request." Whether the responder's own certificate was revoked is not asked (s4.2.2.2.1 leaves it to the client).
    """
    try:
        responder.parsed.verify_directly_issued_by(issuer.parsed)
    except Exception:  # noqa: BLE001 - any fault means: not issued by it
        raise BadStaple(f"its responder {responder.subject} was not authorized by {issuer.subject}") from None
    if responder.parsed.signature_algorithm_oid not in {*_RSA, *_ECDSA}:
        raise BadStaple(f"the certificate of its responder {responder.subject} is signed in a way that is not accepted")
    usages = [each.value for each in responder.parsed.extensions if isinstance(each.value, x509.ExtendedKeyUsage)]
    if not any(ExtendedKeyUsageOID.OCSP_SIGNING in usage for usage in usages):
        raise BadStaple(f"its responder {responder.subject} may not sign OCSP responses")
    if not responder.not_before - TOLERANCE <= now <= responder.not_after + TOLERANCE:
        raise BadStaple(f"the certificate of its responder is of {_shown(responder.not_before)} to "
                        f"{_shown(responder.not_after)}")  # fmt: skip


def _is_named(response: ocsp.OCSPResponse, certificate: Certificate) -> bool:
    """True if the responder id is this certificate's: its subject, or SHA-1 over its public key (RFC 6960 s4.2.1)."""
    if response.responder_name is not None:
        return response.responder_name == certificate.parsed.subject
    return response.responder_key_hash == hashlib.sha1(_public_key(certificate)).digest()  # noqa: S324 - RFC 6960


def _require_time(response: ocsp.OCSPResponse, now: datetime) -> None:
    """Neither of the future nor expired, with `TOLERANCE`.

    RFC 6960 s3.2: "5. The time at which the status being indicated is known to be correct (thisUpdate) is sufficiently
    recent; 6. When available, the time at or before which newer information will be available ... (nextUpdate) is
    greater than the current time."
    """
    produced, this, following = response.produced_at_utc, response.this_update_utc, response.next_update_utc
    if max(produced, this) > now + TOLERANCE:
        raise BadStaple(f"it is of {_shown(max(produced, this))}, which is in the future")
    end = this + MAXIMUM_AGE if following is None else following
    if end < this:
        raise BadStaple(f"it ends on {_shown(end)}, before it begins")
    if end < now - TOLERANCE:
        raise BadStaple(f"it expired on {_shown(end)}")


def _revocation(response: ocsp.OCSPResponse) -> str:
    """When and why, as the CA says it; details that cannot be read take nothing from the fact."""
    try:
        moment, reason = response.revocation_time_utc, response.revocation_reason
    except Exception:  # noqa: BLE001 - whatever the library raises
        moment, reason = None, None
    when = _shown(moment) if moment is not None else "an unknown day"
    return f"revoked on {when} ({reason.value if reason is not None else 'no reason given'})"


def _public_key(certificate: Certificate) -> bytes:
    """The subjectPublicKey "excluding tag, length, and number of unused bits" (RFC 6960 s4.1.1, s4.2.1)."""
    fields = list(elements(content(subject_public_key_info(certificate.der), 0x30)))
    return fields[1][1][1:]


def _shown(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(" ", "seconds").replace("+00:00", "Z")
