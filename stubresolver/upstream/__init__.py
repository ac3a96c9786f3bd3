"""Everything between us and an upstream: the one door (dial), channels, health, the pool."""

from stubresolver.upstream.channel import Channel
from stubresolver.upstream.dial import Demands, Judge, Recorder, VerifiedStream, dial, inspect
from stubresolver.upstream.exchange import Exchange
from stubresolver.upstream.health import Health
from stubresolver.upstream.options import UpstreamOptions
from stubresolver.upstream.pool import Pool
from stubresolver.upstream.refusals import Refusals
from stubresolver.upstream.renewal import renew_all
from stubresolver.upstream.report import (
    BlockedTransport,
    ConnectionLost,
    DialFailed,
    Judged,
    PoolEvent,
    PoolStatistics,
    UpstreamStatistics,
)
from stubresolver.upstream.upstream import Transport, Upstream, parse_upstream

__all__ = [
    "BlockedTransport",
    "Channel",
    "ConnectionLost",
    "Demands",
    "DialFailed",
    "Exchange",
    "Health",
    "Judge",
    "Judged",
    "Pool",
    "PoolEvent",
    "PoolStatistics",
    "Recorder",
    "Refusals",
    "Transport",
    "Upstream",
    "UpstreamOptions",
    "UpstreamStatistics",
    "VerifiedStream",
    "dial",
    "inspect",
    "parse_upstream",
    "renew_all",
]
