"""Who is answered: loopback, and the networks that a person named.

RFC 5358 s4 (BCP 140): a resolver that answers everybody is a tool for flooding others. Whoever is not on the list hears
REFUSED over UDP, so that a person who mistyped a network sees why, and never more octets than he sent; over TCP the
connection is closed, because a place is worth more than a word.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from stubresolver.errors import BadInput
from stubresolver.serve.bind import ListenAddress

_LOOPBACK = ("127.0.0.0/8", "::1/128")
_MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291 s2.5.5.2: an IPv4 client of a socket for both


class AllowList:
    """Networks, asked for a client's address as octets in network order."""

    __slots__ = ("_networks",)

    def __init__(self, texts: Iterable[str]) -> None:
        """Raises `BadInput` for what is no network."""
        self._networks: dict[int, list[tuple[int, int]]] = {4: [], 16: []}  # by octets: address and how far to shift
        for network in map(parse_network, (*_LOOPBACK, *texts)):
            shift = network.max_prefixlen - network.prefixlen
            address = int(network.network_address) >> shift
            self._networks[network.max_prefixlen // 8].append((address, shift))

    def __contains__(self, address: bytes) -> bool:
        if len(address) == 16 and address.startswith(_MAPPED):
            address = address[12:]
        number = int.from_bytes(address)
        return any(number >> shift == network for network, shift in self._networks[len(address)])


def parse_network(text: str) -> IPv4Network | IPv6Network:
    """Read `192.168.1.0/24`, `fd00::/8` or a single address; `BadInput` says what was got and expected.

    What is written as `::ffff:192.168.1.0/120` are IPv4 clients, too (RFC 4291 s2.5.5.2).
    """
    expected = "expected a network such as 192.168.1.0/24 or fd00::/8, or one address"
    try:
        network = ip_network(text)
    except ValueError as error:
        raise BadInput(f"{text!r}: {error}; {expected}") from None
    address = network.network_address
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) and network.prefixlen >= 96 else None
    return network if mapped is None else IPv4Network((mapped, network.prefixlen - 96))


def check_listening(addresses: Sequence[ListenAddress], allow: Sequence[str]) -> None:
    """Raise `BadInput` where other machines could reach a listener and nobody said which may."""
    AllowList(allow)
    exposed = [address for address in addresses if not address.is_loopback]
    if exposed and not allow:
        raise BadInput(
            f"{exposed[0]} can be reached by other machines; name those that are answered: "
            f'`allow = ["{_example(exposed[0].address)}"]` in [listen]; or listen on 127.0.0.1 and [::1] only'
        )


def _example(address: IPv4Address | IPv6Address) -> str:
    """The network that is probably meant."""
    if address.is_unspecified:
        return "192.168.1.0/24" if address.version == 4 else "fd00::/8"
    return str(ip_network(f"{address}/{24 if address.version == 4 else 64}", strict=False))
