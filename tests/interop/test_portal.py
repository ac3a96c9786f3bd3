"""`status` and `portal` of the running service, in a network whose packets are looked at.

The network's own server, which DHCP gave, is unbound with some records; the verified upstream is unbound, too.
"""

import json
import os
import subprocess

import pytest

from tests.interop.clients import ask
from tests.interop.network import Network, can_make_network
from tests.interop.peers import start_unbound
from tests.interop.programs import Program, start, wait_until
from tests.interop.service import COMMAND, Service, environment, write_files
from tests.interop.test_forward import start_office

ROUTER, OTHER = "192.168.77.1", "192.168.77.2"
LISTENER = ("127.0.0.1", 53)
PORTS = (5353, 853, 443)
LOGIN = "www.corp.example"  # what the network's server knows


@pytest.fixture
def captive(world, tmp_path, new_folder, need):
    """`captive(lease)`: a network with a server of its own, the resolver, and an upstream that is not there yet."""
    need("dig", "unbound", "unshare", "nsenter", "ip")
    if not can_make_network():
        pytest.skip("needs root, or user namespaces, to make a network of its own")
    network = Network(tmp_path, (ROUTER, OTHER))
    started = []

    def begin(lease=f"nameserver {ROUTER}\n"):
        started.append(start_office(new_folder(), ROUTER, 53, network.prefix).program)
        folder = new_folder()
        (folder / "lease").write_text(lease)
        more = f'[portal]\nservers = ["dhcp:{folder}/lease"]\n'
        file = write_files(folder, world, ["tls://127.0.0.1#dns.lab"], listen="127.0.0.1:53", more=more)
        service = start(lambda: Service(file, 53, network.prefix))
        started.append(service.program)
        return network, service

    yield begin
    for program in reversed(started):
        program.end()
    network.close()


def portal(network, service, *arguments, user=()):
    """`stubresolver portal ARGUMENTS` in that network, as a program that goes on."""
    command = [*network.prefix, *user, *COMMAND, "portal", *arguments]
    return Program(command, service.folder / "portal.log", environment(service.folder))


def finish(program):
    """Wait until it has ended by itself."""
    wait_until(lambda: not program.alive, 15, str(program))
    program.end()


def status(service):
    """Exit status, and what `stubresolver status --json` says."""
    done = subprocess.run(
        [*COMMAND, "status", "--json"],
        capture_output=True,
        timeout=20,
        check=False,
        env=environment(service.folder),
        cwd=service.folder,
    )
    return done.returncode, json.loads(done.stdout)


def outcome(service):
    """What the small status file says, which is what the service manager shows."""
    return json.loads((service.folder / "status.json").read_text())["outcome"]


def in_clear(network, name):
    """The packets outside of loopback's listener in which the name can be read."""
    label = name.split(".")[0].encode()
    return [each for each in network.packets() if label in each.payload.lower() and not each.touches(LISTENER)]


def test_a_login(captive, new_folder):
    """Nothing goes there by itself; while a person has it open names do; it is over when an upstream stands.

    Every name that was asked meanwhile went to the network's server and to nobody else; nothing did afterwards.
    """
    network, service = captive()
    assert ask("dig", 53, "before.corp.example", "A", prefix=network.prefix).status == "SERVFAIL"
    code, told = status(service)
    assert (code, told["clear"], told["upstreams"][0]["state"] == "open") == (
        1,
        {"queries": 0, "zones": 0, "portal": 0},
        False,
    )
    opened = portal(network, service, "--for", "60s", "--yes")
    wait_until(lambda: "open for" in opened.log, 10, str(opened))
    found = ask("dig", 53, LOGIN, "A", prefix=network.prefix)
    assert found.records() == [(LOGIN, "A", "10.0.0.7")]
    code, told = status(service)
    assert (code, told["portal"]["open"], told["portal"]["servers"]) == (1, True, [ROUTER])
    assert told["clear"] == {"queries": 1, "zones": 0, "portal": 1}
    assert "PORTAL OPEN" in told["problems"][0]["what"]
    assert "PORTAL OPEN for 60 s: names go in clear to 192.168.77.1" in outcome(service)
    upstream = start_unbound(new_folder(None), ports=PORTS, prefix=network.prefix)
    try:
        finish(opened)
        assert opened.process.returncode == 0, opened
        assert "logged in: tls://127.0.0.1#dns.lab stands, verified; protection is on again" in opened.log
        assert "queries sent in clear: 1" in opened.log
        assert ask("dig", 53, "after.corp.example", "A", prefix=network.prefix).status == "NXDOMAIN"
        code, told = status(service)
        assert (code, told["problems"], told["clear"]["queries"]) == (0, [], 1)
        [line] = told["upstreams"]
        assert (line["state"], line["verdict"]["allowed"], line["tls"]["version"]) == ("open", True, "TLSv1.3")
        assert line["verdict"]["leaf"]["issuer"]
    finally:
        upstream.program.end()
    assert "PORTAL" not in outcome(service)
    text = json.dumps(told) + service.log
    assert "www.corp" not in text
    assert "after.corp" not in text
    packets = network.packets()
    clear = [each for each in packets if b"corp" in each.payload.lower() and not each.touches(LISTENER)]
    assert [each.target for each in clear[:1]] == [(ROUTER, 53)]
    assert all(each.touches((ROUTER, 53)) and b"\3www\4corp" in each.payload.lower() for each in clear)
    # loopback shows a packet as it leaves and as it comes; each query has an id of its own
    assert len({each.payload for each in clear if each.target == (ROUTER, 53)}) == told["clear"]["queries"]
    assert not any(each.touches((OTHER, 53)) for each in packets)


