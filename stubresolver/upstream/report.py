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
    provider: str = ""  # whose it is, where a person has said so
    address: str = ""
    transport: str = ""  # "tls" (DoT) or "https" (DoH)
    state_for: float = 0.0  # seconds since the state is what it is
    dials: int = 0  # begun so far
    refusals: int = 0  # judgements so far that refused
    failures_in_row: int = 0  # dials and connections that came to nothing since the last good one
    last_error_kind: str = ""  # the name of the exception, "" if nothing ever went wrong
    last_error_age: float | None = None  # seconds
    handshake_seconds: float | None = None  # from the first SYN to the verdict, smoothed
    answer_seconds: float | None = None  # from a query to its answer, smoothed
    probe_seconds: float | None = None  # the same question asked of several upstreams, so that they can be compared
    behind: bool = False  # its answers were failures where another's were not: asked after the others for a while


@dataclass(frozen=True, slots=True)
class BlockedTransport:
    """On one network connections of this transport fail, while those of the other come about."""

    provider: str
    transport: str  # "tls" or "https"
    here: bool  # on the network that the machine is in now
    again_in: float  # seconds until it is tried again there


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """What is known of all upstreams, in order of preference."""

    upstreams: tuple[UpstreamStatistics, ...]
    blocked: tuple[BlockedTransport, ...] = ()  # what is remembered of networks
