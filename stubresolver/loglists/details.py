"""What becomes of a log's interval and of what judges nothing: URLs, merge delay, name. PURE.

An interval is narrowed by one source and widened only where all who state one say the same and carry it. A source in
Mozilla's format states none, which says nothing; in the other formats no interval means one without limits. The other
fields are filled in where they are missing, and changed only if that is carried.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from stubresolver.ct import CURRENT_STATES, Log, LogState, TemporalInterval
from stubresolver.loglists.reading import Format
from stubresolver.loglists.voices import Ballot, Listing, names

_T = TypeVar("_T", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Interval:
    """An interval that holds something; `limit` None holds everything."""

    limit: TemporalInterval | None

    def common(self, other: "Interval") -> "Interval | None":
        """What both hold, None where that is nothing."""
        if self.limit is None or other.limit is None:
            return self if other.limit is None else other
        start, end = max(self.limit.start, other.limit.start), min(self.limit.end, other.limit.end)
        return Interval(TemporalInterval(start, end)) if start < end else None

    def __str__(self) -> str:
        return "any time" if self.limit is None else f"{self.limit.start:%Y-%m-%d} to {self.limit.end:%Y-%m-%d}"


def common_interval(known: Interval | None, ballot: Ballot) -> Interval | None:
    """What the interval has in common with all that are stated, None where that is nothing."""
    common: Interval | None = known or Interval(None)
    for listing in _stating(ballot):
        common = None if common is None else common.common(Interval(listing.log.interval))
    return common


def decide_interval(
    limit: TemporalInterval | None, ballot: Ballot
) -> tuple[Interval | None, str, list[tuple[Interval, list[Listing], list[Listing]]]]:
    """The interval (None: none is left), by whom, and what was stated beyond it: by whom, and who stated another."""
    groups: dict[Interval, list[Listing]] = {}
    for listing in _stating(ballot):
        groups.setdefault(Interval(listing.log.interval), []).append(listing)
    if len(groups) == 1:
        (stated,) = groups
        if ballot.is_carried(groups[stated]):
            return stated, why_carried(groups[stated]), []
    common = common_interval(Interval(limit), ballot)
    others = [listing for stated, listings in groups.items() if stated != Interval(limit) for listing in listings]
    wider = [
        (stated, listings, [item for other in groups if other != stated for item in groups[other]])
        for stated, listings in groups.items()
        if common is not None and common.common(stated) != stated
    ]
    return common, f"stated by {', '.join(names(others))}", wider


def decide_details(log: Log, ballot: Ballot) -> Log:
    """The log with what judges nothing brought up to date."""
    log = replace(
        log,
        description=_detail(log.description, ballot, lambda listing: listing.log.description),
        url=_detail(log.url, ballot, lambda listing: listing.log.url),
        submission_url=_detail(log.submission_url, ballot, lambda listing: listing.log.submission_url),
        mmd=_detail(log.mmd, ballot, lambda listing: listing.log.mmd),
    )
    if log.state in CURRENT_STATES:
        state, since = _detail((log.state, log.state_since), ballot, _counting_state)
        log = replace(log, state=state, state_since=since)
    return log


def best(listings: Sequence[Listing]) -> Listing:
    """Of those who say the same in what matters, whose other words are taken: vouched first, the most telling next."""
    return min(listings, key=lambda item: (not item.source.vouched, item.source.format is Format.MOZILLA))


def why_carried(listings: Sequence[Listing]) -> str:
    """Why what these say is taken."""
    for listing in listings:
        if listing.source.vouched:
            return f"{listing.source.name}, vouched for by {listing.source.vouched}"
    return f"listed alike by {', '.join(names(listings))}"


def _stating(ballot: Ballot) -> list[Listing]:
    return [listing for listing in ballot.listings if listing.source.format is not Format.MOZILLA]


def _detail(known: _T, ballot: Ballot, value_of: Callable[[Listing], _T | None]) -> _T:
    """Where none is known, the value on which all agree who state one; else the only one that is carried."""
    groups: dict[_T, list[Listing]] = {}
    for listing in ballot.listings:
        if value := value_of(listing):
            groups.setdefault(value, []).append(listing)
    if not known and len(groups) == 1:
        return next(iter(groups))
    carried = [value for value, listings in groups.items() if ballot.is_carried(listings)]
    return carried[0] if len(carried) == 1 else known


def _counting_state(listing: Listing) -> tuple[LogState, datetime | None] | None:
    """Which of the states that count: Mozilla's format has one word for all of them."""
    counting = listing.source.format is not Format.MOZILLA and listing.log.state in CURRENT_STATES
    return (listing.log.state, listing.log.state_since) if counting else None
