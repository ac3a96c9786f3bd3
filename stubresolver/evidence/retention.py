"""What goes when there is no more room, and in which order. Each function works inside the caller's transaction.

1. The newest record of each upstream stays, and the newest that was allowed.
2. Allowed records go first, the oldest before the newer.
3. A refused record goes only for a newer refused one, never for an allowed one. Who goes is not the oldest: refused
   records are alike if upstream, day and failed rules are the same; the largest such group gives its middle one.

So an attacker who shows a fresh chain every 30 seconds thins out his own group. What was refused for another reason, on
another day or at another upstream stays until every group is down to one, and of each group the first stays the
longest. How many of a group went is kept.
"""

import sqlite3

_MAXIMUM_NOTES = 10_000  # events, and rows of `dropped`: some 200 octets each; an upstream makes a few a year

# Rule 1. SQLite takes the bare column `id` from the row that has the maximum (sqlite.org/lang_select.html#bareagg).
_STAYING = (
    "SELECT id FROM (SELECT id, max(last_seen) FROM record GROUP BY upstream)"
    " UNION ALL SELECT id FROM (SELECT id, max(last_seen) FROM record WHERE allowed = 1 GROUP BY upstream)"
)


def used_octets(database: sqlite3.Connection) -> int:
    """The pages in use, in octets; free ones are used again before the file grows."""
    (size,) = database.execute("PRAGMA page_size").fetchone()
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    (free,) = database.execute("PRAGMA freelist_count").fetchone()
    return int(size * (pages - free))


def make_room(database: sqlite3.Connection, maximum: int, spare: str, *, for_refused: bool) -> list[bool]:
    """Drop records until at most `maximum` octets are in use, or nothing is left that may go; `spare` stays.

    Returns for each dropped record whether it was allowed.
    """
    dropped = []
    while used_octets(database) > maximum:
        victim = _oldest_allowed(database, spare)
        allowed = victim is not None
        if victim is None and for_refused:
            victim = _one_of_many_refused(database, spare)
        if victim is None:
            break
        drop(database, victim)
        dropped.append(allowed)
    return dropped


def drop_before(database: sqlite3.Connection, moment: str) -> list[bool]:
    """Drop every record last seen before `moment`, allowed or not, but those of rule 1, and what is as old beside it.

    Returns for each dropped record whether it was allowed.
    """
    rows = database.execute(
        f"SELECT id, allowed FROM record WHERE last_seen < ? AND id NOT IN ({_STAYING})",  # noqa: S608 - a constant
        (moment,),
    ).fetchall()
    for identity, _ in rows:
        drop(database, identity)
    database.execute("DELETE FROM event WHERE at < ?", (moment,))
    database.execute("DELETE FROM dropped WHERE day < ?", (moment[:10],))
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


def _oldest_allowed(database: sqlite3.Connection, spare: str) -> str | None:
    """Rule 2."""
    row = database.execute(
        f"SELECT id FROM record WHERE allowed = 1 AND id != ? AND id NOT IN ({_STAYING})"  # noqa: S608 - a constant
        " ORDER BY last_seen, id LIMIT 1",
        (spare,),
    ).fetchone()
    return row[0] if row else None


def _one_of_many_refused(database: sqlite3.Connection, spare: str) -> str | None:
    """Rule 3; counts it as dropped."""
    group = database.execute(
        "SELECT upstream, day, failed, count(*) AS size FROM record"  # noqa: S608 - a constant
        f" WHERE allowed = 0 AND id != ? AND id NOT IN ({_STAYING})"
        " GROUP BY upstream, day, failed ORDER BY size DESC, day, upstream, failed LIMIT 1",
        (spare,),
    ).fetchone()
    if group is None:
        return None
    *alike, size = group
    (victim,) = database.execute(
        "SELECT id FROM record WHERE allowed = 0 AND upstream = ? AND day = ? AND failed = ?"  # noqa: S608 - a constant
        f" AND id != ? AND id NOT IN ({_STAYING}) ORDER BY first_seen, id LIMIT 1 OFFSET ?",
        (*alike, spare, size // 2),
    ).fetchone()
    database.execute("INSERT INTO dropped VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE SET count = count + 1", alike)
    return str(victim)
