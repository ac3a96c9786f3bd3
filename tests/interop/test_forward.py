"""Forward zones in the running service, with unbound as the company's server, in a network whose packets are looked at.

The upstream of all other names is the lab's, by DoT. Plain DNS goes to the zone's server for the zone's names alone.
"""

from dataclasses import dataclass

import pytest

from stubresolver.lab.servers import DotServer
from tests.interop.clients import ask
from tests.interop.labserver import running
from tests.interop.network import Network, can_make_network
from tests.interop.peers import start_unbound
from tests.interop.programs import Program, free_port, start, wait_until
from tests.interop.service import Service, run_command, write_files

OFFICE, OTHER_OFFICE, PUBLIC = "10.0.0.53", "10.0.0.54", "8.8.8.8"
LISTENER = ("127.0.0.1", 53)
PORTS = (5353, 853, 443)
BIG = " ".join(f'"{number:03}{"." * 246}"' for number in range(16))  # about 4 kB

RECORDS = (
    "corp.example. 300 SOA ns.corp.example. h.corp.example. 1 7200 3600 1209600 60",
    "www.corp.example. 300 A {address}",
    "www.corp.example. 300 TXT {big}",
    "out.corp.example. 300 CNAME www.example.lab.",
    "www.example.lab. 300 A 6.6.6.6",
    "7.0.0.10.in-addr.arpa. 300 PTR www.corp.example.",
)


@dataclass(frozen=True)
class Office:
    """A server with the company's records, plain."""

    program: Program
    port: int
    word: str = "start of service"  # what unbound says when it serves

    def ready(self):
        """True once it serves."""
        return self.word in self.program.log


def start_office(folder, address="127.0.0.1", port=None, prefix=(), says="10.0.0.7"):
    """It answers everything that it is asked, also what is none of its business."""

    def make():
        at = port or free_port()
        data = "\n".join(f"  local-data: '{line.format(address=says, big=BIG)}'" for line in RECORDS)
        file = folder / f"office-{address}.conf"
        file.write_text(
            f'server:\n  directory: "{folder}"\n  chroot: ""\n  username: ""\n  pidfile: ""\n  use-syslog: no\n'
            f"  do-daemonize: no\n  interface: {address}@{at}\n  access-control: 0.0.0.0/0 allow\n"
            f'  module-config: "iterator"\n  local-zone: "." static\n  local-zone: "10.in-addr.arpa." static\n{data}\n'
            "remote-control:\n  control-enable: no\n"
        )
        return Office(Program([*prefix, "unbound", "-d", "-c", file], folder / f"office-{address}.log"), at)

    return start(make)


@pytest.fixture
def office(need, new_folder):
    """The company's server on loopback."""
    need("unbound")
    started = start_office(new_folder())
    yield started
    started.program.end()


@pytest.fixture
def upstream(world):
    """The upstream of all other names, and what it is asked."""
    queries = []

    def answer(wire):
        queries.append(wire)
        return world.zone.answer(wire)

    with running(DotServer(world.issue(), answer)) as port:
        yield f"tls://127.0.0.1:{port}#dns.lab", queries


def forward(office, more=""):
    return (
        f'[[forward]]\nzones = ["corp.example", "10.in-addr.arpa"]\nupstreams = "udp://127.0.0.1:{office.port}"\n{more}'
    )


def test_names_of_a_zone_are_asked_of_its_server(office, upstream, run_service):
    """A private address, a reverse name, an absence, a large answer by TCP; all other names as ever.

    What that server says of a stranger's name, 6.6.6.6, is not believed. Once it is gone, its zone fails, alone.
    """
    service = run_service([upstream[0]], forward(office))
    assert ask("dig", service.port, "WWW.corp.example", "A").records() == [("WWW.corp.example", "A", "10.0.0.7")]
    assert ask("dig", service.port, "-x", "10.0.0.7").records()[0][2] == "www.corp.example."
    assert ask("dig", service.port, "absent.corp.example", "A").status == "NXDOMAIN"
    assert ask("dig", service.port, "www.corp.example", "AAAA").records() == []
    assert len(ask("dig", service.port, "www.corp.example", "TXT").records()[0][2]) > 4000
    assert ask("dig", service.port, "notcorp.example", "A").status == "NXDOMAIN"
    assert ask("dig", service.port, "www.example.lab", "A").records()[-1][2] == "192.0.2.2"
    out = ask("dig", service.port, "out.corp.example", "A").records()
    assert [data for _, _, data in out] == ["www.example.lab.", "example.lab.", "192.0.2.1", "192.0.2.2"]
    assert all(b"\4corp" not in wire for wire in upstream[1])
    office.program.end()
    reply = ask("dig", service.port, "other.corp.example", "A")
    assert reply.status == "SERVFAIL"
    assert f"udp://127.0.0.1:{office.port}: Connection refused" in reply.extended_error
    assert ask("dig", service.port, "mail.example.lab", "A").status == "NOERROR"
    assert "forward corp.example, 10.in-addr.arpa: PLAIN DNS, neither encrypted nor verified, to udp://" in service.log


