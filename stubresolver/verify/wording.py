"""What is wrong with a policy or configuration file, in words to act upon: what was got, expected, is to be written.

A fault names its key; the expectation stands beside each field's type (`msgspec.Meta`) or follows from it, so that the
two cannot drift apart. PURE.
"""

import difflib
import re
import typing
from typing import Any

import msgspec
from msgspec import inspect

from stubresolver.errors import ConfigError
from stubresolver.verify.certificate import printable

_FIELD = re.compile(r"Object (?:contains )?(unknown|missing required) field `(.*?)`(?: - at `\$(.*)`)?\Z", re.DOTALL)
_PART = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


class Fault(ValueError):
    """One thing that is wrong with a policy file."""

    def __init__(self, key: str, problem: str, remedy: str, line: int | None = None) -> None:
        super().__init__(f"{key}: {problem}: {remedy}")
        self.key = key  # dotted path, "" where the whole file is meant
        self.problem = problem  # what was got, and what was expected
        self.remedy = remedy  # what to write instead
        self.line = line  # where the key alone does not tell it


def config_error(file: str, error: msgspec.ValidationError, tables: dict[str, Any], schema: type) -> ConfigError:
    """Turn msgspec's "Expected `int`, got `str` - at `$.cache.min_ttl`" into file, key, what was got and expected."""
    key, table, problem = _taken_apart(error)
    if problem == "unknown key":
        remedy = _home_of(key[len(table) :].lstrip("."), table, schema, _homes(schema))
        return ConfigError(file, key, f"{problem}; {remedy}")
    bare = key.removesuffix("[...]")  # some value in a table of names that are not ours
    node = _node(_parts(bare), schema)
    if node is None or not (problem == "missing key" or problem.startswith(("Expected `", "Invalid enum value"))):
        return ConfigError(file, key, problem)  # an option's own words
    if bare != key and isinstance(node, inspect.DictType):
        return ConfigError(file, bare, f"each value in it: expected {_expected(node.value_type)}")
    value = _value(_parts(key), tables)
    got = problem if problem == "missing key" else f"got {shown(value)}"
    remedy = f"; write [{shown(value)}]" if isinstance(value, str) and _lists_text(node) else ""
    return ConfigError(file, key, f"{got}, expected {_expected(node)}{remedy}")


def fault(error: msgspec.ValidationError, tables: dict[str, Any], schema: type, examples: dict[str, Any]) -> Fault:
    """The same in plain words: `tables` were held against `schema`; `examples` are tables that fit it."""
    key, table, problem = _taken_apart(error)
    if problem == "unknown key":
        return Fault(key, problem, _home_of(key[len(table) :].lstrip("."), table, schema, examples))
    parts = _parts(key)
    name = str(parts[-1]) if parts else ""
    meta = _meta(parts, schema)
    expected = (meta and meta.description) or "a table"
    remedy = ((meta and meta.extra) or {}).get("remedy") or f"write {name} = {shown(_value(parts, examples))}"
    if problem == "missing key":
        return Fault(key, f"missing key, expected {expected}", remedy)
    return Fault(key, f"got {shown(_value(parts, tables))}, expected {expected}", remedy)


