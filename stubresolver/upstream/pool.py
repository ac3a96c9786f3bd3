"""All upstreams behind one `exchange`: which connection to use, when to dial, when to ask once more.

Rules. The order in which upstreams were configured is the order of preference. One connection in use and at most one
dial per upstream (RFC 7766 s6.2.2). A query is asked on the most preferred connection that is open, has room and is not
silent. Where there is none, the most preferred upstream that may be dialled is dialled, and 250 ms later the next one
too if nothing stands yet (RFC 8305 s5). While a less preferred connection serves, a better upstream that may be dialled
is dialled beside it. A query is asked at most twice: once more, elsewhere if possible, when its connection ended or
went silent. While all upstreams pause, askers hear at once why.

When the demands change, they change for all upstreams at one moment. Connections that stand have been judged again by
then; those that fall short are retired at that moment. No query goes out on a verdict that was overtaken.

What it may not do: judge, know what a query or an answer means, or let an exchange take longer than `query_timeout`.
"""

import functools
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence

import trio

from stubresolver.errors import ChannelClosed, ExchangeTimeout, NoUpstream, PolicyRefused, UpstreamError
from stubresolver.transport.doh import DohProtocol
from stubresolver.transport.dot import DotProtocol
from stubresolver.transport.protocol import QueryProtocol
from stubresolver.upstream.channel import Channel, Exchange
from stubresolver.upstream.dial import Demands, VerifiedStream, dial, judge_again
from stubresolver.upstream.health import Health
from stubresolver.upstream.line import Line
from stubresolver.upstream.options import UpstreamOptions
from stubresolver.upstream.report import ConnectionLost, DialFailed, Judged, PoolEvent, PoolStatistics
from stubresolver.upstream.upstream import DEFAULT_PORTS, Transport, Upstream
from stubresolver.verify.verdict import Verdict


