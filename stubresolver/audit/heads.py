"""What two signed tree heads say of each other and of the clock. No I/O in here; `now` is an argument.

RFC 6962 s3 and s3.5 are a log's whole promise in time: an entry is in the tree within the maximum merge delay (MMD) of
its SCT; a tree head is never older than the MMD; each is later than the one before, and the tree only grows. A head
may be served by a replica that lags; it may not contradict another.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from stubresolver.audit.entry import Entry
from stubresolver.audit.report import Finding, Kind, Received, Report, ranked, received
from stubresolver.ct import EMPTY_ROOT, Log, LogKind, LogState, TreeHead

# Where the list has none. Chrome's log policy: at most 24 hours, of static-ct logs at most 1 minute.
_MERGE_DELAYS = {LogKind.RFC6962: timedelta(hours=24), LogKind.STATIC_CT: timedelta(minutes=1)}
# How much older than its MMD a tree head may be, and how far ahead of our clock, before it is an alarm. As long as the
# longest MMD: a log that stands still for some hours breaks a rule of availability, and deceives nobody about more.
SLACK = timedelta(hours=24)
_MISDATED = frozenset({Kind.STALE_TREE_HEAD, Kind.FUTURE_TREE_HEAD})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def merge_delay(log: Log) -> timedelta:
    """The maximum merge delay that the log promises."""
    return _MERGE_DELAYS[log.kind] if log.mmd is None else log.mmd


def due(entry: Entry) -> datetime | None:
    """When the entry must be in the tree; None where that lies beyond the calendar."""
    return _time(_due(entry))


def is_due(entry: Entry, head: TreeHead) -> bool:
    """True if a tree head of that time must cover the entry.

    RFC 6962 s3: "The SCT is the log's promise to incorporate the certificate in the Merkle Tree within a fixed amount
    of time known as the Maximum Merge Delay (MMD)."
    """
    return head.timestamp >= _due(entry)


def freshness(log: Log, head: TreeHead, now: datetime, url: str) -> Finding | None:
    """What a tree head's timestamp says, None where there is nothing to say.

    RFC 6962 s3.5: the log "MUST produce on demand an STH that is no older than the Maximum Merge Delay".
    """
    moment = (now - _EPOCH) // timedelta(milliseconds=1)
    evidence = (received("tree head", url, head.octets),)
    if head.timestamp - moment > _milliseconds(SLACK):
        detail = f"the tree head is dated {_shown(head)}, and the clock here says {_text(moment)}"
        return Finding(Kind.FUTURE_TREE_HEAD, detail, evidence)
    allowed = merge_delay(log) + SLACK
    if moment - head.timestamp <= _milliseconds(allowed):
        return None
    detail = f"the newest tree head is of {_shown(head)}, expected one within {_hours(allowed)} before {_text(moment)}"
    if _may_stand_still(log, now):
        return Finding(Kind.FROZEN, f"{detail}; but the log takes nothing any more")
    return Finding(Kind.STALE_TREE_HEAD, detail, evidence)


def doubt_clock(reports: Sequence[Report]) -> list[Report]:
    """The same reports, but that no log is accused of its tree head's date where the clock here is more suspect.

    It is where logs of two operators or more date theirs too late, or too early, and none dates it well: they have
    nothing to do with each other, and they all have to do with our clock. Whoever sets it makes no alarms so.
    """
    telling = [report for report in reports if report.tree is not None and not _stands_still(report)]
    operators = {report.log.operator for report in telling}
    kinds = {_misdated(report) for report in telling}
    if len(operators) < 2 or len(kinds) != 1 or None in kinds:
        return list(reports)
    return [_blame_clock(report, len(operators)) for report in reports]


def contradiction(seen: TreeHead, head: TreeHead, url: str) -> Finding | None:
    """What two tree heads convict the log of, without any proof; None where they may be of one history."""
    small, large = sorted((seen, head), key=lambda item: item.size)
    evidence = both(seen, head, url)
    if small.size == large.size:
        if small.root == large.root:
            return None
        detail = f"two roots for {head.size} leaves: {seen.root.hex()} seen before, {head.root.hex()} now"
        return Finding(Kind.SPLIT_VIEW, detail, evidence)
    # RFC 6962 s3.5: "Each subsequent timestamp MUST be more recent than the timestamp of the previous update." A tree
    # that only grows is never smaller at a later time, whichever of the two was seen first.
    if small.timestamp > large.timestamp:
        detail = f"{large.size} leaves at {_shown(large)} and {small.size} leaves later, at {_shown(small)}"
        return Finding(Kind.ROLLBACK, detail, evidence)
    if small.size == 0 and small.root != EMPTY_ROOT:
        return Finding(Kind.INCONSISTENT, f"an empty tree whose root is {small.root.hex()}", evidence)
    return None


def both(seen: TreeHead, head: TreeHead, url: str, *more: Received) -> tuple[Received, ...]:
    """Two tree heads as evidence, and what else was received."""
    heads = (received("tree head", url, head.octets), received("tree head seen before", "", seen.octets))
    return (*heads, *more)


def is_newer(head: TreeHead, seen: TreeHead | None) -> bool:
    """True if `head`, once it is proved to follow `seen`, says more."""
    return seen is None or (head.size, head.timestamp) > (seen.size, seen.timestamp)


def not_yet(entry: Entry, head: TreeHead) -> str:
    """Why it is too early to miss an entry."""
    return f"not in the tree of {_shown(head)}; it is due in tree heads from {_text(_due(entry))} on"


def overdue(entry: Entry, head: TreeHead) -> str:
    """Why an entry is missed."""
    return f"not in the tree of {head.size} leaves of {_shown(head)}; it was due at {_text(_due(entry))}"


def _misdated(report: Report) -> Kind | None:
    """What is said of the date of the log's tree head, None if nothing."""
    return next((each.kind for each in report.findings if each.kind in _MISDATED), None)


def _stands_still(report: Report) -> bool:
    """True if its date says nothing about the clock."""
    return any(each.kind is Kind.FROZEN for each in report.findings)


def _blame_clock(report: Report, operators: int) -> Report:
    """What was said of the tree head's date, as a note."""
    reason = f"as logs of {operators} operators say alike, the clock here is wrong rather than they"
    findings = [
        Finding(Kind.CLOCK, f"{each.detail}: {reason}", each.evidence) if each.kind in _MISDATED else each
        for each in report.findings
    ]
    return replace(report, findings=ranked(findings))


def _may_stand_still(log: Log, now: datetime) -> bool:
    """True if nothing new can enter the log: no list makes such a log sign new tree heads."""
    over = log.interval is not None and log.interval.end <= now
    return over or log.state in {LogState.READONLY, LogState.REJECTED} or log.is_retired(now)


def _due(entry: Entry) -> int:
    return entry.sct.timestamp + _milliseconds(merge_delay(entry.log))


def _milliseconds(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)


def _time(milliseconds: int) -> datetime | None:
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None


def _shown(head: TreeHead) -> str:
    return _text(head.timestamp)


def _text(milliseconds: int) -> str:
    moment = _time(milliseconds)
    return f"{moment:%Y-%m-%d %H:%M:%S}Z" if moment else f"{milliseconds} ms after 1970"


def _hours(span: timedelta) -> str:
    hours, rest = divmod(span, timedelta(hours=1))
    return f"{hours} hours" + (f" {rest // timedelta(minutes=1)} minutes" if rest >= timedelta(minutes=1) else "")
