"""The line of every key and entry of a TOML text, in each way in which TOML can write one."""

import tomllib
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.verify import key_lines, line_of

SHIPPED = (resources.files("stubresolver") / "data/policy.toml").read_text("utf-8")

TEXT = '''\
top = 1 # comment = 2
[a] # [b]
k = "x = [1"
'q k' = "it\\"s = 3"
[a.b]
m = """
n = 5
""\\""""
o = \'\'\'
[c]\'\'\'
[[list]]
e = 1
[[list]]
e = [ # first
  1.5, [2,
    3],
  { p = 1, q.r = [1,
  2] },
]
f.g = 1979-05-27T07:32:00Z
[list.sub]
h = {}
'''

EXPECTED = {
    "top": 1, "a": 2, "a.k": 3, "a.q k": 4, "a.b": 5, "a.b.m": 6, "a.b.o": 9, "list": 11, "list[0]": 11,
    "list[0].e": 12, "list[1]": 13, "list[1].e": 14, "list[1].e[0]": 15, "list[1].e[1]": 15, "list[1].e[1][0]": 15,
    "list[1].e[1][1]": 16, "list[1].e[2]": 17, "list[1].e[2].p": 17, "list[1].e[2].q": 17, "list[1].e[2].q.r": 17,
    "list[1].e[2].q.r[0]": 17, "list[1].e[2].q.r[1]": 18, "list[1].f": 20, "list[1].f.g": 20, "list[1].sub": 21,
    "list[1].sub.h": 22,
}  # fmt: skip


def test_each_way_to_write_a_key_is_found():
    """Tables, arrays of tables, dotted and quoted keys, braces, text over lines, comments that look like keys."""
    assert tomllib.loads(TEXT)["list"][1]["e"][1] == [2, 3]
    assert key_lines(TEXT) == EXPECTED


def test_every_key_of_the_shipped_policy_is_found():
    """The line holds the key, and no value of the file lacks its line."""
    lines, rows = key_lines(SHIPPED), SHIPPED.splitlines()
    paths = [path for table, values in tomllib.loads(SHIPPED).items() for path, _ in walk(table, values)]
    assert len(paths) > 60
    for path in paths:
        name = path.rpartition(".")[2]
        assert name.endswith("]") or name in rows[lines[path] - 1]


@pytest.mark.parametrize(
    ("key", "line"),
    [("a.k", 3), ("a.missing", 2), ("list[1].e[2].q.x[3].y", 17), ("nowhere", None), ("", None), ("list[7].e", 11)],
)
def test_a_key_that_is_missing_has_the_line_around_it(key, line):
    """An error about a key that should be there names the table that lacks it."""
    assert line_of(key_lines(TEXT), key) == line


NAMES = st.text("abc", min_size=1, max_size=3)
VALUES = st.recursive(
    st.integers() | st.booleans() | st.text("a'\"\\ #[]{}=,\n", max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_every_value_of_any_text_is_found(document):
    """As many paths as `tomllib` reads values, in rising lines."""
    text = "".join(f"{key} = {written(value)}\n\n" for key, value in document.items())
    paths = [path for key, value in tomllib.loads(text).items() for path, _ in walk(key, value)]
    lines = key_lines(text)
    assert set(lines) == set(paths)
    assert [lines[path] for path in paths] == sorted(lines[path] for path in paths)


@given(st.text(max_size=40))
def test_any_text_ends(text):
    """Even one that is no TOML: whatever comes out, it comes out."""
    key_lines(text)


def walk(path, value):
    """Every path of a document with its value."""
    yield path, value
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from walk(f"{path}[{key}]" if isinstance(key, int) else f"{path}.{key}", each)


def written(value):
    """A value in TOML, on as many lines as it may take."""
    match value:
        case bool():
            return str(value).lower()
        case list():
            return "[\n" + ",\n".join(map(written, value)) + "]"
        case dict():
            return "{" + ", ".join(f"{key} = {written(each)}" for key, each in value.items()) + "}"
        case str():
            return '"' + "".join(f"\\u{ord(c):04x}" if c in '"\\\n' else c for c in value) + '"'
    return str(value)
