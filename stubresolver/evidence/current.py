"""The evidence file that has the name now: opened, missed, found damaged and put aside, opened anew.

A damaged file is never used again: it is put aside (`files`) before the next is opened. A file that is gone, or not the
one that was opened, is left: nothing goes into a file that nobody can see. Whoever leaned on what the last file said is
told that it is gone. One thread at a time.
"""

import contextlib
import sqlite3
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

from stubresolver.errors import EvidenceDamaged, EvidenceError
from stubresolver.evidence.files import Identity, make_file, put_aside, set_aside, why
from stubresolver.evidence.judgement import Snapshots
from stubresolver.evidence.store import EvidenceStore

_T = TypeVar("_T")

PATIENCE: Final = 0.4  # seconds for another process' lock: recall and record of one dial take less than one in all


class CurrentFile:
    """One name, and the files that have it one after the other."""

    def __init__(
        self,
        path: Path,
        clock: Callable[[], datetime],
        report: Callable[[str], None],
        gone: Callable[[], None],
        *,
        snapshots: Snapshots,
        maximum_octets: int,
    ) -> None:
        """`report` takes a line for people; `gone` is called when what the last file said is not to be had any more."""
        self._path = path
        self._clock = clock
        self._report = report
        self._gone = gone
        self._store: EvidenceStore | None = None
        self._last: Identity | None = None  # the file that was opened last
        self._damaged: tuple[Identity, str] | None = None  # one that is to be put aside, and what is wrong with it
        self.aside: tuple[str, ...] = ()  # the damaged ones that lie beside it
        self._snapshots = snapshots
        self._maximum = maximum_octets
        self.patience = PATIENCE  # of the next that is opened

    def use(self, use: Callable[[EvidenceStore], _T]) -> _T:
        """Use the file, and where it proves to be damaged or gone the one after it; raises `EvidenceError`."""
        store = self.opened()
        try:
            return use(store)
        except EvidenceDamaged as error:
            self.notice(store, error)
        except EvidenceError:
            if not store.is_gone:
                raise
        return use(self.opened())

    def opened(self) -> EvidenceStore:
        """The file that is there now; raises `EvidenceError`."""
        if self._store is not None and self._store.is_gone:
            self._miss()
        if self._store is None:
            self._store = self._open()
        return self._store

    def notice(self, store: EvidenceStore, error: EvidenceDamaged) -> None:
        """The file in use is damaged: it is left, and put aside before the next is opened."""
        if store.identity is not None:
            self._damaged = (store.identity, str(error))
        self.leave()

    def leave(self) -> None:
        """Close the file; the next use opens it anew, and looks whether it is whole."""
        if self._store is not None:
            with contextlib.suppress(sqlite3.Error):
                self._store.close()
        self._store = None

    def _open(self) -> EvidenceStore:
        """Open the file, a new one where it is damaged; raises `EvidenceError`."""
        for _ in range(2):
            self._put_aside()
            self.aside = set_aside(self._path)
            found = self._make()
            try:
                return EvidenceStore(self._path, self._maximum, snapshots=self._snapshots, patience=self.patience)
            except EvidenceDamaged as error:
                self._damaged = (found, str(error))
        self._put_aside()
        raise EvidenceError(f"{self._path}: damaged, and so is the one that took its place")

    def _make(self) -> Identity:
        """Make the file if it is not there; which one it is. Raises `EvidenceError`."""
        try:
            found = make_file(self._path)
        except (OSError, ValueError, EvidenceError) as error:
            raise EvidenceError(f"{self._path}: cannot keep evidence here: {why(error)}") from None
        if self._last not in {None, found}:
            self._miss()
        self._last = found
        return found

    def _miss(self) -> None:
        """The file is not the one any more that was used last."""
        self._report(f"{self._path}: the evidence was taken away or replaced while it was in use")
        self.leave()
        self._last = None
        self._gone()

    def _put_aside(self) -> None:
        """Put the file aside that was found damaged, if one was; raises `EvidenceError` where that cannot be done."""
        if self._damaged is None:
            return
        identity, problem = self._damaged
        try:
            aside = put_aside(self._path, identity, self._clock())
        except EvidenceError as error:
            raise EvidenceError(f"{error} ({problem})") from None
        self._damaged = self._last = None
        self._gone()
        if aside is not None:
            self._report(f"{problem}: the evidence is put aside as {aside}, and a new file is begun")
