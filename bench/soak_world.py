"""What a soak runs: the service, two upstreams that are processes of their own, and the relays before them.

    service ── relay 127.0.0.1 ── dnsdist, DoT and DoH, before a plain server whose answers are computed
            └─ relay 127.0.0.2 ── the fault lab's own server, which can misbehave inside TLS, too

Impostors wait beside them: one with a certificate of a CA that the policy refuses, one that speaks HTTP in clear.
"""

import contextlib
import os
import signal
import socket
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from bench.process import CannotMeasure, Program
from bench.soak_faults import MANNERS, SPELLS, STRIKES, Fault
from stubresolver.lab.authority import Credential
from stubresolver.lab.world import NAME, World
from tests.faults.launcher import write_clocks
from tests.faults.remote import Remote
from tests.interop.service import environment, write_files

LAUNCHER = Path(__file__).parents[1] / "tests" / "faults" / "launcher.py"
_HOSTS = ("127.0.0.1", "127.0.0.2")
_TRANSPORTS = ("dot", "doh")
_PLACES = ("local", "plain", "dot", "doh", "rogue-dot", "rogue-doh", "http", "service")
_DNSDIST = """
setLocal("127.0.0.1:{local}")
setMaxTCPClientThreads(2)
setMaxTCPConnectionsPerClient(0)
setSecurityPollSuffix("")
setACL({{"127.0.0.0/8"}})
newServer({{address="127.0.0.1:{plain}", tcpOnly=true, healthCheckMode="up"}})
addTLSLocal("127.0.0.1:{dot}", "chain.pem", "key.pem", {{minTLSVersion="tls1.3"}})
addDOHLocal("127.0.0.1:{doh}", "chain.pem", "key.pem", "/dns-query", {{minTLSVersion="tls1.3"}})
"""
# A cache that a run of minutes fills, too: or its growth would look like a leak.
_MORE = """
[cache]
max_octets = 262144
"""


