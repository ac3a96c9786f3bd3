"""A UDP socket where memory is short: datagrams are dropped, the loop goes on, and takes no processor for nothing."""

import itertools
import socket
from contextlib import asynccontextmanager

import trio

from stubresolver.serve import UdpServer


@asynccontextmanager
async def served(answers):
    """A server on loopback, and a client's socket that is connected to it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        server = UdpServer(sock, answers)
        client = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        await client.connect(sock.getsockname())
        with client, trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                await nursery.start(server.serve)
                yield server, client
                nursery.cancel_scope.cancel()


async def test_memory_that_is_short_drops_datagrams_and_goes_on(answers, ask, monkeypatch):
    """Whoever asks again is answered."""
    query = ask("hit", 7)

    def short(*_):
        raise MemoryError

    async with served(answers) as (server, client):
        with monkeypatch.context() as patch:
            patch.setattr(answers, "answer_nowait", short)
            await client.send(query)
            while not server.statistics().unsent:  # noqa: ASYNC110 - of the kernel
                await trio.sleep(0.001)
        await client.send(query)
        assert (await client.recv(512))[:2] == query[:2]


async def test_a_socket_that_gives_nothing_is_left_alone_for_a_moment(answers, ask, monkeypatch):
    """ENOBUFS leaves it readable: asked at each turn of the loop, it would take a whole processor."""
    asked = []

    def nothing():
        asked.append(trio.current_time())
        return []

    async with served(answers) as (server, client):
        with monkeypatch.context() as patch:
            patch.setattr(server._batch, "receive", nothing)
            await client.send(ask("hit", 7))
            while len(asked) < 5:  # noqa: ASYNC110 - of the kernel
                await trio.sleep(0.001)
        assert min(late - early for early, late in itertools.pairwise(asked)) >= 0.009
        assert (await client.recv(512))[:2] == ask("hit", 7)[:2]
