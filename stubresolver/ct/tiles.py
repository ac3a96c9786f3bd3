"""A static-ct log's Merkle tree as tiles: which are needed for a proof, and the proof from them. PURE.

c2sp.org/static-ct-api, "Merkle Tree": a tile at level l holds up to 256 hashes, each over 256^l leaves. Nothing here
verifies: a path made of tiles is held against a signed root by `ct.merkle` like a path that a log computed.

A node of the binary tree is (level, index): the hash over the leaves [index * 2^level, (index + 1) * 2^level). Only
complete nodes are in tiles; what a proof wants of the ragged right edge is put together from complete ones.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce

from stubresolver.ct.merkle import ProofError, node_hash

HEIGHT = 8  # "a tile represents the entire subtree of height 8"
WIDTH = 1 << HEIGHT  # "Full tiles MUST be exactly 256 hashes wide"
_HASH_SIZE = 32


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """One tile by its place; `width` is how many of its hashes a tree of the size in question has."""

    level: int
    number: int
    width: int  # 1 to 256

    @property
    def path(self) -> str:
        """Where it is served, after the monitoring prefix: "tile/0/x001/x234/067.p/112".

        "It MUST be a non-negative integer encoded into 3-digit path elements. All but the last path element MUST begin
        with an x."
        """
        digits = str(self.number)
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
        name = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
        return f"tile/{self.level}/{name}" + (f".p/{self.width}" if self.width < WIDTH else "")

    @property
    def full(self) -> "Tile":
        """The full tile here: once it "is made available, logs MAY omit any partial tiles"."""
        return Tile(self.level, self.number, WIDTH)

    def check(self, octets: bytes) -> bytes:
        """The tile's octets, if they are as many as it has hashes; raises `ProofError`."""
        if len(octets) != self.width * _HASH_SIZE:
            raise ProofError(f"{self.path} has {len(octets)} octets, expected {self.width * _HASH_SIZE}")
        return octets


def inclusion_tiles(index: int, size: int) -> frozenset[Tile]:
    """The tiles from which leaf `index` of a tree of `size` is proved, its own among them; raises `ProofError`."""
    ranges = [(index, index + 1), *_inclusion_ranges(index, size)]
    return frozenset(_place(level, number, size)[0] for span in ranges for level, number in _nodes(*span))


def consistency_tiles(first: int, second: int) -> frozenset[Tile]:
    """The tiles of the tree of `second` from which its consistency with `first` is proved; raises `ProofError`."""
    spans = _consistency_ranges(first, second)
    return frozenset(_place(level, number, second)[0] for span in spans for level, number in _nodes(*span))


def leaf_at(index: int, size: int, tiles: Mapping[Tile, bytes]) -> bytes:
    """The leaf hash at `index`, as the level-0 tile has it."""
    return _hash(index, index + 1, size, tiles)


def inclusion_path(index: int, size: int, tiles: Mapping[Tile, bytes]) -> list[bytes]:
    """The path of leaf `index` in a tree of `size` (RFC 6962 s2.1.1); `tiles` has all of `inclusion_tiles`."""
    return [_hash(begin, end, size, tiles) for begin, end in _inclusion_ranges(index, size)]


def consistency_path(first: int, second: int, tiles: Mapping[Tile, bytes]) -> list[bytes]:
    """The path from `first` to `second` (RFC 6962 s2.1.2); `tiles` has all of `consistency_tiles`."""
    return [_hash(begin, end, second, tiles) for begin, end in _consistency_ranges(first, second)]


def _inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """PATH(m, D[n]) of RFC 6962 s2.1.1 as ranges of leaves, in the order of the path."""
    if not 0 <= index < size:
        raise ProofError(f"leaf {index} of a tree of {size}")
    begin, end, found = 0, size, []
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            found.append((middle, end))
            end = middle
        else:
            found.append((begin, middle))
            begin = middle
    return found[::-1]


def _consistency_ranges(first: int, second: int) -> list[tuple[int, int]]:
    """PROOF(m, D[n]) of RFC 6962 s2.1.2 as ranges of leaves, in the order of the path."""
    if not 0 < first <= second:
        raise ProofError(f"no consistency proof from {first} to {second}")
    begin, end, found = 0, second, []
    while first < end:  # SUBPROOF(m, D[begin:end], b), where b says that begin is still 0
        middle = begin + _split(end - begin)
        if first <= middle:
            found.append((middle, end))
            end = middle
        else:
            found.append((begin, middle))
            begin = middle
    if begin:  # "SUBPROOF(m, D[m], false) = {MTH(D[m])}"
        found.append((begin, end))
    return found[::-1]


def _split(size: int) -> int:
    """RFC 6962 s2.1: "k be the largest power of two smaller than n"."""
    return 1 << (size - 1).bit_length() - 1


def _nodes(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """The complete nodes that a range of a proof is made of, left to right: the bits of its length, highest first."""
    while begin < end:
        level = (end - begin).bit_length() - 1
        yield level, begin >> level
        begin += 1 << level


def _hash(begin: int, end: int, size: int, tiles: Mapping[Tile, bytes]) -> bytes:
    """MTH(D[begin:end]) for a range of a proof in a tree of `size`."""
    hashes = [_node(level, number, size, tiles) for level, number in _nodes(begin, end)]
    return reduce(lambda right, left: node_hash(left, right), reversed(hashes))


def _node(level: int, index: int, size: int, tiles: Mapping[Tile, bytes]) -> bytes:
    """One complete node, hashed from the entries of its tile."""
    tile, offset, count = _place(level, index, size)
    octets = tiles[tile]
    hashes = [octets[at * _HASH_SIZE : (at + 1) * _HASH_SIZE] for at in range(offset, offset + count)]
    while len(hashes) > 1:
        hashes = [node_hash(left, right) for left, right in zip(hashes[::2], hashes[1::2], strict=True)]
    return hashes[0]


def _place(level: int, index: int, size: int) -> tuple[Tile, int, int]:
    """Where a complete node stands in a tree of `size`: its tile, its first entry there, how many entries make it up.

    "The partial tile at level l for a tree of size s has floor(s / 256**l) mod 256 entries."
    """
    tile_level, low = divmod(level, HEIGHT)
    number, offset = divmod(index << low, WIDTH)
    width = min(WIDTH, (size >> (HEIGHT * tile_level)) - number * WIDTH)
    return Tile(tile_level, number, width), offset, 1 << low
