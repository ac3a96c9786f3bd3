"""One certificate as the judgement needs it: the parsed form, its digests, its names, text that is safe to print.

Everything a peer sends is hostile: names are cleaned of control characters before a person reads them, and whatever
the parsing library raises becomes `UnreadableCertificate`.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_address

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from stubresolver.ct.der import MalformedDer, content, elements, extensions, signature, subject_public_key_info

_SAN_OID = bytes.fromhex("551d11")  # 2.5.29.17, RFC 5280 s4.2.1.6
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87  # GeneralName [2] and [7]


class UnreadableCertificate(ValueError):
    """Octets that are no certificate."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate in DER with what is asked of it again and again."""

    der: bytes
    parsed: x509.Certificate = field(compare=False, repr=False)
    spki_sha256: bytes  # SHA-256 over the SubjectPublicKeyInfo as it stands in the certificate
    serial: int
    subject: str  # RFC 4514, printable
    issuer: str  # RFC 4514, printable
    not_before: datetime  # UTC
    not_after: datetime  # UTC

    @property
    def sha256(self) -> str:
        """SHA-256 over the DER, hex."""
        return hashlib.sha256(self.der).hexdigest()


def read_certificate(der: bytes) -> Certificate:
    """Parse one certificate; raises `UnreadableCertificate`."""
    try:
        parsed = x509.load_der_x509_certificate(der)
        signature(der)  # in its one encoding, or the certificate's hash says little
        return Certificate(
            der=der,
            parsed=parsed,
            spki_sha256=hashlib.sha256(subject_public_key_info(der)).digest(),
            serial=parsed.serial_number,
            subject=printable(parsed.subject.rfc4514_string()) or "(empty subject)",
            issuer=printable(parsed.issuer.rfc4514_string()) or "(empty issuer)",
            not_before=parsed.not_valid_before_utc,
            not_after=parsed.not_valid_after_utc,
        )
    except Exception as error:  # noqa: BLE001 - hostile octets: whatever the library raises (InvalidVersion too)
        raise UnreadableCertificate(printable(str(error))) from None


def certificates_from_pem(octets: bytes) -> tuple[bytes, ...]:
    """Every certificate of a PEM file in DER, in its order; raises `UnreadableCertificate` where none can be read."""
    try:
        parsed = x509.load_pem_x509_certificates(octets)
    except Exception as error:  # noqa: BLE001 - a file is input too: InvalidVersion is no ValueError
        found = b"-----BEGIN CERTIFICATE-----" in octets
        reason = printable(str(error)).rpartition(". ")[2] if found else "no -----BEGIN CERTIFICATE----- in it"
        raise UnreadableCertificate(f"no certificates in PEM: {reason}") from None
    return tuple(certificate.public_bytes(Encoding.DER) for certificate in parsed)


def alternative_names(der: bytes) -> tuple[list[IPv4Address | IPv6Address], list[str]]:
    """The iPAddress and dNSName entries of a certificate's SAN, for people to read; both empty where there are none.

    Only explains a refusal: whether an address or a name matches is the path verifier's to say.
    """
    addresses: list[IPv4Address | IPv6Address] = []
    names: list[str] = []
    try:
        for tag, value, _ in elements(content(extensions(der).get(_SAN_OID, b"\x30\x00"), 0x30)):
            if tag == _IP_ADDRESS and len(value) in {4, 16}:
                addresses.append(ip_address(value))
            elif tag == _DNS_NAME:
                names.append(printable(value.decode("ascii", "replace")))
    except MalformedDer:
        pass
    return addresses, names


def printable(text: str, limit: int = 160) -> str:
    """`text` without control or formatting characters, cut to `limit`: a certificate may not steer a terminal."""
    cleaned = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text[: limit + 1])
    return cleaned if len(cleaned) <= limit else cleaned[: limit - 1] + "…"
