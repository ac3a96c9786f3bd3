"""The unit files, and what the service and its manager tell each other."""

import os
import shutil
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from stubresolver import systemd
from stubresolver.errors import CannotListen

UNITS = Path(__file__).parents[1] / "systemd"
ANALYZE = shutil.which("systemd-analyze")
needs_analyze = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed (Debian: systemd)")

# A child that takes the descriptors named in its arguments as systemd would have passed them, serves them with answers
# that repeat the query, and ends when its standard input does.
CHILD = """
import fcntl, os, sys
import trio
from stubresolver.serve import ListenOptions, TcpServer, UdpServer
from stubresolver.systemd import take_sockets

high = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 100) for number in sys.argv[1:]]
for index, descriptor in enumerate(high):
    os.dup2(descriptor, 3 + index)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(high)), LISTEN_FDNAMES="dns:dns")
sockets = take_sockets()
assert not [name for name in os.environ if name.startswith("LISTEN_")]
assert take_sockets() is None
assert not any(sock.getblocking() or sock.get_inheritable() for sock in sockets.udp + sockets.tcp)

class Echo:
    def answer_nowait(self, query, now):
        return query.wire

async def main():
    async with trio.open_nursery() as nursery:
        await nursery.start(UdpServer(sockets.udp[0], Echo()).serve)
        await nursery.start(TcpServer(sockets.tcp, Echo(), ListenOptions()).serve)
        await trio.lowlevel.wait_readable(0)
        nursery.cancel_scope.cancel()

trio.run(main)
"""

# What the service does under MemoryDenyWriteExecute=: TLS by OpenSSL, its own verification and the reading of a staple
# included, and many datagrams with one call of libc.
# prctl(PR_SET_MDWE = 65, PR_MDWE_REFUSE_EXEC_GAIN = 1) of Linux 6.3 refuses what the unit's filter refuses.
CONFINED = """
import ctypes, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) != 0:
    sys.exit(77)
from datetime import UTC, datetime
from OpenSSL import SSL
from cryptography import x509
from stubresolver.lab.world import World
from stubresolver.transport.tls import TLSContext
world = World(datetime.now(UTC))
credential = world.issue()
context = SSL.Context(SSL.TLS_SERVER_METHOD)
context.use_privatekey(credential.key)
context.use_certificate(x509.load_der_x509_certificate(credential.chain[0]))
context.add_extra_chain_cert(x509.load_der_x509_certificate(credential.chain[1]))
server = SSL.Connection(context, None)
client = TLSContext([world.lab.anchor]).client("dns.lab", [b"dot"], world.now)
server.set_accept_state()
server.bio_write(client.data_to_send())
try:
    server.do_handshake()
except SSL.WantReadError:
    pass
[complete] = client.receive_data(server.bio_read(1 << 20))
assert (complete.openssl_error, complete.staple, len(complete.chain)) == (None, None, 2)
import socket
from stubresolver.serve.batch import DatagramBatch
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.bind(("127.0.0.1", 0))
    sock.connect(sock.getsockname())
    sock.send(b"query")
    batch = DatagramBatch(sock)
    assert batch.receive() == [b"query"]
    assert batch.send([b"answer"]) == 0
    assert sock.recv(100) == b"answer"
"""


@pytest.fixture
def manager(tmp_path, monkeypatch):
    """The service manager's end of NOTIFY_SOCKET."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield sock


def messages(manager):
    """All notifications so far."""
    received = []
    while True:
        try:
            received.append(manager.recv(4096).decode())
        except BlockingIOError:
            return received


def unit(name):
    """A unit file as sections of (key, value) pairs, in order; keys may repeat."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for raw in (UNITS / name).read_text(encoding="utf-8").splitlines():
        line = raw.strip()
        if line.startswith("[") and line.endswith("]"):
            pairs = sections.setdefault(line[1:-1], [])
        elif line and not line.startswith("#"):
            key, separator, value = line.partition("=")
            assert separator, f"{name}: {line!r}"
            pairs.append((key, value))
    return sections


# Units.


def test_socket_unit_listens_on_loopback_only():
    """Both loopback addresses, UDP and TCP, port 53, and nothing that another machine reaches."""
    pairs = unit("stubresolver.socket")["Socket"]
    listens = sorted((key, value) for key, value in pairs if key.startswith("Listen"))
    assert listens == [
        (key, value) for key in ("ListenDatagram", "ListenStream") for value in ("127.0.0.1:53", "[::1]:53")
    ]
    assert dict(pairs)["BindIPv6Only"] == "ipv6-only"


def test_service_unit_comes_back_and_waits_for_no_network():
    """The service is restarted without limit, watched, and never ordered after the network."""
    sections = unit("stubresolver.service")
    service, general = dict(sections["Service"]), dict(sections["Unit"])
    assert (service["Type"], service["Restart"], service["RestartSec"]) == ("notify", "always", "1")
    assert service["WatchdogSec"] == "30s"
    assert general["StartLimitIntervalSec"] == "0"
    assert general["Before"] == general["Wants"] == "nss-lookup.target"
    assert not [value for _, value in sections["Unit"] if "network" in value]


