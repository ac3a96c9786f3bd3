"""The effective values of a policy that is made of several files, each with the place that says so."""

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from stubresolver.config import read_shipped
from stubresolver.verify import Layer, key_lines, line_of

FROM_SHIPPED = "shipped"


@dataclass(frozen=True, slots=True)
class Value:
    """One effective value, or one entry of a list."""

    key: str  # dotted path, with the entry's place in its list
    value: Any  # as TOML has it
    source: str  # "shipped", or FILE:LINE


@dataclass(frozen=True, slots=True)
class _Said:
    """What one file says."""

    file: str
    tables: dict[str, dict[str, Any]]
    lines: dict[str, int]

    def place(self, key: str) -> str:
        return f"{self.file}:{line_of(self.lines, key)}"


def effective(layers: Sequence[Layer]) -> list[Value]:
    """Every value of a policy that reads, in the order of the shipped file; `layers` are laid over that one in turn."""
    topmost_first = [_Said(layer.file, layer.tables(), key_lines(layer.octets.decode())) for layer in reversed(layers)]
    values: list[Value] = []
    for section, shipped in tomllib.loads(read_shipped("policy.toml").decode()).items():
        for key, default in shipped.items():
            said = [each for each in topmost_first if key in each.tables.get(section, {})]
            values += (
                _denials(said, default) if f"{section}.{key}" == "issuers.deny" else _value(section, key, said, default)
            )
    return values


def _value(section: str, key: str, said: Sequence[_Said], default: Any) -> Iterator[Value]:
    """What the topmost file says, entry by entry; else the shipped value."""
    path = f"{section}.{key}"
    value = said[0].tables[section][key] if said else default
    if not isinstance(value, list) or not value:
        yield Value(path, value, said[0].place(path) if said else FROM_SHIPPED)
        return
    for index, entry in enumerate(value):
        place = f"{path}[{index}]"
        yield Value(place, entry, said[0].place(place) if said else FROM_SHIPPED)


def _denials(said: Sequence[_Said], default: Sequence[Any]) -> Iterator[Value]:
    """The entries of every file, those of the topmost first: no file takes one away."""
    seen: list[Any] = []
    for each in said:
        for index, entry in enumerate(each.tables["issuers"]["deny"]):
            if entry not in seen:
                yield Value(f"issuers.deny[{len(seen)}]", entry, each.place(f"issuers.deny[{index}]"))
                seen.append(entry)
    for entry in default:
        if entry not in seen:
            yield Value(f"issuers.deny[{len(seen)}]", entry, FROM_SHIPPED)
            seen.append(entry)
