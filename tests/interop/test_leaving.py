"""What leaves this machine: an upstream that keeps every octet it is asked with, behind real clients."""

import threading

import dns.edns
import dns.flags
import dns.message
import pytest

from stubresolver.lab.conversations import Behaviour
from stubresolver.lab.servers import DohServer, DotServer
from tests.interop.clients import ask
from tests.interop.labserver import running


@pytest.fixture(params=[DotServer, DohServer], ids=["dot", "doh"])
def recorded(request, world, run_service):
    """A resolver, and the list of queries in wire format that its upstream has got."""
    queries = []

    def answer(wire):
        queries.append(wire)
        return world.zone.answer(wire)

    with running(request.param(world.issue(), answer)) as port:
        scheme, path = ("tls", "") if request.param is DotServer else ("https", "/dns-query")
        yield run_service([f"{scheme}://127.0.0.1:{port}{path}#dns.lab"]), queries


HOW = [
    [],
    ["+noedns"],
    ["+tcp"],
    ["+subnet=198.51.100.0/24"],
    ["+subnet=2001:db8::/56"],
    ["+cookie=0123456789abcdef"],
    ["+ednsopt=65001:c0ffee"],
    ["+nsid"],
    ["+dnssec"],
    ["+bufsize=512"],
    ["+padding=100"],
    ["+cdflag"],
]


def test_nothing_of_the_client_leaves(recorded, tools):
    """Upstream goes the question in lower case and padding to 128 octets: no client subnet, cookie or other option."""
    service, queries = recorded
    asked = [(tool, how) for tool in tools for how in HOW]
    for number, (tool, how) in enumerate(asked):
        name = f"Leaving-{number}-{'x' * number * 2}.Wild.Lab"
        reply = ask(tool, service.port, *how, name, "A")
        assert reply.records() == [(name, "A", "192.0.2.80")]
    for number, ((_, how), wire) in enumerate(zip(asked, queries, strict=True)):
        # RFC 8467 s4.1: "Clients SHOULD pad queries to the closest multiple of 128 octets."
        assert len(wire) % 128 == 0
        query = dns.message.from_wire(wire)
        assert query.question[0].name.to_text() == f"leaving-{number}-{'x' * number * 2}.wild.lab."
        assert [option.otype for option in query.options] == [dns.edns.OptionType.PADDING]
        assert bool(query.ednsflags & dns.flags.DO) == ("+dnssec" in how)
        assert bool(query.flags & dns.flags.CD) == ("+cdflag" in how)
        assert bytes.fromhex("c6336400") not in wire
        assert bytes.fromhex("c0ffee") not in wire


def test_cached_answer_asks_nobody(recorded, tools):
    """The same question in other letters is answered from the cache."""
    service, queries = recorded
    for count, tool in enumerate(tools, 1):  # one speaks EDNS and one does not: their answers are kept apart
        for name in ("again.wild.lab", "AGAIN.wild.lab", "again.WILD.lab"):
            assert ask(tool, service.port, name, "A").records() == [(name, "A", "192.0.2.80")]
        assert len(queries) == count


def test_ids_of_queries_under_way_differ(world, run_service):
    """Twenty queries under way at once have twenty ids; answered last one first, each asker still gets its own."""
    queries, replies = [], {}

    def answer(wire):
        queries.append(wire)
        return world.zone.answer(wire)

    with running(DotServer(world.issue(), answer, behaviour=Behaviour(reorder=20))) as port:
        service = run_service([f"tls://127.0.0.1:{port}#dns.lab"])

        def client(name):
            replies[name] = ask("dig", service.port, name, "A").records()

        names = [f"id-{number}.wild.lab" for number in range(20)]
        threads = [threading.Thread(target=client, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert replies == {name: [(name, "A", "192.0.2.80")] for name in names}
    assert len({wire[:2] for wire in queries}) == len(queries) == 20


def test_doh_ids_are_zero(world, run_service):
    """RFC 8484 s4.1: "DoH clients SHOULD use a DNS ID of 0 in every DNS request"."""
    queries = []

    def answer(wire):
        queries.append(wire)
        return world.zone.answer(wire)

    with running(DohServer(world.issue(), answer)) as port:
        service = run_service([f"https://127.0.0.1:{port}/dns-query#dns.lab"])
        for number in range(3):
            assert ask("dig", service.port, f"zero-{number}.wild.lab", "A").status == "NOERROR"
    assert [wire[:2] for wire in queries] == [b"\0\0"] * 3
