"""Two upstreams that are alike, asked the same at the same time: which one is faster.

Like for like: the name servers of the root, which every resolver knows by heart and nobody's privacy hangs on; three
times each, in turn, and the shortest time counts, because whatever lies on the way only makes it longer. Ten minutes
apart, while somebody asks, and only within one provider and transport: an upstream is not told of a machine that has no
need of it. Who delays one upstream on the way so that another is chosen gains one that a person has named as well.

What it may not do: dial, or change an order.
"""

from typing import Final

import trio

from stubresolver.errors import UpstreamError
from stubresolver.upstream.channel import Channel
from stubresolver.upstream.line import Line
from stubresolver.upstream.order import is_faster
from stubresolver.wire.codes import IN, NS, RD
from stubresolver.wire.edns import upstream_query_of

COMPARE_SECONDS: Final = 600.0
_TIMES: Final = 3
_PROBE: Final = upstream_query_of(b"\0" + NS.to_bytes(2) + IN.to_bytes(2) + bytes((RD,)))


async def is_faster_now(candidate: Line, current: Line) -> bool:
    """Whether the candidate has answered so much faster that it is worth a change; False where either did not."""
    first, second = current.usable, candidate.usable
    if first is None or second is None:
        return False
    times: list[tuple[float, float]] = []
    try:
        for _ in range(_TIMES):
            times.append((await _seconds(first), await _seconds(second)))  # noqa: PERF401 - an await in turn
    except UpstreamError:
        return False
    current.probe_seconds, candidate.probe_seconds = (min(column) for column in zip(*times, strict=True))
    return is_faster(candidate.probe_seconds, current.probe_seconds)


async def _seconds(channel: Channel) -> float:
    began = trio.current_time()
    await channel.exchange(_PROBE)
    return trio.current_time() - began
