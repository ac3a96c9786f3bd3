"""The pinned list of CT logs (log list v3 schema), as values. PURE: octets in, a `LogList` or `LogListError` out.

A list is trusted input only as far as it can be checked: each id must be the hash of its key, each key of a kind that
RFC 6962 s2.1.4 allows, each id there once, and no log of the deny set may be offered as one that counts. A list that
fails any of these does not load at all: a list that is half right is a list that somebody changed.
"""

import base64
import binascii
import enum
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from stubresolver.ct.sct import LogKey
from stubresolver.errors import LogListError

# Logs that never count, whatever a list says. The two mimics have published private keys (Chromium's CT repository,
# 3p_libraries.md): with them anyone can sign SCTs. The other two are placeholders without a log behind them.
DENIED_LOGS: Mapping[bytes, str] = {
    base64.b64decode("9EGV1vAOLbVUNcrdV3iS5T4VrUFwWPh44U/2uRh0FYk="): "mimic log 1: its private key is published",
    base64.b64decode("si9+3rWvav5QPeBAgbLXTBJThJL+3yyypSZQPO9TztI="): "mimic log 2: its private key is published",
    base64.b64decode("LtakTeuPDIZGZ3acTt0EH4QjZ1X6OqymNNCTXfzVmnA="): "placeholder log, not real",
    base64.b64decode("0vxlL6X5tzi4N1X6XrFfC0UlP06Po7m2T9TeVmLRhwg="): "placeholder log, not real",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class LogState(enum.StrEnum):
    """A log's place in its life (log list v3), in order."""

    PENDING = "pending"
    QUALIFIED = "qualified"
    USABLE = "usable"
    READONLY = "readonly"
    RETIRED = "retired"
    REJECTED = "rejected"


CURRENT_STATES = frozenset({LogState.QUALIFIED, LogState.USABLE, LogState.READONLY})  # Chrome's ct_policy.md


class LogKind(enum.StrEnum):
    """Which API the log speaks; its SCTs are alike."""

    RFC6962 = "rfc6962"
    STATIC_CT = "static-ct"  # c2sp.org/static-ct-api; "tiled" in the list's schema


@dataclass(frozen=True, slots=True)
class TemporalInterval:
    """The log takes certificates whose notAfter lies in [start, end)."""

    start: datetime  # inclusive
    end: datetime  # exclusive

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end


@dataclass(frozen=True, slots=True)
class Log:
    """One log of the list."""

    log_id: bytes  # SHA-256 of `key` in DER, RFC 6962 s3.2
    key: LogKey = field(compare=False)  # the id stands for it
    description: str
    operator: str  # who runs it now
    kind: LogKind
    state: LogState
    state_since: datetime | None
    interval: TemporalInterval | None  # None: not limited
    previous_operators: tuple[tuple[str, datetime], ...] = ()  # (name, until), oldest first
    # Where the log is read (`audit`); judges nothing, so it makes no two logs different.
    url: str = field(default="", compare=False)  # RFC 6962: the prefix of ct/v1/; static-ct: the monitoring prefix
    submission_url: str = field(default="", compare=False)  # static-ct alone: its checkpoints' origin comes from it
    mmd: timedelta | None = field(default=None, compare=False)  # the maximum merge delay that it promises

    def operator_at(self, moment: datetime) -> str:
        """Who ran the log at that time (Chrome's ct_policy.md: an SCT's operator is the one when it was signed)."""
        return next((name for name, until in self.previous_operators if moment < until), self.operator)

    def is_retired(self, now: datetime) -> bool:
        """True if the log's retirement has taken effect: one that is only announced has not."""
        return self.state is LogState.RETIRED and (self.state_since is None or self.state_since <= now)

    def is_current(self, now: datetime) -> bool:
        """True if the log counts as qualified, usable or readonly at `now`."""
        return self.state in CURRENT_STATES or (self.state is LogState.RETIRED and not self.is_retired(now))


@dataclass(frozen=True, slots=True)
class LogList:
    """A pinned list: logs by id, and which ids never count."""

    version: str
    timestamp: datetime
    digest: str  # SHA-256 over the octets it was read from, hex
    logs: Mapping[bytes, Log]
    denied: Mapping[bytes, str]  # log id -> why
    octets: bytes = field(repr=False, compare=False)  # what it was read from; the digest stands for it

    @classmethod
    def parse(cls, octets: bytes, also_denied: Mapping[bytes, str] = MappingProxyType({})) -> "LogList":
        """Read a list in the v3 schema (times as ISO 8601 text or as milliseconds); raises `LogListError`.

        `also_denied` adds to the compiled-in deny set, which nothing takes away.
        """
        denied = {**DENIED_LOGS, **also_denied}
        try:
            document = msgspec.convert(json.loads(octets, object_pairs_hook=unique_names), _Document)
        except UnicodeDecodeError:
            raise LogListError("not a log list: no UTF-8 text") from None
        except json.JSONDecodeError as error:
            what = f"not JSON: {error}" if octets.strip() else "an empty file"
            raise LogListError(f"not a log list: {what}") from None
        except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
            raise LogListError(f"not a log list in the v3 schema: {error}") from None
        logs: dict[bytes, Log] = {}
        for log in _logs(document):
            if log.log_id in logs:
                raise LogListError(f"log {log.description!r} is listed twice: also as {logs[log.log_id].description!r}")
            if log.log_id in denied and log.state not in {LogState.RETIRED, LogState.REJECTED}:
                raise LogListError(
                    f"the list offers {log.description!r} as {log.state}, which must never count "
                    f"({denied[log.log_id]}); a list with such a log is not to be trusted"
                )
            logs[log.log_id] = log
        if not any(log.state in CURRENT_STATES for log in logs.values()):
            raise LogListError("the list has no qualified, usable or readonly log")
        return cls(
            version=document.version,
            timestamp=_time(document.log_list_timestamp, "log_list_timestamp"),
            digest=hashlib.sha256(octets).hexdigest(),
            logs=logs,
            denied=denied,
            octets=octets,
        )


def unique_names(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object whose names are unique (RFC 8259 s4): else two readers of one list could see two lists.

    For `json.loads(object_pairs_hook=...)`; raises ValueError.
    """
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the name {name[:40]!r} stands twice in an object")
        found[name] = value
    return found


class _State(msgspec.Struct):
    """The value of one state: when it was entered."""

    timestamp: str | int


class _Interval(msgspec.Struct):
    start_inclusive: str | int
    end_exclusive: str | int


class _PreviousOperator(msgspec.Struct):
    name: str
    end_time: str | int


class _Log(msgspec.Struct):
    """One log as the schema has it; fields that nobody here needs are not read."""

    log_id: str
    key: str
    state: dict[str, _State] = {}
    description: str = ""
    temporal_interval: _Interval | None = None
    previous_operators: list[_PreviousOperator] = []
    log_type: str = "prod"
    url: str = ""
    submission_url: str = ""
    monitoring_url: str = ""
    mmd: int | None = None


class _Operator(msgspec.Struct):
    name: str
    logs: list[_Log] = []
    tiled_logs: list[_Log] = []


class _Document(msgspec.Struct):
    operators: list[_Operator]
    log_list_timestamp: str | int
    version: str = ""


def _logs(document: _Document) -> Iterable[Log]:
    """Every log of the document, checked."""
    for operator in document.operators:
        name = _operator_name(operator.name)
        for log in operator.logs:
            yield _log(log, name, LogKind.RFC6962)
        for log in operator.tiled_logs:
            yield _log(log, name, LogKind.STATIC_CT)


def _operator_name(name: str) -> str:
    if not name.strip() or not name.isprintable():
        raise LogListError(f"operator {name!r}: expected a printable name")
    return name


def _log(log: _Log, operator: str, kind: LogKind) -> Log:
    """One log, its id held against its key."""
    name = log.description or log.log_id
    if not name.isprintable():
        raise LogListError(f"log {name!r}: expected a printable description")
    try:
        log_id, key = base64.b64decode(log.log_id, validate=True), base64.b64decode(log.key, validate=True)
    except (binascii.Error, ValueError):
        raise LogListError(f"log {name!r}: log_id or key is not base64") from None
    if hashlib.sha256(key).digest() != log_id:
        raise LogListError(f"log {name!r}: its log_id is not the SHA-256 of its key")
    state, since = _state(log, name)
    interval = None
    if log.temporal_interval is not None:
        interval = TemporalInterval(
            _time(log.temporal_interval.start_inclusive, name), _time(log.temporal_interval.end_exclusive, name)
        )
        if interval.start >= interval.end:
            raise LogListError(f"log {name!r}: an interval from {interval.start} to {interval.end} holds nothing")
    previous = [(_operator_name(item.name), _time(item.end_time, name)) for item in log.previous_operators]
    return Log(
        log_id=log_id,
        key=_key(key, name),
        description=log.description,
        operator=operator,
        kind=kind,
        state=state,
        state_since=since,
        interval=interval,
        previous_operators=tuple(sorted(previous, key=lambda item: item[1])),
        url=_url(log.url if kind is LogKind.RFC6962 else log.monitoring_url, name),
        submission_url=_url(log.submission_url, name) if kind is LogKind.STATIC_CT else "",
        mmd=None if log.mmd is None else _merge_delay(log.mmd, name),
    )


def _url(text: str, name: str) -> str:
    """A prefix under which the log is read, with its slash at the end; "" where the list has none."""
    if text and not re.fullmatch(r"https://[!-.0-~]+(/[!-~]*)?", text):
        raise LogListError(f"log {name!r}: {text!r} is no https URL")
    return text if not text or text.endswith("/") else f"{text}/"


def _merge_delay(seconds: int, name: str) -> timedelta:
    """RFC 6962 s3: the maximum merge delay; more than a month is none that any policy ever allowed."""
    if not 0 <= seconds <= 30 * 86400:
        raise LogListError(f"log {name!r}: a maximum merge delay of {seconds} s")
    return timedelta(seconds=seconds)


def _state(log: _Log, name: str) -> tuple[LogState, datetime | None]:
    """The log's one state; none at all means that nobody has accepted it yet, and a test log never counts."""
    if len(log.state) > 1:
        raise LogListError(f"log {name!r}: more than one state: {', '.join(sorted(log.state))}")
    if log.log_type != "prod":
        return LogState.REJECTED, None
    for word, value in log.state.items():
        if word not in set(LogState):
            raise LogListError(f"log {name!r}: state {word!r}, expected one of {', '.join(LogState)}")
        return LogState(word), _time(value.timestamp, name)
    return LogState.PENDING, None


def _key(der: bytes, name: str) -> LogKey:
    """A log's public key: P-256, or RSA of at least 2048 bits (RFC 6962 s2.1.4)."""
    try:
        key = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        raise LogListError(f"log {name!r}: its key cannot be read") from None
    # the id is a hash over the encoding: a second encoding would be a second log with the same key
    if key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != der:
        raise LogListError(f"log {name!r}: its key is not in the usual encoding of such a key")
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1":
        return key
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048:
        return key
    raise LogListError(f"log {name!r}: its key is neither P-256 nor RSA of at least 2048 bits")


def _time(value: str | int, where: str) -> datetime:
    """A time of the list: ISO 8601 in UTC, or milliseconds since 1970."""
    try:
        if isinstance(value, int):
            return _EPOCH + timedelta(milliseconds=value)
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise LogListError(f"{where}: {value!r} is not a time") from None
    raise LogListError(f"{where}: {value!r} names no time zone, expected UTC")
