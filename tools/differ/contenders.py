"""The programs: knotd with the zone, the upstream in front of it, and three resolvers that forward to that by DoT."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from stubresolver.lab.world import World
from tests.interop.programs import Program, free_port, start, takes_tcp, wait_until
from tests.interop.service import Service, environment, write_files
from tools.differ.zone import zone_text

US, UNBOUND, KRESD = "stubresolver", "unbound", "knot-resolver"


@dataclass(frozen=True)
class _Started:
    """What `start` waits for."""

    program: Program
    port: int

    def ready(self) -> bool:
        """True once it takes connections."""
        return takes_tcp(self.port)


@contextmanager
def contenders(folder: Path) -> Iterator[dict[str, int]]:
    """The port of each resolver, by its name; 127.0.0.1, UDP and TCP. All programs end with the block."""
    world = World(datetime.now(UTC))
    credential = world.issue()
    for name, octets in (("chain.pem", credential.chain_pem), ("key.pem", credential.key_pem)):
        (folder / name).write_bytes(octets)
    with ExitStack() as stack:

        def run(make: Callable[[], _Started | Service]) -> int:
            made = start(make)
            stack.callback(made.program.end)
            return made.port

        knot = run(lambda: _knotd(folder))
        wait_until(lambda: "loaded, serial" in _log(folder), 20, "knotd's signatures")
        dot = run(lambda: _upstream(folder, knot))
        upstreams = [f"tls://127.0.0.1:{dot}#dns.lab"]

        def us() -> Service:
            port = free_port()
            return Service(write_files(folder / "us", world, upstreams, listen=f"127.0.0.1:{port}"), port)

        (folder / "anchors.pem").write_bytes(world.anchors_pem)
        yield {US: run(us), UNBOUND: run(lambda: _unbound(folder, dot)), KRESD: run(lambda: _kresd(folder, dot))}


def _log(folder: Path) -> str:
    return (folder / "knotd.log").read_text()


def _knotd(folder: Path) -> _Started:
    port = free_port()
    (folder / "root.zone").write_text(zone_text())
    file = folder / "knot.conf"
    file.write_text(f"""
server:
  rundir: {folder}
  listen: 127.0.0.1@{port}
  tcp-io-timeout: 60000
  tcp-idle-timeout: 600
log:
  - target: stderr
    any: info
database:
  storage: {folder}
policy:
  - id: lab
    single-type-signing: on
    algorithm: ecdsap256sha256
    nsec3: off
    zone-max-ttl: 172800
    rrsig-lifetime: 1209600
    rrsig-refresh: 604800
zone:
  - domain: .
    file: {folder}/root.zone
    storage: {folder}
    zonefile-load: difference
    zonefile-sync: -1
    journal-content: none
    semantic-checks: soft
    dnssec-signing: on
    dnssec-policy: lab
""")
    return _Started(Program(["knotd", "-c", file], folder / "knotd.log"), port)


def _upstream(folder: Path, knot: int) -> _Started:
    port = free_port()
    command = [sys.executable, "-m", "tools.differ.upstream", folder, port, knot]
    return _Started(Program(command, folder / "upstream.log", environment(folder)), port)


def _unbound(folder: Path, dot: int) -> _Started:
    port = free_port()
    file = folder / "unbound.conf"
    file.write_text(f"""
server:
  directory: "{folder}"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  logfile: ""
  do-daemonize: no
  interface: 127.0.0.1@{port}
  access-control: 127.0.0.0/8 allow_snoop
  do-not-query-localhost: no
  module-config: "iterator"
  minimal-responses: no
  tls-cert-bundle: "{folder}/anchors.pem"
  ede: yes
  max-udp-size: 1232
  edns-tcp-keepalive: yes
forward-zone:
  name: "."
  forward-tls-upstream: yes
  forward-addr: 127.0.0.1@{dot}#dns.lab
remote-control:
  control-enable: no
""")
    return _Started(Program(["unbound", "-d", "-c", file], folder / "unbound.log"), port)


def _kresd(folder: Path, dot: int) -> _Started:
    port = free_port()
    (folder / "kresd").mkdir(exist_ok=True)
    file = folder / "kresd.conf"
    file.write_text(f"""
net.listen('127.0.0.1', {port}, {{ kind = 'dns' }})
trust_anchors.remove('.')
cache.size = 50 * MB
policy.add(policy.all(policy.TLS_FORWARD({{
    {{'127.0.0.1@{dot}', hostname='dns.lab', ca_file='{folder}/anchors.pem'}}
}})))
""")
    return _Started(Program(["kresd", "-n", "-c", file, folder / "kresd"], folder / "kresd.log"), port)
