"""An upstream's answer: one walk over its octets that proves it well formed, and rendering for client after client.

`Answer.parse` raises `MalformedAnswer` and nothing but that, whatever the octets. After it, everything but the header,
the question and the OPT record is kept as it came. The client's own question takes the place of the upstream's: it has
the same length, so every compression pointer into it stays true. The upstream's OPT record (padding, its own sizes) is
replaced; extended errors in it are passed on, and SERVFAIL without one is told as that. RFC 6891 s6.1.1 lets OPT stand
anywhere in the additional section: what follows it there is dropped, because moving it could break pointers and "extra
information" may be left out (RFC 2181 s9).

What is in it belongs together and to one question: the answer section to the chain that the question leads to (see
`wire.chain`), the other sections are handed on beside it and never looked up by a name of their own.
"""

import struct
from collections.abc import Iterator
from typing import Final, Self

from stubresolver.errors import MalformedAnswer, MalformedQuery
from stubresolver.wire import contents
from stubresolver.wire.chain import follow
from stubresolver.wire.codes import (
    AAAA,
    AD,
    ANY,
    CD,
    CNAME,
    DNAME,
    IN,
    MX,
    NOERROR,
    NS,
    NXDOMAIN,
    OPCODE,
    OPT,
    PTR,
    QR,
    RA,
    RCODE,
    RD,
    RRSIG,
    SERVFAIL,
    SOA,
    SRV,
    TC,
    A,
)
from stubresolver.wire.edns import upstream_query_of
from stubresolver.wire.fit import fit
from stubresolver.wire.names import is_within, read_name, read_once, skip_name
from stubresolver.wire.opt import extended_error, extended_errors, opt_record, with_options
from stubresolver.wire.query import KEY_EDNS, Query

_TO_QUESTION: Final = 0xC00C  # the pointer to the question's name
_ADDRESSES: Final = {A: 4, AAAA: 16}  # RDLENGTH: RFC 1035 s3.4.1, RFC 3596 s2.2
_NAME_IN_RDATA: Final = {NS: 0, CNAME: 0, PTR: 0, DNAME: 0, MX: 2, SRV: 6}  # octets before the name that ends RDATA

_MAX_TTL: Final = 0x7FFFFFFF  # RFC 2181 s8
_STALE_TTL: Final = 30  # RFC 8767 s4
_STALE_ANSWER: Final = extended_error(3, b"")  # RFC 8914 s4.4
_STALE_NXDOMAIN: Final = extended_error(19, b"")  # RFC 8914 s4.20
_UNEXPLAINED: Final = extended_error(0, b"the upstream answered SERVFAIL and gave no reason")  # RFC 8914 s4.1

_COUNTS = struct.Struct(">3H")
_unpack_fields = struct.Struct(">HHIH").unpack_from  # TYPE, CLASS, TTL, RDLENGTH
_unpack_pointed = struct.Struct(">HHHIH").unpack_from  # the same behind an owner that is one compression pointer
_HEAD = struct.Struct(">BB4H")  # flags and counts
_TTL = struct.Struct(">I")
_unpack_lifetimes = struct.Struct(">4xII").unpack_from  # of an RRSIG: Original TTL, Signature Expiration
_OPT_PLAIN = opt_record()
_OPT_DO = opt_record(dnssec_ok=True)