def test_service_unit_has_no_privilege():
    """No user that outlives it, no capability, no code made at run time."""
    service = dict(unit("stubresolver.service")["Service"])
    assert service["DynamicUser"] == service["NoNewPrivileges"] == service["MemoryDenyWriteExecute"] == "yes"
    assert service["CapabilityBoundingSet"] == service["AmbientCapabilities"] == ""
    assert service["StateDirectory"] == "stubresolver"


def test_every_group_of_directives_has_its_reason():
    """A block of directives begins with a comment, in every unit."""
    for path in (UNITS / "stubresolver.socket", UNITS / "stubresolver.service"):
        blocks = path.read_text(encoding="utf-8").split("\n\n")
        for block in blocks:
            lines = [line for line in block.strip().splitlines() if not line.startswith("[")]
            plain = lines and lines[0].partition("=")[0] in {"Description", "WantedBy"}  # they speak for themselves
            assert not lines or plain or lines[0].startswith("#"), f"{path.name}: {block}"


@needs_analyze
def test_exposure_is_low():
    """`systemd-analyze security` rates the service at 1.5 or better; the best of the field has 1.9."""
    done = subprocess.run(
        [ANALYZE, "security", "--offline=true", "--threshold=15", "--no-pager", UNITS / "stubresolver.service"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Overall exposure level" in done.stdout


@needs_analyze
def test_units_are_well_formed(tmp_path):
    """`systemd-analyze verify` knows every directive and value."""
    for name in ("stubresolver.service", "stubresolver.socket"):
        text = (UNITS / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace("/opt/stubresolver/bin/stubresolver", "/bin/true"), encoding="utf-8")
    done = subprocess.run(
        [ANALYZE, "verify", "--man=no", tmp_path / "stubresolver.service", tmp_path / "stubresolver.socket"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, [line for line in done.stderr.splitlines() if "stubresolver" in line]) == (0, [])


def test_libraries_work_under_memory_deny_write_execute():
    """What the unit forbids, the service does not need: no library makes code at run time."""
    done = subprocess.run([sys.executable, "-c", CONFINED], capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip("the kernel has no PR_SET_MDWE (Linux 6.3)")
    assert done.returncode == 0, done.stderr


# Inherited sockets.


def test_child_serves_the_sockets_that_it_inherits():
    """A real child process answers over UDP and TCP on sockets that its parent bound."""
    query = struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0) + b"\1a\0\0\1\0\1"
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        udp.bind(("127.0.0.1", 0))
        client.settimeout(30)
        client.sendto(query, udp.getsockname())  # before anybody serves: it waits in the socket
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(udp.fileno()), str(tcp.fileno())],
            pass_fds=[udp.fileno(), tcp.fileno()],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with child:
            with socket.create_connection(tcp.getsockname(), timeout=30) as stream:
                stream.sendall(struct.pack(">H", len(query)) + query)
                assert stream.recv(100)[2:] == query
            assert client.recv(100) == query
            _, errors = child.communicate()
        assert (child.returncode, errors) == (0, b"")


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_FDS": "2"},
        {"LISTEN_PID": "1", "LISTEN_FDS": "2"},
        {"LISTEN_PID": "own", "LISTEN_FDS": "0"},
        {"LISTEN_PID": "own"},
    ],
)
def test_sockets_of_others_are_left_alone(environ):
    """Descriptors are taken only if systemd says that they are for this very process."""
    given_environ = {name: value.replace("own", str(os.getpid())) for name, value in environ.items()}
    assert systemd.take_sockets(given_environ) is None
    assert given_environ == {}


@pytest.fixture
def passed(monkeypatch):
    """Pass sockets as systemd would: from the descriptor of the first one on."""

    def environ_for(*sockets):
        numbers = [sock.detach() for sock in sockets]
        free = 200  # beyond what a test run has open
        for index, number in enumerate(numbers):
            os.dup2(number, free + index)
            os.close(number)
        monkeypatch.setattr(systemd, "_FIRST_DESCRIPTOR", free)
        opened.extend(range(free, free + len(numbers)))
        return {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(numbers)), "LISTEN_FDNAMES": "first"}

    opened: list[int] = []
    yield environ_for
    for descriptor in opened:
        try:
            os.close(descriptor)
        except OSError:
            continue  # closed by the test


def make(family, kind, *, listen=False):
    sock = socket.socket(family, kind)
    if family == socket.AF_INET:
        sock.bind(("127.0.0.1", 0))
    if listen:
        sock.listen()
    return sock


@pytest.mark.parametrize(
    ("family", "kind", "words"),
    [
        (socket.AF_UNIX, socket.SOCK_STREAM, "AF_UNIX SOCK_STREAM"),
        (socket.AF_UNIX, socket.SOCK_DGRAM, "AF_UNIX SOCK_DGRAM"),
        (socket.AF_INET, socket.SOCK_STREAM, "AF_INET SOCK_STREAM"),  # not listening
    ],
)
def test_unfit_sockets_are_refused(passed, family, kind, words):
    """A socket that cannot serve DNS is named, with what is expected."""
    environ = passed(make(family, kind))
    with pytest.raises(CannotListen, match=rf"\(first\).* is {words}; expected ListenDatagram="):
        systemd.take_sockets(environ)


