"""Every distinct chain and verdict, kept in SQLite before the decision takes effect.

Content-addressed: certificates by their SHA-256, a record by everything that was judged and found except the time. The
same chain with the same outcome again only moves `last_seen` and `count`. Each record is one transaction with
`synchronous=FULL`, so a crash loses at most the record being written. No query and no name that a client asked for ever
comes here.
"""

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from stubresolver.errors import EvidenceError
from stubresolver.verify import Presented, Verdict

_VERSION = 1  # PRAGMA user_version; a file of a later version is not touched
_SCHEMA = """
CREATE TABLE certificate (
    sha256 TEXT PRIMARY KEY,          -- hex
    der    BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE record (
    id         TEXT PRIMARY KEY,      -- SHA-256 over what follows but times and count, hex
    upstream   TEXT NOT NULL,         -- as configured: tls://1.1.1.1#one.one.one.one
    address    TEXT NOT NULL,
    name       TEXT,
    chain      TEXT NOT NULL,         -- JSON: certificate.sha256, leaf first, as presented
    tls        TEXT,                  -- JSON: version, cipher, group, alpn, openssl_error
    allowed    INTEGER NOT NULL,
    summary    TEXT NOT NULL,
    verdict    TEXT NOT NULL,         -- JSON, as at `last_seen`
    policy     TEXT NOT NULL,         -- digest
    log_list   TEXT,                  -- digest
    first_seen TEXT NOT NULL,         -- ISO 8601 UTC
    last_seen  TEXT NOT NULL,
    count      INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX record_by_time ON record (last_seen);
"""


@dataclass(frozen=True, slots=True)
class Record:
    """One kept judgement, without its certificates."""

    id: str
    upstream: str
    allowed: bool
    summary: str
    first_seen: str
    last_seen: str
    count: int


