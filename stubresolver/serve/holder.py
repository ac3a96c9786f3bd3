"""Who holds a port: the process behind a bound local address, as far as Linux's /proc tells this user.

Read only after a bind has failed, to write an error that helps. It never raises: whatever cannot be read or parsed is
left out, and the answer is then "nobody known".
"""

import ipaddress
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

_TCP_LISTEN = "0A"  # TCP_LISTEN of include/net/tcp_states.h


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that has a socket open."""

    name: str  # the kernel's name of it, at most 15 octets
    pid: int

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid})"


def find_holder(
    kind: socket.SocketKind, address: IPv4Address | IPv6Address, port: int, proc: Path = Path("/proc")
) -> Holder | None:
    """The process whose socket keeps `address` and `port` from being bound, None where the system does not tell."""
    inodes = set(_inodes(kind, address, port, proc))
    if not inodes:
        return None
    links = {f"socket:[{inode}]" for inode in inodes}
    holders = [holder for holder in _processes(proc) if _has_link(proc / str(holder.pid) / "fd", links)]
    # Process 1 holds the sockets of socket units beside the service that uses them: the service says more.
    return max(holders, key=lambda holder: holder.pid != 1, default=None)


def _inodes(kind: socket.SocketKind, address: IPv4Address | IPv6Address, port: int, proc: Path) -> Iterator[str]:
    """The inodes of sockets that conflict: same port, and the same address or one side being a wildcard."""
    table = "tcp" if kind is socket.SOCK_STREAM else "udp"
    for name in (table, f"{table}6"):
        for fields in _rows(proc / "net" / name):
            try:
                text, hex_port = fields[1].split(":")
                held = _address(text)
                conflict = int(hex_port, 16) == port and (
                    held == address or held.is_unspecified or address.is_unspecified
                )
            except (ValueError, IndexError):
                continue
            if conflict and (table == "udp" or fields[3] == _TCP_LISTEN):
                yield fields[9]


def _rows(path: Path) -> list[list[str]]:
    """The rows of one of /proc/net's socket tables, without its heading and without rows that name no inode."""
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()[1:]
    except OSError:
        return []
    return [fields for line in lines if len(fields := line.split()) > 9]


def _address(text: str) -> IPv4Address | IPv6Address:
    """An address as the tables write it: 32-bit words in the machine's own order, in hexadecimal."""
    raw = bytes.fromhex(text)
    if sys.byteorder == "little":
        raw = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    address = ipaddress.ip_address(raw)
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def _processes(proc: Path) -> Iterator[Holder]:
    """Every process with its name."""
    try:
        entries = sorted(int(entry.name) for entry in proc.iterdir() if entry.name.isdecimal())
    except OSError:
        return
    for pid in entries:
        try:
            yield Holder((proc / str(pid) / "comm").read_text(encoding="utf-8", errors="replace").strip(), pid)
        except OSError:
            continue  # it has ended meanwhile


def _has_link(directory: Path, links: set[str]) -> bool:
    """Whether one of the open files is one of these sockets; False where this user may not look."""
    try:
        return any(str(entry.readlink()) in links for entry in directory.iterdir())
    except OSError:
        return False