@pytest.mark.parametrize(
    ("kind", "lacking"), [(socket.SOCK_DGRAM, "ListenStream="), (socket.SOCK_STREAM, "ListenDatagram=")]
)
def test_both_transports_are_demanded(passed, kind, lacking):
    """RFC 7766 s5: a socket unit with only one of UDP and TCP is refused by name of what lacks."""
    environ = passed(make(socket.AF_INET, kind, listen=kind == socket.SOCK_STREAM))
    with pytest.raises(CannotListen, match=f"no {lacking} socket"):
        systemd.take_sockets(environ)


@pytest.mark.parametrize("count", ["x", "-1", "1.0", "٣", " 1"])
def test_nonsense_count_is_refused(count):
    """LISTEN_FDS that is no number is an error, not zero."""
    with pytest.raises(CannotListen, match="expected the number"):
        systemd.take_sockets({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count})


def test_descriptor_that_is_no_socket_is_refused(monkeypatch):
    """A file in a socket's place is named."""
    with Path(os.devnull).open() as file:
        monkeypatch.setattr(systemd, "_FIRST_DESCRIPTOR", file.fileno())
        with pytest.raises(CannotListen, match="is no socket"):
            systemd.take_sockets({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"})


# Notifications.


def test_states_are_told_in_one_datagram_each(manager):
    """Ready, reloading and stopping are told in sd_notify's words."""
    systemd.ready("2 addresses")
    systemd.reloading(5_000_999)
    systemd.stopping("bye")
    assert messages(manager) == [
        "READY=1\nSTATUS=2 addresses",
        "RELOADING=1\nMONOTONIC_USEC=5000",
        "STOPPING=1\nSTATUS=bye",
    ]


def test_reload_carries_the_monotonic_clock(manager):
    """The time of a reload is CLOCK_MONOTONIC's, in microseconds."""
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    systemd.reloading()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    (message,) = messages(manager)
    assert before <= int(message.removeprefix("RELOADING=1\nMONOTONIC_USEC=")) <= after


def test_status_cannot_smuggle_assignments(manager):
    """A status with line breaks stays one assignment."""
    systemd.ready("fine\nWATCHDOG=trigger\r\nMAINPID=1")
    assert messages(manager) == ["READY=1\nSTATUS=fine WATCHDOG=trigger MAINPID=1"]


def test_abstract_address_is_spoken(monkeypatch):
    """An address with '@' is in the abstract namespace (sd_notify(3))."""
    name = f"stubresolver-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0{name}")
        sock.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        systemd.notify("READY=1")
        assert sock.recv(100) == b"READY=1"


@given(
    address=st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0")).map(lambda text: f"/{text}")
    | st.sampled_from(["", "@", "/", "vsock:2:1", "relative", "/nowhere/at/all", "/" + "x" * 200]),
    text=st.text(),
)
def test_notify_never_raises(address, text):
    """Whatever the address and the text, a manager that cannot be reached is ignored."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NOTIFY_SOCKET", address)
        assert systemd.notify(text) is None


# The watchdog.


@pytest.mark.parametrize(
    ("microseconds", "pid", "seconds"),
    [
        ("30000000", None, 30.0),
        ("30000000", "own", 30.0),
        ("30000000", "1", None),
        ("0", None, None),
        ("", None, None),
        ("-5", None, None),
        ("soon", None, None),
        (None, None, None),
    ],
)
def test_interval_is_what_systemd_demands_of_this_process(monkeypatch, microseconds, pid, seconds):
    """WATCHDOG_USEC counts if it is a positive number and WATCHDOG_PID names nobody else."""
    for name, value in (("WATCHDOG_USEC", microseconds), ("WATCHDOG_PID", pid)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value.replace("own", str(os.getpid())))
    assert systemd.watchdog_interval() == seconds


async def test_signs_of_life_come_at_three_times_the_rate(manager, autojump_clock):
    """While the probe succeeds there are three signs in each interval."""

    async def fine():
        await trio.lowlevel.checkpoint()
        return True

    with trio.move_on_after(89):
        await systemd.watchdog(30.0, fine)
    assert messages(manager) == ["WATCHDOG=1"] * 9


async def test_failing_or_hanging_probe_gives_no_sign(manager, autojump_clock):
    """No sign is given for a probe that fails or does not end; once it succeeds again, there is one."""
    probes = 0

    async def probe():
        nonlocal probes
        probes += 1
        if probes == 1:
            return False
        if probes == 2:
            await trio.sleep_forever()
        return True

    with trio.move_on_after(29):
        await systemd.watchdog(30.0, probe)
    assert probes == 3
    assert messages(manager) == ["WATCHDOG=1"]
