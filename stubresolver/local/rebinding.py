"""Rebinding protection: a name of the public DNS must not lead into the private network. Pure.

A page of a stranger's site may talk to whatever its own name resolves to. If that is first the stranger's server and a
minute later 192.168.1.1, the browser has let the page into the person's network (Jackson et al., "Protecting Browsers
from DNS Rebinding Attacks", 2007). So an answer for a public name that holds an address which is not public is withheld
whole: a part of it would hide that something is wrong.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

from stubresolver.local.names import zone_in
from stubresolver.local.replies import BLOCKED, Withheld, told
from stubresolver.wire.codes import NOERROR

# IANA's special-purpose address registries (RFC 6890): those whose addresses reach this machine or its neighbours.
_V4: Final = (
    ("0.0.0.0/8", "this network, RFC 791 s3.2; 0.0.0.0 reaches this machine"),
    ("10.0.0.0/8", "private, RFC 1918"),
    ("100.64.0.0/10", "shared, RFC 6598"),
    ("127.0.0.0/8", "loopback, RFC 1122"),
    ("169.254.0.0/16", "link local, RFC 3927"),
    ("172.16.0.0/12", "private, RFC 1918"),
    ("192.168.0.0/16", "private, RFC 1918"),
)
_V6: Final = (
    ("::/128", "unspecified, RFC 4291"),
    ("::1/128", "loopback, RFC 4291"),
    ("fc00::/7", "unique local, RFC 4193"),
    ("fe80::/10", "link local, RFC 4291"),
    ("fec0::/10", "site local, RFC 3879"),
)
# Where an IPv4 address stands in an IPv6 address: the prefix in octets, and where the four octets begin.
_EMBEDDED: Final = (
    (bytes(10) + b"\xff\xff", 12),  # v4-mapped, RFC 4291 s2.5.5.2
    (bytes(12), 12),  # v4-compatible, RFC 4291 s2.5.5.1
    (bytes(8) + b"\xff\xff\0\0", 12),  # v4-translated, RFC 7915 s2
    (bytes.fromhex("0064ff9b0000000000000000"), 12),  # NAT64, RFC 6052 s2.1
    (bytes.fromhex("0064ff9b0001"), 12),  # NAT64 of a network's own, RFC 8215; a prefix of 96 bits (RFC 6052 s2.2)
    (bytes.fromhex("2002"), 2),  # 6to4, RFC 3056 s2
)


@dataclass(frozen=True, slots=True)
class _Range:
    """Addresses that are not public."""

    network: IPv4Network | IPv6Network
    text: str


_RANGES: Final = tuple(_Range(ip_network(text), f"{text} ({why})") for text, why in _V4 + _V6)
_HERE: Final = frozenset(
    one.text for one in _RANGES if one.network.is_loopback or int(one.network.network_address) == 0
)
_BY_LENGTH: Final = {
    octets: tuple(
        (int(one.network.network_address), int(one.network.netmask), one.text)
        for one in _RANGES
        if one.network.max_prefixlen == 8 * octets
    )
    for octets in (4, 16)
}


def _prefixes(network: IPv4Network | IPv6Network) -> Iterator[bytes]:
    """The first two octets of all addresses of a network."""
    first = int(network.network_address) >> (network.max_prefixlen - 16)
    for number in range(first, first + (1 << max(16 - network.prefixlen, 0))):
        yield number.to_bytes(2)


# The first two octets of every address that is in a range or embeds another: nearly no address of the public Internet.
_SUSPECT: Final = {
    4: frozenset(prefix for one in _RANGES if one.network.version == 4 for prefix in _prefixes(one.network)),
    16: frozenset(
        {
            *(prefix for one in _RANGES if one.network.version == 6 for prefix in _prefixes(one.network)),
            *(prefix[:2] for prefix, _ in _EMBEDDED),
        }
    ),
}


class RebindingGuard:
    """Says of an answer whether it leads into the private network. Immutable."""

    __slots__ = ("_allowed",)

    def __init__(self, allowed: Collection[bytes] = ()) -> None:
        """`allowed` are zones in wire format whose names may have private addresses."""
        self._allowed = allowed

    def vet(self, name: bytes, addresses: Iterable[tuple[int, bytes]]) -> str | None:
        """The range of the first address that is not public, None where there is none or the name may have it."""
        for _kind, address in addresses:
            found = private_range(address)
            if found is not None:
                return None if zone_in(name, self._allowed) is not None else found
        return None


def private_range(address: bytes) -> str | None:
    """The range that an address of 4 or 16 octets is in, itself or by what it embeds; None for a public one."""
    if address[:2] not in _SUSPECT.get(len(address), ()):
        return None
    value = int.from_bytes(address)
    for network, mask, text in _BY_LENGTH[len(address)]:
        if value & mask == network:
            return text
    for embedded in _embedded(address):
        found = private_range(embedded)
        if found is not None:
            return found
    return None


def leads_here(address: bytes) -> str | None:
    """The range of an address that reaches this machine itself, None for all others."""
    found = private_range(address)
    return found if found in _HERE else None


def _embedded(address: bytes) -> Iterator[bytes]:
    """The IPv4 addresses in an IPv6 address."""
    if len(address) == 16:
        for prefix, place in _EMBEDDED:
            if address.startswith(prefix):
                yield address[place : place + 4]


def withheld(found: str) -> Withheld:
    """What stands in the answer's place: nothing.

    NOERROR without a record, as dnsmasq does it (stop-dns-rebind); unbound leaves the private addresses out
    (private-address). REFUSED would send the C library on to the next server of its list, which may look less closely.
    """
    return Withheld(NOERROR, told(BLOCKED, f"rebinding protection: an address in {found} for a public name"))
