"""A Certificate Transparency log of the lab: a key that signs timestamps, and the log list that names it.

It signs what it is given, honestly or as the caller's story wants it, and enters into its tree what it signs: an SCT is
the promise of that. The octets are written here from the RFC and are read by `ct` with other code, so that one
misreading cannot hide in both. How a log is read stands in lab/log_api.py.

RFC 6962 s3.2 (SCT), s3.3 (SCT list), s3.4 (leaf); c2sp.org/static-ct-api (leaf index); log list schema version 3.
No clock in here: each time is an argument.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Literal

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from stubresolver.lab.tree import Tree

LogKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
LogKind = Literal["rfc6962", "static-ct"]
StateName = Literal["pending", "qualified", "usable", "readonly", "retired", "rejected"]


def generate_key() -> LogKey:
    """A key as nearly every log has it: NIST P-256 (RFC 6962 s2.1.4)."""
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True, slots=True)
class LabLog:
    """One log: who runs it, its key, and what the log list says of it."""

    operator: str
    description: str
    kind: LogKind = "rfc6962"
    state: StateName = "usable"
    since: datetime = datetime(2020, 1, 1, tzinfo=UTC)  # when `state` began
    interval: tuple[datetime, datetime] | None = None  # of notAfter: start inclusive, end exclusive
    previous_operators: tuple[tuple[str, datetime], ...] = ()  # name, end of its time
    key: LogKey = field(default_factory=generate_key, repr=False)
    tree: Tree = field(default_factory=Tree.with_fillers, repr=False, compare=False)

    @property
    def public_key(self) -> bytes:
        """The SubjectPublicKeyInfo in DER."""
        return self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @property
    def log_id(self) -> bytes:
        """RFC 6962 s3.2: "the SHA-256 hash of the log's public key, calculated over the DER encoding of the key"."""
        return sha256(self.public_key).digest()

    def sign(
        self,
        issuer_key_hash: bytes,
        tbs_precert: bytes,
        timestamp_ms: int,
        *,
        extensions: bytes | None = None,
        version: int = 0,
        signer: LogKey | None = None,
    ) -> bytes:
        """A SignedCertificateTimestamp over a precertificate, as octets.

        The entry is the next leaf of the tree; not of a forgery, of which the log knows nothing.

        `extensions` None means what this kind of log writes. `signer` forges: the SCT names this log, another key
        signs. `version` other than 0 makes an SCT that RFC 6962 does not define.
        """
        if extensions is None:
            extensions = leaf_index(self.tree.size) if self.kind == "static-ct" else b""
        signed = _signed_structure(version, timestamp_ms, issuer_key_hash, tbs_precert, extensions)
        if signer is None:
            # RFC 6962 s3.4: MerkleTreeLeaf { Version version = v1(0); MerkleLeafType leaf_type = timestamped_entry(0);
            # TimestampedEntry }, whose octets are those that the SCT signs: version 0, signature_type 0, and the same
            # timestamp, entry type, entry and extensions.
            self.tree.append(signed)
        # struct {
        #     Version sct_version;         1 octet, v1(0)
        #     LogID id;                    32 octets
        #     uint64 timestamp;
        #     CtExtensions extensions;     opaque <0..2^16-1>
        #     digitally-signed struct {..} hash and signature algorithm, opaque <0..2^16-1> (RFC 5246 s4.7)
        # } SignedCertificateTimestamp;
        return (
            version.to_bytes(1)
            + self.log_id
            + timestamp_ms.to_bytes(8)
            + _opaque16(extensions)
            + digitally_sign(signer or self.key, signed)
        )


def leaf_index(index: int) -> bytes:
    """The one extension that static-ct logs write: type 0, two octets of length, a 40-bit index."""
    return b"\x00" + _opaque16(index.to_bytes(5))


def sct_list(scts: Sequence[bytes]) -> bytes:
    """RFC 6962 s3.3: `SerializedSCT sct_list <1..2^16-1>`, each `opaque SerializedSCT<1..2^16-1>`."""
    return _opaque16(b"".join(_opaque16(sct) for sct in scts))


def slug(log: LabLog) -> str:
    """The log's name as part of a URL."""
    return log.description.lower().replace(" ", "-")


