"""Signed Certificate Timestamps as certificates carry them: the list, one SCT, the octets it signs (RFC 6962). PURE.

Octets in, values out; nothing here decides whether an SCT is worth anything (ct/compliance.py does). Only version 1 is
understood. Both kinds of log are served: a static-ct log writes a leaf index into the SCT's extensions, and those
octets are signed like the rest, so they are never assumed to be empty.
"""

import enum
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from stubresolver.ct.der import MalformedDer, content, extensions

SCT_LIST_OID = bytes.fromhex("2b06010401d679020402")  # 1.3.6.1.4.1.11129.2.4.2, RFC 6962 s3.3
LogKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

_SHA256, _RSA, _ECDSA = 4, 1, 3  # HashAlgorithm and SignatureAlgorithm, RFC 5246 s7.4.1.4.1
_CERTIFICATE_TIMESTAMP = 0  # SignatureType, RFC 6962 s3.2
_PRECERT_ENTRY = 1  # LogEntryType, RFC 6962 s3.1
_LEAF_INDEX = 0  # ExtensionType, c2sp.org/static-ct-api


class SctStatus(enum.StrEnum):
    """What became of one embedded SCT; only VALID ones are counted."""

    VALID = "VALID"
    INVALID_SIGNATURE = "INVALID_SIGNATURE"  # not signed by that log over this certificate and issuer
    UNKNOWN_LOG = "UNKNOWN_LOG"  # the pinned list does not have it
    DENIED_LOG = "DENIED_LOG"  # a log that must never count: its private key is public, or it is a placeholder
    LOG_NOT_ACCEPTED = "LOG_NOT_ACCEPTED"  # the log is pending or rejected
    OUTSIDE_INTERVAL = "OUTSIDE_INTERVAL"  # the certificate ends outside the log's temporal interval
    IN_FUTURE = "IN_FUTURE"  # signed after the time of judgement
    AFTER_RETIREMENT = "AFTER_RETIREMENT"  # signed after its log was retired
    UNSUPPORTED_VERSION = "UNSUPPORTED_VERSION"  # not v1
    MALFORMED = "MALFORMED"  # no SCT in these octets


class MalformedSctList(ValueError):
    """A certificate whose SCT list cannot be read: the whole certificate is refused."""


class MalformedSct(ValueError):
    """Octets that are no SCT."""


class UnsupportedSctVersion(MalformedSct):
    """An SCT of a version other than v1."""


@dataclass(frozen=True, slots=True)
class SignedCertificateTimestamp:
    """RFC 6962 s3.2, version 1."""

    log_id: bytes  # LogID: SHA-256 of the log's public key
    timestamp: int  # milliseconds since 1970-01-01, leap seconds ignored
    extensions: bytes  # CtExtensions, signed
    hash_algorithm: int
    signature_algorithm: int
    signature: bytes


def embedded_list(certificate: bytes) -> list[bytes] | None:
    """The serialized SCTs embedded in a certificate in DER, None where it has no such extension; `MalformedSctList`.

    opaque SerializedSCT<1..2^16-1>;
    struct { SerializedSCT sct_list <1..2^16-1>; } SignedCertificateTimestampList;            RFC 6962 s3.3
    """
    try:
        value = extensions(certificate).get(SCT_LIST_OID)
        if value is None:
            return None
        octets = content(value, 0x04)  # "... as an ASN.1 OCTET STRING" inside extnValue
    except MalformedDer as error:
        raise MalformedSctList(str(error)) from None
    if len(octets) < 2 or int.from_bytes(octets[:2], "big") != len(octets) - 2:
        raise MalformedSctList(f"a list of {len(octets)} octets whose length says otherwise")
    scts = []
    position = 2
    while position < len(octets):
        start = position + 2
        position = start + int.from_bytes(octets[position:start], "big")
        if position > len(octets) or position <= start:
            raise MalformedSctList("an SCT that is empty or longer than the list")
        scts.append(octets[start:position])
    if not scts:
        raise MalformedSctList("an empty list")
    return scts


def parse_sct(octets: bytes) -> SignedCertificateTimestamp:
    """Read one SerializedSCT; raises `UnsupportedSctVersion` or `MalformedSct`.

    struct {
        Version sct_version;           1 octet, v1(0)
        LogID id;                      32 octets
        uint64 timestamp;
        CtExtensions extensions;       opaque<0..2^16-1>
        digitally-signed struct {..};  hash, signature algorithm, opaque<0..2^16-1>
    } SignedCertificateTimestamp;                                                             RFC 6962 s3.2
    """
    if octets[:1] != b"\0":
        raise UnsupportedSctVersion(f"version {octets[:1].hex() or 'missing'}, expected 00")
    if len(octets) < 43:
        raise MalformedSct(f"{len(octets)} octets, expected at least 47")
    signed_extensions, rest = _opaque(octets[41:], "extensions field")
    if len(rest) < 2:
        raise MalformedSct("no signature algorithm")
    signature, trailing = _opaque(rest[2:], "signature")
    if trailing:
        raise MalformedSct(f"{len(trailing)} octets after the signature")
    return SignedCertificateTimestamp(
        log_id=octets[1:33],
        timestamp=int.from_bytes(octets[33:41], "big"),
        extensions=signed_extensions,
        hash_algorithm=rest[0],
        signature_algorithm=rest[1],
        signature=signature,
    )


