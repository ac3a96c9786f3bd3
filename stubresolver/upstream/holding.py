"""Dials upstreams and holds the connections that come of it; what a dial and an end have to say goes into the `Line`.

The rules of this file. At most one dial per upstream; it may be called off at any moment, which says nothing of the
upstream. A stream was judged by the demands in force when it is used: a judgement that a reload has overtaken is made
again. Who is refused, while an earlier connection to him stands, loses that one, too. A connection that brought no good
answer, or was ended by a peer that broke the protocol, counts as a dial that failed. No verdict lasts longer than two
lifetimes.

What it may not do: choose whom to dial, or when.
"""

import random
from collections.abc import Callable
from typing import Protocol

import trio

from stubresolver.errors import ChannelClosed, ExchangeTimeout, PolicyRefused, UpstreamError
from stubresolver.transport.doh import DohProtocol
from stubresolver.transport.dot import DotProtocol
from stubresolver.transport.protocol import QueryProtocol
from stubresolver.upstream.channel import Channel
from stubresolver.upstream.dial import Demands, VerifiedStream, dial, judge_again
from stubresolver.upstream.line import Line
from stubresolver.upstream.options import UpstreamOptions
from stubresolver.upstream.refusals import Refusals
from stubresolver.upstream.report import ConnectionLost, DialFailed, Judged, PoolEvent
from stubresolver.upstream.upstream import DEFAULT_PORTS, Transport, Upstream
from stubresolver.verify.verdict import Verdict

MOVED = "the machine woke up or its network changed"


class Watcher(Protocol):
    """Whoever decides by what became of dials and connections; called as soon as it is known."""

    nursery: trio.Nursery | None  # while the pool is running and may start tasks

    def stood(self, line: Line) -> None:
        """A connection stands that was judged and may be used."""

    def leave_later(self, line: Line) -> None:
        """Its provider can be asked: nobody needs the connections of those after it."""

    def fell(self, line: Line, *, dial: bool) -> None:
        """A dial has failed (`dial`), or a connection ended."""


