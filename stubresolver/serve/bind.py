"""Listening addresses: how a person writes them, how they are bound, and what to do when they cannot be.

The sockets are plain non-blocking `socket.socket`s that belong to the caller, as those inherited from systemd do
(`stubresolver.systemd`), so that the listeners need not know where a socket came from.

- Never SO_REUSEPORT: any later process of the same user could bind the same port and be handed a share of the queries.
- SO_REUSEADDR for TCP only, where Linux lets it pass over connections in TIME_WAIT and never over a listening socket;
  for UDP it would let a second socket take the port.
- IPV6_V6ONLY always, so that an IPv6 address never takes the IPv4 port of the same number with it.
- `CannotListen` is written for the person in front of the terminal; the `OSError` stays its cause.
"""

import errno
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from stubresolver.errors import BadInput, CannotListen
from stubresolver.serve.holder import Holder, find_holder

DEFAULT_PORT = 53  # RFC 1035 s4.2

_RECEIVE_BUFFER = 1 << 20  # holds a burst while the loop is busy; the kernel cuts it to net.core.rmem_max
# Connections that wait to be accepted. We accept some thousand a second; who finds no room sends his SYN again after a
# second (RFC 6298 s2). The kernel cuts it to net.core.somaxconn, 4096 since Linux 5.4.
_BACKLOG = 1024

_ATTEMPTS = 8  # for a port that is free in UDP and TCP; the ephemeral range is seldom more than half taken

_BRACKETED = re.compile(r"\[([^\]]*)\](?::(.*))?")  # RFC 3986 s3.2.2: an IPv6 address before a port

_ABSENT = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}  # the machine has no such address, or no IPv6 at all


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """An address and port to listen on, for UDP and TCP alike."""

    address: IPv4Address | IPv6Address
    port: int  # 0 lets the kernel choose a free one

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """False if other machines may reach it: then `serve.allow` says which of them are answered."""
        return self.address.is_loopback

    @property
    def family(self) -> socket.AddressFamily:
        """AF_INET or AF_INET6."""
        return socket.AF_INET6 if self.address.version == 6 else socket.AF_INET


@dataclass(frozen=True, slots=True)
class Bound:
    """Sockets that are bound, and what was left out."""

    udp: tuple[socket.socket, ...]
    tcp: tuple[socket.socket, ...]  # listening
    left_out: tuple[CannotListen, ...]  # IPv6 loopback on a machine without IPv6; worth a warning

    def close(self) -> None:
        """Close every socket; closing twice is harmless."""
        for sock in (*self.udp, *self.tcp):
            sock.close()


def parse_listen_address(text: str) -> ListenAddress:
    """Read `127.0.0.1:53`, `[::1]:5300`, `127.0.0.1` or `::1` (port 53); `BadInput` says what was got and expected."""
    expected = "expected ADDRESS[:PORT] such as 127.0.0.1:5300 or [::1]:5300"
    host, port = _split(text.strip())
    try:
        address = ip_address(host)
    except ValueError:
        raise BadInput(f"listen address {text!r}: {host!r} is not an IP address; {expected}") from None
    # `int` takes '+53', ' 53' and '5_3' too; a port number is ASCII digits.
    if not (port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) <= 65535):
        raise BadInput(f"listen address {text!r}: {port!r} is not a port number from 0 to 65535; {expected}")
    if isinstance(address, IPv6Address):
        if address.scope_id is not None or address.is_link_local:
            raise BadInput(f"listen address {text!r}: link-local addresses are not supported; {expected}")
        address = address.ipv4_mapped or address
    if address.is_multicast or address == IPv4Address("255.255.255.255"):
        raise BadInput(f"listen address {text!r}: no service can be at a multicast or broadcast address; {expected}")
    return ListenAddress(address, int(port))


def bind_all(addresses: Sequence[ListenAddress]) -> Bound:
    """Bind UDP and TCP on every address, or nothing at all.

    The one address that may be absent is IPv6 loopback, as long as another one is bound: it is there by default, and
    a machine without IPv6 has no clients that would use it. Raises `CannotListen` for the first other failure, after
    closing what was bound before.
    """
    bound = Bound((), (), ())
    for address in addresses:
        try:
            udp, tcp = _bind_pair(address)
            bound = replace(bound, udp=(*bound.udp, udp), tcp=(*bound.tcp, tcp))
        except CannotListen as error:
            if not (is_absent(error) and address.is_loopback and address.family is socket.AF_INET6):
                bound.close()
                raise
            bound = replace(bound, left_out=(*bound.left_out, error))
    if bound.left_out and not bound.udp:
        raise bound.left_out[0]
    return bound


