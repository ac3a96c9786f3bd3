"""One fault lab: two networks, an internet of misbehaving servers, the resolver, its clients, and a capture of it all.

Everything happens in namespaces of its own, so that many labs can be at work at once. Figures are taken where the thing
happens: how long an answer took in the client's own process, how many connections came at the relay.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Any

import dns.edns
import dns.message
import dns.rcode
import dns.rdatatype

from stubresolver.lab.authority import Credential
from stubresolver.lab.world import NAME, World
from tests.faults.answers import ZONE, A, address_of, text_of
from tests.faults.capture import Proof, prove
from tests.faults.launcher import write_clocks
from tests.faults.namespaces import ADDRESSES, Namespaces
from tests.faults.remote import Remote
from tests.interop.programs import Program, wait_until
from tests.interop.service import COMMAND, environment, write_files

LAUNCHER = Path(__file__).with_name("launcher.py")
LISTENER = ("127.0.0.1", 53)
_PORTS = {"dot": 853, "doh": 443}
_START = 40.0


def _host(address: str) -> str:
    return f"[{address}]" if ip_address(address).version == 6 else address


def dot(address: str) -> str:
    """The upstream as the configuration names it, over DoT."""
    return f"tls://{_host(address)}#{NAME}"


def doh(address: str) -> str:
    """The same over DoH."""
    return f"https://{_host(address)}/dns-query#{NAME}"


EVERY = (
    *(dot(each) for each in ADDRESSES),
    *(doh(each) for each in ADDRESSES),
)  # as the shipped configuration has them


@dataclass(frozen=True, slots=True)
class Reply:
    """What came to one client, and when."""

    name: str
    message: dns.message.Message | None
    took: float  # seconds from the question
    at: float  # CLOCK_MONOTONIC when it was asked

    def __str__(self) -> str:
        said = "nothing" if self.message is None else f"{self.status} {self.texts}"
        return f"{self.name}: {said} after {self.took:.3f} s"

    @property
    def status(self) -> str:
        """NOERROR, SERVFAIL ...; "" where nothing came."""
        return "" if self.message is None else dns.rcode.to_text(self.message.rcode())

    @property
    def right(self) -> bool:
        """True if it is the one right answer to the name, for its address or its text."""
        if self.message is None or self.message.rcode() != dns.rcode.NOERROR or len(self.message.answer) != 1:
            return False
        (records,) = self.message.answer
        if records.rdtype == dns.rdatatype.A:
            return [record.address for record in records] == [address_of(self.name)]
        return b"".join(b"\xff" + string for string in records[0].strings) == text_of(self.name)

    @property
    def codes(self) -> list[int]:
        """Of the extended errors (RFC 8914)."""
        return [int(each.code) for each in self._errors]

    @property
    def texts(self) -> str:
        """What they say."""
        return " | ".join(each.text or "" for each in self._errors)

    @property
    def _errors(self) -> list[dns.edns.EDEOption]:
        options = () if self.message is None else self.message.options
        return [option for option in options if isinstance(option, dns.edns.EDEOption)]


@dataclass(frozen=True, slots=True)
class Asked:
    """A question under way; called, it waits for its reply."""

    name: str
    _future: "Future[Any]"
    _patience: float

    def __call__(self) -> Reply:
        got = self._future.result(self._patience + 30)
        message = dns.message.from_wire(bytes.fromhex(got["wire"])) if got["wire"] else None
        return Reply(self.name, message, got["took"], got["at"])

    def done(self) -> bool:
        """True once the reply is there."""
        return self._future.done()


class Lab:
    """See the module; `close` ends it and gives the proof."""

    def __init__(self, folder: Path, world: World, credential: Credential, *, flooded: bool = False) -> None:
        self.folder = folder
        self.world = world
        self.honest = credential
        self.declared: list[tuple[str, int]] = []
        self.service: Program | None = None
        self.figures: dict[str, float] = {}
        self.expect_leaks = False
        self._names = 0
        self._remotes: list[Remote] = []
        self.clocks = folder / "clocks"
        write_clocks(self.clocks)
        self.net = Namespaces(folder, flooded=flooded)
        try:
            self.internet = self._remote("tests.faults.internet", self.net.internet)
            self.asker = self._remote("tests.faults.asker", self.net.resolver)
        except BaseException:
            self.close()
            raise

    # The internet

    def open(
        self, transports: Iterable[str] = ("dot", "doh"), addresses: Iterable[str] = ADDRESSES, **more: Any
    ) -> None:
        """Servers at these addresses, honest but for what `more` says: `credential`, or the fields of `set`."""
        folder = self.credential_folder(more.pop("credential", self.honest))
        for address in addresses:
            for transport in transports:
                place = (address, _PORTS[transport])
                self.internet.call(do="open", at=place, kind=transport, folder=str(folder))
                if more:
                    self.set(place, **more)

    def neighbour(self) -> Remote:
        """Another process of the same internet, with places of its own."""
        return self._remote("tests.faults.internet", self.net.internet)

    def credential_folder(self, credential: Credential) -> Path:
        """A folder with its chain.pem and key.pem."""
        folder = self.folder / f"credential-{id(credential)}"
        folder.mkdir(exist_ok=True)
        (folder / "chain.pem").write_bytes(credential.chain_pem)
        (folder / "key.pem").write_bytes(credential.key_pem)
        return folder

    def set(self, place: tuple[str, int], **changes: Any) -> None:
        """Change a server's manners or the weather before it."""
        self.internet.call(do="set", at=place, **changes)

    def strike(self, what: str, *places: tuple[str, int]) -> int:
        """Do this to what stands there; how many connections that were."""
        return sum(self.internet.call(do="strike", at=place, what=what) for place in places or self.places())

    def places(self) -> list[tuple[str, int]]:
        """Where the resolver may dial."""
        return [(address, port) for address in ADDRESSES for port in _PORTS.values()]

    def tally(self, place: tuple[str, int]) -> dict[str, Any]:
        """What has come there."""
        got: dict[str, Any] = self.internet.call(do="tally", at=place)
        return got

    def tallies(self, *places: tuple[str, int]) -> dict[str, int]:
        """The sums over these places, or all that are open: connections, handshakes, queries, application octets."""
        found = [self.tally(place) for place in places]
        names = ("connections", "handshakes", "queries", "application_octets", "standing")
        return {name: sum(each.get(name, 0) for each in found) for name in names}

    # The resolver

    def start(
        self,
        upstreams: Sequence[str] = EVERY,
        more: str = "",
        *,
        policies: dict[str, str] | None = None,
        wait: bool = True,
        wrap: Sequence[str] = (),
        evidence: str = "evidence.sqlite3",
    ) -> None:
        """`stubresolver run` on port 53; it answers what needs no upstream when this returns."""
        listen = "127.0.0.1:53"
        file = write_files(self.folder, self.world, upstreams, listen=listen, more=more, policies=policies or {})
        file.write_text(file.read_text().replace('"evidence.sqlite3"', f'"{evidence}"'))
        command = [*self.net.resolver, *wrap, sys.executable, LAUNCHER, self.clocks, "stubresolver", "run"]
        self.service = Program([*command, "--config", file], self.folder / "run.log", environment(self.folder))
        if wait:
            self.wait(lambda: self.ask("localhost", patience=1).status == "NOERROR", "the resolver's start", _START)

    @property
    def log(self) -> str:
        """What the resolver has logged."""
        assert self.service is not None
        return self.service.log

    def command(self, *words: str) -> str:
        """A command beside the running service; what it says, if it ends well."""
        done = subprocess.run(
            [*self.net.resolver, *COMMAND, *words],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            env=environment(self.folder),
            cwd=self.folder,
        )
        assert done.returncode in {0, 1}, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def status(self) -> Any:
        """`stubresolver status --json`."""
        return json.loads(self.command("status", "--json"))

    def resident(self) -> float:
        """VmRSS of the service in MiB (proc(5))."""
        assert self.service is not None
        status = Path(f"/proc/{self.service.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def descriptors(self) -> int:
        """How many the service has open."""
        assert self.service is not None
        return len(list(Path(f"/proc/{self.service.process.pid}/fd").iterdir()))

    def connections(self, place: tuple[str, int]) -> int:
        """How many the kernel has established from here to an IPv4 place (proc(5), /proc/net/tcp)."""
        assert self.service is not None
        octets = IPv4Address(place[0]).packed[::-1] if sys.byteorder == "little" else IPv4Address(place[0]).packed
        wanted = [f"{octets.hex().upper()}:{place[1]:04X}", "01"]
        rows = Path(f"/proc/{self.service.process.pid}/net/tcp").read_text().splitlines()
        return sum(row.split()[2:4] == wanted for row in rows)

    def stop(self) -> None:
        """SIGTERM; it ends well and without a traceback."""
        service, self.service = self.service, None
        if service is not None:
            status = service.end()
            assert "Traceback" not in service.log, service
            assert status == 0, service

    # Its clients

    def name(self, kind: str = "a") -> str:
        """A name that nobody has asked for."""
        self._names += 1
        return f"{kind}-{self._names}.{ZONE}"

    def ask(self, name: str = "", kind: int = A, **more: Any) -> Reply:
        """One question and what came of it."""
        return self.ask_soon(name, kind, **more)()

    def ask_soon(
        self, name: str = "", kind: int = A, *, via: str = "udp", patience: float = 6.0, to: Any = LISTENER
    ) -> "Asked":
        """Ask; the reply is had by calling what comes back."""
        chosen = name or self.name()
        return Asked(chosen, self.asker.send(name=chosen, type=kind, via=via, to=to, patience=patience), patience)

    def ask_many(self, number: int, kind: str = "a", **more: Any) -> list[Reply]:
        """So many new names at once."""
        return [each() for each in [self.ask_soon(self.name(kind), **more) for _ in range(number)]]

    def settle(self) -> None:
        """Until a new name is answered, whatever a start on a busy machine takes."""
        self.wait(lambda: self.ask(patience=2).right, "a right answer at the start", _START)

    def wait(self, condition: Callable[[], Any], what: str, seconds: float = 20.0) -> Any:
        """Until it is true."""

        def look() -> Any:
            if self.service is not None and not self.service.alive:
                raise AssertionError(f"the resolver has ended: {self.service}")
            return condition()

        return wait_until(look, seconds, what)

    # The end

    def close(self) -> Proof:
        """End everything; what the capture has shown."""
        try:
            self.stop()
        finally:
            for remote in self._remotes:
                remote.end()
            try:
                lost = self.net.sniffer.finish()
                proof = prove(self.net.sniffer.log.splitlines()[1:], self.declared)
            finally:
                self.net.close()
        assert lost == 0, self.net.sniffer.log[-300:]
        return proof

    def _remote(self, module: str, prefix: Sequence[str]) -> Remote:
        self._remotes.append(Remote(module, prefix, self.folder))
        return self._remotes[-1]


def missing() -> str:
    """What this machine lacks for a fault lab; "" for nothing."""
    for program in ("unshare", "nsenter", "ip"):
        if shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin") is None:
            return f"needs {program} of Debian's util-linux or iproute2"
    return ""


def slowest(replies: Collection[Reply]) -> float:
    """How long the last of them took."""
    return max(reply.took for reply in replies)
