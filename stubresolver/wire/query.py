"""What a client asked: one strict walk over its octets, into the few facts that the rest of the program needs.

A query is one question (RFC 9619 s4), nothing in the answer and authority sections, and at most one OPT record
(RFC 6891 s6.1.1). Anything else raises `MalformedQuery` and nothing but that, whatever the octets. Decisions:

* RD=0 is not refused: the bit travels on and is part of the key, so the upstream says what it means and nobody can look
  into what others asked (cache snooping).
* QTYPE=ANY is a query like any other here; the listeners answer it themselves (`wire.own`).
* Meta-types other than ANY (AXFR, IXFR, TKEY, ...; RFC 6895 s3.1) and classes other than the one that is expected are
  not implemented here: NOTIMP, "the name server does not support the requested kind of query" (RFC 1035 s4.1.1). So is
  a TSIG or SIG(0): forwarding it unchanged (RFC 8945 s5.5) would exclude our own padding, and we share no key. NXNAME
  is FORMERR, because RFC 9824 s3.5 says so.
* AA, TC, RA, Z and RCODE of a query and the EDNS bits other than DO are ignored and not sent on. So are all options;
  COOKIE and TCP keepalive are answered by the listeners.
"""

import struct
from typing import Final

from stubresolver.errors import MalformedQuery
from stubresolver.wire.codes import (
    AD,
    ANY,
    BADVERS,
    CD,
    FORMERR,
    NOTIMP,
    NXNAME,
    OPCODE,
    OPT,
    QR,
    RA,
    RCODE,
    RD,
    SIG,
    TSIG,
)
from stubresolver.wire.cookie import is_well_formed
from stubresolver.wire.opt import (
    COOKIE,
    KEEPALIVE,
    OPT_OCTETS,
    OPT_START,
    UDP_PAYLOAD,
    extended_errors,
    find_option,
    opt_record,
)

# The last octet of a key. RD, AD and CD stand where the header has them.
KEY_EDNS: Final = 0x02
KEY_DO: Final = 0x80

# The keys of remembered queries, by the octets after the id: what a strict walk found in them stays true. Octet strings
# only, which the garbage collector does not look at; bounded in number and size, to 2.5 MiB at most; when full, it
# starts anew. A person's programs ask about 1,000 names a day.
_keys: Final[dict[bytes, bytes]] = {}
_REMEMBERED: Final = 2048
_REMEMBERED_OCTETS: Final = 512

_PLAIN = b"\0\1\0\0\0\0\0\0"  # QDCOUNT 1, ANCOUNT 0, NSCOUNT 0, ARCOUNT 0
_WITH_OPT = b"\0\1\0\0\0\0\0\1"
_OPT_ALONE = b"\0\0\0\0\0\0\0\1"
_NOT_A_QUERY = QR | OPCODE
CLASS_IN: Final = b"\0\1"
_OPT_FIELDS = struct.Struct(">6xBHH")  # version, flags, RDLENGTH
_RECORD_FIELDS = struct.Struct(">H6xH")  # TYPE, RDLENGTH
_OCTET = tuple(bytes((value,)) for value in range(256))


class Query:
    """One client's question, built only by parsing.

    `wire` are the octets as they came, `end` is where the question ends in them, `key` tells questions with different
    answers apart (question in lower case, then one octet of RD, CD, AD, EDNS and DO), `size` is how many octets the
    reply may have. `extra` are the options that belong into this client's reply only, none for nearly all; a listener
    sets it and every rendering heeds it. `is_remembered` says that the octets were looked at before, for a query
    without any such option.
    """

    __slots__ = ("end", "extra", "is_remembered", "key", "size", "wire")

    def __init__(self, wire: bytes, *, tcp: bool = False, klass: bytes = CLASS_IN) -> None:
        """Raises `MalformedQuery`; `klass` is the one class that is expected."""
        self.wire = wire
        self.extra = b""
        key = _keys.get(wire[2:])
        if key is None:
            key = _walk(wire, klass)
            self.is_remembered = False
        else:
            self.is_remembered = True
        self.key = key
        self.end = end = len(key) + 11  # the header has 12 octets, the key one more than the question
        if tcp:
            self.size = 65535
        elif key[-1] & KEY_EDNS:
            # RFC 6891 s6.2.3: "Values lower than 512 MUST be treated as equal to 512."
            payload = wire[end + 3] << 8 | wire[end + 4]
            self.size = UDP_PAYLOAD if payload >= UDP_PAYLOAD else max(payload, 512)
        else:
            self.size = 512  # RFC 1035 s4.2.1

    @property
    def name(self) -> bytes:
        """The name in wire form and lower case, with the root's octet at its end."""
        return self.key[:-5]

    @property
    def type(self) -> int:
        """The type that is asked for."""
        return self.key[-5] << 8 | self.key[-4]

    @property
    def has_edns(self) -> bool:
        """Whether the client sent an OPT record, so that the reply has one, too (RFC 6891 s6.1.1)."""
        return self.key[-1] & KEY_EDNS != 0

    def option(self, code: int) -> bytes | None:
        """The data of the client's first option of that code; None without one."""
        return find_option(self.wire, self.end + OPT_OCTETS, len(self.wire), code)

    def trim(self) -> None:
        """Keep no octets that a reply has no use for; for one that waits, after its options were looked at."""
        if len(self.wire) > self.end + OPT_OCTETS:
            self.wire = self.wire[: self.end + OPT_OCTETS]

    def remember(self) -> None:
        """Spare the next query of the same octets the walk; worth it for those whose answers are at hand.

        A query whose reply has options of its own is looked at each time, or it would get none or another one's.
        """
        if self.is_remembered or len(self.wire) > _REMEMBERED_OCTETS or self.key[-3:-1] != CLASS_IN:
            return
        if self.option(COOKIE) is not None or self.option(KEEPALIVE) is not None:
            return
        if len(_keys) >= _REMEMBERED:
            _keys.clear()
        _keys[self.wire[2:]] = self.key


