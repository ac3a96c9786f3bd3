"""What becomes of one log in a merge: whether it counts, and for whom. PURE: the log as it is and what sources say.

All states have one order, `counts_until`. To narrow, one source is enough: a retirement, a rejection, an absence that
no quorum makes up for. To widen, a quorum of voices or a source that is vouched for must say the same, and no source
may say less. What is not taken is not lost without a word: it is withheld, with who listed it and what was lacking.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from stubresolver.ct import Log, LogKind, LogState
from stubresolver.loglists.changes import ChangeKind, named, state_text
from stubresolver.loglists.details import best, common_interval, decide_details, decide_interval, why_carried
from stubresolver.loglists.reading import Format
from stubresolver.loglists.shrinking import NEVER, counts_until
from stubresolver.loglists.spelling import Spelling, normal
from stubresolver.loglists.voices import Ballot, Listing, names

_EXPLICIT = frozenset({LogState.RETIRED, LogState.REJECTED})
_AS_MANY = "others that are as many list it in another way"
# Formats that need not state previous operators: nothing follows from their silence.
_NO_HISTORY = frozenset({Format.APPLE, Format.MOZILLA})


@dataclass(frozen=True, slots=True)
class Withheld:
    """What some source lists and the result does not have, and why not."""

    log: str
    operator: str
    wanted: str  # "to be added", "to be usable 2026-01-01T00:00:00Z" ...
    listed_by: tuple[str, ...]
    needed: int  # how many independent sources it takes
    against: tuple[str, ...] = ()  # what else stands against it: each a clause

    def __str__(self) -> str:
        reason = f"but {', '.join(self.against)}" if self.against else f"{self.needed} independent sources are wanted"
        return f"{self.log} ({self.operator}) {self.wanted}: listed by {', '.join(self.listed_by)}, {reason}"


class _Identity(NamedTuple):
    """Who runs a log and ran it, and its kind: operators by their `normal` names."""

    operator: str
    kind: LogKind
    previous: tuple[tuple[str, datetime], ...]


@dataclass(slots=True)
class Decision:
    """What was decided of one log; `log` is None where it is not in the result."""

    log: Log | None
    why: dict[ChangeKind, str] = field(default_factory=dict)
    withheld: list[Withheld] = field(default_factory=list)


def decide(known: Log | None, ballot: Ballot, spelling: Spelling) -> Decision:
    """The log as it will be, its operators in one spelling."""
    decision = Decision(known)
    if known is None:
        _decide_new(decision, ballot)
    else:
        _decide_operator(decision, known, ballot)
        _decide_state(decision, known, ballot)
        _decide_presence(decision, ballot)
        _decide_interval(decision, ballot)
    if decision.log is not None:
        decision.log = spelling.applied(decide_details(decision.log, ballot))
    return decision


def _decide_new(decision: Decision, ballot: Ballot) -> None:
    """A new log: operator, kind and state carried by some, by no others in another way, and nobody says less."""
    least = min(map(_until, ballot.listings), default=NEVER)
    interval = common_interval(None, ballot)
    counting = [listing for listing in ballot.listings if _until(listing) > NEVER]
    groups = _groups([((_until(listing), _identity(listing, None)), listing) for listing in counting])
    carried = [group for group in groups if ballot.is_carried(group)]
    if len(carried) == 1 and _until(carried[0][0]) == least and interval is not None:
        decision.log = replace(best(carried[0]).log, interval=interval.limit)
        decision.why[ChangeKind.ADDED] = why_carried(carried[0])
        return
    for group in groups:
        against = [*_who_says_less(_until(group[0]), ballot)]
        against += ["the sources' intervals have nothing in common"] if interval is None else []
        against += [_AS_MANY] if len(carried) > 1 else []
        decision.withheld.append(_withheld(group, "to be added", ballot, against))


def _decide_operator(decision: Decision, known: Log, ballot: Ballot) -> None:
    """Who runs it, who ran it, and its kind are one statement: carried by some, and by no others in another way."""
    here = _identity_of(known)
    groups = _groups([(_identity(listing, known), listing) for listing in ballot.listings])
    carried = [group for group in groups if ballot.is_carried(group)]
    for group in groups:
        log, said = best(group).log, _identity(group[0], known)
        if said != here and carried == [group]:
            previous = known.previous_operators if said.previous == here.previous else log.previous_operators
            decision.log = replace(known, operator=log.operator, previous_operators=previous, kind=log.kind)
            kinds = (ChangeKind.OPERATOR, ChangeKind.PREVIOUS_OPERATORS, ChangeKind.KIND)
            decision.why |= dict.fromkeys(kinds, why_carried(group))
        elif said != here:
            against = [_AS_MANY] if len(carried) > 1 else []
            decision.withheld.append(_withheld(group, f"to be {_role(log)}", ballot, against))


def _decide_state(decision: Decision, known: Log, ballot: Ballot) -> None:
    """Narrowed by one source that says so; widened where all who list it say the same, and carry it."""
    log = decision.log or known
    until = counts_until(known)
    explicit = [listing for listing in ballot.listings if listing.log.state in _EXPLICIT]
    least = min(explicit, key=_until, default=None)
    if least is not None and _until(least) < until:
        decision.log = replace(log, state=least.log.state, state_since=least.log.state_since)
        decision.why[ChangeKind.STATE] = f"{least.source.name} lists it so"
    for group in _groups([(_until(listing), listing) for listing in ballot.listings if _until(listing) > until]):
        against = _who_says_less(_until(group[0]), ballot)
        same = [listing for listing in group if normal(listing.log.operator) == normal(log.operator)]
        if ballot.is_carried(same) and not against:
            wider = best(same).log
            decision.log = replace(log, state=wider.state, state_since=wider.state_since)
            decision.why[ChangeKind.STATE] = why_carried(same)
        else:
            against += (f"not all as {log.operator}'s",) if ballot.is_carried(group) and len(same) < len(group) else ()
            decision.withheld.append(_withheld(group, f"to be {state_text(group[0].log)}", ballot, against))


def _decide_presence(decision: Decision, ballot: Ballot) -> None:
    """What counts stays while a quorum lists it, or all voices if they are fewer; what does not, while anyone does."""
    # a source that lists it as counting for nothing has narrowed it to nothing before this
    counts = counts_until(decision.log) > NEVER
    if not (ballot.is_kept(ballot.listings) if counts else ballot.listings):
        decision.log = None
        still = names(ballot.listings)
        decision.why[ChangeKind.REMOVED] = f"only {', '.join(still)} still lists it" if still else "no source lists it"


def _decide_interval(decision: Decision, ballot: Ballot) -> None:
    """The interval that all state if they carry it, else what it has in common with all that are stated."""
    if decision.log is None:
        return
    interval, by, wider = decide_interval(decision.log.interval, ballot)
    for stated, listings, others in wider:
        against = [f"another interval is listed by {', '.join(names(others))}"] if others else []
        decision.withheld.append(_withheld(listings, f"to take certificates of {stated}", ballot, against))
    decision.why[ChangeKind.INTERVAL] = by
    if interval is None:
        decision.why[ChangeKind.REMOVED] = "the sources' intervals leave it nothing in common"
    decision.log = None if interval is None else replace(decision.log, interval=interval.limit)


def _groups(said: Sequence[tuple[Hashable, Listing]]) -> list[list[Listing]]:
    """The listings by what they say."""
    groups: dict[Hashable, list[Listing]] = {}
    for value, listing in said:
        groups.setdefault(value, []).append(listing)
    return list(groups.values())


def _until(listing: Listing) -> datetime:
    return counts_until(listing.log)


def _identity(listing: Listing, known: Log | None) -> _Identity:
    """What a source says of it; one that is silent on previous operators means those that are known."""
    log = listing.log
    silent = listing.source.format in _NO_HISTORY and not log.previous_operators
    if silent and known is not None and normal(known.operator) == normal(log.operator):
        log = replace(log, previous_operators=known.previous_operators)
    return _identity_of(log)


def _identity_of(log: Log) -> _Identity:
    previous = tuple((normal(name), until) for name, until in log.previous_operators)
    return _Identity(normal(log.operator), log.kind, previous)


def _who_says_less(until: datetime, ballot: Ballot) -> tuple[str, ...]:
    return tuple(
        f"{listing.source.name} lists it as {state_text(listing.log)}"
        for listing in ballot.listings
        if _until(listing) < until
    )


def _role(log: Log) -> str:
    """Who runs it and ran it, and its kind: "Ash's rfc6962 log, Birch's until 2026-01-01"."""
    before = "".join(f", {name}'s until {until:%Y-%m-%d}" for name, until in log.previous_operators)
    return f"{log.operator}'s {log.kind} log{before}"


def _withheld(listings: Sequence[Listing], wanted: str, ballot: Ballot, against: Sequence[str]) -> Withheld:
    log = listings[0].log
    return Withheld(named(log), log.operator, wanted, names(listings), ballot.quorum, tuple(against))
