"""What lab logs say when they are read: the JSON of RFC 6962, checkpoints and tiles, taken apart with other code."""

import base64
import json
from datetime import timedelta
from hashlib import sha256
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.lab.dishonest import DECEITS
from stubresolver.lab.log_api import LogFront, Page
from stubresolver.lab.logs import LabLog, milliseconds

ISSUER, TBS, HOST = bytes(range(32)), b"\x30\x03abc", "logs.lab:4711"
KEY = ec.generate_private_key(ec.SECP256R1())
SIGNED = {"bad-signature"}  # what it changes is the signature alone


@pytest.fixture
def front(now):
    """An RFC 6962 log with one SCT's entry in it."""
    return LogFront(LabLog("Alder", "Alder 1"), HOST, lambda: now)


@pytest.fixture
def tiled(now):
    """A static-ct log with one SCT's entry in it."""
    return LogFront(LabLog("Birch", "Birch 1", "static-ct"), HOST, lambda: now)


def read(front, path):
    page = front.read(path)
    assert page.status == 200, page
    return json.loads(page.body)


def verify(log, signature, timestamp, size, root):
    """RFC 6962 s3.5: the signature is over version, type, timestamp, size and root."""
    assert signature[:2] == b"\4\3"
    assert int.from_bytes(signature[2:4]) == len(signature) - 4
    signed = b"\0\1" + timestamp.to_bytes(8) + size.to_bytes(8) + root
    log.key.public_key().verify(signature[4:], signed, ec.ECDSA(hashes.SHA256()))


def test_sth_is_signed_over_the_tree(front, now):
    """RFC 6962 s3.5 and s4.3: size, time and root of the whole tree, signed by the log."""
    head = read(front, "ct/v1/get-sth")
    assert (head["tree_size"], head["timestamp"]) == (5000, milliseconds(now))
    root, signature = (base64.b64decode(head[name]) for name in ("sha256_root_hash", "tree_head_signature"))
    assert root == front.log.tree.root(5000)
    verify(front.log, signature, head["timestamp"], 5000, root)


def test_checkpoint_is_a_signed_note(tiled, now):
    """c2sp static-ct: origin, size, root, an empty line, and one line with key id, time and signature."""
    lines = tiled.read("checkpoint").body.decode().split("\n")
    assert lines[0] == "logs.lab:4711/birch-1"
    assert (lines[1], lines[3], lines[5:]) == ("5000", "", [""])
    dash, name, encoded = lines[4].split(" ")
    assert (dash, name) == ("\N{EM DASH}", lines[0])
    octets = base64.b64decode(encoded)
    assert octets[:4] == sha256(b"logs.lab:4711/birch-1\x0a\x05" + tiled.log.log_id).digest()[:4]
    assert int.from_bytes(octets[4:12]) == milliseconds(now)
    verify(tiled.log, octets[12:], milliseconds(now), 5000, base64.b64decode(lines[2]))


@pytest.mark.parametrize("kind", ["rfc6962", "static-ct"])
def test_what_is_signed_is_entered(kind):
    """RFC 6962 s3: an SCT is the promise to enter the certificate; of a static-ct log it names the place."""
    log = LabLog("Alder", "Alder 1", kind)
    sct = log.sign(ISSUER, TBS, 1000)
    extensions = sct[43 : 43 + int.from_bytes(sct[41:43])]
    entry = b"\0\0" + (1000).to_bytes(8) + b"\0\1" + ISSUER + len(TBS).to_bytes(3) + TBS
    leaf = sha256(b"\0" + entry + len(extensions).to_bytes(2) + extensions).digest()
    assert log.tree.index_of(leaf, log.tree.size) == 5000
    assert int.from_bytes(extensions[3:]) == (5000 if kind == "static-ct" else 0)


def test_forgery_is_not_entered():
    """A log knows nothing of what another key signs in its name."""
    log = LabLog("Alder", "Alder 1")
    log.sign(ISSUER, TBS, 1000, signer=LabLog("Birch", "Birch 1").key)
    assert log.tree.size == 5000


def test_proof_by_hash_finds_a_leaf(front):
    """RFC 6962 s4.5: the index of the leaf and its audit path in the tree of that size."""
    leaf = quote(base64.b64encode(sha256(b"\0filler 7").digest()), safe="")
    proof = read(front, f"ct/v1/get-proof-by-hash?hash={leaf}&tree_size=4000")
    assert proof["leaf_index"] == 7
    assert [base64.b64decode(node) for node in proof["audit_path"]] == front.log.tree.inclusion(7, 4000)