@dataclass
class SoakWorld:
    """Everything that runs; faults are done and undone here. Blocking, each call some milliseconds."""

    folder: Path
    stack: contextlib.ExitStack
    port: int = 0
    pid: int = 0
    slept: float = 0.0
    _sites: dict[tuple[int, str], tuple[str, int]] = field(default_factory=dict)

    def start(self) -> Program:
        """Start it all; the service answers when this returns. Raises `CannotMeasure`."""
        world = World(datetime.now(UTC))
        addresses = [ip_address(host) for host in _HOSTS]
        self._write("honest", world.issue(addresses=addresses))
        self._write("rogue", world.issue(authority=world.finish, addresses=addresses))
        ports = {
            name: free_port() for name in ("local", "plain", "dot", "doh", "rogue-dot", "rogue-doh", "http", "service")
        }
        self._internet = Remote("tests.faults.internet", (), self.folder)
        self.stack.callback(self._internet.end)
        self._call("open", ("127.0.0.1", ports["plain"]), kind="plain")
        self._call("open", ("127.0.0.1", ports["http"]), kind="http")
        for transport in _TRANSPORTS:
            rogue = ("127.0.0.1", ports[f"rogue-{transport}"])
            self._call("open", rogue, kind=transport, folder=str(self.folder / "rogue"))
        self._impostors = {"captive portal": ports["http"], "dot": ports["rogue-dot"], "doh": ports["rogue-doh"]}
        self._start_dnsdist(ports)
        for number, host in enumerate(_HOSTS):
            for transport in _TRANSPORTS:
                place = self._sites[number, transport] = (host, free_port())
                if number == 0:
                    self._call("open", place, kind="relay", to=("127.0.0.1", ports[transport]))
                else:
                    self._call("open", place, kind=transport, folder=str(self.folder / "honest"))
        return self._start_service(world, ports["service"])

    def begin(self, fault: Fault) -> None:
        """Do it."""
        for place in self._places(fault):
            if fault.kind in STRIKES:
                self._strike(fault.kind, place)
            elif fault.kind in SPELLS or fault.kind in MANNERS:
                self._call("set", place[0], **(SPELLS | MANNERS)[fault.kind][0])
            elif fault.kind in {"reset", "dropped"}:
                self._call("shut", place[0], deaf=fault.kind == "dropped")
                self._strike("rst", place)
            else:
                impostor = self._impostors["captive portal" if fault.kind == "captive portal" else place[1]]
                self._call("turn", place[0], to=("127.0.0.1", impostor))
                self._strike("rst", place)
        match fault.kind:
            case "suspend":
                self.slept += 3600.0
                write_clocks(self.folder / "clocks", slept=self.slept)
            case "reload":
                os.kill(self.pid, signal.SIGHUP)
            case "evidence locked":
                self._lock = sqlite3.connect(self.folder / "evidence.sqlite3", isolation_level=None)
                with contextlib.suppress(sqlite3.OperationalError):  # the service is writing: then it is not locked
                    self._lock.execute("BEGIN EXCLUSIVE")

    def end(self, fault: Fault) -> None:
        """Undo it."""
        for place in self._places(fault):
            if fault.kind in SPELLS or fault.kind in MANNERS:
                self._call("set", place[0], **(SPELLS | MANNERS)[fault.kind][1])
            elif fault.kind in {"reset", "dropped"}:
                self._call("reopen", place[0])
            elif fault.kind not in STRIKES:
                self._call("turn", place[0])
        if fault.kind == "evidence locked":
            self._lock.close()

    def standing(self) -> int:
        """Connections of the service to its upstreams."""
        return sum(self._call("tally", place)["standing"] for place in self._sites.values())

    def dials(self) -> int:
        """Connections that it has made since the start."""
        return sum(len(self._call("tally", place)["accepted"]) for place in self._sites.values())

    @property
    def trouble(self) -> str:
        """What went wrong in the world itself, and not in the service."""
        return self._internet.log

    def _places(self, fault: Fault) -> Iterator[tuple[tuple[str, int], str]]:
        for number in fault.where:
            for transport in fault.ports:
                yield self._sites[number, transport], transport

    def _strike(self, what: str, place: tuple[tuple[str, int], str]) -> None:
        if what in {"close_notify", "goaway"} and place[0][0] == _HOSTS[0]:
            what = "fin"  # dnsdist says neither when told
        self._call("strike", place[0], what=what)

    def _start_dnsdist(self, ports: dict[str, int]) -> None:
        folder = self.folder / "honest"
        (folder / "dnsdist.conf").write_text(_DNSDIST.format(**ports))
        command = ["dnsdist", "--supervised", "--disable-syslog", "-C", "dnsdist.conf"]
        program = self.stack.enter_context(Program("dnsdist", command, folder))
        for name in _TRANSPORTS:
            program.wait_until_it_accepts(ports[name])

    def _start_service(self, world: World, port: int) -> Program:
        order = [(number, transport) for transport in _TRANSPORTS for number in (0, 1)]
        urls = [_url(transport, *self._sites[number, transport]) for number, transport in order]
        file = write_files(self.folder, world, urls, listen=f"127.0.0.1:{port}", more=_MORE)
        clocks = self.folder / "clocks"
        write_clocks(clocks)
        command = [sys.executable, str(LAUNCHER), str(clocks), "stubresolver", "run", "--config", str(file)]
        program = self.stack.enter_context(Program("stubresolver", command, self.folder, environment(self.folder)))
        program.wait_until_it_answers(port, "a-ready.plaintextproof.lab")
        self.port, self.pid = port, program.pid
        return program

    def _write(self, name: str, credential: Credential) -> None:
        folder = self.folder / name
        folder.mkdir()
        (folder / "chain.pem").write_bytes(credential.chain_pem)
        (folder / "key.pem").write_bytes(credential.key_pem)

    def _call(self, do: str, at: tuple[str, int], **order: Any) -> Any:
        try:
            return self._internet.call(do=do, at=at, **order)
        except (AssertionError, TimeoutError) as error:
            raise CannotMeasure(f"the fault lab's internet does not obey {do}: {error}") from None


def free_port() -> int:
    """A port that is free for TCP on both hosts and for UDP on the first; the next one to bind it has it."""
    while True:
        with contextlib.ExitStack() as stack:
            socks = [stack.enter_context(socket.socket(socket.AF_INET, kind)) for kind in (1, 1, 2)]
            socks[0].bind((_HOSTS[0], 0))
            port: int = socks[0].getsockname()[1]
            with contextlib.suppress(OSError):
                socks[1].bind((_HOSTS[1], port))
                socks[2].bind((_HOSTS[0], port))
                return port


def _url(transport: str, host: str, port: int) -> str:
    path = "/dns-query" if transport == "doh" else ""
    return f"{'tls' if transport == 'dot' else 'https'}://{host}:{port}{path}#{NAME}"
