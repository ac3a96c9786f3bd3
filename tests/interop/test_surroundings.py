"""The running service says what is the matter with its upstreams: in its status, in the extended error, in the log."""

import socket
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import pytest

from tests.interop.programs import Program, wait_until
from tests.interop.service import COMMAND, environment, write_files

UPSTREAM = "tls://127.0.0.1:9#dns.lab"  # port 9 is "discard": nobody answers
SAID = "no upstream can be reached"


@pytest.fixture
def service(world, new_folder):
    """A service whose upstream nobody is, what it says to its manager, and how to ask it."""
    folder: Path = new_folder()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(folder / "notify"))
        manager.settimeout(15)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as looked:
            looked.bind(("127.0.0.1", 0))
            port = looked.getsockname()[1]
        file = write_files(folder, world, [UPSTREAM], listen=f"127.0.0.1:{port}")
        command = [*COMMAND, "run", "--config", file]
        told = environment(folder) | {"NOTIFY_SOCKET": str(folder / "notify")}
        program = Program(command, folder / "run.log", told)

        def ask(name):
            return dns.query.udp(dns.message.make_query(name, "A", use_edns=0), "127.0.0.1", timeout=6, port=port)

        try:
            yield program, manager, ask
        finally:
            status = program.end()
        assert status == 0, program


def test_what_is_the_matter_is_said_everywhere(service):
    """The manager's status line, the log once, the extended error of each failure; a time server has its address."""
    program, manager, ask = service
    said = wait_until(lambda: SAID in (text := manager.recv(4096).decode()) and text, 15, "a status line")
    assert "STATUS=listening on" in said
    for number in range(3):
        reply = ask(f"{number}.example.lab")
        assert reply.rcode() == dns.rcode.SERVFAIL
        [error] = [option for option in reply.options if option.otype == 15]
        assert error.code == 22
        assert error.text.startswith(SAID)
    clock = ask("2.debian.pool.ntp.org")
    assert clock.rcode() == dns.rcode.NOERROR
    assert {str(rdata) for rdata in clock.answer[0]} == {"162.159.200.1", "162.159.200.123"}
    assert program.log.count(SAID) == 1
    assert "pool.ntp.org" not in program.log
