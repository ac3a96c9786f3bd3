"""How long an upstream takes to answer, smoothed as TCP smooths its round trips (RFC 6298 s2). Pure.

What it is for: a peer that is known to be slow is not taken for dead as soon as one that answers in 10 ms. It is kept
for an upstream and not for a connection, so that the next connection need not learn it anew. A sample costs a
subtraction and a few products; only answers are samples, or a dead peer would look slower and slower.
"""

_ALPHA = 1 / 8  # RFC 6298 s2.3
_BETA = 1 / 4  # RFC 6298 s2.3
_K = 4  # RFC 6298 s2.2

# Who has been silent for a second is suspected, unless it is known to be slow: twice its usual time is then let pass.
# One slow answer among fast ones (a name that the upstream had to look for) widens the variation and stays below this.
USUAL = 1.0

# The longest that a slow peer is waited for before somebody else is asked, too: a client has 4 s (`query_timeout`), and
# one second is what a new connection and its answer take.
SLOWEST = 3.0


class AnswerTime:
    """The smoothed time between a query and its answer, in seconds; None before the first answer."""

    __slots__ = ("smoothed", "variation")

    def __init__(self) -> None:
        self.smoothed: float | None = None
        self.variation = 0.0

    def add(self, sample: float) -> None:
        """An answer came after `sample` seconds."""
        if self.smoothed is None:  # RFC 6298 s2.2: "SRTT <- R, RTTVAR <- R/2"
            self.smoothed, self.variation = sample, sample / 2
            return
        error = sample - self.smoothed
        self.variation += _BETA * (abs(error) - self.variation)
        self.smoothed += _ALPHA * error

    def patience(self, least: float) -> float:
        """How long an answer may take before its absence means something: at least `least`, at most `SLOWEST`."""
        if self.smoothed is None:
            return least
        return max(least, min(self.smoothed + _K * self.variation, max(USUAL, 2 * self.smoothed), SLOWEST))
