"""Evidence for those who must go on whatever becomes of the file: no fault of it stops a judgement, none is silent.

- A full disk, a folder that cannot be written, a file that is locked, damaged, taken away: what is judged then is held
  in memory (`backlog`), and written as soon as the file takes it. What is held, and what was lost, is in `state`.
- Nothing is believed more for it. What cannot be recalled counts as never seen: no leniency for known leaves. The clock
  is held against what this process knows itself: the newest time that it read in the file before, or judged.
- What was judged in the meantime is remembered by a second store in memory, under the same rules as by the file.
- A damaged file is put aside, and a new one begun; so is one that was taken away (`current`).
- While something is wrong nobody waits for another process' lock: a dial has paid for finding out, once. Each use opens
  the file anew then, and looks whether it is whole.
- `state`, `hold` and `recall_here` never wait for the disk; all else may, and belongs into a thread (`recorder`).
"""

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from stubresolver.ct import LogList
from stubresolver.errors import EvidenceDamaged, EvidenceError, EvidenceUnfit
from stubresolver.evidence.audits import Audited, Audits, Raised
from stubresolver.evidence.backlog import Backlog
from stubresolver.evidence.current import PATIENCE, CurrentFile
from stubresolver.evidence.files import why
from stubresolver.evidence.judgement import Judgement, Snapshots
from stubresolver.evidence.records import EvidenceState, Kept, Recalled
from stubresolver.evidence.store import DEFAULT_MAXIMUM_OCTETS, EvidenceStore
from stubresolver.evidence.writing import iso
from stubresolver.exported import Exported
from stubresolver.verify import Policy, Presented, Verdict

_T = TypeVar("_T")

_IN_MEMORY: Final = 2 << 20  # octets of the second store: a policy and a list take a quarter of a MiB, a record 8 KiB
_CLOSING: Final = 2.0  # seconds for what is being written at the end; then a disk that hangs is left alone