def shown(value: object) -> str:
    """A value as the file would have it, short and printable."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f'"{printable(value, 80)}"'
        case float():
            return str(value)
        case int():
            return str(value) if abs(value) < 10**18 else "a number of many digits"
        case list():
            return "a list" if value else "an empty list"
        case dict():
            return "a table"
        case None:
            return "nothing"
    return "a date or time"


def _taken_apart(error: msgspec.ValidationError) -> tuple[str, str, str]:
    """Key, the table that it stands in, and problem.

    Where a key is unknown or missing, msgspec's path ends at its table and the text names it: the key is both.
    """
    text = str(error)
    if field := _FIELD.match(text):
        kind, name, table = field.groups()
        table = (table or "").strip(".")
        problem = "missing key" if kind == "missing required" else "unknown key"
        return f"{table}.{name}".strip("."), table, problem
    problem, _, where = text.rpartition(" - at `$")
    key = where.strip(".`")
    return (key, key.rpartition(".")[0], problem) if problem else ("", "", text)


def _parts(key: str) -> list[str | int]:
    return [int(index) if index else name for index, name in _PART.findall(key)]


def _home_of(name: str, table: str, schema: type, examples: dict[str, Any]) -> str:
    """What to do with a key that nobody knows here: the one that was probably meant, or those that there are."""
    try:
        names = [field.name for field in msgspec.structs.fields(_type(_parts(table), schema))]
    except (KeyError, IndexError, TypeError):  # a name that was made to look like msgspec's words
        return "take it out"
    if homes := [section for section, values in examples.items() if name in values]:
        return f"it belongs into the table [{homes[0]}]"
    if near := difflib.get_close_matches(name, names, 1):
        return f"write {near[0]}"
    where = "an entry" if table.endswith("]") else f"[{table}]" if table else "the file"
    return f"take it out; {where} knows {', '.join(names)}"


def _homes(schema: type) -> dict[str, Any]:
    """The tables of a file, each with the keys that it knows."""
    found = {field.name: _node([field.name], schema) for field in msgspec.structs.fields(schema)}
    return {
        name: [field.encode_name for field in node.fields]
        for name, node in found.items()
        if isinstance(node, inspect.StructType)
    }


def _node(parts: list[str | int], schema: type) -> inspect.Type | None:
    """What may stand at a path of the schema; None where it has no such path."""
    here: inspect.Type | None = inspect.type_info(schema)
    for part in parts:
        found: inspect.Type | None = None
        for each in _choices(here):
            if isinstance(part, int) and isinstance(each, inspect.VarTupleType):
                found = each.item_type
            elif isinstance(each, inspect.StructType):
                found = next((field.type for field in each.fields if field.encode_name == part), found)
        here = found
    return here


def _choices(node: inspect.Type | None) -> list[inspect.Type]:
    """What a value may be, but for nothing at all, which TOML cannot say."""
    nodes = node.types if isinstance(node, inspect.UnionType) else () if node is None else (node,)
    return [each for each in nodes if not isinstance(each, inspect.NoneType)]


def _lists_text(node: inspect.Type) -> bool:
    """Whether a list of texts is expected, and no single one."""
    choices = _choices(node)
    texts = [isinstance(each, inspect.VarTupleType) and isinstance(each.item_type, inspect.StrType) for each in choices]
    return len(choices) == 1 and texts[0]


def _expected(node: inspect.Type) -> str:
    """What may stand there, in words."""
    return " or ".join(map(_one_expected, _choices(node)))


def _one_expected(node: inspect.Type) -> str:
    match node:
        case inspect.BoolType():
            return "true or false, without quotes"
        case inspect.IntType(ge=least, le=most):
            return f"a whole number{_bounds(least, most)}"
        case inspect.FloatType(ge=least, le=most):
            return f"a number{_bounds(least, most)}"
        case inspect.StrType(min_length=least, max_length=most):
            return f"text in quotes{_sized(least, most, 'characters')}"
        case inspect.LiteralType(values=values):
            return " or ".join(map(shown, values))
        case inspect.VarTupleType(item_type=inspect.StructType(fields=fields)):
            return f"a list of tables {{ {', '.join(field.encode_name for field in fields)} }}"
        case inspect.VarTupleType(min_length=least, max_length=most):
            return f"a list in brackets{_sized(least, most, 'entries')}"
    return "a table"


def _bounds(least: float | None, most: float | None) -> str:
    return "" if least is None or most is None else f" from {least:.12g} to {most:.12g}"


def _sized(least: int | None, most: int | None, what: str) -> str:
    """How long it may be; what is merely not empty is said by what was got."""
    return "" if most is None else f", of {least or 0} to {most} {what}"


def _type(parts: list[str | int], schema: type) -> Any:
    """The type at a path of the schema, without what is said about it."""
    here: Any = schema
    for part in parts:
        here = typing.get_args(here)[0] if isinstance(part, int) else _bare(typing.get_type_hints(here)[part])
    return here


def _meta(parts: list[str | int], schema: type) -> msgspec.Meta | None:
    """What the schema says about the field at this path."""
    if not parts or isinstance(parts[-1], int):
        return None
    hint = typing.get_type_hints(_type(parts[:-1], schema), include_extras=True)[parts[-1]]
    choices = [hint, *typing.get_args(hint)]
    found = [note for each in choices for note in getattr(each, "__metadata__", ()) if isinstance(note, msgspec.Meta)]
    return found[0] if found else None


def _bare(hint: Any) -> Any:
    """`X` of `X | None`."""
    choices = [each for each in typing.get_args(hint) if each is not type(None)]
    return choices[0] if type(None) in typing.get_args(hint) else hint


def _value(parts: list[str | int], tables: Any) -> Any:
    """The value at a path, None where there is none."""
    for part in parts:
        try:
            tables = tables[part]
        except (KeyError, IndexError, TypeError):
            return None
    return tables
