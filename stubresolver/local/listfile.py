"""Files that list names: hosts, plain domains and the DNS part of the adblock syntax, told apart line by line. Pure.

    0.0.0.0 ads.example          the name alone, because a hosts file means no other
    ads.example                  the name and all below it
    *.ads.example                the same
    ||ads.example^               the same
    |ads.example^                the name alone
    @@||ads.example^             an exception: neither it nor what is below is blocked, by whatever list
    # comment    ! comment    [Adblock Plus]

Rules that are about more than a name (modifiers but `$important`, paths, wildcards, regular expressions) mean something
else to a browser than to a resolver. They are skipped and counted, never guessed at. Lines that are no rule of any
syntax are skipped and told by number.

Of a name only a hash is kept: 56 bits of Python's own SipHash, over the name and a secret. Eight octets for a name are
what makes a million of them cheap; that an innocent name meets one of these by chance has odds of 1 to 10^10, and who
does not know the secret cannot look for such a name.
"""

import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from stubresolver.local.names import HOST_NAME, to_wire

# An entry is a hash with its lowest octet replaced: by this bit, and by the number of its list once it is in a table.
BELOW: Final = 0x80  # the names below it, too
HASH: Final = 0xFFFF_FFFF_FFFF_FF00

_LONGEST_LINE: Final = 4096
_TOLD: Final = 20  # lines that are told one by one; more are counted
_NAME: Final = rb"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*"
_RULE: Final = re.compile(  # nearly every line of every list, with nothing behind it
    rb"(?:(?:0\.0\.0\.0|127\.0\.0\.1|::1?)[ \t]+(?P<host>%b)|(?P<domain>(?:\|\||\*\.)?%b\^?))[ \t]*\r?" % (_NAME, _NAME)
)
_MARKS: Final = b"|*.^"
# Lines that hosts files begin with; to block these names would break the machine.
_OWN_NAMES: Final = frozenset(
    b"localhost localhost.localdomain local broadcasthost ip6-localhost ip6-loopback ip6-localnet ip6-mcastprefix "
    b"ip6-allnodes ip6-allrouters ip6-allhosts 0.0.0.0".split()
)


@dataclass(slots=True)
class ListFile:
    """What one file says; fed with its octets piece by piece."""

    file: str
    secret: bytes  # the same for all files of one table
    entries: "array[int]" = field(default_factory=lambda: array("Q"))
    exceptions: "array[int]" = field(default_factory=lambda: array("Q"))
    ignored: int = 0  # rules about more than a name
    invalid: int = 0  # lines that are no rule
    wide: int = 0  # rules that block a whole top-level domain
    _problems: list[str] = field(default_factory=list)
    _lines: int = 0
    _rest: bytes = b""

    @property
    def problems(self) -> Iterator[str]:
        """What a person should know about the file."""
        yield from self._problems
        if self.invalid > _TOLD:
            yield f"{self.file}: {self.invalid - _TOLD} more lines like these"
        if self.ignored:
            yield f"{self.file}: {self.ignored} rules about more than a name are skipped (modifiers, paths, patterns)"

    def feed(self, octets: bytes) -> None:
        """Read the next octets of the file; raises nothing, whatever they are."""
        lines = (self._rest + octets).lower().split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > 2 * _LONGEST_LINE:
            self._rest = self._rest[: _LONGEST_LINE + 1]  # too long already; what follows belongs to the same line
        self._read(lines)

    def close(self) -> None:
        """The file has ended, perhaps without a newline."""
        if self._rest:
            self._read([self._rest])
            self._rest = b""

    def _read(self, lines: list[bytes]) -> None:
        number = self._lines
        self._lines += len(lines)
        rule, put = _RULE.fullmatch, self._put
        for line in lines:
            number += 1
            found = rule(line)
            if found is None:
                self._read_slowly(line, number)
            elif found.lastgroup == "host":
                name = found["host"]
                if name not in _OWN_NAMES:
                    put(name, number, 0, self.entries)
            else:
                put(found["domain"].strip(_MARKS), number, BELOW, self.entries)

    def _put(self, name: bytes, number: int, flags: int, entries: "array[int]") -> None:
        wire = to_wire(name)
        if wire is None or name.rpartition(b".")[2].isdigit():  # no top-level domain is a number: RFC 3696 s2
            self._tell(number, name)
            return
        if flags and b"." not in name and entries is self.entries:
            self.wide += 1
            if self.wide <= _TOLD:
                self._problems.append(f"{self.file}:{number}: blocks every name below {name.decode()!r}")
        entries.append(hash(wire + self.secret) & HASH | flags)

    def _read_slowly(self, line: bytes, number: int) -> None:
        """A line with more than one name, a comment, or what nobody expects."""
        text = line.strip()
        if len(text) > _LONGEST_LINE:
            self._tell(number, text)
            return
        if not text or text[:1] in b"#!" or (text[:1] == b"[" and text[-1:] == b"]"):
            return
        if text.startswith((b"|", b"@@")) or b"$" in text:
            self._read_adblock(text, number)
            return
        fields = text.partition(b"#")[0].split()
        if text.startswith(b"/") or b"##" in text or b"#@#" in text or b"#?#" in text or b"*" in text[2:]:
            self.ignored += 1
        elif len(fields) > 1 and _is_address(fields[0]):
            for name in fields[1:]:
                self._put_written(name.removesuffix(b"."), number, 0)
        elif len(fields) == 1 and not _is_address(fields[0]):
            self._put_written(fields[0].removeprefix(b"*.").removesuffix(b"."), number, BELOW)
        else:
            self._tell(number, text)

    def _put_written(self, name: bytes, number: int, flags: int) -> None:
        if HOST_NAME.fullmatch(name):
            if name not in _OWN_NAMES or flags:
                self._put(name, number, flags, self.entries)
        else:
            self._tell(number, name)

    def _read_adblock(self, text: bytes, number: int) -> None:
        """A rule with marks: `@@` makes it an exception, `||` and `^` bound the name."""
        rule, _, modifiers = text.partition(b"$")
        entries = self.exceptions if rule.startswith(b"@@") else self.entries
        rule = rule.removeprefix(b"@@")
        name = rule.lstrip(b"|").removesuffix(b"|").removesuffix(b"^")
        if modifiers not in (b"", b"important") or not rule.startswith(b"|") or not HOST_NAME.fullmatch(name):
            if _is_printable(text):
                self.ignored += 1
            else:
                self._tell(number, text)
            return
        self._put(name, number, BELOW if rule.startswith(b"||") else 0, entries)

    def _tell(self, number: int, got: bytes) -> None:
        """A line that is none that we know."""
        self.invalid += 1
        if self.invalid <= _TOLD:
            shown = repr(got[:40].decode("ascii", "replace"))
            self._problems.append(f"{self.file}:{number}: {shown} is no rule, expected a name in ASCII")


def _is_address(text: bytes) -> bool:
    try:
        IPv6Address(text.decode("ascii")) if b":" in text else IPv4Address(text.decode("ascii"))
    except (AddressValueError, UnicodeDecodeError):
        return False
    return True


def _is_printable(text: bytes) -> bool:
    return text.isascii() and text.decode("ascii").isprintable()
