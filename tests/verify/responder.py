"""An OCSP responder for the tests of the judgement: says what it is told, at the time it is told, honest or not."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from stubresolver.ct.der import content, elements
from stubresolver.lab.authority import Credential, _key_hash, _leaf_builder, stamper
from stubresolver.lab.world import ADDRESSES, NAME, World

GOOD, REVOKED, UNKNOWN = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED, ocsp.OCSPCertStatus.UNKNOWN
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True)
class Signer:
    """Who signs a response: a certificate and its key."""

    certificate: x509.Certificate
    key: Key


def issuer(world: World) -> Signer:
    """The CA that issues the lab's leaves."""
    return Signer(world.lab.intermediate, world.lab.intermediate_key)


def delegate(
    world: World,
    by: Signer | None = None,
    *,
    usage: x509.ObjectIdentifier | None = ExtendedKeyUsageOID.OCSP_SIGNING,
    starts: timedelta = -DAY,
    ends: timedelta = DAY,
    key: Key | None = None,
    hashed: hashes.HashAlgorithm = hashes.SHA256(),  # noqa: B008 - a value
) -> Signer:
    """A responder of its own, with a certificate of the issuer for that purpose."""
    by, key = by or issuer(world), key or ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Lab OCSP")]))
        .issuer_name(by.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(world.now + starts)
        .not_valid_after(world.now + ends)
    )
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return Signer(builder.sign(by.key, hashed), key)


def must_staple(world: World, value: bytes = b"\x30\x03\x02\x01\x05") -> Credential:
    """The honest certificate with the TLS feature extension of RFC 7633."""
    key = ec.generate_private_key(ec.SECP256R1())
    feature = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.5.5.7.1.24"), value)
    builder = _leaf_builder(NAME, [NAME], ADDRESSES, key, world.lab.intermediate).add_extension(feature, critical=False)
    builder = builder.not_valid_before(world.now - DAY).not_valid_after(world.now + 89 * DAY)
    tbs = builder.sign(world.lab.intermediate_key, hashes.SHA256()).tbs_certificate_bytes
    stamp = stamper([(log, world.now - DAY) for log in (world.alder1, world.birch1)])
    value = stamp(_key_hash(world.lab.intermediate), tbs)
    oid = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
    builder = builder.add_extension(x509.UnrecognizedExtension(oid, value), critical=False)
    leaf = builder.sign(world.lab.intermediate_key, hashes.SHA256())
    return Credential(key, tuple(each.public_bytes(Encoding.DER) for each in (leaf, world.lab.intermediate)))


def staple(
    world: World,
    leaf: x509.Certificate,
    status: ocsp.OCSPCertStatus = GOOD,
    *,
    ca: Signer | None = None,
    signer: Signer | None = None,
    key: Key | None = None,
    about: x509.Certificate | None = None,
    produced: timedelta = -HOUR,
    this: timedelta = -HOUR,
    following: timedelta | None = 3 * DAY,
    certificates: Sequence[x509.Certificate] | None = None,
    by_name: bool = False,
    id_hash: hashes.HashAlgorithm = hashes.SHA1(),  # noqa: B008, S303 - RFC 6960; a value
    hashed: hashes.HashAlgorithm = hashes.SHA256(),  # noqa: B008 - a value
    reason: x509.ReasonFlags | None = x509.ReasonFlags.key_compromise,
    critical: bool = False,
) -> bytes:
    """A response about `leaf` (or `about`) of `ca`, by `ca` if nobody else signs; times count from the world's now.

    `key` signs in the signer's name without being its.
    """
    ca = ca or issuer(world)
    signer = signer or ca
    revoked = status is REVOKED
    builder = ocsp.OCSPResponseBuilder().add_response(
        about or leaf,
        ca.certificate,
        id_hash,
        status,
        _moment(world, this),
        None if following is None else _moment(world, following),
        _moment(world, -2 * HOUR) if revoked else None,
        reason if revoked else None,
    )
    encoding = ocsp.OCSPResponderEncoding.NAME if by_name else ocsp.OCSPResponderEncoding.HASH
    builder = builder.responder_id(encoding, signer.certificate)
    sent = [signer.certificate] if certificates is None and signer.certificate != ca.certificate else certificates
    if sent:
        builder = builder.certificates(sent)
    if critical:
        builder = builder.add_extension(
            x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0"), critical=True
        )
    return _produced(builder.sign(signer.key, hashed), key or signer.key, hashed, _moment(world, produced))


def _produced(response: ocsp.OCSPResponse, key: Key, hashed: hashes.HashAlgorithm, moment: datetime) -> bytes:
    """The response as if made at `moment`: the library writes today's time into producedAt, so it is signed again."""
    tbs = response.tbs_response_bytes
    today = next(whole for tag, _, whole in elements(content(tbs, 0x30)) if tag == 0x18)
    tbs = tbs.replace(today, der(0x18, moment.strftime("%Y%m%d%H%M%SZ").encode()), 1)
    if isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(tbs, padding.PKCS1v15(), hashed)
    else:
        signature = key.sign(tbs, ec.ECDSA(hashed))
    inner = [whole for _, _, whole in members(response.public_bytes(Encoding.DER))]
    return wrapped(b"".join((tbs, inner[1], der(0x03, b"\0" + signature), *inner[3:])))


def wrapped(inner: bytes) -> bytes:
    """An OCSPResponse of the basic type (RFC 6960 s4.2.1) around the content of a BasicOCSPResponse."""
    basic = der(0x06, bytes.fromhex("2b0601050507300101")) + der(0x04, der(0x30, inner))
    return der(0x30, der(0x0A, b"\0") + der(0xA0, der(0x30, basic)))


def der(tag: int, value: bytes) -> bytes:
    """One element in DER."""
    size = len(value)
    if size < 128:
        return bytes((tag, size)) + value
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(length))) + length + value


def members(response: bytes) -> list[tuple[int, bytes, bytes]]:
    """The members of the BasicOCSPResponse inside: tbs, algorithm, signature, certificates."""
    explicit = list(elements(content(response, 0x30)))[1][1]
    octets = list(elements(content(explicit, 0x30)))[1][1]
    return list(elements(content(octets, 0x30)))


def _moment(world: World, when: timedelta) -> datetime:
    return (world.now + when).replace(tzinfo=None)
