"""All upstreams behind one `exchange_soon`: the face of what `lines` holds and `asking` asks.

What it may not do: decide. Which connection is used is said in `lines`, how often a query is asked in `asking`.
"""

from collections.abc import Callable, Mapping

import trio

from stubresolver.errors import UpstreamError
from stubresolver.upstream.asking import Asking
from stubresolver.upstream.channel import Channel
from stubresolver.upstream.diagnosis import Diagnosis, Kind
from stubresolver.upstream.dial import Demands
from stubresolver.upstream.lines import Lines
from stubresolver.upstream.options import UpstreamOptions
from stubresolver.upstream.refusals import Refusals
from stubresolver.upstream.renewal import renew_all
from stubresolver.upstream.report import PoolEvent, PoolStatistics
from stubresolver.upstream.upstream import Upstream
from stubresolver.verify.verdict import Verdict


class Pool:
    """An `Exchanger` over verified upstreams; it works while `run` is running."""

    def __init__(
        self,
        demands: Mapping[Upstream, Demands],
        options: UpstreamOptions | None = None,
        report: Callable[[PoolEvent], None] = lambda _event: None,
        *,
        providers: Mapping[Upstream, str] | None = None,
        explain: Callable[[], Diagnosis] = lambda: Diagnosis(Kind.FINE),
        refusals: Refusals | None = None,
    ) -> None:
        """The upstreams are the keys of `demands`, the most preferred one first.

        `providers` says whose each is; `explain` what may lie behind it when none can be used.
        `refusals` are those of all pools that may dial the same addresses.
        """
        options = options or UpstreamOptions()
        self._lines = Lines(
            demands, options, report, providers=providers or {}, explain=explain, refusals=refusals or Refusals()
        )
        self._asking = Asking(self._lines, options.query_timeout)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the connections; dial at once, and again until one stands. Cancel it to close everything."""
        async with trio.open_nursery() as nursery:
            self._lines.nursery = nursery
            try:
                task_status.started()
                await self._lines.keep_warm()
            finally:
                self._lines.nursery = None

    def exchange_soon(self, query: bytes, reply: Callable[[bytes | UpstreamError], None]) -> None:
        """Ask a query in wire format; `reply` gets its answer, or the error whose summary says why there is none.

        It is called exactly once, within `query_timeout` seconds. No task is made where a connection stands.
        """
        self._asking.exchange_soon(query, reply)

    async def renew(self, demands: Mapping[Upstream, Demands]) -> None:
        """From now on judge by other demands, of the same upstreams; as `renew_all`."""
        await renew_all([self], demands)

    def take(self, demands: Mapping[Upstream, Demands], judged: Mapping[Channel, Verdict | UpstreamError]) -> None:
        """Put other demands in force, by which every connection that stands has been judged; for `renew_all`."""
        self._lines.take(demands, judged)

    def moved(self, network: str) -> None:
        """The machine woke up, or its addresses or routes changed; `network` stands for where it is, "" for nowhere."""
        self._lines.moved(network)

    def clock_set(self) -> None:
        """The wall clock was set: what was refused by the earlier time may be allowed now."""
        self._lines.clock_set()

    @property
    def standing(self) -> list[tuple[Upstream, Channel]]:
        """The connections that stand."""
        return [(line.upstream, line.channel) for line in self._lines if line.channel is not None]

    def statistics(self) -> PoolStatistics:
        """What is known of all upstreams, as they were named."""
        return self._lines.statistics()
