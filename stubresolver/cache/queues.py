"""Who goes when room is wanting: S3-FIFO (Yang et al., SOSP 2023), bounded in octets.

Theory of operation. Most names are asked once. What is new enters a small queue, a tenth of the room; at its end it
goes, unless it was asked for twice meanwhile: then it moves to the main queue, where each round that it was asked in
spares it once more. A scan of random names so passes through a tenth of the cache and pushes out nothing that is used.
A name that went too early is recognised when it comes back, by a print of 32 bits, and enters the main queue at once.

A hit only counts (`Entry.uses`) and moves nothing, which makes it cheaper than LRU's. Everything is O(1): an eviction
looks at no more than `_CHANCES` entries, then the next one goes all the same.
"""

from array import array
from typing import Final

from stubresolver.cache.entry import Entry

_SMALL: Final = 10  # the small queue's part of the room: a tenth, as in the paper
_PROMOTING: Final = 2  # uses on the way through it that lead to the main queue, as in the paper
_MOST: Final = 3  # uses that count there, as in the paper: who was asked a thousand times once is not spared for ever
_CHANCES: Final = 64
_OCTETS_A_PRINT: Final = 512  # of room: more prints than entries


class Queue:
    """First in, first out, with leaving from the middle: a ring of entries."""

    __slots__ = ("_ring", "octets")

    def __init__(self) -> None:
        self._ring = Entry.__new__(Entry)  # stands between the newest and the oldest, and holds nothing
        self._ring.before = self._ring.after = self._ring
        self.octets = 0

    @property
    def oldest(self) -> Entry | None:
        """Who would go first."""
        entry = self._ring.after
        return None if entry is self._ring else entry

    @property
    def newest(self) -> Entry | None:
        """Who came last."""
        entry = self._ring.before
        return None if entry is self._ring else entry

    def append(self, entry: Entry) -> None:
        """Join as the newest."""
        newest = self._ring.before
        entry.before, entry.after = newest, self._ring
        newest.after = self._ring.before = entry
        self.octets += entry.octets

    def remove(self, entry: Entry) -> None:
        """Leave, from wherever it stands."""
        entry.before.after, entry.after.before = entry.after, entry.before
        self.octets -= entry.octets
        del entry.before, entry.after  # what left holds nobody

    def clear(self) -> None:
        """Let everybody go."""
        entry = self._ring.after
        while entry is not self._ring:
            following = entry.after
            del entry.before, entry.after
            entry = following
        self._ring.before = self._ring.after = self._ring
        self.octets = 0


class Queues:
    """All entries, in the order in which they would go."""

    __slots__ = ("_main", "_mask", "_prints", "_small", "_tenth")

    def __init__(self, room: int) -> None:
        """`room` is for the entries, in octets; the prints take 1 to 2 % of it on top."""
        self._small, self._main = Queue(), Queue()
        self._tenth = room // _SMALL
        self._prints = array("I", bytes(4 << (room // _OCTETS_A_PRINT).bit_length()))
        self._mask = len(self._prints) - 1

    @property
    def octets(self) -> int:
        """What all entries occupy."""
        return self._small.octets + self._main.octets

    def add(self, entry: Entry) -> None:
        """One that is new here, or comes back."""
        place, mark = self._print(entry)
        self._append(entry, main=self._prints[place] == mark)

    def remove(self, entry: Entry) -> None:
        """One that is forgotten."""
        (self._main if entry.main else self._small).remove(entry)

    def clear(self) -> None:
        """Everything is forgotten, but who went to make room."""
        self._small.clear()
        self._main.clear()

    def resize(self, entry: Entry, octets: int) -> None:
        """One that holds something else now; `octets` is what it held before."""
        (self._main if entry.main else self._small).octets += entry.octets - octets

    def leave(self, spare: Entry) -> Entry:
        """Take out who should make room: not `spare`, as long as there is anybody else."""
        entry = self._small.oldest
        if entry is not None and entry.uses < _PROMOTING and self._small.octets > self._tenth and entry is not spare:
            self._small.remove(entry)  # nearly always: a name that was asked for once
            place, mark = self._print(entry)
            self._prints[place] = mark
            return entry
        for _ in range(_CHANCES):
            entry = self._next(spare)
            if not self._is_spared(entry, spare):
                break
            self.remove(entry)
            self._append(entry, main=True)
        else:
            entry = self._next(spare)
        self.remove(entry)
        if not entry.main:
            place, mark = self._print(entry)
            self._prints[place] = mark
        return entry

    def _next(self, spare: Entry) -> Entry:
        """Whom to look at: the oldest of the small queue while that has more than its part, else of the main one."""
        first, second = self._main.oldest, self._small.oldest
        if self._small.octets > self._tenth:
            first, second = second, first
        if first is not None and first is not spare:
            return first
        return spare if second is None else second

    def _is_spared(self, entry: Entry, spare: Entry) -> bool:
        """Whether it stays and moves to the end of the main queue; what counts for that is used up."""
        if entry is spare:
            return (self._main if entry.main else self._small).newest is not spare  # else it is alone
        if entry.main:
            spared, entry.uses = entry.uses > 0, min(entry.uses, _MOST) - 1
        else:
            spared, entry.uses = entry.uses >= _PROMOTING, 0
        return spared

    def _append(self, entry: Entry, *, main: bool) -> None:
        entry.main = main
        (self._main if main else self._small).append(entry)

    def _print(self, entry: Entry) -> tuple[int, int]:
        """Where the print of a key is and what it looks like; Python keys its hashes anew in each process."""
        number = hash(entry.key)
        return number & self._mask, number >> 32 & 0xFFFFFFFF
