"""Special-use names: zones that have no meaning in the public DNS and never leave this machine (RFC 6761).

The registries are IANA's "Special-Use Domain Names" and "Locally-Served DNS Zones" (RFC 6303). Each zone has a switch,
by the name that a person knows. One query is exempt: DS at the top of such a zone belongs to its parent (RFC 4035
s3.1.4.1) and goes upstream, so that a validating client can prove the zone unsigned; it tells the upstream nothing but
the zone's own public name. Names of the registry that have meaning in the public DNS (example, example.com) or whose
documents ask nothing of a resolver (6tisch.arpa, eap.arpa) are not here.
"""

import enum
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from stubresolver.errors import BadInput
from stubresolver.local.names import to_wire, zone_in
from stubresolver.local.replies import FILTERED, SYNTHESIZED, negative, positive, record, soa, told
from stubresolver.wire.codes import AAAA, DS, NOERROR, NS, NXDOMAIN, PTR, SOA, A
from stubresolver.wire.query import Query

_TTL: Final = 10_800  # RFC 6303 s3, for the SOA record and so for negative answers; what is positive stays as long


class Kind(enum.Enum):
    """How a name in a zone is answered."""

    LOOPBACK = enum.auto()  # A and AAAA are the loopback addresses, all else is empty
    REVERSE = enum.auto()  # PTR of the loopback addresses is localhost, all else exists and is empty
    ABSENT = enum.auto()  # does not exist
    ZONE = enum.auto()  # an empty zone: its top exists, nothing below does
    EMPTY = enum.auto()  # exists, without any record
    PREFIX = enum.auto()  # the top has the two addresses of NAT64 discovery, below it nothing is


@dataclass(frozen=True, slots=True)
class Switch:
    """Zones that are turned on and off together."""

    name: str
    kind: Kind
    zones: tuple[str, ...]
    source: str  # the document that says so
    default: bool = True
    info_code: int = SYNTHESIZED


def _octets(numbers: range, rest: str) -> tuple[str, ...]:
    return tuple(f"{number}.{rest}" for number in numbers)


_ASKED = "by this resolver's configuration"
_LOOPBACK_V6 = "1." + "0." * 31 + "ip6.arpa"
_UNSPECIFIED_V6 = "0." * 32 + "ip6.arpa"

SWITCHES: Final = (
    # RFC 6761 s6.3: "generate an immediate positive response giving the IP loopback address, and for all other query
    # types, generate an immediate negative response".
    Switch("localhost", Kind.LOOPBACK, ("localhost",), "RFC 6761 s6.3"),
    Switch("localhost", Kind.REVERSE, ("127.in-addr.arpa", _LOOPBACK_V6), "RFC 6303 s4.2"),
    Switch("invalid", Kind.ABSENT, ("invalid",), "RFC 6761 s6.4"),
    Switch("test", Kind.ABSENT, ("test",), "RFC 6761 s6.2"),
    # RFC 6762 s22.1: "caching DNS servers SHOULD generate immediate NXDOMAIN responses for all such queries they may
    # receive (from misbehaving name resolver libraries)".
    Switch("local", Kind.ABSENT, ("local",), "RFC 6762 s22.1"),
    Switch("onion", Kind.ABSENT, ("onion",), "RFC 7686 s2"),
    # RFC 9476 s2: "DNS stub and recursive resolvers do not need to look them up in the DNS context."
    Switch("alt", Kind.ABSENT, ("alt",), "RFC 9476 s2"),
    Switch("home.arpa", Kind.ZONE, ("home.arpa",), "RFC 8375 s4"),
    Switch("service.arpa", Kind.ZONE, ("service.arpa",), "RFC 9665"),
    # RFC 9462 s4: a resolver without designated resolvers "SHOULD return NODATA for queries to the "resolver.arpa"
    # zone". Forwarded, the upstream's own designation would lead clients around us.
    Switch("resolver.arpa", Kind.EMPTY, ("resolver.arpa",), "RFC 9462 s4"),
    # RFC 8880 s7.1 has a resolver answer for the zone itself: the two addresses, and no AAAA where there is no NAT64
    # that it knows of. The upstream's answer would be no other; a network's own resolver is asked by a forward zone.
    Switch("ipv4only.arpa", Kind.PREFIX, ("ipv4only.arpa",), "RFC 8880 s7.1"),
    # RFC 6303 s4.1 (RFC 1918) and s4.4 (unique local).
    Switch(
        "private-reverse",
        Kind.ZONE,
        ("10.in-addr.arpa", *_octets(range(16, 32), "172.in-addr.arpa"), "168.192.in-addr.arpa", "d.f.ip6.arpa"),
        "RFC 6303 s4",
    ),
    # RFC 7793 s2.1: shared address space (100.64.0.0/10), of carriers and of overlay networks.
    Switch("shared-reverse", Kind.ZONE, _octets(range(64, 128), "100.in-addr.arpa"), "RFC 7793 s2.1"),
    # RFC 6303 s4.2, s4.5, RFC 6762 s12: link local.
    Switch(
        "link-local-reverse",
        Kind.ZONE,
        ("254.169.in-addr.arpa", "8.e.f.ip6.arpa", "9.e.f.ip6.arpa", "a.e.f.ip6.arpa", "b.e.f.ip6.arpa"),
        "RFC 6303 s4",
    ),
    # RFC 6303 s4.2, s4.3, s4.6: this network, the TEST-NETs, broadcast, the unspecified address, documentation.
    Switch(
        "reserved-reverse",
        Kind.ZONE,
        (
            *("0.in-addr.arpa", "2.0.192.in-addr.arpa", "100.51.198.in-addr.arpa", "113.0.203.in-addr.arpa"),
            *("255.255.255.255.in-addr.arpa", "8.b.d.0.1.0.0.2.ip6.arpa"),
        ),
        "RFC 6303 s4",
    ),
    Switch("reserved-reverse", Kind.REVERSE, (_UNSPECIFIED_V6,), "RFC 6303 s4.3"),
    # Not special by any RFC: names by which a network tells programs to leave its resolver in place. The person in
    # charge decides, so they are off; Mozilla "Canary domain - use-application-dns.net", Apple "Prepare your network
    # or web server for iCloud Private Relay".
    Switch("use-application-dns.net", Kind.ABSENT, ("use-application-dns.net",), _ASKED, False, FILTERED),
    Switch("mask.icloud.com", Kind.ABSENT, ("mask.icloud.com", "mask-h2.icloud.com"), _ASKED, False, FILTERED),
)
DEFAULTS: Final = {switch.name: switch.default for switch in SWITCHES}


