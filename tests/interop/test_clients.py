"""What people's programs are made of gets its answers through us: tools, C libraries, and the runtimes of languages.

The resolver listens on port 53 of a network of its own; each program runs there, with an /etc/resolv.conf that names
it, and asks as it does anywhere. RFC 1035 s4.2.2 and RFC 7766 are at work where an answer fits no datagram.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.interop.clients import ask
from tests.interop.libraries import LIBRARIES, ask_library
from tests.interop.network import Network, can_make_network
from tests.interop.programs import Program, start, wait_until
from tests.interop.service import Service, environment, write_files
from tests.interop.zoneserver import CHAIN, MANY

OWN = ("198.18.0.1", "2001:db8:1::1")  # without one of each family, programs would not ask for that family
ADDRESSES = {"192.0.2.1", "192.0.2.2", "2001:db8::1"}
LOCAL = """
[local]
hosts = ["hosts"]
"""
FILES = {
    "resolv.conf": "nameserver 127.0.0.1\noptions timeout:5 attempts:1\n",
    "nsswitch.conf": "hosts: files dns\n",
    "hosts": "127.0.0.1 localhost\n",  # the programs' own; the printer is known to the resolver alone
}
TOOLS = {"drill": "ldnsutils", "host": "bind9-host", "getent": "libc-bin"}


@pytest.fixture(scope="module")
def place(need, new_folder, world, tmp_path_factory):
    """The command prefix with which a program runs beside the resolver; upstream, resolver and network are up."""
    need("dig", "unshare", "nsenter", "ip")
    if not can_make_network():
        pytest.skip("needs root, or user namespaces, to make a network of its own")
    folder = tmp_path_factory.mktemp("clients")
    network = Network(folder, OWN)
    programs = []
    try:
        programs.append(_start_upstream(new_folder(), network))
        file = write_files(new_folder(), world, ["tls://127.0.0.1:853#dns.lab"], listen="127.0.0.1:53", more=LOCAL)
        (file.parent / "hosts").write_text("192.0.2.99 Printer.lan printer\n2001:db8::99 printer.lan\n")
        service = start(lambda: Service(file, 53, network.prefix))
        programs.append(service.program)
        yield _mounting(folder, network.prefix)
        assert service.program.end() == 0, service.program
        assert "Traceback" not in service.program.log, service.program
    finally:
        for program in reversed(programs):
            program.end()
        network.close()


@pytest.fixture(scope="module", params=LIBRARIES, ids=lambda library: library.name)
def library(request, tmp_path_factory, place):
    """`library(name)`: the addresses that a program made with this library finds."""
    if lacking := request.param.absent():
        pytest.skip(lacking)
    command = request.param.build(tmp_path_factory.mktemp(request.param.name))

    def look_up(name: str) -> set[str]:
        return ask_library(command, name, place)

    look_up.name = request.param.name
    return look_up


def test_addresses(library):
    """A and AAAA, whichever order and whether together or one after the other."""
    assert library("example.lab") == ADDRESSES


def test_chain_of_aliases(library):
    """A chain of four aliases leads to the addresses at its end (RFC 1034 s3.6.2)."""
    assert library(f"{CHAIN[0]}.lab") == ADDRESSES


def test_letter_case(library):
    """Letters as they are written find the same (RFC 4343 s3)."""
    assert library("ExAmPlE.LaB") == ADDRESSES


def test_name_that_does_not_exist(library):
    """NXDOMAIN is told as such: no program takes it for a failure to be tried again."""
    assert library("nowhere.lab") == set()


def test_name_of_a_hosts_file(library):
    """What the resolver's own hosts file says reaches programs that do not read the file."""
    assert library("printer.lan") == {"192.0.2.99", "2001:db8::99"}


def test_addresses_that_fit_no_datagram(library):
    """The truncated answer is asked for again over TCP, and all of it comes (RFC 7766 s5)."""
    expected = set(MANY)
    if library.name == "musl":
        # musl 1.2.3 never asks by TCP (1.2.4 does) and makes do with what a truncated answer holds; whole RRsets are
        # left out of it (RFC 2181 s9), so it finds nothing, and says that the name has no address of this kind.
        expected = set()
    assert library("many.lab") == expected