def malformed_reply(datagram: bytes, error: MalformedQuery) -> bytes | None:
    """What to say to a client whose octets are no query that we serve; None for silence.

    Never longer than what the client sent, and never an answer to a response, so that nobody can make two servers
    talk to each other or us to a third party (RFC 1035 s7.3: a response is matched to a request or dropped).
    """
    if error.rcode is None or len(datagram) < 12 or datagram[2] & QR:
        return None
    end = _question_end(datagram)
    # RFC 6891 s6.1.1: "If an OPT record is present in a received request, compliant responders MUST include an OPT
    # record in their respective responses."
    has_opt = len(datagram) >= end + OPT_OCTETS and datagram[end : end + 3] == OPT_START
    has_opt = has_opt and (end > 12 or datagram[4:12] == _OPT_ALONE)
    opt = b""
    if has_opt:
        # RFC 3225 s3: "The DO bit of the query MUST be copied in the response."
        opt = opt_record(dnssec_ok=datagram[end + 7] >= 0x80, extended_rcode=error.rcode >> 4)
    flags = bytes((QR | datagram[2] & (OPCODE | RD), RA | datagram[3] & CD | error.rcode & RCODE))
    counts = bytes((0, 1 if end > 12 else 0, 0, 0, 0, 0, 0, 1 if has_opt else 0))
    return datagram[:2] + flags + counts + datagram[12:end] + opt


def _walk(wire: bytes, klass: bytes) -> bytes:
    """Prove that the octets are a query; its key."""
    counts = wire[4:12]
    if (counts != _PLAIN and counts != _WITH_OPT) or wire[2] & _NOT_A_QUERY:  # noqa: PLR1714 - quicker than a set
        raise _header_problem(wire)
    position = 12
    try:
        while length := wire[position]:
            if length > 63:
                raise MalformedQuery(f"a label in the question starts with {length:#x}, expected 1 to 63", FORMERR)
            position += length + 1
        # A type of 128 and above with a high octet of zero is a meta-type (RFC 6895 s3.1); so is OPT.
        kind = wire[position + 2]
        if (kind >= 128 or kind == OPT) and kind != ANY and not wire[position + 1]:
            # RFC 9824 s3.5: of NXNAME "the DNS server MUST return a Format Error"; resolvers do not forward it.
            raise MalformedQuery(f"the meta-type {kind} is not served here", FORMERR if kind == NXNAME else NOTIMP)
    except IndexError:
        raise MalformedQuery(f"the message of {len(wire)} octets ends inside the question", FORMERR) from None
    end = position + 5
    if position > 12 + 254 or wire[position + 3 : end] != klass:
        raise _question_problem(wire, position, klass)
    bits = wire[2] & RD | wire[3] & (AD | CD)
    if counts == _WITH_OPT:
        bits |= _read_opt(wire, end)
    elif len(wire) != end:
        raise MalformedQuery(f"{len(wire) - end} octets follow the question, expected none", FORMERR)
    # Only the name is lowered: in the type, 0x41 is HTTPS and 0x61 is not.
    return wire[12 : position + 1].lower() + wire[position + 1 : end] + _OCTET[bits]


