"""A log in memory that speaks both read APIs, honestly until it is told otherwise. Shares no code with `audit`."""

import base64
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from urllib.parse import parse_qs, urlsplit

import trio
from cryptography.hazmat.primitives.asymmetric import ec

from stubresolver.audit import Entry
from stubresolver.ct import LogKind, SignedCertificateTimestamp, read_tree_head
from stubresolver.errors import FetchFailed
from tests.ct.naive import NaiveTree
from tests.ct.signing import Signer

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PROMISED = NOW - 3 * DAY  # when the SCT was signed
KEYS = {kind: ec.generate_private_key(ec.SECP256R1()) for kind in LogKind}
GARBAGE = b"<html><body>It works!</body></html>"


def milliseconds(moment):
    return int(moment.timestamp() * 1000)


@dataclass
class Face:
    """What a log shows at one time: so many leaves of a tree, signed for a time."""

    tree: NaiveTree
    size: int
    moment: datetime


class FakeLog:
    """One log with one entry of ours in it.

    `answers` spoils it: what a part of the URL leads to instead of the honest answer, octets, an exception or a list
    of such, one after the other, and then what is honest.
    """

    def __init__(self, kind, *, index=70, size=300, signer=None, extensions=None, **facts):
        self.kind = kind
        self.signer = signer or Signer(KEYS[kind], kind)
        self.log = self.signer.log(**facts)
        self.index = index
        self.entry = make_entry(self.signer, self.log, index, extensions)
        self.tree = tree_with(self.entry.merkle_leaf, index)
        self.face = Face(self.tree, size, NOW - HOUR)
        self.answers = {}
        self.asked = []
        self.omit_partial = False  # static-ct-api: allowed where there is the full tile

    def show(self, size, moment=None, tree=None):
        """Grow, shrink or fork: what is served from now on."""
        self.face = Face(tree or self.face.tree, size, moment or self.face.moment)

    def head(self, size, moment=NOW - 2 * HOUR, tree=None):
        """A tree head as if it had been seen before."""
        octets = self.signer.head(size, milliseconds(moment), (tree or self.tree).root(size))
        return read_tree_head(octets, self.log)

    async def get(self, url):
        """What `audit` asks through."""
        await trio.lowlevel.checkpoint()
        assert url.startswith(self.log.url)
        path = url.removeprefix(self.log.url)
        self.asked.append(path)
        for part, answer in self.answers.items():
            if part in path:
                given = answer.pop(0) if isinstance(answer, list) and answer else answer
                if isinstance(given, Exception):
                    raise given
                if isinstance(given, bytes):
                    return given
        return self._honest(path)

    def _honest(self, path):
        face = self.face
        if path in {"ct/v1/get-sth", "checkpoint"}:
            return self.signer.head(face.size, milliseconds(face.moment), face.tree.root(face.size))
        if self.kind is LogKind.STATIC_CT:
            return self._tile(path)
        query = {name: values[0] for name, values in parse_qs(urlsplit(path).query, strict_parsing=True).items()}
        if path.startswith("ct/v1/get-sth-consistency?"):
            return self._consistency(int(query["first"]), int(query["second"]))
        assert path.startswith("ct/v1/get-proof-by-hash?")
        return self._proof(base64.b64decode(query["hash"]), int(query["tree_size"]))

    def _consistency(self, first, second):
        if not 0 < first <= second <= self.face.size:
            raise status(400)
        return encoded(consistency=[base(node) for node in self.face.tree.proof(first, second)])

    def _proof(self, wanted, size):
        tree = self.face.tree
        index = next((index for index in range(size) if tree.leaf(index) == wanted), None)
        if index is None or size > self.face.size:
            raise status(404)
        return encoded(leaf_index=index, audit_path=[base(node) for node in tree.path(index, size)])

    def _tile(self, path):
        level, number, width = parse_tile(path)
        entries = self.face.size // 256**level
        have = min(256, entries - 256 * number)
        if width > have or (self.omit_partial and have == 256 and width < 256):
            raise status(404)
        return self.face.tree.tile(level, number, width)


def make_entry(signer, log, index, extensions=None):
    """An SCT of that log, promised at `PROMISED`, and the leaf that it is about."""
    if extensions is None:
        extensions = b"\0\0\5" + index.to_bytes(5) if log.kind is LogKind.STATIC_CT else b""
    moment = milliseconds(PROMISED)
    tail = b"\0\1" + sha256(b"issuer").digest() + b"\0\0\3tbs" + len(extensions).to_bytes(2) + extensions
    leaf = b"\0\0" + moment.to_bytes(8) + tail
    signed = signer.digitally_sign(leaf)
    sct = SignedCertificateTimestamp(log.log_id, moment, extensions, signed[0], signed[1], signed[4:])
    serialized = b"\0" + log.log_id + moment.to_bytes(8) + len(extensions).to_bytes(2) + extensions + signed
    return Entry(sha256(b"certificate").hexdigest(), log, sct, serialized, leaf)


def tree_with(leaf, index, size=600, name=b"filler"):
    """A tree of other leaves and, at `index`, this one; leaf None leaves it out."""
    leaves = [b"%s %d" % (name, number) for number in range(size)]
    if leaf is not None:
        leaves[index] = leaf
    return NaiveTree(leaves)


def without(fake, *, start=0):
    """The log's tree without our entry, other leaves from `start` on."""
    leaves = list(fake.tree.leaves)
    leaves[fake.index] = b"something else"
    leaves[start:] = [b"other " + leaf if number != fake.index else leaf for number, leaf in enumerate(leaves)][start:]
    return NaiveTree(leaves)


def forked(fake, at):
    """The log's tree with other leaves from `at` on."""
    return NaiveTree([*fake.tree.leaves[:at], *(b"forked " + leaf for leaf in fake.tree.leaves[at:])])


def relisted(fake, **facts):
    """The same log with other facts in the list."""
    fake.log = replace(fake.log, **facts)
    fake.entry = replace(fake.entry, log=fake.log)
    return fake


def status(number):
    return FetchFailed(f"https://log.example/: status {number}, expected 200", number, b"no")


def base(octets):
    return base64.b64encode(octets).decode()


def encoded(**members):
    return json.dumps(members).encode()


def parse_tile(path):
    """static-ct-api: tile/<L>/<N>[.p/<W>]."""
    name, _, width = path.partition(".p/")
    word, level, *groups = name.split("/")
    assert word == "tile"
    assert all(len(group) == 4 and group[0] == "x" for group in groups[:-1])
    assert len(groups[-1]) == 3
    assert not width or 1 <= int(width) <= 255
    return int(level), int("".join(group[-3:] for group in groups)), int(width or 256)
