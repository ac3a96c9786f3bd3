"""What a lab log says when it is read: RFC 6962's JSON, or the checkpoint and tiles of static-ct. No socket, no clock.

A request's path goes in, a `Page` comes out. What is said is the log's own tree, dated by the caller's clock, unless a
story (lab/dishonest.py) has put another tree, size, date, root or signer in its place; the octets are written here from
the specifications and are read by `ct` with other code.

RFC 6962 s3.5 and s4.3 to s4.5; c2sp.org/static-ct-api, c2sp.org/tlog-checkpoint, c2sp.org/tlog-tiles.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from urllib.parse import parse_qs

from stubresolver.lab.logs import LabLog, LogKey, digitally_sign, milliseconds, slug
from stubresolver.lab.tree import TILE_WIDTH, Tree

_TILE = re.compile(r"tile/([0-9]|[1-5][0-9])/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")


@dataclass(frozen=True, slots=True)
class Page:
    """One HTTP response."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"


NOT_FOUND = Page(b'{"error": "not found"}', 404)
BAD_REQUEST = Page(b'{"error": "bad request"}', 400)
UNAVAILABLE = Page(b"come back later", 503, "text/plain")
_HEADS = {"checkpoint", "ct/v1/get-sth"}


@dataclass(slots=True)
class LogFront:
    """One log as its readers see it; the fields that a story may change are None while the log is honest."""

    log: LabLog
    host: str  # and port: "logs.lab:4711", as in the log list
    clock: Callable[[], datetime]
    tree: Tree = field(init=False)  # that is shown
    size: int | None = None  # of which only so many leaves are shown
    dated: datetime | None = None  # the tree head's time
    root: bytes | None = None  # that the tree head claims
    signer: LogKey | None = None  # of tree heads
    heads_only: bool = False  # tree heads are shown, and 503 in place of every proof
    instead: Page | None = None  # of whatever is asked
    silent: bool = False  # nothing is ever answered
    asked: list[str] = field(init=False, default_factory=list)  # every path, in order

    def __post_init__(self) -> None:
        self.tree = self.log.tree

    def read(self, path: str) -> Page | None:
        """The answer to a GET of `path`, which begins behind the log's own prefix; None for silence."""
        self.asked.append(path)
        if self.silent or self.instead:
            return None if self.silent else self.instead
        if self.heads_only and path not in _HEADS:
            return UNAVAILABLE
        if self.log.kind == "static-ct":
            return self._checkpoint() if path == "checkpoint" else self._tile(path)
        place, _, query = path.partition("?")
        try:
            asked = {name: values[0] for name, values in parse_qs(query, strict_parsing=bool(query)).items()}
            return self._rfc6962(place, asked)
        except (KeyError, ValueError):
            return BAD_REQUEST

    @property
    def shown_size(self) -> int:
        """How many leaves the tree head covers."""
        return self.tree.size if self.size is None else self.size

    def _rfc6962(self, place: str, asked: dict[str, str]) -> Page:
        match place:
            case "ct/v1/get-sth":  # RFC 6962 s4.3
                timestamp, root, signature = self._head()
                return _json(
                    tree_size=self.shown_size,
                    timestamp=timestamp,
                    sha256_root_hash=_base64(root),
                    tree_head_signature=_base64(signature),
                )
            case "ct/v1/get-sth-consistency":  # s4.4
                first, second = int(asked["first"]), int(asked["second"])
                if not 0 <= first <= second <= self.shown_size:
                    return BAD_REQUEST
                return _json(consistency=[_base64(node) for node in self.tree.consistency(first, second)])
            case "ct/v1/get-proof-by-hash":  # s4.5
                size = int(asked["tree_size"])
                if not 1 <= size <= self.shown_size:
                    return BAD_REQUEST
                index = self.tree.index_of(_from_base64(asked["hash"]), size)
                if index is None:
                    return NOT_FOUND
                path = [_base64(node) for node in self.tree.inclusion(index, size)]
                return _json(leaf_index=index, audit_path=path)
        return NOT_FOUND

    def _head(self) -> tuple[int, bytes, bytes]:
        """Timestamp, root and signature of the tree head."""
        timestamp = milliseconds(self.dated or self.clock())
        root = self.root or self.tree.root(self.shown_size)
        # RFC 6962 s3.5:
        # digitally-signed struct {
        #     Version version;                              1 octet, v1(0)
        #     SignatureType signature_type = tree_hash;     1 octet, 1
        #     uint64 timestamp;
        #     uint64 tree_size;
        #     opaque sha256_root_hash[32];
        # } TreeHeadSignature;
        signed = b"\0\1" + timestamp.to_bytes(8) + self.shown_size.to_bytes(8) + root
        return timestamp, root, digitally_sign(self.signer or self.log.key, signed)

    def _checkpoint(self) -> Page:
        """A signed note: origin, size and root; then the one signature, a timestamp before it."""
        # static-ct-api: the origin line is "the submission prefix of the log as a schema-less URL with no trailing
        # slashes"; the key id is SHA-256(name || 0x0A || 0x05 || log id)[:4]
        origin = f"{self.host}/{slug(self.log)}"
        timestamp, root, signature = self._head()
        key_id = sha256(origin.encode() + b"\n\5" + self.log.log_id).digest()[:4]
        line = _base64(key_id + timestamp.to_bytes(8) + signature)
        text = f"{origin}\n{self.shown_size}\n{_base64(root)}\n\n\N{EM DASH} {origin} {line}\n"
        return Page(text.encode(), content_type="text/plain; charset=utf-8")

    def _tile(self, path: str) -> Page:
        """tile/L/N or tile/L/N.p/W, the number N in groups of three digits: x001/x234/067."""
        found = _TILE.fullmatch(path)
        if found is None:
            return NOT_FOUND
        level, width = int(found[1]), int(found[3] or TILE_WIDTH)
        number = int(found[2].replace("x", "").replace("/", ""))
        octets = self.tree.tile(level, number, width) if width <= TILE_WIDTH else None
        return NOT_FOUND if octets is None else Page(octets, content_type="application/octet-stream")


def _json(**members: object) -> Page:
    return Page(json.dumps(members).encode())


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError(text) from None
