"""Write logs as a list in the v3 schema. PURE and deterministic: the same logs are the same octets.

What is written reads back by `ct.LogList.parse` as what was given, URLs and merge delays included.
"""

import base64
import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from stubresolver.ct import Log, LogKind

_ALWAYS = "1970-01-01T00:00:00Z"  # the schema wants a time of each state; one that is not known has always been


def write_list(version: str, timestamp: datetime, logs: Iterable[Log]) -> bytes:
    """The list as octets: operators by name, their logs by description, times as text, a newline at the end."""
    operators: dict[str, dict[str, Any]] = {}
    for log in sorted(logs, key=lambda log: (log.operator.casefold(), log.operator, log.description, log.log_id)):
        operator = operators.setdefault(log.operator, {"name": log.operator, "logs": [], "tiled_logs": []})
        operator["tiled_logs" if log.kind is LogKind.STATIC_CT else "logs"].append(_entry(log))
    document = {
        "version": version,
        "log_list_timestamp": _time(timestamp),
        "operators": list(operators.values()),
    }
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def _entry(log: Log) -> dict[str, Any]:
    der = log.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    entry: dict[str, Any] = {
        "description": log.description,
        "log_id": base64.b64encode(log.log_id).decode(),
        "key": base64.b64encode(der).decode(),
    }
    if log.kind is LogKind.STATIC_CT:
        entry |= {"submission_url": log.submission_url, "monitoring_url": log.url}
    else:
        entry["url"] = log.url
    if log.mmd is not None:
        entry["mmd"] = int(log.mmd.total_seconds())
    entry["state"] = {log.state.value: {"timestamp": _ALWAYS if log.state_since is None else _time(log.state_since)}}
    if log.interval is not None:
        start, end = _time(log.interval.start), _time(log.interval.end)
        entry["temporal_interval"] = {"start_inclusive": start, "end_exclusive": end}
    if log.previous_operators:
        entry["previous_operators"] = [{"name": name, "end_time": _time(end)} for name, end in log.previous_operators]
    return entry


def _time(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