def test_it_ends_by_itself_and_by_command(captive):
    """After its time, and after --stop, names fail as before; no packet leaves then."""
    network, service = captive()
    short = portal(network, service, "--for", "1s", "--yes")
    finish(short)
    assert (short.process.returncode, "closed, its time is over" in short.log) == (1, True)
    opened = portal(network, service, "--for", "5m", "--yes", "--detach")
    finish(opened)
    assert opened.process.returncode == 0
    second = portal(network, service, "--for", "5m", "--yes")
    finish(second)
    assert (second.process.returncode, "a portal is open already" in second.log) == (2, True)
    stopped = portal(network, service, "--stop")
    finish(stopped)
    assert (stopped.process.returncode, "the portal is closed; queries sent in clear: 0" in stopped.log) == (0, True)
    assert ask("dig", 53, LOGIN, "A", prefix=network.prefix).status == "SERVFAIL"
    assert in_clear(network, LOGIN) == []


def test_the_network_changes(captive):
    """A link that goes may come back as another network: what was promised of the first one is over."""
    network, service = captive()
    opened = portal(network, service, "--for", "60s", "--yes")
    wait_until(lambda: "open for" in opened.log, 10, str(opened))
    subprocess.run([*network.prefix, "ip", "link", "set", "lo", "down"], check=True)
    try:
        wait_until(lambda: "PORTAL ENDED: the network has changed" in service.log, 10, service.log)
    finally:
        subprocess.run([*network.prefix, "ip", "link", "set", "lo", "up"], check=True)
    finish(opened)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user for a moment")
def test_another_user_opens_nothing(captive):
    """Not even where a slip lets everybody reach the socket; and what everybody can write names no server."""
    network, service = captive()
    for folder in (service.folder, *service.folder.parents[:3]):
        if folder.owner() == "root" and folder.name != "tmp":
            folder.chmod(folder.stat().st_mode | 0o555)
    (service.folder / "control.sock").chmod(0o666)
    talk = (
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('control.sock')\n"
        'try:\n s.sendall(b\'{"command": "portal.start", "seconds": 60, "servers": ["192.168.77.1"]}\\n\')\n'
        " print('said', s.recv(100))\nexcept OSError as error:\n print('said', error)"
    )
    done = subprocess.run(
        ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", COMMAND[0], "-c", talk],
        cwd=service.folder, capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.stdout.startswith("said b''") or "reset" in done.stdout or "Broken pipe" in done.stdout, done
    assert status(service)[1]["portal"]["opened"] == 0
    (service.folder / "lease").chmod(0o666)
    refused = portal(network, service, "--for", "60s", "--yes")
    finish(refused)
    assert (refused.process.returncode, "everybody can write there" in refused.log) == (2, True)


def test_without_a_terminal_somebody_must_have_said_yes(captive):
    """A script that forgot to ask opens nothing."""
    network, service = captive("nameserver 127.0.0.53\nnameserver 10.9.9.9\n")
    asked = portal(network, service, "--for", "60s")
    finish(asked)
    assert (asked.process.returncode, "this needs --yes" in asked.log) == (2, True)
    assert "10.9.9.9 (given by the network: " in asked.log
    assert status(service)[1]["portal"]["opened"] == 0
