"""A certificate authority of the lab: a root, an intermediate, and leaves with embedded SCTs, honest or not.

What it issues by default meets RFC 5280 and the web's profile as strict verifiers want it; each departure is an
argument that the caller names. SCTs are embedded as RFC 6962 s3.1 and s3.3 describe, without a separate
precertificate: the TBSCertificate without the list is signed by the logs, then issued again with it.
No clock in here: each time is an argument.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from stubresolver.lab.logs import LabLog, milliseconds, sct_list

SCT_LIST_OID = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")  # RFC 6962 s3.3

Stamper = Callable[[bytes, bytes], bytes | None]
"""(issuer key hash, TBSCertificate without the list) -> the whole extnValue, or None for no such extension."""


@dataclass(frozen=True, slots=True)
class Credential:
    """What a server needs: its key, and the certificates that it sends."""

    key: ec.EllipticCurvePrivateKey
    chain: tuple[bytes, ...]  # DER, leaf first, without the root
    staple: bytes | None = None  # the OCSP response that it staples, DER

    @property
    def leaf(self) -> x509.Certificate:
        """The end-entity certificate, parsed."""
        return x509.load_der_x509_certificate(self.chain[0])

    @property
    def chain_pem(self) -> bytes:
        """The chain as `check --chain` and other servers read it."""
        certificates = (x509.load_der_x509_certificate(der) for der in self.chain)
        return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)

    @property
    def key_pem(self) -> bytes:
        """The private key in PKCS #8, unencrypted."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class LabAuthority:
    """A root and one intermediate, both with fresh P-256 keys, valid for years around `now`."""

    def __init__(self, name: str, *, now: datetime) -> None:
        start, end = now - timedelta(days=5 * 365), now + timedelta(days=5 * 365)
        self.name = name
        self.root_key = _generate_key()
        self.intermediate_key = _generate_key()
        self.root = _ca_certificate(f"{name} Root", self.root_key, None, start, end)
        self.intermediate = _ca_certificate(
            f"{name} TLS", self.intermediate_key, (self.root, self.root_key), start, end
        )

    @property
    def anchor(self) -> bytes:
        """The root in DER: what goes into a trust store."""
        return self.root.public_bytes(Encoding.DER)

    @property
    def root_spki_sha256(self) -> str:
        """SHA-256 over the root's SubjectPublicKeyInfo, hex."""
        return _key_hash(self.root).hex()

    @property
    def intermediate_spki_sha256(self) -> str:
        """SHA-256 over the intermediate's SubjectPublicKeyInfo, hex."""
        return _key_hash(self.intermediate).hex()

    def issue(
        self,
        *,
        not_before: datetime,
        not_after: datetime,
        names: Sequence[str] = (),
        addresses: Sequence[IPv4Address | IPv6Address] = (),
        logs: Sequence[tuple[LabLog, datetime]] | Stamper = (),
        common_name: str | None = None,
        under_root: bool = False,
    ) -> Credential:
        """A server certificate with a fresh key, and its chain.

        `logs` says who signs an SCT and for when, in the order of the list; none of them means no list at all.
        A `Stamper` writes the extension itself. `common_name` None means the first name or address.
        """
        issuer, issuer_key = (self.root, self.root_key) if under_root else (self.intermediate, self.intermediate_key)
        subject = common_name or next((str(each) for each in (*names, *addresses)), "")
        key = _generate_key()
        builder = _leaf_builder(subject, names, addresses, key, issuer).not_valid_before(not_before)
        builder = builder.not_valid_after(not_after)
        tbs = builder.sign(issuer_key, hashes.SHA256()).tbs_certificate_bytes
        stamp = logs if callable(logs) else stamper(logs)
        extension = stamp(_key_hash(issuer), tbs)
        if extension is not None:
            builder = builder.add_extension(x509.UnrecognizedExtension(SCT_LIST_OID, extension), critical=False)
        leaf = builder.sign(issuer_key, hashes.SHA256())
        sent = (leaf,) if under_root else (leaf, self.intermediate)
        return Credential(key, tuple(certificate.public_bytes(Encoding.DER) for certificate in sent))


def stamper(logs: Sequence[tuple[LabLog, datetime]]) -> Stamper:
    """The honest one: each log signs what it is shown, at its time."""

    def stamp(issuer_key_hash: bytes, tbs: bytes) -> bytes | None:
        scts = [log.sign(issuer_key_hash, tbs, milliseconds(moment)) for log, moment in logs]
        return octet_string(sct_list(scts)) if scts else None

    return stamp


def octet_string(content: bytes) -> bytes:
    """A DER OCTET STRING: RFC 6962 s3.3 wraps the list in one, inside the OCTET STRING that every extension has."""
    size = len(content)
    if size < 128:
        return b"\x04" + size.to_bytes(1) + content
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return b"\x04" + (0x80 | len(length)).to_bytes(1) + length + content


def _generate_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _key_hash(certificate: x509.Certificate) -> bytes:
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return sha256(spki).digest()


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Embedded Lab"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    """RFC 5280 s4.2.1.3: keyCertSign and cRLSign for a CA, digitalSignature for a TLS 1.3 server."""
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_key_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _ca_certificate(
    common_name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None,
    not_before: datetime,
    not_after: datetime,
) -> x509.Certificate:
    """A CA certificate; `issuer` None makes it a root, signed by itself."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(common_name))
        .issuer_name(_name(common_name) if issuer is None else issuer[0].subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None if issuer is None else 0), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if issuer is None:
        # RFC 5280 s4.2.1.1 lets a root leave the key identifier of its issuer out.
        return builder.sign(key, hashes.SHA256())
    builder = builder.add_extension(_authority_key_identifier(issuer[0]), critical=False)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    return builder.sign(issuer[1], hashes.SHA256())


def _leaf_builder(
    subject: str,
    names: Sequence[str],
    addresses: Sequence[IPv4Address | IPv6Address],
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate,
) -> x509.CertificateBuilder:
    """Everything of a leaf but its dates and its SCTs."""
    alternatives = [*(x509.DNSName(name) for name in names), *(x509.IPAddress(address) for address in addresses)]
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_authority_key_identifier(issuer), critical=False)
    )