class Answer:
    """A parsed answer, built only by `parse`. To all who use it immutable; it remembers its last rendering.

    `rcode` is its RCODE; `negative` says that it is NXDOMAIN or has no record of the type that was asked (RFC 2308 s2);
    `ttl` is for how many seconds it may be kept, 0 for not at all; `octets` is about what it occupies in memory.
    """

    __slots__ = ("_age", "_fresh", "_head", "_offsets", "_opt", "_tail", "negative", "octets", "rcode", "ttl")

    def __init__(
        self, head: bytes, tail: bytes, opt: bytes, offsets: tuple[int, ...], *, ttl: int, negative: bool
    ) -> None:
        self._head = head  # flags and counts
        self._opt = opt  # with which the tail ends; none for clients without EDNS
        self._fresh = self._tail = tail  # what follows the question, as it came; and as last rendered
        self._offsets = offsets  # of each TTL, in the tail
        self._age = 0  # of the last rendering
        self.rcode = head[1] & RCODE
        self.ttl = ttl
        self.negative = negative
        self.octets = 280 + 2 * len(tail) + 24 * len(offsets)  # slots, two octet strings, a tuple of integers

    @classmethod
    def parse(cls, wire: bytes, query: bytes, *, edns: bool = True, wall: int | None = None) -> Self:
        """Read the answer to `query`, the octets that `upstream_query` made, for clients with or without EDNS.

        With `wall`, seconds since 1970, it is kept no longer than its signatures are valid (RFC 4035 s5.3.3).
        """
        try:
            end = _match(wire, query)
            counts = answers, authority, _ = _COUNTS.unpack_from(wire, 6)
            records = _walk(wire, end, counts, wall)
        except (IndexError, struct.error):
            raise MalformedAnswer(f"the message of {len(wire)} octets ends inside a record") from None
        tail, offsets, additional, errors, ttl, negative = records
        dnssec_ok = query[end + 7 : end + 8] >= b"\x80"  # in the OPT record that follows the question
        # RFC 6840 s5.8: "validating resolvers SHOULD only set the AD bit when a response both meets the conditions ...
        # and the request contained either a set DO bit or a set AD bit." AA is never ours to set. RFC 4035 s3.2.2: CD
        # is copied from the query. RFC 3225 s3: so is DO.
        validated = wire[3] & AD if dnssec_ok or query[3] & AD else 0
        opt = b""
        if edns:
            opt = _OPT_DO if dnssec_ok else _OPT_PLAIN
            if errors or wire[3] & RCODE == SERVFAIL:
                opt = with_options(opt, errors or _UNEXPLAINED)
            additional += 1
        head = _HEAD.pack(
            QR | query[2] & RD,
            RA | validated | query[3] & CD | wire[3] & RCODE,
            1,
            answers,
            authority,
            additional,
        )
        return cls(head, tail + opt, opt, offsets, ttl=ttl, negative=negative)

    @classmethod
    def load(cls, octets: bytes, key: bytes, *, wall: int | None = None) -> Self:
        """What `dump` gave, for the query of that key; raises `MalformedAnswer`, as `parse` does of an upstream's."""
        try:
            asked = upstream_query_of(key)
            if Query(asked).key[:-1] != key[:-1]:
                raise MalformedAnswer("the key's name is not in lower case")
        except (MalformedQuery, IndexError):
            raise MalformedAnswer(f"a key of {len(key)} octets that is no question") from None
        wire = b"".join((asked[:2], octets[: _HEAD.size], key[:-1], octets[_HEAD.size :]))
        return cls.parse(wire, asked, edns=key[-1] & KEY_EDNS != 0, wall=wall)

    def dump(self) -> bytes:
        """The answer as octets without its question, with the TTLs that it came with."""
        return self._head + self._fresh

    def cap(self, ttl: int) -> None:
        """Let no TTL be longer: for who has just parsed it, before anybody else sees it (RFC 8767 s4)."""
        fresh, unpack = self._fresh, _TTL.unpack_from
        for offset in self._offsets:
            if unpack(fresh, offset)[0] > ttl:
                break
        else:
            return  # nearly every answer
        tail = bytearray(fresh)
        for offset in self._offsets:
            _TTL.pack_into(tail, offset, min(ttl, unpack(tail, offset)[0]))
        self._fresh = self._tail = bytes(tail)
        self.ttl = min(self.ttl, ttl)

    def render(self, query: Query, age: int) -> bytes:
        """The reply to one client: its own id and question, TTLs that are `age` seconds older, cut to its size."""
        if age != self._age:
            self._grow(age)
        wire = query.wire
        reply = b"".join((wire[:2], self._head, wire[12 : query.end], self._tail))
        if len(reply) > query.size or query.extra:
            return fit(reply, query, len(self._opt), positive=not self.negative)
        return reply

    def render_stale(self, query: Query, ttl: int = _STALE_TTL) -> bytes:
        """The reply to one client after the answer's end: all TTLs are `ttl`, an extended error says that it is old.

        AD is clear: what the upstream validated then, it might not now.
        """
        tail = bytearray(self._fresh)
        for offset in self._offsets:
            _TTL.pack_into(tail, offset, ttl)
        opt = self._opt
        if opt:
            opt = with_options(opt, _STALE_NXDOMAIN if self.rcode == NXDOMAIN else _STALE_ANSWER)
            tail[-len(self._opt) :] = opt
        head, wire = self._head, query.wire
        flags = bytes((head[0], head[1] & ~AD))
        reply = b"".join((wire[:2], flags, head[2:], wire[12 : query.end], tail))
        if len(reply) > query.size or query.extra:
            return fit(reply, query, len(opt), positive=not self.negative)
        return reply

    def addresses(self) -> Iterator[tuple[int, bytes]]:
        """Every address in any section, those that SVCB and HTTPS records hint at too: A or AAAA, and octets.

        Not in the answer section alone: RFC 9460 s4.1 has resolvers put the addresses of a service beside its records.
        """
        return contents.addresses(self._fresh, self._offsets)

    def owners(self, query: Query) -> Iterator[bytes]:
        """Every name in the answer section that has a record or that an alias leads to; whole, in lower case, once.

        `query` is any that the answer is kept for: the answer itself does not hold its question.
        """
        message = query.wire[: query.end] + self._fresh
        return contents.owners(message, query.end, self._answers)

    @property
    def _answers(self) -> int:
        """How many records the answer section has."""
        return self._head[4] << 8 | self._head[5]

    def _grow(self, age: int) -> None:
        """Make the tail for another age; kept, because most renderings of a busy answer fall into the same second."""
        tail = bytearray(self._fresh)
        for offset in self._offsets:
            (ttl,) = _TTL.unpack_from(tail, offset)
            _TTL.pack_into(tail, offset, ttl - age if ttl > age else 0)
        self._tail = bytes(tail)
        self._age = age


