"""TCP clients are let in as long as descriptors and memory last; then idle ones give way, and no processor is burnt."""

import errno
import os
import resource
import socket

import pytest
import trio
import trio.testing

from stubresolver.serve import ListenOptions, TcpServer
from stubresolver.serve.accepting import Acceptor


class Listener:
    """Gives what it was told to, one thing a call; then nothing more comes."""

    def __init__(self, *given):
        self.given = list(given)
        self.calls = []
        self.closed = False

    async def accept(self):
        self.calls.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if not self.given:
            await trio.sleep_forever()
        if isinstance(self.given[0], BaseException):
            raise self.given.pop(0)
        return self.given.pop(0)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self.closed = True


def short(number):
    return OSError(number, os.strerror(number))


async def run(listener, welcome, make_room, seconds=100):
    """Let clients in for so long; the acceptor."""
    acceptor = Acceptor(welcome, make_room)
    async with trio.open_nursery() as clients:
        with trio.move_on_after(seconds):
            await acceptor.run([listener], clients)
        clients.cancel_scope.cancel()
    return acceptor


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_a_shortage_waits_and_goes_on(autojump_clock, caplog, number):
    """Where none can give way it is tried ten times a second, not at each turn of the loop; one line tells it."""
    served = []

    async def welcome(stream):
        served.append(stream)

    stream, _ = trio.testing.memory_stream_pair()
    listener = Listener(*[short(number)] * 50, stream)
    acceptor = await run(listener, welcome, lambda: False)
    assert served == [stream]
    assert acceptor.short == 50
    assert listener.calls[50] == pytest.approx(5.0)
    assert [record.getMessage() for record in caplog.records] == [
        f"a TCP client could not be let in: {os.strerror(number).lower()}; idle ones give way"
    ]
    assert listener.closed


async def test_who_is_worth_least_gives_way(autojump_clock):
    """The newcomer has its place a moment later."""
    rooms = []
    listener = Listener(short(errno.EMFILE))
    await run(listener, None, lambda: not rooms.append(trio.current_time()))
    assert (rooms, listener.calls[1]) == ([0.0], pytest.approx(0.01))


async def test_it_is_told_once_a_minute(autojump_clock, caplog):
    """However many clients wait."""
    await run(Listener(*[short(errno.EMFILE)] * 1000), None, lambda: False, seconds=95)
    assert len(caplog.records) == 2


@pytest.mark.parametrize("wrapped", [False, True])
async def test_memory_that_is_short_costs_one_client(autojump_clock, caplog, wrapped):
    """Its connection is closed, the next one is served; while it is accepted or later."""
    served = []
    first, second = (trio.testing.memory_stream_pair()[0] for _ in range(2))

    async def welcome(stream):
        if stream is first:
            raise ExceptionGroup("", [MemoryError()]) if wrapped else MemoryError
        served.append(stream)

    acceptor = await run(Listener(first, MemoryError(), second), welcome, lambda: False)
    assert (served, acceptor.short) == ([second], 1)
    with pytest.raises(trio.ClosedResourceError):
        await first.send_all(b"x")
    assert {record.getMessage() for record in caplog.records} == {
        "a TCP client was let go: not enough memory",
        "a TCP client could not be let in: not enough memory; idle ones give way",
    }


async def test_what_else_goes_wrong_is_a_defect(autojump_clock):
    """It is not hidden."""
    with pytest.raises(ExceptionGroup) as caught:
        await run(Listener(short(errno.EBADF)), None, lambda: False)
    assert caught.group_contains(OSError, match="Bad file descriptor")


async def test_real_descriptors_run_out_and_an_idle_client_gives_way(answers):
    """At the process' own limit: whoever comes is served as long as somebody is idle."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        server = TcpServer([listening], answers, ListenOptions())
        place = listening.getsockname()
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        clients = [socket.socket() for _ in range(30)]
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve)
            free = os.open("/dev/null", os.O_RDONLY)
            os.close(free)
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (free + 12, before[1]))
                with trio.fail_after(5):
                    for client in clients:
                        client.setblocking(False)
                        await trio.to_thread.run_sync(client.connect_ex, place)
                    while server.statistics().accepted < len(clients):  # noqa: ASYNC110 - of the kernel
                        await trio.sleep(0.001)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, before)
            assert server.statistics().evicted > 10
            assert server.statistics().short > 10
            nursery.cancel_scope.cancel()
        for client in clients:
            client.close()
