"""A network of its own, without any way out, and a record of everything that is sent in it."""

import functools
import subprocess
import sys
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from tests.interop.programs import Program, wait_until

_SNIFFER = Path(__file__).with_name("sniffer.py")
# As any user where users may have namespaces of their own; as root where they may not (a chroot, some containers).
_WAYS = {
    ("unshare", "--user", "--map-root-user", "--net"): ("--user", "--preserve-credentials", "--net"),
    ("unshare", "--net"): ("--net",),
}


@functools.cache
def way_to_network() -> tuple[str, ...] | None:
    """The command that makes a network for the command behind it; None where the system lets us make none."""
    for command in _WAYS:
        if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
            return command
    return None


def can_make_network() -> bool:
    """True if the system lets us."""
    return way_to_network() is not None


def way_into(pid: int) -> tuple[str, ...]:
    """What is put before a command to run it in the network of the process."""
    return ("nsenter", "--target", str(pid), *_WAYS[way_to_network() or ()])


@dataclass(frozen=True)
class Packet:
    """One TCP or UDP packet, by its addresses and ports; `payload` is what they carry."""

    protocol: str
    source: tuple[str, int]
    target: tuple[str, int]
    payload: bytes

    def touches(self, *places: tuple[str, int]) -> bool:
        """True if it comes from or goes to one of these."""
        return self.source in places or self.target in places


class Network:
    """A namespace with a loopback interface that has these addresses, beside its own; recorded from the start."""

    def __init__(self, folder: Path, addresses: tuple[str, ...] = ()) -> None:
        lines = ["ip link set lo up"]
        lines += [f"ip address add {each}/{ip_address(each).max_prefixlen} dev lo" for each in addresses]
        new = way_to_network() or ()
        self._holder = Program([*new, "sh", "-ec", "; ".join([*lines, "echo up", "exec cat"])], folder / "network.log")
        try:
            self._wait_for(self._holder, "up")
            self.prefix = way_into(self._holder.process.pid)
            self._sniffer = Program([*self.prefix, sys.executable, _SNIFFER], folder / "packets")
            self._wait_for(self._sniffer, "listening")
        except BaseException:
            self._holder.end()
            raise

    def packets(self) -> list[Packet]:
        """Everything that was sent; ends the recording."""
        status = self._sniffer.finish()
        assert status == 0, self._sniffer
        return [packet for line in self._sniffer.log.splitlines()[1:] if (packet := read_packet(bytes.fromhex(line)))]

    def close(self) -> None:
        """End the recording and the namespace with it."""
        self._sniffer.end()
        self._holder.end()

    @staticmethod
    def _wait_for(program: Program, word: str) -> None:
        wait_until(lambda: not program.alive or word in program.log, 10, str(program))
        assert program.alive, program


def read_packet(octets: bytes) -> Packet | None:
    """An IPv4 (RFC 791 s3.1) or IPv6 (RFC 8200 s3) packet without extension headers; None if not of TCP or UDP."""
    if octets[0] >> 4 == 4:
        start, number, source, target = 4 * (octets[0] & 15), octets[9], octets[12:16], octets[16:20]
    elif octets[0] >> 4 != 6:
        return None  # ARP, where the network is more than a loopback interface
    else:
        start, number, source, target = 40, octets[6], octets[8:24], octets[24:40]
    if number not in {6, 17}:
        return None
    segment = octets[start:]
    header = 8 if number == 17 else 4 * (segment[12] >> 4)
    ports = (int.from_bytes(segment[:2], "big"), int.from_bytes(segment[2:4], "big"))
    return Packet(
        "UDP" if number == 17 else "TCP",
        (str(ip_address(source)), ports[0]),
        (str(ip_address(target)), ports[1]),
        segment[header:],
    )
