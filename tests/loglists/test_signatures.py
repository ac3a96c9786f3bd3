"""Detached signatures: the right one over the right octets by the right key, and nothing else."""

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.errors import BadInput, SourceRefused
from stubresolver.loglists import KeyKind, load_key, verify_signature

LIST, OTHER = b'{"a": "list"}', b'{"another": "list"}'
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ED = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY_ID = bytes.fromhex("0123456789abcdef")


def pem(key):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def minisign_key(key=ED, key_id=KEY_ID):
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return b"untrusted comment: minisign public key\n" + base64.b64encode(b"Ed" + key_id + raw) + b"\n"


def minisig(octets, *, key=ED, key_id=KEY_ID, legacy=False, comment=b"timestamp:1\tfile:list.json"):
    """What `minisign -S` writes, from its description: prehashed unless it is asked for the legacy format."""
    signature = key.sign(octets if legacy else hashlib.blake2b(octets).digest())
    lines = [
        b"untrusted comment: signature from minisign secret key",
        base64.b64encode((b"Ed" if legacy else b"ED") + key_id + signature),
        b"trusted comment: " + comment,
        base64.b64encode(key.sign(signature + comment)),
    ]
    return b"\n".join(lines) + b"\n"


def signed_by_rsa(octets, key=RSA):
    return key.sign(octets, padding.PKCS1v15(), hashes.SHA256())


PAIRS = {
    "rsa": (load_key(pem(RSA)), signed_by_rsa),
    "ed25519": (load_key(pem(ED)), ED.sign),
    "minisign": (load_key(minisign_key()), minisig),
    "minisign, legacy": (load_key(minisign_key()), lambda octets: minisig(octets, legacy=True)),
}


def refused(key, octets, signature):
    with pytest.raises(SourceRefused) as caught:
        verify_signature(key, octets, signature)
    assert str(caught.value).startswith("mis-signed: ")
    return str(caught.value)


@pytest.mark.parametrize("name", PAIRS)
def test_the_right_signature_is_accepted(name):
    """Each kind of key takes its own kind of signature."""
    key, sign = PAIRS[name]
    verify_signature(key, LIST, sign(LIST))


@pytest.mark.parametrize("name", PAIRS)
@given(data=st.data())
def test_one_bit_of_the_list_refuses(name, data):
    """Any bit of what was signed."""
    key, sign = PAIRS[name]
    bit = data.draw(st.integers(0, len(LIST) * 8 - 1))
    changed = bytearray(LIST)
    changed[bit // 8] ^= 1 << bit % 8
    refused(key, bytes(changed), sign(LIST))


@pytest.mark.parametrize("name", ["rsa", "ed25519"])
@given(data=st.data())
def test_one_bit_of_the_signature_refuses(name, data):
    """Any bit of a signature that is nothing but octets."""
    key, sign = PAIRS[name]
    signature = bytearray(sign(LIST))
    bit = data.draw(st.integers(0, len(signature) * 8 - 1))
    signature[bit // 8] ^= 1 << bit % 8
    refused(key, LIST, bytes(signature))


@pytest.mark.parametrize("name", PAIRS)
def test_the_signature_of_another_list_refuses(name):
    """It is a good signature, of something else."""
    key, sign = PAIRS[name]
    assert "over this list" in refused(key, LIST, sign(OTHER))


@pytest.mark.parametrize("name", PAIRS)
def test_a_signature_by_another_key_refuses(name):
    """The same kind of key, another one."""
    others = {
        "rsa": load_key(pem(rsa.generate_private_key(public_exponent=65537, key_size=2048))),
        "ed25519": load_key(pem(ed25519.Ed25519PrivateKey.generate())),
        "minisign": load_key(minisign_key(ed25519.Ed25519PrivateKey.generate())),
    }
    _, sign = PAIRS[name]
    refused(others[name.partition(",")[0]], LIST, sign(LIST))


@pytest.mark.parametrize("name", PAIRS)
def test_no_kind_of_key_takes_anothers_signature(name):
    """Nothing in a signature chooses how it is checked: also with an ed25519 key that is minisign's, too."""
    key, _ = PAIRS[name]
    for _, sign in PAIRS.values():
        signature = sign(LIST)
        if KeyKind.MINISIGN is key.kind and signature.startswith(b"untrusted"):
            continue
        if signature != PAIRS[name][1](LIST):
            refused(key, LIST, signature)


@pytest.mark.parametrize("legacy", [False, True])
def test_an_altered_trusted_comment_refuses(legacy):
    """The comment says of which day a list is; the global signature is over it."""
    signature = minisig(LIST, legacy=legacy).replace(b"timestamp:1", b"timestamp:2")
    assert "the trusted comment is not the one that" in refused(load_key(minisign_key()), LIST, signature)


def test_a_trusted_comment_of_another_signature_refuses():
    """Comment and global signature fit each other, but not this signature."""
    mine, theirs = minisig(LIST).split(b"\n"), minisig(OTHER, comment=b"newer").split(b"\n")
    assert "trusted comment" in refused(load_key(minisign_key()), LIST, b"\n".join(mine[:2] + theirs[2:]))


def test_a_legacy_signature_is_not_one_over_the_hash():
    """The letters say what was signed; changing them does not make one from the other."""
    for legacy, old, new in ((False, b"ED", b"Ed"), (True, b"Ed", b"ED")):
        lines = minisig(LIST, legacy=legacy).split(b"\n")
        lines[1] = base64.b64encode(base64.b64decode(lines[1]).replace(old, new, 1))
        refused(load_key(minisign_key()), LIST, b"\n".join(lines))


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[:3],
        lambda lines: [*lines, b"more"],
        lambda lines: [b"comment: none", *lines[1:]],
        lambda lines: [*lines[:2], b"comment: x", lines[3]],
        lambda lines: [lines[0], b"!" + lines[1], *lines[2:]],
        lambda lines: [lines[0], base64.b64encode(b"XX" + base64.b64decode(lines[1])[2:]), *lines[2:]],
        lambda lines: [lines[0], lines[1][:-4], *lines[2:]],
        lambda lines: [*lines[:3], lines[3][:-4]],
        lambda lines: [*lines[:3], b""],
    ],
)
def test_a_malformed_minisig_refuses(change):
    """Four lines, each what it must be."""
    lines = minisig(LIST).rstrip(b"\n").split(b"\n")
    refused(load_key(minisign_key()), LIST, b"\n".join(change(lines)))


