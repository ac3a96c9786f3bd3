"""The upstreams of one pool: which connection is used, whom to dial and when, what to do when the network changes.

Rules. The order is that of `order`; a query is asked on the first connection in it that is open, has room and is not
silent. One connection in use and at most one dial per upstream (RFC 7766 s6.2.2).

Where there is none, upstreams are dialled in turn (`turns`). The first that stands is used; dials of others that would
be no better are called off. While a worse one serves, a better one that may be dialled is dialled beside it. Another
that is only like it is not: `comparing` asks both now and then, and the faster one comes into favour.

Who failed pauses (`health`, `refusals`). While nothing stands and clients ask, the pause of who could not be reached is
cut short twice a second, and so a network that comes back without a word is found; that of who was refused is not. In
an outage nobody waits for longer than two seconds to hear why.

When the machine woke up or moved, every connection is let go of at once and pauses are over; what follows within a
moment is the same move.

What it may not do: judge, or see a query.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

import trio

from stubresolver.errors import NoUpstream, UpstreamError
from stubresolver.upstream.answertime import AnswerTime
from stubresolver.upstream.channel import Channel
from stubresolver.upstream.comparing import COMPARE_SECONDS, is_faster_now
from stubresolver.upstream.diagnosis import Diagnosis
from stubresolver.upstream.dial import Demands
from stubresolver.upstream.health import Health
from stubresolver.upstream.holding import MOVED, Holding
from stubresolver.upstream.line import BEHIND_SECONDS, Line, reason
from stubresolver.upstream.options import UpstreamOptions
from stubresolver.upstream.order import places
from stubresolver.upstream.ranking import Ranking
from stubresolver.upstream.refusals import Refusals
from stubresolver.upstream.report import PoolEvent, PoolStatistics
from stubresolver.upstream.turns import LONG_AGO, NEVER, Turns, is_mute
from stubresolver.upstream.upstream import Upstream
from stubresolver.verify.verdict import Verdict

OUTAGE_PATIENCE: Final = 2.0  # half of `query_timeout`: an answer would still come in time for the second try
SETTLE_SECONDS: Final = 0.02  # a move may be told in several words; one dial is to follow all of them
SAME_MOVE: Final = 1.0  # the same network, told again by another source: the connections of now are of after the move
FORGET_SECONDS: Final = 10.0  # between two moves that both set refused upstreams free: a flapping link is no licence


class Lines:
    """Every upstream of one pool."""

    def __init__(
        self,
        demands: Mapping[Upstream, Demands],
        options: UpstreamOptions,
        report: Callable[[PoolEvent], None],
        *,
        providers: Mapping[Upstream, str],
        explain: Callable[[], Diagnosis],
        refusals: Refusals,
    ) -> None:
        self._options = options
        self._explain = explain
        self._refusals = refusals
        self._strict = options.order == "strict"
        self._fresh = Health(options.backoff_first, options.backoff_longest)
        self._lines = [
            Line(upstream, providers.get(upstream, ""), place, demands[upstream], self._fresh)
            for upstream, place in zip(demands, places(list(demands), providers), strict=True)
        ]
        self._of = {line.upstream: line for line in self._lines}
        self._ranking = Ranking(self._lines, strict=self._strict)
        self._holding = Holding(options, report, refusals, self)
        self._turns = Turns(
            self._lines, self._ranking, refusals, self.dial, strict=self._strict, head_start=options.head_start
        )
        self._changed = trio.Event()  # set, and replaced, whenever a dial or a connection has ended
        self._stepped = trio.Event(), NEVER  # until when nothing is to be dialled, unless something changes
        self._cold = trio.Event()  # somebody was told that nothing stands
        self._warming = trio.CancelScope()
        self._look_at = LONG_AGO  # when something better than what serves may be had
        self._compare_at = NEVER
        self._moved_at = self._forgot_at = LONG_AGO
        self.nursery: trio.Nursery | None = None  # while the pool is running and may start tasks

    def __iter__(self) -> Iterator[Line]:
        """As they were named."""
        return iter(self._lines)

    def __getitem__(self, number: int) -> Line:
        """By the place at which it was named."""
        return self._lines[number]

    def of(self, channel: Channel) -> Line:
        """The upstream that a connection leads to."""
        return self._of[channel.stream.upstream]

    def choose(self) -> Channel | None:
        """The first usable connection in order, with room before one without; None where nothing stands.

        One without room goes before those of the next provider: who asks much chooses no provider.
        """
        full: Channel | None = None
        provider = -1  # whose that is
        for line in self._ranking.ranked:
            if full is not None and line.place.provider != provider:
                break
            channel = line.channel
            if channel is None or channel.silent or not channel.open:
                continue
            if channel.room:
                if (now := trio.current_time()) >= self._look_at:
                    self._look(line, now)
                return channel
            full, provider = full or channel, line.place.provider
        return full

    async def connected(
        self, avoid: Channel | None = None, among: Iterable[Line] | None = None, *, demand: bool = True
    ) -> Channel:
        """A connection to ask on, dialling as the rules say; the most telling reason where there is none to be had.

        Not `avoid`, unless it is the only one that stands; of these upstreams, or of all. `demand`: for a client.
        """
        lines = self._lines if among is None else list(among)
        began = trio.current_time()
        while True:
            self._holding.account()
            if (channel := self._choose_other(avoid, lines)) is not None:
                return channel
            if self.nursery is None:
                raise NoUpstream("shutting down")
            now = trio.current_time()
            until = self._stepped[1]
            common = avoid is None and among is None and demand
            if not common or self._stepped[0] is not self._changed or now >= until:
                until = self._turns.step(now, avoid, lines, demand=demand)
                if common and until < NEVER:  # whoever waits for the same need not work it out, too
                    self._stepped = self._changed, until
            if until == NEVER and not any(line.dialling for line in lines):
                if avoid is not None and among is None and avoid.open and not avoid.silent:
                    return avoid
                raise self._told(demand=demand)
            if self._turns.is_outage():
                until = min(until, began + OUTAGE_PATIENCE)
                if now >= began + OUTAGE_PATIENCE:
                    raise self._told(demand=demand)
            with trio.move_on_at(until):
                await self._changed.wait()

    async def keep_warm(self) -> None:
        """A first connection before the first query; where there is no network, one as soon as there is."""
        while True:
            with trio.CancelScope() as self._warming:
                try:
                    await self.connected(demand=False)
                except UpstreamError:
                    now = trio.current_time()
                    ready_at = min((self._turns.ready_at(line, now) for line in self._lines), default=NEVER)
                    await trio.sleep_until(max(ready_at, now + self._options.backoff_first))
                else:
                    self._cold = trio.Event()
                    await self._cold.wait()

    def dial(self, line: Line, now: float) -> None:
        """Dial an upstream, and hold the connection that comes of it."""
        self._turns.begun(now)
        self._holding.dial(line, now)

    def others(self, channel: Channel, *, address: bool) -> list[Line]:
        """Who else may know better: of the same provider if it has anybody else, with another `address` if need be."""
        line = self.of(channel)
        found = [
            other
            for other in self._lines
            if other is not line and not (address and other.upstream.address == line.upstream.address)
        ]
        return [other for other in found if other.place.provider == line.place.provider] or found

    def kin(self, channel: Channel) -> list[Line]:
        """The other upstreams of the same provider."""
        line = self.of(channel)
        return [each for each in self._lines if each is not line and each.place.provider == line.place.provider]

    def outdone(self, loser: Channel, winner: Channel, *, own: int) -> None:
        """`winner` had a good answer where `loser` had `own` bad ones (0: it was silent)."""
        line, better = self.of(loser), self.of(winner)
        if line is better or line.channel is not loser:  # the second: a hundred queries of one dead connection tell it
            return
        now = trio.current_time()
        if not self._strict and line.outdone.bad(line.all_answered, own):
            line.behind_until = now + BEHIND_SECONDS
        if not own:
            if not self._strict and line.way == better.way:
                self._ranking.favour(better)
            self._holding.drop(line, loser)
        self._ranking.rank(now)

    def offended(self, channel: Channel, error: UpstreamError, *, own: int) -> None:
        """An answer, if any, was good for nothing; too many of them in a row and the connection is given up."""
        line = self.of(channel)
        if line.offences.bad(line.all_answered, own) and line.channel is channel:
            self._holding.give_up(line, error)

    def explained(self, error: UpstreamError) -> UpstreamError:
        """The error, with what may lie behind it before its words where nothing stands."""
        found = None if any(line.usable for line in self._lines) else self._explain()
        if found and found.text:  # it may hold the words of the error, but for the count of others
            words = error.summary.partition(" (+")[0]
            told = found.text if words in found.text else f"{found.text}: {error.summary}"
            error.summary = replace(found, text=told).told
            error.args = (error.summary,)
        return error

    def moved(self, network: str) -> None:
        """The machine woke up, or is in another network; see the rules."""
        if self.nursery is None:
            self._ranking.moved(network)
            return
        now = trio.current_time()
        elsewhere = network != self._ranking.network
        for line in self._lines:
            line.health = self._fresh
        if elsewhere and now >= self._forgot_at + FORGET_SECONDS:
            self._forgot_at = now
            self._refusals.forget()
        if elsewhere or now >= self._moved_at + SAME_MOVE:
            for line in self._lines:
                self._holding.abandon(line, MOVED)
                line.error = None
                line.answer_time = AnswerTime()
            self._ranking.moved(network)
            self._moved_at, self._turns.settled_at = now, now + SETTLE_SECONDS
            self._compare_at = NEVER  # until a while after something stands here
        self._anew(now)

    def clock_set(self) -> None:
        """What was refused by a clock that was wrong may be dialled again; what was allowed by it is judged again."""
        for line in self._lines:
            if line.refused:
                line.health = self._fresh
        self._refusals.forget()
        if self.nursery is not None:
            for line in self._lines:
                if line.dialling is not None:
                    line.dialling.cancel()
                if line.channel is not None:
                    self.nursery.start_soon(self._holding.judge_again, line, line.channel)
            self._anew(trio.current_time())

    def take(self, demands: Mapping[Upstream, Demands], judged: Mapping[Channel, Verdict | UpstreamError]) -> None:
        """Put other demands in force, by which every connection that stands has been judged."""
        self._refusals.forget()
        for line in self._lines:
            line.demands = demands[line.upstream]
            line.health = self._fresh
            line.error = None
            if line.channel is not None:
                self._holding.take_judgement(line, line.channel, judged[line.channel])
        if self.nursery is not None:
            self._anew(trio.current_time())

    def stood(self, line: Line) -> None:
        """A connection stands: call off the dials that would bring nothing better, and leave the later providers.

        Else the next name after an idle moment, in which the earlier one has closed, would go to a later one. But who
        answered nothing when it was asked last has to do so first.
        """
        now = trio.current_time()
        if not line.mute:
            self.leave_later(line)
        self._ranking.stood(line, now)
        self._turns.network_is_back(line)
        self._compare_at = min(self._compare_at, now + COMPARE_SECONDS)
        for other in self._lines:
            if other.dialling is not None and other.channel is None and other.grade >= line.grade:
                other.dialling.cancel()
        self._wake()

    def leave_later(self, line: Line) -> None:
        """Its provider can be asked: those after it are let go of."""
        for other in self._lines:
            if other.place.provider != line.place.provider and other.grade > line.grade:
                self._holding.let_go(other)

    def fell(self, line: Line, *, dial: bool) -> None:  # noqa: ARG002 - the shape of a Watcher
        """A dial has failed, which gives the next one its turn; or a connection ended."""
        if dial:
            self._turns.next_at = LONG_AGO
            blocked = self._ranking.notice_blocked(trio.current_time())
            for other in self._lines:
                if other.way in blocked and other.dialling is not None:
                    other.dialling.cancel()
        self._wake()

    def statistics(self) -> PoolStatistics:
        """What is known of all upstreams, as they were named."""
        now = trio.current_time()
        return PoolStatistics(
            tuple(line.statistics(now, self._turns.ready_at(line, now)) for line in self._lines),
            self._ranking.statistics(now),
        )

    def _choose_other(self, avoid: Channel | None, lines: list[Line]) -> Channel | None:
        """As `choose`, of these upstreams and not on this connection."""
        if avoid is None and lines is self._lines:
            return self.choose()
        usable = [line.usable for line in self._ranking.ranked if line in lines]
        found = [channel for channel in usable if channel is not None and channel is not avoid]
        if avoid is not None and is_mute(avoid):
            found.sort(key=lambda channel: self.of(channel) is self.of(avoid))
        return next((channel for channel in found if channel.room), found[0] if found else None)

    def _look(self, chosen: Line, now: float) -> None:
        """Dial the chosen one anew if its verdict is old, and a better one if it may be dialled; when to look again."""
        waits = [self._ranking.rank(now)]
        if chosen.dialling is None:
            old_at = max(chosen.opened_at + self._options.lifetime, self._turns.ready_at(chosen, now))
            if now >= old_at:
                self._holding.dial(chosen, now)
            else:
                waits.append(old_at)
        better = [line for line in self._lines if line.grade < chosen.grade and line.usable is None]
        if now >= self._turns.next_at and (candidate := self._turns.candidate(now, None, better)) is not None:
            self.dial(candidate, now)
        waits += [max(self._turns.next_at, self._turns.ready_at(line, now)) for line in better if line.dialling is None]
        if now >= self._compare_at:
            self._compare_at = now + COMPARE_SECONDS
            self._start_comparing(chosen, now)
        self._look_at = min(*waits, self._compare_at)

    def _start_comparing(self, chosen: Line, now: float) -> None:
        """Compare the one in use with the next one that is like it, in turn."""
        alike = [line for line in self._lines if line.grade == chosen.grade and line is not chosen]
        ready = [
            line for line in alike if line.usable or (line.dialling is None and now >= self._turns.ready_at(line, now))
        ]
        if ready and self.nursery is not None:
            candidate = min(ready, key=lambda line: line.dialled_at)
            if candidate.usable is None:
                self.dial(candidate, now)
            self.nursery.start_soon(self._compare, chosen, candidate)

    async def _compare(self, chosen: Line, candidate: Line) -> None:
        while candidate.dialling is not None:
            await self._changed.wait()
        if await is_faster_now(candidate, chosen):
            self._ranking.favour(candidate)
            self._wake()

    def _wake(self) -> None:
        """Something has changed: who waits looks again, and so does the next query."""
        self._ranking.rank(trio.current_time())
        self._look_at = LONG_AGO
        self._changed.set()
        self._changed = trio.Event()

    def _anew(self, now: float) -> None:
        """Pauses are over: dial now if nothing stands."""
        self._turns.anew()
        self._ranking.rank(now)
        self._wake()
        self._warming.cancel()

    def _told(self, *, demand: bool) -> UpstreamError:
        """Why nothing can be asked, for who is told so."""
        if demand:
            self._cold.set()
        return self.explained(reason(self._lines))
