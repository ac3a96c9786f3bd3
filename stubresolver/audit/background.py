"""The service's own audits: once for each new leaf, when its logs' promise is due; a note is asked about again.

It looks into the evidence for certificates that were allowed, so it hears of one only after the decision and stands in
no query's way; it refuses nothing, whatever it finds. An alarm is logged as an error when it is found, and at every
start while it is kept. What remains a note is asked about hourly for a day and daily afterwards; after a week of only
notes that, too, is said: whoever can keep us from a proof must not be able to do so in silence.

No name that a client asked for comes here; a log is asked about the upstream's certificate, which everyone sees.
"""

import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NoReturn, Protocol

import msgspec
import trio

from stubresolver.audit.entry import Entry, read_entries
from stubresolver.audit.heads import due
from stubresolver.audit.keeping import InThread, NotKept, audit_and_keep
from stubresolver.audit.report import Get, Outcome, Report
from stubresolver.ct import LogList
from stubresolver.errors import EvidenceError
from stubresolver.evidence.audits import Audited, Audits, Candidate
from stubresolver.exported import Exported

# How long a certificate is looked for after it was last allowed: the longest life of one (CA/Browser Forum SC-081v3,
# from 2026-03-15), so that one that was shown once and hidden again is still asked about.
WINDOW = timedelta(days=200)
# RFC 6962 s3: the log incorporates the certificate "within a fixed amount of time", the maximum merge delay; an hour
# more lets the tree head that has it reach every front end (Chrome's ct_policy.md wants it from each of them).
SLACK = timedelta(hours=1)
SOON, LATER = timedelta(hours=1), timedelta(days=1)  # between two visits for a note, on its first day and after it
PATIENCE = timedelta(days=7)  # of nothing but notes until that is a warning
LOOK = 600.0  # seconds between two looks into the evidence, which take milliseconds

_TOLD = 10  # alarms, a line for each: more of them say nothing new
_NEVER = datetime.max.replace(tzinfo=UTC)

log = logging.getLogger("stubresolver")


class Evidence(Protocol):
    """What is needed of the evidence; an `EvidenceKeeper` has it, and an `EvidenceStore`."""

    def audits(self) -> Audits:
        """What came of the proofs."""

    def export(self, identity: str) -> Exported:
        """One record; raises `EvidenceError`."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """One log's word for one certificate: when it could be had at the earliest, and when it is to be asked for."""

    entry: Entry
    promised: datetime
    waits: float  # seconds from now