def _wire(name: str) -> bytes:
    wire = to_wire(name.encode("ascii"))
    assert wire is not None  # noqa: S101 - a name of the table above
    return wire


LOCALHOST: Final = _wire("localhost")
_LOOPBACK_PTR: Final = frozenset({_wire("1.0.0.127.in-addr.arpa"), _wire(_LOOPBACK_V6)})
_LOOPBACK_ADDRESS: Final = {A: bytes((127, 0, 0, 1)), AAAA: bytes(15) + b"\1"}
_SERVED: Final = (Kind.ZONE, Kind.REVERSE, Kind.PREFIX)  # whose top has the records of a zone's top
_DISCOVERY: Final = (bytes((192, 0, 0, 170)), bytes((192, 0, 0, 171)))  # RFC 8880 s7.1


@dataclass(frozen=True, slots=True)
class _Zone:
    """One zone with how it is answered and why."""

    kind: Kind
    options: bytes


class SpecialNames:
    """The zones that are answered here. Immutable."""

    __slots__ = ("_forwarded", "_last_labels", "_zones")

    def __init__(self, switches: Mapping[str, bool] | None = None, forwarded: Collection[bytes] = ()) -> None:
        """`switches` where they differ from the defaults; zones at or below a `forwarded` one are left to it.

        Raises `BadInput` for a switch that is none.
        """
        wanted = DEFAULTS | dict(switches or {})
        if unknown := sorted(wanted.keys() - DEFAULTS.keys()):
            raise BadInput(f"{unknown[0]!r} is no special name, expected one of {', '.join(DEFAULTS)}")
        self._forwarded = forwarded
        self._zones = {
            zone: _Zone(switch.kind, told(switch.info_code, f"{name}: {switch.source}"))
            for switch in SWITCHES
            if wanted[switch.name]
            for name, zone in zip(switch.zones, map(_wire, switch.zones), strict=True)
            # RFC 6761 s6.3: localhost is this machine, whoever has the zone above its reverse names.
            if zone_in(zone, forwarded) is None or switch.kind in (Kind.LOOPBACK, Kind.REVERSE)
        }
        # Nearly every name ends at this comparison; the rest is looked at label by label.
        self._last_labels = tuple({_last_label(zone) for zone in self._zones})

    def reply(self, query: Query, name: bytes) -> bytes | None:
        """The reply to a query for a name that is answered here; None for all others."""
        if not name.endswith(self._last_labels):
            return None
        position = 0
        while name[position]:
            zone = self._zones.get(name[position:])
            if zone is not None:
                return _reply(query, name, position, zone)
            if name[position:] in self._forwarded:  # a part of a special zone that has its own server
                return None
            position += name[position] + 1
        return None

    def holds(self, zone: bytes) -> bool:
        """Whether the zone is answered here."""
        return zone in self._zones

    def addresses(self, name: bytes, qtype: int) -> list[tuple[int, bytes]] | None:
        """TTL and RDATA of a name below localhost; None for all others."""
        zone = zone_in(name, self._zones)
        if zone is None or self._zones[zone].kind is not Kind.LOOPBACK:
            return None
        return [(_TTL, rdata) for rdata in _records(Kind.LOOPBACK, name, 0, qtype)]


def _last_label(name: bytes) -> bytes:
    """The last label of a name with the root's octet."""
    position = 0
    while name[after := position + name[position] + 1]:
        position = after
    return name[position:]


def _reply(query: Query, name: bytes, top: int, zone: _Zone) -> bytes | None:
    """The reply for a name whose zone starts at its octet `top`."""
    qtype = query.type
    if qtype == DS and top == 0:
        return None
    found = tuple(_records(zone.kind, name, top, qtype))
    if found:
        records = b"".join(record(qtype, _TTL, rdata) for rdata in found)
        return positive(query, records, len(found), zone.options)
    absent = zone.kind is Kind.ABSENT or (zone.kind in (Kind.ZONE, Kind.PREFIX) and top > 0)
    return negative(query, NXDOMAIN if absent else NOERROR, top, _TTL, zone.options)


def _records(kind: Kind, name: bytes, top: int, qtype: int) -> Iterator[bytes]:
    """The RDATA that a name has by its zone's rule."""
    if kind is Kind.LOOPBACK and qtype in _LOOPBACK_ADDRESS:
        yield _LOOPBACK_ADDRESS[qtype]
    elif kind is Kind.REVERSE and qtype == PTR and name in _LOOPBACK_PTR:
        yield LOCALHOST
    elif kind is Kind.PREFIX and qtype == A and top == 0:
        yield from _DISCOVERY
    elif kind in _SERVED and top == 0:  # RFC 6303 s3: "@ 10800 IN SOA @ nobody.invalid. ..." and "@ 10800 IN NS @"
        yield from {SOA: (soa(top, _TTL),), NS: (name,)}.get(qtype, ())
