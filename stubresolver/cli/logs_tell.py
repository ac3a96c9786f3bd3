"""Log lists and what changes in them, for people and for machines. Every text of a list goes through `clean`."""

import base64
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.console import Console

from stubresolver.cli.shown import clean, make_table
from stubresolver.ct import DENIED_LOGS, Log
from stubresolver.ct.compliance import Freshness, freshness
from stubresolver.loglists import Change, ChangeKind, ReadList

_AGE_STYLES = {Freshness.FRESH: "green", Freshness.AGEING: "yellow", Freshness.STALE: "bold red"}
_WIDE = 76  # columns: the four of a log, and 16 for its name
_CHANGE_STYLES = {ChangeKind.ADDED: "green", ChangeKind.REMOVED: "red"}


def list_facts(found: ReadList, now: datetime) -> dict[str, object]:
    """What a list is, as JSON values."""
    return {
        "format": found.format.value,
        "version": found.version,
        "timestamp": _moment(found.timestamp),
        "age_days": None if found.timestamp is None else (now - found.timestamp).days,
        "freshness": None if found.timestamp is None else freshness(found.timestamp, now).value,
        "listed": len(found.logs),
        "counting": len(_counting(found.logs.values(), now)),
        "denied": [log.description for log in _denied(found)],
    }


def logs_facts(found: ReadList, now: datetime) -> list[dict[str, object]]:
    """Each log, as JSON values."""
    return [
        {
            "operator": log.operator,
            "log": log.description,
            "log_id": base64.b64encode(log.log_id).decode(),
            "kind": log.kind.value,
            "state": log.state.value,
            "since": _moment(log.state_since),
            "start": _moment(log.interval.start if log.interval else None),
            "end": _moment(log.interval.end if log.interval else None),
            "counts": log.is_current(now) and log.log_id not in DENIED_LOGS,
            "url": log.url or None,
        }
        for log in _ordered(found)
    ]


def show_facts(console: Console, source: str, found: ReadList, now: datetime) -> None:
    """What a list is, in a few lines."""
    console.print(clean(source, "bold"), soft_wrap=True)
    console.print(clean(f"  {found.format} list, version {found.version or 'unnamed'}"), soft_wrap=True)
    if found.timestamp is None:
        console.print(clean("  undated: it vouches for no freshness", "yellow"), soft_wrap=True)
    else:
        days, age = (now - found.timestamp).days, freshness(found.timestamp, now)
        told = f"{days} days old" if days >= 0 else f"dated {-days} days from now"
        console.print(clean(f"  of {found.timestamp:%Y-%m-%d %H:%M}Z, {told}: {age}", _AGE_STYLES[age]), soft_wrap=True)
    counting = _counting(found.logs.values(), now)
    operators = len({log.operator for log in counting})
    console.print(
        clean(f"  {len(counting)} of {len(found.logs)} logs count now, of {operators} operators"), soft_wrap=True
    )
    for log in _denied(found):
        why = DENIED_LOGS[log.log_id]
        console.print(clean(f"  never counts, here {log.state}: {log.description} ({why})", "yellow"), soft_wrap=True)


def show_logs(console: Console, found: ReadList, now: datetime) -> None:
    """Every log, by operator."""
    numbers = Counter(log.operator for log in _counting(found.logs.values(), now))
    table = make_table("", "Operator, log", "State", "Kind", "For certificates ending", "Since")
    for column in table.columns[1:]:
        column.no_wrap = console.width >= _WIDE  # in a narrower one the names would have no room, and be left out
    before = None
    for log in _ordered(found):
        if log.operator != before:
            table.add_row(clean(f"{log.operator} ({numbers[log.operator]})", "bold"))
        interval = f"{log.interval.start:%Y-%m-%d}..{log.interval.end:%Y-%m-%d}" if log.interval else "at any time"
        counts = log.is_current(now) and log.log_id not in DENIED_LOGS
        since = f"{log.state_since:%Y-%m-%d}" if log.state_since else ""
        name = f"  {log.description or log.log_id.hex()[:16]}"
        texts = (name, log.state.value, log.kind.value, interval, since)
        table.add_row(*(clean(text, "" if counts else "dim") for text in texts))
        before = log.operator
    console.print(table)


def show_changes(console: Console, changes: Sequence[Change]) -> None:
    """What differs, one line each."""
    for change in changes:
        console.print(clean(f"  {change}", _CHANGE_STYLES.get(change.kind, "")), soft_wrap=True)
    if not changes:
        console.print("  nothing differs")


def _ordered(found: ReadList) -> list[Log]:
    return sorted(found.logs.values(), key=lambda log: (log.operator.casefold(), log.description, log.log_id))


def _counting(logs: Iterable[Log], now: datetime) -> list[Log]:
    return [log for log in logs if log.is_current(now) and log.log_id not in DENIED_LOGS]


def _denied(found: ReadList) -> list[Log]:
    return [log for log in _ordered(found) if log.log_id in DENIED_LOGS]


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")