def test_consistency_is_served(front):
    """RFC 6962 s4.4: the nodes of the proof between two sizes."""
    proof = read(front, "ct/v1/get-sth-consistency?first=3000&second=5000")
    assert [base64.b64decode(node) for node in proof["consistency"]] == front.log.tree.consistency(3000, 5000)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("ct/v1/get-proof-by-hash?hash=AAAA&tree_size=5000", 404),
        ("ct/v1/get-proof-by-hash?hash=AAAA&tree_size=5001", 400),
        ("ct/v1/get-proof-by-hash?hash=AAAA&tree_size=0", 400),
        ("ct/v1/get-proof-by-hash?hash=AAA&tree_size=5", 400),
        ("ct/v1/get-proof-by-hash?tree_size=5", 400),
        ("ct/v1/get-proof-by-hash", 400),
        ("ct/v1/get-sth-consistency?first=5&second=4", 400),
        ("ct/v1/get-sth-consistency?first=x&second=4", 400),
        ("ct/v1/get-sth-consistency?first=1&second=5001", 400),
        ("ct/v1/get-sth-consistency?&&", 400),
        ("checkpoint", 404),
        ("", 404),
    ],
)
def test_bad_questions_have_a_status(front, path, status):
    """What cannot be answered is 400, what is not there 404; nothing raises."""
    assert front.read(path).status == status


@pytest.mark.parametrize(
    ("path", "level", "number", "width"),
    [
        ("tile/0/000", 0, 0, 256),
        ("tile/0/018", 0, 18, 256),
        ("tile/0/019.p/136", 0, 19, 136),
        ("tile/0/019.p/1", 0, 19, 1),
        ("tile/1/000.p/19", 1, 0, 19),
    ],
)
def test_tiles_are_served(tiled, path, level, number, width):
    """c2sp tlog-tiles: whole tiles, and partial ones of every width that the tree has reached."""
    page = tiled.read(path)
    assert (page.status, page.content_type) == (200, "application/octet-stream")
    assert page.body == tiled.log.tree.tile(level, number, width)
    assert len(page.body) == 32 * width


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/019", "tile/0/019.p/137", "tile/0/000.p/257", "tile/0/000.p/0", "tile/1/000", "tile/2/000.p/1",
        "tile/0/19", "tile/0/x001/000", "tile/-1/000", "tile/0/x000", "ct/v1/get-sth",
    ],
)  # fmt: skip
def test_tiles_that_are_not_there(tiled, path):
    """A tile beyond the tree, or a path that is none, is 404."""
    assert tiled.read(path).status == 404


def test_long_numbers_are_in_groups_of_three(now):
    """c2sp tlog-tiles: tile 1000 is x001/000."""
    log = LabLog("Birch", "Birch 1", "static-ct")
    log.tree.grow(256 * 1001 - log.tree.size)
    front = LogFront(log, HOST, lambda: now)
    assert front.read("tile/0/x001/000").body == log.tree.tile(0, 1000, 256)
    assert front.read("tile/2/000.p/3").body == log.tree.tile(2, 0, 3)


@given(st.text())
def test_any_path_has_a_page(path):
    """Whatever is asked, a log answers with a page."""
    for kind in ("rfc6962", "static-ct"):
        front = LogFront(LabLog("Alder", "Alder 1", kind, key=KEY), HOST, lambda: None)
        assert isinstance(front.read(f"ct/v1/get-proof-by-hash?{path}"), Page)
        assert isinstance(front.read(f"tile/{path}"), Page)


@pytest.mark.parametrize("deceit", DECEITS, ids=lambda deceit: deceit.code)
@pytest.mark.parametrize("kind", ["rfc6962", "static-ct"])
def test_deceit_changes_what_is_shown(deceit, kind, now):
    """Each story changes what the log shows, and not the log: who is asked later finds the honest tree in it."""
    log = LabLog("Alder", "Alder 1", kind)
    log.sign(ISSUER, TBS, milliseconds(now - timedelta(days=2)))
    root = log.tree.root(5001)
    front, honest = LogFront(log, HOST, lambda: now), LogFront(log, HOST, lambda: now)
    deceit.begin(front, 5000)
    paths = ["checkpoint", "tile/0/019.p/137"] if kind == "static-ct" else ["ct/v1/get-sth", proof(log)]
    shown = [front.read(path) for path in paths]
    # an ECDSA signature is another one each time, and so is the tree head that bears it
    assert [strip(page) for page in shown] != [strip(honest.read(path)) for path in paths] or deceit.code in SIGNED
    assert log.tree.root(5001) == root


def proof(log):
    leaf = quote(base64.b64encode(log.tree.tile(0, 19, 137)[-32:]), safe="")
    return f"ct/v1/get-proof-by-hash?hash={leaf}&tree_size=5001"


def strip(page):
    """A page without its signature."""
    if page is None or page.status != 200:
        return page and page.status
    if page.body.startswith(b'{"tree_size"'):
        return {**json.loads(page.body), "tree_head_signature": ""}
    return page.body.partition("\N{EM DASH}".encode())[0]


def test_deceits_have_names_of_their_own():
    """A deceit can be named by its code and told apart by its title."""
    assert len({deceit.code for deceit in DECEITS}) == len({deceit.title for deceit in DECEITS}) == len(DECEITS)
