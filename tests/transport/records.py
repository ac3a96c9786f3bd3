"""TLS 1.3 records as no library would send them: a server's next ones, made by hand from its traffic secret.

RFC 8446 s5 (record protection), s7.1 and s7.3 (keys), s4.6 (what may come after a handshake).
"""

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from OpenSSL import SSL

ALERT, HANDSHAKE, APPLICATION_DATA = 21, 22, 23  # RFC 8446 s5.1, ContentType
HANDSHAKE_SECRET, APPLICATION_SECRET = "SERVER_HANDSHAKE_TRAFFIC_SECRET", "SERVER_TRAFFIC_SECRET_0"
KEY_UPDATE = b"\x18\0\0\1\1"  # s4.6.3, update_requested(1)
USER_CANCELED = b"\1\x5a"  # s6.1, a warning

_HEADER = 5  # s5.1: type, version, length


def ticket(number: int) -> bytes:
    """A NewSessionTicket (s4.6.1): lifetime, age_add, nonce, ticket, no extensions."""
    body = bytes(8) + b"\2" + (number & 0xFFFF).to_bytes(2) + b"\0\x20" + bytes(32) + b"\0\0"
    return b"\4" + len(body).to_bytes(3) + body


def watch_secrets(context: SSL.Context) -> dict[str, bytes]:
    """Have the context tell its connections' secrets, the last of each of NSS's labels (RFC 9850)."""
    secrets: dict[str, bytes] = {}

    def keep(_connection: SSL.Connection, line: bytes) -> None:
        label, _, secret = line.decode().split()
        secrets[label] = bytes.fromhex(secret)

    context.set_keylog_callback(keep)
    return secrets


def count_records(octets: bytes) -> int:
    """How many records these octets are."""
    number = at = 0
    while at < len(octets):
        at += _HEADER + int.from_bytes(octets[at + 3 : at + _HEADER])
        number += 1
    return number


class Forger:
    """A server's sending side: TLS_AES_256_GCM_SHA384, `sent` records into the traffic keys of this secret."""

    def __init__(self, secret: bytes, sent: int) -> None:
        self._secret = secret
        self._number = sent
        self._take_keys()

    def record(self, content: bytes, kind: int = APPLICATION_DATA, padding: int = 0) -> bytes:
        """One protected record (s5.2)."""
        inner = content + bytes((kind,)) + bytes(padding)
        header = b"\x17\3\3" + (len(inner) + 16).to_bytes(2)
        nonce = (int.from_bytes(self._iv) ^ self._number).to_bytes(12)
        self._number += 1
        return header + self._key.encrypt(nonce, inner, header)

    def key_update(self) -> bytes:
        """A KeyUpdate, after which the next keys count (s7.2)."""
        octets = self.record(KEY_UPDATE, HANDSHAKE)
        self._secret = self._expand(b"traffic upd", 48)
        self._number = 0
        self._take_keys()
        return octets

    def _take_keys(self) -> None:
        self._key, self._iv = AESGCM(self._expand(b"key", 32)), self._expand(b"iv", 12)

    def _expand(self, label: bytes, length: int) -> bytes:
        """HKDF-Expand-Label with an empty context (s7.1)."""
        full = b"tls13 " + label
        info = length.to_bytes(2) + bytes((len(full),)) + full + b"\0"
        return HKDFExpand(hashes.SHA384(), length, info).derive(self._secret)
