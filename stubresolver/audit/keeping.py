"""Audits whose outcome is kept: what is remembered goes in, what was found is written down, an alarm whole.

The kept form of an alarm is one JSON object that convicts by itself: which promise it is about, and what the log (or
whoever answered for it) sent, octet for octet in base64, what convicts best first.
"""

import base64
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from stubresolver.audit.entry import Entry
from stubresolver.audit.prove import audit
from stubresolver.audit.report import Finding, Get, Outcome, Report
from stubresolver.ct import Log
from stubresolver.evidence.audits import MAXIMUM_ALARM, Alarm, Audited, Audits, Raised
from stubresolver.verify import printable

_T = TypeVar("_T")

FORMAT = "stubresolver-alarm-1"  # of the JSON; another shape gets another name
_LONGEST = 4000  # characters of what is said of it
_GRAVITY = (Outcome.PROVED, Outcome.NOTE, Outcome.ALARM)


class InThread(Protocol):
    """How the file is used off the event loop: a thread, under somebody's turn."""

    async def __call__(self, function: Callable[[], _T], /) -> _T:
        """Call the function, wait for its end, and give what it returned."""
        ...


async def audit_and_keep(
    audits: Audits, entries: Sequence[Entry], get: Get, now: datetime, in_thread: InThread
) -> list[Report]:
    """Ask every log at once, with the tree heads seen before; the outcome is kept when this returns.

    Raises `EvidenceError`; nothing that a log sends raises.
    """
    logs = {entry.log.log_id: entry.log for entry in entries}
    heads = await in_thread(lambda: audits.heads(logs))
    reports = await audit(entries, get, heads, now)
    # Two SCTs of one log share a row: the gravest is written last.
    for report in sorted(reports, key=lambda report: _GRAVITY.index(report.outcome)):
        await in_thread(functools.partial(keep, audits, report))
    return reports


def keep(audits: Audits, report: Report) -> tuple[Alarm, ...]:
    """Write one report down; raises `EvidenceError`."""
    audited = Audited(
        leaf=report.entry.certificate,
        log=report.log.log_id.hex(),
        outcome=report.outcome.value,
        kind=report.kind.value,
        detail=printable(report.detail, _LONGEST),
        at=_iso(report.at),
    )
    alarms = [finding for finding in report.findings if finding.outcome is Outcome.ALARM]
    raised = [
        Raised(finding.kind.value, printable(finding.detail, _LONGEST), alarm_octets(report, finding))
        for finding in alarms
    ]
    return audits.keep(audited, raised, report.head)


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
    return {
        "description": log.description,
        "operator": log.operator,
        "log_id": _base64(log.log_id),
        "kind": log.kind.value,
        "url": log.url,
    }


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def _iso(moment: datetime) -> str:
    """A time as the evidence file has it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
