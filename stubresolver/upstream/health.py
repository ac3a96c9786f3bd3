"""When an upstream that failed may be dialled again. PURE: the time and the jitter are arguments.

After failures: exponential back-off with full jitter, so that machines that lost the same network do not come back in
step. After a refused certificate: a steady, longer pause, because the policy and the certificate change by hand and not
by themselves. A good exchange forgets all.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Health:
    """One upstream's standing; each event gives a new value."""

    first: float  # seconds: the longest pause after the first failure
    longest: float  # seconds: no pause after failures is longer
    refused_pause: float  # seconds: the pause after a refusal
    failures: int = 0  # in a row
    ready_at: float = float("-inf")  # not before this time may it be dialled

    def ready(self, now: float) -> bool:
        """True if it may be dialled now."""
        return now >= self.ready_at

    def failed(self, now: float, jitter: float) -> "Health":
        """A dial failed, or a connection brought no answer at all; `jitter` is a random number between 0 and 1.

        The pause lies anywhere between `first` and `first` * 2^failures, at most `longest`.
        """
        ceiling = min(self.longest, self.first * 2.0 ** min(self.failures, 30))
        pause = self.first + jitter * max(0.0, ceiling - self.first)
        return replace(self, failures=self.failures + 1, ready_at=now + min(pause, self.longest))

    def refused(self, now: float) -> "Health":
        """Its certificate does not meet the policy."""
        return replace(self, failures=self.failures + 1, ready_at=now + self.refused_pause)

    def succeeded(self) -> "Health":
        """It has answered."""
        return replace(self, failures=0, ready_at=float("-inf"))
