"""An upstream's answer: one walk over its octets that proves it well formed, and rendering for client after client.

`Answer.parse` raises `MalformedAnswer` and nothing but that, whatever the octets. After it, everything but the header,
the question and the OPT record is kept as it came. The client's own question takes the place of the upstream's: it has
the same length, so every compression pointer into it stays true. The upstream's OPT record (padding, its own sizes) is
replaced; extended errors in it are passed on. RFC 6891 s6.1.1 lets OPT stand anywhere in the additional section:
what follows it there is dropped, because moving it could break pointers and "extra information" may be left out
(RFC 2181 s9).
"""

import struct
from typing import Final, Self

from stubresolver.errors import MalformedAnswer
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
    SOA,
    SRV,
    TC,
    A,
)
from stubresolver.wire.edns import short_reply
from stubresolver.wire.opt import extended_errors, opt_record
from stubresolver.wire.query import Query

_TO_QUESTION: Final = 0xC00C  # the pointer to the question's name
_ADDRESSES: Final = {A: 4, AAAA: 16}  # RDLENGTH: RFC 1035 s3.4.1, RFC 3596 s2.2
_NAME_IN_RDATA: Final = {NS: 0, CNAME: 0, PTR: 0, DNAME: 0, MX: 2, SRV: 6}  # octets before the name that ends RDATA

_MAX_TTL: Final = 0x7FFFFFFF  # RFC 2181 s8

_COUNTS = struct.Struct(">3H")
_unpack_fields = struct.Struct(">HHIH").unpack_from  # TYPE, CLASS, TTL, RDLENGTH
_unpack_pointed = struct.Struct(">HHHIH").unpack_from  # the same behind an owner that is one compression pointer
_HEAD = struct.Struct(">BB4H")  # flags and counts
_TTL = struct.Struct(">I")
_OPT_PLAIN = opt_record()
_OPT_DO = opt_record(dnssec_ok=True)


