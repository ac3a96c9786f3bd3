"""What is around the upstreams, network and clock, and what is said and answered because of it.

It holds what was told last and diagnoses on demand: for the extended error of a query that fails, for the status, for
the log, where each diagnosis stands once until another one takes its place. It has the last word on a few names while
nothing else has one (`local.emergency`). It sends nothing and asks nobody.
"""

import logging
from collections.abc import Callable
from typing import Final

import trio

from stubresolver.local.emergency import emergency_reply
from stubresolver.netwatch import Change, Network
from stubresolver.netwatch import Kind as Changed
from stubresolver.upstream import DialFailed, Judged, PoolEvent, PoolStatistics
from stubresolver.upstream.diagnosis import Diagnosis, Kind, diagnose
from stubresolver.verify import Rule
from stubresolver.wire import Query

# A network that comes and goes all day, by a bad cable or by somebody's doing, fills no journal.
TELL_SECONDS: Final = 10.0

_LASTS: Final = 0.25  # seconds for which a diagnosis is good enough for those who fail: thousands may do so in a second
_OF_ALL: Final = frozenset({Kind.CAPTIVE_PORTAL, Kind.INTERCEPTED, Kind.UNREACHABLE, Kind.REFUSED})

_CHANGES: Final = {
    Changed.RESUME: "the machine has slept: connections are made anew",
    Changed.NETWORK: "another way to the upstreams: connections are made anew",
    Changed.CLOCK: "the clock was set: what was refused by the earlier time is tried again",
}

log = logging.getLogger("stubresolver")


class Surroundings:
    """Network, clock and diagnosis."""

    def __init__(
        self,
        statistics: Callable[[], PoolStatistics],
        *,
        emergency: bool = True,
        elsewhere: Callable[[bytes], bool] = lambda _name: False,
        told: Callable[[], None] = lambda: None,
    ) -> None:
        """`statistics` are those of the upstreams for most names; `emergency` whether there are answers without them.

        `elsewhere` says of a name that others are asked for it; `told` is called when the diagnosis has changed.
        """
        self._statistics = statistics
        self._emergency = emergency
        self._elsewhere = elsewhere
        self._told = told
        self.network = Network()
        self.clock = ""  # why the clock must be wrong; "" where nothing speaks against it
        self._explained = Diagnosis(Kind.CONNECTING)
        self._explained_until = float("-inf")
        self._noticed = Diagnosis(Kind.CONNECTING)
        self._noticed_at = float("-inf")
        self._tell_at = float("-inf")
        self._untold = 0

    @property
    def diagnosis(self) -> Diagnosis:
        """What is the matter now."""
        return diagnose(self._statistics(), self.clock, self.network.reachable)

    @property
    def noticed(self) -> Diagnosis:
        """What is the matter, once it is certain enough to be told."""
        return self._noticed

    def explain(self) -> Diagnosis:
        """What lies behind it when no upstream can be used; may be asked often."""
        now = trio.current_time()
        if now >= self._explained_until:
            self._explained, self._explained_until = self.diagnosis, now + _LASTS
        return Diagnosis(Kind.FINE) if self._explained.usable else self._explained

    def covers(self, event: PoolEvent) -> bool:
        """Whether the log says already what this event says: of no network, or of a clock that must be wrong."""
        match event:
            case DialFailed():
                return self.network.reachable is False
            case Judged(verdict=verdict):
                return bool(self.clock) and {each.rule for each in verdict.failures} == {Rule.CLOCK_FLOOR}
        return False

    def last_resort(self, query: Query) -> bytes | None:
        """The reply to one of the few names that are answered when no upstream can be used; None for all others."""
        if not self._emergency:
            return None
        reply = emergency_reply(query)
        return reply if reply is not None and self._dark and not self._elsewhere(query.name) else None

    @property
    def _dark(self) -> bool:
        """Whether no connection stands, and to make one was tried in vain or is impossible.

        Not while one that has served and has not failed since could be made again: a connection that was idle ends.
        """
        lines = self._statistics().upstreams
        if any(line.state == "open" for line in lines):
            return False
        if self.network.reachable is False:
            return True
        served = (line for line in lines if line.connections and line.state != "silent")
        return any(line.failures_in_row for line in lines) and all(line.failures_in_row for line in served)

    def take(self, change: Change) -> None:
        """Something has changed."""
        first = self.network.reachable is None
        self.network = Network(change.network, change.reachable)
        self._explained_until = float("-inf")
        if not (first and change.kind is Changed.NETWORK):
            self._tell_change(change)
        self.notice()

    def notice(self) -> None:
        """Something has happened that may make the diagnosis another one."""
        statistics = self._statistics()
        found = diagnose(statistics, self.clock, self.network.reachable)
        before = self._noticed
        if found.kind in (before.kind, Kind.CONNECTING):
            return
        # Of all upstreams it is said when all were tried.
        of_all = found.kind in _OF_ALL or (found.kind is Kind.CLOCK_WRONG and not self.clock)
        if of_all and not all(line.failures_in_row for line in statistics.upstreams):
            return
        # Dials that come to one thing and then to another make two words of one trouble.
        now = trio.current_time()
        if of_all and before.text and now < self._noticed_at + TELL_SECONDS:
            return
        self._noticed, self._noticed_at = found, now
        if found.text:
            log.warning("%s: %s", found.kind, found.told)
        elif before.text:
            log.info("an upstream can be asked again")
        if found.text != before.text:
            self._told()

    def _tell_change(self, change: Change) -> None:
        now = trio.current_time()
        if now < self._tell_at:
            self._untold += 1
            return
        more = f" ({self._untold} changes before)" if self._untold else ""
        self._tell_at, self._untold = now + TELL_SECONDS, 0
        log.info("%s%s", "no network" if change.reachable is False else _CHANGES[change.kind], more)
