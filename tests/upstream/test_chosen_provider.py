"""Who decides which provider is asked: the person who named them, and nobody who owns a domain. On virtual time."""

import itertools

import dns.message
import dns.rcode
import trio

from stubresolver.upstream import parse_upstream
from stubresolver.wire import Query
from stubresolver.wire.edns import upstream_query
from stubresolver.wire.framing import FrameReader, frame
from tests.upstream.pools import exchanged, running

ONE = tuple(parse_upstream(f"tls://127.0.0.{number}") for number in (1, 2, 3, 4))
TWO = parse_upstream("tls://127.0.0.5")
QUERY = upstream_query(Query(dns.message.make_query("example.com", "A").to_wire()))


def answer(wire, rcode):
    response = dns.message.make_response(dns.message.from_wire(wire))
    response.set_rcode(rcode)
    return response.to_wire()


IDLE_SECONDS = 10.0  # after which a server closes, as public resolvers do


def serving(internet, reply):
    """A DoT server that closes what is idle."""

    async def serve(server):
        reader = FrameReader()
        while True:
            data = b""
            with trio.move_on_after(IDLE_SECONDS):
                data = await server.receive()
            if not data:
                break
            for query in reader.feed(data):
                await server.send(frame(reply(query)))
        await server.transport.aclose()

    return internet.tls(serve)


async def test_a_domain_does_not_choose_the_provider(autojump_clock, internet, demands):
    """Its servers fail whoever asks first for a name, and answer the second: each upstream loses to the next, in a row.

    All of the provider are behind then; it is asked all the same, because it answers.
    """
    turns, asked = itertools.count(), []

    def fails_the_first(wire):
        return answer(wire, dns.rcode.NOERROR if next(turns) % 2 else dns.rcode.SERVFAIL)

    def other(wire):
        asked.append(wire)
        return answer(wire, dns.rcode.NOERROR)

    upstreams = {**dict.fromkeys(ONE, serving(internet, fails_the_first)), TWO: serving(internet, other)}
    providers = {**dict.fromkeys(ONE, "one"), TWO: "two"}
    async with running(internet, demands, upstreams, providers=providers) as pool:
        for _ in range(15):
            for _ in range(6):
                assert dns.message.from_wire(await exchanged(pool, QUERY)).rcode() == dns.rcode.NOERROR
            await trio.sleep(IDLE_SECONDS + 2)
    assert asked == []
