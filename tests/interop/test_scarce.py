"""The service where descriptors, memory, threads or the disk are short: it answers, or says in a line what it lacks."""

import contextlib
import os
import shutil
import socket
import sqlite3
import tempfile
from pathlib import Path

import pytest

from stubresolver.lab.conversations import Behaviour
from stubresolver.lab.servers import DotServer
from tests.interop.clients import ask
from tests.interop.labserver import running
from tests.interop.programs import Program, free_port, start, wait_until
from tests.interop.service import COMMAND, Service, environment, write_files


@pytest.fixture
def serve(need, world, new_folder):
    """`serve(prefix, port, more)`: the service under a limit, in front of an upstream, until the end of the test."""
    need("dig")
    with contextlib.ExitStack() as stack:

        def serve(prefix, upstream, more="", folder=None):
            chosen = folder or new_folder()

            def make():
                port = free_port()
                file = write_files(
                    chosen, world, [f"tls://127.0.0.1:{upstream}#dns.lab"], listen=f"127.0.0.1:{port}", more=more
                )
                service = Service(file, port, prefix)
                service._prefix = ()  # the limits are the service's, not those of who asks whether it is ready
                return service

            service = start(make)
            stack.callback(service.program.end)
            return service

        yield serve


def limited(**limits):
    """prlimit(1) before the program."""
    if shutil.which("prlimit") is None:
        pytest.skip("needs prlimit(1) of util-linux")
    return ("prlimit", *(f"--{name}={value}:{value}" for name, value in limits.items()))


@pytest.mark.parametrize("limit", [7, 12, 20, 40])
def test_too_few_descriptors_are_said_at_the_start(need, world, new_folder, limit):
    """Exit status 1 and one line with the way out; no traceback, however early they run out."""
    folder = new_folder()
    file = write_files(folder, world, ["tls://127.0.0.1:1#dns.lab"], listen="127.0.0.1:0")
    program = Program([*limited(nofile=limit), *COMMAND, "run", "--config", file], folder / "log", environment(folder))
    wait_until(lambda: not program.alive, 20, str(program))
    assert program.end() == 1
    assert "LimitNOFILE= of the service, or `ulimit -n`" in program.log, program
    assert "Traceback" not in program.log
    assert len(program.log.splitlines()) <= 2


def test_clients_do_not_take_the_descriptors_of_upstreams(world, serve):
    """More TCP clients come than there are places: a lost upstream is dialled again, and all are served."""
    with running(DotServer(world.issue(), world.zone.answer, behaviour=Behaviour(close_after=2))) as upstream:
        service = serve(limited(nofile=64), upstream)
        assert "TCP clients at once instead of 128 ([listen] tcp_clients), as this process may open 64" in service.log
        with contextlib.ExitStack() as held:
            for _ in range(100):
                held.enter_context(socket.create_connection(("127.0.0.1", service.port), timeout=5))
            for number in range(6):  # three connections' worth
                reply = ask("dig", service.port, f"scarce-{number}.wild.lab", "A")
                assert reply.status == "NOERROR", reply.text
            assert ask("dig", service.port, "+tcp", "scarce-0.wild.lab", "A").status == "NOERROR"
    assert service.program.end() == 0
    assert "Traceback" not in service.log


def without_threads():
    """A user of its own, who may have one process and so no thread beside it, but may read what root may."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv(1): no limit of processes binds root")
    capabilities = "-all,+dac_override,+dac_read_search"
    user = ("setpriv", "--reuid=54321", "--regid=54321", "--clear-groups")
    return (*user, f"--inh-caps={capabilities}", f"--ambient-caps={capabilities}", *limited(nproc=1))


@pytest.fixture
def open_folder():
    """A folder that another user can look into."""
    with tempfile.TemporaryDirectory(prefix="scarce-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_without_a_thread_it_answers_and_says_what_it_cannot_do(world, serve, open_folder):
    """Judged with what is remembered in memory; the watching of files is tried again and not the end."""
    with running(DotServer(world.issue(), world.zone.answer)) as upstream:
        service = serve(without_threads(), upstream, folder=open_folder)
        assert ask("dig", service.port, "threadless.wild.lab", "A").status == "NOERROR"
        wait_until(lambda: "watching the local files failed" in service.log, 10, "the files' watcher")
    assert service.program.end() == 0
    assert "EVIDENCE IS NOT KEPT: no thread can be started to write it" in service.log
    assert "can't start new thread" in service.log
    assert "Traceback" not in service.log


def test_too_little_memory_is_said_at_the_start(need, world, new_folder):
    """Exit status 1 and one line with the way out; here it lacks for a library."""
    folder = new_folder()
    file = write_files(folder, world, ["tls://127.0.0.1:1#dns.lab"], listen="127.0.0.1:0")
    limit = limited(**{"as": 36 << 20})
    program = Program([*limit, *COMMAND, "run", "--config", file], folder / "log", environment(folder))
    wait_until(lambda: not program.alive, 20, str(program))
    assert program.end() == 1
    assert program.log == "stubresolver: not enough memory: see MemoryMax= of the service, or `ulimit -v`\n"


def test_damaged_evidence_is_put_aside_and_queries_are_answered(world, serve, new_folder):
    """At the start and under the running service; both files are there afterwards, and a new one is in use."""
    folder = new_folder()
    evidence = folder / "evidence.sqlite3"
    evidence.touch(0o600)
    evidence.write_bytes(b"damaged once " * 1000)
    with running(DotServer(world.issue(), world.zone.answer, behaviour=Behaviour(close_after=2))) as upstream:
        service = serve((), upstream, folder=folder)
        reply = ask("dig", service.port, "damaged-0.wild.lab", "A")
        assert reply.status == "NOERROR", reply.text + service.log
        wait_until(lambda: records(evidence), 5, "a record in the new file")
        evidence.write_bytes(b"damaged twice " * 1000)
        for number in range(1, 5):
            assert ask("dig", service.port, f"damaged-{number}.wild.lab", "A").status == "NOERROR"
        wait_until(lambda: records(evidence), 5, "a record in the third file")
    assert service.program.end() == 0
    aside = sorted(file.read_bytes()[:13] for file in folder.glob("evidence.sqlite3.corrupt-*"))
    assert aside == [b"damaged once ", b"damaged twice"]
    assert service.log.count("and a new file is begun") == 2


def records(path):
    """How many judgements a reader finds, 0 where it is none yet."""
    try:
        with contextlib.closing(sqlite3.connect(path)) as database:
            return database.execute("SELECT count(*) FROM record").fetchone()[0]
    except sqlite3.Error:
        return 0