class Pool:
    """An `Exchanger` over verified upstreams; it works while `run` is running."""

    def __init__(
        self,
        demands: Mapping[Upstream, Demands],
        options: UpstreamOptions | None = None,
        report: Callable[[PoolEvent], None] = lambda _event: None,
    ) -> None:
        """The upstreams are the keys of `demands`, the most preferred one first."""
        self._options = options or UpstreamOptions()
        self._report = report
        self._health = Health(self._options.backoff_first, self._options.backoff_longest, self._options.refused_pause)
        self._lines = [Line(upstream, demanded, self._health) for upstream, demanded in demands.items()]
        self._changed = trio.Event()  # set, and replaced, whenever a dial has ended
        self._dialled_at = float("-inf")
        self._warming: trio.CancelScope | None = None
        self._nursery: trio.Nursery | None = None  # while `run` is running and may start tasks

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the connections; dial at once, and again until one stands. Cancel it to close everything."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                task_status.started()
                await self._prewarm()
                await trio.sleep_forever()
            finally:
                self._nursery = None

    def exchange_soon(self, query: bytes, reply: Callable[[bytes | UpstreamError], None]) -> None:
        """Ask a query in wire format; `reply` gets its answer, or the error whose summary says why there is none.

        It is called exactly once, within `query_timeout` seconds. No task is made where a connection stands.
        """
        try:
            channel = self._choose(None)
            if channel is not None:
                channel.ask(query, functools.partial(self._woken, query, channel, reply))
                return
        except UpstreamError as error:
            reply(error)
            return
        self._start(self._connected_and_asked(query), reply)

    async def renew(self, demands: Mapping[Upstream, Demands]) -> None:
        """From now on judge by other demands, of the same upstreams; as `renew_all`."""
        await renew_all([self], demands)

    def take(self, demands: Mapping[Upstream, Demands], judged: Mapping[Channel, Verdict | UpstreamError]) -> None:
        """Put other demands in force, by which every connection that stands has been judged; for `renew_all`."""
        for line in self._lines:
            line.demands = demands[line.upstream]
            line.health = self._health
            line.error = None
            if line.channel is not None:
                self._take_judgement(line, line.channel, judged[line.channel])
        if self._nursery is not None:
            self._nursery.start_soon(self._prewarm)

    @property
    def standing(self) -> list[tuple[Upstream, Channel]]:
        """The connections that stand."""
        return [(line.upstream, line.channel) for line in self._lines if line.channel is not None]

    def statistics(self) -> PoolStatistics:
        """What is known of all upstreams, in order of preference."""
        now = trio.current_time()
        return PoolStatistics(tuple(line.statistics(now) for line in self._lines))

    def _woken(
        self, query: bytes, channel: Channel, reply: Callable[[bytes | UpstreamError], None], exchange: Exchange
    ) -> None:
        """The exchange has its result; or its channel has ended or gone silent: then ask once more, elsewhere."""
        result = exchange.result
        if result is None:
            exchange.woken = None  # whoever races it from now on waits for it
            self._start(self._race(query, channel, exchange), reply, exchange.asked_at)
        elif isinstance(result, ChannelClosed):
            self._start(self._ask_elsewhere(query, channel), reply, exchange.asked_at)
        else:
            reply(result)

    def _start(
        self,
        answer: Coroutine[None, None, bytes],
        reply: Callable[[bytes | UpstreamError], None],
        asked_at: float | None = None,
    ) -> None:
        """Get the answer in a task, within what is left of the query's time."""
        if self._nursery is None:
            answer.close()
            reply(NoUpstream("shutting down"))
            return
        started = trio.current_time() if asked_at is None else asked_at
        self._nursery.start_soon(self._reply_late, answer, reply, started + self._options.query_timeout)

    async def _reply_late(
        self,
        answer: Coroutine[None, None, bytes],
        reply: Callable[[bytes | UpstreamError], None],
        deadline: float,
    ) -> None:
        result: bytes | UpstreamError = NoUpstream("shutting down")  # stays so if this task is cancelled
        try:
            with trio.move_on_at(deadline) as limit:
                result = await answer
            if limit.cancelled_caught:
                result = ExchangeTimeout(f"no upstream answered within {self._options.query_timeout:g} s")
        except UpstreamError as error:
            result = error
        finally:
            reply(result)

    async def _connected_and_asked(self, query: bytes) -> bytes:
        """Where no connection stands: dial, ask, and ask once more elsewhere if need be."""
        channel = await self._connected(None)
        exchange = channel.ask(query)
        try:
            answer = await exchange.wait()
        except ChannelClosed:
            return await self._ask_elsewhere(query, channel)
        return answer if answer is not None else await self._race(query, channel, exchange)

    async def _ask_elsewhere(self, query: bytes, avoid: Channel) -> bytes:
        channel = await self._connected(avoid)
        return await channel.exchange(query)

    async def _race(self, query: bytes, silent: Channel, exchange: Exchange) -> bytes:
        """The first answer: from the silent channel after all, or from elsewhere."""
        answers: list[bytes] = []
        errors: list[UpstreamError] = []

        async def take(source: Awaitable[bytes]) -> None:
            try:
                answers.append(await source)
            except UpstreamError as error:
                errors.append(error)
            if answers or len(errors) == 2:
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take, exchange.answer())
            nursery.start_soon(take, self._ask_elsewhere(query, silent))
        if answers:
            return answers[0]
        raise min(errors, key=lambda error: not isinstance(error, PolicyRefused | NoUpstream))

    async def _connected(self, avoid: Channel | None) -> Channel:
        """A channel to ask on, dialling as the rules say; the most telling reason where there is none to be had."""
        while True:
            if (channel := self._choose(avoid)) is not None:
                return channel
            now = trio.current_time()
            candidate = self._candidate(now, avoid)
            dialling = any(line.dialling for line in self._lines)
            if candidate is not None and (not dialling or now >= self._dialled_at + self._options.head_start):
                self._dial(candidate, now)
                candidate = self._candidate(now, avoid)
            elif not dialling:
                if avoid is not None and avoid.open and not avoid.silent:
                    return avoid
                raise self._reason()
            next_dial = self._dialled_at + self._options.head_start if candidate is not None else float("inf")
            with trio.move_on_at(next_dial):
                await self._changed.wait()

    def _choose(self, avoid: Channel | None) -> Channel | None:
        """The most preferred usable channel, with room before one without; wakes what should be better."""
        if self._nursery is None:
            raise NoUpstream("shutting down")
        full: Channel | None = None
        for line in self._lines:
            channel = line.usable
            if channel is None or channel is avoid:
                continue
            if channel.room:
                self._improve(line, channel)
                return channel
            full = full or channel
        return full

    def _improve(self, chosen: Line, channel: Channel) -> None:
        """Dial upstreams that are preferred to the chosen one, and the chosen one anew if its verdict is old."""
        if chosen is self._lines[0] and trio.current_time() - channel.opened_at < self._options.lifetime:
            return
        now = trio.current_time()
        for line in self._lines:
            worn = line.usable is None or now - line.opened_at >= self._options.lifetime
            if worn and not line.dialling and line.health.ready(now):
                self._dial(line, now)
            if line is chosen:
                return

    def _candidate(self, now: float, avoid: Channel | None) -> Line | None:
        """The most preferred upstream that may be dialled now; last the one of the channel to avoid."""
        ready = [line for line in self._lines if line.usable is None and not line.dialling and line.health.ready(now)]
        ready.sort(key=lambda line: avoid is not None and line.upstream == avoid.stream.upstream)
        return ready[0] if ready else None

    def _dial(self, line: Line, now: float) -> None:
        if self._nursery is None:
            raise NoUpstream("shutting down")
        line.dialling = True
        self._dialled_at = now
        self._nursery.start_soon(self._hold, line)

    async def _hold(self, line: Line) -> None:
        """Dial, and if a verified stream comes of it, drive its channel until it ends."""
        channel: Channel | None = None
        try:
            channel = self._dial_succeeded(line, await self._dialled(line))
        except UpstreamError as error:
            self._dial_failed(line, error)
        finally:
            line.dialling = False
            self._changed.set()
            self._changed = trio.Event()
        if channel is not None:
            # A verdict does not last for ever, be nobody asking or no new one to be had.
            with trio.move_on_at(channel.opened_at + 2 * self._options.lifetime):
                await channel.run()
            self._channel_ended(line, channel)

    async def _dialled(self, line: Line) -> VerifiedStream:
        """A stream judged by the demands in force: a judgement that a reload has overtaken is made again."""
        limits = {"connect_timeout": self._options.connect_timeout, "timeout": self._options.dial_timeout}
        while True:
            demands = line.demands
            try:
                stream = await dial(line.upstream, demands, **limits)
            except UpstreamError:
                if demands is line.demands:
                    raise
            else:
                if demands is line.demands:
                    return stream
                await stream.aclose()

    def _take_judgement(self, line: Line, channel: Channel, outcome: Verdict | UpstreamError) -> None:
        """A connection that stands was judged again: it stays, or takes no more queries."""
        if isinstance(outcome, UpstreamError):
            self._refuse(line, channel)
            line.failed_with(outcome)
        verdict = outcome if isinstance(outcome, Verdict) else _verdict_of(outcome)
        if verdict is not None:
            line.judged(verdict)
            self._report(Judged(line.upstream, verdict, again=True))
        elif isinstance(outcome, UpstreamError):
            self._report(DialFailed(line.upstream, outcome))

    @staticmethod
    def _refuse(line: Line, channel: Channel) -> None:
        """Use a connection no more. It ends by our own wish: that says nothing of the upstream's health."""
        channel.refuse()
        line.channel = None

    def _dial_failed(self, line: Line, error: UpstreamError) -> None:
        now = trio.current_time()
        line.failed_with(error)
        verdict = _verdict_of(error)
        if verdict is not None:
            line.judged(verdict)
            line.health = line.health.refused(now)
            if line.channel is not None:  # judged anew and refused: what was allowed an hour ago is so no more
                self._refuse(line, line.channel)
            self._report(Judged(line.upstream, verdict))
        else:
            line.health = line.health.failed(now, random.random())  # noqa: S311 - jitter is no secret
            self._report(DialFailed(line.upstream, error))

    def _dial_succeeded(self, line: Line, stream: VerifiedStream) -> Channel:
        options = self._options
        old, line.channel = (
            line.channel,
            Channel(stream, _protocol(line.upstream), timeout=options.query_timeout, silence=options.silence),
        )
        line.error = None
        if old is not None:
            if old.silent and not old.answered:  # as in `_channel_ended`: should the new one be no better, we pause
                line.failed_with(ExchangeTimeout(f"{line.upstream}: it takes queries and answers none"))
                line.health = line.health.failed(trio.current_time(), random.random())  # noqa: S311 - as above
            old.retire()
        line.judged(stream.verdict)
        line.connections += 1
        self._report(Judged(line.upstream, stream.verdict))
        return line.channel

    def _channel_ended(self, line: Line, channel: Channel) -> None:
        line.asked += channel.asked
        line.answered += channel.answered
        if line.channel is channel:
            line.channel = None
            if channel.answered:
                line.health = line.health.succeeded()
            elif channel.asked:  # no better than a failed dial
                line.failed_with(ChannelClosed(f"{line.upstream}: it takes queries and answers none"))
                line.health = line.health.failed(trio.current_time(), random.random())  # noqa: S311 - as above
        if channel.ended:
            line.failed_with(ChannelClosed(f"{line.upstream}: {channel.ended}"))
            self._report(ConnectionLost(line.upstream, channel.ended))

    async def _prewarm(self) -> None:
        """A first connection before the first query; where there is no network yet, as soon as there is one."""
        if self._warming is not None:  # a reload: begin anew, without its pauses
            self._warming.cancel()
        with trio.CancelScope() as self._warming:
            while self._nursery is not None:
                try:
                    await self._connected(None)
                except UpstreamError:
                    ready_at = min((line.health.ready_at for line in self._lines), default=float("inf"))
                    await trio.sleep_until(max(ready_at, trio.current_time() + self._options.backoff_first))
                else:
                    return

    def _reason(self) -> UpstreamError:
        """Why nothing can be asked: a refused certificate before all else, because only a person can mend it."""
        errors = [line.error for line in self._lines if line.error is not None]
        for error in errors:
            if isinstance(error, PolicyRefused):
                return PolicyRefused(error.summary, error.verdict)
        if not errors:
            return NoUpstream("no upstream can be asked" if self._lines else "no upstream is configured")
        return NoUpstream(errors[0].summary + (f" (+{len(errors) - 1} more)" if len(errors) > 1 else ""))


