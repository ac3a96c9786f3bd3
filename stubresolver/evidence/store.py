"""Every distinct chain and verdict, kept in SQLite before the decision takes effect.

Content-addressed: certificates, policies and log lists by their SHA-256, a record by everything that was judged and
found except the time. The same chain with the same outcome again only moves `last_seen`, `count` and the details that
come with the time. Each record is one transaction, so a crash loses at most the record being written. The file is
bounded; what goes when it is full stands in `retention`. No query and no name that a client asked for ever comes here.
"""

import re
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import msgspec

from stubresolver.ct import LogList
from stubresolver.errors import BadInput, EvidenceDamaged, EvidenceError
from stubresolver.evidence.audits import Audits
from stubresolver.evidence.changes import note_changes
from stubresolver.evidence.files import HeldFile, Identity, fault, file_identity, why
from stubresolver.evidence.judgement import Judgement, Snapshots
from stubresolver.evidence.known import forget_after, note_passed, recall
from stubresolver.evidence.records import Dropped, Event, EventKind, Kept, Pruned, Recalled, Record
from stubresolver.evidence.retention import (
    bound_notes,
    drop_after,
    drop_before,
    file_octets,
    give_back,
    make_room,
    used_octets,
)
from stubresolver.evidence.schema import prepare, transaction, try_to_write
from stubresolver.evidence.writing import iso, write
from stubresolver.exported import Exported
from stubresolver.verify import Policy, Presented, TlsFacts, Verdict

# Measured: a record with its chain is 7 to 9 KiB, a log list 55, a policy with certifi's anchors 170. Eight upstreams
# with a new certificate every two months and a new list every week come to 6 MiB a year, so this holds ten years; a
# fresh forged chain every 30 s fills it in three days, and is thinned out from then on.
DEFAULT_MAXIMUM_OCTETS = 64 * 1024 * 1024
_BUSY_TIMEOUT = 1.0  # seconds for another process' write, which takes milliseconds; a dial waits for it
_BATCH = 200  # records of one transaction while pruning: a tenth of a second
_PREFIX = re.compile(r"[0-9a-f]{6,64}\Z")
_COLUMNS = "id, upstream, allowed, summary, first_seen, last_seen, count, mode"


