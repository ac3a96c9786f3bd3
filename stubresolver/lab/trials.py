"""Logs put to the test: a fresh log of the archive, a certificate that it promises to hold, and what an audit says.

The audit is the real one, over real sockets, and its outcome is kept in an evidence file; only the log is the lab's.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from stubresolver.audit import Get, Kind, Outcome, Report, read_entries
from stubresolver.audit.keeping import InThread, audit_and_keep
from stubresolver.ct import LogList
from stubresolver.evidence.audits import Audits
from stubresolver.lab.archive import Archive
from stubresolver.lab.dishonest import DECEITS, Deceit
from stubresolver.lab.log_api import LogFront
from stubresolver.lab.logs import LabLog, LogKind, log_list_json
from stubresolver.lab.world import World

_LOGGED = timedelta(days=-2)  # when the certificate was: longer ago than any maximum merge delay
_BEFORE = timedelta(hours=1)  # between the first visit and the second
_GROWTH = 700  # leaves that an honest log takes between them


@dataclass(frozen=True, slots=True)
class Trial:
    """One log and one story, honest where there is no deceit."""

    kind: LogKind
    deceit: Deceit | None

    @property
    def name(self) -> str:
        """For --json: "split-view", or "honest"."""
        return "honest" if self.deceit is None else self.deceit.code

    @property
    def expected(self) -> tuple[str, str]:
        """The outcome and the kind of finding that an audit must come to."""
        if self.deceit is None:
            return Outcome.PROVED.value, Kind.INCLUDED.value
        return self.deceit.outcome, self.deceit.kinds[self.kind == "static-ct"]

    def is_met_by(self, report: Report) -> bool:
        """True if the audit says what this story deserves."""
        return (report.outcome.value, report.kind.value) == self.expected


def trials() -> Iterator[Trial]:
    """Every story told by a log of each kind, the honest ones first."""
    kinds: tuple[LogKind, ...] = ("rfc6962", "static-ct")
    for deceit in (None, *DECEITS):
        for kind in kinds:
            yield Trial(kind, deceit)


@dataclass(frozen=True, slots=True)
class Reader:
    """Who audits: what is remembered, and how the logs are reached."""

    audits: Audits
    get: Get
    in_thread: InThread


async def hold(trial: Trial, number: int, world: World, archive: Archive, reader: Reader) -> Report:
    """Tell the story to one reader; what the audit says at the end. `number` tells the logs of all trials apart."""
    log = LabLog("Elm", f"Elm {number}", trial.kind, since=world.now - timedelta(days=365))
    index = log.tree.size
    leaf = world.issue([log], stamped=_LOGGED, starts=_LOGGED).chain[0]
    (front,) = archive.join([log])
    listed = LogList.parse(log_list_json([log], now=world.now, host=archive.host))
    entries = read_entries(leaf, bytes.fromhex(world.lab.intermediate_spki_sha256), listed).entries
    if trial.deceit is None or trial.deceit.later:
        front.dated = front.clock() - _BEFORE
        await audit_and_keep(reader.audits, entries, reader.get, front.clock(), reader.in_thread)
        front.dated = None
    _turn(trial, front, index)
    (report,) = await audit_and_keep(reader.audits, entries, reader.get, front.clock(), reader.in_thread)
    return report


def _turn(trial: Trial, front: LogFront, index: int) -> None:
    """What happens between the two visits."""
    if trial.deceit is None:
        front.log.tree.grow(_GROWTH)
    else:
        trial.deceit.begin(front, index)
