"""SCTs and their list: what the lab's other code writes is read, everything else is refused; signatures are real."""

from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography_vectors import open_vector_file
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.ct import MalformedSct, MalformedSctList, embedded_list, is_signed_by, merkle_leaf, parse_sct
from stubresolver.ct import leaf_index as read_leaf_index
from stubresolver.ct.sct import SCT_LIST_OID, UnsupportedSctVersion, signed_octets
from stubresolver.lab.authority import octet_string
from stubresolver.lab.logs import LabLog, leaf_index, sct_list

ALDER, BIRCH = LabLog("Alder", "Alder 1"), LabLog("Birch", "Birch 1", "static-ct")
HASH, TBS, TIME = bytes(range(32)), b"\x30\x03\x02\x01\x05", 1_793_620_800_123
SCT = ALDER.sign(HASH, TBS, TIME)
STATIC = parse_sct(BIRCH.sign(HASH, TBS, TIME))


def certificate(*values):
    """The smallest certificate with these extnValues under the OID of the SCT list."""

    def tlv(tag, data):
        size = len(data)
        length = bytes((size,)) if size < 0x80 else b"\x83" + size.to_bytes(3)
        length = b"\x82" + size.to_bytes(2) if 0xFF < size < 0x10000 else length
        return bytes((tag,)) + (b"\x81" + bytes((size,)) if 0x7F < size < 0x100 else length) + data

    listed = b"".join(tlv(0x30, tlv(0x06, SCT_LIST_OID) + tlv(0x04, value)) for value in values)
    tbs = b"\xa0\x03\x02\x01\x02\x02\x01\x01" + b"\x30\x00" * 5 + (tlv(0xA3, tlv(0x30, listed)) if values else b"")
    return tlv(0x30, tlv(0x30, tbs) + b"\x30\x00\x03\x01\x00")


@given(st.integers(0, 2**64 - 1), st.binary(max_size=40), st.sampled_from([ALDER, BIRCH]))
def test_what_a_log_writes_is_read(timestamp, extensions, log):
    """Every field comes back as the log wrote it, the greatest timestamp too."""
    sct = parse_sct(log.sign(HASH, TBS, timestamp, extensions=extensions))
    assert (sct.log_id, sct.timestamp, sct.extensions) == (log.log_id, timestamp, extensions)
    assert (sct.hash_algorithm, sct.signature_algorithm) == (4, 3)
    decode_dss_signature(sct.signature)
    assert is_signed_by(sct, log.key.public_key(), HASH, TBS)


@given(st.binary(max_size=120) | st.binary(max_size=120).map(lambda data: b"\0" + data))
def test_any_octets_give_an_sct_or_malformed_sct(octets):
    """No octets make the parser raise anything but MalformedSct (of which an unknown version is one kind)."""
    try:
        sct = parse_sct(octets)
    except MalformedSct:
        return
    assert len(sct.extensions) + len(sct.signature) + 47 == len(octets)


def test_an_sct_cut_anywhere_is_malformed():
    """No prefix of an SCT is an SCT; how many there are, the signature says, whose length differs each time."""
    for end in range(len(SCT)):
        with pytest.raises(MalformedSct):
            parse_sct(SCT[:end])


def test_octets_after_the_signature_are_malformed():
    """An SCT ends where its signature ends."""
    with pytest.raises(MalformedSct):
        parse_sct(SCT + b"\0")


@pytest.mark.parametrize("rest", [b"", b"junk", SCT[1:]])
@pytest.mark.parametrize("version", [1, 2, 255])
def test_another_version_is_unsupported_whatever_follows(version, rest):
    """RFC 6962 s3.3: later versions may look different, so nothing after the version is read."""
    with pytest.raises(UnsupportedSctVersion):
        parse_sct(bytes((version,)) + rest)


@given(st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=20))
def test_a_list_is_read_as_it_was_written(scts):
    """The serialized SCTs come back in order, whether or not they are SCTs."""
    assert embedded_list(certificate(octet_string(sct_list(scts)))) == scts


def test_thousands_of_scts_are_listed():
    """A list of many entries is read to its end; how many are looked at is not the parser's business."""
    assert len(embedded_list(certificate(octet_string(sct_list([b"x"] * 5000))))) == 5000


def test_no_extension_is_no_list():
    """A certificate without the extension has no list, which is not the same as a broken one."""
    assert embedded_list(certificate()) is None


