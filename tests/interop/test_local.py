"""Local knowledge in the running service: files that change, lists that block, private addresses that are withheld."""

import pytest

from stubresolver.lab.servers import DotServer
from tests.interop.clients import ask
from tests.interop.labserver import running
from tests.interop.programs import wait_until
from tests.interop.service import run_command

LOCAL = """
[local]
hosts = ["hosts", "absent"]
records = "nas.lan. A 10.0.0.5"
block_lists = [{ file = "ads" }]
special = { "use-application-dns.net" = true }
"""


@pytest.fixture
def upstream(world):
    """An honest upstream, which answers private addresses for dns.lab and logs.lab."""
    with running(DotServer(world.issue(), world.zone.answer)) as port:
        yield f"tls://127.0.0.1:{port}#dns.lab"


def test_files_are_in_force_as_they_change(upstream, run_service):
    """Without a signal; an answer from before is forgotten; what cannot be used is told and ends nothing."""
    service = run_service([upstream], LOCAL)
    wait_until(lambda: "absent: cannot be read" in service.log, 10, "the problem in the log")
    assert ask("dig", service.port, "example.lab", "A").records()[0][2] == "192.0.2.1"
    assert ask("dig", service.port, "nas.lan", "A").records() == [("nas.lan", "A", "10.0.0.5")]
    assert ask("dig", service.port, "use-application-dns.net", "A").status == "NXDOMAIN"
    (service.folder / "hosts").write_text("10.1.1.1 example.lab box\nnonsense\n")
    (service.folder / "ads").write_text("||www.example.lab^\n")

    def changed() -> bool:
        return ask("dig", service.port, "example.lab", "A").records() == [("example.lab", "A", "10.1.1.1")]

    wait_until(changed, 10, "what the hosts file says")
    assert ask("dig", service.port, "-x", "10.1.1.1").records()[0][2] == "example.lab."
    wait_until(lambda: ask("dig", service.port, "www.example.lab", "A").status == "NXDOMAIN", 10, "what the list says")
    wait_until(lambda: "hosts:2: 'nonsense' is no IP address" in service.log, 10, "the mistake in the log")
    assert "on the block list ads" in ask("dig", service.port, "www.example.lab", "A").extended_error


def test_private_address_is_withheld(upstream, run_service):
    """A public name that leads to loopback is answered with nothing and the reason; its zone may be freed."""
    service = run_service([upstream])
    reply = ask("dig", service.port, "dns.lab", "A")
    assert (reply.status, reply.records()) == ("NOERROR", [])
    assert "127.0.0.0/8 (loopback, RFC 1122)" in reply.extended_error
    assert "an address in 127.0.0.0/8 (loopback, RFC 1122) for a public name, withheld; 1 so far" in service.log
    assert "dns.lab, A" not in service.log
    freed = run_service([upstream], '[local]\nrebinding_allow = ["lab"]\n')
    assert ask("dig", freed.port, "dns.lab", "A").records() == [("dns.lab", "A", "127.0.0.1")]


def test_check_tells_what_cannot_be_used(upstream, run_service):
    """`run --check` reads the files, too: problems are warnings, a slip in the configuration itself is an error."""
    service = run_service([upstream], LOCAL)
    file = service.folder / "stubresolver.toml"
    done = run_command(service.folder, "run", "--check", "--config", file)
    assert done.returncode == 0, done.stderr
    assert "known here: 0 names of hosts files, 1 static records, rebinding protection on" in done.stdout
    assert "ads: cannot be read: No such file" in done.stdout
    file.write_text(file.read_text().replace("nas.lan. A 10.0.0.5", "nas.lan. A 10.0.0.555"))
    done = run_command(service.folder, "run", "--check", "--config", file)
    assert done.returncode == 2
    assert "local.records: not zone-file text: line 1: " in done.stderr