def test_protection_and_cap_of_a_zone(office, upstream, run_service):
    """A zone that is not private is protected like all names; no TTL exceeds the cap."""
    service = run_service([upstream[0]], forward(office, "private = false\nmax_ttl = 7\n"))
    reply = ask("dig", service.port, "www.corp.example", "A")
    assert (reply.records(), "10.0.0.0/8" in reply.extended_error) == ([], True)
    shown = ask("dig", service.port, "-x", "10.0.0.7").text
    assert any(f"in-addr.arpa. {ttl} IN PTR" in " ".join(shown.split()) for ttl in range(8))


def test_tls_zone_is_judged_by_its_own_policy(world, upstream, run_service):
    """A company's resolver without CT is refused by the shipped rules and allowed by a policy of its own."""
    bare = world.issue([])
    with running(DotServer(bare, world.zone.answer)) as port:
        zone = f'[[forward]]\nzone = "example.lab"\nupstreams = "tls://127.0.0.1:{port}#dns.lab"\n'
        refused = run_service([upstream[0]], zone)
        reply = ask("dig", refused.port, "example.lab", "A")
        assert (reply.status, "ct." in reply.extended_error) == ("SERVFAIL", True)
        assert ask("dig", refused.port, "mail.lab", "A").status == "NXDOMAIN"
        service = run_service([upstream[0]], zone + 'policy = "corp.toml"\n', corp="[ct]\nrequired = false\n")
        assert ask("dig", service.port, "example.lab", "A").records()[0][2] == "192.0.2.1"
        assert f"forward example.lab: tls://127.0.0.1:{port}#dns.lab: " in service.log
        assert f"forward example.lab: tls://127.0.0.1:{port}#dns.lab: allowed: " in service.log
        file = service.folder / "stubresolver.toml"
        checked = run_command(service.folder, "run", "--check", "--config", file)
        assert f"upstream: forward example.lab: tls://127.0.0.1:{port}#dns.lab: " in checked.stdout
        judged = run_command(service.folder, "check", "--config", file)
        assert (judged.returncode, f"tls://127.0.0.1:{port}#dns.lab" in judged.stdout) == (0, True)
        service.reload("reloaded: ")
        assert ask("dig", service.port, "mail.example.lab", "A").records()[0][2] == "192.0.2.25"


def test_query_goes_where_the_service_would_ask(office, upstream, run_service):
    """`stubresolver query` knows the zones, and says that nobody was verified."""
    service = run_service([upstream[0]], forward(office))
    file = service.folder / "stubresolver.toml"
    done = run_command(service.folder, "query", "--config", file, "7.0.0.10.in-addr.arpa", "PTR")
    assert done.returncode == 0, done.stderr
    assert "www.corp.example." in done.stdout
    assert f"udp://127.0.0.1:{office.port}, plain DNS for its forward zone: neither encrypted" in done.stdout


SIGNED = """$ORIGIN corp.example.
@ 300 SOA ns h 1 7200 3600 1209600 60
@ 300 NS ns
ns 300 A 10.0.0.53
www 300 A 10.0.0.7
out 300 CNAME www.example.lab.
*.wild 300 CNAME www.example.lab.
old 300 DNAME new
a.new 300 A 10.0.0.8
"""


@pytest.fixture
def knot(need, new_folder):
    """Knot as the company's authoritative server, which signs: it follows no alias out of its zone."""
    need("knotd")
    folder = new_folder()

    def make():
        port = free_port()
        (folder / "corp.zone").write_text(SIGNED)
        (folder / "knot.conf").write_text(
            f'server:\n    listen: 127.0.0.1@{port}\n    rundir: "{folder}"\ndatabase:\n    storage: "{folder}"\n'
            f'zone:\n  - domain: corp.example\n    storage: "{folder}"\n    file: corp.zone\n    dnssec-signing: on\n'
            "    zonefile-sync: -1\n    zonefile-load: difference-no-serial\n    journal-content: all\n"
        )
        return Office(Program(["knotd", "-c", folder / "knot.conf"], folder / "knot.log"), port, "server started")

    started = start(make)
    yield started
    started.program.end()