@pytest.mark.parametrize(
    "value",
    [
        b"",  # nothing
        sct_list([SCT]),  # not wrapped in an OCTET STRING
        octet_string(b""),  # no length
        octet_string(b"\0"),  # half a length
        octet_string(sct_list([])),  # an empty list: sct_list<1..2^16-1>
        octet_string(sct_list([SCT]) + b"\0"),  # trailing octets inside
        octet_string(sct_list([SCT])) + b"\0",  # trailing octets outside
        octet_string((len(SCT) + 3).to_bytes(2) + len(SCT).to_bytes(2) + SCT),  # says one octet more
        octet_string((len(SCT) + 1).to_bytes(2) + len(SCT).to_bytes(2) + SCT),  # says one octet less
        octet_string((len(SCT) + 2).to_bytes(2) + (len(SCT) + 1).to_bytes(2) + SCT),  # the entry says one more
        octet_string((len(SCT) + 2).to_bytes(2) + (len(SCT) - 1).to_bytes(2) + SCT),  # the entry says one less
        octet_string(sct_list([SCT, b""])),  # an empty entry: SerializedSCT<1..2^16-1>
        octet_string(sct_list([b"", SCT])),
        octet_string(b"\xff\xff" + bytes(40)),  # a lie
    ],
)
def test_a_list_that_lies_is_malformed(value):
    """RFC 6962 s3.3 and its two lengths: anything else refuses the whole list."""
    with pytest.raises(MalformedSctList):
        embedded_list(certificate(value))


def test_two_lists_are_malformed():
    """RFC 5280 s4.2: an extension stands once in a certificate."""
    with pytest.raises(MalformedSctList):
        embedded_list(certificate(octet_string(sct_list([SCT])), octet_string(sct_list([SCT]))))


@given(st.binary(max_size=80))
def test_any_value_gives_a_list_or_malformed_list(value):
    """No octets of the extension make the reader raise anything but MalformedSctList."""
    for wrapped in (value, octet_string(value), octet_string(len(value).to_bytes(2) + value)):
        try:
            assert embedded_list(certificate(wrapped))
        except MalformedSctList:
            continue


@given(st.integers(0, 1 << 20))
def test_one_flipped_bit_of_what_was_signed_breaks_the_signature(bit):
    """TBS, issuer key hash, timestamp, extensions, signature: a single other bit is another statement."""
    key = BIRCH.key.public_key()
    assert is_signed_by(STATIC, key, HASH, TBS)
    assert not is_signed_by(STATIC, key, _flip(HASH, bit), TBS)
    assert not is_signed_by(STATIC, key, HASH, _flip(TBS, bit))
    assert not is_signed_by(replace(STATIC, timestamp=STATIC.timestamp ^ 1 << bit % 64), key, HASH, TBS)
    assert not is_signed_by(replace(STATIC, extensions=_flip(STATIC.extensions, bit)), key, HASH, TBS)
    assert not is_signed_by(replace(STATIC, signature=_flip(STATIC.signature, bit)), key, HASH, TBS)


@given(st.binary(max_size=100))
def test_any_signature_is_refused_and_never_raises(signature):
    """Octets that are no signature at all are simply not the log's."""
    for log in (ALDER, BIRCH):
        sct = replace(parse_sct(log.sign(HASH, TBS, TIME)), signature=signature)
        assert not is_signed_by(sct, log.key.public_key(), HASH, TBS)


def test_another_logs_key_is_refused():
    """A signature counts under its own key only."""
    assert not is_signed_by(parse_sct(SCT), BIRCH.key.public_key(), HASH, TBS)


@pytest.mark.parametrize("algorithms", [(0, 3), (2, 3), (5, 3), (4, 0), (4, 1), (4, 2), (4, 7), (255, 255)])
def test_the_algorithms_named_must_be_those_of_the_key(algorithms):
    """RFC 6962 s2.1.4: SHA-256 with the algorithm of the log's key; a good signature under another label is none."""
    sct = replace(parse_sct(SCT), hash_algorithm=algorithms[0], signature_algorithm=algorithms[1])
    assert is_signed_by(parse_sct(SCT), ALDER.key.public_key(), HASH, TBS)
    assert not is_signed_by(sct, ALDER.key.public_key(), HASH, TBS)


def test_an_rsa_log_signs_with_pkcs1(rsa_key):
    """RFC 6962 s2.1.4 allows RSA; the SCT then says so, and ECDSA's label is refused."""
    log = LabLog("Rowan", "Rowan 1", key=rsa_key)
    sct = parse_sct(log.sign(HASH, TBS, TIME))
    key = rsa_key.public_key()
    assert (sct.hash_algorithm, sct.signature_algorithm) == (4, 1)
    assert is_signed_by(sct, key, HASH, TBS)
    assert not is_signed_by(sct, key, HASH, TBS + b"\0")
    assert not is_signed_by(replace(sct, signature_algorithm=3), key, HASH, TBS)
    assert not is_signed_by(replace(sct, signature=sct.signature[:-1]), key, HASH, TBS)


def test_a_weaker_hash_under_the_right_label_is_refused():
    """The label cannot turn a SHA-1 signature into one that counts."""
    sct = parse_sct(SCT)
    weak = ALDER.key.sign(signed_octets(sct, HASH, TBS), ec.ECDSA(hashes.SHA1()))  # noqa: S303 - what must be refused
    assert not is_signed_by(replace(sct, signature=weak), ALDER.key.public_key(), HASH, TBS)


def test_a_static_ct_sct_without_its_leaf_index_is_refused():
    """The leaf index stands in the extensions, and those octets are signed: stripped or added, it is another SCT."""
    sct = parse_sct(BIRCH.sign(HASH, TBS, TIME))
    assert len(sct.extensions) == 8
    assert not is_signed_by(replace(sct, extensions=b""), BIRCH.key.public_key(), HASH, TBS)
    assert not is_signed_by(replace(parse_sct(SCT), extensions=leaf_index(0)), ALDER.key.public_key(), HASH, TBS)


