"""One judgement as rows: what makes it distinct, and the statements that keep it, inside the caller's transaction."""

import hashlib
import json
import sqlite3
from datetime import UTC, datetime

import msgspec

from stubresolver.evidence.retention import drop_unused_snapshots
from stubresolver.exported import encode_verdict
from stubresolver.verify import Presented, Verdict


def identify(upstream: str, presented: Presented, verdict: Verdict) -> str:
    """What makes a judgement distinct: who showed what, and what was found; not when, and not the staple's octets.

    A server has a new staple every few days; what was made of it is among the findings.
    """
    content = {
        "upstream": upstream,
        "address": None if presented.address is None else str(presented.address),
        "name": presented.name,
        "chain": [_sha256(der) for der in presented.chain],
        "tls": None if presented.tls is None else msgspec.to_builtins(presented.tls),
        "outcomes": [(finding.rule.value, finding.outcome.value) for finding in verdict.findings],
        "scts": [(sct.log_id, sct.status.value) for sct in verdict.scts],
        "allowed": verdict.allowed,
        "policy": verdict.policy,
        "log_list": None if verdict.log_list is None else verdict.log_list.digest,
    }
    return _sha256(json.dumps(content, sort_keys=True).encode())


def write(
    database: sqlite3.Connection,
    identity: str,
    upstream: str,
    presented: Presented,
    verdict: Verdict,
    *,
    policy: bytes,
    log_list: bytes | None,
) -> bool:
    """Keep one judgement with the policy and the log list that it was made by; True if its record is new."""
    seen, judged_by = iso(verdict.at), _keep_snapshot(database, policy)
    listed = None if log_list is None else _keep_snapshot(database, log_list)
    before = database.execute("SELECT policy FROM record WHERE id = ?", (identity,)).fetchone()
    if before is not None:
        database.execute(
            "UPDATE record SET verdict = ?, summary = ?, staple = ?, policy = ?, last_seen = ?, count = count + 1"
            " WHERE id = ?",
            (encode_verdict(verdict), verdict.summary, presented.staple, judged_by, seen, identity),
        )
        drop_unused_snapshots(database, before[0])  # that of the same demands with other names or reasons
        return False
    chain = [(_sha256(der), der) for der in presented.chain]
    database.executemany("INSERT OR IGNORE INTO certificate VALUES (?, ?)", chain)
    links = [(identity, position, digest) for position, (digest, _) in enumerate(chain)]
    database.executemany("INSERT INTO link VALUES (?, ?, ?)", links)
    values = {
        "id": identity,
        "upstream": upstream,
        "allowed": verdict.allowed,
        "failed": " ".join(sorted({finding.rule.value for finding in verdict.failures})),
        "mode": verdict.mode.value,
        "first_seen": seen,
        "last_seen": seen,
        "day": seen[:10],
        "count": 1,
        "policy": judged_by,
        "log_list": listed,
        "address": None if presented.address is None else str(presented.address),
        "name": presented.name,
        "tls": None if presented.tls is None else msgspec.json.encode(presented.tls).decode(),
        "summary": verdict.summary,
        "verdict": encode_verdict(verdict),
        "staple": presented.staple,
    }
    database.execute(
        "INSERT INTO record VALUES (:id, :upstream, :allowed, :failed, :mode, :first_seen, :last_seen, :day, :count,"
        " :policy, :log_list, :address, :name, :tls, :summary, :verdict, :staple)",
        values,
    )
    return True


def iso(moment: datetime) -> str:
    """A time as the file has it: UTC, of one width, so that the order of the text is the order of time."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _keep_snapshot(database: sqlite3.Connection, octets: bytes) -> str:
    """Keep a policy or a list by its SHA-256, which is returned."""
    digest = _sha256(octets)
    database.execute("INSERT OR IGNORE INTO snapshot VALUES (?, ?)", (digest, octets))
    return digest


def _sha256(octets: bytes) -> str:
    return hashlib.sha256(octets).hexdigest()
