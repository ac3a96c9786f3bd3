"""A log list in any of the four formats that are published, as values. PURE: octets in, a `ReadList` out.

Whatever is wrong with a list raises `SourceRefused`, whose text says which kind of trouble it is. Every format ends in
`ct.LogList.parse`, so that ids, keys, states and the deny set are checked in one place: a format's reader only says in
the words of the v3 schema what its file says. Time and memory are bounded by the size: 4 MiB take seconds at worst.
"""

import enum
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from stubresolver.ct import Log, LogList
from stubresolver.ct.loglist import unique_names
from stubresolver.errors import LogListError, SourceRefused
from stubresolver.loglists import mozilla

# The largest real list in one of these formats has under 120 KiB (Apple's, which keeps every log that ever was).
MAXIMUM_LIST = 4 * 1024 * 1024
_LONGEST_PROBLEM = 500  # characters: a problem quotes the list, in which a name may have a million of them
_APPLE = "//valid.apple.com/"
_TOO_DEEP = "not a log list: its JSON is nested too deeply"
_UNDATED = "1970-01-01T00:00:00Z"  # stands for a time that the list does not state, until the list is read


class Format(enum.StrEnum):
    """How a list is written."""

    V3 = "v3"  # the log list schema, version 3, times as ISO 8601 text
    V3_MS = "v3-ms"  # the same with times as milliseconds since 1970: what Android devices get
    APPLE = "apple"  # valid.apple.com/ct/log_list/schema_versions/log_list_schema_v4.json, and its version 3
    MOZILLA = "mozilla"  # security/ct/CTKnownLogs.h


@dataclass(frozen=True, slots=True)
class ReadList:
    """A list as it is written; nothing in here was compared with any other list."""

    format: Format
    version: str
    timestamp: datetime | None  # None: not dated (Apple's), so it vouches for no freshness
    logs: Mapping[bytes, Log]


def read_list(octets: bytes) -> ReadList:
    """Read a list in any format; raises `SourceRefused`."""
    try:
        return _read(octets)
    except SourceRefused as problem:
        told = str(problem)
        if len(told) <= _LONGEST_PROBLEM:
            raise
        raise SourceRefused(f"{told[:_LONGEST_PROBLEM]}…") from None


def _read(octets: bytes) -> ReadList:
    text = _text(octets)
    match text.lstrip()[:1]:
        case "":
            raise SourceRefused("an empty file, expected a log list")
        case "<":
            raise SourceRefused(f"an HTML page, expected a log list: {text.strip()[:60]!r}")
        case "{":
            found = _read_json(octets, text)
        case _ if mozilla.is_header(text):
            found = _read_header(text)
        case _:
            begins = f"it begins with {text.strip()[:40]!r}"
            raise SourceRefused(f"not a log list: neither JSON nor Mozilla's CTKnownLogs.h; {begins}")
    if len(found.version) > 64 or not found.version.isprintable():
        raise SourceRefused(f"version {found.version[:64]!r}, expected a short printable text")
    return found


def _text(octets: bytes) -> str:
    if len(octets) > MAXIMUM_LIST:
        raise SourceRefused(f"too large: {len(octets)} octets, expected at most {MAXIMUM_LIST}")
    try:
        return octets.decode()  # RFC 8259 s8.1: JSON text "MUST be encoded using UTF-8"
    except UnicodeDecodeError as error:
        raise SourceRefused(f"not a log list: octet {error.start} is not UTF-8") from None


def _read_json(octets: bytes, text: str) -> ReadList:
    """A list in JSON; which of the three it is shows in its own fields."""
    document = _document(text)
    schema = document.get("$schema")
    if document.keys() & {"assetVersion", "assetVersionV2"} or (isinstance(schema, str) and _APPLE in schema):
        return _apple(document)
    log_list = _parsed(octets)
    written = Format.V3_MS if isinstance(document["log_list_timestamp"], int) else Format.V3
    return ReadList(written, log_list.version, log_list.timestamp, log_list.logs)


def _apple(document: dict[str, Any]) -> ReadList:
    """Apple's list: the v3 schema, mostly without a date, with a version of its own in `assetVersion`."""
    versions = [document.get(key) for key in ("version", "assetVersion", "assetVersionV2")]
    version = "/".join(str(item) for item in versions if isinstance(item, (str, int)))
    dated = "log_list_timestamp" in document
    for state in _states(document):
        state.setdefault("timestamp", _UNDATED)
    written = {**document, "version": "", "log_list_timestamp": document.get("log_list_timestamp", _UNDATED)}
    log_list = _parsed(_octets(written))
    logs = {log.log_id: _dated(log) for log in log_list.logs.values()}
    return ReadList(Format.APPLE, version, log_list.timestamp if dated else None, logs)


def _states(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The value of each log's state, as far as the document has the shape of a list: the rest is told by `_parsed`."""
    for operator in _objects(document.get("operators")):
        for log in _objects(operator.get("logs")) + _objects(operator.get("tiled_logs")):
            for state in _objects([log.get("state")]):
                yield from _objects(list(state.values()))


def _objects(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _dated(log: Log) -> Log:
    """The log without the time that `_UNDATED` stood for: a retirement of no date has always been."""
    undated = log.state_since is not None and log.state_since.timestamp() == 0
    return replace(log, state_since=None) if undated else log


def _read_header(text: str) -> ReadList:
    document, expires = mozilla.read_header(text)
    log_list = _parsed(_octets(document))
    return ReadList(Format.MOZILLA, f"expires {expires}", log_list.timestamp, log_list.logs)


def _octets(document: dict[str, Any]) -> bytes:
    try:
        return json.dumps(document).encode()
    except RecursionError:
        raise SourceRefused(_TOO_DEEP) from None


def _parsed(octets: bytes) -> LogList:
    try:
        return LogList.parse(octets)
    except LogListError as error:
        raise SourceRefused(str(error)) from None


def _document(text: str) -> dict[str, Any]:
    """The JSON of a list. Names are unique (RFC 8259 s4): else two readers of one list could see two lists."""
    try:
        document = json.loads(text, object_pairs_hook=unique_names, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        written = text.rstrip()
        if error.pos >= len(written) or not written.endswith("}") or error.msg.startswith("Unterminated"):
            raise SourceRefused(f"truncated: the JSON breaks off after {len(written)} characters") from None
        raise SourceRefused(f"not JSON: {error}") from None
    except ValueError as error:
        raise SourceRefused(f"not a log list: {error}") from None
    except RecursionError:
        raise SourceRefused(_TOO_DEEP) from None
    return dict(document)


def _no_number(word: str) -> object:
    raise ValueError(f"{word} is no JSON (RFC 8259 s6)")