class Auditor:
    """Audits what the evidence store keeps, until it is cancelled."""

    def __init__(
        self,
        store: Evidence,
        log_list: Callable[[], LogList],
        get: Get,
        clock: Callable[[], datetime],
        *,
        in_thread: InThread,
        alarmed: Callable[[int], None],
    ) -> None:
        """`log_list` gives the one in force; `in_thread` keeps the file's use off the event loop.

        `alarmed` is told how many alarms are kept, whenever there may be one more.
        """
        self._store = store
        self._audits = store.audits()
        self._log_list = log_list
        self._get = get
        self._clock = clock
        self._in_thread = in_thread
        self._alarmed = alarmed
        # By leaf and list's digest: not before this time of trio's clock. The file knows better, but costs more.
        self._next: dict[tuple[str, str], float] = {}

    async def run(self) -> NoReturn:
        """Look, wait, look again."""
        while True:
            try:
                await self.look()
            except EvidenceError as error:
                log.error("the background audit cannot use the evidence: %s", error)  # noqa: TRY400 - no defect
            await trio.sleep(LOOK)

    async def look(self) -> None:
        """Audit whatever is due now; raises `EvidenceError` where the certificates cannot be listed."""
        since = self._clock() - WINDOW
        candidates = await self._in_thread(functools.partial(self._audits.candidates, since))
        log_list = self._log_list()
        places = {(candidate.leaf, log_list.digest) for candidate in candidates}
        self._next = {place: moment for place, moment in self._next.items() if place in places}
        for candidate in candidates:
            place = (candidate.leaf, log_list.digest)
            if self._next.get(place, 0.0) <= trio.current_time():
                self._next[place] = trio.current_time() + await self._visit(candidate, log_list)

    async def _visit(self, candidate: Candidate, log_list: LogList) -> float:
        """Ask the logs that are due about one certificate; in how many seconds to look at it again, a day at most."""
        longest = LATER.total_seconds()
        try:
            await self._ask(candidate, [plan for plan in await self._plans(candidate, log_list) if plan.waits <= 0])
            return min((max(plan.waits, 0.0) for plan in await self._plans(candidate, log_list)), default=longest)
        except EvidenceError as error:
            log.error("%s: its certificate could not be audited: %s", candidate.upstream, error)  # noqa: TRY400
            if isinstance(error, NotKept):
                return SOON.total_seconds()  # it is asked again, and kept then
        except Exception as error:  # a defect of ours, but what a log sent must not end the service
            problem = f"{type(error).__name__}: {error}"
            log.exception("%s: its certificate could not be audited: %s", candidate.upstream, problem)
        return longest

    async def _ask(self, candidate: Candidate, plans: Sequence[_Plan]) -> None:
        """Ask these logs, and tell what they said."""
        entries = [plan.entry for plan in plans]
        try:
            reports = await audit_and_keep(self._audits, entries, self._get, self._clock(), self._in_thread)
        except NotKept as error:
            _tell_all(error.reports, plans, candidate)
            await self._count(error.reports)
            raise
        _tell_all(reports, plans, candidate)
        await self._count(reports)

    async def _count(self, reports: Sequence[Report]) -> None:
        """Tell how many alarms there are; one that could not be kept is one."""
        if raised := sum(report.outcome is Outcome.ALARM for report in reports):
            try:
                kept = len(await self._in_thread(self._audits.alarms))
            except EvidenceError:
                kept = 0
            self._alarmed(max(kept, raised))

    async def _plans(self, candidate: Candidate, log_list: LogList) -> list[_Plan]:
        """What is to be asked of each log about one certificate; raises `EvidenceError`."""
        return await self._in_thread(functools.partial(self._read_plans, candidate, log_list, self._clock()))

    def _read_plans(self, candidate: Candidate, log_list: LogList, now: datetime) -> list[_Plan]:
        exported = self._store.export(candidate.record)
        outcomes = {outcome.log: outcome for outcome in self._audits.outcomes(candidate.leaf)}
        plans = []
        try:
            path = msgspec.json.decode(exported.verdict, type=_Verdict).path
            issuer = bytes.fromhex(path[min(1, len(path) - 1)].spki_sha256)
            first = datetime.fromisoformat(candidate.first_seen)
            for entry in read_entries(exported.presented.chain[0], issuer, log_list).entries:
                if (promise := due(entry)) is not None:
                    promised = promise + SLACK
                    if promised < first <= now:  # else the clock was ahead then
                        promised = first
                    moment = _next(promised, outcomes.get(entry.log.log_id.hex()), now)
                    plans.append(_Plan(entry, promised, (moment - now).total_seconds()))
        except (msgspec.MsgspecError, ValueError, TypeError, IndexError) as error:
            raise EvidenceError(f"record {candidate.record}, or an outcome of its audit, is damaged: {error}") from None
        return [plan for plan in plans if plan.waits < LATER.total_seconds()]


def tell_kept(audits: Audits) -> int:
    """Log the alarms that are kept, as errors; how many there are."""
    try:
        alarms = audits.alarms()
    except EvidenceError as error:
        log.error("the alarms of the audits cannot be read: %s", error)  # noqa: TRY400 - no defect
        return 0
    for alarm in alarms[:_TOLD]:
        log.error(
            "AUDIT ALARM %d is kept since %s (%s, seen %s): %s; `stubresolver audit --alarms` shows it",
            alarm.number,
            alarm.first_seen[:10],
            alarm.kind,
            "once" if alarm.count == 1 else f"{alarm.count} times",
            alarm.detail,
        )
    if len(alarms) > _TOLD:
        log.error("AUDIT ALARMS: %d more are kept", len(alarms) - _TOLD)
    return len(alarms)


def _tell_all(reports: Sequence[Report], plans: Sequence[_Plan], candidate: Candidate) -> None:
    for plan, report in zip(plans, reports, strict=True):
        tell(report, candidate.upstream, plan.promised)


def tell(report: Report, upstream: str, promised: datetime) -> None:
    """Log what came of one SCT: an alarm as an error, a note that stays one as a warning."""
    text = f"{upstream}: {report.log.description}: {report.detail}"
    if report.outcome is Outcome.ALARM:
        log.error("AUDIT ALARM (%s): %s", report.kind.value, text)
    elif report.outcome is Outcome.PROVED:
        log.info("audit: %s", text)
    elif report.at - promised >= PATIENCE:
        log.warning("audit: no proof for %d days: %s", (report.at - promised).days, text)
    else:
        log.info("audit: no proof yet (%s): %s", report.kind.value, text)


def _next(promised: datetime, last: Audited | None, now: datetime) -> datetime:
    """When a log is to be asked, after what came of it last."""
    if last is None:
        return promised
    if last.outcome == Outcome.PROVED.value:
        return _NEVER
    at = datetime.fromisoformat(last.at)
    if at > now:  # the clock was ahead then
        return promised
    soon = last.outcome == Outcome.NOTE.value and at < promised + LATER
    return max(promised, at + (SOON if soon else LATER))


class _Certificate(msgspec.Struct):
    spki_sha256: str


class _Verdict(msgspec.Struct):
    """What of a kept verdict is needed: the verified path."""

    path: list[_Certificate]
