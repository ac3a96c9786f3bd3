"""What came of the proofs: the last tree head of each log, the last outcome of each SCT, each alarm with its octets.

In the tables of the evidence file, on the connection and under the lock of whoever keeps it (`audits()`), every
change in one transaction. A tree head is read again by its own signature whenever it is used, so that nobody who
damages the row makes a log look as if it had lied; one that is damaged is told of, and gives way to the next. It takes
the place of that alone which it was proved to follow: of two audits at once neither undoes the other. An alarm is kept
as it was first received; the same again is only counted. Who wants an old alarm to go by raising new ones finds that of
the largest group of alike ones the newest goes.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import datetime

from stubresolver.ct import Log
from stubresolver.ct.tree_head import TreeHead, read_again
from stubresolver.errors import BadInput, EvidenceError
from stubresolver.evidence.schema import transaction
from stubresolver.evidence.writing import iso

MAXIMUM_ALARM = 64 * 1024  # octets of one; two tree heads and the proof between them have a few KiB
MAXIMUM_ALARMS = 200  # so that all of them take a fifth of the file at the most (evidence.DEFAULT_MAXIMUM_OCTETS)
MAXIMUM_OUTCOMES = 10_000  # rows of some 300 octets; eight upstreams make 150 a year
_TIMES = 1 << 63  # what SQLite's integers hold; a log that dates a tree head later has raised an alarm by that

_Use = Callable[[], AbstractContextManager[sqlite3.Connection]]

_ALARM = "number, leaf, log, kind, detail, first_seen, last_seen, count"


@dataclass(frozen=True, slots=True)
class Audited:
    """What came of asking one log about one certificate, last."""

    leaf: str  # SHA-256 of the certificate, hex
    log: str  # log id, hex
    outcome: str  # "proved", "note" or "alarm"
    kind: str  # what decided, one word
    detail: str  # for people
    at: str  # ISO 8601 UTC with milliseconds
    since: str  # the same: from when on every audit found this


@dataclass(frozen=True, slots=True)
class Raised:
    """An alarm that is to be kept."""

    kind: str
    detail: str
    octets: bytes  # JSON: what was received


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm that is kept, without its octets."""

    number: int
    leaf: str
    log: str
    kind: str
    detail: str
    first_seen: str
    last_seen: str
    count: int


@dataclass(frozen=True, slots=True)
class Heads:
    """What is remembered of some logs, by log id."""

    seen: Mapping[bytes, TreeHead]  # the last tree head whose proofs held
    damaged: Mapping[bytes, str]  # why what is there in its place is none


@dataclass(frozen=True, slots=True)
class Candidate:
    """A certificate that was allowed, and the newest record that holds it."""

    leaf: str  # SHA-256, hex
    record: str
    upstream: str
    first_seen: str


