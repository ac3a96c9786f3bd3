"""A look into an answer that was parsed: its addresses and the names in its answer section, for rules about them.

The records were proved well formed by `Answer.parse`; the RDATA of SVCB and HTTPS (RFC 9460) was not, and where it does
not hold together the rest of it is left out. Pure.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Final

from stubresolver.wire.codes import AAAA, CNAME, DNAME, HTTPS, SVCB, A
from stubresolver.wire.names import after_name, read_once

_PARAMETER = struct.Struct(">HH")  # SvcParamKey, and how many octets its value has: RFC 9460 s2.2
_HINTS: Final = {4: (A, 4), 6: (AAAA, 16)}  # SvcParamKeys ipv4hint and ipv6hint: RFC 9460 s7.3


def records(wire: bytes, position: int, count: int) -> Iterator[tuple[int, int, int, int]]:
    """So many records from `position` on: where the owner starts, the type, where RDATA starts and where it ends."""
    for _ in range(count):
        start = position
        rdata = after_name(wire, start) + 10
        position = rdata + (wire[rdata - 2] << 8 | wire[rdata - 1])
        yield start, wire[rdata - 10] << 8 | wire[rdata - 9], rdata, position


def addresses(tail: bytes, ttls: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """Type and octets of every address that A, AAAA, SVCB and HTTPS records give; `ttls` is where each TTL stands.

    RFC 1035 s3.2.1: TYPE and CLASS stand before the TTL, RDLENGTH and RDATA behind it.
    """
    for ttl in ttls:
        kind = tail[ttl - 4] << 8 | tail[ttl - 3]
        if kind == A:
            yield A, tail[ttl + 6 : ttl + 10]
        elif kind == AAAA:
            yield AAAA, tail[ttl + 6 : ttl + 22]
        elif kind in (SVCB, HTTPS):
            yield from _hints(tail[ttl + 6 : ttl + 6 + (tail[ttl + 4] << 8 | tail[ttl + 5])])


def owners(wire: bytes, position: int, count: int) -> Iterator[bytes]:
    """Every owner, and every name that a CNAME or DNAME leads to; each once, whole and in lower case."""
    seen = set()
    names: dict[int, bytes] = {}
    for start, kind, rdata, _ in records(wire, position, count):
        for place in (start, rdata) if kind in (CNAME, DNAME) else (start,):
            name = read_once(wire, place, names)
            if name not in seen:
                seen.add(name)
                yield name


def _hints(rdata: bytes) -> Iterator[tuple[int, bytes]]:
    """The address hints of one SVCB or HTTPS record: SvcPriority, TargetName, then the parameters (RFC 9460 s2.2)."""
    position = 2
    while position < len(rdata) and rdata[position]:  # RFC 9460 s2.2: TargetName is not compressed
        position += rdata[position] + 1
    position += 1
    while position + 4 <= len(rdata):
        key, length = _PARAMETER.unpack_from(rdata, position)
        value = rdata[position + 4 : position + 4 + length]
        position += 4 + length
        if key in _HINTS and position <= len(rdata):
            kind, octets = _HINTS[key]
            for at in range(0, len(value) - octets + 1, octets):
                yield kind, value[at : at + octets]
