"""How often an address may be dialled while what it shows is refused. PURE: the time is an argument.

The law of this file: in a steady refusal an address is dialled four times in any minute and no more, whoever wants to
dial it: DoT and DoH of one address, the upstreams of all zones, every client's demand. Each dial of a refused peer
costs him nothing and us a judgement, a line in the log and a record of evidence; and who makes certificates up wants us
to look at many. An address that nobody refused is bounded by the back-off alone.

The four are spread over the minute, by chance, so that of several addresses one is looked at every few seconds: a
person who has just logged in to a portal, or set the clock, waits no longer. The other transport of an address that was
refused once is tried at once: on one port somebody else may answer.
"""

from collections.abc import Hashable
from typing import Final

DIALS: Final = 4
MINUTE: Final = 60.0
_PAUSES: Final = (0.0, 0.0, 5.0, 20.0, 20.0)  # seconds, by how often it was refused in the last minute


class Refusals:
    """What was refused in the last minute, and what is being dialled; shared by all pools."""

    __slots__ = ("_again_at", "_counted", "_refused_at")

    def __init__(self) -> None:
        self._counted: dict[Hashable, list[float]] = {}  # when dials began that were refused, or are under way
        self._refused_at: dict[Hashable, float] = {}  # when the last refusal was told
        self._again_at: dict[Hashable, float] = {}  # what is left of the minute is spread

    def begun(self, address: Hashable, now: float) -> None:
        """A dial of this address begins."""
        counted = self._counted.setdefault(address, [])
        counted[:] = [began for began in counted if began > now - MINUTE]
        counted.append(now)

    def ended(self, address: Hashable, began: float, now: float, *, refused: bool, jitter: float) -> None:
        """A dial that began then has ended; `jitter` is a random number between 0 and 1."""
        if refused:
            self._refused_at[address] = now
            times = len([each for each in self._counted.get(address, []) if each > now - MINUTE])
            self._again_at[address] = now + _PAUSES[min(times, DIALS)] * (0.5 + jitter)
        elif began in (counted := self._counted.get(address, [])):
            counted.remove(began)

    def ready_at(self, address: Hashable, now: float) -> float:
        """From when on it may be dialled; the past where it may be now."""
        if self._refused_at.get(address, float("-inf")) <= now - MINUTE:
            return float("-inf")
        counted = [began for began in self._counted.get(address, []) if began > now - MINUTE]
        again_at = self._again_at.get(address, float("-inf"))
        return max(again_at, counted[-DIALS] + MINUTE) if len(counted) >= DIALS else again_at

    def forget(self) -> None:
        """A person, another network or another clock may have changed what is refused."""
        self._refused_at.clear()
