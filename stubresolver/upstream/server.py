"""A server of plain DNS: scheme, private address, port. A value; no socket.

    udp://10.0.0.53           UDP, and TCP where the answer is too large (RFC 7766 s5); port 53
    tcp://[fd00::53]:5353     TCP alone
    udp://[fe80::1%eth0]      a link-local address with its interface (RFC 4007 s11)

Only on networks that are the person's own: what goes to a public address unencrypted is read, and may be changed, by
everybody on the way. The one exception is the server that a network's DHCP gave, while a person logs in there
(`leased_server`). Who may be asked what is said elsewhere.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from stubresolver.errors import BadInput

PORT: Final = 53  # RFC 1035 s4.2

_URL: Final = re.compile(
    r"(udp|tcp)://(?:\[([0-9a-fA-F:.]+(?:%[!-$&-Z^-~]+)?)\]|([0-9.]+))(?::([0-9]{1,5}))?/?", re.ASCII
)

_INTERFACE: Final = re.compile(r"[!-.0-9;-~]{1,15}", re.ASCII)  # linux/if.h, IFNAMSIZ; net/core/dev.c, dev_valid_name

_PRIVATE: Final[tuple[IPv4Network | IPv6Network, ...]] = tuple(
    map(
        ip_network,
        (
            "127.0.0.0/8",  # loopback, RFC 1122 s3.2.1.3
            "10.0.0.0/8",  # private, RFC 1918 s3
            "172.16.0.0/12",
            "192.168.0.0/16",
            "169.254.0.0/16",  # link local, RFC 3927
            "100.64.0.0/10",  # shared: carriers and overlay networks, RFC 6598
            "::1/128",  # loopback, RFC 4291 s2.5.3
            "fc00::/7",  # unique local, RFC 4193
            "fe80::/10",  # link local, RFC 4291 s2.5.6
        ),
    )
)


@dataclass(frozen=True, slots=True)
class PlainServer:
    """One place to ask without encryption; built by the functions below, which see to its address."""

    address: IPv4Address | IPv6Address
    port: int = PORT
    tcp: bool = False  # from the first octet on

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{'tcp' if self.tcp else 'udp'}://{host}{'' if self.port == PORT else f':{self.port}'}"


def parse_server(text: str) -> PlainServer:
    """Read a server as a person writes it; `BadInput` names what was got and what was expected."""
    expected = "expected udp://IP[:PORT] or tcp://IP[:PORT], an IPv6 address in brackets"
    found = _URL.fullmatch(text)
    if found is None:
        raise BadInput(f"server {text!r}: {expected}")
    scheme, six, four, port = found.groups()
    if port is not None and not 0 < int(port) < 65_536:
        raise BadInput(f"server {text!r}: {port} is no port; {expected}")
    try:
        return private_server(six or four, int(port or PORT), tcp=scheme == "tcp")
    except BadInput as error:
        raise BadInput(f"server {text!r}: {error}") from None


def private_server(text: str, port: int = PORT, *, tcp: bool = False) -> PlainServer:
    """The server at an address that is not public; raises `BadInput` for all others."""
    address = _address(text)
    if not any(address in network for network in _PRIVATE):
        raise BadInput(
            f"{address} is no address of a private network, and plain DNS goes to those alone: anybody on the way "
            f"could read and change it; a server that speaks DoT is written tls://{address}#NAME"
        )
    return _server(address, port, tcp=tcp)


def leased_server(text: str) -> PlainServer:
    """The server at an address that a network's DHCP gave: private or public, and never this machine itself.

    Raises `BadInput` for what cannot be the address of one other machine.
    """
    address = _address(text)
    if address.is_loopback or address.is_unspecified or address.is_multicast or _is_reserved(address):
        raise BadInput(f"{address} cannot be the address of another machine")
    return _server(address)


def _address(text: str) -> IPv4Address | IPv6Address:
    """Raises `BadInput`."""
    try:
        address = ip_address(text)
    except ValueError:
        raise BadInput(f"{text!r} is no IP address") from None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None and not _INTERFACE.fullmatch(address.scope_id):
            raise BadInput(f"{text!r} names no interface (RFC 4007 s11)")
        return address.ipv4_mapped or address  # RFC 4291 s2.5.5.2: reaches the IPv4 address
    return address


def _is_reserved(address: IPv4Address | IPv6Address) -> bool:
    """RFC 1122 s3.2.1.3: 0.0.0.0/8 is this network; RFC 1112 s4: 240.0.0.0/4, with the broadcast address."""
    return address.version == 4 and (address.packed[0] == 0 or address.packed[0] >= 240)


def _server(address: IPv4Address | IPv6Address, port: int = PORT, *, tcp: bool = False) -> PlainServer:
    """The server there, if it can be reached as it is written; raises `BadInput`."""
    needs_interface = isinstance(address, IPv6Address) and address.is_link_local
    scope = address.scope_id if isinstance(address, IPv6Address) else None
    if needs_interface and scope is None:
        raise BadInput(f"{address} is link local and needs its interface, as in {address}%eth0 (RFC 4007 s11)")
    if scope is not None and not needs_interface:
        raise BadInput(f"{address} is not link local and has no interface (RFC 4007 s6)")
    return PlainServer(address, port, tcp)
