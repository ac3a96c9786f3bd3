"""Just enough DER (X.690) to take extensions out of a certificate without understanding them. PURE.

Why not `cryptography`'s `certificate.extensions`: it parses every extension at once, and a single SCT of a version it
does not know makes it raise for the whole certificate, although RFC 6962 s3.3 wants unknown versions skipped. Here an
extension is only its octets. Strict: definite minimal lengths, no trailing octets, each extension once (RFC 5280 s4.2).
"""

from collections.abc import Iterator

_OCTET_STRING, _SEQUENCE, _OID, _BOOLEAN, _BIT_STRING = 0x04, 0x30, 0x06, 0x01, 0x03
_EXTENSIONS = 0xA3  # [3] EXPLICIT, RFC 5280 s4.1


class MalformedDer(ValueError):
    """Octets that are not the DER that was expected."""


def elements(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield (tag octet, content, whole encoding) of each element in `data`; raises `MalformedDer`."""
    position, end = 0, len(data)
    while position < end:
        if end - position < 2:
            raise MalformedDer("a tag without a length")
        tag, length = data[position], data[position + 1]
        if tag & 0x1F == 0x1F:
            raise MalformedDer("a tag of more than one octet")
        start = position + 2
        if length >= 0x80:
            octets = length & 0x7F
            length = int.from_bytes(data[start : start + octets], "big")
            start += octets
            # X.690 s10.1: the length is encoded in the minimum number of octets
            if not 1 <= octets <= 4 or length < 0x80 or length >> (8 * (octets - 1)) == 0:
                raise MalformedDer("a length that is not in its shortest form")
        if start + length > end:
            raise MalformedDer(f"an element of {length} octets where {end - start} are left")
        yield tag, data[start : start + length], data[position : start + length]
        position = start + length


def content(data: bytes, tag: int) -> bytes:
    """The content of the single element that `data` is, if its tag is `tag`; raises `MalformedDer`."""
    found = list(elements(data))
    if len(found) != 1 or found[0][0] != tag:
        raise MalformedDer(f"expected one element of tag {tag:#04x}, got tags {[hex(element[0]) for element in found]}")
    return found[0][1]


def extensions(certificate: bytes) -> dict[bytes, bytes]:
    """The extensions of an X.509 certificate in DER: content of the OID -> content of extnValue; `MalformedDer`.

    Certificate  ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue }          RFC 5280 s4.1
    Extension    ::= SEQUENCE { extnID OBJECT IDENTIFIER, critical BOOLEAN DEFAULT FALSE, extnValue OCTET STRING }
    """
    fields = list(elements(content(certificate, _SEQUENCE)))
    if not fields:
        raise MalformedDer("an empty certificate")
    wrapped = [inner for tag, inner, _ in elements(content(fields[0][2], _SEQUENCE)) if tag == _EXTENSIONS]
    found: dict[bytes, bytes] = {}
    for tag, extension, _ in elements(content(wrapped[0], _SEQUENCE) if wrapped else b""):
        parts = list(elements(extension))
        tags = [part[0] for part in parts]
        if tag != _SEQUENCE or tags not in ([_OID, _OCTET_STRING], [_OID, _BOOLEAN, _OCTET_STRING]):
            raise MalformedDer("an extension that is not OID, critical, value")
        oid = parts[0][1]
        # RFC 5280 s4.2: "A certificate MUST NOT include more than one instance of a particular extension."
        if oid in found:
            raise MalformedDer(f"two extensions of the same OID {oid.hex()}")
        found[oid] = parts[-1][1]
    return found


def signature(certificate: bytes) -> bytes:
    """The signatureValue of a certificate in DER; `MalformedDer` where it is not made of whole octets.

    Signatures are (RFC 3279 s2.2, RFC 8410 s6). A BIT STRING that claims unused bits would be the same certificate
    with another hash, and nobody's deny-list would know it.
    """
    fields = list(elements(content(certificate, _SEQUENCE)))
    if len(fields) != 3 or fields[2][0] != _BIT_STRING or fields[2][1][:1] != b"\0":
        raise MalformedDer("a signature that is not a BIT STRING of whole octets")
    return fields[2][1][1:]


def subject_public_key_info(certificate: bytes) -> bytes:
    """The SubjectPublicKeyInfo of a certificate in DER, octet for octet as it stands there; `MalformedDer`.

    TBSCertificate ::= SEQUENCE { [0] version OPTIONAL, serialNumber, signature, issuer, validity, subject,
                                  subjectPublicKeyInfo, ... }                                     RFC 5280 s4.1
    """
    fields = list(elements(content(certificate, _SEQUENCE)))
    members = list(elements(content(fields[0][2], _SEQUENCE))) if fields else []
    index = 6 if members and members[0][0] == 0xA0 else 5
    if len(members) <= index or members[index][0] != _SEQUENCE:
        raise MalformedDer("no subjectPublicKeyInfo")
    return members[index][2]
