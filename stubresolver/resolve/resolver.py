"""The resolver: every query gets exactly one reply, an answer or the reason why there is none.

Theory of operation. `answer_nowait` looks into the cache, then at what is known here. What it cannot answer goes to
`answer_soon`, which joins the flight for the query's key or starts one. A flight is one exchange; all who asked the
same in the meantime only wait, so one client's giving up cancels nobody else. However the flight ends, it leaves the
table and each of its askers gets its own rendering, with its own id, letter case and size.

An answer that has ended is better than none (RFC 8767). It is given to who has waited for `CLIENT_SECONDS` while the
flight goes on; to who waits for a flight that fails; and at once to who asks within `RECHECK_SECONDS` after either. A
name that is asked for again and again is fetched anew by a flight without askers before its answer ends.

No task is made for any of this but one for all who wait: a task per miss cost a third of the whole program's processor
time per query. Who exchanges calls back when the exchange has ended, and promises to do so in bounded time.

While a person has set a detour, flights go there: a server that nobody has verified. Nothing of such a flight is kept,
none is begun without an asker, and none outlives the detour for anybody who asks later.

Knows no upstream and no verdict: an `UpstreamError` is quoted by its `summary` and `info_code`.
"""

from collections.abc import Callable
from typing import Final

import trio

from stubresolver.cache import AnswerCache, Kept, Replacement, is_answer
from stubresolver.cache.entry import NEVER, Entry
from stubresolver.errors import UpstreamError
from stubresolver.local import LocalKnowledge
from stubresolver.resolve.flight import Asker, Flight
from stubresolver.resolve.flights import Flights
from stubresolver.resolve.options import ResolverOptions, ResolverStatistics
from stubresolver.resolve.patience import Patience
from stubresolver.resolve.ports import Detour, Exchanger, Local
from stubresolver.wire.answer import Answer
from stubresolver.wire.edns import Failure, UpstreamForm, upstream_query_of
from stubresolver.wire.names import is_within
from stubresolver.wire.query import Query

_NOT_READY: Final = 14  # RFC 8914 s4.15
_OTHER: Final = 0  # RFC 8914 s4.1

_STOPPING: Final = Failure(_NOT_READY, "the resolver is about to stop")
_OVERLOADED: Final = Failure(_OTHER, "too many queries under way")
_FLOODED: Final = Failure(_OTHER, "overloaded: more new names are asked for than can be fetched")

# Askers who wait, in all, for each place: with what is kept of each, about 8 MiB at most.
_ASKERS_A_PLACE: Final = 8

_OFTEN: Final = 2  # uses in an answer's life that make it worth fetching anew before its end
_DETOUR_TTL: Final = 5  # seconds: what a detour says is soon gone from the clients' own caches, too


