"""Merkle trees once more, straight from the definitions of RFC 6962 s2.1: recursive, and sharing no code with `ct`."""

from functools import cached_property
from hashlib import sha256


class NaiveTree:
    """All trees that begin with these leaves; hashes of ranges are remembered."""

    def __init__(self, leaves):
        self.leaves = list(leaves)
        self._hashes = {}

    @classmethod
    def random(cls, size, seed=b""):
        """Leaves that differ, from a seed."""
        return cls(b"%s/%d" % (seed, number) for number in range(size))

    def root(self, end, begin=0):
        """MTH(D[begin:end])."""
        if begin == end:
            return sha256().digest()
        if (begin, end) not in self._hashes:
            if end - begin == 1:
                octets = b"\x00" + self.leaves[begin]
            else:
                k = split(end - begin)
                octets = b"\x01" + self.root(begin + k, begin) + self.root(end, begin + k)
            self._hashes[begin, end] = sha256(octets).digest()
        return self._hashes[begin, end]

    def leaf(self, index):
        """The hash of one leaf."""
        return self.root(index + 1, index)

    def path(self, m, end, begin=0):
        """PATH(m, D[begin:end])."""
        n = end - begin
        if n == 1:
            return []
        k = split(n)
        if m < k:
            return [*self.path(m, begin + k, begin), self.root(end, begin + k)]
        return [*self.path(m - k, end, begin + k), self.root(begin + k, begin)]

    def proof(self, m, n):
        """PROOF(m, D[0:n])."""
        return self._subproof(m, 0, n, whole=True)

    def tile(self, level, number, width):
        """static-ct-api: MTH(D[(n * 256 + i) * 256**l : (n * 256 + i + 1) * 256**l]) for each i."""
        span = 256**level
        starts = [(number * 256 + i) * span for i in range(width)]
        assert starts[-1] + span <= len(self.leaves), "no such tile"
        return b"".join(self.root(start + span, start) for start in starts)

    @cached_property
    def size(self):
        """How many leaves there are."""
        return len(self.leaves)

    def _subproof(self, m, begin, end, *, whole):
        n = end - begin
        if m == n:
            return [] if whole else [self.root(end, begin)]
        k = split(n)
        if m <= k:
            return [*self._subproof(m, begin, begin + k, whole=whole), self.root(end, begin + k)]
        return [*self._subproof(m - k, begin + k, end, whole=False), self.root(begin + k, begin)]


def split(n):
    """The largest power of two smaller than n."""
    k = 1
    while 2 * k < n:
        k *= 2
    return k