def log_list_json(logs: Sequence[LabLog], *, now: datetime, version: str = "lab.1", host: str = "") -> bytes:
    """A log list in the schema of version 3, dated `now`, operators in the order of their first log.

    `host` (and port) is where all of them are read, each under its own name; "" gives each a host that nobody serves.
    """
    operators = [
        {
            "name": name,
            "email": [f"ct@{name.lower()}.lab"],
            "logs": [_entry(log, host) for log in logs if log.operator == name and log.kind == "rfc6962"],
            "tiled_logs": [_entry(log, host) for log in logs if log.operator == name and log.kind == "static-ct"],
        }
        for name in dict.fromkeys(log.operator for log in logs)
    ]
    document = {"version": version, "log_list_timestamp": _iso(now), "operators": operators}
    return json.dumps(document, indent=1).encode()


def milliseconds(moment: datetime) -> int:
    """RFC 6962 s3.2: "measured since the epoch (January 1, 1970, 00:00), ignoring leap seconds, in milliseconds"."""
    elapsed = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (elapsed.days * 86400 + elapsed.seconds) * 1000 + elapsed.microseconds // 1000


def digitally_sign(key: LogKey, data: bytes) -> bytes:
    """A digitally-signed struct: the algorithms, and the signature with its length."""
    # RFC 6962 s2.1.4: ECDSA on P-256 or RSA (RSASSA-PKCS1-V1_5), both with SHA-256. RFC 5246 s7.4.1.4.1: sha256(4),
    # rsa(1), ecdsa(3).
    if isinstance(key, rsa.RSAPrivateKey):
        return b"\x04\x01" + _opaque16(key.sign(data, padding.PKCS1v15(), hashes.SHA256()))
    return b"\x04\x03" + _opaque16(key.sign(data, ec.ECDSA(hashes.SHA256())))


def _signed_structure(version: int, timestamp_ms: int, issuer_key_hash: bytes, tbs: bytes, extensions: bytes) -> bytes:
    # RFC 6962 s3.2:
    # digitally-signed struct {
    #     Version sct_version;
    #     SignatureType signature_type = certificate_timestamp;    1 octet, 0
    #     uint64 timestamp;
    #     LogEntryType entry_type;                                 2 octets, precert_entry(1)
    #     PreCert { opaque issuer_key_hash[32]; TBSCertificate tbs_certificate <1..2^24-1>; }
    #     CtExtensions extensions;
    # };
    return (
        version.to_bytes(1)
        + b"\x00"
        + timestamp_ms.to_bytes(8)
        + b"\x00\x01"
        + issuer_key_hash
        + len(tbs).to_bytes(3)
        + tbs
        + _opaque16(extensions)
    )


def _opaque16(data: bytes) -> bytes:
    return len(data).to_bytes(2) + data


def _entry(log: LabLog, host: str) -> dict[str, object]:
    url = f"https://{host}/{slug(log)}/" if host else f"https://{slug(log)}.lab/"
    state: dict[str, object] = {"timestamp": _iso(log.since)}
    if log.state == "readonly":
        state["final_tree_head"] = {"sha256_root_hash": _base64(sha256(b"").digest()), "tree_size": 0}
    entry: dict[str, object] = {
        "description": log.description,
        "log_id": _base64(log.log_id),
        "key": _base64(log.public_key),
        **({"url": url} if log.kind == "rfc6962" else {"submission_url": url, "monitoring_url": url}),
        "mmd": 86400 if log.kind == "rfc6962" else 60,
        "state": {log.state: state},
    }
    if log.interval is not None:
        start, end = log.interval
        entry["temporal_interval"] = {"start_inclusive": _iso(start), "end_exclusive": _iso(end)}
    if log.previous_operators:
        entry["previous_operators"] = [{"name": n, "end_time": _iso(end)} for n, end in log.previous_operators]
    return entry


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
