"""Upstreams that must not be trusted: what the user sees, and that they are never asked."""

import pytest

from stubresolver.errors import PolicyRefused
from stubresolver.lab.rogues import GALLERY
from stubresolver.lab.servers import DohServer
from stubresolver.transport.tls import TLSContext
from stubresolver.upstream.dial import Demands, dial
from stubresolver.upstream.upstream import parse_upstream
from stubresolver.verify.remembered import NOTHING_REMEMBERED
from stubresolver.verify.verifier import Verifier
from tests.interop.clients import ask
from tests.interop.labserver import running

ROGUES = {rogue.code: rogue for rogue in GALLERY}


class Recorder:
    """Keeps what it is told in memory."""

    def __init__(self):
        self.verdicts = []

    async def recall(self, _leaf):
        return NOTHING_REMEMBERED

    async def record(self, upstream, presented, verdict):
        self.verdicts.append(verdict)


@pytest.fixture(scope="module")
def verifier(world):
    return Verifier(world.policy, world.log_list)


def as_doh(rogue, world):
    """The same rogue, by DoH."""
    return DohServer(rogue.make(world), world.zone.answer)


@pytest.mark.parametrize("scheme", ["tls", "https"])
@pytest.mark.parametrize("rogue", GALLERY, ids=lambda rogue: rogue.code)
async def test_no_application_octet_before_the_verdict(world, verifier, rogue, scheme):
    """Every rogue of the gallery is refused by exactly its rules, and has got not one application octet."""
    server = rogue.server(world) if scheme == "tls" else as_doh(rogue, world)
    recorder = Recorder()
    demands = Demands(TLSContext(world.policy.anchors), verifier, recorder)
    with running(server) as port, pytest.raises(PolicyRefused) as refused:
        await dial(parse_upstream(f"{scheme}://127.0.0.1:{port}#dns.lab"), demands)
    verdict = refused.value.verdict
    assert {finding.rule for finding in verdict.failures} == rogue.expected
    assert recorder.verdicts == [verdict]
    assert (server.tally.connections, server.tally.application_octets, server.tally.queries) == (1, 0, 0)


@pytest.mark.parametrize("scheme", ["tls", "https"])
async def test_honest_upstream_is_dialled(world, verifier, scheme):
    """The same world allows its honest upstream: the rogues are refused for what they did, not for the lab."""
    server = ROGUES["fina"].server(world) if scheme == "tls" else as_doh(ROGUES["fina"], world)
    server.credential = world.issue()
    with running(server) as port:
        demands = Demands(TLSContext(world.policy.anchors), verifier, Recorder())
        async with await dial(parse_upstream(f"{scheme}://127.0.0.1:{port}#dns.lab"), demands) as stream:
            assert stream.verdict.allowed


@pytest.mark.parametrize(
    "refused",
    [
        ("one-operator", "tls", "ct.operators: 1 of 2 (Alder)"),
        ("one-operator", "https", "ct.operators: 1 of 2 (Alder)"),
        ("fina", "tls", "issuer.allowed: "),
        ("wrong-address", "https", "path.address: "),
        ("no-scts", "tls", "ct.sct-list: "),
    ],
    ids=lambda refused: "-".join(refused[:2]),
)
def test_user_reads_the_reason(world, run_service, tools, refused):
    """SERVFAIL, and an extended error (RFC 8914) that names rule and reason; the rogue was not asked."""
    code, scheme, reason = refused
    rogue = ROGUES[code]
    server = rogue.server(world) if scheme == "tls" else as_doh(rogue, world)
    with running(server) as port:
        service = run_service([f"{scheme}://127.0.0.1:{port}#dns.lab"])
        for tool in tools:
            reply = ask(tool, service.port, "+dnssec", "example.lab", "A")
            assert reply.status == "SERVFAIL"
            assert "0 (Other" in reply.extended_error
            assert reason in reply.extended_error
        # Who does not speak EDNS cannot be told why (RFC 6891 s6.1.1).
        bare = ask("dig", service.port, "+noedns", "example.lab", "A")
        assert (bare.status, bare.edns) == ("SERVFAIL", False)
        by_tcp = ask("dig", service.port, "+tcp", "+dnssec", "other.example.lab", "A")
        assert by_tcp.over_tcp
        assert reason in by_tcp.extended_error
    assert server.tally.connections > 0
    assert (server.tally.application_octets, server.tally.queries) == (0, 0)
    assert reason in service.program.log, "the refusal is not in the log"


def test_honest_upstream_behind_a_rogue_answers(world, run_service):
    """One rogue among the upstreams costs the user nothing: the next one is asked."""
    rogue = ROGUES["fina"].server(world)
    honest = ROGUES["fina"].server(world)
    honest.credential = world.issue()
    with running(rogue) as first, running(honest) as second:
        service = run_service([f"tls://127.0.0.1:{port}#dns.lab" for port in (first, second)])
        assert ask("dig", service.port, "example.lab", "AAAA").records() == [("example.lab", "AAAA", "2001:db8::1")]
    assert rogue.tally.application_octets == 0
    assert honest.tally.queries == 1
