"""One thing that the cache keeps, with its times and its place in the queue that it stands in."""

from typing import Final, Protocol, TypeGuard

from stubresolver.wire.answer import Answer
from stubresolver.wire.codes import NOERROR, NXDOMAIN
from stubresolver.wire.edns import Failure
from stubresolver.wire.query import Query

NEVER: Final = float("inf")

# What an entry occupies beside the octets of its key and of its answer: its own slots, the head of the key, three
# numbers, and its place in the dictionary, which is between a third and two thirds full. CPython 3.11, measured; a test
# holds the sum against tracemalloc.
_ENTRY_OCTETS: Final = 285
_FAILURE_OCTETS: Final = 97  # with its text of one octet a character; a replacement is shared by many


class Replacement(Protocol):
    """What is said in the place of an answer that nobody may have."""

    @property
    def ttl(self) -> int:
        """For how many seconds it may be kept."""

    def render(self, query: Query, age: int) -> bytes:
        """The reply to one client."""


class Entry:
    """What is kept under a key. Only the cache changes it."""

    __slots__ = ("after", "answer", "before", "came", "end", "hold", "key", "main", "octets", "retry", "soon", "uses")

    before: "Entry"  # its neighbours in the queue that it stands in
    after: "Entry"
    main: bool  # which of the two queues that is

    def __init__(self, key: bytes, answer: Answer | Failure | Replacement, came: float = 0.0, end: float = 0.0) -> None:
        self.key = key
        self.answer = answer
        self.octets = octets_of(key, answer)  # about what it occupies in memory
        self.came = came
        self.end = end  # from here on it is given out only where nothing better is to be had
        self.soon = NEVER  # from here on it is worth fetching anew
        self.hold = 0.0  # until here nobody waits for anything better (RFC 8767 s5, failure recheck timer) ...
        self.retry = 0.0  # ... and from here on somebody may look for it
        self.uses = 0  # how often it was asked for since it came, or since it was last spared


def octets_of(key: bytes, answer: Answer | Failure | Replacement) -> int:
    """About what an answer under its key occupies in memory."""
    if isinstance(answer, Answer):
        octets = answer.octets
    else:
        octets = _FAILURE_OCTETS + (len(answer.text) if isinstance(answer, Failure) else 0)
    return _ENTRY_OCTETS + len(key) + octets


def is_answer(outcome: Answer | Failure | Replacement) -> TypeGuard[Answer]:
    """Whether this says something about the name; SERVFAIL, REFUSED and the like do not."""
    return isinstance(outcome, Answer) and outcome.rcode in (NOERROR, NXDOMAIN)
