"""The read API of RFC 6962 logs: get-sth, get-sth-consistency, get-proof-by-hash (s4.3 to s4.5).

Asks and reads; what the answers prove is held against the roots elsewhere (audit/prove.py).
"""

import base64
from typing import TypeVar
from urllib.parse import quote

import msgspec

from stubresolver.audit.asking import ConsistencyProof, InclusionProof, NotThere, Trouble, ask
from stubresolver.audit.entry import Entry
from stubresolver.audit.report import Get, Kind, Received
from stubresolver.ct import TreeHead

_Shape = TypeVar("_Shape")
_PATH = 64  # hashes: more than a tree of 2^63 leaves has on any path


class Rfc6962:
    """One log, asked about one entry. Every method raises `Trouble` where there is no answer in form."""

    def __init__(self, entry: Entry, get: Get) -> None:
        self._entry = entry
        self._get = get
        self._prefix = f"{entry.log.url}ct/v1/"
        self.tree_head_url = f"{self._prefix}get-sth"

    async def tree_head(self) -> Received:
        """The signed tree head that the log serves now."""
        return await ask(self._get, self.tree_head_url, "tree head")

    async def consistency(self, first: TreeHead, second: TreeHead) -> ConsistencyProof:
        """The proof that the larger tree begins with the smaller one; raises `NotThere` where the log has none."""
        url = f"{self._prefix}get-sth-consistency?first={first.size}&second={second.size}"
        answer = await self._insist(url, "consistency proof", Kind.INCONSISTENT)
        return ConsistencyProof(_hashes(_decoded(answer, _Consistency).consistency, answer), (answer,))

    async def inclusion(self, head: TreeHead) -> InclusionProof:
        """The proof that the entry is in that tree; raises `NotThere` where the log says that it is not."""
        encoded = quote(base64.b64encode(self._entry.leaf_hash), safe="")
        url = f"{self._prefix}get-proof-by-hash?hash={encoded}&tree_size={head.size}"
        answer = await self._insist(url, "inclusion proof", Kind.MISSING_LEAF)
        proof = _decoded(answer, _Inclusion)
        path = _hashes(proof.audit_path, answer)
        return InclusionProof(self._entry.leaf_hash, proof.leaf_index, path, (answer,))

    async def _insist(self, url: str, what: str, kind: Kind) -> Received:
        """Ask, and once more after a "no", which then is of that kind.

        Of the servers of one log some lag behind the others for a moment.
        """
        try:
            return await ask(self._get, url, what)
        except NotThere:
            pass
        try:
            return await ask(self._get, url, what)
        except NotThere as trouble:
            raise NotThere(kind, f"{trouble.detail} (asked twice)", *trouble.evidence) from None


class _Consistency(msgspec.Struct):
    """RFC 6962 s4.4, the output of get-sth-consistency."""

    consistency: list[str]


class _Inclusion(msgspec.Struct):
    """RFC 6962 s4.5, the output of get-proof-by-hash."""

    leaf_index: int
    audit_path: list[str]


def _decoded(answer: Received, shape: type[_Shape]) -> _Shape:
    """The JSON of a proof."""
    try:
        return msgspec.json.decode(answer.octets, type=shape)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        detail = f"{answer.url}: a signed tree head was served, but no {answer.what}: {error}"
        raise Trouble(Kind.MALFORMED_ANSWER, detail, answer) from None


def _hashes(path: list[str], answer: Received) -> tuple[bytes, ...]:
    """The hashes of a path: base64 of 32 octets each."""
    try:
        hashes = tuple(base64.b64decode(node, validate=True) for node in path)
    except ValueError as error:
        raise Trouble(Kind.MALFORMED_ANSWER, f"{answer.url}: a hash that is not base64: {error}", answer) from None
    wrong = next((len(node) for node in hashes if len(node) != 32), None)
    if wrong is not None or len(hashes) > _PATH:
        got = f"a hash of {wrong} octets, expected 32" if wrong is not None else f"{len(hashes)} hashes"
        raise Trouble(Kind.MALFORMED_ANSWER, f"{answer.url}: {got}; expected at most {_PATH} hashes of 32", answer)
    return hashes