class Holding:
    """Dials and holds in the watcher's nursery."""

    def __init__(
        self,
        options: UpstreamOptions,
        report: Callable[[PoolEvent], None],
        refusals: Refusals,
        watcher: Watcher,
    ) -> None:
        self._options = options
        self._report = report
        self._refusals = refusals
        self._watcher = watcher
        self._held: dict[Channel, Line] = {}  # whose end is not accounted for yet

    def dial(self, line: Line, now: float) -> None:
        """Dial, and hold what comes of it."""
        nursery = self._watcher.nursery
        if nursery is not None:
            line.dialling = trio.CancelScope()
            line.dialled_at = line.changed_at = now
            line.dials += 1
            self._refusals.begun(line.upstream.address, now)
            nursery.start_soon(self._hold, line, line.dialling)

    def refuse(self, line: Line, channel: Channel) -> None:
        """Use a connection no more. It ends by our own wish: that says nothing of the upstream's health."""
        channel.refuse()
        line.channel = None

    def let_go(self, line: Line) -> None:
        """Use a connection no more that nobody needs; what is under way on it is answered."""
        if line.channel is not None:
            channel, line.channel = line.channel, None
            channel.retire()
            line.changed_at = trio.current_time()

    def abandon(self, line: Line, reason: str) -> None:
        """Let go of whatever was begun, at once and without a word to the peer."""
        if line.dialling is not None:
            line.dialling.cancel()
        if line.channel is not None:
            channel, line.channel = line.channel, None
            channel.abandon(reason)
        line.changed_at = trio.current_time()

    def give_up(self, line: Line, error: UpstreamError) -> None:
        """A connection whose answers are good for nothing: no better than one that has none."""
        if line.channel is not None:
            channel, line.channel = line.channel, None
            channel.retire()
            self._fail(line, error, unreached=False)
            self._watcher.fell(line, dial=False)

    def take_judgement(self, line: Line, channel: Channel, outcome: Verdict | UpstreamError) -> None:
        """A connection that stands was judged again: it stays, or takes no more queries."""
        if isinstance(outcome, UpstreamError):
            self.refuse(line, channel)
            line.failed_with(outcome, trio.current_time())
        verdict = outcome if isinstance(outcome, Verdict) else _verdict_of(outcome)
        if verdict is not None:
            line.judged(verdict)
            self._report(Judged(line.upstream, verdict, again=True))
        elif isinstance(outcome, UpstreamError):
            self._report(DialFailed(line.upstream, outcome))

    async def judge_again(self, line: Line, channel: Channel) -> None:
        """Judge a connection that stands by another time, unless other demands come into force meanwhile."""
        demands = line.demands
        outcome = await judged_again(channel, demands)
        if line.channel is channel and line.demands is demands:
            self.take_judgement(line, channel, outcome)

    def drop(self, line: Line, silent: Channel) -> None:
        """Somebody else has answered what this connection was asked: it is dead, and nobody waits for it to say so."""
        if line.channel is silent and silent.silent:
            silent.abandon("it went silent" if silent.answered else "it takes queries and answers none")
            self.account()

    def account(self) -> None:
        """Take notice of every connection that is over; closing it may take the peer a moment more."""
        for channel in [channel for channel in self._held if channel.ended is not None]:
            self._ended(channel)

    async def _hold(self, line: Line, wanted: trio.CancelScope) -> None:
        """Dial, and if a verified stream comes of it, drive its channel until it ends."""
        began, channel = line.dialled_at, None
        failure: UpstreamError | None = None
        try:
            with wanted:
                stream = await self._dialled(line)
                channel = self._stood(line, stream, trio.current_time() - began)
        except UpstreamError as error:
            failure = error
        finally:
            line.dialling = None
            now = line.changed_at = trio.current_time()
            refused = _verdict_of(failure) is not None
            jitter = random.random()  # noqa: S311 - no secret
            self._refusals.ended(line.upstream.address, began, now, refused=refused, jitter=jitter)
            if failure is not None:
                self._dial_failed(line, failure)
            if channel is not None:
                self._watcher.stood(line)
            else:
                self._watcher.fell(line, dial=failure is not None)
        if channel is not None:
            # A verdict does not last for ever, be nobody asking or no new one to be had.
            with trio.move_on_at(channel.opened_at + 2 * self._options.lifetime):
                await channel.run()
            self._ended(channel)

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

    def _stood(self, line: Line, stream: VerifiedStream, seconds: float) -> Channel:
        options = self._options
        old = line.channel
        line.channel = channel = Channel(
            stream,
            _protocol(line.upstream),
            timeout=options.query_timeout,
            silence=options.silence,
            answer_time=line.answer_time,
        )
        self._held[channel] = line
        line.error = None
        if old is not None:
            # As in `_ended`: should the new one be no better (silent, too, taking leave or no query at all), we pause.
            if (old.silent or not old.open) and not old.answered:
                line.mute = True
                self._fail(line, _answers_none(line), unreached=False)
            old.retire()
        line.stood_after(seconds)
        line.judged(stream.verdict)
        line.connections += 1
        self._report(Judged(line.upstream, stream.verdict))
        return channel

    def _dial_failed(self, line: Line, error: UpstreamError) -> None:
        verdict = _verdict_of(error)
        self._fail(line, error, unreached=verdict is None)
        if verdict is not None:
            line.judged(verdict)
            if line.channel is not None:  # judged anew and refused: what was allowed an hour ago is so no more
                self.refuse(line, line.channel)
            self._report(Judged(line.upstream, verdict))
        else:
            self._report(DialFailed(line.upstream, error))

    def _ended(self, channel: Channel) -> None:
        """A connection is over; accounted for once."""
        line = self._held.pop(channel, None)
        if line is None:
            return
        line.asked += channel.asked
        line.answered += channel.answered
        current = line.channel is channel
        line.mute = not channel.answered if channel.asked else line.mute
        if current:
            line.channel = None
            line.changed_at = trio.current_time()
            if channel.violated:  # dialled again at once, it would flood us again at once, however well it answers
                self._fail(line, ChannelClosed(f"{line.upstream}: {channel.ended}"), unreached=False)
            elif channel.answered:
                line.health = line.health.succeeded()
                if not channel.silent:  # it has done well, and will be dialled again; nobody else is asked for that
                    self._watcher.leave_later(line)
            elif channel.asked:  # no better than a failed dial
                self._fail(line, _answers_none(line), unreached=False)
        if channel.ended and channel.ended != MOVED:
            line.failed_with(ChannelClosed(f"{line.upstream}: {channel.ended}"), trio.current_time())
            self._report(ConnectionLost(line.upstream, channel.ended))
        if current:
            self._watcher.fell(line, dial=False)

    def _fail(self, line: Line, error: UpstreamError, *, unreached: bool) -> None:
        now = trio.current_time()
        line.failed_with(error, now)
        line.health = line.health.failed(now, random.random(), unreached=unreached)  # noqa: S311 - jitter is no secret


async def judged_again(channel: Channel, demands: Demands) -> Verdict | UpstreamError:
    """How a connection that stands is judged now, by these demands."""
    try:
        return await judge_again(channel.stream, demands)
    except UpstreamError as error:
        return error


def _answers_none(line: Line) -> UpstreamError:
    return ExchangeTimeout(f"{line.upstream}: it takes queries and answers none")


def _verdict_of(error: UpstreamError | None) -> Verdict | None:
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
