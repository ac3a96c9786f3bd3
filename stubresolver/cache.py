"""Answers and failures, kept for as long as they say and no longer, within a bound of memory.

The law of this file: nothing is given out at or after its end; an age never shrinks; the octets kept never exceed the
bound; every operation is O(1). Least recently used goes first. Time is an argument, in seconds of any monotonic clock.
A key belongs to one kind of client (see wire.query), so what is kept under it can be rendered for all who ask with it.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec

from stubresolver.wire.answer import Answer
from stubresolver.wire.codes import NOERROR, NXDOMAIN
from stubresolver.wire.edns import Failure

# About what one entry occupies beside its key's and its answer's octets: the key's object, the tuple, two numbers and
# the ordered dictionary's own place for it. Measured with CPython 3.11; a test holds the estimate against tracemalloc.
_ENTRY_OCTETS: Final = 340
_FAILURE_OCTETS: Final = 200


class CacheOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much is kept and for how long."""

    # 12 MiB hold about 15,000 answers of a usual size, and keep the whole process below 70 MiB; unbound's message and
    # RRset caches have 4 MiB each by default.
    max_octets: Annotated[int, msgspec.Meta(ge=0, le=1 << 32)] = 12 << 20
    # RFC 8767 s4 suggests a cap "on the order of days to weeks, with a recommended cap of 604,800 seconds"; one day is
    # unbound's cache-max-ttl and forgets a wrong answer sooner.
    max_ttl: Annotated[int, msgspec.Meta(ge=0, le=604_800)] = 86_400
    # RFC 2308 s5: "Values of one to three hours have been found to work well and would make sensible a default."
    max_negative_ttl: Annotated[int, msgspec.Meta(ge=0, le=86_400)] = 10_800
    # RFC 9520 s3.2: "the initial time for negatively caching a resolution failure might be set to 5 seconds and
    # increased after each retry that results in another resolution failure"; at least 1 second, at most 5 minutes.
    failure_seconds: Annotated[float, msgspec.Meta(ge=1, le=300)] = 5.0
    # The end of that increase. A minute instead of five: a zone that was repaired should be seen again soon.
    max_failure_seconds: Annotated[float, msgspec.Meta(ge=1, le=300)] = 60.0
    # Failures on our own way to the upstream, where the upstream's health has its own back-off: RFC 9520's minimum, so
    # that a laptop that wakes up resolves again as soon as its network is back.
    unreached_seconds: Annotated[float, msgspec.Meta(ge=1, le=5)] = 1.0


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """What the cache holds now and has done since it was made."""

    entries: int
    octets: int  # estimated
    max_octets: int
    insertions: int
    evictions: int  # entries that went to make room


class AnswerCache:
    """Key to answer or failure; see the module for its law."""

    __slots__ = ("_entries", "_evictions", "_insertions", "_octets", "_options")

    def __init__(self, options: CacheOptions) -> None:
        self._options = options
        # Entry: what is kept, when it came, when it ends, its octets. Ended entries stay until they are replaced or
        # evicted: a failure's successor looks at them.
        self._entries: OrderedDict[bytes, tuple[Answer | Failure, float, float, int]] = OrderedDict()
        self._octets = 0
        self._insertions = 0
        self._evictions = 0

    def get(self, key: bytes, now: float) -> tuple[Answer | Failure, int] | None:
        """What is kept under the key with its age in whole seconds, or None."""
        entry = self._entries.get(key)
        if entry is None or now >= entry[2]:
            return None
        self._entries.move_to_end(key)
        return entry[0], int(now - entry[1])

    def put(self, key: bytes, answer: Answer | Failure, now: float) -> None:
        """Keep the answer, in place of what was kept under the key, for as long as it and the options allow."""
        old = self._entries.pop(key, None)
        if old is not None:
            self._octets -= old[3]
        seconds = self._lifetime(answer, old, now)
        if seconds <= 0:
            return
        octets = _ENTRY_OCTETS + len(key) + (answer.octets if isinstance(answer, Answer) else _FAILURE_OCTETS)
        self._entries[key] = (answer, now, now + seconds, octets)
        self._octets += octets
        self._insertions += 1
        while self._octets > self._options.max_octets:
            _, evicted = self._entries.popitem(last=False)
            self._octets -= evicted[3]
            self._evictions += 1

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._octets = 0

    def statistics(self) -> CacheStatistics:
        """A frozen record of the cache's state."""
        return CacheStatistics(
            entries=len(self._entries),
            octets=self._octets,
            max_octets=self._options.max_octets,
            insertions=self._insertions,
            evictions=self._evictions,
        )

    def _lifetime(
        self, answer: Answer | Failure, old: tuple[Answer | Failure, float, float, int] | None, now: float
    ) -> float:
        """For how many seconds to keep the answer that takes the place of `old`."""
        options = self._options
        if isinstance(answer, Failure):
            return options.unreached_seconds
        if answer.rcode in (NOERROR, NXDOMAIN):
            return min(answer.ttl, options.max_negative_ttl if answer.negative else options.max_ttl)
        # A failure that follows another one: twice as long, unless the other one ended so long ago that it says nothing
        # about this one (RFC 9520 s3.2: "an exponential or linear backoff algorithm").
        if old is not None and isinstance(old[0], Answer) and old[0].rcode not in (NOERROR, NXDOMAIN):
            before = old[2] - old[1]
            if now < old[2] + before:
                return min(2 * before, max(options.max_failure_seconds, options.failure_seconds))
        return options.failure_seconds
