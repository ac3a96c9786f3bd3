"""The cache of a running service: over a restart, over an outage of its upstream, and through the control socket."""

import json
import stat

import pytest

from stubresolver.lab.servers import DotServer
from tests.interop.clients import ask
from tests.interop.conftest import end_well
from tests.interop.labserver import running
from tests.interop.programs import wait_until
from tests.interop.service import Service, run_command

OPTIONS = "[cache]\npersist = true\n"


def cache(service, *arguments):
    """What `stubresolver cache` says of the service."""
    return run_command(service.folder, "cache", *arguments)


def entries(service):
    return json.loads(cache(service, "stats", "--json").stdout)["entries"]


@pytest.fixture
def restarted(world, run_service):
    """A service whose upstream was there before its restart, and is away now."""
    with running(DotServer(world.issue(), world.zone.answer)) as port:
        first = run_service([f"tls://127.0.0.1:{port}#dns.lab"], more=OPTIONS)
        assert ask("dig", first.port, "example.lab", "A").status == "NOERROR"
        end_well(first)
    assert stat.S_IMODE((first.folder / "cache.bin").stat().st_mode) == 0o600
    second = Service(first.folder / "stubresolver.toml", first.port)
    try:
        wait_until(second.ready, 10, "an answer")
        wait_until(lambda: entries(second) == 1, 5, "what was kept")
        yield second
    finally:
        end_well(second)


def test_a_restart_without_the_upstream(restarted):
    """What was asked before the restart is answered after it, until somebody flushes it; the file is gone."""
    assert not (restarted.folder / "cache.bin").exists()
    assert ask("dig", restarted.port, "example.lab", "A").status == "NOERROR"
    shown = cache(restarted, "show", "example.lab")
    assert (shown.returncode, "example.lab A" in shown.stdout) == (0, True)
    assert cache(restarted, "flush", "lab").stdout == "1 entry forgotten\n"
    assert ask("dig", restarted.port, "example.lab", "A").status == "SERVFAIL"


def test_what_was_kept_under_other_demands_is_forgotten(world, run_service):
    """A policy that has changed in between makes the file worth nothing."""
    with running(DotServer(world.issue(), world.zone.answer)) as port:
        first = run_service([f"tls://127.0.0.1:{port}#dns.lab"], more=OPTIONS)
        assert ask("dig", first.port, "example.lab", "A").status == "NOERROR"
        end_well(first)
        with (first.folder / "policy.toml").open("a") as policy:
            policy.write("[ct]\nminimum_operators = 3\nminimum_scts = 3\nminimum_scts_long = 3\n")
        second = Service(first.folder / "stubresolver.toml", first.port)
        try:
            wait_until(second.ready, 10, "an answer")
            wait_until(lambda: "another policy or another log list" in second.log, 5, "a log line")
            assert ask("dig", second.port, "example.lab", "A").status == "SERVFAIL"
        finally:
            end_well(second)


def test_the_control_socket_goes_with_the_service(world, run_service):
    """It is there while the service runs, for its user alone, and no longer."""
    service = run_service(["tls://127.0.0.1:1#dns.lab"])
    socket = service.folder / "control.sock"
    assert stat.S_IMODE(socket.stat().st_mode) == 0o600
    assert entries(service) == 0
    end_well(service)
    assert not socket.exists()
    told = cache(service, "stats")
    assert (told.returncode, "no service of this user is running" in told.stderr) == (2, True)
