"""When an upstream that failed may be dialled again. PURE: the time and the jitter are arguments.

After failures and after refused certificates alike: exponential back-off with full jitter, so that machines that lost
the same network do not come back in step. A refused certificate does not get better by asking again, but a policy, a
clock or a portal is mended at a moment that nobody tells us of; how often an address may be asked at all while it is
refused is said in `refusals`. A good exchange forgets all.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Health:
    """One upstream's standing; each event gives a new value."""

    first: float  # seconds: the longest pause after the first failure
    longest: float  # seconds: no pause is longer
    failures: int = 0  # in a row, refusals included
    ready_at: float = float("-inf")  # not before this time may it be dialled
    unreached: bool = False  # the last failure was a dial's: the way may be free again at any moment

    def failed(self, now: float, jitter: float, *, unreached: bool = False) -> "Health":
        """A dial failed, a certificate was refused, or a connection brought no good answer at all.

        The pause lies anywhere between `first` and `first` * 2^failures, at most `longest`; `jitter`, a random number
        between 0 and 1, says where.
        """
        ceiling = min(self.longest, self.first * 2.0 ** min(self.failures, 30))
        pause = self.first + jitter * max(0.0, ceiling - self.first)
        ready_at = now + min(pause, self.longest)
        return replace(self, failures=self.failures + 1, ready_at=ready_at, unreached=unreached)

    def at_once(self) -> "Health":
        """What kept it from being reached may be over; what it did counts on."""
        return replace(self, ready_at=float("-inf"))

    def succeeded(self) -> "Health":
        """It has answered."""
        return replace(self, failures=0, ready_at=float("-inf"), unreached=False)