def test_the_key_that_signed_is_named():
    """Minisign shows an id as a number, its octets reversed; the message has what a person can compare."""
    message = refused(load_key(minisign_key(), "ours.pub"), LIST, minisig(LIST, key_id=bytes(8)))
    assert message == "mis-signed: by minisign key 0000000000000000, expected ours.pub"
    assert load_key(minisign_key()).name == "minisign key EFCDAB8967452301"


@given(st.binary(max_size=300))
def test_any_octets_are_a_signature_or_refused(octets):
    """Nothing but `SourceRefused` comes out."""
    for key, _ in PAIRS.values():
        refused(key, LIST, octets)
        refused(key, LIST, b"untrusted comment: x\n" + octets + b"\ntrusted comment: x\n" + octets)


def test_a_signature_of_many_octets_is_not_looked_at():
    """200 MB of signature is none."""
    assert "expected 8192 at most" in refused(load_key(pem(ED)), LIST, bytes(8193))


def test_the_signatures_of_the_real_lists_verify(shared_data):
    """RSA-4096 over the raw octets, and only over them."""
    folder = shared_data / "loglists"
    key = load_key((folder / "google_log_list_pubkey.pem").read_bytes())
    assert key.name.startswith("RSA-4096 key ")
    lists = sorted(folder.glob("google_v3_*.json"))
    assert len(lists) == 3
    for path in lists:
        octets, signature = path.read_bytes(), path.with_suffix(".sig").read_bytes()
        verify_signature(key, octets, signature)
        refused(key, octets + b"\n", signature)
        refused(key, octets.replace(b"\n", b"\r\n"), signature)


def test_one_key_has_one_fingerprint():
    """Under two names, in two files, even as minisign's: the quorum must not take it for two."""
    assert load_key(pem(RSA), "a").fingerprint == load_key(pem(RSA), "b").fingerprint
    assert load_key(pem(ED)).fingerprint == load_key(minisign_key()).fingerprint
    assert load_key(pem(ED)).fingerprint != load_key(pem(RSA)).fingerprint


def test_a_minisign_key_may_be_its_line_alone():
    """As it is given on minisign's command line."""
    assert load_key(minisign_key().splitlines()[1]) == load_key(minisign_key())


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"RWQ",
        minisign_key() + b"more",
        minisign_key().replace(b"RW", b"AA"),
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        pem(RSA)[:200],
        pem(ec.generate_private_key(ec.SECP256R1())),
        pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)),  # noqa: S505  the point of the case
        ED.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    ],
)
def test_what_is_no_key_is_the_persons_mistake(octets):
    """Weak, of another kind, private, damaged: `BadInput`, because the file is configuration."""
    with pytest.raises(BadInput, match="key"):
        load_key(octets)
