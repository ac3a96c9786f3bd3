"""Replies that are made here: records of the name that was asked, its emptiness, its absence, with the reason.

Each negative reply carries an SOA record of its own making, so that whoever asked may keep it for a while and not for
longer (RFC 2308 s3, s5). Extended errors are RFC 8914's, by IANA's numbers. It decides nothing.
"""

import struct
from dataclasses import dataclass
from typing import Final

from stubresolver.wire.codes import AAAA, IN, NOERROR, SOA, A
from stubresolver.wire.edns import short_reply
from stubresolver.wire.opt import extended_error
from stubresolver.wire.query import Query

REFUSED: Final = 5  # RFC 1035 s4.1.1, for "policy reasons"

FORGED_ANSWER: Final = 4  # RFC 8914 s4.5: "when an answer is still provided, not when failure codes are returned"
BLOCKED: Final = 15  # RFC 8914 s4.16: a blocklist of the operator
FILTERED: Final = 17  # RFC 8914 s4.18: a blocklist "as requested by the client"
SYNTHESIZED: Final = 29  # IANA, Extended DNS Error Codes: "Synthesized"

# How long an answer out of a file may be kept by who got it: a file that changes is in force everywhere a minute later.
# dnsmasq says 0 (local-ttl), AdGuard Home 10 (blocked_response_ttl), the hosts plugin of CoreDNS 3,600.
FILE_TTL: Final = 60

_LONGEST_TEXT: Final = 150  # with a question of 259 octets and an SOA record below the 512 octets that everybody takes
_UNSPECIFIED: Final = {A: bytes(4), AAAA: bytes(16)}  # RFC 1122 s3.2.1.3, RFC 4291 s2.5.2

_RECORD = struct.Struct(">HHHIH")  # owner as a compression pointer, TYPE, CLASS, TTL, RDLENGTH
_TO_NAME = 0xC000  # a compression pointer, less its offset
_HEADER = 12  # octets before the question
_NOBODY = b"\x06nobody\x07invalid\0"  # RFC 6303 s3, the RNAME of an empty zone


def record(qtype: int, ttl: int, rdata: bytes, owner: bytes | None = None) -> bytes:
    """One record of the name that was asked, or of another owner in wire format."""
    if owner is None:
        return _RECORD.pack(_TO_NAME | _HEADER, qtype, IN, ttl, len(rdata)) + rdata
    return owner + struct.pack(">HHIH", qtype, IN, ttl, len(rdata)) + rdata


def positive(query: Query, records: bytes, count: int, options: bytes = b"") -> bytes:
    """Records that answer the query."""
    return short_reply(query, NOERROR, answers=count, records=records, options=options)


def negative(query: Query, rcode: int, top: int, ttl: int, options: bytes = b"") -> bytes:
    """No record of that type, or no such name, by a zone whose name starts at the octet `top` of the query's."""
    rdata = soa(top, ttl)
    soa_record = _RECORD.pack(_TO_NAME | _HEADER + top, SOA, IN, ttl, len(rdata)) + rdata
    return short_reply(query, rcode, authority=1, records=soa_record, options=options)


def soa(top: int, ttl: int) -> bytes:
    """The RDATA of the SOA record of a zone whose name starts at the octet `top` of the query's.

    RFC 6303 s3: "@ 10800 IN SOA @ nobody.invalid. 1 3600 1200 604800 10800", with `ttl` for both 10800.
    """
    return (_TO_NAME | _HEADER + top).to_bytes(2) + _NOBODY + struct.pack(">5I", 1, 3600, 1200, 604_800, ttl)


def told(info_code: int, text: str) -> bytes:
    """An extended error as an option, its text bounded so that no reply outgrows a datagram by it."""
    return extended_error(info_code, text.encode("utf-8", "replace")[:_LONGEST_TEXT].decode("utf-8", "ignore").encode())


@dataclass(frozen=True, slots=True)
class Withheld:
    """What stands in an answer's place, or in a question's way, by a rule of the person in charge.

    Rendered as an answer is. `ttl` is how long it may be kept, like every negative answer that is made here.
    """

    rcode: int
    options: bytes  # extended errors: why
    zero: bool = False  # addresses are answered with the unspecified one instead
    ttl: int = FILE_TTL

    def render(self, query: Query, age: int) -> bytes:
        """The reply to one client, `age` seconds after it was decided."""
        ttl = max(self.ttl - age, 0)
        if self.zero and query.type in _UNSPECIFIED:
            rdata = _UNSPECIFIED[query.type]
            return positive(query, record(query.type, ttl, rdata), 1, self.options)
        if self.rcode == REFUSED:
            return short_reply(query, REFUSED, options=self.options)
        return negative(query, self.rcode, 0, ttl, self.options)
