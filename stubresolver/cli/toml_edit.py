"""Adds entries to a list of a TOML file and touches nothing else: comments, order and spelling stay.

No grammar in here. Each place where the entries could go is tried, and taken is the first after which `tomllib` reads
exactly the old document with the entries added: an edit that would do anything else is not made.
"""

import copy
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stubresolver.errors import BadInput

Entry = Mapping[str, str]


def append_entries(text: str, table: str, key: str, entries: Sequence[Entry]) -> str:
    """`text` with `entries` at the end of the list `key` of `[table]`, both made where they are missing.

    Raises `BadInput` where the text is no TOML, or where no place was found that leaves the rest as it is.
    """
    old = _read(text)
    if old is None:
        raise BadInput("not TOML")
    wanted = copy.deepcopy(old)
    try:
        wanted.setdefault(table, {}).setdefault(key, []).extend(dict(entry) for entry in entries)
    except AttributeError:  # not a table, not a list
        raise BadInput(f"{table}.{key} is not a list in a table") from None
    for candidate in _candidates(text, table, key, entries):
        if _read(candidate) == wanted:
            return candidate
    by_hand = "\n".join(f"    {inline_table(entry)}," for entry in entries)
    raise BadInput(f"no safe place found to add to {table}.{key}; add this to the list by hand:\n{by_hand}")


def inline_table(entry: Entry) -> str:
    """One entry as TOML writes it on one line."""
    return "{ " + ", ".join(f"{key} = {_string(value)}" for key, value in entry.items()) + " }"


def _candidates(text: str, table: str, key: str, entries: Sequence[Entry]) -> Iterator[str]:
    """The text after each edit that might be the one, the most natural first."""
    newline = "\r\n" if "\r\n" in text else "\n"
    rows = "".join(f"    {inline_table(entry)},{newline}" for entry in entries)
    # at the end of the list that is there; its last entry may lack a comma, and a comment may stand behind it
    for bracket in re.finditer(r"\]", text[text.find(key) :] if key in text else ""):
        position = text.find(key) + bracket.start()
        body, rest = text[:position].rstrip(), text[position:]
        for comma in ("", ",", f"{newline}    ,"):
            yield f"{body}{comma}{newline}{rows}{rest}"
    # a new list under the header of its table
    fresh = f"{key} = [{newline}{rows}]{newline}"
    for header in re.finditer(rf"^[ \t]*\[[ \t]*{re.escape(table)}[ \t]*\][^\n]*(\n|\Z)", text, re.MULTILINE):
        ended = "" if header.group(1) else newline
        yield f"{text[: header.end()]}{ended}{fresh}{text[header.end() :]}"
    # a new table, or new elements of [[table.key]], at the end
    end = text if not text or text.endswith("\n") else text + newline
    gap = newline if end else ""
    yield f"{end}{gap}[{table}]{newline}{fresh}"
    elements = ["".join(f"{name} = {_string(value)}{newline}" for name, value in entry.items()) for entry in entries]
    yield end + "".join(f"{gap}[[{table}.{key}]]{newline}{element}" for element in elements)
    # a table that is only there by dotted keys
    yield f"{table}.{fresh}{text}"


def _string(value: str) -> str:
    """A basic string: JSON's escapes are TOML's, but for DEL, which TOML wants escaped, too."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _read(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError):
        return None
