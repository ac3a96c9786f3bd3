"""Audits whose outcome is kept: what is remembered goes in, what was found is written down, an alarm whole.

The kept form of an alarm is one JSON object that convicts by itself: which promise it is about, and what the log (or
whoever answered for it) sent, octet for octet in base64, what convicts best first.

A tile that is not there is a note at first, and an alarm where every audit for a day has found none: a cache between us
and the log may say "404" for a while to what somebody has asked for before it existed.
"""

import base64
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar

from stubresolver.audit.entry import Entry
from stubresolver.audit.prove import audit, compare
from stubresolver.audit.report import Finding, Get, Kind, Outcome, Report, ranked
from stubresolver.ct import Log, TreeHead, key_octets
from stubresolver.errors import EvidenceError
from stubresolver.evidence.audits import MAXIMUM_ALARM, Alarm, Audited, Audits, Heads, Raised
from stubresolver.verify import printable

_T = TypeVar("_T")

FORMAT = "stubresolver-alarm-1"  # of the JSON; another shape gets another name
_LONGEST = 4000  # characters of what is said of it
# Caches keep a 404 for minutes by default, some of them for hours (RFC 9111 s4.2.2 lets them choose).
_LASTS = timedelta(days=1)
_TILES = frozenset({Kind.MISSING_TILE.value, Kind.TILE_NOT_THERE.value})
_GRAVITY = (Outcome.PROVED, Outcome.NOTE, Outcome.ALARM)


_Earlier = Mapping[tuple[str, str], Audited]  # by leaf and log, as `Audited` has them


class NotKept(EvidenceError):
    """The logs were asked, and what they said could not be written down: it is told all the same."""

    def __init__(self, problem: str, reports: Sequence[Report]) -> None:
        super().__init__(problem)
        self.reports = reports


class InThread(Protocol):
    """How the file is used off the event loop: a thread, under somebody's turn."""

    async def __call__(self, function: Callable[[], _T], /) -> _T:
        """Call the function, wait for its end, and give what it returned."""
        ...


async def audit_and_keep(
    audits: Audits, entries: Sequence[Entry], get: Get, now: datetime, in_thread: InThread
) -> list[Report]:
    """Ask every log at once, with the tree heads seen before; the outcome is kept when this returns.

    Raises `EvidenceError`, once the logs have answered `NotKept`; nothing that a log sends raises.
    """
    logs = {entry.log.log_id: entry.log for entry in entries}
    heads = await in_thread(lambda: audits.heads(logs.values()))
    earlier = await in_thread(lambda: _outcomes(audits, entries))
    reports = [_with_damage(report, heads) for report in await audit(entries, get, heads.seen, now)]
    reports = [_held_against(report, earlier) for report in reports]
    try:
        for log_id in logs:
            newest = next((report for report in reversed(reports) if report.log.log_id == log_id and report.head), None)
            if newest is not None:
                settled = await _remember(audits, newest, get, heads.seen.get(log_id), in_thread)
                reports = [settled if report is newest else report for report in reports]
        # Two SCTs of one log share a row: the gravest is written last.
        for report in sorted(reports, key=lambda report: _GRAVITY.index(report.outcome)):
            await in_thread(functools.partial(keep, audits, report, _since(report, earlier)))
    except EvidenceError as error:
        raise NotKept(str(error), reports) from None
    return reports


async def _remember(audits: Audits, report: Report, get: Get, before: TreeHead | None, in_thread: InThread) -> Report:
    """Remember the report's tree head; the report, with what came of comparing it to one that came in between."""
    while report.head is not None:
        put = functools.partial(audits.remember, report.log, report.head, before, _iso(report.at))
        if (other := await in_thread(put)) is None:
            break
        report, before = await compare(report, get, other), other
    return report


def _with_damage(report: Report, heads: Heads) -> Report:
    """The report, with the remark that what was remembered could not be used."""
    if (damage := heads.damaged.get(report.log.log_id)) is None or report.tree is None:
        return report
    detail = f"the tree head remembered of it is damaged, and nothing was compared: {damage}"
    return replace(report, findings=ranked([*report.findings, Finding(Kind.FORGOTTEN, detail)]))


def _outcomes(audits: Audits, entries: Sequence[Entry]) -> _Earlier:
    """What came of these certificates before."""
    leaves = {entry.certificate for entry in entries}
    return {(each.leaf, each.log): each for leaf in leaves for each in audits.outcomes(leaf)}


def _held_against(report: Report, earlier: _Earlier) -> Report:
    """The report, with an alarm for a tile that has not been there for a day."""
    since = _since(report, earlier)
    if since > _iso(report.at - _LASTS):
        return report
    findings = [
        replace(each, kind=Kind.MISSING_TILE, detail=f"{each.detail}; so it was at every audit since {since}")
        if each.kind is Kind.TILE_NOT_THERE
        else each
        for each in report.findings
    ]
    return replace(report, findings=ranked(findings))


def _since(report: Report, earlier: _Earlier) -> str:
    """From when on every audit of this certificate and log found what this one does."""
    now, before = _iso(report.at), earlier.get((report.entry.certificate, report.log.log_id.hex()))
    if before is None or before.since > now:  # the clock was ahead then
        return now
    alike = before.kind == report.kind.value or {before.kind, report.kind.value} <= _TILES
    return before.since if alike else now


def keep(audits: Audits, report: Report, since: str) -> tuple[Alarm, ...]:
    """Write one report down, and since when it has been so; raises `EvidenceError`."""
    audited = Audited(
        leaf=report.entry.certificate,
        log=report.log.log_id.hex(),
        outcome=report.outcome.value,
        kind=report.kind.value,
        detail=printable(report.detail, _LONGEST),
        at=_iso(report.at),
        since=since,
    )
    alarms = [finding for finding in report.findings if finding.outcome is Outcome.ALARM]
    raised = [
        Raised(
            finding.kind.value,
            printable(f"{report.log.description}: {finding.detail}", _LONGEST),
            alarm_octets(report, finding),
        )
        for finding in alarms
    ]
    return audits.keep(audited, raised)


def alarm_octets(report: Report, finding: Finding) -> bytes:
    """The kept form of one alarm, at most `MAXIMUM_ALARM` octets."""
    received = [
        {"what": item.what, "url": item.url, "size": item.size, "octets": _base64(item.octets)}
        for item in finding.evidence
    ]
    document = {
        "format": FORMAT,
        "kind": finding.kind.value,
        "detail": printable(finding.detail, _LONGEST),
        "at": _iso(report.at),
        "log": _log_facts(report.log),
        "certificate": report.entry.certificate,
        "leaf_hash": report.entry.leaf_hash.hex(),
        "received": received,
    }
    while len(octets := json.dumps(document, indent=1).encode()) > MAXIMUM_ALARM and received:
        received.pop()  # URLs of unusual length: what convicts best stands first
    return octets


def _log_facts(log: Log) -> Mapping[str, str]:
    """Whom it is about: the key is what its signatures are checked with, and its SHA-256 is the log id."""
    return {
        "description": log.description,
        "operator": log.operator,
        "log_id": _base64(log.log_id),
        "key": _base64(key_octets(log.key)),
        "kind": log.kind.value,
        "url": log.url,
    }


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def _iso(moment: datetime) -> str:
    """A time as the evidence file has it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