class Resolver:
    """Answers queries from the cache, by what is known here, or by one exchange for all who ask the same at once."""

    def __init__(
        self,
        exchanger: Exchanger,
        cache: AnswerCache,
        options: ResolverOptions,
        local: Local | None = None,
        wall: Callable[[], int] | None = None,
        *,
        last_resort: Callable[[Query], bytes | None] = lambda _query: None,
    ) -> None:
        """`local`: what is known here, instead of the special-use names alone.

        `wall` gives seconds since 1970; without it answers are kept beyond the end of their signatures. `last_resort`
        has the reply to a query that no upstream can be asked now; None for nearly all, and while one can be.
        """
        self._exchanger = exchanger
        self._detour: Detour | None = None
        self._wall = wall
        self._last_resort = last_resort
        self._form = UpstreamForm(client_subnet=options.client_subnet != "none")
        self._cache = cache
        self._options = options
        self._known: Local = local or LocalKnowledge()
        self._flights = Flights(options.max_flights, self._give_way)
        self._waiting, self._most_waiting = 0, _ASKERS_A_PLACE * options.max_flights  # askers
        self.forgotten = 0  # how often anything was
        self._patience = Patience(self._give_up_waiting)
        self._stopping = False
        self._landed = trio.Event()  # set by the last flight after `stop`
        self._hits = self._local = self._stale = self._misses = self._coalesced = self._refused = 0
        self._stale_late = self._background = self._failures = self._undelivered = self._emergency = 0
        self._shed = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the time of those who wait, until cancelled; without it they wait for as long as the exchange takes."""
        task_status.started()
        await self._patience.run()

    def answer_nowait(self, query: Query, now: float) -> bytes | None:
        """The reply, if it can be made without asking anybody; `now` is `trio.current_time()`."""
        entry = self._cache.get(query.key, now)
        if entry is None:
            return self._answer_otherwise(query, now)
        self._hits += 1
        if now >= entry.soon:
            self._prefetch(query, entry)
        return entry.answer.render(query, int(now - entry.came))

    def shed(self, query: Query, now: float, asker: bytes) -> bytes | None:
        """The reply to a query that is not fetched, because too much is asked; None where `answer_soon` may take it.

        For what `answer_nowait` could not answer. `asker` is a socket or a machine.
        """
        flights = self._flights
        flight = flights.joinable.get(query.key)
        if flight is not None:
            if self._may_join(flight):
                return None
            failure = _OVERLOADED
        elif not flights.find_place(asker, now):
            failure = _OVERLOADED
        elif now >= flights.admission.flood_ends or flights.admission.keeps_pace(asker, now):
            return None
        else:
            failure = _FLOODED
        self._refused += 1
        self._shed += 1
        fallback = self._cache.fallback(query.key, now)
        if fallback is None:
            return failure.render(query, 0)
        self._stale_late += 1  # and not held: the next to ask may find the flood over
        return fallback[0].render_stale(query)

    def answer_soon(self, query: Query, reply: Callable[[bytes], None], asker: bytes = b"") -> None:
        """Call `reply` exactly once, now or later, for a query that `answer_nowait` could not answer."""
        flight = self._flights.joinable.get(query.key)
        query.trim()
        may_join = flight is not None and self._may_join(flight)
        self._waiting += 1
        if flight is not None and may_join:
            self._coalesced += 1
            flight.askers.append((query, reply))
        elif self._stopping or flight is not None or self._flights.full:
            self._refused += 1
            self._fail(_STOPPING if self._stopping else _OVERLOADED, [(query, reply)])
        else:
            self._misses += 1
            self._take_off(query, [(query, reply)], asker)

    def press(self, now: float) -> None:
        """A listener has more waiting than it can take: what is at hand goes before what must be fetched."""
        self._flights.admission.press(now)

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

    def know(self, local: Local) -> None:
        """Other things are known here from now on: what was answered by the earlier ones is forgotten."""
        if local is not self._known:
            self._known = local
            self.forget()

    def detour(self, detour: Detour | None) -> None:
        """From now on ask there what is not in the cache, or with None nobody but the exchanger.

        Whoever waits already is answered by whom he was asked of, and nobody else is.
        """
        self._detour = detour
        self._flights.overtake()

    def forget(self) -> None:
        """Forget every answer, those under way too: what was trusted then may not be trusted now."""
        self.forgotten += 1
        self._cache.clear()
        self._flights.overtake()

    def forget_within(self, name: bytes, keys: list[bytes]) -> int:
        """Forget what is kept under those of the keys that are for this name or one below it; how many there were.

        The flights for such names are overtaken, whatever the keys.
        """
        self.forgotten += 1
        self._flights.overtake(lambda key: _is_for(key, name))
        found = [key for key in keys if _is_for(key, name) and self._cache.look(key) is not None]
        for key in found:
            self._cache.discard(key)
        return len(found)

    def restore(self, kept: Kept, now: float) -> bool:
        """Keep an answer of an earlier process, unless what is known here now has another one, or withholds it."""
        query = Query(upstream_query_of(kept.key), tcp=True)
        if self._known.reply(query) is not None or self._known.vet(query, kept.answer) is not None:
            return False
        return self._cache.restore(kept.key, kept.answer, kept.came, kept.end, now)

    async def stop(self, grace: float) -> None:
        """Start no more flights, let those under way end within `grace` seconds, then answer who still waits."""
        self._stopping = True
        if self._flights:
            with trio.move_on_after(grace):
                await self._landed.wait()
        for flight in self._flights.drain():
            self._end(flight, _STOPPING)

    def statistics(self) -> ResolverStatistics:
        """A frozen record of the resolver's counters."""
        return ResolverStatistics(
            queries=self._hits + self._local + self._stale + self._misses + self._coalesced + self._refused,
            hits=self._hits,
            local=self._local,
            stale=self._stale,
            misses=self._misses,
            coalesced=self._coalesced,
            refused=self._refused,
            stale_late=self._stale_late,
            background=self._background,
            failures=self._failures,
            undelivered=self._undelivered,
            emergency=self._emergency,
            shed=self._shed,
            given_way=self._flights.given_way,
            waiting=self._waiting,
            flooded=trio.current_time() < self._flights.admission.flood_ends,
            under_way=len(self._flights),
        )

    def _answer_otherwise(self, query: Query, now: float) -> bytes | None:
        """The reply to what the cache has no answer for that is still good."""
        reply = self._known.reply(query)
        if reply is not None:
            self._local += 1
            return reply
        fallback = self._cache.fallback(query.key, now)
        if self._detour is not None and self._detour.takes(query.key):
            return None
        if fallback is None:
            return self._answer_in_need(query)
        if now >= fallback[1].hold:
            return None
        self._stale += 1
        if now >= fallback[1].retry:
            self._fly_in_background(query)
        return fallback[0].render_stale(query)

    def _answer_in_need(self, query: Query) -> bytes | None:
        """The reply to one of the few names that are answered while no upstream can be asked, which is tried beside."""
        reply = self._last_resort(query)
        if reply is not None:
            self._local += 1
            self._emergency += 1
            self._fly_in_background(query)
        return reply

    def _prefetch(self, query: Query, entry: Entry) -> None:
        """Fetch an answer anew that is near its end, once, if it is asked for often."""
        if entry.uses >= _OFTEN:
            entry.soon = NEVER
            self._fly_in_background(query)

    def _fly_in_background(self, query: Query) -> None:
        """Start a flight that nobody waits for; half of the places are for those that somebody waits for."""
        flights = self._flights
        if flights.half_full or query.key in flights.joinable or self._stopping:
            return
        if self._detour_of(query.key) is None:
            self._background += 1
            self._take_off(query, [])

    def _may_join(self, flight: Flight) -> bool:
        """Whether one more may wait for this flight."""
        return len(flight.askers) < self._options.max_askers and self._waiting < self._most_waiting

    def _take_off(self, query: Query, askers: list[Asker], asker: bytes = b"") -> None:
        now = trio.current_time()
        detour = None if self._detour is None else self._detour_of(query.key)
        wire = self._form.query(query)
        flight = Flight(query, wire, askers, self._land, detour, asker=asker, begun=now)
        self._flights.add(flight)
        if detour is not None:
            detour.exchange_soon(flight.wire, flight.land)
            return
        if self._cache.fallback(query.key, now) is not None:
            self._patience.begin(flight, now)
        self._exchanger.exchange_soon(flight.wire, flight.land)

    def _detour_of(self, key: bytes) -> Detour | None:
        """The detour, where there is one and it takes such queries."""
        return self._detour if self._detour is not None and self._detour.takes(key) else None

    def _land(self, flight: Flight, result: bytes | UpstreamError) -> None:
        """A flight's exchange has ended; called once by the exchanger, perhaps after `stop` has given it up."""
        current = self._flights.landed(flight)
        if current is None:
            return
        outcome = flight.read(result, self._wall)
        replacement = None
        if flight.detour is not None:
            current = False  # for who waits for it, and for nobody else
            if isinstance(outcome, Answer):
                outcome.cap(_DETOUR_TTL)
                replacement = flight.detour.vet(flight.query, outcome)
        elif isinstance(outcome, Answer):
            outcome.cap(self._cache.longest(outcome))
            # Whatever its RCODE: some clients look at the records of an error, too.
            replacement = self._known.vet(flight.query, outcome)
        if current:
            self._keep(flight.query, replacement or outcome)
        self._end(flight, replacement or outcome)
        if self._stopping and not self._flights:
            self._landed.set()

    def _keep(self, query: Query, outcome: Answer | Failure | Replacement) -> None:
        """Put what came of a flight into the cache; but a failure that is kept would stand before the last resort."""
        now = trio.current_time()
        stale = isinstance(outcome, Failure) and self._cache.fallback(query.key, now)
        if not isinstance(outcome, Failure) or stale or self._last_resort(query) is None:
            self._cache.put(query.key, outcome, now)

    def _give_up_waiting(self, flight: Flight) -> None:
        """Who waits for this flight has waited long enough; the flight itself goes on."""
        key, now = flight.query.key, trio.current_time()
        fallback = self._cache.fallback(key, now) if self._flights.joinable.get(key) is flight else None
        if fallback is not None:
            self._cache.hold(fallback[1], now)
            askers, flight.askers = flight.askers, []
            self._stale_late += len(askers)
            self._deliver(fallback[0].render_stale, askers)

    def _give_way(self, flight: Flight) -> None:
        """Who waits for a flight whose place another has now has waited in vain."""
        self._end(flight, _OVERLOADED)

    def _end(self, flight: Flight, outcome: Answer | Failure | Replacement) -> None:
        """Tell everybody who waits for the flight what came of it."""
        self._failures += isinstance(outcome, Failure)
        if isinstance(outcome, (Answer, Failure)) and not is_answer(outcome):
            self._fail(outcome, flight.askers)
        else:
            self._deliver(lambda query: outcome.render(query, 0), flight.askers)

    def _fail(self, failure: Answer | Failure, askers: list[Asker]) -> None:
        """Tell of a failure, or give what is better than that (RFC 8767 s4)."""
        fallback = self._cache.fallback(askers[0][0].key, trio.current_time()) if askers else None
        if fallback is None:
            self._deliver(lambda query: self._rescue(query) or failure.render(query, 0), askers)
        else:
            self._stale_late += len(askers)
            self._deliver(fallback[0].render_stale, askers)

    def _rescue(self, query: Query) -> bytes | None:
        """What the last resort has for who waited."""
        reply = self._last_resort(query)
        self._emergency += reply is not None
        return reply

    def _deliver(self, render: Callable[[Query], bytes], askers: list[Asker]) -> None:
        """Give each asker its own rendering; one whose delivery fails takes nothing from the others."""
        self._waiting -= len(askers)
        for query, reply in askers:
            try:
                reply(render(query))
            except Exception:  # noqa: BLE001 - counted; the callers of the other askers must not suffer for it
                self._undelivered += 1


def _is_for(key: bytes, name: bytes) -> bool:
    """Whether the key's question is for the name or one below it; nearly every name ends otherwise."""
    asked = key[:-5]  # type, class and the octet of flags follow it
    return asked.endswith(name) and is_within(asked, name)
