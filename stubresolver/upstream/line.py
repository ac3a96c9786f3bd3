"""One configured upstream as the pool sees it: health, channel, dial and figures. It does nothing itself."""

from collections.abc import Sequence

import trio

from stubresolver.errors import NoUpstream, PolicyRefused, UpstreamError
from stubresolver.upstream.answertime import AnswerTime
from stubresolver.upstream.channel import Channel
from stubresolver.upstream.dial import Demands
from stubresolver.upstream.health import Health
from stubresolver.upstream.order import Grade, Place
from stubresolver.upstream.report import UpstreamStatistics
from stubresolver.upstream.upstream import Transport, Upstream
from stubresolver.verify.verdict import Verdict

# In a row, with nothing good between them. One may be a name's own fault, two a coincidence.
ENOUGH = 3
# For how long who was outdone is asked after the others: as long as a broken instance of a large resolver takes to be
# taken out of service, and no dearer than three answers that come a little later.
BEHIND_SECONDS = 300.0

_SMOOTH = 0.25  # dials are rare: four of them tell what is usual


class Row:
    """Counts bad events of one upstream with no good answer between them."""

    __slots__ = ("_answered", "length")

    def __init__(self) -> None:
        self.length = 0
        self._answered = 0

    def bad(self, answered: int, own: int) -> bool:
        """One more, after so many answers in all, of which it is `own` (0 or 1) itself; True if it is one too many."""
        self.length = self.length + 1 if answered - self._answered <= own else 1
        self._answered = answered
        return self.length >= ENOUGH


class Line:
    """One upstream: what is demanded of it, its health, its connection, its dial."""

    def __init__(self, upstream: Upstream, provider: str, place: Place, demands: Demands, health: Health) -> None:
        self.upstream = upstream
        self.provider = provider
        self.place = place
        self.grade: Grade = (place.provider, False, False, place.transport)  # kept up to date by `Lines`
        self.demands = demands
        self.health = health
        self.channel: Channel | None = None
        self.answer_time = AnswerTime()
        self.dialling: trio.CancelScope | None = None  # cancelled: nobody wants it any more
        self.dialled_at = float("-inf")
        self.error: UpstreamError | None = None  # the last one, until a connection stands
        self.last_error: UpstreamError | None = None
        self.last_error_at = 0.0
        self.verdict: Verdict | None = None
        self.behind_until = float("-inf")
        self.outdone = Row()
        self.offences = Row()
        self.mute = False  # its last connection that was asked anything answered nothing
        self.handshake_seconds: float | None = None
        self.probe_seconds: float | None = None
        self.changed_at: float | None = None  # since when its state is what it is; None before anything happened
        self.connections = 0
        self.dials = 0
        self.refusals = 0
        self.would_refuse = 0
        self.asked = 0  # on channels that have ended
        self.answered = 0

    @property
    def usable(self) -> Channel | None:
        """The channel, if queries should be asked on it."""
        channel = self.channel
        return channel if channel is not None and not channel.silent and channel.open else None

    @property
    def opened_at(self) -> float:
        """When the channel was opened; long ago where there is none."""
        return self.channel.opened_at if self.channel is not None else float("-inf")

    @property
    def all_answered(self) -> int:
        """How many answers it has given so far."""
        return self.answered + (self.channel.answered if self.channel is not None else 0)

    @property
    def way(self) -> tuple[int, Transport]:
        """What a network may block of it."""
        return self.place.provider, self.upstream.transport

    def judged(self, verdict: Verdict) -> None:
        """Remember how it was judged last."""
        self.verdict = verdict
        self.would_refuse += verdict.connects and not verdict.allowed
        self.refusals += not verdict.connects

    def failed_with(self, error: UpstreamError, now: float) -> None:
        """Remember what went wrong."""
        self.error = self.last_error = error
        self.last_error_at = now

    def stood_after(self, seconds: float) -> None:
        """A dial came to a verdict that connects; it took so long."""
        before = self.handshake_seconds
        self.handshake_seconds = seconds if before is None else before + _SMOOTH * (seconds - before)

    @property
    def refused(self) -> bool:
        """Whether its certificate was refused when it was looked at last."""
        return isinstance(self.error, PolicyRefused)

    def statistics(self, now: float, ready_at: float) -> UpstreamStatistics:
        """What is known of this upstream; `ready_at` is when it may be dialled again."""
        channel, error = self.channel, self.last_error
        state = self._state(now, ready_at)
        since = now if self.changed_at is None else self.changed_at
        if state == "idle":
            since = max(since, ready_at)
        good = channel is not None and channel.answered > 0
        return UpstreamStatistics(
            upstream=str(self.upstream),
            policy=self.demands.policy,
            state=state,
            verdict=self.verdict,
            tls=channel.stream.presented.tls if channel is not None else None,
            outstanding=channel.outstanding if channel is not None else 0,
            connections=self.connections,
            would_refuse=self.would_refuse,
            asked=self.asked + (channel.asked if channel is not None else 0),
            answered=self.all_answered,
            last_error=error.summary if error is not None else "",
            paused_for=max(0.0, ready_at - now),
            provider=self.provider,
            address=str(self.upstream.address),
            transport=str(self.upstream.transport),
            state_for=max(0.0, now - since),
            dials=self.dials,
            refusals=self.refusals,
            failures_in_row=0 if good else self.health.failures,
            last_error_kind=type(error).__name__ if error is not None else "",
            last_error_age=now - self.last_error_at if error is not None else None,
            handshake_seconds=self.handshake_seconds,
            answer_seconds=self.answer_time.smoothed,
            probe_seconds=self.probe_seconds,
            behind=now < self.behind_until,
        )

    def _state(self, now: float, ready_at: float) -> str:
        if self.usable is not None:
            return "open"
        if self.channel is not None and self.channel.silent:
            return "silent"
        if self.dialling is not None:
            return "dialling"
        return "idle" if now >= ready_at else "paused"


def reason(lines: Sequence[Line]) -> UpstreamError:
    """Why nothing can be asked: a refused certificate before all else, because only a person can mend it."""
    errors = [line.error for line in lines if line.error is not None]
    for error in errors:
        if isinstance(error, PolicyRefused):
            return PolicyRefused(error.summary, error.verdict)
    if not errors:
        return NoUpstream("no upstream can be asked" if lines else "no upstream is configured")
    return NoUpstream(errors[0].summary + (f" (+{len(errors) - 1} more)" if len(errors) > 1 else ""))
