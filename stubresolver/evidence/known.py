"""What a later judgement may lean on: which leaves have passed, and when an upstream was allowed last.

Each function works inside the caller's transaction. A leaf is known by its exact octets, and only from a judgement that
was allowed, by a policy that demands CT, with a log list that was not stale at that time: what was merely reported on,
or allowed without CT, is as unknown afterwards as before. What it is known for is its age alone; whoever leans on it
judges everything else anew.
"""

import sqlite3
from datetime import datetime

from stubresolver.ct.compliance import Freshness, freshness
from stubresolver.evidence.records import Recalled
from stubresolver.evidence.writing import iso
from stubresolver.verify import Verdict

_MAXIMUM_PASSED = 1000  # leaves, of some 150 octets each; eight upstreams with a new one every week for two years


def note_passed(database: sqlite3.Connection, verdict: Verdict) -> None:
    """Keep the leaf of a verdict as known, if it is one by which a leaf becomes known."""
    if not verdict.allowed or verdict.proof is None or verdict.log_list is None:
        return
    if freshness(datetime.fromisoformat(verdict.log_list.timestamp), verdict.at) is Freshness.STALE:
        return
    leaf, at = verdict.path[0], iso(verdict.at)  # an allowed verdict has a path
    # the first time; an earlier one takes its place, because a clock that was ahead comes back
    database.execute(
        "INSERT INTO passed VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET at = min(at, excluded.at)",
        (leaf.sha256, at, iso(datetime.fromisoformat(leaf.not_after))),
    )
    database.execute("DELETE FROM passed WHERE not_after < ?", (at,))
    database.execute(
        "DELETE FROM passed WHERE leaf IN (SELECT leaf FROM passed ORDER BY at DESC, leaf LIMIT -1 OFFSET ?)",
        (_MAXIMUM_PASSED,),
    )


def recall(database: sqlite3.Connection, leaf_sha256: str) -> Recalled:
    """What is known of a leaf, and of the time; raises ValueError where the file has a time that is none."""
    passed = database.execute("SELECT at FROM passed WHERE leaf = ?", (leaf_sha256,)).fetchone()
    # Allowed ones only. A clock that runs far ahead judges every certificate expired, so what it leaves behind lies
    # within the life of one; a refused judgement of any time can be had by whoever answers in the upstream's place.
    newest = database.execute("SELECT max(last_seen) FROM record WHERE allowed = 1").fetchone()
    return Recalled(_moment(passed[0]) if passed else None, _moment(newest[0]) if newest[0] else None)


def forget_after(database: sqlite3.Connection, moment: str) -> None:
    """Take the leaves away that passed after `moment`."""
    database.execute("DELETE FROM passed WHERE at > ?", (moment,))


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.utcoffset() is None:
        raise ValueError(f"the time {text!r} names no time zone")
    return moment
