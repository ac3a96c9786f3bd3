"""SIGHUP: policy and log list are read again; with an error in them, nothing changes."""

import signal
import threading

from stubresolver.lab.servers import DotServer
from tests.interop.clients import ask
from tests.interop.labserver import running
from tests.interop.programs import wait_until


def test_reload_puts_the_policy_as_it_is_now_in_force(world, run_service):
    """A stricter policy refuses what was allowed before, connection and cache included; a mended one allows again."""
    with running(DotServer(world.issue(), world.zone.answer)) as port:
        service = run_service([f"tls://127.0.0.1:{port}#dns.lab"])
        policy = service.folder / "policy.toml"
        good = policy.read_text()
        assert ask("dig", service.port, "example.lab", "A").status == "NOERROR"

        policy.write_text(good + "[ct]\nminimum_operators = 3\nminimum_scts = 3\nminimum_scts_long = 3\n")
        service.reload("reloaded: ")
        reply = ask("dig", service.port, "example.lab", "A")
        assert (reply.status, "ct.scts: 2 of 3" in reply.extended_error) == ("SERVFAIL", True)

        policy.write_text(good)
        service.reload("reloaded: ")
        wait_until(lambda: ask("dig", service.port, "example.lab", "A").status == "NOERROR", 5, "an answer")


def test_reload_of_a_broken_policy_changes_nothing(world, run_service):
    """The error is told with file and key, and the policy from before goes on serving."""
    with running(DotServer(world.issue(), world.zone.answer)) as port:
        service = run_service([f"tls://127.0.0.1:{port}#dns.lab"])
        (service.folder / "policy.toml").write_text("[ct]\nminimum_scts = 0\n")
        service.reload("reload refused")
        assert "policy.toml: ct.minimum_scts" in service.log
        assert ask("dig", service.port, "fresh.wild.lab", "A").status == "NOERROR"


def test_reload_under_load_loses_no_query(world, run_service):
    """While policies come and go every query is answered."""
    with running(DotServer(world.issue(), world.zone.answer)) as port:
        service = run_service([f"tls://127.0.0.1:{port}#dns.lab"])
        statuses = []

        def load(client):
            names = [f"r{client}-{number}.wild.lab" for number in range(40)]
            statuses.extend(ask("dig", service.port, name, "A").status for name in names)

        clients = [threading.Thread(target=load, args=(client,)) for client in range(2)]
        for client in clients:
            client.start()
        for client in clients:
            while client.is_alive():
                service.program.send(signal.SIGHUP)
                client.join(0.02)
    assert statuses == ["NOERROR"] * 80
