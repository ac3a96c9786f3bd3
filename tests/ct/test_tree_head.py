"""Tree heads: those that the log signed are read, in both spellings; nothing else becomes a `TreeHead`."""

import base64
import json
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.ct import (
    BadTreeHeadSignature,
    LogKind,
    MalformedTreeHead,
    TreeHead,
    read_checkpoint,
    read_sth,
    read_tree_head,
)
from stubresolver.ct.tree_head import MAXIMUM_CHECKPOINT, MAXIMUM_STH
from tests.ct.signing import ORIGIN, Signer, base

ROOT, TIME, SIZE = sha256(b"root").digest(), 1_793_620_800_123, 20_852_163
SIGNER = Signer(ec.generate_private_key(ec.SECP256R1()))
STATIC = Signer(ec.generate_private_key(ec.SECP256R1()), LogKind.STATIC_CT)
STRANGER = Signer(ec.generate_private_key(ec.SECP256R1()), LogKind.STATIC_CT)
LOG, STATIC_LOG = SIGNER.log(), STATIC.log()
STH, CHECKPOINT = SIGNER.sth(SIZE, TIME, ROOT), STATIC.checkpoint(SIZE, TIME, ROOT)
LINE = STATIC.note_line(SIZE, TIME, ROOT)
TEXT = f"{ORIGIN}\n{SIZE}\n{base(ROOT)}\n"
# A witness signs with its own name and key; the log itself may have a second key (signed-note).
WITNESS = "— witness.example/w1 " + base(b"\1\2\3\4" + bytes(76)) + "\n"
OTHER_KEY = f"— {ORIGIN} " + base(b"\xff\2\3\4" + bytes(64)) + "\n"


def note(text=TEXT, lines=LINE):
    return f"{text}\n{lines}".encode()


def facts(head):
    return head.size, head.timestamp, head.root


@pytest.mark.parametrize("kind", LogKind)
@pytest.mark.parametrize("keys", ["ecdsa", "rsa"])
def test_what_a_log_signs_is_read(kind, keys, rsa_key):
    """Size, timestamp and root come back, of P-256 and RSA logs and of both APIs."""
    signer = Signer(rsa_key if keys == "rsa" else SIGNER.key, kind)
    head = read_tree_head(signer.head(SIZE, TIME, ROOT), signer.log())
    assert facts(head) == (SIZE, TIME, ROOT)
    assert head.log_id == signer.log_id
    assert head.time == datetime(2026, 11, 2, 12, 0, 0, 123_000, tzinfo=UTC)


def test_a_published_tree_head_verifies():
    """The sample STH of Chromium's CT tests (net/test/ct_test_util.cc), with the key that signed it."""
    spki = bytes.fromhex(
        "3059301306072a8648ce3d020106082a8648ce3d0301070342000499783cb14533c0161a5ab45bf95d08a29cd0ea8dd4c84274e2be59ad"
        "15c676960cf0afa1074a57ac644b23479e5b3fb7b245eb4b420ef370210371a944beaceb"
    )
    root = bytes.fromhex("726467216167397babca293dca398e4ce6b621b18b9bc42f30c900d1f92ac1e4")
    signature = bytes.fromhex(
        "0403004730450220365a91a2a88f2b9332f41d8959fa7086da7e6d634b7b089bc9da0664266c7a20022100e38464f3c0fd066257b98207"
        "4f7ac87655e0c8f714768a050b4be9a7b441cbd3"
    )
    log = SIGNER.log(log_id=sha256(spki).digest(), key=load_der_public_key(spki))
    head = read_sth(SIGNER.sth(21, 1_396_877_277_237, root, signature), log)
    assert facts(head) == (21, 1_396_877_277_237, root)
    assert head.log_id.hex() == "df1c2ec11500945247a96168325ddc5c7959e8f7c6d388fc002e0bbd3f74d764"


