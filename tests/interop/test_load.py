"""Many at once, and upstreams that die: every query is answered."""

import socket
import struct
import time

import dns.message
import dns.rcode
import pytest
import trio

from tests.interop.clients import ask
from tests.interop.peers import start_unbound
from tests.interop.programs import free_port, wait_until

COUNT = 200


def question(name):
    return dns.message.make_query(name, "A", use_edns=0)


def check(query, wire):
    """The answer is the one to this query: id, name and address."""
    answer = dns.message.from_wire(wire)
    assert query.is_response(answer)
    assert answer.rcode() == dns.rcode.NOERROR, answer.to_text()
    assert [str(record) for record in answer.answer[0]] == ["192.0.2.80"]


@pytest.mark.parametrize("same", [True, False], ids=["one-name", "many-names"])
async def test_parallel_udp(resolver, same):
    """Two hundred clients at once, of one name or of as many names, get two hundred answers."""

    async def client(number):
        query = question("many.wild.lab" if same else f"udp-{number}.wild.lab")
        with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            await sock.connect(("127.0.0.1", resolver.port))
            await sock.send(query.to_wire())
            check(query, await sock.recv(4096))

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for number in range(COUNT):
                nursery.start_soon(client, number)


async def receive_frames(stream, count):
    """So many framed messages (RFC 1035 s4.2.2)."""
    data, frames = b"", []
    while len(frames) < count:
        while len(data) < 2 or len(data) < (end := 2 + int.from_bytes(data[:2], "big")):
            piece = await stream.receive_some()
            assert piece, f"the connection ended after {len(frames)} of {count} answers"
            data += piece
        frames.append(data[2:end])
        data = data[end:]
    return frames


@pytest.mark.parametrize(("connections", "each"), [(100, 2), (1, COUNT)], ids=["many", "pipelined"])
async def test_parallel_tcp(resolver, connections, each):
    """Two hundred queries on many connections, or pipelined on one (RFC 7766 s6.2.1.1), get as many answers."""

    async def client(number):
        queries = {}
        for index in range(each):
            query = question(f"tcp-{number}-{index}.wild.lab")
            query.id = index
            queries[index] = query
        wires = [query.to_wire() for query in queries.values()]
        async with await trio.open_tcp_stream("127.0.0.1", resolver.port) as stream:
            await stream.send_all(b"".join(struct.pack(">H", len(wire)) + wire for wire in wires))
            for wire in await receive_frames(stream, each):
                check(queries.pop(int.from_bytes(wire[:2], "big")), wire)
        assert queries == {}

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for number in range(connections):
                nursery.start_soon(client, number)


@pytest.mark.parametrize("transport", ["dot", "doh"])
def test_upstream_killed_and_restarted(new_folder, run_service, transport, record_property):
    """While the upstream is dead the client is told so in time; soon after its return names are answered again."""
    folder = new_folder()
    ports = (free_port(), free_port(), free_port())
    upstream = start_unbound(folder, ports=ports)
    try:
        service = run_service([getattr(upstream, transport)])
        assert ask("dig", service.port, "before.wild.lab", "A").status == "NOERROR"
        upstream.program.kill()
        dead = ask("dig", service.port, "dead.wild.lab", "A")
        assert dead.status == "SERVFAIL"
        assert dead.extended_error
        # What is cached is still answered.
        assert ask("dig", service.port, "before.wild.lab", "A").status == "NOERROR"
        upstream = start_unbound(folder, ports=ports)
        back = time.monotonic()
        asked = iter(range(10_000))
        wait_until(
            lambda: ask("dig", service.port, f"after-{next(asked)}.wild.lab", "A").status == "NOERROR",
            10,
            "an answer after the upstream's return",
        )
        record_property("seconds_until_answered", time.monotonic() - back)
    finally:
        upstream.program.end()


def test_upstream_that_dies_is_replaced(new_folder, run_service, unbound):
    """With a second upstream the death of the first one costs no query its answer."""
    first = start_unbound(new_folder())
    try:
        service = run_service([first.dot, unbound.dot])
        assert ask("dig", service.port, "first.wild.lab", "A").status == "NOERROR"
        first.program.kill()
        for number in range(10):
            assert ask("dig", service.port, f"second-{number}.wild.lab", "A").status == "NOERROR"
    finally:
        first.program.end()