def _bind_pair(address: ListenAddress) -> tuple[socket.socket, socket.socket]:
    """UDP and TCP under one port number, because clients try both under the same.

    Port 0: TCP takes the number that UDP was given; where TCP has it given away already, both draw again.
    """
    for left in reversed(range(_ATTEMPTS if address.port == 0 else 1)):
        udp = bind_udp(address)
        try:
            return udp, bind_tcp(replace(address, port=udp.getsockname()[1]))
        except CannotListen as error:
            udp.close()
            taken = isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE
            if not (taken and left):
                raise
    raise AssertionError("the last attempt returns or raises")


def bind_udp(address: ListenAddress) -> socket.socket:
    """A non-blocking UDP socket on the address; `CannotListen` says what to do."""
    return _bind(address, socket.SOCK_DGRAM, socket.SO_RCVBUF, _RECEIVE_BUFFER)


def bind_tcp(address: ListenAddress) -> socket.socket:
    """A non-blocking, listening TCP socket on the address; `CannotListen` says what to do."""
    sock = _bind(address, socket.SOCK_STREAM, socket.SO_REUSEADDR, 1)
    sock.listen(_BACKLOG)
    return sock


def is_absent(error: CannotListen) -> bool:
    """True if this machine has no such address: worth a warning where others are bound, fatal where none is."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in _ABSENT


def _split(text: str) -> tuple[str, str]:
    """Host and port as written; an IPv6 address without brackets has no port."""
    if bracketed := _BRACKETED.fullmatch(text):
        host, port = bracketed.groups()
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        host, port = text, None
    return host, str(DEFAULT_PORT) if port is None else port


def _bind(address: ListenAddress, kind: socket.SocketKind, option: int, value: int) -> socket.socket:
    """A bound socket; TCP is not listening yet."""
    sock = None
    try:
        sock = socket.socket(address.family, kind)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, option, value)
        if address.family is socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((str(address.address), address.port))
    except OSError as error:
        if sock is not None:
            sock.close()
        name = f"{address} ({'TCP' if kind is socket.SOCK_STREAM else 'UDP'})"
        raise CannotListen(f"cannot listen on {name}: {_explain(error, kind, address)}") from error
    return sock


def _explain(error: OSError, kind: socket.SocketKind, address: ListenAddress) -> str:
    """The reason in plain words and the ways out."""
    if error.errno == errno.EADDRINUSE:
        return _explain_taken(find_holder(kind, address.address, address.port), address)
    if error.errno in {errno.EACCES, errno.EPERM}:
        return _explain_privilege(address)
    if error.errno in _ABSENT and address.family is socket.AF_INET6 and address.is_loopback:
        return "this machine has no IPv6 (see sysctl net.ipv6.conf.lo.disable_ipv6); leave the address out"
    if error.errno in _ABSENT:
        return "no interface of this machine has the address; `ip address` lists those that there are"
    return error.strerror or str(error)


def _explain_taken(holder: Holder | None, address: ListenAddress) -> str:
    """Who has the port and how it becomes free."""
    elsewhere = f"or choose another port: --listen {replace(address, port=5300)}"
    if holder is None:
        # /proc hides the files of other users' processes.
        return (
            f"another process has the port; `sudo ss -lnp 'sport = :{address.port}'` says which; stop it, {elsewhere}"
        )
    return f"{holder} has the port; {_WAYS_OUT.get(holder.name, 'stop it')}, {elsewhere}"


# How the usual holders of port 53 let go of it, by the kernel's name of the process (15 octets).
_WAYS_OUT = {
    "systemd": (
        "it is a socket unit, perhaps our own: `systemctl start stubresolver.service` uses it, "
        "`systemctl stop stubresolver.socket` frees it"
    ),
    "systemd-resolve": (
        "write '[Resolve]' and 'DNSStubListener=no' into /etc/systemd/resolved.conf.d/stubresolver.conf, remove "
        "'DNSStubListenerExtra=' lines for this address, and `systemctl restart systemd-resolved`"
    ),
    "dnsmasq": (
        "write 'port=0' into /etc/dnsmasq.conf (its DHCP goes on, its DNS ends) and `systemctl restart dnsmasq`"
    ),
    "stubresolver": "it runs already: `systemctl stop stubresolver.socket stubresolver.service`",
}


def _explain_privilege(address: ListenAddress) -> str:
    """Which privilege lacks and the ways out."""
    start = _unprivileged_start()
    if address.port >= start:
        return "permission denied although the port needs no privilege: a security module or sandbox forbids it"
    return (
        f"permission denied: ports below {start} need a privilege. Any of these helps: let systemd hold the port "
        "(`systemctl enable --now stubresolver.socket`); start it with sudo; choose another port "
        f"(--listen {replace(address, port=5300)}); or open the port to all programs of this machine "
        f"(`sudo sysctl net.ipv4.ip_unprivileged_port_start={address.port}`)"
    )


def _unprivileged_start() -> int:
    """The first port that anyone may bind; 1024 unless the machine's owner changed it (Linux, ip-sysctl)."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 1024
