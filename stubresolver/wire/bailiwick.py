"""What of an answer its server may speak for, and answers put together of such parts.

Whoever is asked about certain zones is believed about these, not about the rest of the world: a record at another name
would be handed on in our reply, and whoever stands behind us might keep it under that name. So records elsewhere are
left out, except for those that only prove or date an absence. Where the aliases lead out of the zones (RFC 1034
s3.6.2), the answer ends there, and what follows is another server's to say.

Records are taken out whole, with the names in them written out (RFC 1035 s4.1.4), those of the types that may be
compressed at all and that `Answer.parse` proves. RFC 3597 s4: other types "MUST NOT" have been compressed. The octets
were proved well formed before. Pure.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from stubresolver.errors import MalformedAnswer
from stubresolver.wire.codes import AD, ANY, CNAME, DNAME, KEY, MX, NS, NSEC, NSEC3, OPT, PTR, RRSIG, SOA, SRV
from stubresolver.wire.contents import records
from stubresolver.wire.names import after_name, is_within, read_name, read_once

_LONGEST: Final = 65_535  # RFC 1035 s4.2.2: a message has a length of two octets
_TO_QUESTION: Final = b"\xc0\x0c"
_MAX_TTL: Final = 0x7FFFFFFF  # RFC 2181 s8
_NAME_IN_RDATA: Final = {NS: 0, CNAME: 0, PTR: 0, DNAME: 0, MX: 2, SRV: 6}  # octets before the name that ends RDATA
_PROOFS: Final = frozenset({SOA, NSEC, NSEC3, RRSIG})  # of an absence: RFC 2308 s3, RFC 4035 s3.1.3, RFC 5155 s7.2
_BESIDE_CNAME: Final = frozenset({CNAME, RRSIG, NSEC, KEY, ANY})  # asked for at an alias, this is not looked for beyond

_COUNTS = struct.Struct(">3H")
_FIELDS = struct.Struct(">HHIH")  # TYPE, CLASS, TTL, RDLENGTH


Record = tuple[bytes, bytes]  # owner, and what follows it


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The part of an answer that is believed."""

    flags: bytes
    answers: tuple[Record, ...]
    authority: tuple[Record, ...]
    additional: tuple[Record, ...]
    opt: bytes
    onward: bytes | None  # the name that the aliases lead to and that is to be asked elsewhere
    whole: bool  # nothing was left out or changed

    def followed_by(self, rest: "Excerpt") -> "Excerpt":
        """These aliases and what was said elsewhere about the name that they lead to."""
        # RFC 4035 s3.2.3: AD says that all of the answer and authority sections is authentic.
        authentic = self.flags[1] & rest.flags[1] & AD
        return Excerpt(
            flags=bytes((rest.flags[0], rest.flags[1] & ~AD | authentic)),
            answers=self.answers + rest.answers,
            authority=self.authority + rest.authority,
            additional=rest.additional,
            opt=rest.opt,
            onward=rest.onward,
            whole=False,
        )

    def message(self, query: bytes) -> bytes:
        """The answer to `query`, which has its question and then OPT; raises `MalformedAnswer` for one too large."""
        sections = (self.answers, self.authority, self.additional)
        counts = _COUNTS.pack(*map(len, sections[:2]), len(self.additional) + bool(self.opt))
        head = query[:2] + self.flags + query[4:6] + counts
        end = after_name(query, 12)
        name = query[12:end].lower()
        parts = [(_TO_QUESTION if owner == name else owner) + rest for section in sections for owner, rest in section]
        message = b"".join((head, query[12 : end + 4], *parts, self.opt))
        if len(message) > _LONGEST:
            raise MalformedAnswer(f"{len(message)} octets when put together, expected at most {_LONGEST}")
        return message


class _Believed:
    """Asks about each name once, and not about more names than an answer can have in earnest."""

    def __init__(self, ask: Callable[[bytes], bool]) -> None:
        self._ask = ask
        self._known: dict[bytes, bool] = {}
        self._octets = 0

    def __call__(self, name: bytes) -> bool:
        known = self._known.get(name)
        if known is None:
            self._octets += len(name)
            if self._octets > _LONGEST:
                raise MalformedAnswer(f"records at names of more than {_LONGEST} octets together")
            known = self._known[name] = self._ask(name)
        return known


