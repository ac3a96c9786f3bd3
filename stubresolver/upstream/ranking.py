"""The order of a pool's upstreams as it is now: who is in favour, who is behind, what this network blocks.

`order` says what goes before what; here is what it is said of. It dials nothing.
"""

from collections.abc import Sequence

from stubresolver.upstream.line import Line
from stubresolver.upstream.networks import Networks, Way
from stubresolver.upstream.order import grade
from stubresolver.upstream.report import BlockedTransport


class Ranking:
    """The upstreams in their order; `ranked` is put anew by `rank`."""

    def __init__(self, lines: Sequence[Line], *, strict: bool) -> None:
        self._lines = lines
        self._strict = strict
        self._favourites: dict[Way, Line] = {}
        self._networks = Networks()
        self.ranked: Sequence[Line] = lines

    @property
    def network(self) -> str:
        """Where the machine is now."""
        return self._networks.here

    def rank(self, now: float) -> float:
        """Put the upstreams in their order; when it may change without anything happening."""
        for line in self._lines:
            blocked = self._networks.blocked(line.way, now)
            line.grade = grade(line.place, behind=now < line.behind_until, blocked=blocked, strict=self._strict)
        self.ranked = sorted(self._lines, key=lambda line: (line.grade, not self.is_favourite(line), line.place.number))
        behind = (line.behind_until for line in self._lines if now < line.behind_until)
        return min(behind, default=self._networks.next_look(now))

    def is_favourite(self, line: Line) -> bool:
        """Whether it goes before those that are like it."""
        return not self._strict and self._favourites.get(line.way) is line

    def favour(self, line: Line) -> None:
        """Let it go before those that are like it."""
        self._favourites[line.way] = line

    def stood(self, line: Line, now: float) -> None:
        """A connection to it stands."""
        self._networks.unblock(line.way)
        favourite = self._favourites.get(line.way)
        if favourite is None or favourite.usable is None:
            self.favour(line)
        self.notice_blocked(now)

    def notice_blocked(self, now: float) -> set[Way]:
        """Remember each transport of which nothing can be reached while the other one stands at the same address.

        Returns those that were not known to be blocked.
        """
        found: set[Way] = set()
        for way in () if self._strict else {line.way for line in self._lines}:
            mine = [line for line in self._lines if line.way == way]
            if all(line.channel is None and line.health.unreached for line in mine):
                addresses = {line.upstream.address for line in mine}
                standing = [line for line in self._lines if line.usable and line.place.provider == way[0]]
                blocked = self._networks.blocked(way, now)
                if not blocked and any(line.upstream.address in addresses for line in standing):
                    self._networks.block(way, now)
                    found.add(way)
        return found

    def moved(self, network: str) -> None:
        """The machine is somewhere else: who was fast or blocked there says nothing about here."""
        self._favourites.clear()
        self._networks.moved(network)

    def statistics(self, now: float) -> tuple[BlockedTransport, ...]:
        """What is remembered of networks."""
        labels = {line.way: (line.provider, str(line.upstream.transport)) for line in self._lines}
        return tuple(
            BlockedTransport(*labels[way], here, max(0.0, blocked.until - now))
            for here, way, blocked in self._networks.known()
        )