class EvidenceKeeper:
    """An evidence file that may fail. No method but those of `audits` and `export` raises for what the file does."""

    def __init__(
        self,
        path: Path | None,
        clock: Callable[[], datetime],
        report: Callable[[str], None] = lambda _: None,
        *,
        nowhere: str = "there is no place for it",
        advice: str = "",
        maximum_octets: int = DEFAULT_MAXIMUM_OCTETS,
    ) -> None:
        """`report` takes a line at each change of state, in any thread.

        `nowhere` says why there is no path, `advice` what a person can do about a file that cannot be used.
        """
        self._clock = clock
        self._report = report
        self._nowhere = nowhere
        self._advice = f"; {advice}" if advice else ""
        self._snapshots = Snapshots()
        self._disk = threading.Lock()  # held while the file is used
        self._memory = threading.Lock()  # held for moments: the backlog, the second store and the state
        self._file: CurrentFile | None = None
        if path is not None:
            self._file = CurrentFile(
                path, clock, report, self._carry_floor, snapshots=self._snapshots, maximum_octets=maximum_octets
            )
        self._newest: datetime | None = None  # the newest time in the file, as it was last read or written
        self._floor: datetime | None = None  # the same of files that are gone
        self._second: EvidenceStore | None = None
        self._backlog = Backlog()
        self._unfit = 0
        self._closed = False
        self._state = EvidenceState("" if path is None else str(path), kept=True, since=iso(clock()))
        with self._disk:
            if self._try(self._opened) is not None:
                self._settle("")

    @property
    def state(self) -> EvidenceState:
        """What is kept and what is not, now."""
        return self._state

    def keep_demands(self, policy: Policy, log_list: LogList | None) -> None:
        """Take the demands that verdicts to come are judged by."""
        self._snapshots.keep(policy, log_list)

    def judgement(
        self, upstream: str, presented: Presented, verdict: Verdict, policy: bytes | None = None
    ) -> Judgement:
        """What `record` and `hold` take; raises `EvidenceError` where its demands were not kept before, a defect."""
        return self._snapshots.judgement(upstream, presented, verdict, policy)

    def recall(self, leaf_sha256: str) -> Recalled:
        """What a judgement of this leaf is told of the past, as far as it can be known."""
        with self._disk:
            found = self._try(lambda: self._use(lambda store: store.recall(leaf_sha256)))
            if found is not None:
                # not the highest: `evidence prune --future` takes back what a clock that was ahead has left
                self._newest = found.newest
            return self._with_memory(found or Recalled(newest=self._newest), leaf_sha256)

    def recall_here(self, leaf_sha256: str) -> Recalled:
        """The same without the file."""
        return self._with_memory(Recalled(newest=self._newest), leaf_sha256)

    def record(self, judgement: Judgement) -> Sequence[Kept]:
        """Write a judgement, and what waits, or hold it; what came of all that was written."""
        with self._disk:
            kept = self._try(lambda: self._write([judgement]))
        if kept is None:
            self._add(judgement)
        return kept or ()

    def hold(self, judgement: Judgement, problem: str | None = None) -> None:
        """Take a judgement without touching the file, because of a problem that the caller has with that, if any."""
        self.note(problem)
        self._add(judgement)

    def note(self, problem: str | None) -> Sequence[Kept]:
        """Put a problem that the caller has with the file, if any, into the state."""
        if problem is not None:
            self._settle(problem)
        return ()

    def retry(self) -> Sequence[Kept]:
        """Find out whether the file can be written by now, and write what waits."""
        with self._disk:
            return self._try(lambda: self._write([])) or ()

    def audits(self) -> Audits:
        """What came of the proofs; while there is no file, in memory. Its methods raise `EvidenceError`."""
        return Audits(self._reading, self._writing)

    def export(self, identity: str) -> Exported:
        """One record with all that it takes to judge again; raises `EvidenceError`."""
        with self._disk:
            try:
                return self._use(lambda store: store.export(identity))
            except EvidenceError:
                if self._second is None:
                    raise
                return self._second.export(identity)

    def close(self) -> None:
        """Write what waits, if that is possible now, and close the file; what is left is lost, and told."""
        if not self._disk.acquire(timeout=_CLOSING):
            self._report(f"evidence: {len(self._backlog)} judgements are lost: the disk does not answer")
            return
        try:
            if (self._second is not None or len(self._backlog)) and not self._closed:
                self._try(lambda: self._write([]))
            if not self._closed:
                judgements = len(self._backlog)
                alarms = 0 if self._second is None else len(self._second.audits().alarms())
                if judgements or alarms:
                    left = f"{judgements} judgements and {alarms} alarms"
                    self._report(f"evidence: {left} could not be kept: {self._state.problem}")
            self._closed = True
            if self._file is not None:
                self._file.leave()
        finally:
            self._disk.release()

    # Under the lock of the disk.

    def _try(self, use: Callable[[], _T]) -> _T | None:
        """What the use of the file gives; None where it cannot be used, which is then in the state."""
        try:
            return use()
        except (EvidenceError, MemoryError) as error:
            if self._file is not None:
                self._file.leave()
                self._file.patience = 0.0
            self._settle(why(error))
            return None

    def _current(self) -> CurrentFile:
        """The file; raises `EvidenceError` where there is none to be used."""
        if self._file is None or self._closed:
            raise EvidenceError("it is closed" if self._closed else self._nowhere)
        return self._file

    def _use(self, use: Callable[[EvidenceStore], _T]) -> _T:
        return self._current().use(use)

    def _opened(self) -> EvidenceStore:
        return self._current().opened()

    def _carry_floor(self) -> None:
        """The newest time that was read in a file counts on where the next does not know it."""
        self._floor = max(filter(None, (self._floor, self._newest)), default=None)

    def _write(self, judgements: Sequence[Judgement]) -> Sequence[Kept]:
        """Write what waits and these, or find out whether that could be done; raises `EvidenceError`."""
        with self._memory:
            waiting = self._backlog.judgements()
        every = [*waiting, *judgements]
        if self._second is not None:
            self._hand_over(self._second)  # before the judgements: what is written must not seem to wait if this fails
        if every:
            kept = self._use(lambda store: self._record(store, every))
            allowed = (judgement.verdict.at for judgement in every if judgement.verdict.allowed)
            self._newest = max(filter(None, (self._newest, *allowed)), default=None)
        else:
            kept = []
            self._use(EvidenceStore.try_to_write)
        with self._memory:
            self._backlog.written(waiting)
            if not len(self._backlog):
                self._second = None
        if not self._state.kept:  # it was opened in trouble, without patience
            self._current().leave()
            self._current().patience = PATIENCE
        self._settle("", len(waiting))
        return kept

    def _record(self, store: EvidenceStore, judgements: Sequence[Judgement]) -> list[Kept]:
        """Record all; where one of them is such that no file takes it, the others."""
        try:
            return store.record_all(judgements)
        except EvidenceUnfit as error:
            if len(judgements) == 1:
                self._unfit += 1
                self._report(f"{judgements[0].upstream}: this judgement is lost: {error}")
                return []
        kept = []
        for judgement in judgements:
            kept += self._record(store, [judgement])
            with self._memory:
                self._backlog.written([judgement])  # now: the next may fail
        return kept

    def _hand_over(self, second: EvidenceStore) -> None:
        """Give the file the alarms of the time without it; raises `EvidenceError`."""
        source = second.audits()
        for alarm in source.alarms():
            outcome = Audited(
                alarm.leaf, alarm.log, "alarm", alarm.kind, alarm.detail, alarm.last_seen, alarm.first_seen
            )
            raised = Raised(alarm.kind, alarm.detail, source.received(alarm.number))
            self._use(partial(_keep_alarm, outcome=outcome, raised=raised))
            source.dismiss(alarm.number)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._disk, self._either(lambda store: store.reading()) as database:
            yield database

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._disk, self._either(lambda store: store.writing()) as database:
            yield database

    @contextmanager
    def _either(
        self, use: Callable[[EvidenceStore], AbstractContextManager[sqlite3.Connection]]
    ) -> Iterator[sqlite3.Connection]:
        """Use the file for the proofs, or the second store while there is none."""
        store = self._try(self._opened) or self._in_memory()
        try:
            with use(store) as database:
                yield database
        except EvidenceDamaged as error:
            self._current().notice(store, error)
            raise

    # Without it.

    def _add(self, judgement: Judgement) -> None:
        """Hold a judgement until it can be written, and know in the meantime what follows from it."""
        with self._memory:
            self._backlog.add(judgement)
        with contextlib.suppress(EvidenceError, MemoryError):
            self._in_memory().record_all([judgement])
        self._settle()

    def _in_memory(self) -> EvidenceStore:
        """The second store; raises `EvidenceError` where there is no memory for it."""
        with self._memory:
            if self._second is None:
                self._second = EvidenceStore(None, _IN_MEMORY, snapshots=self._snapshots)
            return self._second

    def _with_memory(self, found: Recalled, leaf_sha256: str) -> Recalled:
        """What was found, with what only this process knows."""
        here, second = Recalled(), self._second
        if second is not None:
            with contextlib.suppress(EvidenceError):
                here = second.recall(leaf_sha256)
        return Recalled(
            min(filter(None, (found.passed, here.passed)), default=None),
            max(filter(None, (found.newest, here.newest, self._floor)), default=None),
        )

    def _settle(self, problem: str | None = None, written: int = 0) -> None:
        """Put into the state what is so now, and tell a change of it; without a problem or "" that is what it was."""
        aside = () if self._file is None else self._file.aside
        with self._memory:
            before = self._state
            problem = before.problem if problem is None else problem
            kept = not problem
            since = before.since if kept == before.kept else iso(self._clock())
            lost = self._backlog.lost + self._unfit
            self._state = EvidenceState(before.file, kept, since, problem, len(self._backlog), lost, aside)
        if before.kept and problem:
            self._report(f"EVIDENCE IS NOT KEPT: {problem}; what is judged waits in memory to be written{self._advice}")
        elif not before.kept and kept:
            self._report(f"evidence is kept again; {written} judgements were written that had waited")


def _keep_alarm(store: EvidenceStore, outcome: Audited, raised: Raised) -> None:
    store.audits().keep(outcome, [raised])
