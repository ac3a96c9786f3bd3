"""The rooms joined: what only the whole can get wrong. Real sockets on loopback, no upstream."""

import dns.message
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from stubresolver.app import App
from stubresolver.cache import AnswerCache, CacheOptions
from stubresolver.config import Settings
from stubresolver.resolve import Resolver, ResolverOptions
from stubresolver.serve import bind_tcp, bind_udp, parse_listen_address
from stubresolver.wire.framing import FrameReader, frame


class Held:
    """An exchanger that holds every query until it is told to answer them all."""

    def __init__(self):
        self.asked = []

    def exchange_soon(self, query, reply):
        self.asked.append((query, reply))

    def answer_all(self):
        for query, reply in self.asked:
            reply(dns.message.make_response(dns.message.from_wire(query)).to_wire())


@pytest.mark.parametrize("again", range(10))  # which task trio runs first is chance
async def test_stop_writes_what_is_owed_over_tcp(again):
    """Answers that come after `stop`, be it all at once, are written to every connection that waits for one."""
    held = Held()
    app = App(Settings(upstreams=()), demands={})
    app._resolver = Resolver(held, AnswerCache(CacheOptions()), ResolverOptions())
    udp, tcp = (bind(parse_listen_address("127.0.0.1:0")) for bind in (bind_udp, bind_tcp))
    async with trio.open_nursery() as nursery:
        started = trio.Event()
        nursery.start_soon(app.serve, [udp], [tcp], started.set)
        await started.wait()
        clients = []
        for number in range(10):
            client = await trio.open_tcp_stream(*tcp.getsockname())
            clients.append(client)
            await client.send_all(frame(dns.message.make_query(f"owed-{number}.wild.lab", "A", id=number).to_wire()))
        with trio.fail_after(5):
            while len(held.asked) < len(clients):
                await trio.lowlevel.checkpoint()
        app.stop()
        await wait_all_tasks_blocked()
        held.answer_all()
        for number, client in enumerate(clients):
            received = b"".join([data async for data in client])
            assert [dns.message.from_wire(wire).id for wire in FrameReader().feed(received)] == [number]
            await client.aclose()
    udp.close()