class EvidenceStore:
    """A file of judgements, or of None one in memory. Safe to use from several threads and several processes."""

    def __init__(
        self,
        path: Path | None,
        maximum_octets: int = DEFAULT_MAXIMUM_OCTETS,
        *,
        snapshots: Snapshots | None = None,
        patience: float = _BUSY_TIMEOUT,
    ) -> None:
        """Open or create the file, readable by its owner only; raises `EvidenceError`.

        `patience` are the seconds for another process' write.
        """
        self._path = path or "the memory"
        self._maximum = maximum_octets
        self._lock = threading.Lock()  # one connection, used by one thread at a time
        self._snapshots = Snapshots() if snapshots is None else snapshots
        try:
            self._held = None if path is None else HeldFile(path)
        except (OSError, ValueError, EvidenceError) as error:  # ValueError: a NUL in the path
            raise EvidenceError(f"{self._path}: cannot keep evidence here: {why(error)}") from None
        try:
            with self._used():
                # autocommit: each transaction below is begun and ended by name
                self._database = sqlite3.connect(
                    path or ":memory:", timeout=patience, isolation_level=None, check_same_thread=False
                )
                _prepare(self._database)
        except (OSError, UnicodeError, sqlite3.Error, EvidenceError, MemoryError) as error:
            self._let_go()
            raise fault(error)(f"{self._path}: cannot keep evidence here: {why(error)}") from None

    @property
    def is_gone(self) -> bool:
        """Whether another file, or none, has the name by now; False where nobody may look."""
        try:
            return isinstance(self._path, Path) and file_identity(self._path) != self.identity
        except OSError:
            return False

    @property
    def identity(self) -> Identity | None:
        """Which file it is; None for one in memory."""
        return None if self._held is None else self._held.identity

    def keep_demands(self, policy: Policy, log_list: LogList | None) -> None:
        """Take the demands that verdicts to come were judged by: before the first of them is recorded.

        They are written with the first record that needs them, in its transaction, and go with the last.
        """
        self._snapshots.keep(policy, log_list)

    def record(self, upstream: str, presented: Presented, verdict: Verdict, snapshot: bytes | None = None) -> Kept:
        """Keep one judgement; it is on the disk when this returns. Raises `EvidenceError`.

        `snapshot` is of the very policy that judged; see `Snapshots.judgement`.
        """
        (kept,) = self.record_all([self._snapshots.judgement(upstream, presented, verdict, snapshot)])
        return kept

    def record_all(self, judgements: Sequence[Judgement]) -> list[Kept]:
        """Keep these judgements in their order, all or none. Raises `EvidenceError`."""
        with self.writing() as database, transaction(database):
            return [self._record(database, judgement) for judgement in judgements]

    def _record(self, database: sqlite3.Connection, judgement: Judgement) -> Kept:
        verdict = judgement.verdict
        new = write(
            database,
            judgement.identity,
            judgement.upstream,
            judgement.presented,
            verdict,
            policy=judgement.policy,
            log_list=judgement.log_list,
        )
        events = note_changes(database, judgement.upstream, verdict, iso(verdict.at))
        note_passed(database, verdict)
        bound_notes(database)
        self._bound(judgement.identity, for_refused=not verdict.allowed)
        return Kept(judgement.identity, new, events)

    def recall(self, leaf_sha256: str) -> Recalled:
        """What a judgement of the leaf with this SHA-256 (hex) is told of the past; raises `EvidenceError`."""
        with self.reading() as database:
            try:
                return recall(database, leaf_sha256)
            except (ValueError, TypeError) as error:
                raise EvidenceDamaged(f"{self._path}: cannot be read: {error}") from None

    def try_to_write(self) -> None:
        """Raise `EvidenceError` where nothing can be kept now."""
        with self.writing() as database:
            try_to_write(database)

    def _bound(self, identity: str, *, for_refused: bool) -> None:
        """Hold the size; where it is exceeded, free a little more, so that not every record has to look for room."""
        if used_octets(self._database) > self._maximum:
            make_room(self._database, self._maximum - self._maximum // 64, identity, for_refused=for_refused)

    def records(
        self,
        limit: int = 100,
        allowed: bool | None = None,
        upstream: str | None = None,
        since: datetime | None = None,
    ) -> Sequence[Record]:
        """The newest records first: all, or the allowed or refused ones, of one upstream, seen since a time.

        Raises `EvidenceError`.
        """
        with self.reading():
            rows = self._database.execute(
                f"SELECT {_COLUMNS} FROM record"  # noqa: S608 - a constant
                " WHERE (?1 IS NULL OR allowed = ?1) AND (?2 IS NULL OR upstream = ?2) AND last_seen >= ?3"
                " ORDER BY last_seen DESC, id LIMIT ?4",
                (allowed, upstream, iso(since) if since else "", limit),
            ).fetchall()
        return [_record(row) for row in rows]

    def find(self, prefix: str) -> str:
        """The id that begins with `prefix`, at least 6 hex digits; raises `BadInput`, naming candidates."""
        if not _PREFIX.match(prefix.lower()):
            raise BadInput(f"{prefix!r} is no id of a record: expected its first 6 hex digits or more")
        with self.reading():
            rows = self._database.execute(
                "SELECT id FROM record WHERE id >= ?1 AND id < ?1 || 'g' ORDER BY id LIMIT 6", (prefix.lower(),)
            ).fetchall()
        if not rows:
            raise BadInput(f"{self._path}: no record begins with {prefix}")
        if len(rows) > 1:
            shown = [row[0][: len(prefix) + 6] for row in rows[:5]] + ["…"] * (len(rows) > 5)
            raise BadInput(f"{self._path}: several records begin with {prefix}: {', '.join(shown)}")
        return str(rows[0][0])

    def get(self, identity: str) -> Record:
        """The record of an id; raises `EvidenceError`."""
        with self.reading():
            row = self._database.execute(
                f"SELECT {_COLUMNS} FROM record WHERE id = ?",  # noqa: S608 - a constant
                (identity,),
            ).fetchone()
        if row is None:
            raise EvidenceError(f"{self._path}: no record {identity}")
        return _record(row)

    def chain(self, identity: str) -> tuple[bytes, ...]:
        """The certificates of one record in DER, leaf first, as they were presented; raises `EvidenceError`."""
        self.get(identity)
        with self.reading():
            rows = self._database.execute(
                "SELECT der FROM link LEFT JOIN certificate ON sha256 = certificate WHERE record = ? ORDER BY position",
                (identity,),
            ).fetchall()
        if (None,) in rows:
            raise EvidenceError(f"{self._path}: record {identity} lacks a certificate of its chain")
        return tuple(der for (der,) in rows)

    def export(self, identity: str) -> Exported:
        """One record with all that it takes to judge again, as it was when last seen; raises `EvidenceError`."""
        chain = self.chain(identity)
        with self.reading():
            row = self._database.execute(
                "SELECT upstream, address, name, tls, staple, verdict, policies.octets, lists.octets FROM record"
                " LEFT JOIN snapshot AS policies ON policies.sha256 = policy"
                " LEFT JOIN snapshot AS lists ON lists.sha256 = log_list WHERE id = ?",
                (identity,),
            ).fetchone()
            if row is None or row[6] is None:
                raise EvidenceError(f"{self._path}: record {identity} lacks the policy that it was judged by")
            upstream, address, name, tls, staple, verdict, policy, log_list = row
            return Exported(
                upstream=upstream,
                presented=Presented(
                    None if address is None else ip_address(address),
                    name,
                    chain,
                    None if tls is None else msgspec.json.decode(tls, type=TlsFacts),
                    staple,
                ),
                verdict=verdict,
                at=datetime.fromisoformat(msgspec.json.decode(verdict)["at"]),
                policy=policy,
                log_list=log_list,
            )

    def events(self, limit: int = 100, upstream: str | None = None, since: datetime | None = None) -> Sequence[Event]:
        """What changed of the upstreams, the newest first; raises `EvidenceError`."""
        with self.reading():
            rows = self._database.execute(
                "SELECT upstream, kind, before, after, at FROM event"
                " WHERE (?1 IS NULL OR upstream = ?1) AND at >= ?2 ORDER BY number DESC LIMIT ?3",
                (upstream, iso(since) if since else "", limit),
            ).fetchall()
            return [Event(row[0], EventKind(row[1]), *row[2:]) for row in rows]

    def dropped(self) -> Sequence[Dropped]:
        """How many refused records gave way to others of their kind, the newest day first; raises `EvidenceError`."""
        with self.reading():
            rows = self._database.execute("SELECT * FROM dropped ORDER BY day DESC, upstream, failed").fetchall()
        return [Dropped(*row) for row in rows]

    def prune(
        self,
        *,
        keep_octets: int | None = None,
        before: datetime | None = None,
        after: datetime | None = None,
        dry_run: bool = False,
    ) -> Pruned:
        """Drop what was last seen before a time, or after one, then what goes beyond a size; give the room back.

        The newest record of each upstream, and the newest that was allowed, stay, but for those after the time: there
        a clock was ahead. Leaves that passed after it are not known any more. A dry run only says what would go.
        Raises `EvidenceError`.
        """
        with self.reading() if dry_run else self.writing():
            database = self._copy() if dry_run else self._database
            size = file_octets(database)
            gone: list[bool] = []
            if after is not None:
                gone += _in_batches(database, lambda: drop_after(database, iso(after), _BATCH))
                forget_after(database, iso(after))
            if before is not None:
                gone += _in_batches(database, lambda: drop_before(database, iso(before), _BATCH))
            if keep_octets is not None:
                gone += _in_batches(
                    database, lambda: make_room(database, keep_octets, "", for_refused=True, most=_BATCH)
                )
            left = used_octets(database)
            if dry_run:
                database.close()
            else:
                give_back(database)
        return Pruned(allowed=sum(gone), refused=len(gone) - sum(gone), octets=size - left)

    def audits(self) -> Audits:
        """What came of the proofs, on the same connection and under its lock."""
        return Audits(self.reading, self.writing)

    def _copy(self) -> sqlite3.Connection:
        """The whole file in memory, to try something on; nobody has to wait for that."""
        copy = sqlite3.connect(":memory:", isolation_level=None)
        self._database.backup(copy)
        return copy

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One use of the connection that looks, its faults told as `EvidenceError`."""
        with self._lock:
            try:
                with self._used():
                    yield self._database
            except (OSError, sqlite3.Error, ValueError, TypeError, KeyError, MemoryError) as error:  # a damaged file
                raise fault(error)(f"{self._path}: cannot be read: {why(error)}") from None

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One use of the connection that changes something; what it reads may be damaged, too."""
        with self.reading() as database:
            try:
                yield database
            except (sqlite3.Error, UnicodeError, MemoryError) as error:  # UnicodeError: text that no database can hold
                raise fault(error)(f"{self._path}: evidence could not be written: {why(error)}") from None

    def close(self) -> None:
        """Close the file; records already kept stay."""
        with self._lock:
            self._database.close()
            self._let_go()

    def _used(self) -> AbstractContextManager[None]:
        return nullcontext() if self._held is None else self._held.used()

    def _let_go(self) -> None:
        if self._held is not None:
            self._held.close()


def _prepare(database: sqlite3.Connection) -> None:
    """Make the tables if need be; closes what it cannot use."""
    try:
        prepare(database)
    except BaseException:
        database.close()
        raise


def _in_batches(database: sqlite3.Connection, drop: Callable[[], list[bool]]) -> list[bool]:
    """Drop until nothing more is to go, a transaction for each batch: who wants to record waits for one of them."""
    gone: list[bool] = []
    while True:
        with transaction(database):
            some = drop()
        if not some:
            return gone
        gone += some


def _record(row: tuple[Any, ...]) -> Record:
    return Record(row[0], row[1], bool(row[2]), *row[3:])
