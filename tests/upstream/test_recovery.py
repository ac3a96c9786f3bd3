"""A resolver whose upstreams were out: what it told meanwhile is forgotten as soon as one stands."""

import dns.message
import trio

from stubresolver.app import App
from stubresolver.config import Settings
from stubresolver.upstream import parse_upstream
from stubresolver.wire import Query

A = parse_upstream("tls://127.0.0.1")
UNREACHABLE = OSError(101, "network is unreachable")


def answered(wire):
    return dns.message.make_response(dns.message.from_wire(wire)).to_wire()


async def rcode(app, name):
    """The RCODE of the answer to a client."""
    reply = await app._resolver.answer(Query(dns.message.make_query(name, "A").to_wire()))
    return dns.message.from_wire(reply).rcode()


async def test_failures_are_forgotten_when_the_first_connection_stands(autojump_clock, internet, demands):
    """A name that was asked in the outage is answered at once after it, not when its failure has ended."""
    internet.handlers["127.0.0.1"] = UNREACHABLE
    app = App(Settings(upstreams=(A,)), {A: demands})
    async with trio.open_nursery() as internet.nursery:
        async with app.asking():
            assert await rcode(app, "example.com") == dns.rcode.SERVFAIL
            internet.handlers["127.0.0.1"] = internet.dot(answered)
            kept_until = trio.current_time() + 1.0
            await trio.sleep(0.5)
            assert await rcode(app, "other.example") == dns.rcode.NOERROR  # its demand dials
            assert await rcode(app, "example.com") == dns.rcode.NOERROR
            assert trio.current_time() < kept_until
        internet.nursery.cancel_scope.cancel()
