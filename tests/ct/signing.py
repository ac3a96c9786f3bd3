"""Logs that sign tree heads, for tests: written from the RFC and the specifications, sharing no code with `ct`."""

import base64
import json
from dataclasses import dataclass
from hashlib import sha256

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from stubresolver.ct import Log, LogKind, LogState

ORIGIN = "logs.example/2026h2"


def base(octets):
    return base64.b64encode(octets).decode()


@dataclass
class Signer:
    """A log's private key, and the log as a list names it."""

    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    kind: LogKind = LogKind.RFC6962
    origin: str = ORIGIN

    @property
    def spki(self):
        return self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @property
    def log_id(self):
        return sha256(self.spki).digest()

    def log(self, **facts):
        """The log as the list has it."""
        static = self.kind is LogKind.STATIC_CT
        named = {
            "log_id": self.log_id,
            "key": self.key.public_key(),
            "description": "Test log",
            "operator": "Tester",
            "kind": self.kind,
            "state": LogState.USABLE,
            "state_since": None,
            "interval": None,
            "url": "https://read.example/" if static else f"https://{self.origin}/",
            "submission_url": f"https://{self.origin}/" if static else "",
        }
        return Log(**(named | facts))

    def digitally_sign(self, octets):
        """RFC 5246 s4.7: algorithms, then the signature with its length; sha256(4), rsa(1), ecdsa(3)."""
        if isinstance(self.key, rsa.RSAPrivateKey):
            head, signature = b"\4\1", self.key.sign(octets, padding.PKCS1v15(), hashes.SHA256())
        else:
            head, signature = b"\4\3", self.key.sign(octets, ec.ECDSA(hashes.SHA256()))
        return head + len(signature).to_bytes(2, "big") + signature

    def head_signature(self, size, timestamp, root):
        """RFC 6962 s3.5: version v1(0), tree_hash(1), timestamp, tree_size, sha256_root_hash."""
        octets = b"\x00\x01" + timestamp.to_bytes(8, "big") + size.to_bytes(8, "big") + root
        return self.digitally_sign(octets)

    def sth(self, size, timestamp, root, signature=None):
        """The answer to get-sth, RFC 6962 s4.3."""
        signature = signature or self.head_signature(size, timestamp, root)
        named = {"tree_size": size, "timestamp": timestamp, "sha256_root_hash": base(root)}
        return json.dumps(named | {"tree_head_signature": base(signature)}).encode()

    def note_line(self, size, timestamp, root, *, name=None, key_id=None, signature=None):
        """The log's signature line: key id, timestamp, TreeHeadSignature."""
        name = self.origin if name is None else name
        key_id = key_id or sha256(f"{name}\n".encode() + b"\x05" + self.log_id).digest()[:4]
        signature = signature or self.head_signature(size, timestamp, root)
        return f"— {name} {base(key_id + timestamp.to_bytes(8, 'big') + signature)}\n"

    def checkpoint(self, size, timestamp, root, *, before="", after=""):
        """A signed note, the signature lines of others before and after the log's own."""
        line = self.note_line(size, timestamp, root)
        return f"{self.origin}\n{size}\n{base(root)}\n\n{before}{line}{after}".encode()

    def head(self, size, timestamp, root):
        """A tree head in the log's own spelling."""
        make = self.checkpoint if self.kind is LogKind.STATIC_CT else self.sth
        return make(size, timestamp, root)
