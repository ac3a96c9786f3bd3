"""Can the clock be right, and is the pinned log list young enough? PURE.

Both questions come before the certificate's merits. A clock that is behind what is known to have happened makes every
other judgement worthless, so it is the only finding then, and it must be plain that the clock is meant and not the
certificate. A stale log list is softened for one thing only, its age: whatever else is demanded of a known leaf is
judged now, by the list as it is.
"""

from datetime import UTC, datetime, timedelta

from stubresolver.ct import LogList
from stubresolver.ct.compliance import Freshness, WhenStale, freshness, stale_from
from stubresolver.verify.remembered import ClockFloor, Whose
from stubresolver.verify.verdict import Finding, Outcome, Rule

# What is off by less changes nothing that matters: a local time that was taken for UTC (at most 14 h), the hardware
# clock of a machine with two systems, a drift.
CLOCK_TOLERANCE = timedelta(days=1)

# What is held against the clock, and how to get out where that is what is wrong.
_SAYS = {
    Whose.RELEASE: ("this release of stubresolver was made on", ""),
    Whose.LOG_LIST: ("the pinned log list is of", ", or the list is dated wrongly"),
    Whose.EVIDENCE: (
        "an upstream was allowed on",
        "; if it was ahead then: stubresolver evidence prune --future",
    ),
}


def judge_clock(floor: ClockFloor, now: datetime) -> Finding:
    """PASS unless the time lies more than `CLOCK_TOLERANCE` before what has happened already."""
    says, way_out = _SAYS[floor.whose]
    happened = f"{says} {_minute(floor.moment)}"
    # a difference never leaves the calendar, as a sum may
    if floor.moment - now <= CLOCK_TOLERANCE:
        return Finding(Rule.CLOCK_FLOOR, Outcome.PASS, "clock", f"not behind: {happened}")
    problem = f"the clock says {_minute(now)}, but {happened}: the clock is wrong, set it (timedatectl){way_out}"
    return Finding(Rule.CLOCK_FLOOR, Outcome.FAIL, "clock", problem)


def judge_age(log_list: LogList, when_stale: WhenStale, passed: datetime | None, now: datetime) -> Finding:
    """How old the list is at `now`, and what that does; `passed` is when this leaf was first allowed by a fresh one."""
    listed = log_list.timestamp
    days, state = (now - listed).days, freshness(listed, now)

    def found(outcome: Outcome, detail: str) -> Finding:
        return Finding(Rule.CT_LIST_AGE, outcome, f"log list {log_list.version}", detail)

    if when_stale is WhenStale.REPORT:
        return found(Outcome.NOTE, _note(days, state))
    if days < 0:
        return found(Outcome.PASS, f"dated {-days} days after the time of judgement")
    if state is Freshness.FRESH:
        return found(Outcome.PASS, f"{days} days old: fresh")
    stale = stale_from(listed)
    if state is Freshness.AGEING:
        whom = "everything" if when_stale is WhenStale.REFUSE else "what was not seen before"
        return found(Outcome.PASS, f"{days} days old: update it: {whom} is refused from {stale:%Y-%m-%d} on")
    remedy = "update it: stubresolver logs update"
    if when_stale is WhenStale.REFUSE:
        return found(Outcome.FAIL, f"the log list is {days} days old, and the policy refuses everything then; {remedy}")
    # Not any pass at any time: by then this very list must have been fresh. Else a leaf that a newer list allowed once
    # would be taken on the word of an older one that was stale already.
    if passed is not None and passed < stale:
        return found(Outcome.PASS, f"{days} days old: stale, {remedy}; this certificate passed on {_minute(passed)}")
    problem = "a certificate that was not seen before it became stale is refused"
    return found(Outcome.FAIL, f"the log list is {days} days old, and {problem}; {remedy}")


def _note(days: int, state: Freshness) -> str:
    """The words of a policy that only notes the age; kept judgements of the time when there was no other have them."""
    if days < 0:
        return f"dated {-days} days after the time of judgement"
    return f"{days} days old: {'fresh' if state is Freshness.FRESH else 'stale, update it'}"


def _minute(moment: datetime) -> str:
    """For people, in UTC; a time that UTC does not have stands as it is."""
    try:
        return f"{moment.astimezone(UTC):%Y-%m-%d %H:%MZ}"
    except OverflowError:
        return str(moment)
