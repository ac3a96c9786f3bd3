"""The resolver: every query gets exactly one reply, an answer or the reason why there is none.

Theory of operation. `answer_nowait` looks into the cache and at the names that are answered here; it neither waits nor
makes a task. What it cannot answer goes to `answer_soon`, which joins the flight for the query's key or starts one. A
flight is one task of the resolver's own that makes one exchange; all who asked the same in the meantime only wait, so
one client's giving up cancels nobody else, and a miss costs one task however many ask. However the flight ends, its
askers then leave the table and each gets its own rendering, with its own id, letter case and size.

Flights that start within a tenth of a second are one wave: a nursery with one deadline for all of them. A cancel scope
for each flight cost 7 µs more of processor time per miss, as much as the task itself. So a flight has its deadline or
up to a tenth of a second less. Waves are opened by need: an idle resolver has no timer.

Knows no upstream and no verdict: an `UpstreamError` is quoted by its `summary` and `info_code`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Protocol

import msgspec
import trio

from stubresolver.cache import AnswerCache
from stubresolver.errors import ExchangeTimeout, MalformedAnswer, UpstreamError
from stubresolver.resolve.local import local_reply
from stubresolver.wire.answer import Answer
from stubresolver.wire.edns import Failure, upstream_query
from stubresolver.wire.query import Query

_WAVE_SECONDS = 0.1  # see above

_NETWORK_ERROR = 23  # RFC 8914 s4.24
_NOT_READY = 14  # RFC 8914 s4.15
_OTHER = 0  # RFC 8914 s4.1

_STOPPING = Failure(_NOT_READY, "the resolver is not running or about to stop")
_OVERLOADED = Failure(_OTHER, "too many queries under way")


class Exchanger(Protocol):
    """Whoever can get a query answered: one message out, one message back, or an `UpstreamError`."""

    async def exchange(self, query: bytes) -> bytes:
        """Return the answer to the query, both in wire format."""


class ResolverOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long and how much."""

    # glibc and dig wait five seconds for a reply before they ask again (resolv.conf(5), timeout; dig(1), +time): the
    # reason for a failure has to arrive before that.
    deadline_seconds: Annotated[float, msgspec.Meta(ge=0.5, le=30)] = 4.0
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
        self._flights: dict[bytes, list[tuple[Query, Callable[[bytes], None]]]] = {}  # key to askers
        self._nursery: trio.Nursery | None = None  # holds the waves; None before `run`, and from `stop` on
        self._wave: Callable[[Query], None] | None = None  # starts a flight in the wave that is open now, if one is
        self._boarding: list[Query] = []  # flights that start as soon as the next wave is open
        self._landed = trio.Event()  # set by the last flight once the nursery is closed to new ones
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
        key = query.key
        askers = self._flights.get(key)
        if askers is not None and len(askers) < self._options.max_askers:
            self._coalesced += 1
            askers.append((query, reply))
        elif self._nursery is None:
            self._refused += 1
            self._deliver(_STOPPING, [(query, reply)])
        elif askers is not None or len(self._flights) >= self._options.max_flights:
            self._refused += 1
            self._deliver(_OVERLOADED, [(query, reply)])
        else:
            self._misses += 1
            self._flights[key] = [(query, reply)]
            if self._wave is not None:
                self._wave(query)
            else:
                self._boarding.append(query)
                if len(self._boarding) == 1:
                    self._nursery.start_soon(self._open_wave)

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

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the flights until `stop` or cancellation; whoever still waits then is answered with SERVFAIL."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                task_status.started()
                await self._landed.wait()
            finally:
                self._nursery = None

    async def stop(self, grace: float) -> None:
        """Take no more misses, let the flights under way end within `grace` seconds, then end them and `run`."""
        nursery, self._nursery = self._nursery, None
        if nursery is None:
            await trio.lowlevel.checkpoint()
            return
        if not self._flights:
            self._landed.set()
        with trio.move_on_after(grace):
            await self._landed.wait()
        nursery.cancel_scope.cancel()

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
            under_way=len(self._flights),
        )

    async def _open_wave(self) -> None:
        """Hold the flights that start within the next tenth of a second, and end them at their deadline."""
        deadline = trio.current_time() + self._options.deadline_seconds
        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.deadline = deadline

            def start(query: Query) -> None:
                nursery.start_soon(self._fly, query, deadline)

            self._wave = start
            for query in self._boarding:
                start(query)
            self._boarding.clear()
            try:
                await trio.sleep(_WAVE_SECONDS)
            finally:
                self._wave = None

    async def _fly(self, query: Query, deadline: float) -> None:
        """One exchange; its askers are answered however it ends."""
        outcome: Answer | Failure = _STOPPING
        try:
            outcome = await self._exchange(query)
        except trio.Cancelled:
            if trio.current_time() >= deadline:
                outcome = Failure(ExchangeTimeout.info_code, f"no answer within {self._options.deadline_seconds:g} s")
            raise
        finally:
            if outcome is not _STOPPING:
                self._cache.put(query.key, outcome, trio.current_time())
            self._failures += isinstance(outcome, Failure)
            self._deliver(outcome, self._flights.pop(query.key))
            if self._nursery is None and not self._flights:
                self._landed.set()

    async def _exchange(self, query: Query) -> Answer | Failure:
        """Ask upstream; a failure is a value here, because it is kept and rendered as an answer is."""
        wire = upstream_query(query)
        try:
            return Answer.parse(await self._exchanger.exchange(wire), wire, edns=query.has_edns)
        except UpstreamError as error:
            return Failure(error.info_code, error.summary)
        except MalformedAnswer as error:
            return Failure(_NETWORK_ERROR, f"malformed answer from upstream: {error}")

    def _deliver(self, outcome: Answer | Failure, askers: list[tuple[Query, Callable[[bytes], None]]]) -> None:
        """Give each asker its own rendering; one whose delivery fails takes nothing from the others."""
        for query, reply in askers:
            try:
                reply(outcome.render(query, 0))
            except Exception:  # noqa: BLE001 - counted; the callers of the other askers must not suffer for it
                self._undelivered += 1
