"""What was remembered when a peer was judged: an input of the judgement, like the time. PURE.

Only who judges live, here and now, remembers anything: the evidence says when this very leaf first passed, and what is
known to have happened already is a floor under the clock. A judgement of a chain from a file at some time, and one that
is repeated, remember nothing but what they are given.
"""

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime


class Whose(enum.StrEnum):
    """What shows that a moment has passed."""

    RELEASE = "release"  # this release of the program was made then
    LOG_LIST = "log-list"  # the pinned list is dated then
    EVIDENCE = "evidence"  # an upstream was allowed then


@dataclass(frozen=True, slots=True)
class ClockFloor:
    """A moment that has passed for certain: a clock that says less is wrong."""

    moment: datetime  # aware
    whose: Whose

    def __post_init__(self) -> None:
        _require_zone(self.moment)


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the live caller knows beside what the peer shows."""

    floor: ClockFloor | None = None  # None: the time is taken as it is given
    passed: datetime | None = None  # when this leaf was first allowed by a policy with CT and a fresh list; aware

    def __post_init__(self) -> None:
        if self.passed is not None:
            _require_zone(self.passed)

    def to_jsonable(self) -> dict[str, object]:
        """As JSON values."""
        floor = None if self.floor is None else {"moment": iso(self.floor.moment), "whose": self.floor.whose.value}
        return {"floor": floor, "passed": None if self.passed is None else iso(self.passed)}


NOTHING_REMEMBERED = Remembered()


def highest(floors: Iterable[ClockFloor]) -> ClockFloor:
    """The floor that counts of at least one; of equal ones the first."""
    return max(floors, key=lambda floor: floor.moment)


def iso(moment: datetime) -> str:
    """A time as the verdict's JSON has it."""
    return moment.isoformat().replace("+00:00", "Z")


def _require_zone(moment: datetime) -> None:
    if moment.utcoffset() is None:
        raise ValueError(f"the time {moment} names no time zone: it could be meant in any")
