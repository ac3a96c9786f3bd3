"""Upstreams that are verified and misbehave afterwards: the user gets the answer, or the reason in time."""

import pytest

from stubresolver.lab.conversations import Behaviour
from stubresolver.lab.servers import DohServer, DotServer
from tests.interop.clients import ask
from tests.interop.labserver import running

NAMES = [f"rude-{number}.wild.lab" for number in range(4)]


def upstream(kind, port):
    return f"tls://127.0.0.1:{port}#dns.lab" if kind is DotServer else f"https://127.0.0.1:{port}/dns-query#dns.lab"


@pytest.mark.parametrize(
    ("kind", "behaviour"),
    [
        (DotServer, Behaviour(close_after=2)),
        (DohServer, Behaviour(close_after=2)),
        (DotServer, Behaviour(cut_after=2)),
        (DohServer, Behaviour(cut_after=2)),
        (DohServer, Behaviour(goaway_after=2)),
        (DohServer, Behaviour(refuse_first=1)),
    ],
    ids=["dot-close", "doh-close", "dot-cut", "doh-cut", "doh-goaway", "doh-refused-stream"],
)
def test_query_on_a_connection_that_ends_is_asked_again(world, run_service, kind, behaviour):
    """A connection that ends with a query in flight costs the user nothing: it is asked once more on another."""
    with running(kind(world.issue(), world.zone.answer, behaviour=behaviour)) as port:
        service = run_service([upstream(kind, port)])
        for name in NAMES:
            reply = ask("dig", service.port, name, "A")
            assert reply.records() == [(name, "A", "192.0.2.80")], reply.text


@pytest.mark.parametrize(
    ("kind", "behaviour", "reason"),
    [
        (DotServer, Behaviour(silent=True), "no upstream answered within 3.8 s"),
        (DotServer, Behaviour(wrong_question=True), "another question"),
        (DohServer, Behaviour(wrong_question=True), "another question"),
        (DohServer, Behaviour(http_status=503), "503"),  # RFC 8484 s4.2.1
    ],
    ids=["dot-silent", "dot-wrong-question", "doh-wrong-question", "doh-http-error"],
)
def test_reason_comes_in_time(world, run_service, kind, behaviour, reason):
    """Silence, another question's answer or an HTTP error is SERVFAIL with the reason within dig's five seconds."""
    with running(kind(world.issue(), world.zone.answer, behaviour=behaviour)) as port:
        service = run_service([upstream(kind, port)])
        reply = ask("dig", service.port, "+time=5", NAMES[0], "A")
    assert (reply.status, reply.records()) == ("SERVFAIL", [])
    assert reason in reply.extended_error


def test_old_tls_is_told(world, run_service):
    """A server without TLS 1.3 is not asked, and the user reads that its TLS is the reason."""
    server = DotServer(world.issue(), world.zone.answer, tls12=True)
    with running(server) as port:
        service = run_service([upstream(DotServer, port)])
        reply = ask("dig", service.port, NAMES[0], "A")
    assert reply.status == "SERVFAIL"
    assert "TLS" in reply.extended_error
    assert server.tally.application_octets == 0