def test_a_real_checkpoint_verifies():
    """A checkpoint of the static-ct log Rome 2024h1 (as in transparency-dev/formats, note tests), and its key."""
    spki = (
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEAXM8Ld9qn64g1zVFDh5FtgxS3zj5sqQDwYMs3wrBV3MCBiFhK/iRLxdKF4YsAcJaEglMlu4L"
        "ewvzxs0xO2uwEw=="
    )
    octets = (
        "rome.ct.filippo.io/2024h1\n115474666\n2q1K6aiIJR+F7TyhiWOghoWOjY0/3dVBLsBbAvB4xCw=\n\n"
        "— rome.ct.filippo.io/2024h1 "
        "ePSrrgAAAY5+gVlSBAMARzBFAiEAv8bOMzo3Ed/GbU9fzzJvaStX6i8xTsmEF+NqvpGhIO0CIEn1X+zzVEerdix64GEn97XCXObA2G5JQ8UDDqCK"
        "dG5m\n"
    ).encode()
    der = base64.b64decode(spki)
    key, url = load_der_public_key(der), "https://rome.ct.filippo.io/2024h1/"
    log = STATIC.log(log_id=sha256(der).digest(), key=key, submission_url=url)
    head = read_checkpoint(octets, log)
    assert (head.size, head.time) == (115_474_666, datetime(2024, 3, 27, 6, 3, 10, 34_000, tzinfo=UTC))
    assert head.octets == octets


@pytest.mark.parametrize(("before", "after"), [(WITNESS, ""), ("", WITNESS), (OTHER_KEY, WITNESS * 60)])
def test_signatures_of_others_are_passed_over(before, after):
    """static-ct-api: "Clients MUST ignore signatures with unknown key names and IDs." They are not kept either."""
    assert read_checkpoint(note(lines=before + LINE + after), STATIC_LOG) == read_checkpoint(note(), STATIC_LOG)


@pytest.mark.parametrize(("signer", "octets"), [(SIGNER, STH), (STATIC, CHECKPOINT)], ids=["sth", "checkpoint"])
def test_what_is_kept_of_a_tree_head_can_be_read_again(signer, octets):
    """`octets` is a tree head of its own: whoever keeps it can hold it against the log's key at any time."""
    head = read_tree_head(octets, signer.log())
    assert read_tree_head(head.octets, signer.log()) == head


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**64 - 1))
def test_every_size_and_time_of_the_protocol_is_read(size, timestamp):
    """The greatest size and timestamp too; a time beyond the calendar is None and no error."""
    for signer in (SIGNER, STATIC):
        head = read_tree_head(signer.head(size, timestamp, ROOT), signer.log())
        assert facts(head) == (size, timestamp, ROOT)
        assert (head.time is None) is (timestamp >= 253_402_300_800_000)


def changed(**named):
    """The STH with other members, signed as it was."""
    return json.dumps(json.loads(STH) | named).encode()


MALFORMED_STH = {
    "nothing": b"",
    "an HTML page": b"<html><body>Bad gateway</body></html>",
    "JSON of something else": b'{"error": "no"}',
    "a list": b"[]",
    "half of it": STH[:-20],
    "two of them": STH * 2,
    "not UTF-8": b'{"tree_size": \xff}',
    "brackets without end": b"[" * 10_000,
    "brackets without end in a member": b'{"x": ' + b"[" * 10_000,
    "too long": STH + b" " * MAXIMUM_STH,
    "a size as text": changed(tree_size="5"),
    "a size with a point": changed(tree_size=5.0),
    "a negative size": changed(tree_size=-1),
    "a size of 63 bits and more": changed(tree_size=1 << 63),
    "a size of 65 bits": changed(tree_size=(1 << 64) + SIZE),
    "a size of thousands of digits": changed(tree_size=10**4_000),
    "a negative timestamp": changed(timestamp=-1),
    "a timestamp of 65 bits": changed(timestamp=1 << 64),
    "a timestamp that is true": changed(timestamp=True),
    "a short root": changed(sha256_root_hash=base(ROOT[:-1])),
    "a long root": changed(sha256_root_hash=base(ROOT + b"\0")),
    "a root in hex": changed(sha256_root_hash=ROOT.hex()[:63] + "!"),
    "a root that is not ASCII": changed(sha256_root_hash="ß" * 44),
    "a root with other padding": changed(sha256_root_hash=base(ROOT)[:-2] + "B="),
    "a root in lines": changed(sha256_root_hash=base(ROOT)[:20] + "\n" + base(ROOT)[20:]),
    "no signature": changed(tree_head_signature=None),
    "a signature in hex": changed(tree_head_signature="zz"),
}


@pytest.mark.parametrize("octets", MALFORMED_STH.values(), ids=MALFORMED_STH)
def test_octets_that_are_no_sth_are_malformed(octets):
    """What is no tree head says nothing about the log, and so is told apart from a wrong signature."""
    with pytest.raises(MalformedTreeHead):
        read_sth(octets, LOG)


