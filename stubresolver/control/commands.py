"""What can be asked about the cache.

Nothing here holds the service up: what looks at every key does so a thousand at a time. Names are told to nobody but
who asks for that very name: there is no command that lists what was asked.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Final

import msgspec
import trio

from stubresolver.cache import AnswerCache, Entry, is_answer
from stubresolver.control.names import wire_name
from stubresolver.control.protocol import MAX_REPLY, Command, Request
from stubresolver.resolve import Resolver
from stubresolver.wire.answer import Answer
from stubresolver.wire.codes import AD, CD, RD
from stubresolver.wire.edns import Failure, upstream_query_of
from stubresolver.wire.query import KEY_DO, KEY_EDNS, Query

_AT_ONCE: Final = 1000  # keys; about a tenth of a millisecond
_FLAGS: Final = {RD: "RD", CD: "CD", AD: "AD", KEY_EDNS: "EDNS", KEY_DO: "DO"}


class ShownStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """`cache.stats`: what the cache holds now, and what came of all queries since the start."""

    entries: int
    octets: int
    max_octets: int
    insertions: int
    evictions: int
    queries: int
    hits: int
    local: int
    stale: int
    misses: int
    coalesced: int
    refused: int
    stale_late: int
    background: int
    failures: int
    under_way: int


class ShownEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept for one kind of query about a name."""

    type: int
    flags: tuple[str, ...]  # RD, CD, AD, EDNS, DO: of the clients that it is kept for
    kind: str  # "answer", "failure" (also SERVFAIL and the like), or "withheld"
    age: int  # seconds
    left: int  # seconds until its end; negative since then
    uses: int
    octets: int
    held: int  # seconds for which it is given out at once although it has ended; 0 for an answer that has not
    message: bytes  # as a client would get it now


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """`cache.show`: everything that is kept about a name."""

    entries: tuple[ShownEntry, ...]
    left_out: int = 0  # entries that had no room in the reply


class Flushed(msgspec.Struct, frozen=True, kw_only=True):
    """`cache.flush`: how many entries went."""

    entries: int


class CacheCommands:
    """The commands about one cache and the resolver that fills it."""

    def __init__(self, cache: AnswerCache, resolver: Resolver) -> None:
        self._cache = cache
        self._resolver = resolver

    @property
    def commands(self) -> Mapping[str, Command]:
        """By their names."""
        return {
            "cache.stats": self.stats,
            "cache.show": lambda request: self.show(request.name),
            "cache.flush": lambda request: self.flush(request.name),
        }

    async def stats(self, _request: Request) -> ShownStatistics:
        """What the cache holds and what came of the queries."""
        await trio.lowlevel.checkpoint()
        return self.statistics()

    def statistics(self) -> ShownStatistics:
        """The same, at once."""
        cache, resolver = self._cache.statistics(), self._resolver.statistics()
        return ShownStatistics(
            entries=cache.entries,
            octets=cache.octets,
            max_octets=cache.max_octets,
            insertions=cache.insertions,
            evictions=cache.evictions,
            queries=resolver.queries,
            hits=resolver.hits,
            local=resolver.local,
            stale=resolver.stale,
            misses=resolver.misses,
            coalesced=resolver.coalesced,
            refused=resolver.refused,
            stale_late=resolver.stale_late,
            background=resolver.background,
            failures=resolver.failures,
            under_way=resolver.under_way,
        )

    async def show(self, name: str) -> Shown:
        """What is kept about a name, for each type and kind of client."""
        wire, shown, left_out, octets = wire_name(name), [], 0, 0
        async for keys in self._slices():
            for key in keys:
                entry = self._cache.look(key) if key[:-5] == wire else None  # type, class and flags follow the name
                if entry is None:
                    continue
                one = _show(key, entry, trio.current_time())
                octets += 2 * len(one.message) + 200  # in base64, with the rest
                if octets > MAX_REPLY:
                    left_out += 1
                else:
                    shown.append(one)
        return Shown(entries=tuple(shown), left_out=left_out)

    async def flush(self, name: str) -> Flushed:
        """Forget a name and everything below it, or everything; what is under way for them is not kept either."""
        if not name:
            entries = self._cache.statistics().entries
            self._resolver.forget()
            await trio.lowlevel.checkpoint()
            return Flushed(entries=entries)
        wire, entries = wire_name(name), 0
        async for keys in self._slices():
            entries += self._resolver.forget_within(wire, keys)
        return Flushed(entries=entries)

    async def _slices(self) -> AsyncIterator[list[bytes]]:
        """Every key, some at a time, at least one time."""
        keys = self._cache.every_key()
        for start in range(0, max(len(keys), 1), _AT_ONCE):
            yield keys[start : start + _AT_ONCE]
            await trio.lowlevel.checkpoint()


def _show(key: bytes, entry: Entry, now: float) -> ShownEntry:
    """One entry in a person's terms."""
    query = Query(upstream_query_of(key), tcp=True)
    answer, ended = entry.answer, now >= entry.end
    if is_answer(answer):
        kind = "answer"
        message = answer.render_stale(query) if ended else answer.render(query, int(now - entry.came))
    else:
        kind = "failure" if isinstance(answer, (Answer, Failure)) else "withheld"
        message = answer.render(query, int(now - entry.came))
    return ShownEntry(
        type=key[-5] << 8 | key[-4],
        flags=tuple(name for bit, name in _FLAGS.items() if key[-1] & bit),
        kind=kind,
        age=int(now - entry.came),
        left=int(entry.end - now),
        uses=entry.uses,
        octets=entry.octets,
        held=max(int(entry.hold - now), 0) if ended else 0,
        message=message,
    )
