"""Mozilla's CTKnownLogs.h, said in the words of the v3 schema. PURE: text in, a document or `SourceRefused` out.

The file is a C++ header that a script of Mozilla writes: when the list expires, then two arrays, of logs and of
operators. It is read like a compiler would, token by token, and held against the one layout that is known: a
declaration, a directive or an escape that is not understood refuses the file, because what a reader skips may be what
a compiler reads. Entries between `#ifdef DEBUG` and `#endif` are Mozilla's test logs; a release has none of them.

It states key, operator, kind, state and the time of the state; no intervals, no URLs.
"""

import base64
import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, NoReturn

from stubresolver.errors import SourceRefused

# Mozilla's wiki, SecurityEngineering/Certificate_Transparency: "This information has a 10 week expiration time."
_LIFETIME = timedelta(weeks=10)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STATES = {"CTLogState::Admissible": "usable", "CTLogState::Retired": "retired"}  # qualified, usable or readonly
_KINDS = {"CTLogFormat::RFC6962": "logs", "CTLogFormat::Tiled": "tiled_logs"}
_LOG_FIELDS = ["name", "state", "format", "timestamp", "operatorIndex", "key", "keyLength"]
_OPERATOR_FIELDS = ["name", "id"]

# Each alternative begins with another character, and none can match one text in two ways: time grows with the size.
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
    | (?P<comment>//[^\n]*|/\*.*?\*/)
    | (?P<directive>\#[^\n]*)
    | (?P<string>"(?:[^"\\\n]|\\[^\n])*")
    | (?P<number>[0-9]+)
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*(?:::[A-Za-z_][A-Za-z0-9_]*)*)
    | (?P<mark>[{}()\[\];,=*])""",
    re.VERBOSE | re.DOTALL,
)
_GUARD = re.compile(r"^#[ \t]*ifndef[ \t]+CTKnownLogs_h\b", re.MULTILINE)
_OCTETS = re.compile(r"(?:\\x[0-9a-f]{2})*")
_CHARACTERS = re.compile(r'(?:[^\\]|\\["\\])*')


class _Token(NamedTuple):
    kind: str  # a group of _TOKEN, or "end"
    text: str
    start: int


class _Log(NamedTuple):
    """One entry of kCTLogList; `operator` is an index of kCTLogOperatorList."""

    kind: str
    operator: int
    debug: bool
    entry: dict[str, Any]


def is_header(text: str) -> bool:
    """True if the text has the include guard of CTKnownLogs.h: many files begin with a comment or a '#'."""
    return _GUARD.search(text) is not None


def read_header(text: str) -> tuple[dict[str, Any], str]:
    """The header as a document of the v3 schema, and the day on which the list expires; raises `SourceRefused`."""
    tokens = _Tokens(text)
    for directive in ("#ifndef CTKnownLogs_h", "#define CTKnownLogs_h"):
        tokens.take_directive(directive)
    while tokens.at.text.startswith("#include "):
        tokens.next()
    tokens.take("static const PRTime kCTExpirationTime = INT64_C (")
    expires = _moment(tokens.number())
    tokens.take(") ; namespace mozilla::ct {")
    _enum(tokens, "CTLogState", _STATES)
    _enum(tokens, "CTLogFormat", _KINDS)
    _struct(tokens, "CTLogInfo", _LOG_FIELDS)
    _struct(tokens, "CTLogOperatorInfo", _OPERATOR_FIELDS)
    tokens.take("const CTLogInfo kCTLogList [ ] = {")
    logs = [_log(tokens, debug) for debug in _entries(tokens)]
    tokens.take("const CTLogOperatorInfo kCTLogOperatorList [ ] = {")
    operators = [(_operator(tokens, index), debug) for index, debug in enumerate(_entries(tokens))]
    tokens.take("}")
    tokens.take_directive("#endif // CTKnownLogs_h")
    if tokens.at.kind != "end":
        tokens.refuse("the end of the file")
    return _document(expires - _LIFETIME, logs, operators), f"{expires:%Y-%m-%d}"


def _moment(microseconds: int) -> datetime:
    """PRTime counts microseconds since 1970."""
    try:
        moment = _EPOCH + timedelta(microseconds=microseconds)
        if moment - _EPOCH > _LIFETIME:
            return moment
    except OverflowError:
        pass
    raise SourceRefused(f"kCTExpirationTime {microseconds}: not a time at which a list can expire")


def _enum(tokens: "_Tokens", name: str, members: dict[str, str]) -> None:
    """An enumeration with exactly these members; a further one may be a further state."""
    tokens.take(f"enum class {name} {{")
    tokens.take(" , ".join(member.partition("::")[2] for member in members))
    tokens.take_comma()
    tokens.take("} ;")


def _struct(tokens: "_Tokens", name: str, fields: list[str]) -> None:
    """A struct with these fields in this order: the entries are written in its order."""
    tokens.take(f"struct {name} {{")
    for field in fields:
        last = tokens.next()
        while tokens.at.text != ";" and tokens.at.kind in {"word", "mark"} and tokens.at.text not in {"{", "}"}:
            last = tokens.next()
        if last.text != field or tokens.at.text != ";":
            tokens.refuse(f"the field {field} of {name}")
        tokens.next()
    tokens.take("} ;")


def _entries(tokens: "_Tokens") -> Iterator[bool]:
    """Stop at each entry of an array and say whether it is for debug builds only; the caller reads the entry."""
    debug = False
    while tokens.at.text != "}" or debug:
        if not debug and tokens.is_directive("#ifdef DEBUG"):
            debug = True
            tokens.next()
        elif debug and tokens.is_directive("#endif // DEBUG"):
            debug = False
            tokens.next()
        else:
            tokens.take("{")
            yield debug
            tokens.take("}")
            tokens.take_comma()
    tokens.take("} ;")


def _log(tokens: "_Tokens", debug: bool) -> _Log:
    name = tokens.name()
    tokens.take(",")
    state = tokens.one_of(_STATES)
    tokens.take(",")
    kind = tokens.one_of(_KINDS)
    tokens.take(",")
    timestamp = tokens.number()
    tokens.take(",")
    operator = tokens.number()
    tokens.take(",")
    key = tokens.octets()
    tokens.take(",")
    length = tokens.number()
    if length != len(key):
        raise SourceRefused(f"log {name!r}: a key of {len(key)} octets, but keyLength is {length}")
    entry = {
        "description": name,
        "log_id": base64.b64encode(hashlib.sha256(key).digest()).decode(),
        "key": base64.b64encode(key).decode(),
        "state": {state: {"timestamp": timestamp}},
    }
    return _Log(kind, operator, debug, entry)


def _operator(tokens: "_Tokens", index: int) -> str:
    """An operator; the id repeats its place in the array."""
    name = tokens.name()
    tokens.take(f", {index}")
    return name


def _document(timestamp: datetime, logs: list[_Log], operators: list[tuple[str, bool]]) -> dict[str, Any]:
    released = [name for name, debug in operators if not debug]
    if any(debug for _, debug in operators[: len(released)]):
        raise SourceRefused("an operator of debug builds stands before one of releases: their indices would differ")
    written: list[dict[str, Any]] = [{"name": name, "logs": [], "tiled_logs": []} for name in released]
    for log in logs:
        if not log.debug:
            if log.operator >= len(released):
                name = log.entry["description"]
                raise SourceRefused(f"log {name!r}: operator {log.operator}, expected less than {len(released)}")
            written[log.operator][log.kind].append(log.entry)
    return {"log_list_timestamp": (timestamp - _EPOCH) // timedelta(milliseconds=1), "operators": written}


class _Tokens:
    """The tokens of a header, one in sight; comments and spaces mean nothing."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self.at = self._read()

    def next(self) -> _Token:
        """Take one token."""
        token, self.at = self.at, self._read()
        return token

    def take(self, wanted: str) -> None:
        """Take exactly these tokens, which stand between spaces."""
        for text in wanted.split():
            if self.at.text != text or self.at.kind in {"string", "directive"}:
                self.refuse(repr(text))
            self.next()

    def take_comma(self) -> None:
        """Take a comma, which may be missing after the last of several."""
        if self.at.text == ",":
            self.next()
        elif self.at.text != "}":
            self.refuse("',' or '}'")

    def is_directive(self, wanted: str) -> bool:
        """True if this directive comes next, however its parts are spaced."""
        return self.at.kind == "directive" and " ".join(self.at.text.split()) == wanted

    def take_directive(self, wanted: str) -> None:
        """Take exactly this directive."""
        if not self.is_directive(wanted):
            self.refuse(repr(wanted))
        self.next()

    def number(self) -> int:
        """Take a decimal number: C reads one that begins with 0 as octal."""
        if self.at.kind != "number" or len(self.at.text) > 20 or (self.at.text[0] == "0" and self.at.text != "0"):
            self.refuse("a decimal number")
        return int(self.next().text)

    def one_of(self, words: dict[str, str]) -> str:
        """Take one of these words; what it stands for."""
        if self.at.text not in words:
            self.refuse(" or ".join(words))
        return words[self.next().text]

    def name(self) -> str:
        """Take a string of characters."""
        return "".join(self._strings(_CHARACTERS)).replace('\\"', '"').replace("\\\\", "\\")

    def octets(self) -> bytes:
        r"""Take a string of octets, each written as \xNN."""
        return bytes.fromhex("".join(self._strings(_OCTETS)).replace("\\x", ""))

    def _strings(self, alphabet: re.Pattern[str]) -> Iterator[str]:
        """Take strings that stand side by side, which C joins."""
        if self.at.kind != "string":
            self.refuse("a string")
        while self.at.kind == "string":
            if not alphabet.fullmatch(self.at.text, 1, len(self.at.text) - 1):
                self.refuse("a string with no other escapes than those known here")
            yield self.next().text[1:-1]

    def refuse(self, wanted: str) -> NoReturn:
        """Say what was got in which line, and what was expected."""
        if self.at.start + len(self.at.text) == len(self._text.rstrip()) or self.at.kind == "end":
            raise SourceRefused(f"truncated: the header ends where {wanted} was expected")
        line = self._text.count("\n", 0, self.at.start) + 1
        raise SourceRefused(f"CTKnownLogs.h, line {line}: got {self.at.text[:60]!r}, expected {wanted}")

    def _read(self) -> _Token:
        while self._position < len(self._text):
            start = self._position
            found = _TOKEN.match(self._text, start)
            if found is None or found.lastgroup is None:
                return self._unknown(start)
            self._position = found.end()
            kind, text = found.lastgroup, found.group()
            if kind == "comment" and text.startswith("//") and text.rstrip("\r").endswith("\\"):
                return _Token("unknown", text, start)  # C goes on with the comment in the next line
            if kind == "directive" and start and self._text[start - 1] != "\n":
                return _Token("unknown", text, start)  # C knows directives only at the beginning of a line
            if kind not in {"space", "comment"}:
                return _Token(kind, text, start)
        return _Token("end", "", self._position)

    def _unknown(self, start: int) -> _Token:
        """No token: cut off within a string or a comment, or a character that has no business here."""
        rest = self._text[start : start + 60]
        cut_off = rest.startswith(("/*", '"')) or rest == "/"
        return _Token("end", "", start) if cut_off else _Token("unknown", rest, start)