async def renew_all(pools: Sequence[Pool], demands: Mapping[Upstream, Demands]) -> None:
    """From now on judge by other demands, of the same upstreams, in all pools at one moment.

    Connections that stand are judged again before anything changes; those that pass stay.
    """
    judged: dict[Channel, Verdict | UpstreamError] = {}
    while unjudged := [each for pool in pools for each in pool.standing if each[1] not in judged]:
        for upstream, channel in unjudged:
            judged[channel] = await _judged_again(channel, demands[upstream])
    # No await from here on: there is no moment in which one upstream is judged by the old demands, one by the new.
    for pool in pools:
        pool.take(demands, judged)


async def _judged_again(channel: Channel, demands: Demands) -> Verdict | UpstreamError:
    """How a connection that stands is judged by other demands."""
    try:
        return await judge_again(channel.stream, demands)
    except UpstreamError as error:
        return error


def _verdict_of(error: UpstreamError) -> Verdict | None:
    """The verdict of a refusal; None where something else went wrong."""
    if isinstance(error, PolicyRefused) and isinstance(error.verdict, Verdict):
        return error.verdict
    return None


def _protocol(upstream: Upstream) -> QueryProtocol:
    """The machine that speaks to this upstream."""
    if upstream.transport is Transport.DOT:
        return DotProtocol()
    # RFC 9110 s4.2.2 and s7.2: the authority is the host, a name where we know one, and the port unless it is 443.
    address = f"[{upstream.address}]" if upstream.address.version == 6 else str(upstream.address)
    port = "" if upstream.port == DEFAULT_PORTS[Transport.DOH] else f":{upstream.port}"
    return DohProtocol((upstream.name or address) + port, upstream.path)
