"""What changed of an upstream since it was last allowed. Each function works inside the caller's transaction.

Only allowed judgements are compared: what is refused is told by its own record, and nobody can make events without
being allowed. Keys are compared, not certificates: a CA renews its certificate and stays who it is.
"""

import sqlite3
from collections.abc import Iterator

from stubresolver.ct import SctStatus
from stubresolver.evidence.records import Event, EventKind
from stubresolver.verify import PathCertificate, Verdict


def note_changes(database: sqlite3.Connection, upstream: str, verdict: Verdict, at: str) -> tuple[Event, ...]:
    """Compare an allowed verdict with the one before, keep what changed, and return it."""
    if not verdict.allowed:
        return ()
    known = {
        kind: (identity, shown)
        for kind, identity, shown in database.execute(
            "SELECT kind, identity, shown FROM seen WHERE upstream = ?", (upstream,)
        )
    }
    events = []
    for kind, identity, shown in _facts(verdict):
        before = known.get(kind)
        if before is not None and before[0] == identity:
            continue
        database.execute("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?)", (upstream, kind, identity, shown))
        if before is not None:
            event = Event(upstream, kind, before[1], shown, at)
            database.execute(
                "INSERT INTO event (upstream, kind, before, after, at) VALUES (?, ?, ?, ?, ?)",
                (upstream, kind, event.before, event.after, at),
            )
            events.append(event)
    return tuple(events)


def _facts(verdict: Verdict) -> Iterator[tuple[EventKind, str, str]]:
    """(kind, what is compared, the same for people) of an allowed verdict, whose path is never empty."""
    path = verdict.path
    yield EventKind.LEAF_KEY, path[0].spki_sha256, _shown(path[0])
    # a path of one is a leaf that is an anchor itself
    issuer = path[min(1, len(path) - 1)]
    yield EventKind.ISSUER, issuer.spki_sha256, _shown(issuer)
    yield EventKind.ROOT, path[-1].spki_sha256, _shown(path[-1])
    operators = sorted({sct.operator for sct in verdict.scts if sct.status is SctStatus.VALID})
    if operators:  # none where the policy demands no CT: then nobody looked
        yield EventKind.OPERATORS, "\n".join(operators), ", ".join(operators)


def _shown(certificate: PathCertificate) -> str:
    return f"{certificate.subject} (key {certificate.spki_sha256[:16]})"
