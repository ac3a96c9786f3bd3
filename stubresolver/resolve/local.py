"""Names that are answered here and never leave this machine. Pure.

Special-use names (RFC 6761), reverse zones of addresses that are not global (RFC 6303) and the names that other
documents added to the registry. One query is exempt: DS at the top of such a zone belongs to its parent (RFC 4035
s3.1.4.1) and goes upstream, so that a validating client can prove the zone unsigned; it tells the upstream nothing but
the zone's own public name.
"""

import enum
import struct
from collections.abc import Iterator

from stubresolver.wire.codes import AAAA, DS, IN, NOERROR, NXDOMAIN, PTR, SOA, A
from stubresolver.wire.edns import short_reply
from stubresolver.wire.query import Query

_TTL = 10_800  # RFC 6303 s3, for the SOA record and so for negative answers; loopback addresses stay as long
_RECORD = struct.Struct(">HHHIH")  # owner as a compression pointer, TYPE, CLASS, TTL, RDLENGTH
_TO_NAME = 0xC000  # a compression pointer, less its offset


class _Kind(enum.Enum):
    """How a name in a zone is answered."""

    LOOPBACK = enum.auto()  # A and AAAA are the loopback addresses, all else is empty
    REVERSE = enum.auto()  # PTR of the loopback addresses is localhost, all else is empty
    ABSENT = enum.auto()  # does not exist
    ZONE = enum.auto()  # an empty zone: its top exists, nothing below does
    EMPTY = enum.auto()  # exists, without any record


def _wire(name: str) -> bytes:
    """A name in wire format."""
    return b"".join(bytes((len(label),)) + label.encode("ascii") for label in name.split(".")) + b"\0"


_LOCALHOST = _wire("localhost")
_LOOPBACK_PTR = frozenset({_wire("1.0.0.127.in-addr.arpa"), _wire("1." + "0." * 31 + "ip6.arpa")})
_LOOPBACK_ADDRESS = {A: bytes((127, 0, 0, 1)), AAAA: bytes(15) + b"\1"}


def _zones() -> Iterator[tuple[str, _Kind]]:
    """Every zone that is answered here, with its source."""
    # RFC 6761 s6.3: "generate an immediate positive response giving the IP loopback address, and for all other query
    # types, generate an immediate negative response".
    yield "localhost", _Kind.LOOPBACK
    yield "invalid", _Kind.ABSENT  # RFC 6761 s6.4
    yield "test", _Kind.ABSENT  # RFC 6761 s6.2
    # RFC 6762 s22.1: "caching DNS servers SHOULD generate immediate NXDOMAIN responses for all such queries they may
    # receive (from misbehaving name resolver libraries)".
    yield "local", _Kind.ABSENT
    yield "onion", _Kind.ABSENT  # RFC 7686 s2
    yield "home.arpa", _Kind.ZONE  # RFC 8375 s4
    # RFC 9462 s4: a resolver without designated resolvers "SHOULD return NODATA for queries to the "resolver.arpa"
    # zone". Forwarded, the upstream's own designation would lead clients around us.
    yield "resolver.arpa", _Kind.EMPTY
    # RFC 6303 s4.2: this network, loopback, link local, TEST-NETs, broadcast; s4.1: RFC 1918.
    yield "127.in-addr.arpa", _Kind.REVERSE
    for zone in ("0", "254.169", "2.0.192", "100.51.198", "113.0.203", "255.255.255.255", "10", "168.192"):
        yield f"{zone}.in-addr.arpa", _Kind.ZONE
    for octet in range(16, 32):
        yield f"{octet}.172.in-addr.arpa", _Kind.ZONE
    # RFC 7793 s2.1: shared address space (100.64.0.0/10), of carriers and of overlay networks.
    for octet in range(64, 128):
        yield f"{octet}.100.in-addr.arpa", _Kind.ZONE
    # RFC 6303 s4.3 to s4.6: the unspecified and the loopback address, unique local, link local, documentation.
    yield "0." * 32 + "ip6.arpa", _Kind.EMPTY
    yield "1." + "0." * 31 + "ip6.arpa", _Kind.REVERSE
    for zone in ("d.f", "8.e.f", "9.e.f", "a.e.f", "b.e.f", "8.b.d.0.1.0.0.2"):
        yield f"{zone}.ip6.arpa", _Kind.ZONE


_ZONES = {_wire(name): kind for name, kind in _zones()}
_LAST_LABELS = tuple({_wire(name.rsplit(".", 1)[-1]) for name, _ in _zones()})


def local_reply(query: Query) -> bytes | None:
    """The reply to a query for a name that is answered here; None for all others."""
    name = query.key[:-5]  # type, class and the octet of flags follow it
    if not name.endswith(_LAST_LABELS):  # nearly every name ends here; the rest is looked at label by label
        return None
    position = 0
    while name[position]:
        kind = _ZONES.get(name[position:])
        if kind is not None:
            return _reply(query, name, position, kind)
        position += name[position] + 1
    return None


def _reply(query: Query, name: bytes, top: int, kind: _Kind) -> bytes | None:
    """The reply for a name whose zone starts at its octet `top`."""
    qtype = query.key[-5] << 8 | query.key[-4]
    if qtype == DS and top == 0:
        return None
    if kind is _Kind.LOOPBACK and qtype in _LOOPBACK_ADDRESS:
        return _positive(query, qtype, _LOOPBACK_ADDRESS[qtype])
    if kind is _Kind.REVERSE and qtype == PTR and name in _LOOPBACK_PTR:
        return _positive(query, PTR, _LOCALHOST)
    absent = kind is _Kind.ABSENT or (kind is _Kind.ZONE and top > 0)
    return _negative(query, NXDOMAIN if absent else NOERROR, top)


def _positive(query: Query, qtype: int, rdata: bytes) -> bytes:
    """One record, owned by the name that was asked."""
    record = _RECORD.pack(_TO_NAME | 12, qtype, IN, _TTL, len(rdata)) + rdata
    return short_reply(query, NOERROR, answers=1, records=record)


def _negative(query: Query, rcode: int, top: int) -> bytes:
    """Nothing but the zone's SOA record, so that the negative answer is cached (RFC 2308 s5).

    RFC 6303 s3: "@ 10800 IN SOA @ nobody.invalid. 1 3600 1200 604800 10800".
    """
    owner = _TO_NAME | 12 + top
    rdata = owner.to_bytes(2, "big") + _wire("nobody.invalid") + struct.pack(">5I", 1, 3600, 1200, 604_800, _TTL)
    return short_reply(query, rcode, authority=1, records=_RECORD.pack(owner, SOA, IN, _TTL, len(rdata)) + rdata)