class Answer:
    """A parsed answer, built only by `parse`. To all who use it immutable; it remembers its last rendering.

    `rcode` is its RCODE; `negative` says that it is NXDOMAIN or has no record of the type that was asked (RFC 2308 s2);
    `ttl` is for how many seconds it may be kept, 0 for not at all; `octets` is about what it occupies in memory.
    """

    __slots__ = ("_age", "_fresh", "_head", "_offsets", "_tail", "negative", "octets", "rcode", "ttl")

    def __init__(self, head: bytes, tail: bytes, offsets: tuple[int, ...], *, ttl: int, negative: bool) -> None:
        self._head = head  # flags and counts
        self._fresh = self._tail = tail  # what follows the question, as it came; and as last rendered
        self._offsets = offsets  # of each TTL, in the tail
        self._age = 0  # of the last rendering
        self.rcode = head[1] & RCODE
        self.ttl = ttl
        self.negative = negative
        self.octets = 270 + 2 * len(tail) + 24 * len(offsets)  # slots, two octet strings, a tuple of integers

    @classmethod
    def parse(cls, wire: bytes, query: bytes, *, edns: bool = True) -> Self:
        """Read the answer to `query`, the octets that `upstream_query` made, for clients with or without EDNS."""
        try:
            end = _match(wire, query)
            answers, authority, additional = _COUNTS.unpack_from(wire, 6)
            records = _walk(wire, end, answers, authority, additional)
        except (IndexError, struct.error):
            raise MalformedAnswer(f"the message of {len(wire)} octets ends inside a record") from None
        tail, offsets, additional, errors, ttl, negative = records
        dnssec_ok = query[end + 7 : end + 8] >= b"\x80"  # in the OPT record that follows the question
        # RFC 6840 s5.8: "validating resolvers SHOULD only set the AD bit when a response both meets the conditions ...
        # and the request contained either a set DO bit or a set AD bit." AA is never ours to set. RFC 4035 s3.2.2: CD
        # is copied from the query.
        validated = wire[3] & AD if dnssec_ok or query[3] & AD else 0
        if edns:
            opt = _OPT_DO if dnssec_ok else _OPT_PLAIN
            tail += opt_record(errors, dnssec_ok=dnssec_ok) if errors else opt
            additional += 1
        head = _HEAD.pack(
            QR | query[2] & RD,
            RA | validated | query[3] & CD | wire[3] & RCODE,
            1,
            answers,
            authority,
            additional,
        )
        return cls(head, tail, offsets, ttl=ttl, negative=negative)

    def render(self, query: Query, age: int) -> bytes:
        """The reply to one client: its own id and question, TTLs that are `age` seconds older, cut to its size."""
        if age != self._age:
            self._grow(age)
        wire = query.wire
        reply = b"".join((wire[:2], self._head, wire[12 : query.end], self._tail))
        if len(reply) > query.size:
            # RFC 2181 s9 lets a client ignore what a reply with TC holds, so it holds nothing.
            return short_reply(query, self.rcode, truncated=True)
        return reply

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
    wire: bytes, end: int, answers: int, authority: int, additional: int
) -> tuple[bytes, tuple[int, ...], int, bytes, int, bool]:
    """Prove every record after the question well formed.

    Returns the records that are kept, the offsets of their TTLs in that, how many of them are additional, the extended
    errors, for how long the whole may be kept, and whether it is negative.
    """
    asked = wire[end - 4] << 8 | wire[end - 3]
    position, cut, lowest = end, len(wire), _MAX_TTL
    errors: bytes | None = None
    negative, soa = True, False
    offsets = []
    fixes = []
    known = {_TO_QUESTION}  # pointers whose names were walked before
    for index in range(answers + authority + additional):
        start = position
        if wire[start] >= 0xC0:
            pointer, kind, klass, ttl, length = _unpack_pointed(wire, start)
            rdata = start + 12
            if pointer not in known:
                _skip_name(wire, start)
                known.add(pointer)
        else:
            rdata = _skip_name(wire, start) + 10
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
        if kind in _ADDRESSES:
            if length != _ADDRESSES[kind]:
                raise MalformedAnswer(f"an address of {length} octets, expected {_ADDRESSES[kind]}")
        elif kind in _NAME_IN_RDATA:
            if _skip_name(wire, rdata + _NAME_IN_RDATA[kind]) != position:
                raise MalformedAnswer(f"the name in a record of type {kind} does not end where the record ends")
        elif kind == SOA:
            minimum = _soa_minimum(wire, rdata, position)
            if answers <= index < answers + authority:
                # RFC 2308 s3: "The TTL of this record is set from the minimum of the MINIMUM field of the SOA record
                # and the TTL of the SOA itself".
                soa, lifetime = True, min(ttl, minimum)
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
            offsets.append(rdata - 6 - end)
    if position != len(wire):
        raise MalformedAnswer(f"the records take {position} octets, the message has {len(wire)}")
    tail = wire[end:cut]
    if fixes:
        patched = bytearray(wire)
        for offset, lifetime in fixes:
            _TTL.pack_into(patched, offset, lifetime)
        tail = bytes(patched[end:cut])
    rcode = wire[3] & RCODE
    negative = rcode == NXDOMAIN or (negative and not (asked == ANY and answers))
    # RFC 2308 s5: "negative responses without SOA records SHOULD NOT be cached as there is no way to prevent the
    # negative responses looping forever". Of other RCODEs the cache decides.
    keep = rcode in (NOERROR, NXDOMAIN) and (soa or not negative)
    return tail, tuple(offsets), additional, errors or b"", lowest if keep else 0, negative


def _skip_name(wire: bytes, position: int) -> int:
    """Where the name at `position` ends in the message; its whole expansion is checked.

    RFC 1035 s4.1.4: a pointer leads to "a prior occurrence", so each must lead further back than anything that was
    read for this name: loops cannot be.
    """
    segment, octets, after, pointers = position, 1, 0, 0
    while length := wire[position]:
        if length < 64:
            position += length + 1
            octets += length + 1
            if octets > 255:
                raise MalformedAnswer("a name of more than 255 octets")  # RFC 1035 s2.3.4
            continue
        if length < 0xC0:
            raise MalformedAnswer(f"a label starts with {length:#x}, expected at most 63 or a pointer")
        target = (length & 0x3F) << 8 | wire[position + 1]
        if not 12 <= target < segment:
            raise MalformedAnswer(f"a compression pointer at {position} to {target}, expected 12 to {segment - 1}")
        after = after or position + 2
        position = segment = target
        pointers += 1
        if pointers > 127:  # a name has at most 127 labels, and each pointer is worth one
            raise MalformedAnswer("a name of more than 127 compression pointers")
    return after or position + 1


def _soa_minimum(wire: bytes, rdata: int, end: int) -> int:
    """The MINIMUM field of an SOA record (RFC 1035 s3.3.13): two names, then five numbers of 32 bits."""
    if _skip_name(wire, _skip_name(wire, rdata)) + 20 != end:
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
