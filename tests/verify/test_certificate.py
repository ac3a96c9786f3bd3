"""One certificate as the judgement needs it: digests over the octets as they stand, text that is safe to print."""

import base64
from hashlib import sha256

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography_vectors import open_vector_file
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.verify.certificate import (
    UnreadableCertificate,
    alternative_names,
    certificates_from_pem,
    printable,
    read_certificate,
)


def test_the_fields_are_those_of_the_certificate(world):
    """Subject, issuer, serial, dates and digests agree with `cryptography`."""
    der = world.issue().chain[0]
    parsed, found = x509.load_der_x509_certificate(der), read_certificate(der)
    key = parsed.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert found.sha256 == sha256(der).hexdigest()
    assert found.spki_sha256 == sha256(key).digest()
    assert (found.subject, found.issuer) == (parsed.subject.rfc4514_string(), parsed.issuer.rfc4514_string())
    assert (found.serial, found.not_before, found.not_after) == (
        parsed.serial_number, parsed.not_valid_before_utc, parsed.not_valid_after_utc,
    )  # fmt: skip


@given(st.binary(max_size=200))
def test_any_octets_give_a_certificate_or_unreadable(octets):
    """No octets raise anything but UnreadableCertificate, and none that are so short are a certificate."""
    for data in (octets, b"\x30\x82" + len(octets).to_bytes(2) + octets):
        with pytest.raises(UnreadableCertificate):
            read_certificate(data)
        assert alternative_names(data) == ([], [])


def test_a_version_that_does_not_exist_is_unreadable():
    """`cryptography` raises an exception of its own for it, which is no ValueError."""
    with open_vector_file("x509/custom/invalid_version.pem", "rb") as file:
        pem = file.read()
    with pytest.raises(UnreadableCertificate):
        certificates_from_pem(pem)
    der = base64.b64decode(pem.partition(b"-----\n")[2].partition(b"-----END")[0])
    with pytest.raises(UnreadableCertificate, match="version"):
        read_certificate(der)


def test_alternative_names_are_addresses_and_names(world, now):
    """What the SAN says, in its order, for the text of a refusal."""
    chain = world.issue(names=["b.lab", "a.lab"]).chain
    addresses, names = alternative_names(chain[0])
    assert [str(address) for address in addresses] == ["127.0.0.1", "::1"]
    assert names == ["b.lab", "a.lab"]


@given(st.text(max_size=300), st.integers(2, 200))
def test_printable_text_is_printable_and_bounded(text, limit):
    """Control, formatting and surrogate characters are spelled out, and nothing is longer than its limit."""
    cleaned = printable(text, limit)
    assert cleaned.isprintable()
    assert len(cleaned) <= limit
    if text.isprintable() and len(text) <= limit:
        assert cleaned == text


def test_printable_text_is_text_that_can_be_written():
    """A lone surrogate, which no encoding takes, is spelled out too."""
    assert printable("a\ud800b").encode() == b"a\\xd800b"
