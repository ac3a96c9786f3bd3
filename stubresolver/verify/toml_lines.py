"""On which line of a TOML text does a key stand? PURE. For texts that `tomllib` has read; it says nothing of others.

`tomllib` gives values without places. This walks the same text once more, token by token, and notes where each key and
each entry of an array begins, by the path that an error names it with: `issuers.deny[0].reason`.
"""

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"""[ \t\r]+|\#[^\n]*                                   # nothing
    |\"{3}(?:\\.|[^\\])*?\"{3,5}|'{3}.*?'{3,5}              # text over several lines: up to five quotes end it
    |\"(?:\\.|[^"\\\n])*\"|'[^'\n]*'                        # text
    |[\n\[\]{}=,.]|[^\s\[\]{}=,."'\#]+                      # marks; bare keys, pieces of numbers and dates""",
    re.VERBOSE | re.DOTALL,
)


class _Walk:
    """One pass over the tokens."""

    def __init__(self, text: str) -> None:
        self.lines: dict[str, int] = {}
        self._tables: dict[str, int] = {}  # path of an array of tables -> index of its last table
        self._tokens = list(_tokens(text))
        self._place = 0

    def run(self) -> None:
        """The statements of the file."""
        base = ""
        while self._peek() != "":
            if self._peek() == "\n":
                self._take()
            elif self._peek() == "[":
                base = self._header()
            else:
                self._pair(base)

    def _header(self) -> str:
        """`[a.b]` or `[[a.b]]`: the path of the table that follows."""
        line = self._tokens[self._place][1]
        depth = 0
        while self._peek() == "[":
            self._take()
            depth += 1
        names = self._names()
        for _ in range(depth):
            self._take()
        path = ""
        for number, name in enumerate(names, start=1):
            path = f"{path}.{name}" if path else name
            if depth == 2 and number == len(names):
                self._tables[path] = self._tables.get(path, -1) + 1
                self.lines.setdefault(path, line)
            if path in self._tables:
                path = f"{path}[{self._tables[path]}]"
        self.lines.setdefault(path, line)
        return path

    def _pair(self, base: str) -> None:
        """`a.b = value`."""
        line = self._tokens[self._place][1]
        path = base
        for name in self._names():
            path = f"{path}.{name}" if path else name
            self.lines.setdefault(path, line)
        self._take()  # =
        self._value(path)

    def _value(self, path: str) -> None:
        """An array, a table in braces, or anything else, which ends where the line or the entry does."""
        opening = self._peek()
        if opening not in {"[", "{"}:
            while self._peek() not in {"\n", ",", "]", "}", ""}:
                self._take()
            return
        self._take()
        index = 0
        while self._peek() not in {"]", "}", ""}:
            if self._peek() in {"\n", ","}:
                self._take()
            elif opening == "{":
                self._pair(path)
            else:
                entry = f"{path}[{index}]"
                self.lines.setdefault(entry, self._tokens[self._place][1])
                self._value(entry)
                index += 1
        self._take()

    def _names(self) -> list[str]:
        """The names of a key, which may be dotted and quoted."""
        names = []
        while (token := self._peek()) not in {"=", "]", ""}:
            if token[0] in "\"'":
                names.append(token[1:-1])
            elif token[0] != ".":
                names.append(token)
            self._take()
        return names

    def _peek(self) -> str:
        return self._tokens[self._place][0] if self._place < len(self._tokens) else ""

    def _take(self) -> None:
        self._place += 1


def key_lines(text: str) -> dict[str, int]:
    """The line, from 1, of every key and every entry of an array."""
    walk = _Walk(text)
    walk.run()
    return walk.lines


def line_of(lines: dict[str, int], key: str) -> int | None:
    """The line of `key`, or of the innermost table around it that the text has; None where it has none."""
    while key and key not in lines:
        key = key[: max(key.rfind("."), key.rfind("["), 0)]
    return lines.get(key)


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    """Each token that matters, with its line."""
    line = 1
    for match in _TOKEN.finditer(text):
        token = match.group()
        if token[0] not in " \t\r#":
            yield token, line
        line += token.count("\n")
