"""The addresses of a name: a query of our own, and the A and AAAA records of its answer (RFC 1035 s3.4.1, RFC 3596).

For names that the program itself needs. An alias is followed by the upstream (RFC 1034 s4.3.2, step 3a), so every
address in the answer section is one of the name.
"""

import struct
from ipaddress import IPv4Address, IPv6Address

from stubresolver.errors import MalformedAnswer, MalformedQuery
from stubresolver.wire.codes import AAAA, IN, NXDOMAIN, RCODE, RD, SERVFAIL, A
from stubresolver.wire.opt import OPT_OCTETS, OPT_START, extended_errors, opt_record
from stubresolver.wire.query import Query

_FIELDS = struct.Struct(">HHIH")  # TYPE, CLASS, TTL, RDLENGTH


def address_query(name: str, kind: int) -> Query:
    """The query for a host name in ASCII; raises `MalformedQuery` for what is none."""
    labels = name.removesuffix(".").encode("ascii", "replace").split(b".")
    if not all(1 <= len(label) <= 63 for label in labels):
        raise MalformedQuery(f"{name!r} is no host name: expected labels of 1 to 63 octets")
    question = b"".join(len(label).to_bytes(1) + label for label in labels) + b"\0"
    header = bytes((0, 0, RD, 0, 0, 1, 0, 0, 0, 0, 0, 1))
    return Query(header + question + kind.to_bytes(2) + IN.to_bytes(2) + opt_record(), tcp=True)


def addresses_in(reply: bytes, query: Query) -> list[IPv4Address | IPv6Address]:
    """The addresses in the reply to `query`, in its order; none for a name that has none.

    Raises `MalformedAnswer` with the reason where the reply tells of a failure, or cannot be read.
    """
    try:
        if rcode := reply[3] & RCODE:
            raise MalformedAnswer(_failure(rcode, reply[query.end :]))
        found: list[IPv4Address | IPv6Address] = []
        position = query.end
        for _ in range(int.from_bytes(reply[6:8])):  # ANCOUNT
            kind, _klass, _ttl, length = _FIELDS.unpack_from(reply, _after_name(reply, position))
            position = _after_name(reply, position) + _FIELDS.size + length
            rdata = reply[position - length : position]
            if kind == A:
                found.append(IPv4Address(rdata))
            elif kind == AAAA:
                found.append(IPv6Address(rdata))
    except (IndexError, struct.error, ValueError):
        raise MalformedAnswer(f"the reply of {len(reply)} octets ends inside a record") from None
    return found


def _after_name(wire: bytes, position: int) -> int:
    """Where the name at `position` ends, without what a pointer leads to (RFC 1035 s4.1.4)."""
    while length := wire[position]:
        if length >= 0xC0:
            return position + 2
        position += length + 1
    return position + 1


def _failure(rcode: int, records: bytes) -> str:
    """A failure by its name, and in the words of the extended error that it carries (RFC 8914 s2)."""
    told = {NXDOMAIN: "the name does not exist", SERVFAIL: "no upstream has an answer"}.get(rcode, f"RCODE {rcode}")
    errors = None
    if records.startswith(OPT_START):  # as in every failure that is told here: no records but OPT
        errors = extended_errors(records, OPT_OCTETS, len(records))
    if errors:
        text = errors[6 : 4 + int.from_bytes(errors[2:4])].decode()  # behind OPTION-CODE, OPTION-LENGTH and INFO-CODE
        return f"{told}: {text}" if text else told
    return told
