"""Lists in each of the four formats, written here from the formats' own descriptions; and where their parts stand."""

import base64
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from stubresolver.ct import LogList
from stubresolver.lab.logs import LabLog, log_list_json
from stubresolver.loglists import Source, origin_of, read_source

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
YEAR = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))


def milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def as_v3(logs: Iterable[LabLog], at: datetime = NOW) -> bytes:
    """The v3 schema, times as text."""
    return log_list_json(list(logs), now=at)


def as_v3_ms(logs: Iterable[LabLog], at: datetime = NOW) -> bytes:
    """The v3 schema as Android devices get it: every time a number."""

    def numbered(value):
        if isinstance(value, dict):
            return {key: numbered(item) for key, item in value.items()}
        if isinstance(value, list):
            return [numbered(item) for item in value]
        if isinstance(value, str) and value[4:5] == "-" and value.endswith("Z"):
            return milliseconds(datetime.fromisoformat(value))
        return value

    return json.dumps(numbered(json.loads(as_v3(logs, at)))).encode()


def as_apple(logs: Iterable[LabLog], at: datetime | None = None) -> bytes:
    """Apple's: no date of the list, a version of the list in each state, versions of its own at the top."""
    document = json.loads(as_v3(logs, NOW))
    operators = document["operators"]
    for operator in operators:
        for log in operator["logs"] + operator["tiled_logs"]:
            log.pop("previous_operators", None)
            for state in log["state"].values():
                state["version"] = "367"
    document = {
        "$schema": "https://valid.apple.com/ct/log_list/schema_versions/log_list_schema_v4.json",
        "version": "4",
        "assetVersion": 32,
        "assetVersionV2": 1013,
        "operators": operators,
    }
    if at is not None:
        document["log_list_timestamp"] = at.isoformat()
    return json.dumps(document, indent=4).encode()


HEADER = """/* made for a test */

#ifndef CTKnownLogs_h
#define CTKnownLogs_h

#include "CTLog.h"
#include <stddef.h>

static const PRTime kCTExpirationTime = INT64_C({expires});

namespace mozilla::ct {{

enum class CTLogState {{
  Admissible,  // what counts
  Retired,
}};

enum class CTLogFormat {{
  RFC6962,
  Tiled,
}};

struct CTLogInfo {{
  const char* name;
  CTLogState state;
  CTLogFormat format;
  uint64_t timestamp;
  size_t operatorIndex;
  const char* key;
  size_t keyLength;
}};

struct CTLogOperatorInfo {{
  const char* name;
  mozilla::ct::CTLogOperatorId id;
}};

const CTLogInfo kCTLogList[] = {{
{logs}}};

const CTLogOperatorInfo kCTLogOperatorList[] = {{
{operators}}};

}}  // namespace mozilla::ct

#endif  // CTKnownLogs_h
"""


def c_key(der: bytes) -> str:
    """Octets as a C string over several lines, 18 to a line."""
    lines = [der[start : start + 18] for start in range(0, len(der), 18)]
    return "\n".join('     "' + "".join(f"\\x{octet:02x}" for octet in line) + '"' for line in lines)


def c_log(log: LabLog, operator: int) -> str:
    """One entry of kCTLogList."""
    state = "Retired" if log.state == "retired" else "Admissible"
    kind = "Tiled" if log.kind == "static-ct" else "RFC6962"
    name = log.description.replace("\\", "\\\\").replace('"', '\\"')
    return (
        f'    {{"{name}", CTLogState::{state}, CTLogFormat::{kind},\n     {milliseconds(log.since)},  // {log.since}\n'
        f"     {operator},  // operated by {log.operator}\n{c_key(log.public_key)},\n     {len(log.public_key)}}},\n"
    )


def as_mozilla(logs: Iterable[LabLog], at: datetime = NOW, debug: str = "") -> bytes:
    """CTKnownLogs.h: expires ten weeks after the day it was made; keys as C strings over several lines."""
    logs = [log for log in logs if log.state in {"qualified", "usable", "readonly", "retired"}]
    operators = list(dict.fromkeys(log.operator for log in logs))
    expires = milliseconds(at + timedelta(days=70)) * 1000
    entries = "".join(c_log(log, operators.index(log.operator)) for log in logs)
    names = "".join(f'    {{"{name}", {index}}},\n' for index, name in enumerate(operators))
    return HEADER.format(expires=expires, logs=entries + debug, operators=names).encode()


FORMATS = {"v3": as_v3, "v3-ms": as_v3_ms, "apple": as_apple, "mozilla": as_mozilla}


def pinned(logs: Iterable[LabLog], at: datetime = NOW, denied: dict[bytes, str] | None = None) -> LogList:
    """The list in force."""
    return LogList.parse(as_v3(logs, at), denied or {})


def source(name: str, octets: bytes, current: LogList, **arguments) -> Source:
    """A source as `logs update` reads it; its name says where it is from."""
    wanted = {"signature": None, "keys": (), "now": NOW + timedelta(hours=1), **arguments}
    return read_source(name, origin_of(name), octets, current=current, **wanted)


def first_entry(document: dict) -> dict:
    """The first log of a v3 document, whichever its kind."""
    operator = document["operators"][0]
    return (operator["logs"] + operator["tiled_logs"])[0]


def b64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()
