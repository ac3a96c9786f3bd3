"""What goes when there is no more room, and in which order. Each function works inside the caller's transaction.

1. The newest record of each upstream stays, and the newest that was allowed.
2. Allowed records go first, the oldest before the newer.
3. A refused record goes only for a newer refused one, never for an allowed one. Who goes is not the oldest: refused
   records are alike if upstream, day and failed rules are the same; the largest such group gives its middle one.

So an attacker who shows a fresh chain every 30 seconds thins out his own group. What was refused for another reason, on
another day or at another upstream stays until every group is down to one, and of each group the first stays the
longest. How many of a group went is kept.
"""

import heapq
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

_MAXIMUM_NOTES = 10_000  # events, and rows of `dropped`: some 200 octets each; an upstream makes a few a year

# Rule 1. SQLite takes the bare column `id` from the row that has the maximum (sqlite.org/lang_select.html#bareagg).
_STAYING = (
    "SELECT id FROM (SELECT id, max(last_seen) FROM record GROUP BY upstream)"
    " UNION ALL SELECT id FROM (SELECT id, max(last_seen) FROM record WHERE allowed = 1 GROUP BY upstream)"
)


def file_octets(database: sqlite3.Connection) -> int:
    """The size of the file."""
    (size,) = database.execute("PRAGMA page_size").fetchone()
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    return int(size * pages)


def used_octets(database: sqlite3.Connection) -> int:
    """The size of what is in use of it; the rest is used again before the file grows."""
    (size,) = database.execute("PRAGMA page_size").fetchone()
    (free,) = database.execute("PRAGMA freelist_count").fetchone()
    return file_octets(database) - int(size * free)


def give_back(database: sqlite3.Connection) -> None:
    """Give what is not in use back to the file system; outside a transaction, as each 4 MiB are one of their own."""
    size = None
    while size != file_octets(database):  # a file that was made without auto_vacuum gives nothing back
        size = file_octets(database)
        # as a script: each step of the statement gives one page back, and `execute` takes one step
        database.executescript("PRAGMA incremental_vacuum(1000)")


def make_room(
    database: sqlite3.Connection, maximum: int, spare: str, *, for_refused: bool, most: int | None = None
) -> list[bool]:
    """Drop records until at most `maximum` octets are in use, or nothing is left that may go; `spare` stays.

    No more than `most` at once. Returns for each dropped record whether it was allowed.
    """
    dropped: list[bool] = []
    staying = {spare, *(identity for (identity,) in database.execute(_STAYING))}
    for victim in islice(_victims(database, staying, for_refused=for_refused), most):
        if used_octets(database) <= maximum:
            break
        drop(database, victim.id)
        if not victim.allowed:
            database.execute(
                "INSERT INTO dropped VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE SET count = count + 1", victim.alike
            )
        dropped.append(victim.allowed)
    return dropped


def drop_before(database: sqlite3.Connection, moment: str, most: int) -> list[bool]:
    """Drop records last seen before `moment`, allowed or not, but those of rule 1, and what is as old beside it.

    No more than `most` at once. Returns for each dropped record whether it was allowed.
    """
    rows = database.execute(
        f"SELECT id, allowed FROM record WHERE last_seen < ? AND id NOT IN ({_STAYING}) LIMIT ?",  # noqa: S608 - a constant
        (moment, most),
    ).fetchall()
    for identity, _ in rows:
        drop(database, identity)
    database.execute("DELETE FROM event WHERE at < ?", (moment,))
    database.execute("DELETE FROM dropped WHERE day < ?", (moment[:10],))
    return [bool(allowed) for _, allowed in rows]


def drop_after(database: sqlite3.Connection, moment: str, most: int) -> list[bool]:
    """Drop records last seen after `moment`, where a clock was ahead. Of these, rule 1 keeps none: they are the newest.

    No more than `most` at once. Returns for each dropped record whether it was allowed.
    """
    rows = database.execute("SELECT id, allowed FROM record WHERE last_seen > ? LIMIT ?", (moment, most)).fetchall()
    for identity, _ in rows:
        drop(database, identity)
    return [bool(allowed) for _, allowed in rows]


def drop(database: sqlite3.Connection, identity: str) -> None:
    """Take one record away, and the certificates and snapshots that no other needs."""
    certificates = database.execute("SELECT DISTINCT certificate FROM link WHERE record = ?", (identity,)).fetchall()
    snapshots = database.execute("SELECT policy, log_list FROM record WHERE id = ?", (identity,)).fetchall()
    database.execute("DELETE FROM link WHERE record = ?", (identity,))
    database.execute("DELETE FROM record WHERE id = ?", (identity,))
    database.executemany(
        "DELETE FROM certificate WHERE sha256 = ?1 AND NOT EXISTS (SELECT 1 FROM link WHERE certificate = ?1)",
        certificates,
    )
    for pair in snapshots:
        drop_unused_snapshots(database, *pair)


def drop_unused_snapshots(database: sqlite3.Connection, *digests: str | None) -> None:
    """Take those of these snapshots away that no record needs."""
    database.executemany(
        "DELETE FROM snapshot WHERE sha256 = ?1 AND NOT EXISTS (SELECT 1 FROM record WHERE policy = ?1)"
        " AND NOT EXISTS (SELECT 1 FROM record WHERE log_list = ?1)",
        [(digest,) for digest in digests if digest is not None],
    )


def bound_notes(database: sqlite3.Connection) -> None:
    """Keep the newest events and the newest counts of what was dropped."""
    database.execute("DELETE FROM event WHERE number <= (SELECT max(number) FROM event) - ?", (_MAXIMUM_NOTES,))
    database.execute(
        "DELETE FROM dropped WHERE day < (SELECT day FROM dropped ORDER BY day DESC LIMIT 1 OFFSET ?)",
        (_MAXIMUM_NOTES,),
    )


@dataclass(frozen=True, slots=True)
class _Victim:
    """A record that may go next."""

    id: str
    allowed: bool
    alike: tuple[str, str, str]  # upstream, day, failed: what groups the refused


def _victims(database: sqlite3.Connection, staying: set[str], *, for_refused: bool) -> Iterator[_Victim]:
    """The records that may go, in the order of rules 2 and 3."""
    for (identity,) in database.execute("SELECT id FROM record WHERE allowed = 1 ORDER BY last_seen, id").fetchall():
        if identity not in staying:
            yield _Victim(identity, allowed=True, alike=("", "", ""))
    if not for_refused:
        return
    groups: dict[tuple[str, str, str], list[str]] = {}  # ids, the first seen first
    rows = database.execute("SELECT upstream, day, failed, id FROM record WHERE allowed = 0 ORDER BY first_seen, id")
    for *alike, identity in rows.fetchall():
        if identity not in staying:
            groups.setdefault(tuple(alike), []).append(identity)
    # the largest group first; among equals that of the oldest day
    heap = [(-len(ids), alike[1], alike) for alike, ids in groups.items()]
    heapq.heapify(heap)
    while heap:
        _, day, alike = heap[0]
        ids = groups[alike]
        yield _Victim(ids.pop(len(ids) // 2), allowed=False, alike=alike)
        if ids:
            heapq.heapreplace(heap, (-len(ids), day, alike))
        else:
            heapq.heappop(heap)