def signed_octets(sct: SignedCertificateTimestamp, issuer_key_hash: bytes, tbs: bytes) -> bytes:
    """What the log signed for a precertificate (RFC 6962 s3.2).

    `issuer_key_hash` is SHA-256 of the issuer's SubjectPublicKeyInfo in DER, `tbs` the TBSCertificate without the
    SCT list extension.
    """
    return b"".join(
        (
            b"\0",  # Version sct_version = v1
            bytes((_CERTIFICATE_TIMESTAMP,)),
            sct.timestamp.to_bytes(8, "big"),
            _PRECERT_ENTRY.to_bytes(2, "big"),
            issuer_key_hash,  # opaque issuer_key_hash[32]
            len(tbs).to_bytes(3, "big"),  # opaque TBSCertificate<1..2^24-1>
            tbs,
            len(sct.extensions).to_bytes(2, "big"),  # CtExtensions opaque<0..2^16-1>
            sct.extensions,
        )
    )


def merkle_leaf(sct: SignedCertificateTimestamp, issuer_key_hash: bytes, tbs: bytes) -> bytes:
    """The MerkleTreeLeaf that the log promised to put into its tree (RFC 6962 s3.4).

    struct {
        Version version;               v1(0)
        MerkleLeafType leaf_type;      timestamped_entry(0)
        TimestampedEntry { uint64 timestamp; LogEntryType entry_type; PreCert; CtExtensions extensions; }
    } MerkleTreeLeaf;

    Octet for octet what the log signed: there stands certificate_timestamp(0) where here timestamped_entry(0) does.
    """
    return signed_octets(sct, issuer_key_hash, tbs)


def leaf_index(sct: SignedCertificateTimestamp) -> int | None:
    """Where a static-ct log says that the entry is, None where the SCT does not say it in the one right way.

    enum { leaf_index(0), (255) } ExtensionType;
    struct { ExtensionType extension_type; opaque extension_data<0..2^16-1>; } Extension;
    Extension CtExtensions<0..2^16-1>;  uint8 uint40[5];  uint40 LeafIndex;        c2sp.org/static-ct-api
    """
    found = []
    rest = sct.extensions
    while rest:
        kind = rest[0]
        try:
            value, rest = _opaque(rest[1:], "extension")
        except MalformedSct:
            return None
        if kind == _LEAF_INDEX:
            found.append(value)
    # "Duplicate extensions with the same ExtensionType MUST NOT be included"; "a big-endian unsigned 40-bit integer"
    if len(found) != 1 or len(found[0]) != 5:
        return None
    return int.from_bytes(found[0], "big")


def key_octets(key: LogKey) -> bytes:
    """A log's key in DER: what the log's id is the SHA-256 of (RFC 6962 s3.2)."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def is_signed_by(sct: SignedCertificateTimestamp, key: LogKey, issuer_key_hash: bytes, tbs: bytes) -> bool:
    """True if `key` signed this SCT over this precertificate."""
    if len(tbs) >= 1 << 24:  # opaque TBSCertificate<1..2^24-1>: no log can have signed it
        return False
    octets = signed_octets(sct, issuer_key_hash, tbs)
    return is_signature(key, sct.hash_algorithm, sct.signature_algorithm, sct.signature, octets)


def is_signature(key: LogKey, hash_algorithm: int, signature_algorithm: int, signature: bytes, octets: bytes) -> bool:
    """True if this is a log's signature (digitally-signed, RFC 5246 s4.7) over `octets`.

    RFC 6962 s2.1.4: a log signs with "either elliptic curve signatures using the NIST P-256 curve" or RSA, with
    SHA-256. The algorithms that the signature names must be the key's own.
    """
    algorithms = (hash_algorithm, signature_algorithm)
    try:
        if isinstance(key, ec.EllipticCurvePublicKey) and algorithms == (_SHA256, _ECDSA):
            key.verify(signature, octets, ec.ECDSA(hashes.SHA256()))
        elif isinstance(key, rsa.RSAPublicKey) and algorithms == (_SHA256, _RSA):
            key.verify(signature, octets, padding.PKCS1v15(), hashes.SHA256())
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _opaque(data: bytes, what: str) -> tuple[bytes, bytes]:
    """Split a TLS opaque<0..2^16-1> from the front of `data`; raises `MalformedSct` where it does not fit."""
    end = 2 + int.from_bytes(data[:2], "big")
    if len(data) < 2 or end > len(data):
        raise MalformedSct(f"the {what} is cut short")
    return data[2:end], data[end:]