@pytest.mark.parametrize("tool", ["dig", "kdig", "drill", "host"])
def test_large_text_over_tcp(place, need, tool):
    """What fits no datagram: UDP says TC, TCP brings all of it."""
    name, number = ("big.lab", 16) if tool == "host" else ("huge.lab", 240)  # host shows no more than 4 kB
    texts = _texts(_ask(tool, place, need, name, "TXT"))
    assert len(texts) == number
    assert {len(text) for text in texts} == {249}


@pytest.mark.parametrize("tool", ["dig", "kdig", "drill", "host"])
@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("example.lab", "A", {"192.0.2.1", "192.0.2.2"}),
        ("example.lab", "AAAA", {"2001:db8::1"}),
        (f"{CHAIN[0]}.lab", "AAAA", {"2001:db8::1"}),
        ("printer.lan", "A", {"192.0.2.99"}),
        ("nowhere.lab", "A", set()),
    ],
)
def test_tools(place, need, tool, name, kind, expected):
    """The tools of BIND, Knot and NLnet Labs show the same addresses, and NXDOMAIN where there is none."""
    said = _ask(tool, place, need, name, kind)
    pattern = r"(192\.0\.2\.\d+)\s*$" if kind == "A" else r"(2001:db8:\S+)\s*$"
    assert set(re.findall(pattern, said, re.MULTILINE)) == expected
    assert ("NXDOMAIN" in said) == (not expected)


@pytest.mark.parametrize(
    ("database", "name", "expected"),
    [
        ("ahosts", "example.lab", ADDRESSES),
        ("ahostsv4", f"{CHAIN[0]}.lab", {"192.0.2.1", "192.0.2.2"}),
        ("hosts", "printer.lan", {"2001:db8::99"}),
        ("hosts", "192.0.2.99", {"192.0.2.99"}),  # the reverse name, from the same file
        ("ahosts", "nowhere.lab", set()),
    ],
)
def test_getent(place, need, database, name, expected):
    """The C library's name service, as every dynamically linked program of the system asks it."""
    _need(need, "getent")
    done = subprocess.run([*place, "getent", database, name], capture_output=True, text=True, timeout=30, check=False)
    assert {line.split()[0] for line in done.stdout.splitlines()} == expected
    assert done.returncode == (0 if expected else 2), done.stderr  # getent(1): 2, a key could not be found


def _start_upstream(folder: Path, network: Network) -> Program:
    """The lab's zone by DoT in that network."""
    command = [*network.prefix, sys.executable, "-m", "tests.interop.zoneserver", folder, "853"]
    program = Program(command, folder / "zone.log", environment(folder))
    wait_until(lambda: not program.alive or "serving" in program.log, 15, str(program))
    assert program.alive, program
    return program


def _mounting(folder: Path, prefix: tuple[str, ...]) -> tuple[str, ...]:
    """Run in the network, with our files in /etc in the place of the machine's."""
    lines = []
    for name, text in FILES.items():
        (folder / name).write_text(text)
        lines.append(f"mount --bind {folder / name} /etc/{name}")
    return (*prefix, "unshare", "--mount", "sh", "-ec", f'{"; ".join(lines)}; exec "$@"', "sh")


def _need(need, tool: str) -> None:
    """Skip without the tool; those that the other tests need, too, are known there."""
    if tool in TOOLS:
        if not any(Path(folder, tool).exists() for folder in ("/usr/bin", "/bin")):
            pytest.skip(f"needs Debian's {TOOLS[tool]} ({tool})")
    else:
        need(tool)


def _ask(tool: str, place: tuple[str, ...], need, name: str, kind: str) -> str:
    """What the tool prints for one question."""
    _need(need, tool)
    if tool in {"dig", "kdig"}:
        return ask(tool, 53, name, kind, prefix=place).text
    command = {"drill": ["drill", "-a", name, "@127.0.0.1", kind], "host": ["host", "-v", "-t", kind, name]}
    done = subprocess.run([*place, *command[tool]], capture_output=True, text=True, timeout=30, check=False)
    return done.stdout + done.stderr


def _texts(said: str) -> list[str]:
    """The strings of the TXT records, which begin with their number."""
    return re.findall(r'"(\d{3}\.+)"', said)
