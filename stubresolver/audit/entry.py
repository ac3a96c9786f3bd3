"""From a certificate to what its logs must show: for each SCT that a listed log signed, the leaf it promised.

Only a promise that was made can be broken: an SCT whose signature does not verify, or of a log that nobody lists, is
passed over with its reason, and judged elsewhere (`verify`). Nothing raises because of what is in a certificate. No I/O
in here.
"""

from dataclasses import dataclass
from hashlib import sha256

from stubresolver.ct import (
    Log,
    LogList,
    MalformedSct,
    MalformedSctList,
    SignedCertificateTimestamp,
    embedded_list,
    is_signed_by,
    leaf_hash,
    merkle_leaf,
    parse_sct,
)
from stubresolver.verify.certificate import UnreadableCertificate, printable, read_certificate

MAXIMUM_SCTS = 32  # as many as a policy looks at (ct.CTPolicy.maximum_listed)


@dataclass(frozen=True, slots=True)
class Entry:
    """One SCT that its log signed, and the leaf that must be in the log's tree."""

    certificate: str  # SHA-256 of the certificate in DER, hex
    log: Log
    sct: SignedCertificateTimestamp
    serialized: bytes  # the SCT, octet for octet
    merkle_leaf: bytes  # MerkleTreeLeaf, RFC 6962 s3.4

    @property
    def leaf_hash(self) -> bytes:
        """The leaf's hash in the tree."""
        return leaf_hash(self.merkle_leaf)


@dataclass(frozen=True, slots=True)
class Skipped:
    """One SCT, or a whole certificate, about which no log can be asked."""

    log_id: bytes  # b"" where there is none to be read
    log: str  # its description, "" where the list does not have it
    reason: str


@dataclass(frozen=True, slots=True)
class Entries:
    """What is to be proved of one certificate, and what cannot be."""

    entries: tuple[Entry, ...]
    skipped: tuple[Skipped, ...]


def read_entries(leaf: bytes, issuer_key_hash: bytes, log_list: LogList) -> Entries:
    """The entries that the SCTs embedded in `leaf` promise.

    `leaf` is a certificate in DER, `issuer_key_hash` SHA-256 of the SubjectPublicKeyInfo of its issuer on the verified
    path: what the logs signed holds for that issuer or for none.
    """
    try:
        serialized = embedded_list(leaf)
        tbs = read_certificate(leaf).parsed.tbs_precertificate_bytes if serialized else b""
    except (UnreadableCertificate, MalformedSctList, ValueError) as error:
        return Entries((), (Skipped(b"", "", f"the certificate cannot be read: {printable(str(error))}"),))
    if not serialized:
        return Entries((), (Skipped(b"", "", "no embedded SCTs"),))
    if len(serialized) > MAXIMUM_SCTS:
        return Entries((), (Skipped(b"", "", f"{len(serialized)} SCTs, expected at most {MAXIMUM_SCTS}"),))
    certificate = sha256(leaf).hexdigest()
    # the same SCT twice is one promise
    found = [_entry(octets, certificate, issuer_key_hash, tbs, log_list) for octets in dict.fromkeys(serialized)]
    return Entries(
        tuple(item for item in found if isinstance(item, Entry)),
        tuple(item for item in found if isinstance(item, Skipped)),
    )


def _entry(octets: bytes, certificate: str, issuer_key_hash: bytes, tbs: bytes, log_list: LogList) -> Entry | Skipped:
    """What one SCT promises, or why nothing is asked about it."""
    try:
        sct = parse_sct(octets)
    except MalformedSct as error:
        return Skipped(b"", "", f"no SCT that can be read: {error}")
    log = log_list.logs.get(sct.log_id)
    name = log.description if log else ""
    if sct.log_id in log_list.denied:
        return Skipped(sct.log_id, name, f"its log is denied: {log_list.denied[sct.log_id]}")
    if log is None:
        return Skipped(sct.log_id, "", "its log is not in the list")
    if not is_signed_by(sct, log.key, issuer_key_hash, tbs):
        return Skipped(sct.log_id, name, "not signed by its log over this certificate and issuer")
    return Entry(certificate, log, sct, octets, merkle_leaf(sct, issuer_key_hash, tbs))
