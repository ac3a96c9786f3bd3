"""`stubresolver run` under a service manager's hand: its end, its check, its port, its readiness."""

import os
import socket
import threading
from pathlib import Path

import pytest

from stubresolver.lab.servers import DotServer
from tests.interop.clients import ask
from tests.interop.labserver import running
from tests.interop.programs import Program, wait_until
from tests.interop.service import COMMAND, environment, run_command, write_files

UPSTREAM = "tls://127.0.0.1:9#dns.lab"  # port 9 is "discard": nobody answers


@pytest.fixture
def folder(new_folder):
    return new_folder()


def test_sigterm_finishes_what_is_in_flight(world, run_service):
    """After SIGTERM nothing new is taken, what was asked before is answered, and the exit status is 0."""
    asked, may_answer, replies = threading.Event(), threading.Event(), []

    def answer(wire):
        asked.set()
        may_answer.wait(10)
        return world.zone.answer(wire)

    with running(DotServer(world.issue(), answer)) as port:
        service = run_service([f"tls://127.0.0.1:{port}#dns.lab"])
        client = threading.Thread(target=lambda: replies.append(ask("dig", service.port, "example.lab", "AAAA")))
        client.start()
        try:
            assert asked.wait(5), "the query does not reach the upstream"
            service.program.terminate()
            wait_until(lambda: not service.ready(), 5, "the listeners' end")
        finally:
            may_answer.set()
            client.join(10)
        assert replies[0].records() == [("example.lab", "AAAA", "2001:db8::1")]
        assert service.program.finish() == 0


def test_sigterm_ends_an_idle_service_at_once(unbound, run_service):
    """Nothing in flight: the end takes no grace time."""
    service = run_service([unbound.dot])
    assert ask("dig", service.port, "example.lab", "A").status == "NOERROR"
    service.program.terminate()
    wait_until(lambda: not service.program.alive, 2, "the end of an idle service")
    assert service.program.finish() == 0


def test_check_accepts(world, folder):
    """`run --check` reads everything, binds nothing, asks nobody and ends with status 0."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        file = write_files(folder, world, [UPSTREAM], listen=f"127.0.0.1:{port}")
        done = run_command(folder, "run", "--check", "--config", file)
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ("colour = 1", "colour"),
        ("[listen2]\n", "listen2"),
        ('[cache]\nsize = "much"', "cache"),
        ("[resolver]\ndeadline_seconds = 1000", "resolver.deadline_seconds"),
        ("= =", "TOML"),
    ],
)
def test_check_refuses(world, folder, more, named):
    """An error in the configuration is status 2 and one line with the file and the key."""
    file = write_files(folder, world, [UPSTREAM], listen="127.0.0.1:5300", more=more)
    done = run_command(folder, "run", "--check", "--config", file)
    assert done.returncode == 2, done.stderr
    assert file.name in done.stderr
    assert named in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("anchors.pem", b""),
        ("anchors.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ("logs.json", b"{}"),
        ("logs.json", b"no JSON"),
        ("policy.toml", b"[ct]\nminimum_scts = 0\n"),
        ("policy.toml", b"[unheard]\nof = 1\n"),
        ("policy.toml", None),
        ("logs.json", None),
        ("anchors.pem", None),
    ],
)
def test_unusable_trust_is_no_start(world, folder, name, content):
    """A policy, list or anchor file that does not read is status 2 with its name; no default takes its place."""
    file = write_files(folder, world, [UPSTREAM], listen="127.0.0.1:0")
    (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
    done = run_command(folder, "run", "--config", file)
    assert done.returncode == 2, done.stderr
    assert name in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM], ids=["udp", "tcp"])
def test_occupied_port(world, folder, kind):
    """If another process has the port, the message names it and a way out; the status is 1."""
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind is socket.SOCK_STREAM:
            taken.listen()
        port = taken.getsockname()[1]
        file = write_files(folder, world, [UPSTREAM], listen=f"127.0.0.1:{port}")
        done = run_command(folder, "run", "--config", file)
    assert done.returncode == 1, done.stderr
    holder = Path("/proc/self/comm").read_text().strip()
    assert f"127.0.0.1:{port}" in done.stderr
    assert f"{holder} (process {os.getpid()})" in done.stderr
    assert "--listen" in done.stderr


def test_second_service_on_the_same_port(run_service, world, folder):
    """Two of us do not share a port, and the second one says who was first."""
    first = run_service([UPSTREAM])
    file = write_files(folder, world, [UPSTREAM], listen=f"127.0.0.1:{first.port}")
    done = run_command(folder, "run", "--config", file)
    assert done.returncode == 1, done.stderr
    assert f"(process {first.program.process.pid})" in done.stderr
    assert first.ready()


def test_listen_option_replaces_the_configuration(world, folder, need, unbound):
    """`--listen`, repeated, says where to listen; the configuration's addresses are left alone."""
    need("dig")
    notified = folder / "notify"
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        socket.create_server(("127.0.0.1", 0)) as taken,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as looked,
    ):
        manager.bind(str(notified))
        manager.settimeout(15)
        looked.bind(("127.0.0.1", 0))
        port = looked.getsockname()[1]
        looked.close()
        file = write_files(folder, world, [unbound.dot], listen=f"127.0.0.1:{taken.getsockname()[1]}")
        command = [*COMMAND, "run", "--config", file, "--listen", f"127.0.0.1:{port}", "--listen", "[::1]:0"]
        program = Program(command, folder / "run.log", environment(folder) | {"NOTIFY_SOCKET": str(notified)})
        try:
            # sd_notify(3): "READY=1: Tells the service manager that service startup is finished".
            messages = wait_until(lambda: b"READY=1" in (said := manager.recv(4096)) and said, 15, "READY=1")
            assert messages.startswith(b"READY=1")
            assert ask("dig", port, "example.lab", "A").status == "NOERROR"
        finally:
            status = program.end()
        assert status == 0, program
        assert b"STOPPING=1" in manager.recv(4096)


def test_logs_hold_no_query_name(unbound, run_service):
    """One line for the verdict, none with a name that was asked for."""
    service = run_service([unbound.dot])
    assert ask("dig", service.port, "private.wild.lab", "A").status == "NOERROR"
    assert ask("dig", service.port, "private.nowhere.lab", "A").status == "NXDOMAIN"
    assert unbound.dot in service.program.log
    assert "2 valid SCTs (Alder, Birch)" in service.program.log
    assert "private" not in service.program.log