def _match(wire: bytes, query: bytes) -> int:
    """Check that this answers that query (RFC 5452 s9.1) and is whole; where the question ends in both."""
    end = 12
    while query[end]:
        end += query[end] + 1
    end += 5
    if wire[:2] != query[:2]:
        raise MalformedAnswer(f"id {wire[:2].hex()}, expected {query[:2].hex()}")
    if wire[2] & (QR | OPCODE | TC) != QR:
        raise MalformedAnswer(f"flags {wire[2:4].hex()}, expected a whole response (QR, no TC) with opcode 0")
    if wire[4:6] != b"\0\1":
        raise MalformedAnswer(f"{wire[4] << 8 | wire[5]} questions, expected 1")
    # RFC 4343 s3: names are compared without regard to case; the type and the class after them are numbers.
    if wire[12:end] != query[12:end] and (
        wire[12 : end - 4].lower() != query[12 : end - 4].lower() or wire[end - 4 : end] != query[end - 4 : end]
    ):
        raise MalformedAnswer("the answer to another question")
    return end


def _walk(  # noqa: C901, PLR0912, PLR0915 - one loop on the hot path: each call it made would cost 0.1 µs per record
    wire: bytes, end: int, counts: tuple[int, int, int], wall: int | None
) -> tuple[bytes, tuple[int, ...], int, bytes, int, bool]:
    """Prove every record after the question well formed.

    Returns the records that are kept, the offsets of their TTLs in that, how many of them are additional, the extended
    errors, for how long the whole may be kept, and whether it is negative.
    """
    answers, authority, additional = counts
    asked = wire[end - 4] << 8 | wire[end - 3]
    position, cut, lowest = end, len(wire), _MAX_TTL
    errors: bytes | None = None
    negative, aliased = True, False
    offsets: list[int] = []
    fixes = []
    authorities = []  # where the SOA records of the authority section start
    proved: dict[int, int] = {}  # what names pointed to before; else 64 KiB of long names would take half a second
    for index in range(answers + authority + additional):
        start = position
        if wire[start] >= 0xC0:
            pointer, kind, klass, ttl, length = _unpack_pointed(wire, start)
            rdata = start + 12
            if pointer != _TO_QUESTION:
                skip_name(wire, start, end, offsets, proved)
                if index < answers:
                    aliased = True
        else:
            rdata = skip_name(wire, start, end, offsets, proved) + 10
            if index < answers:
                aliased = True
            kind, klass, ttl, length = _unpack_fields(wire, rdata - 10)
        position = rdata + length
        if kind == OPT:
            if errors is not None or index < answers + authority or wire[start]:
                raise MalformedAnswer("an OPT record that is not the only one, in the additional section, at the root")
            errors = _read_opt(wire, ttl, rdata, position)
            cut, additional = start, index - answers - authority
            continue
        if klass != IN:
            raise MalformedAnswer(f"a record of class {klass}, expected 1 (IN)")
        lifetime = ttl
        if errors is None:
            offsets.append(rdata - 6 - end)
        if kind in _ADDRESSES:
            if length != _ADDRESSES[kind]:
                raise MalformedAnswer(f"an address of {length} octets, expected {_ADDRESSES[kind]}")
        elif kind in _NAME_IN_RDATA:
            if skip_name(wire, rdata + _NAME_IN_RDATA[kind], end, offsets, proved) != position:
                raise MalformedAnswer(f"the name in a record of type {kind} does not end where the record ends")
            if kind in (CNAME, DNAME) and index < answers:
                aliased = True
        elif kind == SOA:
            numbers = skip_name(wire, skip_name(wire, rdata, end, offsets, proved), end, offsets, proved)
            minimum = _soa_minimum(wire, numbers, position)
            if answers <= index < answers + authority:
                # RFC 2308 s3: "The TTL of this record is set from the minimum of the MINIMUM field of the SOA record
                # and the TTL of the SOA itself".
                authorities.append(start)
                lifetime = min(ttl, minimum)
        elif kind == RRSIG:
            lowest = min(lowest, _signature_lifetime(wire, rdata, length, wall))
        # RFC 2181 s8: "treat TTL values received with the most significant bit set as if the entire value received was
        # zero". RFC 8767 s4 would take them as very long; zero never keeps anything too long.
        if ttl > _MAX_TTL:
            lifetime = 0
        if errors is None:
            if kind == asked and index < answers:
                negative = False
            if lifetime != ttl:
                fixes.append((rdata - 6, lifetime))
            if lifetime < lowest:  # noqa: PLR1730 - min() costs four times as much
                lowest = lifetime
    if position != len(wire):
        raise MalformedAnswer(f"the records take {position} octets, the message has {len(wire)}")
    tail = wire[end:cut]
    if fixes:
        patched = bytearray(wire)
        for offset, lifetime in fixes:
            _TTL.pack_into(patched, offset, lifetime)
        tail = bytes(patched[end:cut])
    last = None
    if aliased:
        last, found = follow(wire, end, answers, asked)
        negative = not found
    rcode = wire[3] & RCODE
    negative = rcode == NXDOMAIN or (negative and not (asked == ANY and answers))
    keep = rcode in (NOERROR, NXDOMAIN) and not (negative and not _has_authority(wire, authorities, last))
    return tail, tuple(offsets), additional, errors or b"", lowest if keep else 0, negative


