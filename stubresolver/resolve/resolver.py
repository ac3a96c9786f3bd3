"""The resolver: every query gets exactly one reply, an answer or the reason why there is none.

Theory of operation. `answer_nowait` looks into the cache and at the names that are answered here. What it cannot answer
goes to `answer_soon`, which joins the flight for the query's key or starts one. A flight is one exchange; all who
asked the same in the meantime only wait, so one client's giving up cancels nobody else. However the flight ends, it
leaves the table and each of its askers gets its own rendering, with its own id, letter case and size.

No task is made for any of this: a task per miss cost a third of the whole program's processor time per query. Who
exchanges calls back when the exchange has ended, and promises to do so in bounded time.

Knows no upstream and no verdict: an `UpstreamError` is quoted by its `summary` and `info_code`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Protocol

import msgspec
import trio

from stubresolver.cache import AnswerCache
from stubresolver.errors import MalformedAnswer, UpstreamError
from stubresolver.resolve.local import local_reply
from stubresolver.wire.answer import Answer
from stubresolver.wire.edns import Failure, upstream_query
from stubresolver.wire.query import Query

_NETWORK_ERROR = 23  # RFC 8914 s4.24
_NOT_READY = 14  # RFC 8914 s4.15
_OTHER = 0  # RFC 8914 s4.1

_STOPPING = Failure(_NOT_READY, "the resolver is about to stop")
_OVERLOADED = Failure(_OTHER, "too many queries under way")


class Exchanger(Protocol):
    """Whoever can get a query answered: one message out, one message back."""

    def exchange_soon(self, query: bytes, reply: Callable[[bytes | UpstreamError], None]) -> None:
        """Ask the query (wire format) and call `reply` exactly once, at once or later, but within seconds."""


class ResolverOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much may be under way."""

    # Different questions under way at once: the order of unbound's num-queries-per-thread (unbound.conf(5)).
    max_flights: Annotated[int, msgspec.Meta(ge=1, le=65_536)] = 1024
    # Askers who wait for the same question: far more than one machine's programs ask at once, and little memory.
    max_askers: Annotated[int, msgspec.Meta(ge=1, le=65_536)] = 256


@dataclass(frozen=True, slots=True)
class ResolverStatistics:
    """What the resolver has done since it was made; queries = hits + local + misses + coalesced + refused."""

    queries: int
    hits: int  # answered from the cache
    local: int  # answered here by rule
    misses: int  # started an exchange
    coalesced: int  # joined an exchange under way
    refused: int  # too many under way, or not running
    failures: int  # exchanges that brought no answer
    undelivered: int  # replies whose delivery raised
    under_way: int  # exchanges now


