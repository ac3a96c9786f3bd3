"""The tables of the evidence file, and what makes a transaction of it durable."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache

from stubresolver.errors import EvidenceDamaged, EvidenceError

VERSION = 4  # PRAGMA user_version; 2 and 3 are brought up to it, 1 was never released
_SCHEMA = """
CREATE TABLE certificate (
    sha256 TEXT PRIMARY KEY,          -- hex
    der    BLOB NOT NULL
);
CREATE TABLE snapshot (               -- what was judged by: policies and log lists, whole
    sha256 TEXT PRIMARY KEY,          -- hex
    octets BLOB NOT NULL
);
CREATE TABLE record (
    id         TEXT PRIMARY KEY,      -- SHA-256 over what makes it distinct, hex
    upstream   TEXT NOT NULL,         -- as configured: tls://1.1.1.1#one.one.one.one
    allowed    INTEGER NOT NULL,
    failed     TEXT NOT NULL,         -- the rules that failed, sorted: "ct.operators ct.scts"
    mode       TEXT NOT NULL,         -- of the policy
    first_seen TEXT NOT NULL,         -- ISO 8601 UTC
    last_seen  TEXT NOT NULL,
    day        TEXT NOT NULL,         -- of first_seen
    count      INTEGER NOT NULL,
    policy     TEXT NOT NULL,         -- snapshot.sha256
    log_list   TEXT,                  -- snapshot.sha256, and so the list's digest
    address    TEXT,
    name       TEXT,
    tls        TEXT,                  -- JSON of TlsFacts
    summary    TEXT NOT NULL,
    verdict    BLOB NOT NULL,         -- JSON, as at last_seen
    staple     BLOB                   -- OCSP response in DER, as at last_seen
);
CREATE INDEX record_by_time ON record (last_seen);
CREATE INDEX record_by_age ON record (allowed, last_seen, id);
CREATE INDEX record_by_upstream ON record (upstream, allowed, last_seen, id);
CREATE INDEX record_alike ON record (allowed, first_seen, id, upstream, day, failed);
CREATE INDEX record_by_policy ON record (policy);
CREATE INDEX record_by_log_list ON record (log_list);
CREATE TABLE link (                   -- the chain of a record
    record      TEXT NOT NULL,
    position    INTEGER NOT NULL,     -- 0 is the leaf, as presented
    certificate TEXT NOT NULL,
    PRIMARY KEY (record, position)
) WITHOUT ROWID;
CREATE INDEX link_by_certificate ON link (certificate);
CREATE TABLE seen (                   -- what each upstream was when it was last allowed
    upstream TEXT NOT NULL,
    kind     TEXT NOT NULL,           -- EventKind
    identity TEXT NOT NULL,           -- a key's hash or the operators: what is compared
    shown    TEXT NOT NULL,           -- the same for people
    PRIMARY KEY (upstream, kind)
) WITHOUT ROWID;
CREATE TABLE event (
    number   INTEGER PRIMARY KEY,
    upstream TEXT NOT NULL,
    kind     TEXT NOT NULL,
    before   TEXT NOT NULL,
    after    TEXT NOT NULL,
    at       TEXT NOT NULL
);
CREATE TABLE dropped (                -- refused records that gave way to others of their kind
    upstream TEXT NOT NULL,
    day      TEXT NOT NULL,
    failed   TEXT NOT NULL,
    count    INTEGER NOT NULL,
    PRIMARY KEY (upstream, day, failed)
) WITHOUT ROWID;
"""
_SINCE_3 = """
CREATE TABLE passed (                 -- leaves that were allowed by a policy with CT while the log list was fresh
    leaf      TEXT PRIMARY KEY,       -- certificate's SHA-256, hex
    at        TEXT NOT NULL,          -- when first
    not_after TEXT NOT NULL           -- the row may go after that
) WITHOUT ROWID;
CREATE TABLE tree_head (              -- of each CT log the last tree head whose proofs held
    log       TEXT PRIMARY KEY,       -- log id, hex
    size      INTEGER NOT NULL,
    timestamp INTEGER NOT NULL,       -- milliseconds since 1970, as the log signed it
    root      TEXT NOT NULL,          -- hex
    octets    BLOB NOT NULL,          -- the STH or checkpoint as received: it is signed
    at        TEXT NOT NULL           -- when it was seen
) WITHOUT ROWID;
CREATE TABLE audit (                  -- the last outcome for each leaf and log
    leaf    TEXT NOT NULL,            -- certificate's SHA-256, hex
    log     TEXT NOT NULL,            -- log id, hex
    outcome TEXT NOT NULL,            -- "proved", "note", "alarm"
    kind    TEXT NOT NULL,            -- what of it, one word
    detail  TEXT NOT NULL,            -- for people
    at      TEXT NOT NULL,
    PRIMARY KEY (leaf, log)
) WITHOUT ROWID;
CREATE TABLE alarm (                  -- proofs that failed, with what was received
    number INTEGER PRIMARY KEY,
    leaf   TEXT NOT NULL,
    log    TEXT NOT NULL,
    kind   TEXT NOT NULL,
    detail TEXT NOT NULL,
    first_seen TEXT NOT NULL,
    last_seen  TEXT NOT NULL,
    count  INTEGER NOT NULL,
    octets BLOB NOT NULL,             -- JSON: what was received, whole enough to show it to somebody else
    UNIQUE (leaf, log, kind)
);
"""
_SINCE_4 = """
ALTER TABLE audit ADD COLUMN since TEXT NOT NULL DEFAULT '';  -- from when on every audit found the same
UPDATE audit SET since = at;
"""
_STEPS = {2: _SCHEMA, 3: _SINCE_3, VERSION: _SINCE_4}  # what brings a file of the version before up to each


def prepare(database: sqlite3.Connection) -> None:
    """Set durability and create the tables once; raises `EvidenceError` for a file that is not ours, or not whole.

    A file that is as it should be is only read: one that cannot be written can still be looked into.
    """
    # EXTRA with a rollback journal: a transaction is on the disk when COMMIT returns, its journal's removal, too; with
    # FULL a loss of power could still bring back a journal and undo it (sqlite.org/pragma.html#pragma_synchronous)
    database.execute("PRAGMA synchronous = EXTRA")
    if _version(database) != VERSION:
        if database.execute("PRAGMA page_count").fetchone() == (0,):
            # before the first table, or never: pages that pruning frees can then be given back to the file system
            database.execute("PRAGMA auto_vacuum = INCREMENTAL")
        with transaction(database):
            _bring_up(database)
    there = _tables(database)
    for table, columns in _expected().items():
        if missing := columns - there.get(table, frozenset()):
            raise EvidenceDamaged(f"its table {table} lacks {', '.join(sorted(missing))}")


def _bring_up(database: sqlite3.Connection) -> None:
    """Make the tables that the file lacks, inside a transaction: another process may have been faster."""
    version = _version(database)
    if version > VERSION:
        raise EvidenceError(f"written by a later version ({version}, this one knows {VERSION})")
    if version and version != VERSION and version not in _STEPS:
        raise EvidenceError(f"written by an unreleased version ({version}); move the file away")
    if version == 0 and database.execute("SELECT name FROM sqlite_master").fetchone():
        raise EvidenceError("a database of another program")
    for step in (step for step in _STEPS if step > version):
        for statement in _STEPS[step].split(";"):
            database.execute(statement)
        database.execute(f"PRAGMA user_version = {step}")


def try_to_write(database: sqlite3.Connection) -> None:
    """Write what is there already: whether the file takes anything is known only by that."""
    with transaction(database):
        database.execute(f"PRAGMA user_version = {VERSION}")


def _version(database: sqlite3.Connection) -> int:
    (version,) = database.execute("PRAGMA user_version").fetchone()
    return int(version)


@cache
def _expected() -> dict[str, frozenset[str]]:
    """The tables of a whole file with their columns."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        _bring_up(database)
        return _tables(database)


def _tables(database: sqlite3.Connection) -> dict[str, frozenset[str]]:
    rows = database.execute(
        "SELECT tables.name, columns.name FROM sqlite_master AS tables JOIN pragma_table_info(tables.name) AS columns"
        " WHERE tables.type = 'table'"
    ).fetchall()
    return {table: frozenset(column for name, column in rows if name == table) for table, _ in rows}


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """All of the statements inside, or none; whatever goes wrong is passed on."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        # sqlite.org/lang_transaction.html: some errors (a full disk) have rolled back already
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise
