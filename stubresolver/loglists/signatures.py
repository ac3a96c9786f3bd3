"""Who vouches for a list: detached signatures over its octets. PURE: octets in, nothing or `SourceRefused` out.

Three kinds of key, each with the one kind of signature that belongs to it: nothing in a signature chooses what is
checked. RSA (at least 2048 bits, as RFC 6962 s2.1.4 wants of logs) signs with PKCS#1 v1.5 and SHA-256, RFC 8017 s8.2;
ed25519 signs the octets, RFC 8032; minisign has a format of its own (jedisct1.github.io/minisign, "Signature format").
"""

import base64
import binascii
import enum
import hashlib
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from stubresolver.errors import BadInput, SourceRefused

_UNTRUSTED = b"untrusted comment: "
_TRUSTED = b"trusted comment: "
_MAXIMUM_SIGNATURE = 8192  # minisign's own bound is 8192 for a trusted comment; RSA-4096 has 512 octets


class KeyKind(enum.StrEnum):
    """What a key is, and thus what its signatures look like."""

    RSA = "rsa"
    ED25519 = "ed25519"
    MINISIGN = "minisign"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A public key that the person in charge lets vouch for lists."""

    kind: KeyKind
    name: str  # what people call it
    fingerprint: str  # SHA-256 over the key alone, hex: the same key under two names is one key
    key: rsa.RSAPublicKey | ed25519.Ed25519PublicKey = field(repr=False, compare=False)
    key_id: bytes = b""  # minisign alone: 8 octets that its signatures repeat


def load_key(octets: bytes, name: str = "") -> SigningKey:
    """Read a public key, PEM or minisign's; raises `BadInput`, as the file is the person's own."""
    if b"-----BEGIN" in octets:
        return _pem_key(octets, name)
    lines = octets.split(b"\n", 2)
    if lines[0].startswith(_UNTRUSTED):
        lines = lines[1:]
    decoded = _base64(lines[0]) if lines else None
    # "Ed" || key id (8 octets) || public key (32 octets)
    if decoded is None or len(decoded) != 42 or decoded[:2] != b"Ed" or b"".join(lines[1:]).strip():
        raise BadInput("not a public key: expected PEM (RSA or ed25519) or a minisign public key")
    key = ed25519.Ed25519PublicKey.from_public_bytes(decoded[10:])
    # minisign shows the id as a number, its octets the other way round
    shown = name or f"minisign key {decoded[2:10][::-1].hex().upper()}"
    return SigningKey(KeyKind.MINISIGN, shown, _fingerprint(key), key, decoded[2:10])


def verify_signature(key: SigningKey, octets: bytes, signature: bytes) -> None:
    """Return if the signature over the octets is this key's; raises `SourceRefused`."""
    if len(signature) > _MAXIMUM_SIGNATURE:
        raise SourceRefused(
            f"mis-signed: a signature of {len(signature)} octets, expected {_MAXIMUM_SIGNATURE} at most"
        )
    if key.kind is KeyKind.MINISIGN:
        _verify_minisign(key, octets, signature)
        return
    size = key.key.key_size // 8 if isinstance(key.key, rsa.RSAPublicKey) else 64
    if len(signature) != size:
        raise SourceRefused(
            f"mis-signed: {len(signature)} octets, expected the {size} octets of {key.name} as they are"
        )
    if not _is_signed(key, octets, signature):
        raise SourceRefused(f"mis-signed: the signature is not that of {key.name} over this list")


def _pem_key(octets: bytes, name: str) -> SigningKey:
    try:
        key = load_pem_public_key(octets)
    except (ValueError, UnsupportedAlgorithm):
        raise BadInput("not a public key: its PEM cannot be read, expected BEGIN PUBLIC KEY") from None
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048:
        kind, what = KeyKind.RSA, f"RSA-{key.key_size} key"
    elif isinstance(key, ed25519.Ed25519PublicKey):
        kind, what = KeyKind.ED25519, "ed25519 key"
    else:
        raise BadInput("the key is neither RSA of at least 2048 bits nor ed25519")
    return SigningKey(kind, name or f"{what} {_fingerprint(key)[:16]}", _fingerprint(key), key)


def _fingerprint(key: rsa.RSAPublicKey | ed25519.Ed25519PublicKey) -> str:
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _is_signed(key: SigningKey, octets: bytes, signature: bytes) -> bool:
    try:
        if isinstance(key.key, rsa.RSAPublicKey):
            key.key.verify(signature, octets, padding.PKCS1v15(), hashes.SHA256())
        else:
            key.key.verify(signature, octets)
    except InvalidSignature:
        return False
    return True


def _verify_minisign(key: SigningKey, octets: bytes, signature: bytes) -> None:
    """Four lines: untrusted comment, signature, trusted comment, global signature."""
    lines = signature.replace(b"\r\n", b"\n").removesuffix(b"\n").split(b"\n")
    if len(lines) != 4 or not lines[0].startswith(_UNTRUSTED) or not lines[2].startswith(_TRUSTED):
        raise SourceRefused("mis-signed: not a minisign signature of four lines")
    signed, whole = _base64(lines[1]), _base64(lines[3])
    # "Ed" or "ED" || key id (8 octets) || signature (64 octets)
    if signed is None or len(signed) != 74 or signed[:2] not in {b"Ed", b"ED"} or whole is None or len(whole) != 64:
        raise SourceRefused("mis-signed: a line of the minisign signature is not what it must be")
    if signed[2:10] != key.key_id:
        raise SourceRefused(f"mis-signed: by minisign key {signed[2:10][::-1].hex().upper()}, expected {key.name}")
    # "ED" is over the BLAKE2b-512 hash of the file, the older "Ed" over the file itself
    message = hashlib.blake2b(octets).digest() if signed[:2] == b"ED" else octets
    if not _is_signed(key, message, signed[10:]):
        raise SourceRefused(f"mis-signed: the signature is not that of {key.name} over this list")
    # the global signature is over "<signature> || <trusted_comment>"
    if not _is_signed(key, signed[10:] + lines[2].removeprefix(_TRUSTED), whole):
        raise SourceRefused(f"mis-signed: the trusted comment is not the one that {key.name} signed")


def _base64(line: bytes) -> bytes | None:
    try:
        return base64.b64decode(line.strip(), validate=True)
    except binascii.Error:
        return None
