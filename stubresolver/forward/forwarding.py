"""The servers of all forward zones, at work: one pool for each table with TLS, one plain exchanger for each other one.

Joins and holds; it decides nothing. A table's failures are its own. Files are looked at once a second; new servers are
in force in one assignment, what is under way ends as it was begun, and whoever is told of the change forgets what the
earlier servers said.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from stubresolver.forward.ourselves import Listening, is_own
from stubresolver.forward.resolvconf import ServerFile
from stubresolver.forward.zones import ForwardZone
from stubresolver.resolve.routes import Route
from stubresolver.upstream import Demands, Pool, PoolEvent, Refusals, Upstream, UpstreamOptions, UpstreamStatistics
from stubresolver.upstream.plain import PlainExchanger
from stubresolver.watched import LOOK_SECONDS

_AT_ONCE: Final = 128  # plain queries of all tables: each has a socket or a few, of 1,024 descriptors


@dataclass(frozen=True, slots=True, eq=False)
class _Plain:
    """One table with plain servers."""

    zone: ForwardZone
    exchanger: PlainExchanger
    file: ServerFile | None

    def refresh(self, listening: Listening) -> None:
        """Ask whom the table or its file names now, but for our own listeners."""
        if self.file is None:
            servers = [server for server in self.zone.servers if not is_own(server, listening)]
            self.exchanger.use(servers, f"{self.zone}: its server is this resolver itself")
        else:
            self.file.avoid(listening)
            self.exchanger.use(self.file.servers, f"{self.zone}: {self.file.problem}")


@dataclass(frozen=True, slots=True)
class ZoneStatistics:
    """What is known of one table's servers."""

    zone: ForwardZone
    servers: tuple[UpstreamStatistics, ...]
    clear: bool = False  # plain DNS
    sent_in_clear: int = 0  # queries


class Forwarding:
    """What runs for the forward zones."""

    def __init__(
        self,
        zones: Sequence[ForwardZone],
        demands: Mapping[Upstream, Demands],
        options: UpstreamOptions = UpstreamOptions(),  # noqa: B008 - immutable
        report: Callable[[PoolEvent, ForwardZone], None] = lambda _event, _zone: None,
        refusals: Refusals | None = None,
    ) -> None:
        """`demands` are those of all upstreams, `refusals` all pools'; reads the files that the zones name."""
        refusals = refusals or Refusals()
        turns, seconds = trio.CapacityLimiter(_AT_ONCE), options.query_timeout
        self._listening: Listening = ()
        self._pools: list[Pool] = []
        self._secured: list[ForwardZone] = []  # those of the pools
        self._plain: list[_Plain] = []
        self._routes: list[Route] = []
        for zone in zones:
            if zone.upstreams:
                of_zone = {upstream: demands[upstream] for upstream in zone.upstreams}
                pool = Pool(of_zone, options, _about(zone, report), refusals=refusals)
                self._pools.append(pool)
                self._secured.append(zone)
                self._routes.append(Route(zone.zones, pool, zone.max_ttl))
            else:
                file = None if zone.file is None else ServerFile(zone.file)
                plain = _Plain(zone, PlainExchanger(zone.zones, zone.servers, turns=turns, seconds=seconds), file)
                if file is not None:
                    file.read()
                plain.refresh(self._listening)
                self._plain.append(plain)
                self._routes.append(Route(zone.zones, plain.exchanger, zone.max_ttl))

    @property
    def routes(self) -> tuple[Route, ...]:
        """Which zones are asked where."""
        return tuple(self._routes)

    @staticmethod
    def is_clear(route: Route | None) -> bool:
        """Whether its servers are asked in clear: who they are is nobody's to say but the network's."""
        return route is not None and isinstance(route.exchanger, PlainExchanger)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the connections and carry the queries, until cancelled."""
        async with trio.open_nursery() as nursery:
            for pool in self._pools:
                await nursery.start(pool.run)
            for plain in self._plain:
                await nursery.start(plain.exchanger.run)
            task_status.started()

    @property
    def pools(self) -> tuple[Pool, ...]:
        """Those of the zones that are asked over TLS."""
        return tuple(self._pools)

    def avoid(self, listening: Listening) -> None:
        """Never ask our own listeners, by their hosts and ports."""
        self._listening = listening
        for plain in self._plain:
            plain.refresh(listening)

    async def watch(self, apply: Callable[[ForwardZone], None]) -> None:
        """Look at the files without end; where one names others now, ask these and call `apply`."""
        while any(plain.file is not None for plain in self._plain):
            await trio.sleep(LOOK_SECONDS)
            await self._look(apply)

    async def _look(self, apply: Callable[[ForwardZone], None]) -> None:
        for plain in self._plain:
            file = plain.file
            if file is None:
                continue
            before = file.servers, file.problems
            if await trio.to_thread.run_sync(file.refresh, abandon_on_cancel=True):
                plain.refresh(self._listening)
                if (file.servers, file.problems) != before:  # a lease that is renewed changes nothing
                    apply(plain.zone)

    def problems(self, zone: ForwardZone | None = None) -> Iterator[str]:
        """What of the files cannot be used, of one zone or all, each in one line."""
        for plain in self._plain:
            if plain.file is not None and zone in (None, plain.zone):
                yield from plain.file.problems

    def lines(self, zone: ForwardZone | None = None) -> Iterator[str]:
        """Who is asked without encryption, for one zone or all, each in one line."""
        for plain in self._plain:
            if zone not in (None, plain.zone):
                continue
            asked = plain.zone.servers if plain.file is None else plain.file.servers
            whom = ", ".join(map(str, asked)) or "nobody"
            of = f" of {plain.zone.file}" if plain.zone.file else ""
            yield f"forward {plain.zone}: PLAIN DNS, neither encrypted nor verified, to {whom}{of}"

    def statistics(self) -> tuple[UpstreamStatistics, ...]:
        """What is known of all servers."""
        found = [line for pool in self._pools for line in pool.statistics().upstreams]
        return (*found, *(line for plain in self._plain for line in plain.exchanger.statistics()))

    def by_zone(self) -> tuple[ZoneStatistics, ...]:
        """The same, with the zones that they are asked for; those with TLS first."""
        secured = (
            ZoneStatistics(zone, pool.statistics().upstreams)
            for zone, pool in zip(self._secured, self._pools, strict=True)
        )
        plain = (
            ZoneStatistics(each.zone, each.exchanger.statistics(), clear=True, sent_in_clear=each.exchanger.sent)
            for each in self._plain
        )
        return (*secured, *plain)


def _about(zone: ForwardZone, report: Callable[[PoolEvent, ForwardZone], None]) -> Callable[[PoolEvent], None]:
    """Who is told of the events of one zone's upstreams."""
    return lambda event: report(event, zone)
