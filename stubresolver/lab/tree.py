"""The Merkle tree of a lab log: append-only, and asked for what the two APIs serve. Hashes only; no entry is kept.

Written down from the recursive definitions of RFC 6962 s2.1, with the complete subtrees remembered, and not with the
code of `ct.merkle`, so that one misreading cannot hide in both.

D[n] are the first n leaves; k is the largest power of two smaller than n:

    MTH({})        SHA-256()
    MTH({d})       SHA-256(0x00 || d)
    MTH(D[n])      SHA-256(0x01 || MTH(D[0:k]) || MTH(D[k:n]))
"""

import functools
from collections.abc import Sequence
from hashlib import sha256

TILE_HEIGHT = 8  # c2sp.org/tlog-tiles: "Each tile is ... a perfect binary tree of height 8"
TILE_WIDTH = 1 << TILE_HEIGHT
_FILLERS = 5000  # leaves of other people: twenty tiles of the lowest level, and one above them


class Tree:
    """Leaves in their order, and every complete subtree above them."""

    def __init__(self, leaves: Sequence[bytes] = ()) -> None:
        """Begin with some leaves, each as the octets that are hashed."""
        self._levels: list[list[bytes]] = [[]]  # [height][number]: roots of the complete subtrees
        for leaf in leaves:
            self.append(leaf)

    @classmethod
    def with_fillers(cls) -> "Tree":
        """A tree that has taken thousands of leaves already."""
        return _filled().copy()

    def copy(self) -> "Tree":
        """A tree of the same leaves that grows on its own: where histories part."""
        other = Tree()
        other._levels = [list(level) for level in self._levels]
        return other

    def with_other(self, index: int, leaf: bytes) -> "Tree":
        """A tree of the same size whose leaf `index` is another one: what a log shows to somebody else."""
        other = Tree()
        for number, digest in enumerate(self._levels[0]):
            other._append(sha256(b"\0" + leaf).digest() if number == index else digest)
        return other

    @property
    def size(self) -> int:
        """How many leaves there are."""
        return len(self._levels[0])

    def append(self, leaf: bytes) -> int:
        """Take one more leaf; its index."""
        self._append(sha256(b"\0" + leaf).digest())
        return self.size - 1

    def grow(self, count: int) -> None:
        """Take leaves of other people."""
        for _ in range(count):
            self.append(b"filler %d" % self.size)

    def index_of(self, leaf_hash: bytes, size: int) -> int | None:
        """Where among the first `size` leaves this hash stands; None if it is not there."""
        try:
            return self._levels[0].index(leaf_hash, 0, size)
        except ValueError:
            return None

    def root(self, size: int) -> bytes:
        """MTH(D[size])."""
        return self._mth(0, size)

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """PATH(index, D[size]), RFC 6962 s2.1.1: from the leaf's sibling up to the root's children."""
        return self._path(index, 0, size)

    def consistency(self, first: int, second: int) -> list[bytes]:
        """PROOF(first, D[second]), RFC 6962 s2.1.2; nothing for an empty tree or one of the same size."""
        return self._subproof(first, 0, second, whole=True) if 0 < first < second else []

    def tile(self, level: int, number: int, width: int) -> bytes | None:
        """The first `width` hashes of a tile, None where the tree has not so many.

        A tile's hashes are the roots of complete subtrees of height 8 * level (c2sp.org/tlog-tiles).
        """
        height = TILE_HEIGHT * level
        if height >= len(self._levels):
            return None
        hashes = self._levels[height][number * TILE_WIDTH : number * TILE_WIDTH + width]
        return b"".join(hashes) if len(hashes) == width else None

    def _append(self, digest: bytes) -> None:
        """Add a leaf's hash, and the root of each subtree that it completes."""
        for height, level in enumerate(self._levels):
            level.append(digest)
            if len(level) % 2:
                return
            digest = _node(level[-2], level[-1])
            if height + 1 == len(self._levels):
                self._levels.append([digest])
                return

    def _mth(self, start: int, end: int) -> bytes:
        """MTH(D[start:end]), where `start` is a multiple of a power of two that is no less than the range."""
        size = end - start
        if size == 0:
            return sha256(b"").digest()
        if size & (size - 1) == 0:
            height = size.bit_length() - 1
            return self._levels[height][start >> height]
        split = start + _split(size)
        return _node(self._mth(start, split), self._mth(split, end))

    def _path(self, index: int, start: int, end: int) -> list[bytes]:
        # PATH(m, D[n]) = PATH(m, D[0:k]) : MTH(D[k:n])            for m < k
        # PATH(m, D[n]) = PATH(m - k, D[k:n]) : MTH(D[0:k])        for m >= k
        if end - start == 1:
            return []
        split = start + _split(end - start)
        if index < split:
            return [*self._path(index, start, split), self._mth(split, end)]
        return [*self._path(index, split, end), self._mth(start, split)]

    def _subproof(self, first: int, start: int, end: int, *, whole: bool) -> list[bytes]:
        # SUBPROOF(m, D[m], true) = {},  SUBPROOF(m, D[m], false) = {MTH(D[m])}
        # SUBPROOF(m, D[n], b) = SUBPROOF(m, D[0:k], b) : MTH(D[k:n])              for m <= k
        # SUBPROOF(m, D[n], b) = SUBPROOF(m - k, D[k:n], false) : MTH(D[0:k])      for m > k
        if first == end:
            return [] if whole else [self._mth(start, end)]
        split = start + _split(end - start)
        if first <= split:
            return [*self._subproof(first, start, split, whole=whole), self._mth(split, end)]
        return [*self._subproof(first, split, end, whole=False), self._mth(start, split)]


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


def _split(size: int) -> int:
    """The largest power of two that is smaller than `size`."""
    return 1 << ((size - 1).bit_length() - 1)


@functools.cache
def _filled() -> Tree:
    tree = Tree()
    tree.grow(_FILLERS)
    return tree
