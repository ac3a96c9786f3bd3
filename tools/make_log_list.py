"""Write the pinned log list (v3 schema) and the note of its origin from a file of compiled facts about CT logs.

    python tools/make_log_list.py FACTS.json            # writes stubresolver/data/log_list.json and log_list.origin.md
    python tools/make_log_list.py FACTS.json --check    # exit 1 if they differ from what would be written

FACTS.json has a row for each log: operator, description, kind, log_id, key, state, state_since, temporal_interval,
mmd_seconds, URLs, sources. Nothing is taken from anybody's list as it stands: the facts are written anew in the schema
that readers of such lists know.
"""

import argparse
import base64
import hashlib
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from stubresolver.ct import LogList

VERSION = "1.0"  # raised by hand when the facts change
DATA = Path(__file__).resolve().parent.parent / "stubresolver" / "data"


def main() -> int:
    """Write or check both files; the exit status is 1 where --check finds a difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("facts", type=Path, help="the compiled facts, JSON")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the files are not up to date")
    arguments = parser.parse_args()
    facts = json.loads(arguments.facts.read_bytes())
    octets = (json.dumps(log_list(facts), indent=1, ensure_ascii=False) + "\n").encode()
    LogList.parse(octets)  # what is written must load, deny set and all
    files = {DATA / "log_list.json": octets, DATA / "log_list.origin.md": origin(facts, octets).encode()}
    differs = [path.name for path, content in files.items() if not path.exists() or path.read_bytes() != content]
    if arguments.check:
        print(f"differs: {', '.join(differs)}" if differs else "up to date")
        return 1 if differs else 0
    for path, content in files.items():
        path.write_bytes(content)
        print(f"{path.name}: {len(content)} octets")
    return 0


def log_list(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts in the v3 schema: operators by name, their logs by interval and description."""
    operators: dict[str, dict[str, Any]] = {}
    for row in sorted(facts["logs"], key=lambda row: (row["operator"].lower(), row["description"])):
        operator = operators.setdefault(row["operator"], {"name": row["operator"], "logs": [], "tiled_logs": []})
        operator["tiled_logs" if row["kind"] == "static-ct-api" else "logs"].append(log(row, facts["as_of"]))
    return {
        "version": VERSION,
        "log_list_timestamp": f"{facts['as_of']}T00:00:00Z",
        "operators": list(operators.values()),
    }


def log(row: dict[str, Any], as_of: str) -> dict[str, Any]:
    """One log of the schema; a key that does not hash to its id is an error in the facts.

    The schema wants to know since when a log is in its state; where the facts do not, `as_of` stands there: the day on
    which the state was seen.
    """
    if base64.b64encode(hashlib.sha256(base64.b64decode(row["key"])).digest()).decode() != row["log_id"]:
        raise SystemExit(f"{row['description']}: log_id is not the SHA-256 of the key")
    written = {"description": row["description"], "log_id": row["log_id"], "key": row["key"]}
    written |= {name: row[name] for name in ("url", "submission_url", "monitoring_url") if row.get(name)}
    if row.get("mmd_seconds"):
        written["mmd"] = row["mmd_seconds"]
    written["state"] = {row["state"]: {"timestamp": row.get("state_since") or f"{as_of}T00:00:00Z"}}
    if row.get("temporal_interval"):
        written["temporal_interval"] = {
            name: row["temporal_interval"][name] for name in ("start_inclusive", "end_exclusive")
        }
    return written


def origin(facts: dict[str, Any], octets: bytes) -> str:
    """The note beside the list: whence, when, how much, and how to check it."""
    sources = Counter(source for row in facts["logs"] for source in row["sources"])
    states = Counter(row["state"] for row in facts["logs"])
    undated = sum(not row.get("state_since") for row in facts["logs"])
    derived = sum("note" in (row.get("temporal_interval") or {}) for row in facts["logs"])
    return "\n".join(
        [
            "# Where log_list.json comes from",
            "",
            f"Version {VERSION}. Facts as of {facts['as_of']}, compiled on {facts['compiled']}; SHA-256 of the file",
            f"`{hashlib.sha256(octets).hexdigest()}`.",
            "",
            f"{len(facts['logs'])} logs: "
            + ", ".join(f"{number} {state}" for state, number in states.most_common())
            + ".",
            "",
            "A log's key, operator, state and interval are facts; this project wrote them down in the v3 schema by",
            "`tools/make_log_list.py`. It is not a copy of anybody's list. Each fact was confirmed by at least one of:",
            "",
            *(f"- {source} ({number} logs)" for source, number in sources.most_common()),
            "",
            f"Of {undated} logs it is not known since when they are in their state: the day of the facts stands there.",
            f"The temporal interval of {derived} logs is read from their name, as no source states it.",
            "",
            "Logs that must never count (mimic logs with published keys, placeholders) are compiled into",
            "`stubresolver/ct/loglist.py`; none of them is in this file, and a list that offers one does not load.",
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
