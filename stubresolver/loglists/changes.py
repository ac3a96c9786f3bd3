"""What differs between two lists, log by log, in words. PURE: two lists in, changes out.

A change says what a list says, not what follows from it: `ct.compliance` alone decides what counts.
"""

import enum
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType

from stubresolver.ct import Log, LogList

LIST = b""  # in the place of a log id: the list as a whole


class ChangeKind(enum.StrEnum):
    """What of a list or a log is not as it was."""

    ADDED = "added"
    REMOVED = "removed"
    STATE = "state"
    OPERATOR = "operator"
    PREVIOUS_OPERATORS = "previous operators"
    KIND = "kind"
    INTERVAL = "interval"
    URL = "url"
    MMD = "mmd"
    DESCRIPTION = "description"
    TIMESTAMP = "timestamp"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference; `before` is empty for what is new, `after` for what is gone."""

    kind: ChangeKind
    log: str  # its description, "" where the list as a whole is meant
    operator: str
    before: str
    after: str
    why: str = ""  # of a merge: which sources brought it

    def __str__(self) -> str:
        what = f"{self.log} ({self.operator})" if self.log else "the list"
        match self.kind:
            case ChangeKind.ADDED:
                text = f"added {what}: {self.after}"
            case ChangeKind.REMOVED:
                text = f"removed {what}: was {self.before}"
            case _:
                text = f"{what}: {self.kind} {self.before or 'none'} -> {self.after or 'none'}"
        return f"{text}; {self.why}" if self.why else text


def diff(
    old: LogList, new: LogList, reasons: Mapping[bytes, Mapping[ChangeKind, str]] = MappingProxyType({})
) -> tuple[Change, ...]:
    """Every difference, the list's date first, then by operator and log; `reasons` by log, or `LIST`, and kind."""
    changes = []
    if old.timestamp != new.timestamp:
        why = reasons.get(LIST, {}).get(ChangeKind.TIMESTAMP, "")
        changes.append(Change(ChangeKind.TIMESTAMP, "", "", _moment(old.timestamp), _moment(new.timestamp), why))
    for log_id in sorted(old.logs.keys() | new.logs.keys(), key=lambda log_id: _place(log_id, old, new)):
        why_of = reasons.get(log_id, {})
        found = _of_log(old.logs.get(log_id), new.logs.get(log_id))
        changes += [replace(change, why=why_of.get(change.kind, "")) for change in found]
    return tuple(changes)


def named(log: Log) -> str:
    """What people call a log."""
    return log.description or log.log_id.hex()


def state_text(log: Log) -> str:
    """A log's state and since when: "retired 2026-02-28T00:00:00Z"."""
    return f"{log.state} {_moment(log.state_since)}" if log.state_since else str(log.state)


def _of_log(before: Log | None, after: Log | None) -> Iterator[Change]:
    """The differences of one log; None where it is not listed."""
    if before is None and after is not None:
        yield Change(ChangeKind.ADDED, named(after), after.operator, "", _summary(after))
    elif before is not None and after is None:
        yield Change(ChangeKind.REMOVED, named(before), before.operator, _summary(before), "")
    elif before is not None and after is not None:
        for kind, text in _SHOWN.items():
            if text(before) != text(after):
                yield Change(kind, named(after), after.operator, text(before), text(after))


def _moment(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _interval(log: Log) -> str:
    return f"{_moment(log.interval.start)} to {_moment(log.interval.end)}" if log.interval else ""


def _previous(log: Log) -> str:
    return ", ".join(f"{name} until {_moment(until)}" for name, until in log.previous_operators)


def _urls(log: Log) -> str:
    return ", ".join(filter(None, (log.url, log.submission_url)))


def _summary(log: Log) -> str:
    return ", ".join(filter(None, (str(log.kind), state_text(log), _interval(log))))


def _place(log_id: bytes, old: LogList, new: LogList) -> tuple[str, str, bytes]:
    log = new.logs.get(log_id) or old.logs[log_id]
    return log.operator.casefold(), log.description, log_id


_SHOWN: dict[ChangeKind, Callable[[Log], str]] = {
    ChangeKind.STATE: state_text,
    ChangeKind.OPERATOR: lambda log: log.operator,
    ChangeKind.PREVIOUS_OPERATORS: _previous,
    ChangeKind.KIND: lambda log: str(log.kind),
    ChangeKind.INTERVAL: _interval,
    ChangeKind.URL: _urls,
    ChangeKind.MMD: lambda log: f"{log.mmd.total_seconds():.0f} s" if log.mmd is not None else "",
    ChangeKind.DESCRIPTION: lambda log: log.description,
}
