"""Unbound, knot-resolver and dnsdist as upstreams: one small zone, DoT and DoH, with a credential of the lab.

Unbound holds the zone; the two others are put in front of its plain port, as they are in the field.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.interop.programs import Program, free_port, start, takes_tcp

NAME = "dns.lab"  # in the certificate, beside the address
BIG = [f"{number:03}{'.' * 246}" for number in range(16)]  # a TXT of about 4 kB
HUGE = [f"{number:03}{'.' * 246}" for number in range(240)]  # of about 60 kB


@dataclass(frozen=True)
class Peer:
    """A running upstream and where it listens."""

    program: Program
    ready: Callable[[], object]
    dot_port: int
    doh_port: int
    plain_port: int = 0

    @property
    def dot(self) -> str:
        """As the configuration names it, by DoT."""
        return f"tls://127.0.0.1:{self.dot_port}#{NAME}"

    @property
    def doh(self) -> str:
        """As the configuration names it, by DoH."""
        return f"https://127.0.0.1:{self.doh_port}/dns-query#{NAME}"


def start_unbound(folder: Path, *, ports: tuple[int, int, int] | None = None, prefix: tuple[str, ...] = ()) -> Peer:
    """Unbound with the zone as local data; `ports` are plain, DoT and DoH; `prefix` is put before its command."""

    def make() -> Peer:
        plain, dot, doh = ports or (free_port(), free_port(), free_port())
        file = folder / "unbound.conf"
        file.write_text(_unbound(folder, plain, dot, doh))
        program = Program([*prefix, "unbound", "-d", "-c", file], folder / "unbound.log")
        return Peer(program, lambda: "start of service" in program.log, dot, doh, plain)

    return start(make)


def start_kresd(folder: Path, zone: Peer) -> Peer:
    """Knot-resolver in front of Unbound's plain port."""

    def make() -> Peer:
        dot, doh = free_port(), free_port()
        file = folder / "kresd.conf"
        file.write_text(_kresd(folder, zone, dot, doh))
        program = Program(["kresd", "-n", "-c", file, folder], folder / "kresd.log")
        return Peer(program, lambda: takes_tcp(dot) and takes_tcp(doh), dot, doh)

    return start(make)


def start_dnsdist(folder: Path, zone: Peer) -> Peer:
    """Dnsdist in front of Unbound's plain port."""

    def make() -> Peer:
        dot, doh = free_port(), free_port()
        file = folder / "dnsdist.conf"
        file.write_text(_dnsdist(folder, zone, dot, doh))
        program = Program(["dnsdist", "--supervised", "--disable-syslog", "-C", file], folder / "dnsdist.log")
        return Peer(program, lambda: takes_tcp(dot) and takes_tcp(doh), dot, doh)

    return start(make)


def _unbound(folder: Path, plain: int, dot: int, doh: int) -> str:
    records = [
        ". 3600 SOA dns.lab. people.lab. 1 7200 3600 1209600 300",
        "example.lab. 300 A 192.0.2.1",
        "example.lab. 300 A 192.0.2.2",
        "example.lab. 300 AAAA 2001:db8::1",
        "example.lab. 300 MX 10 mail.example.lab.",
        "wild.lab. 60 A 192.0.2.80",
        *(
            f"{name}.lab. 300 TXT " + " ".join(f'"{text}"' for text in strings)
            for name, strings in (("big", BIG), ("huge", HUGE))
        ),
    ]
    data = "\n".join(f"  local-data: '{record}'" for record in records)
    return f"""
server:
  directory: "{folder}"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  logfile: ""
  verbosity: 1
  do-daemonize: no
  interface: 127.0.0.1@{plain}
  interface: 127.0.0.1@{dot}
  interface: 127.0.0.1@{doh}
  tls-port: {dot}
  https-port: {doh}
  tls-service-key: "{folder}/key.pem"
  tls-service-pem: "{folder}/chain.pem"
  module-config: "iterator"
  local-zone: "." static
  local-zone: "wild.lab." redirect
{data}
remote-control:
  control-enable: no
"""


def _kresd(folder: Path, zone: Peer, dot: int, doh: int) -> str:
    return f"""
net.listen('127.0.0.1', {dot}, {{ kind = 'tls' }})
net.listen('127.0.0.1', {doh}, {{ kind = 'doh2' }})
net.tls('{folder}/chain.pem', '{folder}/key.pem')
trust_anchors.remove('.')
cache.size = 10 * MB
policy.add(policy.all(policy.STUB('127.0.0.1@{zone.plain_port}')))
"""


def _dnsdist(folder: Path, zone: Peer, dot: int, doh: int) -> str:
    pair = f'"{folder}/chain.pem", "{folder}/key.pem"'
    return f"""
setSecurityPollSuffix("")
setACL("127.0.0.0/8")
setLocal("127.0.0.1:{free_port()}")
newServer({{address="127.0.0.1:{zone.plain_port}", healthCheckMode="up"}})
addTLSLocal("127.0.0.1:{dot}", {pair})
addDOHLocal("127.0.0.1:{doh}", {pair}, {{"/dns-query"}})
"""