class Audits:
    """The tables of the proofs; made by `audits()` of a store or a keeper. Every method raises `EvidenceError`."""

    def __init__(self, reading: _Use, writing: _Use) -> None:
        """`reading` and `writing` are the store's own: they hold the lock and tell faults as `EvidenceError`."""
        self._reading = reading
        self._writing = writing

    def heads(self, logs: Iterable[Log]) -> Heads:
        """The last tree head of each of these logs whose proofs held."""
        seen, damaged = {}, {}
        with self._reading() as database:
            for log in logs:
                try:
                    head = _head(database, log)
                except (ValueError, TypeError) as error:
                    damaged[log.log_id] = str(error)
                else:
                    seen.update({} if head is None else {log.log_id: head})
        return Heads(seen, damaged)

    def remember(self, log: Log, head: TreeHead, before: TreeHead | None, at: str) -> TreeHead | None:
        """Put a tree head in the place of `before`, which it was proved to follow; None where that was done.

        Where another process has put another one there since, that one stays and is given: it is yet to be compared.
        """
        with self._writing() as database, transaction(database):
            try:
                there = _head(database, log)
            except (ValueError, TypeError):
                there = before  # damaged
            if there is not None and (before is None or _facts(there) != _facts(before)):
                return None if _facts(there) == _facts(head) else there
            if head.timestamp < _TIMES:
                values = (log.log_id.hex(), head.size, head.timestamp, head.root.hex(), head.octets, at)
                database.execute("INSERT OR REPLACE INTO tree_head VALUES (?, ?, ?, ?, ?, ?)", values)
        return None

    def keep(self, audited: Audited, raised: Sequence[Raised]) -> tuple[Alarm, ...]:
        """Keep one outcome with its alarms; the alarms as they are kept now.

        An alarm that had to give way at once is not among them; its outcome is kept all the same.
        """
        for alarm in raised:
            if len(alarm.octets) > MAXIMUM_ALARM:
                raise EvidenceError(f"an alarm of {len(alarm.octets)} octets, expected at most {MAXIMUM_ALARM}")
        with self._writing() as database, transaction(database):
            database.execute(
                "INSERT OR REPLACE INTO audit (leaf, log, outcome, kind, detail, at, since)"
                " VALUES (:leaf, :log, :outcome, :kind, :detail, :at, :since)",
                asdict(audited),
            )
            for alarm in raised:
                _keep_alarm(database, audited, alarm)
            _bound(database)
            return tuple(
                _alarm(row)
                for alarm in raised
                for row in database.execute(
                    f"SELECT {_ALARM} FROM alarm WHERE leaf = ? AND log = ? AND kind = ?",  # noqa: S608 - a constant
                    (audited.leaf, audited.log, alarm.kind),
                ).fetchall()
            )

    def outcomes(self, leaf: str | None = None) -> Sequence[Audited]:
        """The last outcome for each log of one certificate, or of all; the newest first."""
        with self._reading() as database:
            rows = database.execute(
                "SELECT leaf, log, outcome, kind, detail, at, since FROM audit WHERE ?1 IS NULL OR leaf = ?1"
                " ORDER BY at DESC, leaf, log",
                (leaf,),
            ).fetchall()
            return [Audited(*map(_text, row)) for row in rows]

    def alarms(self) -> Sequence[Alarm]:
        """Every alarm that is kept, the oldest first."""
        with self._reading() as database:
            rows = database.execute(f"SELECT {_ALARM} FROM alarm ORDER BY number").fetchall()  # noqa: S608
            return [_alarm(row) for row in rows]

    def received(self, number: int) -> bytes:
        """The octets of one alarm, JSON; raises `BadInput` where there is no such alarm."""
        with self._reading() as database:
            # as text, which SQLite compares like a number: Python's may be longer than SQLite's
            row = database.execute("SELECT octets FROM alarm WHERE number = ?", (str(number),)).fetchone()
            octets = None if row is None else bytes(row[0])
            if octets is not None:
                json.loads(octets)
        if octets is None:
            raise BadInput(f"no alarm {number} is kept; `stubresolver audit --alarms` lists them")
        return octets

    def dismiss(self, number: int) -> None:
        """Drop one alarm, because a person has dealt with it; raises `BadInput` where there is none."""
        with self._writing() as database, transaction(database):
            gone = database.execute("DELETE FROM alarm WHERE number = ?", (str(number),)).rowcount
        if not gone:
            raise BadInput(f"no alarm {number} is kept; `stubresolver audit --alarms` lists them")

    def candidates(self, since: datetime) -> Sequence[Candidate]:
        """The certificates that were allowed since then, each once, in the order of their first record."""
        with self._reading() as database:
            # bare columns are of the row that has the maximum (sqlite.org/lang_select.html#bareagg)
            rows = database.execute(
                "SELECT certificate, id, upstream, (SELECT min(first_seen) FROM record JOIN link AS other"
                " ON other.record = id AND position = 0 WHERE other.certificate = link.certificate AND allowed = 1)"
                " AS first, max(last_seen) FROM link JOIN record ON id = record AND position = 0"
                " WHERE allowed = 1 AND last_seen >= ? GROUP BY certificate ORDER BY first, certificate",
                (iso(since),),
            ).fetchall()
            return [Candidate(*map(_text, row[:4])) for row in rows]


def _head(database: sqlite3.Connection, log: Log) -> TreeHead | None:
    """The tree head that is remembered of a log, None where there is none; ValueError or TypeError: it is damaged."""
    row = database.execute(
        "SELECT size, timestamp, root, octets FROM tree_head WHERE log = ?", (log.log_id.hex(),)
    ).fetchone()
    if row is None:
        return None
    if not isinstance(row[3], bytes):
        raise TypeError("no octets where a tree head was")
    head = read_again(row[3], log)
    if _facts(head) != row[:3]:
        raise ValueError("the tree head is not what its row says")
    return head


def _facts(head: TreeHead) -> tuple[int, int, str]:
    """What makes two tree heads of one log the same, however they are spelled and signed."""
    return head.size, head.timestamp, head.root.hex()


def _keep_alarm(database: sqlite3.Connection, audited: Audited, alarm: Raised) -> None:
    """Keep an alarm; of one that is there already only the count and the time move."""
    values = (audited.leaf, audited.log, alarm.kind, alarm.detail, audited.at, audited.at, alarm.octets)
    database.execute(
        "INSERT INTO alarm (leaf, log, kind, detail, first_seen, last_seen, count, octets)"
        " VALUES (?, ?, ?, ?, ?, ?, 1, ?)"
        " ON CONFLICT DO UPDATE SET count = count + 1, last_seen = excluded.last_seen",
        values,
    )


def _bound(database: sqlite3.Connection) -> None:
    """Hold the tables' sizes: of the largest group of alarms of one log and kind the newest goes."""
    (count,) = database.execute("SELECT count(*) FROM alarm").fetchone()
    for _ in range(count - MAXIMUM_ALARMS):
        database.execute(
            "DELETE FROM alarm WHERE number = (SELECT max(number) FROM alarm GROUP BY log, kind"
            " ORDER BY count(*) DESC, max(number) DESC LIMIT 1)"
        )
    database.execute(
        "DELETE FROM audit WHERE (leaf, log) IN"
        " (SELECT leaf, log FROM audit ORDER BY at DESC, leaf, log LIMIT -1 OFFSET ?)",
        (MAXIMUM_OUTCOMES,),
    )


def _alarm(row: tuple[object, ...]) -> Alarm:
    number, *texts, count = row
    if not isinstance(number, int) or not isinstance(count, int):
        raise TypeError(f"an alarm with number {number!r} and count {count!r}")
    leaf, log, kind, detail, first_seen, last_seen = map(_text, texts)
    return Alarm(number, leaf, log, kind, detail, first_seen, last_seen, count)


def _text(value: object) -> str:
    """A text of a row; what is none is damage."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} where a text was expected")
    return value
