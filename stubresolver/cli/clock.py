"""The service's clock: monotonic, and it counts the time for which the machine was suspended.

trio's own is CLOCK_MONOTONIC, which stands still meanwhile (clock_gettime(2)): a laptop that slept for a night would
give out last evening's answers as if they were seconds old, and believe a connection that is hours old to be young.
Nobody wakes at a deadline that passed in the sleep; whatever happens next, a query or the next look at a file, finds
the right time.
"""

from time import CLOCK_BOOTTIME, CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime

import trio.abc

from stubresolver.netwatch import Clocks


class BootClock(trio.abc.Clock):
    """Seconds since the machine was started."""

    def start_clock(self) -> None:
        """It runs already."""

    def current_time(self) -> float:
        """See the module."""
        return clock_gettime(CLOCK_BOOTTIME)

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """For how long to sleep until then."""
        return deadline - clock_gettime(CLOCK_BOOTTIME)


def real_clocks() -> Clocks:
    """The machine's own."""
    return Clocks(
        wall=lambda: clock_gettime(CLOCK_REALTIME),
        boot=lambda: clock_gettime(CLOCK_BOOTTIME),
        monotonic=lambda: clock_gettime(CLOCK_MONOTONIC),
    )
