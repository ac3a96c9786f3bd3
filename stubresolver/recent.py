"""The last refusals, for who asks why nothing works: when, whom, why. No name that was asked for is among them."""

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from stubresolver.upstream import Judged, PoolEvent

MOST: Final = 16  # two of each of the default upstreams
_LONGEST: Final = 500  # characters of a reason, which may quote a stranger's certificate


@dataclass(frozen=True, slots=True)
class Refusal:
    """One judgement that refused; or would have, where a policy only reports."""

    at: datetime
    upstream: str
    reason: str


class RecentRefusals:
    """The last ones, the newest last."""

    def __init__(self) -> None:
        self._ring: deque[Refusal] = deque(maxlen=MOST)

    def take(self, event: PoolEvent) -> None:
        """Remember a judgement that refused; everything else is none."""
        if isinstance(event, Judged) and not event.verdict.allowed:
            at = event.verdict.at.astimezone(UTC)
            self._ring.append(Refusal(at, str(event.upstream), event.verdict.summary[:_LONGEST]))

    def __call__(self) -> tuple[Refusal, ...]:
        """All that are remembered."""
        return tuple(self._ring)