MISSIGNED = {
    "another size": changed(tree_size=SIZE - 1),
    "another timestamp": changed(timestamp=TIME + 1),
    "another root": changed(sha256_root_hash=base(sha256(b"other").digest())),
    "another log": STRANGER.sth(SIZE, TIME, ROOT),
    "a signature over an SCT": changed(
        tree_head_signature=base(SIGNER.digitally_sign(b"\0\0" + TIME.to_bytes(8) + SIZE.to_bytes(8) + ROOT))
    ),
    "an empty signature": changed(tree_head_signature=""),
    "no signature inside": changed(tree_head_signature=base(b"\4\3\0\0")),
    "a signature of another length": changed(tree_head_signature=base(SIGNER.head_signature(SIZE, TIME, ROOT) + b"\0")),
    "a length that is not the signature's": changed(
        tree_head_signature=base(b"\4\3\0\0" + SIGNER.head_signature(SIZE, TIME, ROOT)[4:])
    ),
    "three octets": changed(tree_head_signature=base(b"\4\3\0")),
    "RSA from a P-256 log": changed(tree_head_signature=base(b"\4\1" + SIGNER.head_signature(SIZE, TIME, ROOT)[2:])),
    "SHA-1": changed(tree_head_signature=base(b"\2\3" + SIGNER.head_signature(SIZE, TIME, ROOT)[2:])),
}


@pytest.mark.parametrize("octets", MISSIGNED.values(), ids=MISSIGNED)
def test_a_tree_head_that_the_log_did_not_sign_is_told_apart(octets):
    """A readable tree head whose signature is not this log's over exactly these values."""
    with pytest.raises(BadTreeHeadSignature):
        read_sth(octets, LOG)


