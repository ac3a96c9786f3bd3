"""What the kernel says of routes, links and addresses: rtnetlink messages between octets and values (rtnetlink(7)).

Asked is one thing: how would you send to this address? The kernel's answer has policy rules, tables, VPNs and metrics
in it, which nobody outside could work out from a list of routes. What it says by itself is a reason to ask again, no
more. So little is read, and strictly: lengths are checked against what is there, what does not fit ends the reading,
and nothing raises. Numbers are in the machine's own order; addresses and the like are octets. Pure.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address
from typing import Final

# linux/netlink.h, linux/rtnetlink.h
ERROR: Final = 2
NEW_LINK, DEL_LINK, GET_LINK = 16, 17, 18
NEW_ADDRESS, DEL_ADDRESS = 20, 21
NEW_ROUTE, DEL_ROUTE, GET_ROUTE = 24, 25, 26
NEW_RULE, DEL_RULE = 32, 33

# The groups whose messages come by themselves: links, addresses, routes and rules of both families. Neighbours not:
# they come and go all day and lead nowhere else.
GROUPS: Final = 0x1 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 1 << 18

_REQUEST: Final = 1  # NLM_F_REQUEST
_FAMILIES: Final = {4: 2, 6: 10}  # AF_INET, AF_INET6
_DESTINATION, _OUT, _GATEWAY, _SOURCE, _VIA = 1, 4, 5, 7, 18  # RTA_*
_ADDRESS, _LOCAL = 1, 2  # IFA_*
_SENDS: Final = frozenset({1, 2})  # RTN_UNICAST, RTN_LOCAL; all others drop or refuse
_UP_AND_RUNNING: Final = 0x1 | 0x40  # IFF_UP, IFF_RUNNING: has a carrier, or is of a kind that has none

_HEADER = struct.Struct("=IHHII")  # length with the header, type, flags, sequence, port id
_ROUTE = struct.Struct(
    "=BBBBBBBBI"
)  # family, lengths of destination and source, TOS, table, protocol, scope, type, flags
_LINK = struct.Struct("=BxHiII")  # family, hardware type, index, flags, change
_ADDRESS_HEAD = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index
_ATTRIBUTE = struct.Struct("=HH")  # length with the head, type
_NUMBER = struct.Struct("=I")


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a datagram."""

    kind: int
    sequence: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Route:
    """How the kernel sends to one address."""

    interface: int
    gateway: bytes  # b"" where the address is on the link, or the interface is a tunnel
    source: bytes  # our address


Surroundings = tuple[Route | None, ...]  # one for each address that was asked for; None: the kernel cannot send there


def messages(datagram: bytes) -> Iterator[Message]:
    """The messages of a datagram, up to the first that does not fit into it."""
    position = 0
    while len(datagram) - position >= _HEADER.size:
        length, kind, _, sequence, _ = _HEADER.unpack_from(datagram, position)
        if not _HEADER.size <= length <= len(datagram) - position:
            return
        yield Message(kind, sequence, datagram[position + _HEADER.size : position + length])
        position += length + -length % 4


def route_request(address: IPv4Address | IPv6Address, sequence: int) -> bytes:
    """Ask how it would send to this address, and by what interface."""
    head = _ROUTE.pack(_FAMILIES[address.version], address.max_prefixlen, 0, 0, 0, 0, 0, 0, 0)
    attribute = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(address.packed), _DESTINATION) + address.packed
    return _request(GET_ROUTE, sequence, head + attribute)


def link_request(index: int, sequence: int) -> bytes:
    """Ask how an interface is."""
    return _request(GET_LINK, sequence, _LINK.pack(0, 0, index, 0, 0))


def read_route(message: Message) -> Route | None:
    """The answer to `route_request`; None where nothing can be sent there."""
    body = message.body
    if message.kind != NEW_ROUTE or len(body) < _ROUTE.size or body[7] not in _SENDS:
        return None
    found = _attributes(body, _ROUTE.size)
    out = found.get(_OUT, b"")
    if len(out) != _NUMBER.size:
        return None
    return Route(_NUMBER.unpack(out)[0], found.get(_GATEWAY) or found.get(_VIA, b""), found.get(_SOURCE, b""))


def link_runs(message: Message) -> bool:
    """Whether the interface that a message is about is up and has a carrier."""
    if message.kind != NEW_LINK or len(message.body) < _LINK.size:
        return False
    flags = _LINK.unpack_from(message.body)[3]
    return bool(flags & _UP_AND_RUNNING == _UP_AND_RUNNING)


def interrupts(message: Message, surroundings: Surroundings) -> bool:
    """Whether a message says that what was in use has gone, be it back a moment later: connections over it may be dead.

    An address that is in use was taken away, or the link of a route has lost its carrier.
    """
    body = message.body
    if message.kind in (NEW_LINK, DEL_LINK) and len(body) >= _LINK.size:
        index = _LINK.unpack_from(body)[2]
        return not link_runs(message) and any(route and route.interface == index for route in surroundings)
    if message.kind == DEL_ADDRESS and len(body) >= _ADDRESS_HEAD.size:
        found = _attributes(body, _ADDRESS_HEAD.size)
        gone = found.get(_LOCAL) or found.get(_ADDRESS)
        return gone is not None and any(route and route.source == gone for route in surroundings)
    return False


def left(before: Surroundings, after: Surroundings) -> bool:
    """Whether a way that there was is another one now, or gone; or there is one where there was none at all.

    One more way is no such thing: a network has IPv4 first and IPv6 a second later, and what stands stays.
    """
    if not any(before):
        return any(after)
    return any(
        route is not None and (now is None or _way(route) != _way(now))
        for route, now in zip(before, after, strict=True)
    )


def network_key(surroundings: Surroundings, salt: bytes) -> str:
    """What stands for the network that the machine is in, and says nothing of it; "" where it is in none.

    The ways of IPv4 say which one it is, where there are any: those of IPv6 may come later.
    """
    ways = [(number, route) for number, route in enumerate(surroundings) if route is not None]
    four = [(number, route) for number, route in ways if len(route.source) == 4]
    parts = [b"%d %s" % (number, _way(route)) for number, route in four or ways]
    return blake2b(b"\n".join(parts), digest_size=8, key=salt).hexdigest() if parts else ""


def _way(route: Route) -> bytes:
    """A route as octets.

    Of our own IPv6 addresses only the prefix (RFC 4291 s2.5.4): temporary ones (RFC 8981) change each day in the same
    network.
    """
    source = route.source[:8] if len(route.source) == 16 else route.source
    return b"%d %s %s" % (route.interface, route.gateway.hex().encode(), source.hex().encode())


def _request(kind: int, sequence: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST, sequence, 0) + body


def _attributes(body: bytes, position: int) -> Mapping[int, bytes]:
    """The attributes of a message by type, the last of each, up to the first that does not fit."""
    found: dict[int, bytes] = {}
    while len(body) - position >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(body, position)
        if not _ATTRIBUTE.size <= length <= len(body) - position:
            break
        found[kind] = body[position + _ATTRIBUTE.size : position + length]
        position += length + -length % 4
    return found