def test_a_precertificate_too_large_to_be_signed_is_refused():
    """RFC 6962 s3.2: TBSCertificate<1..2^24-1>; what does not fit was signed by nobody."""
    assert not is_signed_by(parse_sct(SCT), ALDER.key.public_key(), HASH, bytes(1 << 24))


@pytest.mark.parametrize("name", ["x509/cryptography-scts.pem", "x509/badssl-sct.pem", "x509/cryptography.io.pem"])
def test_public_certificates_are_read_as_cryptography_reads_them(name):
    """The fields of each SCT agree with an independent parser on certificates that are in the field."""
    with open_vector_file(name, "rb") as file:
        parsed = x509.load_pem_x509_certificate(file.read())
    try:
        expected = list(parsed.extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps).value)
    except x509.ExtensionNotFound:
        assert embedded_list(parsed.public_bytes(Encoding.DER)) is None
        return
    found = [parse_sct(octets) for octets in embedded_list(parsed.public_bytes(Encoding.DER))]
    assert [(sct.log_id, sct.extensions, sct.signature) for sct in found] == [
        (sct.log_id, sct.extension_bytes, sct.signature) for sct in expected
    ]
    assert [sct.timestamp for sct in found] == [_milliseconds(sct.timestamp) for sct in expected]


@pytest.mark.parametrize("name", ["x509/badssl-sct-anonymous-sig.der", "x509/badssl-sct-none-hash.der"])
def test_odd_algorithms_are_read_and_never_verified(name):
    """Real octets with the algorithm `none` or `anonymous` parse; no key signs like that."""
    with open_vector_file(name, "rb") as file:
        scts = [parse_sct(octets) for octets in embedded_list(file.read())]
    odd = [sct for sct in scts if 0 in {sct.hash_algorithm, sct.signature_algorithm}]
    assert odd
    assert not any(is_signed_by(sct, ALDER.key.public_key(), HASH, TBS) for sct in odd)


def _flip(octets, bit):
    """The same octets with one bit turned."""
    turned = bytearray(octets)
    turned[bit // 8 % len(octets)] ^= 1 << bit % 8
    return bytes(turned)


def _milliseconds(naive):
    """`cryptography` gives naive UTC."""
    seconds = (naive - naive.__class__(1970, 1, 1)).total_seconds()
    return round(seconds * 1000)


def with_extensions(octets):
    return replace(STATIC, extensions=octets)


def extension(kind, data):
    return bytes((kind,)) + len(data).to_bytes(2) + data


@given(st.integers(0, 2**40 - 1), st.lists(st.tuples(st.integers(1, 255), st.binary(max_size=9)), max_size=3))
def test_the_leaf_index_is_read_among_other_extensions(index, others):
    """static-ct-api: a big-endian uint40 under type 0; "the order of extensions ... MUST be ignored"."""
    own = extension(0, index.to_bytes(5))
    foreign = b"".join(extension(*other) for other in others)
    assert read_leaf_index(with_extensions(own + foreign)) == index
    assert read_leaf_index(with_extensions(foreign + own)) == index
    assert read_leaf_index(with_extensions(foreign)) is None


def test_the_labs_leaf_index_is_read():
    """What the lab's log writes, in its own code, is what is read."""
    assert read_leaf_index(with_extensions(leaf_index(70_000))) == 70_000
    assert read_leaf_index(parse_sct(SCT)) is None


INDEX = extension(0, bytes(5))
NO_INDEX = {
    "twice": INDEX * 2,
    "four octets": extension(0, bytes(4)),
    "eight octets": extension(0, bytes(8)),
    "empty": extension(0, b""),
    "cut short": INDEX[:-1],
    "an octet behind it": INDEX + b"\0",
    "another extension cut short behind it": INDEX + b"\1\0\2x",
}


@pytest.mark.parametrize("octets", NO_INDEX.values(), ids=NO_INDEX)
def test_a_leaf_index_in_any_other_form_is_none(octets):
    """Duplicates "MUST NOT be included", the data is 5 octets, and the list is whole: else there is no index."""
    assert read_leaf_index(with_extensions(octets)) is None


@given(st.binary(max_size=40))
def test_no_extensions_make_the_reader_raise(octets):
    """Any octets have an index or none."""
    found = read_leaf_index(with_extensions(octets))
    assert found is None or extension(0, found.to_bytes(5)) in octets


def test_the_merkle_tree_leaf_is_what_the_rfc_says():
    """RFC 6962 s3.4: v1(0), timestamped_entry(0), timestamp, precert_entry(1), issuer, TBS, extensions."""
    leaf = merkle_leaf(STATIC, HASH, TBS)
    tail = len(TBS).to_bytes(3) + TBS + len(STATIC.extensions).to_bytes(2) + STATIC.extensions
    assert leaf == b"\0\0" + STATIC.timestamp.to_bytes(8) + b"\0\1" + HASH + tail