def _read_opt(wire: bytes, end: int) -> int:
    """The OPT record that fills the rest of the message: the key's bits for EDNS and DO."""
    if wire[end : end + 3] != OPT_START or len(wire) < end + OPT_OCTETS:
        raise _additional_problem(wire, end)
    version, flags, length = _OPT_FIELDS.unpack_from(wire, end)
    # RFC 6891 s6.1.3: "If a responder does not implement the VERSION level of the request, then it MUST respond with
    # RCODE=BADVERS."
    if version:
        raise MalformedQuery(f"EDNS version {version}, expected 0", BADVERS)
    start = end + OPT_OCTETS
    if start + length != len(wire):
        raise MalformedQuery(f"{len(wire) - start} octets follow the OPT header, expected {length}", FORMERR)
    if length:
        _prove_options(wire, start)
    return KEY_EDNS | KEY_DO if flags & 0x8000 else KEY_EDNS


def _prove_options(wire: bytes, start: int) -> None:
    """The options fill the OPT record, and a cookie is one."""
    if extended_errors(wire, start, len(wire)) is None:
        raise MalformedQuery("the options do not fill the OPT record", FORMERR)
    cookie = find_option(wire, start, len(wire), COOKIE)
    if cookie is not None and not is_well_formed(cookie):  # RFC 7873 s5.2.2
        raise MalformedQuery(f"a cookie of {len(cookie)} octets, expected 8 or 16 to 40", FORMERR)


def _header_problem(wire: bytes) -> MalformedQuery:
    """Why the twelve octets of the header are not those of a query that we serve."""
    if len(wire) < 12:
        return MalformedQuery(f"{len(wire)} octets, expected a header of 12")
    if wire[2] & QR:
        return MalformedQuery("a response, expected a query")
    if wire[2] & OPCODE:
        return MalformedQuery(f"opcode {(wire[2] & OPCODE) >> 3}, expected 0 (QUERY)", NOTIMP)
    questions, answers, authority, additional = struct.unpack_from(">4H", wire, 4)
    if (questions, answers, authority) != (1, 0, 0):
        return MalformedQuery(
            f"{questions} questions, {answers} answers, {authority} authority records, expected 1, 0 and 0", FORMERR
        )
    end = _question_end(wire)
    if end > 12:
        return _additional_problem(wire, end)
    return MalformedQuery(f"a question that ends nowhere, {additional} additional records", FORMERR)


def _question_problem(wire: bytes, position: int, klass: bytes) -> MalformedQuery:
    """Why the question whose name ends at `position` is not served."""
    if position > 12 + 254:
        return MalformedQuery(f"a name of {position - 11} octets, expected at most 255", FORMERR)  # RFC 1035 s2.3.4
    if len(wire) < position + 5:
        return MalformedQuery(f"the message of {len(wire)} octets ends inside the question", FORMERR)
    got = wire[position + 3] << 8 | wire[position + 4]
    return MalformedQuery(f"class {got}, expected {int.from_bytes(klass, 'big')}", NOTIMP)


def _additional_problem(wire: bytes, position: int) -> MalformedQuery:
    """Why the additional section at `position` is not one OPT record and nothing else."""
    for _ in range(wire[10] << 8 | wire[11]):
        end_of_name = _name_end(wire, position)
        if end_of_name is None or len(wire) < end_of_name + 10:
            return MalformedQuery(f"the message of {len(wire)} octets ends inside an additional record", FORMERR)
        kind, length = _RECORD_FIELDS.unpack_from(wire, end_of_name)
        if kind in {TSIG, SIG}:
            return MalformedQuery("signed queries are not served here", NOTIMP)
        position = end_of_name + 10 + length
    # RFC 6891 s6.1.1: "If a query message with more than one OPT RR is received, a FORMERR (RCODE=1) MUST be returned."
    return MalformedQuery("expected at most one additional record, an OPT record owned by the root", FORMERR)


def _name_end(wire: bytes, position: int) -> int | None:
    """Where the uncompressed name at `position` ends; None if it does not, or is compressed or too long."""
    limit = min(len(wire), position + 255)
    while position < limit:
        length = wire[position]
        if length == 0:
            return position + 1
        if length > 63:
            return None
        position += length + 1
    return None


def _question_end(wire: bytes) -> int:
    """Where the only question of a message ends; 12 where there is none that can be repeated."""
    end_of_name = _name_end(wire, 12) if wire[4:6] == b"\0\1" else None
    return 12 if end_of_name is None or len(wire) < end_of_name + 4 else end_of_name + 4
