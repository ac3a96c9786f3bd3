"""The upstreams of one pool and their connections: which to use, when to dial, what a dial and an end have to say.

Rules. The order in which upstreams were configured is the order of preference. One connection in use and at most one
dial per upstream (RFC 7766 s6.2.2). The connection to ask on is the most preferred one that is open, has room and is
not silent. Where there is none, the most preferred upstream that may be dialled is dialled, and 250 ms later the next
one too if nothing stands yet (RFC 8305 s5). While a less preferred connection serves, a better upstream that may be
dialled is dialled beside it. While all upstreams pause, askers hear at once why.

What it may not do: judge, or see a query.
"""

import random
from collections.abc import Callable, Iterator, Mapping

import trio

from stubresolver.errors import ChannelClosed, ExchangeTimeout, NoUpstream, PolicyRefused, UpstreamError
from stubresolver.transport.doh import DohProtocol
from stubresolver.transport.dot import DotProtocol
from stubresolver.transport.protocol import QueryProtocol
from stubresolver.upstream.channel import Channel
from stubresolver.upstream.dial import Demands, VerifiedStream, dial
from stubresolver.upstream.health import Health
from stubresolver.upstream.line import Line
from stubresolver.upstream.options import UpstreamOptions
from stubresolver.upstream.report import ConnectionLost, DialFailed, Judged, PoolEvent
from stubresolver.upstream.upstream import DEFAULT_PORTS, Transport, Upstream
from stubresolver.verify.verdict import Verdict


class Lines:
    """Every upstream of one pool; it dials and holds in `nursery`."""

    def __init__(
        self,
        demands: Mapping[Upstream, Demands],
        options: UpstreamOptions,
        report: Callable[[PoolEvent], None],
        providers: Mapping[Upstream, str],
        explain: Callable[[], str],
    ) -> None:
        self._options = options
        self._report = report
        self._providers = providers
        self._explain = explain
        self._health = Health(options.backoff_first, options.backoff_longest, options.refused_pause)
        self._lines = [Line(upstream, demanded, self._health) for upstream, demanded in demands.items()]
        self._changed = trio.Event()  # set, and replaced, whenever a dial has ended
        self._dialled_at = float("-inf")
        self._warming: trio.CancelScope | None = None
        self.nursery: trio.Nursery | None = None  # while the pool is running and may start tasks

    def __iter__(self) -> Iterator[Line]:
        """In order of preference."""
        return iter(self._lines)

    def __getitem__(self, number: int) -> Line:
        """By place in the order of preference."""
        return self._lines[number]

    async def connected(self, avoid: Channel | None) -> Channel:
        """A channel to ask on, dialling as the rules say; the most telling reason where there is none to be had."""
        while True:
            if (channel := self.choose(avoid)) is not None:
                return channel
            now = trio.current_time()
            candidate = self._candidate(now, avoid)
            dialling = any(line.dialling for line in self._lines)
            if candidate is not None and (not dialling or now >= self._dialled_at + self._options.head_start):
                self.dial(candidate, now)
                candidate = self._candidate(now, avoid)
            elif not dialling:
                if avoid is not None and avoid.open and not avoid.silent:
                    return avoid
                raise self._reason()
            next_dial = self._dialled_at + self._options.head_start if candidate is not None else float("inf")
            with trio.move_on_at(next_dial):
                await self._changed.wait()

    def choose(self, avoid: Channel | None) -> Channel | None:
        """The most preferred usable channel, with room before one without; wakes what should be better."""
        if self.nursery is None:
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
                self.dial(line, now)
            if line is chosen:
                return

    def _candidate(self, now: float, avoid: Channel | None) -> Line | None:
        """The most preferred upstream that may be dialled now; last the one of the channel to avoid."""
        ready = [line for line in self._lines if line.usable is None and not line.dialling and line.health.ready(now)]
        ready.sort(key=lambda line: avoid is not None and line.upstream == avoid.stream.upstream)
        return ready[0] if ready else None

    def dial(self, line: Line, now: float) -> None:
        """Dial an upstream, and hold the connection that comes of it."""
        if self.nursery is None:
            raise NoUpstream("shutting down")
        line.dialling = True
        self._dialled_at = now
        self.nursery.start_soon(self._hold, line)

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

    def take(self, demands: Mapping[Upstream, Demands], judged: Mapping[Channel, Verdict | UpstreamError]) -> None:
        """Put other demands in force, by which every connection that stands has been judged."""
        for line in self._lines:
            line.demands = demands[line.upstream]
            line.health = self._health
            line.error = None
            if line.channel is not None:
                self._take_judgement(line, line.channel, judged[line.channel])
        if self.nursery is not None:
            self.nursery.start_soon(self.prewarm)

    def moved(self, network: str) -> None:
        """Nothing that stood on another network is worth anything: abandon it, forget all pauses, dial anew."""
        for line in self._lines:
            line.health = self._health
            line.error = None
            if line.channel is not None:
                channel, line.channel = line.channel, None
                channel.abandon("")
        self._network = network
        if self.nursery is not None:
            self.nursery.start_soon(self.prewarm)

    def clock_set(self) -> None:
        """What was refused by a clock that was wrong may be dialled again."""
        for line in self._lines:
            if isinstance(line.error, PolicyRefused):
                line.health = self._health
        if self.nursery is not None:
            self.nursery.start_soon(self.prewarm)

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

    async def prewarm(self) -> None:
        """A first connection before the first query; where there is no network yet, as soon as there is one."""
        if self._warming is not None:  # a reload: begin anew, without its pauses
            self._warming.cancel()
        with trio.CancelScope() as self._warming:
            while self.nursery is not None:
                try:
                    await self.connected(None)
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
