"""What the pool tells others: events as they happen, for the log; figures on request, for the status page."""

from dataclasses import dataclass

from stubresolver.errors import UpstreamError
from stubresolver.upstream.upstream import Upstream
from stubresolver.verify.presented import TlsFacts
from stubresolver.verify.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Judged:
    """An upstream was dialled and judged, allowed or not; or a connection that stood was judged again."""

    upstream: Upstream
    verdict: Verdict
    again: bool = False


@dataclass(frozen=True, slots=True)
class DialFailed:
    """An upstream was dialled and did not come as far as a connection that is used."""

    upstream: Upstream
    error: UpstreamError


@dataclass(frozen=True, slots=True)
class ConnectionLost:
    """A connection ended that we did not mean to end."""

    upstream: Upstream
    reason: str


PoolEvent = Judged | DialFailed | ConnectionLost


@dataclass(frozen=True, slots=True)
class UpstreamStatistics:
    """What is known of one upstream."""

    upstream: str
    policy: str  # what is demanded of it, in a few words
    state: str  # "open", "silent", "dialling", "paused" or "idle"
    verdict: Verdict | None  # of the last judgement, allowed or not
    tls: TlsFacts | None  # of the connection in use
    outstanding: int  # exchanges under way
    connections: int  # verified so far
    would_refuse: int  # judgements that refused and connected all the same, because the policy only reports
    asked: int
    answered: int
    last_error: str  # "" if nothing ever went wrong
    paused_for: float  # seconds until it may be dialled again; 0 if it may now


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """What is known of all upstreams, in order of preference."""

    upstreams: tuple[UpstreamStatistics, ...]
