"""The list in force and the sources of an update make the next list. PURE: values in, a `Merged` out.

1. What counts must be carried: by `quorum` independent sources that say the same, or by one that is vouched for
   (`deciding`, `voices`).
2. What no longer counts needs one source. A result that lost more than a third of what counts is refused all the same,
   and one in which nothing counts always.
3. A list is only as fresh as its witnesses: its date is the newest of a source that is vouched for, or the one that a
   quorum of independent sources has reached. It never goes back, and never before the clock.
4. What the deny set names, compiled in or the policy's, is never added.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from stubresolver.ct import CURRENT_STATES, LogList
from stubresolver.errors import LogListError, SourceRefused
from stubresolver.loglists.changes import LIST, Change, ChangeKind, diff, named
from stubresolver.loglists.deciding import Decision, Withheld, decide
from stubresolver.loglists.shrinking import check_shrink
from stubresolver.loglists.sources import Source
from stubresolver.loglists.spelling import Spelling
from stubresolver.loglists.voices import Voice, ballot, voices, why_alike
from stubresolver.loglists.writing import write_list


@dataclass(frozen=True, slots=True)
class Merged:
    """The next list, how it differs, and what was asked for and is not in it."""

    octets: bytes = field(repr=False)  # v3; those of the list in force where nothing changed
    log_list: LogList
    changes: tuple[Change, ...]
    withheld: tuple[Withheld, ...]
    notes: tuple[str, ...]  # what a person has to know of the sources: who counts as one, why the date stays


def merge(
    current: LogList, sources: Sequence[Source], *, quorum: int = 2, now: datetime, force: bool = False
) -> Merged:
    """Merge; raises `SourceRefused`. `force` takes a result that lost more than a third of what counts.

    The default quorum is 2: one publisher's mistake or key is not enough, and few more publish lists at all.
    """
    if quorum < 1:
        raise ValueError(f"a quorum of {quorum}, expected at least 1")
    if not sources:
        raise SourceRefused("no source is left to update from")
    groups = voices(sources)
    decisions = _decide_all(current, sources, groups, quorum)
    logs = {log_id: decision.log for log_id, decision in decisions.items() if decision.log is not None}
    timestamp, by = _timestamp(current, groups, quorum, now)
    octets = write_list(f"merged {timestamp:%Y-%m-%d}", timestamp, logs.values())
    try:
        if not force:
            check_shrink(logs, current, now)
        log_list = LogList.parse(octets, current.denied)  # refuses a list in which nothing counts
    except (SourceRefused, LogListError) as problem:
        raise SourceRefused(f"the merged list cannot be used: {problem}") from None
    changes = diff(current, log_list, _reasons(decisions, by))
    if not changes:
        octets, log_list = current.octets, current
    notes = (*_who_counts_as_one(groups), *_why_no_younger(current, sources, timestamp, quorum))
    withheld = tuple(item for decision in decisions.values() for item in decision.withheld)
    return Merged(octets, log_list, changes, withheld, notes)


def _decide_all(
    current: LogList, sources: Sequence[Source], groups: Sequence[Voice], quorum: int
) -> dict[bytes, Decision]:
    """A decision for every log that anyone lists."""
    vouched_first = sorted(sources, key=lambda source: not source.vouched)
    spelling = Spelling([*current.logs.values(), *(log for source in vouched_first for log in source.logs.values())])
    log_ids = dict.fromkeys([*current.logs, *(log_id for source in sources for log_id in source.logs)])
    return {
        log_id: _denied(current, log_id, sources)
        if log_id in current.denied
        else decide(current.logs.get(log_id), ballot(log_id, groups, quorum), spelling)
        for log_id in log_ids
    }


def _denied(current: LogList, log_id: bytes, sources: Iterable[Source]) -> Decision:
    """A log of the deny set: listed or not, it stays what it was, which is nothing that counts."""
    listing = [source for source in sources if log_id in source.logs and source.logs[log_id].state in CURRENT_STATES]
    decision = Decision(current.logs.get(log_id))
    if listing:
        log = listing[0].logs[log_id]
        names = tuple(source.name for source in listing)
        against = (f"it is denied: {current.denied[log_id]}",)
        decision.withheld.append(Withheld(named(log), log.operator, "to be listed", names, 0, against))
    return decision


def _timestamp(current: LogList, groups: Sequence[Voice], quorum: int, now: datetime) -> tuple[datetime, str]:
    """The date of the result, and who reached it. A list dated ahead would make the clock look wrong (clock.floor)."""
    reached = sorted(filter(None, map(_newest, groups)), reverse=True)
    vouched = [_newest([source for source in group if source.vouched]) for group in groups]
    dates = {current.timestamp: ""}
    if len(reached) >= quorum:
        dates[min(reached[quorum - 1], now)] = f"{quorum} independent sources are as new"
    for date in filter(None, vouched):
        dates[min(date, now)] = "a source that is vouched for is as new"
    return max(dates), dates[max(dates)]


def _newest(sources: Sequence[Source]) -> datetime | None:
    return max((source.timestamp for source in sources if source.timestamp is not None), default=None)


def _who_counts_as_one(groups: Sequence[Voice]) -> Iterable[str]:
    for group in groups:
        for number, source in enumerate(group[1:], 1):
            reason = next(filter(None, (why_alike(source, other) for other in group[:number])), "")
            others = ", ".join(other.name for other in group[:number])
            yield f"{source.name} is not independent of {others}: {reason or 'what came later joins them'}"


def _why_no_younger(current: LogList, sources: Sequence[Source], timestamp: datetime, quorum: int) -> Iterable[str]:
    """A list that is updated and stays as old as it was must say so before it is too old."""
    undated = [source.name for source in sources if source.timestamp is None]
    if undated:
        yield f"{', '.join(undated)}: not dated, so nobody can tell whether it is older than the list in force"
    if signed := [source.name for source in sources if source.timestamp is None and source.key]:
        yield f"{', '.join(signed)}: its signature vouches for nothing alone: an old copy would be signed as well"
    newer = [source.name for source in sources if source.timestamp is not None and source.timestamp > timestamp]
    if newer and timestamp == current.timestamp:
        yield (
            f"the list's date stays {timestamp:%Y-%m-%d}: newer is only what {', '.join(newer)} says, and {quorum} "
            "independent sources are wanted, or one that is signed by a configured key"
        )


def _reasons(decisions: Mapping[bytes, Decision], by: str) -> dict[bytes, Mapping[ChangeKind, str]]:
    return {LIST: {ChangeKind.TIMESTAMP: by}, **{log_id: decision.why for log_id, decision in decisions.items()}}
