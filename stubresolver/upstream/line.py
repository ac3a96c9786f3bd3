"""One configured upstream as the pool sees it: health, channel, dial and figures. It does nothing itself."""

from stubresolver.errors import UpstreamError
from stubresolver.upstream.channel import Channel
from stubresolver.upstream.dial import Demands
from stubresolver.upstream.health import Health
from stubresolver.upstream.report import UpstreamStatistics
from stubresolver.upstream.upstream import Upstream
from stubresolver.verify.verdict import Verdict


class Line:
    """One upstream: what is demanded of it, its health, its connection, its dial."""

    def __init__(self, upstream: Upstream, demands: Demands, health: Health) -> None:
        self.upstream = upstream
        self.demands = demands
        self.health = health
        self.channel: Channel | None = None
        self.dialling = False
        self.error: UpstreamError | None = None  # the last one, until a connection stands
        self.last_error = ""
        self.verdict: Verdict | None = None
        self.connections = 0
        self.would_refuse = 0
        self.asked = 0  # on channels that have ended
        self.answered = 0

    @property
    def usable(self) -> Channel | None:
        """The channel, if queries should be asked on it."""
        channel = self.channel
        return channel if channel is not None and channel.open and not channel.silent else None

    @property
    def opened_at(self) -> float:
        """When the channel was opened; long ago where there is none."""
        return self.channel.opened_at if self.channel is not None else float("-inf")

    @property
    def outstanding(self) -> int:
        """How many exchanges are under way on the channel."""
        return self.channel.outstanding if self.channel is not None else 0

    def judged(self, verdict: Verdict) -> None:
        """Remember how it was judged last."""
        self.verdict = verdict
        self.would_refuse += verdict.connects and not verdict.allowed

    def failed_with(self, error: UpstreamError) -> None:
        """Remember what went wrong."""
        self.error = error
        self.last_error = error.summary

    def statistics(self, now: float) -> UpstreamStatistics:
        """What is known of this upstream."""
        channel = self.channel
        if self.usable is not None:
            state = "open"
        elif channel is not None and channel.silent:
            state = "silent"
        elif self.dialling:
            state = "dialling"
        else:
            state = "idle" if self.health.ready(now) else "paused"
        return UpstreamStatistics(
            upstream=str(self.upstream),
            policy=self.demands.policy,
            state=state,
            verdict=self.verdict,
            tls=channel.stream.presented.tls if channel is not None else None,
            outstanding=self.outstanding,
            connections=self.connections,
            would_refuse=self.would_refuse,
            asked=self.asked + (channel.asked if channel is not None else 0),
            answered=self.answered + (channel.answered if channel is not None else 0),
            last_error=self.last_error,
            paused_for=max(0.0, self.health.ready_at - now),
        )