def test_authoritative_server_of_a_zone(knot, upstream, run_service):
    """An alias that it only names is followed by us; signatures and proofs of its zone come along, AD does not."""
    service = run_service(
        [upstream[0]], f'[[forward]]\nzone = "corp.example"\nupstreams = "udp://127.0.0.1:{knot.port}"\n'
    )
    reply = ask("dig", service.port, "out.corp.example", "A")
    assert [data for _, _, data in reply.records()][-2:] == ["192.0.2.1", "192.0.2.2"]
    assert {"aa", "ad"}.isdisjoint(reply.flags)
    wild = ask("dig", service.port, "+dnssec", "x.wild.corp.example", "A")
    assert [kind for _, kind, _ in wild.records()] == ["CNAME", "RRSIG", "CNAME", "A", "A"]
    assert {kind for _, kind, _ in wild.records("AUTHORITY")} == {"NSEC", "RRSIG"}
    redirected = ask("dig", service.port, "a.old.corp.example", "A")
    assert [kind for _, kind, _ in redirected.records()] == ["DNAME", "CNAME", "A"]
    absent = ask("dig", service.port, "+dnssec", "absent.corp.example", "A")
    assert absent.status == "NXDOMAIN"
    assert {"SOA", "NSEC", "RRSIG"} == {kind for _, kind, _ in absent.records("AUTHORITY")}
    asked = len(upstream[1])
    ask("dig", service.port, "corp.example", "DS")
    assert [b"\4corp\7example\0\0\x2b" in wire for wire in upstream[1][asked:]] == [True]


@pytest.fixture
def network(tmp_path, need):
    """A network with two offices' addresses and a public one."""
    need("dig", "unbound", "unshare", "nsenter", "ip")
    if not can_make_network():
        pytest.skip("needs root, or user namespaces, to make a network of its own")
    made = Network(tmp_path, (OFFICE, OTHER_OFFICE, PUBLIC))
    yield made
    made.close()


@pytest.fixture
def programs():
    """What is started and ended with the test, the last one first."""
    started = []
    yield started
    for one in reversed(started):
        one.program.end()


def test_file_of_a_dhcp_client_is_followed(network, programs, new_folder, world):
    """From one office to the next; neither a public server nor we ourselves are asked, whoever says so."""
    peer = start_unbound(new_folder(), ports=PORTS, prefix=network.prefix)
    programs.append(peer)
    folder = new_folder()
    for address, says in ((OFFICE, "10.0.0.7"), (OTHER_OFFICE, "10.0.0.8")):
        programs.append(start_office(folder, address, 53, network.prefix, says))
    more = '[[forward]]\nzone = "corp.example"\nupstreams = "resolv.conf:resolv.conf"\n'
    file = write_files(new_folder(), world, [peer.dot], listen="127.0.0.1:53", more=more)
    resolv = file.with_name("resolv.conf")
    resolv.write_text(f"nameserver 127.0.0.1\nnameserver {PUBLIC}\nnameserver {OFFICE}\nsearch lab\n")
    service = start(lambda: Service(file, 53, network.prefix))
    programs.append(service)

    def said(*arguments):
        return [data for _, _, data in ask("dig", 53, *arguments, prefix=network.prefix).records()]

    assert said("www.corp.example", "A") == ["10.0.0.7"]
    assert f"resolv.conf:2: left out: {PUBLIC} is no address of a private network" in service.log
    assert "left out: udp://127.0.0.1 is this resolver itself" in service.log
    resolv.write_text(f"nameserver {PUBLIC}\nnameserver {OTHER_OFFICE}\n")
    wait_until(lambda: said("www.corp.example", "A") == ["10.0.0.8"], 10, "the second office")
    assert said("example.lab", "AAAA") == ["2001:db8::1"]
    packets = network.packets()
    assert not [packet for packet in packets if packet.target[0] == PUBLIC]
    clear = [
        packet
        for packet in packets
        if not packet.touches(LISTENER) and packet.touches((OFFICE, 53), (OTHER_OFFICE, 53))
    ]
    assert clear
    assert all(b"\4corp\7example" in packet.payload for packet in clear if packet.protocol == "UDP")
    others = [packet for packet in packets if packet not in clear and not packet.touches(LISTENER)]
    assert all(packet.touches(("127.0.0.1", 853)) for packet in others)
    assert not [packet for packet in others if b"corp" in packet.payload]