class Resolver:
    """Answers queries from the cache, by rule, or by one exchange for all who ask the same at once."""

    def __init__(self, exchanger: Exchanger, cache: AnswerCache, options: ResolverOptions) -> None:
        self._exchanger = exchanger
        self._cache = cache
        self._options = options
        self._flights: dict[bytes, _Flight] = {}  # those that may be joined, by the query's key
        self._overtaken: set[_Flight] = set()  # begun before `forget`: nobody joins them, nothing of them is kept
        self._stopping = False
        self._landed = trio.Event()  # set by the last flight after `stop`
        self._hits = self._local = self._misses = self._coalesced = 0
        self._refused = self._failures = self._undelivered = 0

    def answer_nowait(self, query: Query, now: float) -> bytes | None:
        """The reply, if it can be made without asking anybody; `now` is `trio.current_time()`."""
        found = self._cache.get(query.key, now)
        if found is not None:
            self._hits += 1
            return found[0].render(query, found[1])
        reply = local_reply(query)
        if reply is not None:
            self._local += 1
        return reply

    def answer_soon(self, query: Query, reply: Callable[[bytes], None]) -> None:
        """Call `reply` exactly once, now or later, for a query that `answer_nowait` could not answer."""
        flight = self._flights.get(query.key)
        if flight is not None and len(flight.askers) < self._options.max_askers:
            self._coalesced += 1
            flight.askers.append((query, reply))
        elif self._stopping or flight is not None or len(self._flights) >= self._options.max_flights:
            self._refused += 1
            self._deliver(_STOPPING if self._stopping else _OVERLOADED, [(query, reply)])
        else:
            self._misses += 1
            flight = self._flights[query.key] = _Flight(self, query, reply)
            self._exchanger.exchange_soon(flight.wire, flight.land)

    async def answer(self, query: Query) -> bytes:
        """The reply to one query, for callers that can wait."""
        reply = self.answer_nowait(query, trio.current_time())
        if reply is not None:
            await trio.lowlevel.checkpoint()
            return reply
        replies: list[bytes] = []
        arrived = trio.Event()

        def arrive(octets: bytes) -> None:
            replies.append(octets)
            arrived.set()

        self.answer_soon(query, arrive)
        await arrived.wait()
        return replies[0]

    def forget(self) -> None:
        """Forget every answer, those under way too: what was trusted then may not be trusted now."""
        self._cache.clear()
        self._overtaken.update(self._flights.values())
        self._flights.clear()

    async def stop(self, grace: float) -> None:
        """Start no more flights, let those under way end within `grace` seconds, then answer who still waits."""
        self._stopping = True
        if self._flights or self._overtaken:
            with trio.move_on_after(grace):
                await self._landed.wait()
        while self._flights:
            self._end(self._flights.popitem()[1], _STOPPING)
        while self._overtaken:
            self._end(self._overtaken.pop(), _STOPPING)

    def land(self, flight: "_Flight", result: bytes | UpstreamError) -> None:
        """A flight's exchange has ended; called once by the exchanger, perhaps after `stop` has given it up."""
        kept = self._flights.get(flight.query.key) is flight
        if kept:
            del self._flights[flight.query.key]
        elif flight in self._overtaken:
            self._overtaken.remove(flight)
        else:
            return
        outcome: Answer | Failure
        try:
            if isinstance(result, UpstreamError):
                outcome = Failure(result.info_code, result.summary)
            else:
                outcome = Answer.parse(result, flight.wire, edns=flight.query.has_edns)
        except MalformedAnswer as error:
            outcome = Failure(_NETWORK_ERROR, f"malformed answer from upstream: {error}")
        if kept:
            self._cache.put(flight.query.key, outcome, trio.current_time())
        self._end(flight, outcome)
        if self._stopping and not self._flights and not self._overtaken:
            self._landed.set()

    def statistics(self) -> ResolverStatistics:
        """A frozen record of the resolver's counters."""
        return ResolverStatistics(
            queries=self._hits + self._local + self._misses + self._coalesced + self._refused,
            hits=self._hits,
            local=self._local,
            misses=self._misses,
            coalesced=self._coalesced,
            refused=self._refused,
            failures=self._failures,
            undelivered=self._undelivered,
            under_way=len(self._flights) + len(self._overtaken),
        )

    def _end(self, flight: "_Flight", outcome: Answer | Failure) -> None:
        self._failures += isinstance(outcome, Failure)
        self._deliver(outcome, flight.askers)

    def _deliver(self, outcome: Answer | Failure, askers: list[tuple[Query, Callable[[bytes], None]]]) -> None:
        """Give each asker its own rendering; one whose delivery fails takes nothing from the others."""
        for query, reply in askers:
            try:
                reply(outcome.render(query, 0))
            except Exception:  # noqa: BLE001 - counted; the callers of the other askers must not suffer for it
                self._undelivered += 1


class _Flight:
    """One exchange under way, and everybody who waits for it."""

    __slots__ = ("_resolver", "askers", "query", "wire")

    def __init__(self, resolver: Resolver, query: Query, reply: Callable[[bytes], None]) -> None:
        self._resolver = resolver
        self.query = query  # the first one's
        self.askers = [(query, reply)]
        self.wire = upstream_query(query)

    def land(self, result: bytes | UpstreamError) -> None:
        """The exchange has ended."""
        self._resolver.land(self, result)
