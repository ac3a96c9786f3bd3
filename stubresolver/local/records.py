"""Static records: what the configuration says a name has, of any type (RFC 1035 s3.6). Pure.

A name that has a record here is answered here whole: another type of it is empty, and nothing is asked upstream. An
alias (RFC 1034 s3.6.2) is followed through what is known here; where it leads to a name that is not, it is answered as
it stands. Names below one with records, and above it, are not touched. There are no wildcards and no DNAME.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from stubresolver.errors import BadInput
from stubresolver.local.replies import FILE_TTL, negative, positive, record
from stubresolver.wire.codes import ANY, CNAME, DNAME, NOERROR, OPT, SIG, TSIG
from stubresolver.wire.query import Query

_LONGEST_CHAIN: Final = 8  # aliases that are followed; RFC 1034 s5.2.2 wants a bound and names none
_MOST_RECORDS: Final = 1000  # of a name and type; a message of 64 KiB holds few more
_META: Final = range(128, 256)  # RFC 6895 s3.1: QTYPEs and meta-TYPEs, which no zone holds


@dataclass(frozen=True, slots=True)
class Record:
    """One record in wire format; the owner in lower case."""

    owner: bytes
    type: int
    ttl: int
    rdata: bytes


# What is known here of a name that has no static record: (TYPE, TTL, RDATA) of one type; None where it is not known.
Elsewhere = Callable[[bytes, int], Iterable[tuple[int, bytes]] | None]


class StaticRecords:
    """Records by name and type. Immutable."""

    __slots__ = ("_by_name",)

    def __init__(self, records: Iterable[Record] = ()) -> None:
        """Raises `BadInput` for a record that cannot be served."""
        self._by_name: dict[bytes, dict[int, list[Record]]] = {}
        for one in dict.fromkeys(records):
            _check(one)
            self._by_name.setdefault(one.owner, {}).setdefault(one.type, []).append(one)
        for owner, types in self._by_name.items():
            # RFC 2181 s10.1: an alias has one canonical name; RFC 1034 s3.6.2: and no other data.
            if CNAME in types and (len(types) > 1 or len(types[CNAME]) > 1):
                raise BadInput(f"{shown(owner)} has a CNAME record and another one, expected the CNAME alone")
            if any(len(found) > _MOST_RECORDS for found in types.values()):
                raise BadInput(f"{shown(owner)} has more than {_MOST_RECORDS:,} records of a type")

    def __len__(self) -> int:
        return sum(len(found) for types in self._by_name.values() for found in types.values())

    @property
    def owners(self) -> Iterable[bytes]:
        """The names that have a record."""
        return self._by_name.keys()

    def aliases(self) -> Iterator[tuple[bytes, bytes]]:
        """Each alias with its target."""
        for owner, types in self._by_name.items():
            for one in types.get(CNAME, ()):
                yield owner, one.rdata.lower()

    def reply(self, query: Query, name: bytes, elsewhere: Elsewhere) -> bytes:
        """The reply for a name in `owners`; `elsewhere` is asked about names that aliases lead to."""
        answer: list[bytes] = []
        owner: bytes | None = None  # the name that was asked
        for _ in range(_LONGEST_CHAIN):
            types = self._by_name.get(name)
            if types is None:
                found = elsewhere(name, query.type) or ()
                answer += [record(query.type, ttl, rdata, owner) for ttl, rdata in found]
                break
            wanted = _wanted(types, query.type)
            answer += [record(one.type, one.ttl, one.rdata, owner) for one in wanted]
            alias = types.get(CNAME)
            if alias is None or query.type in (CNAME, ANY):
                break
            answer.append(record(CNAME, alias[0].ttl, alias[0].rdata, owner))
            name = owner = alias[0].rdata.lower()
        if answer:
            return positive(query, b"".join(answer), len(answer))
        return negative(query, NOERROR, 0, FILE_TTL)


def _wanted(types: dict[int, list[Record]], qtype: int) -> Iterator[Record]:
    """The records of a name that a query for a type asks for."""
    for kind, found in types.items():
        if qtype in (kind, ANY):
            yield from found


def _check(one: Record) -> None:
    """Raise `BadInput` for what cannot be served from a list of records."""
    if one.owner.startswith(b"\x01*"):
        raise BadInput(f"{shown(one.owner)}: wildcards are not served here; write each name that is asked for")
    if one.type == DNAME:
        raise BadInput(f"{shown(one.owner)}: DNAME records are not served here; write a CNAME record for each name")
    if one.type in _META or one.type in (OPT, SIG, TSIG):
        raise BadInput(f"{shown(one.owner)}: type {one.type} is none that a name can have")
    if one.owner == b"\0":
        raise BadInput("a record of the root: the root is not ours to answer for")


def shown(name: bytes) -> str:
    """A name of the configuration for a person."""
    labels = []
    position = 0
    while length := name[position]:
        labels.append(name[position + 1 : position + 1 + length].decode("ascii", "replace"))
        position += length + 1
    return ".".join(labels) or "."