MALFORMED_CHECKPOINT = {
    "nothing": b"",
    "an HTML page": b"<html>\n<body>Not found</body>\n\n</html>\n",
    "no signatures": TEXT.encode(),
    "no signature line": note(lines=""),
    "no newline at the end": CHECKPOINT[:-1],
    "another line among the signatures": note(lines=LINE + "hello\n"),
    "a signature line of four words": note(lines=LINE + "— a b c\n"),
    "a hyphen for the dash": note(lines=LINE.replace("—", "-")),
    "an empty line at the end": CHECKPOINT + b"\n",
    "not UTF-8": CHECKPOINT + b"\xff",
    "a carriage return": CHECKPOINT.replace(b"\n", b"\r\n"),
    "a zero octet": CHECKPOINT + b"\0",
    "an escape sequence in another's line": note(lines=LINE + WITNESS.replace("w1", "\x1b[2J")),
    "another log's origin": note(TEXT.replace("2026h2", "2026h1"), LINE.replace("2026h2", "2026h1")),
    "an origin with its scheme": note("https://" + TEXT),
    "an origin with its slash": note(TEXT.replace("2026h2\n", "2026h2/\n")),
    "no origin": note("\n" + TEXT.partition("\n")[2]),
    "an extension line": note(TEXT + "more\n"),
    "two lines": note(f"{ORIGIN}\n{SIZE}\n"),
    "an empty size": note(TEXT.replace(str(SIZE), "")),
    "a size with a zero before it": note(TEXT.replace(str(SIZE), f"0{SIZE}")),
    "a size of two zeroes": note(TEXT.replace(str(SIZE), "00")),
    "a size with its sign": note(TEXT.replace(str(SIZE), f"+{SIZE}")),
    "a negative size": note(TEXT.replace(str(SIZE), f"-{SIZE}")),
    "a size in other digits": note(TEXT.replace(str(SIZE), "٢٠")),
    "a size with underscores": note(TEXT.replace(str(SIZE), "20_852_163")),
    "a size of 63 bits and more": note(TEXT.replace(str(SIZE), str(1 << 63))),
    "a size of thousands of digits": note(TEXT.replace(str(SIZE), "9" * 5_000)),
    "a root in hex": note(TEXT.replace(base(ROOT), ROOT.hex() + "=")),
    "a short root": note(TEXT.replace(base(ROOT), base(ROOT[:-1]))),
    "too long": note(lines=LINE + WITNESS * (MAXIMUM_CHECKPOINT // len(WITNESS) + 1)),
}


@pytest.mark.parametrize("octets", MALFORMED_CHECKPOINT.values(), ids=MALFORMED_CHECKPOINT)
def test_octets_that_are_no_checkpoint_are_malformed(octets):
    """What is no checkpoint of this log, to the letter, says nothing about it."""
    with pytest.raises(MalformedTreeHead):
        read_checkpoint(octets, STATIC_LOG)


KEY_ID = sha256(f"{ORIGIN}\n".encode() + b"\5" + STATIC.log_id).digest()[:4]
SHORT = base(KEY_ID + bytes(6))
MISSIGNED_CHECKPOINT = {
    "only others sign": note(lines=WITNESS + OTHER_KEY),
    "another log signs in its name": note(lines=STRANGER.note_line(SIZE, TIME, ROOT)),
    "another log signs under its key id": note(
        lines=STATIC.note_line(SIZE, TIME, ROOT, signature=STRANGER.head_signature(SIZE, TIME, ROOT))
    ),
    "a key id of another type": note(
        lines=STATIC.note_line(
            SIZE, TIME, ROOT, key_id=sha256(f"{ORIGIN}\n".encode() + b"\1" + STATIC.log_id).digest()[:4]
        )
    ),
    "the log's key under another name": note(lines=STATIC.note_line(SIZE, TIME, ROOT, name="logs.example/2026h1")),
    "the log's key and its key id under another name": note(
        lines=STATIC.note_line(SIZE, TIME, ROOT, name="logs.example/2026h1", key_id=KEY_ID)
    ),
    "the log signs twice": note(lines=LINE + STATIC.note_line(SIZE, TIME + 1, ROOT)),
    "another size": note(TEXT.replace(str(SIZE), str(SIZE + 1))),
    "an empty tree": note(TEXT.replace(str(SIZE), "0")),
    "another timestamp": note(
        lines=STATIC.note_line(SIZE, TIME + 1, ROOT, signature=STATIC.head_signature(SIZE, TIME, ROOT))
    ),
    "another root": note(TEXT.replace(base(ROOT), base(sha256(b"other").digest()))),
    "cut short": note(lines=f"— {ORIGIN} {SHORT}\n"),
    "a signature that is not base64": note(lines=f"— {ORIGIN} !!!!\n"),
    "a signature in base64 of another spelling": note(lines=LINE.replace("\n", "=\n")),
}


@pytest.mark.parametrize("octets", MISSIGNED_CHECKPOINT.values(), ids=MISSIGNED_CHECKPOINT)
def test_a_checkpoint_that_the_log_did_not_sign_is_told_apart(octets):
    """signed-note: "If no signature from a known key verifies successfully, clients MUST reject the note."."""
    with pytest.raises(BadTreeHeadSignature):
        read_checkpoint(octets, STATIC_LOG)


def test_a_log_without_a_submission_prefix_has_no_checkpoints():
    """Without it nobody can say what the origin must be: an empty one does not match an empty one."""
    nameless = Signer(STATIC.key, LogKind.STATIC_CT, origin="")
    with pytest.raises(MalformedTreeHead):
        read_checkpoint(nameless.checkpoint(SIZE, TIME, ROOT), STATIC.log(submission_url=""))


@pytest.mark.parametrize(("octets", "log"), [(STH, LOG), (CHECKPOINT, STATIC_LOG)], ids=["sth", "checkpoint"])
def test_no_flipped_bit_makes_another_tree_head(octets, log):
    """Every bit in turn: refused, or read as what was signed (as where white space of the JSON changes)."""
    signed = facts(read_tree_head(octets, log))
    for bit in range(len(octets) * 8):
        turned = bytearray(octets)
        turned[bit // 8] ^= 1 << bit % 8
        try:
            found = read_tree_head(bytes(turned), log)
        except (MalformedTreeHead, BadTreeHeadSignature):
            continue
        assert facts(found) == signed, bit


@given(
    st.binary(max_size=200) | st.text(max_size=200).map(str.encode) | st.binary(max_size=99).map(TEXT.encode().__add__)
)
def test_any_octets_are_malformed_or_missigned(octets):
    """Whatever a server answers, there is no other exception, and nothing unsigned is read."""
    for log in (LOG, STATIC_LOG):
        with pytest.raises((MalformedTreeHead, BadTreeHeadSignature)):
            read_tree_head(octets, log)


def test_a_tree_head_is_a_value():
    """Equal where all is equal; its octets are not shown where it is printed."""
    head = TreeHead(b"id", 1, 2, ROOT, b"octets")
    assert head == TreeHead(b"id", 1, 2, ROOT, b"octets")
    assert "octets" not in repr(head)
