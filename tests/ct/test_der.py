"""The little DER reader: strict, total, and in agreement with `cryptography` on what certificates hold."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.ct.der import MalformedDer, content, elements, extensions, signature, subject_public_key_info

TAGS = st.integers(0, 255).filter(lambda tag: tag & 0x1F != 0x1F)


def tlv(tag, *parts):
    """One element in DER, written the plain way."""
    data = b"".join(parts)
    if len(data) < 0x80:
        return bytes((tag, len(data))) + data
    size = (len(data).bit_length() + 7) // 8
    return bytes((tag, 0x80 | size)) + len(data).to_bytes(size) + data


def extension(oid, value, critical=b""):
    return tlv(0x30, tlv(0x06, oid), critical, tlv(0x04, value))


def certificate(*listed, version=b"\xa0\x03\x02\x01\x02", spki=b"\x30\x00"):
    """A certificate with nothing in it but what is looked at: serial, four empty sequences, the key, extensions."""
    wrapped = tlv(0xA3, tlv(0x30, *listed)) if listed else b""
    tbs = tlv(0x30, version, b"\x02\x01\x01", b"\x30\x00" * 4, spki, wrapped)
    return tlv(0x30, tbs, b"\x30\x00", b"\x03\x01\x00")


@given(st.lists(st.tuples(TAGS, st.binary(max_size=300)), max_size=6))
def test_elements_are_read_as_they_were_written(items):
    """Whatever is written in DER comes back as tag, content and whole encoding."""
    written = [tlv(tag, data) for tag, data in items]
    assert list(elements(b"".join(written))) == [(*item, whole) for item, whole in zip(items, written, strict=True)]


@pytest.mark.parametrize("size", [0, 1, 0x7F, 0x80, 0xFF, 0x100, 0xFFFF, 0x10000])
def test_each_length_has_its_shortest_form(size):
    """X.690 s10.1: contents of any size are read where the length is minimal."""
    assert content(tlv(0x04, bytes(size)), 0x04) == bytes(size)


@pytest.mark.parametrize(
    "octets",
    [
        "30",  # no length
        "3001",  # content is missing
        "30020000" + "30",  # a second element is cut short
        "3080" + "0000",  # indefinite length: BER, not DER
        "30817f" + "00" * 0x7F,  # long form where the short one does
        "30820080" + "00" * 0x80,  # a leading zero in the length
        "3085" + "0000000001" + "00",  # five octets of length
        "30ff" + "01" * 127,  # reserved, X.690 s8.1.3.5
        "3082ff",  # the length itself is cut short
        "1f8100" + "00",  # a tag of several octets
        "30847fffffff",  # says two gigabytes
    ],
)
def test_what_is_not_der_is_refused(octets):
    """Every form that DER forbids, or that lies about its size, is MalformedDer."""
    with pytest.raises(MalformedDer):
        list(elements(bytes.fromhex(octets)))


@pytest.mark.parametrize("octets", [b"", tlv(0x30) + tlv(0x30), tlv(0x04), tlv(0x30) + b"\0"])
def test_content_wants_exactly_one_element_of_its_tag(octets):
    """Nothing, two elements, another tag or trailing octets are MalformedDer."""
    with pytest.raises(MalformedDer):
        content(octets, 0x30)


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=60).map(lambda data: tlv(0x30, tlv(0x30, data)))))
def test_any_octets_give_a_value_or_malformed_der(octets):
    """No octets make the reader raise anything but MalformedDer."""
    for read in (extensions, subject_public_key_info, lambda data: list(elements(data)), lambda data: content(data, 4)):
        try:
            read(octets)
        except MalformedDer:
            continue


@given(st.data())
def test_a_damaged_certificate_gives_a_value_or_malformed_der(credential, data):
    """One changed octet anywhere, or a cut anywhere, is no reason to crash."""
    octets = bytearray(credential.chain[0])
    octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    for damaged in (bytes(octets), bytes(octets[: data.draw(st.integers(0, len(octets)))])):
        try:
            extensions(damaged)
            subject_public_key_info(damaged)
        except MalformedDer:
            continue


def test_extensions_are_those_that_cryptography_sees(credential):
    """OID and octets of every extension, without understanding any of them."""
    expected = {
        item.oid.dotted_string: item.value.public_bytes()
        for item in credential.leaf.extensions
        if not isinstance(item.value, x509.PrecertificateSignedCertificateTimestamps)
    }
    found = {_dotted(oid): value for oid, value in extensions(credential.chain[0]).items()}
    assert found.pop("1.3.6.1.4.1.11129.2.4.2")[0] == 0x04  # the list, an OCTET STRING inside extnValue
    assert found == expected


def test_extensions_may_be_critical_or_absent():
    """RFC 5280 s4.1: `critical` has a default, and the whole list is optional."""
    assert extensions(certificate()) == {}
    assert extensions(certificate(extension(b"\x55\x1d\x11", b"a", b"\x01\x01\xff"))) == {b"\x55\x1d\x11": b"a"}


@pytest.mark.parametrize(
    "listed",
    [
        (extension(b"\x55\x1d\x11", b"a"), extension(b"\x55\x1d\x11", b"b")),  # the same OID twice, RFC 5280 s4.2
        (tlv(0x31, tlv(0x06, b"\x55"), tlv(0x04, b"a")),),  # a SET
        (tlv(0x30, tlv(0x04, b"a")),),  # no OID
        (tlv(0x30, tlv(0x06, b"\x55")),),  # no value
        (extension(b"\x55", b"a") + b"\x05",),  # trailing octets
        (tlv(0x30, tlv(0x06, b"\x55"), tlv(0x04, b"a"), tlv(0x04, b"b")),),  # two values
    ],
)
def test_extensions_of_another_shape_are_refused(listed):
    """A list that does not have the shape of RFC 5280 s4.1, each OID once, is MalformedDer."""
    with pytest.raises(MalformedDer):
        extensions(certificate(*listed))


@pytest.mark.parametrize("octets", [b"", tlv(0x30), tlv(0x30, tlv(0x30)), tlv(0x30, tlv(0x30, b"\x02\x01\x01" * 7))])
def test_a_certificate_without_a_key_is_refused(octets):
    """The key is the sixth member after the version, and a SEQUENCE; anything else is MalformedDer."""
    with pytest.raises(MalformedDer):
        subject_public_key_info(octets)


def test_a_signature_is_a_bit_string_of_whole_octets(credential):
    """RFC 5280 s4.1.1.3: the signature as `cryptography` sees it; another shape is MalformedDer."""
    assert signature(credential.chain[0]) == credential.leaf.signature
    for tail in (b"", b"\x03\x00", b"\x03\x02\x01\x00", b"\x04\x01\x00", b"\x03\x01\x00\x05\x00"):
        with pytest.raises(MalformedDer):
            signature(tlv(0x30, b"\x30\x00" * 2, tail))


def test_the_key_is_found_with_and_without_a_version():
    """RFC 5280 s4.1: a v1 certificate has no version member, so the key stands one place earlier."""
    key = tlv(0x30, b"\x04\x01k")
    assert subject_public_key_info(certificate(spki=key)) == key
    assert subject_public_key_info(certificate(spki=key, version=b"")) == key


def test_the_key_is_octet_for_octet_that_of_the_certificate(credential):
    """The same octets as `cryptography` writes for the key of each certificate of the chain."""
    for der in credential.chain:
        key = x509.load_der_x509_certificate(der).public_key()
        assert subject_public_key_info(der) == key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _dotted(oid):
    """The content octets of an OBJECT IDENTIFIER as text (X.690 s8.19), by `cryptography`'s way back."""
    known = [name for name in vars(x509.ExtensionOID).values() if isinstance(name, x509.ObjectIdentifier)]
    for name in known:
        arcs = [int(arc) for arc in name.dotted_string.split(".")]
        encoded = b"".join(_base128(arc) for arc in (40 * arcs[0] + arcs[1], *arcs[2:]))
        if encoded == oid:
            return name.dotted_string
    raise AssertionError(oid.hex())


def _base128(number):
    digits = [number & 0x7F]
    while number := number >> 7:
        digits.insert(0, 0x80 | number & 0x7F)
    return bytes(digits)
