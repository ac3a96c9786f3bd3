"""On which networks one of the two transports is blocked. PURE: the time is an argument.

Some networks let port 443 through and drop or reset port 853. Where all connections of one transport fail while one of
the other stands, that is remembered under the network's key for ten minutes, then for twice as long, up to an hour;
when the time is over the transport is tried again beside what works. It is in memory only, and of 32 networks: where
somebody was is nobody's business.

What an attacker gains who blocks a transport: that the other one is used, under the same policy and judged the same
way. Nothing here leads to a connection that would not be allowed otherwise, and nothing to plain DNS.
"""

from dataclasses import dataclass
from typing import Final

from stubresolver.upstream.upstream import Transport

NETWORKS: Final = 32  # as many as one person meets in a month; the one that was left longest ago is forgotten
FIRST: Final = 600.0  # seconds: long enough to cost nothing, short enough for a router that was set right
LONGEST: Final = 3600.0  # as long as a connection lives: once an hour everything is looked at again


@dataclass(frozen=True, slots=True)
class Blocked:
    """One transport of one provider on one network."""

    until: float
    seconds: float  # for how long it was remembered this time


Way = tuple[int, Transport]  # a provider, by its number, and a transport


class Networks:
    """What is remembered, and the network that the machine is in now."""

    def __init__(self) -> None:
        self.here = ""
        self._known: dict[str, dict[Way, Blocked]] = {}  # the network that was entered last stands last

    def moved(self, network: str) -> None:
        """The machine is in another network now; "" is one that nobody knows, and nothing is remembered of it."""
        self._known.pop("", None)
        self.here = network
        if (known := self._known.pop(network, None)) is not None:
            self._known[network] = known

    def block(self, way: Way, now: float) -> None:
        """It fails here while the other transport works."""
        here = self._known.setdefault(self.here, {})
        before = here.get(way)
        if before is not None and now < before.until:
            return
        seconds = FIRST if before is None else min(2 * before.seconds, LONGEST)
        here[way] = Blocked(now + seconds, seconds)
        while len(self._known) > NETWORKS:
            del self._known[next(iter(self._known))]

    def unblock(self, way: Way) -> None:
        """It works here."""
        here = self._known.get(self.here)
        if here is not None and here.pop(way, None) is not None and not here:
            del self._known[self.here]

    def blocked(self, way: Way, now: float) -> bool:
        """Whether it is not worth trying here now."""
        found = self._known.get(self.here, {}).get(way)
        return found is not None and now < found.until

    def next_look(self, now: float) -> float:
        """When the next transport is to be tried again here."""
        untils = (blocked.until for blocked in self._known.get(self.here, {}).values() if blocked.until > now)
        return min(untils, default=float("inf"))

    def known(self) -> list[tuple[bool, Way, Blocked]]:
        """Everything that is remembered: whether it is of this network, what, until when."""
        return [
            (network == self.here, way, blocked)
            for network, ways in self._known.items()
            for way, blocked in ways.items()
        ]
