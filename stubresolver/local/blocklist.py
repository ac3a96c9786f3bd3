"""Names that are not answered, and how they are refused instead: block lists, exceptions, a table of hashes. Pure.

A table is an open-addressed array of 64-bit entries (see `listfile`): a look-up touches one or two of them. A name is
looked up by each of its suffixes, the whole first; the longest that is listed decides, and among lists that have the
same name the first in the configuration. An exception, of a list's own or of an allow list, frees from all lists.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from stubresolver.local.listfile import BELOW, HASH, ListFile
from stubresolver.local.options import Action
from stubresolver.local.replies import FILTERED, FORGED_ANSWER, REFUSED, Withheld, told
from stubresolver.wire.codes import NOERROR, NXDOMAIN

MOST_LISTS: Final = 64  # of either kind, so that a list's number fits beside BELOW in one octet
_NUMBER: Final = 0x7F
_FEWEST_SLOTS: Final = 8


class NameTable:
    """Names by their hashes, each with the number of a list. Immutable after it is built."""

    __slots__ = ("_mask", "_secret", "_slots", "names")

    def __init__(self, lists: Sequence["array[int]"], secret: bytes) -> None:
        """Of the entries of each list; those of the first list hold where several have the same name."""
        expected = sum(map(len, lists))
        slots = _FEWEST_SLOTS
        while slots < expected * 3 // 2:  # at most two thirds full: a look-up of what is not there ends after 1.5 steps
            slots *= 2
        self._slots = array("Q", bytes(8)) * slots
        self._mask = slots - 1
        self._secret = secret
        self.names = 0  # different ones
        for number, entries in enumerate(lists, 1):
            self._fill(entries, number)

    def _fill(self, entries: "array[int]", number: int) -> None:
        slots, mask, new = self._slots, self._mask, 0
        for entry in entries:
            place = entry >> 8 & mask
            while there := slots[place]:
                if (there ^ entry) < 256:
                    break
                place = place + 1 & mask
            if not there:
                new += 1
                slots[place] = entry | number
            elif entry & BELOW and not there & BELOW:  # what covers more names takes the place
                slots[place] = entry | number
        self.names += new

    def find(self, name: bytes) -> int:
        """The number of the list that has the name or one that it is below; 0 where none has."""
        slots, mask = self._slots, self._mask
        salted = name + self._secret
        exact, position = BELOW, 0  # the name itself may be listed without what is below it
        while length := name[position]:
            entry = hash(salted[position:]) & HASH
            place = entry >> 8 & mask
            while there := slots[place]:
                if (there ^ entry) < 256:
                    if (there | exact) & BELOW:
                        return there & _NUMBER
                    break
                place = place + 1 & mask
            exact = 0
            position += length + 1
        return 0


@dataclass(frozen=True, slots=True)
class BlockLists:
    """All lists together. Immutable."""

    blocked: NameTable
    allowed: NameTable
    replies: tuple[Withheld, ...]  # of each list, in the table's numbers
    names: tuple[str, ...]

    @classmethod
    def build(cls, lists: Sequence[tuple[ListFile, Action]], allow: Iterable[ListFile], secret: bytes) -> "BlockLists":
        """Of the block lists with what each answers, and the allow lists; all read with the same secret."""
        freed = [file.exceptions for file, _ in lists]
        freed += [entries for file in allow for entries in (file.entries, file.exceptions)]
        merged = array("Q")
        for entries in freed:
            merged.extend(entries)
        return cls(
            NameTable([file.entries for file, _ in lists], secret),
            NameTable([merged], secret),
            tuple(_withheld(file.file, action) for file, action in lists),
            tuple(file.file for file, _ in lists),
        )

    def find(self, name: bytes) -> Withheld | None:
        """What is answered in the name's place, None where no list has it or an exception frees it."""
        number = self.blocked.find(name)
        if not number or self.allowed.find(name):
            return None
        return self.replies[number - 1]


def _withheld(file: str, action: Action) -> Withheld:
    """What a list answers. The text names the list by its file's name; a path is nobody's business."""
    options = told(FILTERED, f"on the block list {file.rsplit('/', 1)[-1]}")
    if action == "zero":
        return Withheld(NOERROR, options + told(FORGED_ANSWER, "the unspecified address stands for none"), zero=True)
    return Withheld({"nxdomain": NXDOMAIN, "nodata": NOERROR, "refused": REFUSED}[action], options)
