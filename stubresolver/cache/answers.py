"""The cache: what is kept under a key, from when until when, within a bound of octets.

The law of this file: `get` gives nothing out at or after its end; an age never shrinks; the octets kept never exceed
the bound; what was put last is not what goes; what is done for one query is O(1). A failure never takes the place of an
answer that may still be used: it only says that nobody need wait for a better one now. Who goes first is `queues.py`'s.

Time is an argument, in seconds of any monotonic clock. A key belongs to one kind of client (see wire.query), so what is
kept under it can be rendered for all who ask with it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from stubresolver.cache.entry import NEVER, Entry, Replacement, is_answer, octets_of
from stubresolver.cache.options import CacheOptions
from stubresolver.cache.queues import Queues
from stubresolver.wire.answer import Answer
from stubresolver.wire.edns import Failure

# RFC 8767 s5: "attempts to refresh from non-responsive or otherwise failing authoritative nameservers are recommended
# to be done no more frequently than every 30 seconds".
RECHECK_SECONDS: Final = 30.0
# unbound.conf(5), prefetch: in the last tenth of the life. A life of less than ten seconds leaves no time to do so.
_PREFETCH: Final = 0.1
_PREFETCH_SECONDS: Final = 10.0


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

    __slots__ = ("_entries", "_evictions", "_insertions", "_options", "_queues", "_stale_seconds")

    def __init__(self, options: CacheOptions) -> None:
        self._options = options
        self._stale_seconds = options.stale_seconds if options.stale else 0
        self._entries: dict[bytes, Entry] = {}
        self._queues = Queues(options.max_octets)
        self._insertions = 0
        self._evictions = 0

    def longest(self, answer: Answer) -> int:
        """The longest life that such an answer may have here, in seconds; clients are told no longer one."""
        return self._options.max_negative_ttl if answer.negative else self._options.max_ttl

    def get(self, key: bytes, now: float) -> Entry | None:
        """What is kept under the key, if it has not ended; its age is `now - came`."""
        entry = self._entries.get(key)
        if entry is None or now >= entry.end:
            return None
        entry.uses += 1
        return entry

    def fallback(self, key: bytes, now: float) -> tuple[Answer, Entry] | None:
        """The answer, ended or not, that may be given out where no better one is to be had (RFC 8767 s4)."""
        entry = self._entries.get(key)
        if entry is None or not is_answer(entry.answer) or now >= entry.end + self._stale_seconds:
            return None
        return entry.answer, entry

    def put(self, key: bytes, answer: Answer | Failure | Replacement, now: float) -> None:
        """Keep the answer, in place of what was kept under the key, for as long as it and the options allow."""
        old = self._entries.get(key)
        if old is not None and _is_failure(answer) and self.fallback(key, now):
            self.hold(old, now)
            if isinstance(answer, Failure):
                # Our own way to the upstream: its health has its own back-off, so a network that is back is seen soon.
                old.retry = now + self._options.unreached_seconds
            return
        seconds = self._lifetime(answer, old, now)
        if seconds <= 0:
            self.discard(key)
            return
        self._keep(old, key, answer, now, now + seconds)

    def hold(self, entry: Entry, now: float) -> None:
        """Nobody need wait for something better than this entry for a while, nor look for it."""
        entry.hold = entry.retry = now + RECHECK_SECONDS

    def restore(self, key: bytes, answer: Answer, came: float, end: float, now: float) -> bool:
        """Keep an answer of an earlier process, with its times by this clock; False where it is of no use any more."""
        # Whoever wrote the end down: an answer lives no longer than by its own words and our options.
        end = min(end, came + self._lifetime(answer, None, now))
        if key in self._entries or not is_answer(answer) or not came <= now < end + self._stale_seconds or end <= came:
            return False
        self._keep(None, key, answer, came, end)
        return True

    def discard(self, key: bytes) -> None:
        """Forget what is kept under the key, if anything is."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._queues.remove(entry)

    def forget_failures(self) -> int:
        """Forget that nobody could be reached, now that somebody may be; how many names could be asked for again.

        What an upstream itself has said stays, be it a failure; and an answer that has ended is looked for at once.
        """
        unreached = [key for key, entry in self._entries.items() if isinstance(entry.answer, Failure)]
        for key in unreached:
            self.discard(key)
        for entry in self._entries.values():
            entry.retry = 0.0
        return len(unreached)

    def clear(self) -> None:
        """Forget everything."""
        self._queues.clear()
        self._entries.clear()

    def every_key(self) -> list[bytes]:
        """Every key that something is kept under, as of now."""
        return list(self._entries)

    def look(self, key: bytes) -> Entry | None:
        """What is kept under the key, ended or not, without counting as a use."""
        return self._entries.get(key)

    def kept(self, now: float) -> Iterator[tuple[Answer, Entry]]:
        """Every answer that may still be used, now or where nothing better is to be had."""
        for entry in self._entries.values():
            if is_answer(entry.answer) and now < entry.end + self._stale_seconds:
                yield entry.answer, entry

    def statistics(self) -> CacheStatistics:
        """A frozen record of the cache's state."""
        return CacheStatistics(
            entries=len(self._entries),
            octets=self._queues.octets,
            max_octets=self._options.max_octets,
            insertions=self._insertions,
            evictions=self._evictions,
        )

    def _keep(
        self, entry: Entry | None, key: bytes, answer: Answer | Failure | Replacement, came: float, end: float
    ) -> None:
        """Put it in its place, that of `entry` where there is one, and whatever is too much out of it."""
        if entry is None:
            entry = self._entries[key] = Entry(key, answer, came, end)
            self._queues.add(entry)
        else:
            octets = entry.octets
            entry.answer, entry.octets = answer, octets_of(key, answer)
            self._queues.resize(entry, octets)
            entry.came, entry.end = came, end
            entry.hold = entry.retry = 0.0
            entry.soon = NEVER
            entry.uses = 1  # somebody has asked for it again
        life = end - came
        if life >= _PREFETCH_SECONDS and self._options.prefetch and is_answer(answer):
            entry.soon = end - _PREFETCH * life
        self._insertions += 1
        while self._queues.octets > self._options.max_octets:
            del self._entries[self._queues.leave(entry).key]
            self._evictions += 1

    def _lifetime(self, answer: Answer | Failure | Replacement, old: Entry | None, now: float) -> float:
        """For how many seconds to keep the answer that takes the place of `old`."""
        options = self._options
        if is_answer(answer):
            return min(max(answer.ttl, options.min_ttl), self.longest(answer)) if answer.ttl else 0
        if isinstance(answer, Failure):
            return options.unreached_seconds
        if not isinstance(answer, Answer):
            return answer.ttl
        # A failure that follows another one: twice as long, unless the other one ended so long ago that it says nothing
        # about this one (RFC 9520 s3.2: "an exponential or linear backoff algorithm").
        if old is not None and isinstance(old.answer, Answer) and not is_answer(old.answer):
            before = old.end - old.came
            if now < old.end + before:
                return min(2 * before, max(options.max_failure_seconds, options.failure_seconds))
        return options.failure_seconds


def _is_failure(outcome: Answer | Failure | Replacement) -> bool:
    """Whether this says nothing about the name: no answer at all, or an RCODE such as SERVFAIL or REFUSED."""
    return isinstance(outcome, (Answer, Failure)) and not is_answer(outcome)