class EvidenceStore:
    """A file of judgements. Safe to use from several threads and several processes."""

    def __init__(self, path: Path) -> None:
        """Open or create the file, readable by its owner only; raises `EvidenceError`."""
        self._path = path
        self._lock = threading.Lock()  # one connection, used by one thread at a time
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600, exist_ok=True)
            # autocommit: each transaction below is begun and ended by name
            self._database = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise EvidenceError(f"{path}: cannot keep evidence here: {error}") from None
        try:
            self._prepare()
        except (sqlite3.Error, EvidenceError) as error:
            self._database.close()
            raise EvidenceError(f"{path}: cannot keep evidence here: {error}") from None

    def _prepare(self) -> None:
        """Set durability and create the tables once."""
        # FULL with a rollback journal: a transaction is on the disk when COMMIT returns (sqlite.org/pragma.html)
        self._database.execute("PRAGMA synchronous = FULL")
        with self._transaction():
            (version,) = self._database.execute("PRAGMA user_version").fetchone()
            if version > _VERSION:
                raise EvidenceError(f"written by a later version ({version}, this one knows {_VERSION})")
            if version == 0:
                if self._database.execute("SELECT name FROM sqlite_master").fetchone():
                    raise EvidenceError("a database of another program")
                for statement in _SCHEMA.split(";"):
                    self._database.execute(statement)
                self._database.execute(f"PRAGMA user_version = {_VERSION}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of the statements inside, or none; whatever goes wrong is passed on."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            # sqlite.org/lang_transaction.html: some errors (a full disk) have rolled back already
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    def record(self, upstream: str, presented: Presented, verdict: Verdict) -> str:
        """Keep one judgement and return its id; it is on the disk when this returns. Raises `EvidenceError`.

        Where nothing can be written but the same judgement is kept already, only its count and time are lost: a full
        disk does not take a known upstream away.
        """
        chain = [hashlib.sha256(der).hexdigest() for der in presented.chain]
        content = _content(upstream, presented, chain, verdict)
        identity = hashlib.sha256(_json(content).encode()).hexdigest()
        seen = _iso(verdict.at)
        with self._lock:
            try:
                with self._transaction():
                    self._write(identity, content, zip(chain, presented.chain, strict=True), verdict, seen)
            except sqlite3.Error as error:
                if not self._is_kept(identity):
                    raise EvidenceError(f"{self._path}: evidence could not be written: {error}") from None
        return identity

    def _is_kept(self, identity: str) -> bool:
        """True if a record of this id can be read."""
        try:
            return self._database.execute("SELECT 1 FROM record WHERE id = ?", (identity,)).fetchone() is not None
        except sqlite3.Error:
            return False

    def _write(self, identity: str, content: dict[str, Any], chain: Any, verdict: Verdict, seen: str) -> None:
        """The statements of one record, inside its transaction."""
        self._database.executemany("INSERT OR IGNORE INTO certificate VALUES (?, ?)", chain)
        self._database.execute(
            "INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)"
            " ON CONFLICT (id) DO UPDATE SET verdict = excluded.verdict, last_seen = excluded.last_seen,"
            " count = count + 1",
            (
                identity,
                content["upstream"],
                content["address"],
                content["name"],
                _json(content["chain"]),
                None if content["tls"] is None else _json(content["tls"]),
                verdict.allowed,
                verdict.summary,
                _json(verdict.to_jsonable()),
                verdict.policy,
                verdict.log_list.digest if verdict.log_list else None,
                seen,
                seen,
            ),
        )

    def records(self, limit: int = 100) -> Sequence[Record]:
        """The newest records first; raises `EvidenceError`."""
        with self._lock:
            try:
                rows = self._database.execute(
                    "SELECT id, upstream, allowed, summary, first_seen, last_seen, count FROM record"
                    " ORDER BY last_seen DESC, id LIMIT ?",
                    (limit,),
                ).fetchall()
            except sqlite3.Error as error:
                raise EvidenceError(f"{self._path}: cannot be read: {error}") from None
        return [Record(row[0], row[1], bool(row[2]), *row[3:]) for row in rows]

    def chain(self, identity: str) -> tuple[bytes, ...]:
        """The certificates of one record in DER, leaf first, as they were presented; raises `EvidenceError`."""
        with self._lock:
            try:
                row = self._database.execute("SELECT chain FROM record WHERE id = ?", (identity,)).fetchone()
                found = [
                    self._database.execute("SELECT der FROM certificate WHERE sha256 = ?", (digest,)).fetchone()
                    for digest in (json.loads(row[0]) if row else [])
                ]
            except (sqlite3.Error, ValueError, TypeError) as error:  # a damaged file
                raise EvidenceError(f"{self._path}: cannot be read: {error}") from None
        if row is None:
            raise EvidenceError(f"{self._path}: no record {identity}")
        if None in found:
            raise EvidenceError(f"{self._path}: record {identity} lacks a certificate of its chain")
        return tuple(der for (der,) in found)

    def close(self) -> None:
        """Close the file; records already kept stay."""
        with self._lock:
            self._database.close()


def _content(upstream: str, presented: Presented, chain: list[str], verdict: Verdict) -> dict[str, Any]:
    """What makes a judgement distinct: who showed what, and what was found; not when."""
    tls = presented.tls
    return {
        "upstream": upstream,
        "address": str(presented.address or ""),
        "name": presented.name,
        "chain": chain,
        "tls": None
        if tls is None
        else {
            "version": tls.version,
            "cipher": tls.cipher,
            "group": tls.group,
            "alpn": tls.alpn,
            "openssl_error": tls.openssl_error,
        },
        "outcomes": [(finding.rule.value, finding.outcome.value) for finding in verdict.findings],
        "scts": [(sct.log_id, sct.status.value) for sct in verdict.scts],
        "allowed": verdict.allowed,
        "policy": verdict.policy,
        "log_list": verdict.log_list.digest if verdict.log_list else None,
    }


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
