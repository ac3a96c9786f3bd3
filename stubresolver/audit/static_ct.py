"""The read API of static-ct logs (c2sp.org/static-ct-api): a checkpoint, and the Merkle tree as tiles.

Asks and reads; the proofs are made here, of the tiles, and are held against the roots elsewhere (audit/prove.py).
"""

from collections.abc import Iterable, Mapping

import trio

from stubresolver.audit.asking import ConsistencyProof, InclusionProof, NotThere, Trouble, ask
from stubresolver.audit.entry import Entry
from stubresolver.audit.report import Get, Kind, Received, received
from stubresolver.ct import (
    ProofError,
    Tile,
    TreeHead,
    consistency_path,
    consistency_tiles,
    inclusion_path,
    inclusion_tiles,
    leaf_at,
    leaf_index,
)

_AT_ONCE = 8  # requests to one log; a proof in a log of 2^32 entries needs up to 8 tiles, and nobody is to be flooded


class StaticCt:
    """One log, asked about one entry. Every method raises `Trouble` where there is no answer in form."""

    def __init__(self, entry: Entry, get: Get) -> None:
        self._entry = entry
        self._get = get
        self._prefix = entry.log.url
        self.tree_head_url = f"{self._prefix}checkpoint"
        self._tiles: dict[Tile, Received | Trouble] = {}  # what was asked for so far

    async def tree_head(self) -> Received:
        """The checkpoint that the log serves now."""
        return await ask(self._get, self.tree_head_url, "tree head")

    async def consistency(self, first: TreeHead, second: TreeHead) -> ConsistencyProof:
        """The proof that the larger tree begins with the smaller one, from tiles of the larger one."""
        tiles = consistency_tiles(first.size, second.size)
        octets = await self._fetch(tiles)
        path = consistency_path(first.size, second.size, octets)
        return ConsistencyProof(tuple(path), self._evidence("consistency path from tiles", path, sorted(tiles)))

    async def inclusion(self, head: TreeHead) -> InclusionProof:
        """The proof of the leaf at the SCT's index; raises `NotThere` where the tree does not reach that far."""
        index = leaf_index(self._entry.sct)
        if index is None:
            detail = "its SCT has no leaf index, which every SCT of a static-ct log must have: nothing can be looked up"
            raise Trouble(Kind.NO_LEAF_INDEX, detail)
        if index >= head.size:
            raise NotThere(Kind.MISSING_LEAF, f"leaf {index} of a tree of {head.size}")
        tiles = inclusion_tiles(index, head.size)
        octets = await self._fetch(tiles)
        path = inclusion_path(index, head.size, octets)
        evidence = self._evidence("inclusion path from tiles", path, sorted(tiles))
        return InclusionProof(leaf_at(index, head.size, octets), index, tuple(path), evidence)

    async def _fetch(self, tiles: Iterable[Tile]) -> Mapping[Tile, bytes]:
        """The octets of all these tiles; raises the `Trouble` of the first that cannot be had."""
        limiter = trio.CapacityLimiter(_AT_ONCE)
        async with trio.open_nursery() as nursery:
            for tile in sorted(tiles):
                if not isinstance(self._tiles.get(tile), Received):
                    nursery.start_soon(self._fetch_one, tile, limiter)
        found = {}
        for tile in sorted(tiles):
            answer = self._tiles[tile]
            if isinstance(answer, Trouble):
                raise answer
            found[tile] = answer.octets
        return found

    async def _fetch_one(self, tile: Tile, limiter: trio.CapacityLimiter) -> None:
        """One tile into `self._tiles`, or why not."""
        async with limiter:
            try:
                self._tiles[tile] = await self._partial_or_full(tile)
            except Trouble as trouble:
                self._tiles[tile] = trouble

    async def _partial_or_full(self, tile: Tile) -> Received:
        """A tile as wide as the tree makes it, or a wider one that begins with it.

        static-ct-api: clients "SHOULD fetch the full tile in parallel as a fallback in case the partial tile is not
        available anymore". Here one after the other: the partial tile of the newest tree head is nearly always there.
        """
        try:
            return await self._whole(tile)
        except Trouble as trouble:
            if tile == tile.full or not (isinstance(trouble, NotThere) or trouble.status == 403):
                raise
        return await self._whole(tile.full)

    async def _whole(self, tile: Tile) -> Received:
        """The tile under its own name, as long as it must be."""
        url = f"{self._prefix}{tile.path}"
        try:
            answer = await ask(self._get, url, "tile")
        except NotThere as trouble:
            # Who asks for a tile before it exists makes a cache say "404" for a while after it does: not yet an alarm.
            detail = f"a part of the signed tree is not there: {trouble.detail}"
            raise NotThere(Kind.TILE_NOT_THERE, detail, *trouble.evidence) from None
        try:
            tile.check(answer.octets)
        except ProofError as error:
            raise Trouble(Kind.MALFORMED_ANSWER, f"{self._prefix}: {error}", answer) from None
        return answer

    def _evidence(self, what: str, path: list[bytes], tiles: Iterable[Tile]) -> tuple[Received, ...]:
        """A path as computed, and the tiles that it was computed from."""
        answers = (self._tiles[tile] for tile in tiles)
        return (received(what, "", b"".join(path)), *(item for item in answers if isinstance(item, Received)))
