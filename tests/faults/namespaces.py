"""Two networks without any way out, of a resolver and of its internet, joined by two cables.

    resolver                            internet
    wan0  10.0.0.2  fd00::2  ─────────  gw0  10.0.0.1  fd00::1      the default route, at the start
    wan1  10.0.1.2  fd01::2  ─────────  gw1  10.0.1.1  fd01::1      another network, down at the start

The internet has the upstreams' addresses on its loopback interface. Everything is undone with the processes that hold
the namespaces.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.interop.network import way_into, way_to_network
from tests.interop.programs import Program, wait_until

ADDRESSES = ("1.1.1.1", "1.0.0.1", "2606:4700:4700::1111", "2606:4700:4700::1001")
_SNIFFER = Path(__file__).parents[1] / "interop" / "sniffer.py"
_URGENT = ("chrt", "--rr", "1")  # sched(7): before whatever else the machine does, and in turn among themselves
_CABLES = """
ip link add wan{n} type veth peer name gw{n} netns {internet}
ip address add 10.0.{n}.2/24 dev wan{n}
ip address add fd0{n}::2/64 dev wan{n} nodad
"""
_ROUTES = "ip route add default via 10.0.{n}.1\nip -6 route add default via fd0{n}::1"
_GATES = """
ip address add 10.0.{n}.1/24 dev gw{n}
ip address add fd0{n}::1/64 dev gw{n} nodad
ip link set gw{n} up
"""


class Namespaces:
    """Both, until `close`; everything that passes the resolver's interfaces is recorded."""

    def __init__(self, folder: Path, *, flooded: bool = False) -> None:
        """Where a flood is to come, loopback is not recorded, and all that runs here goes before the neighbours."""
        self._programs: list[Program] = []
        try:
            holder = self._hold(way_to_network() or (), folder / "resolver.ns")
            first = (
                _URGENT
                if flooded and subprocess.run([*_URGENT, "true"], capture_output=True, check=False).returncode == 0
                else ()
            )
            self.resolver = (*first, *way_into(holder.process.pid))
            # of the same user namespace, if there is one, or the cable could not be laid
            beside = [part for part in self.resolver if part != "--net"]
            internet = self._hold((*beside, "unshare", "--net"), folder / "internet.ns")
            self.internet = (*first, *way_into(internet.process.pid))
            for number in (0, 1):
                self.run(_CABLES.format(n=number, internet=internet.process.pid))
            gates = "".join(_GATES.format(n=number) for number in (0, 1))
            self.run(gates + "".join(f"ip address add {each} dev lo\n" for each in ADDRESSES), self.internet)
            named = ["wan0"] if flooded else []
            self.sniffer = Program([*self.resolver, sys.executable, _SNIFFER, *named], folder / "packets")
            self._programs.append(self.sniffer)
            self._wait(self.sniffer, "listening")
            self.run(f"ip link set wan0 up\n{_ROUTES.format(n=0)}")
        except BaseException:
            self.close()
            raise

    def run(self, script: str, where: Sequence[str] | None = None) -> None:
        """A few commands of a shell in the resolver's network, or in the internet's."""
        done = subprocess.run(
            [*(where or self.resolver), "sh", "-ec", script], capture_output=True, text=True, timeout=20, check=False
        )
        assert done.returncode == 0, f"{script}: {done.stderr}"

    def can(self, *command: str) -> bool:
        """True if the command works in the resolver's network."""
        return subprocess.run([*self.resolver, *command], capture_output=True, check=False, timeout=20).returncode == 0

    def move(self, more: str = "") -> None:
        """The resolver leaves its network and comes into the other one; `more` changes it before it is complete."""
        self.run(f"ip link set wan0 down\nip link set wan1 up\n{_ROUTES.format(n=1)}\n{more}")

    def close(self) -> None:
        """End the recording and the namespaces."""
        for program in reversed(self._programs):
            program.end()

    def _hold(self, command: Sequence[str], log: Path) -> Program:
        program = Program([*command, "sh", "-ec", "ip link set lo up; echo up; exec cat"], log)
        self._programs.append(program)
        self._wait(program, "up")
        return program

    @staticmethod
    def _wait(program: Program, word: str) -> None:
        wait_until(lambda: not program.alive or word in program.log, 30, str(program))
        assert program.alive, program
