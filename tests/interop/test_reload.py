"""SIGHUP and `reload`: policies and log list are read again; with an error in them, nothing changes."""

import contextlib
import json
import signal
import socket
import threading

import dns.message
import dns.rcode
import trio

from stubresolver.config import load_policy
from stubresolver.evidence import EvidenceStore
from stubresolver.lab.servers import DotServer
from tests.interop.clients import ask
from tests.interop.labserver import running
from tests.interop.programs import wait_until
from tests.interop.service import run_command

# However busy the machine is, no connection is taken for silent and dialled anew beside the old one.
PATIENT = "[upstream]\nsilence = 60.0\n"

# In every part of the policy something else, and still met by an honest upstream.
MANY_OTHER_VALUES = """
[ct]
minimum_scts = 1
minimum_operators = 1
future_tolerance_seconds = 10
[tls]
minimum_version = "TLSv1.2"
[revocation]
check = "off"
"""


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


def test_what_passes_is_not_dialled_again(world, run_service):
    """A reload that the upstream's certificate meets costs no connection, and keeps what was answered before."""
    server = DotServer(world.issue(), world.zone.answer)
    with running(server) as port:
        service = run_service([f"tls://127.0.0.1:{port}#dns.lab"], PATIENT)
        assert ask("dig", service.port, "first.wild.lab", "A").status == "NOERROR"  # a connection stands
        policy = service.folder / "policy.toml"
        for number, more in enumerate(("", "[ct]\nminimum_scts = 1\nminimum_operators = 1\n")):
            policy.write_text(policy.read_text() + more)
            service.reload("judged again: allowed: ")
            assert ask("dig", service.port, f"after-{number}.wild.lab", "A").status == "NOERROR"
        asked = server.tally.queries
        service.reload("the same demands as before")
        assert ask("dig", service.port, "after-1.wild.lab", "A").status == "NOERROR"
    assert (server.tally.connections, server.tally.queries) == (1, asked)


def test_command_says_what_came_of_it(world, run_service):
    """`stubresolver reload` finds the service, and shows the outcome or the error; the service goes on."""
    with running(DotServer(world.issue(), world.zone.answer)) as port:
        service = run_service([f"tls://127.0.0.1:{port}#dns.lab"])
        done = run_command(service.folder, "reload")
        assert (done.returncode, "reloaded: policy " in done.stdout, done.stderr) == (0, True, "")
        (service.folder / "policy.toml").write_text("[ct]\nrequired = 1\n")
        done = run_command(service.folder, "reload")
        assert (done.returncode, done.stdout) == (2, "")
        assert "reload refused" in done.stderr
        assert "policy.toml: ct.required" in done.stderr
        assert ask("dig", service.port, "fresh.wild.lab", "A").status == "NOERROR"
        assert service.program.end() == 0
    assert not (service.folder / "status.json").exists()
    assert run_command(service.folder, "reload").returncode == 1


def test_reload_under_load_loses_no_query(world, run_service):
    """While two policies take turns every query is answered, over one connection, and no third policy is ever seen."""
    server = DotServer(world.issue(), world.zone.answer)
    with running(server) as port:
        service = run_service([f"tls://127.0.0.1:{port}#dns.lab"], PATIENT)
        assert ask("dig", service.port, "first.wild.lab", "A").status == "NOERROR"  # a connection stands
        policy = service.folder / "policy.toml"
        variants = [policy.read_text(), policy.read_text() + MANY_OTHER_VALUES]
        files = [policy.with_name(f"variant-{number}.toml") for number in range(2)]
        for file, text in zip(files, variants, strict=True):
            file.write_text(text)
        digests = {load_policy(file).digest for file in files}
        statuses = []
        load = threading.Thread(target=trio.run, args=(ask_many, service.port, 4000, statuses))
        load.start()
        turns = 0
        while load.is_alive():
            turns += 1
            policy.with_name("next.toml").write_text(variants[turns % 2])
            policy.with_name("next.toml").replace(policy)
            service.program.send(signal.SIGHUP)
            load.join(0.02)
        assert ask("dig", service.port, "last.wild.lab", "A").status == "NOERROR"
    assert statuses == [dns.rcode.NOERROR] * 4000
    assert turns > 10
    assert (server.tally.connections, server.tally.handshakes) == (1, 1)
    with contextlib.closing(EvidenceStore(service.folder / "evidence.sqlite3")) as evidence:
        kept = [json.loads(evidence.export(record.id).verdict) for record in evidence.records()]
    assert {verdict["policy"] for verdict in kept} == digests
    assert all(verdict["allowed"] for verdict in kept)


async def ask_many(port, count, statuses):
    """So many queries for as many names over UDP, fifty at a time; each is sent once and has ten seconds."""
    numbers = iter(range(count))

    async def client():
        with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            await sock.connect(("127.0.0.1", port))
            for number in numbers:
                query = dns.message.make_query(f"load-{number}.wild.lab", "A")
                await sock.send(query.to_wire())
                with trio.fail_after(10):
                    answer = dns.message.from_wire(await sock.recv(4096))
                assert query.is_response(answer)
                statuses.append(answer.rcode())

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(client)