def excerpt(wire: bytes, believed: Callable[[bytes], bool], max_ttl: int | None = None) -> Excerpt:
    """What of an answer is at names that its server is believed about, for `max_ttl` seconds at most.

    Raises `MalformedAnswer` where its records stand at so many names that nobody means them: compression lets a message
    speak of megabytes.
    """
    first, end = read_name(wire, 12), after_name(wire, 12) + 4
    asked = wire[end - 4] << 8 | wire[end - 3]
    names = {12: first}  # those that pointers lead to, by where they start
    once = _Believed(believed)
    chain, onward = _chain(wire, end, names, once)
    sections: tuple[list[Record], list[Record], list[Record]] = ([], [], [])
    opt, whole, position = b"", True, end
    for section, count in enumerate(_COUNTS.unpack_from(wire, 6)):
        for start, kind, rdata, after in records(wire, position, count):
            position = after
            owner = read_once(wire, start, names)
            if kind == OPT:
                opt = wire[start:after]
            elif not _is_kept(owner, kind, section, chain, once):
                whole = False
            else:
                record, same = _record(wire, kind, (rdata, after), max_ttl, names)
                whole = whole and same
                sections[section].append((owner, record))
    answers, authority, additional = map(tuple, sections)
    onward = None if asked in _BESIDE_CNAME else onward
    return Excerpt(wire[2:4], answers, authority, additional, opt, onward, whole and onward is None)


def _chain(
    wire: bytes, end: int, names: dict[int, bytes], believed: Callable[[bytes], bool]
) -> tuple[Sequence[bytes], bytes | None]:
    """The names that the question leads to as far as they are believed, and the one at which that ends.

    By CNAME alone: RFC 6672 s3.1 has every server add the CNAME record that a DNAME comes to.
    """
    aliases = dict(_aliases(wire, end, names))
    name = names[12]
    chain = [name]
    while (following := aliases.get(name)) is not None and following not in chain:
        if not believed(following):
            return chain, following
        chain.append(following)
        name = following
    return chain, None


def _aliases(wire: bytes, end: int, names: dict[int, bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Owner and target of each CNAME record in the answer section."""
    for start, kind, rdata, _ in records(wire, end, wire[6] << 8 | wire[7]):
        if kind == CNAME:
            yield read_once(wire, start, names), read_once(wire, rdata, names)


def _is_kept(owner: bytes, kind: int, section: int, chain: Sequence[bytes], believed: Callable[[bytes], bool]) -> bool:
    """Whether a record stays: in the answer at a name of the chain or a DNAME's above it, elsewhere in the zones."""
    if section == 0:
        redirects = kind in (DNAME, RRSIG) and any(is_within(name, owner) for name in chain)
        return believed(owner) and (owner in chain or redirects)
    return believed(owner) or (section == 1 and kind in _PROOFS)


def _record(
    wire: bytes, kind: int, place: tuple[int, int], max_ttl: int | None, names: dict[int, bytes]
) -> tuple[bytes, bool]:
    """What follows the owner in a record, with its names written out; and whether its TTL stayed the same.

    `place` is where its RDATA starts and ends.
    """
    rdata, end = place
    _, klass, ttl, _ = _FIELDS.unpack_from(wire, rdata - _FIELDS.size)
    kept = ttl if max_ttl is None or ttl > _MAX_TTL else min(ttl, max_ttl)  # beyond it, a TTL means zero
    if kind in _NAME_IN_RDATA:
        before = rdata + _NAME_IN_RDATA[kind]
        data = wire[rdata:before] + read_once(wire, before, names)
    elif kind == SOA:
        second = after_name(wire, rdata)
        data = read_once(wire, rdata, names) + read_once(wire, second, names) + wire[end - 20 : end]
    else:
        data = wire[rdata:end]
    return _FIELDS.pack(kind, klass, kept, len(data)) + data, kept == ttl