def _has_authority(wire: bytes, authorities: list[int], last: bytes | None) -> bool:
    """Whether one of the SOA records is of a zone that the last name of the chain is in.

    RFC 2308 s5: "negative responses without SOA records SHOULD NOT be cached as there is no way to prevent the negative
    responses looping forever". RFC 2308 s3: it is the SOA record of "the zone" that the answer is about.
    """
    name = read_name(wire, 12) if last is None else last
    names: dict[int, bytes] = {}
    return any(is_within(name, read_once(wire, start, names)) for start in authorities)


def _signature_lifetime(wire: bytes, rdata: int, length: int, wall: int | None) -> int:
    """For how many seconds an RRSIG record lets the RRset that it covers be kept.

    RFC 4035 s5.3.3: no longer than the RRset's and the RRSIG's own TTL, which count like any other, the Original TTL,
    and the time until the signature expires. RFC 4034 s3.1.5: that one is compared in serial number arithmetic.
    """
    if length < 19:
        raise MalformedAnswer(f"an RRSIG record of {length} octets, expected at least 19")
    original: int
    original, expiration = _unpack_lifetimes(wire, rdata)
    if wall is None:
        return min(original, _MAX_TTL)
    left: int = (expiration - wall) & 0xFFFFFFFF
    return min(original, left) if left <= _MAX_TTL else 0


def _soa_minimum(wire: bytes, numbers: int, end: int) -> int:
    """The MINIMUM field of an SOA record (RFC 1035 s3.3.13), the last of five numbers of 32 bits behind two names."""
    if numbers + 20 != end:
        raise MalformedAnswer("an SOA record that does not end where its RDATA ends")
    minimum: int = _TTL.unpack_from(wire, end - 4)[0]
    return minimum


def _read_opt(wire: bytes, ttl: int, rdata: int, end: int) -> bytes:
    """The extended errors in the upstream's OPT record."""
    # RFC 6891 s6.1.3: the upper eight bits of the TTL extend the RCODE. Such codes (BADVERS, BADCOOKIE) are about our
    # hop and mean nothing to our client.
    if ttl >> 24:
        raise MalformedAnswer(f"extended RCODE {(ttl >> 24) << 4 | wire[3] & RCODE}, expected below 16")
    errors = extended_errors(wire, rdata, end)
    if errors is None or end > len(wire):
        raise MalformedAnswer("the options do not fill the OPT record")
    return errors
