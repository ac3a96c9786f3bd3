"""Who is let in over TCP, on real loopback sockets."""

import socket
import struct
from ipaddress import IPv4Address, IPv6Address

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from stubresolver.serve import Front, ListenAddress, ListenOptions, TcpServer, bind_tcp, tcp
from stubresolver.wire.framing import FrameReader, frame


@pytest.fixture
def listening():
    """Two listening sockets."""
    sockets = [bind_tcp(ListenAddress(address, 0)) for address in (IPv4Address("127.0.0.1"), IPv6Address("::1"))]
    yield sockets
    for sock in sockets:
        sock.close()


@pytest.fixture
def connect():
    """Open client connections, `source` being the client's own address; they are closed at the end of the test."""
    clients = []

    def open_one(sock, source=None):
        client = socket.socket(sock.family, socket.SOCK_STREAM)
        clients.append(client)
        if source:
            client.bind((source, 0))
        client.connect(sock.getsockname()[:2])  # at once: the kernel of a listener accepts before we do
        client.setblocking(False)
        return trio.SocketStream(trio.socket.from_stdlib_socket(client))

    yield open_one
    for client in clients:
        client.close()


async def numbers(stream, count):
    """The ids of the next answers."""
    frames, answers = FrameReader(), []
    while len(answers) < count:
        data = await stream.receive_some()
        assert data, "the connection was closed before all answers came"
        answers += frames.feed(data)
    return [int.from_bytes(answer[:2], "big") for answer in answers]


async def until(condition):
    """Let others run until the condition holds."""
    while not condition():
        await trio.lowlevel.checkpoint()


async def is_closed(stream):
    """True once the server has closed the connection."""
    try:
        return await stream.receive_some() == b""
    except trio.BrokenResourceError:
        return True


async def test_all_listeners_are_served(answers, ask, listening, connect):
    """Each listening socket is served, and `serve` ends when stopped with nothing owed."""
    server = TcpServer(listening, answers, ListenOptions())
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        for number, sock in enumerate(listening):
            async with connect(sock) as client:
                await client.send_all(frame(ask("hit", number)))
                assert await numbers(client, 1) == [number]
        server.stop()
    statistics = server.statistics()
    assert (statistics.accepted, statistics.queries, statistics.open) == (2, 2, 0)


async def test_stop_waits_for_what_is_owed(answers, ask, listening, connect):
    """After `stop` nobody is let in, and `serve` returns when the last owed answer has been written."""
    server = TcpServer(listening, answers, ListenOptions())
    address = listening[0].getsockname()
    ended = trio.Event()

    async def serve():
        await server.serve()
        ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        owed, idle = connect(listening[0]), connect(listening[0])
        await owed.send_all(frame(ask("miss", 7)))
        await until(lambda: answers.waiting and server.statistics().open == 2)
        server.stop()
        assert await is_closed(idle)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        assert not ended.is_set()
        answers.release()
        assert await numbers(owed, 1) == [7]
        await ended.wait()


async def test_longest_idle_gives_way(answers, ask, listening, connect):
    """When all places are taken, the connection that has been idle longest is closed for the newcomer."""
    server = TcpServer(listening, answers, ListenOptions(tcp_clients=3))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        first, second, third = [connect(listening[0]) for _ in range(3)]
        for client in (second, third, first):  # the second was answered longest ago
            await client.send_all(frame(ask("hit", 1)))
            assert await numbers(client, 1) == [1]
        fourth = connect(listening[0])
        assert await is_closed(second)
        for client in (first, third, fourth):
            await client.send_all(frame(ask("hit", 2)))
            assert await numbers(client, 1) == [2]
        assert server.statistics().evicted == 1
        nursery.cancel_scope.cancel()


async def test_greedy_host_pushes_out_its_own(answers, ask, listening, connect):
    """A host that takes many places loses them first, even if another's connection has been idle longer."""
    server = TcpServer(listening[:1], answers, ListenOptions(tcp_clients=4))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        modest = connect(listening[0], "127.0.0.2")
        await until(lambda: server.statistics().open == 1)
        greedy = []
        for _ in range(10):
            before = server.statistics().accepted
            greedy.append(connect(listening[0], "127.0.0.3"))
            await until(lambda before=before: server.statistics().accepted > before)
        await modest.send_all(frame(ask("hit", 1)))
        assert await numbers(modest, 1) == [1]
        await until(lambda: server.statistics().evicted == 7)
        nursery.cancel_scope.cancel()


async def test_newcomer_is_closed_if_all_are_busy(answers, ask, listening, connect, monkeypatch):
    """Nobody who was owed an answer for a moment only is cut off for a newcomer."""

    async def at_once(_seconds):
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr(trio, "sleep", at_once)
    server = TcpServer(listening, answers, ListenOptions(tcp_clients=2))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        busy = [connect(listening[0]) for _ in range(2)]
        for number, client in enumerate(busy):
            await client.send_all(frame(ask("miss", number)))
        await until(lambda: len(answers.waiting) == 2)
        assert await is_closed(connect(listening[0]))
        answers.release()
        assert [await numbers(client, 1) for client in busy] == [[0], [1]]
        assert server.statistics().refused == 1
        nursery.cancel_scope.cancel()


async def test_newcomer_waits_a_moment_for_a_place(answers, ask, listening, connect):
    """Where nobody may be cut off now but soon may be, the newcomer is served in the end instead of closed at once."""
    server = TcpServer(listening, answers, ListenOptions(tcp_clients=1))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        busy, newcomer = connect(listening[0]), connect(listening[0])
        await busy.send_all(frame(ask("miss", 1)))
        await until(lambda: answers.waiting and server.statistics().accepted == 2)
        await newcomer.send_all(frame(ask("hit", 2)))
        assert await numbers(newcomer, 1) == [2]
        assert await is_closed(busy)
        nursery.cancel_scope.cancel()


async def test_clients_that_only_connect_are_survived(answers, ask, listening, connect):
    """Connecting and closing, orderly or by reset, over and over, leaves no connection and no error behind."""
    server = TcpServer(listening, answers, ListenOptions(tcp_clients=5))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        for number in range(100):
            client = socket.create_connection(listening[number % 2].getsockname()[:2])
            if number % 3 == 0:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close resets
            if number % 5 == 0:
                client.send(b"\0\x10half")
            client.close()
        async with connect(listening[0]) as client:
            await client.send_all(frame(ask("hit", 1)))
            assert await numbers(client, 1) == [1]
        await until(lambda: server.statistics().open == 0)
        nursery.cancel_scope.cancel()
    assert server.statistics().queries == 1


async def test_client_that_never_reads_holds_nobody_up(answers, ask, listening, connect):
    """A client that pipelines and never reads is stopped by the kernel's window while others are served."""
    answers.size = 30000
    server = TcpServer(listening, answers, ListenOptions())
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        deaf = connect(listening[0])
        await deaf.send_all(b"".join(frame(ask("hit", number)) for number in range(1000)))
        await until(lambda: answers.asked > 3)
        async with connect(listening[0]) as client:
            await client.send_all(frame(ask("hit", 1)))
            assert await numbers(client, 1) == [1]
        assert answers.asked < 1000
        nursery.cancel_scope.cancel()


async def test_who_may_not_ask_is_let_go(answers, ask, listening, connect, monkeypatch):
    """A client that is not on the list is closed at once and takes nobody's place; others are served."""
    server = TcpServer(listening, answers, ListenOptions(tcp_clients=1))
    monkeypatch.setattr(Front, "allows", lambda _, address: address != bytes((127, 0, 0, 9)))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        async with connect(listening[0]) as client:
            await client.send_all(frame(ask("hit", 1)))
            assert await numbers(client, 1) == [1]
            assert await is_closed(connect(listening[0], "127.0.0.9"))
            await client.send_all(frame(ask("hit", 2)))
            assert await numbers(client, 1) == [2]
        assert (server.statistics().denied, server.statistics().evicted) == (1, 0)
        nursery.cancel_scope.cancel()


async def busy_for_long(server, monkeypatch):
    """As if those who are owed answers had been for long."""
    await until(lambda: server.statistics().queries > 0)
    monkeypatch.setattr(tcp, "_SLOW", -1.0)


async def test_who_owes_for_long_gives_way(answers, ask, listening, connect, monkeypatch):
    """When all places are taken by clients that wait for what never comes, the longest waiting one goes."""
    server = TcpServer(listening, answers, ListenOptions(tcp_clients=2))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        busy = [connect(listening[0]) for _ in range(2)]
        for number, client in enumerate(busy):
            await client.send_all(frame(ask("miss", number)))
            await until(lambda number=number: len(answers.waiting) > number)
        await busy_for_long(server, monkeypatch)
        newcomer = connect(listening[0])
        assert await is_closed(busy[0])
        await newcomer.send_all(frame(ask("hit", 9)))
        assert await numbers(newcomer, 1) == [9]
        answers.release()
        assert await numbers(busy[1], 1) == [1]
        assert (server.statistics().gave_way, server.statistics().refused) == (1, 0)
        nursery.cancel_scope.cancel()


async def test_who_never_reads_gives_way(answers, ask, listening, connect, monkeypatch):
    """A client that asks for much and reads nothing has no claim on its place; what it held is given back."""
    answers.size = 60_000
    server = TcpServer(listening, answers, ListenOptions(tcp_clients=1))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        deaf = connect(listening[0])
        await deaf.send_all(b"".join(frame(ask("hit", number)) for number in range(1000)))
        await wait_all_tasks_blocked(0.02)
        assert server.statistics().unwritten > 60_000
        await busy_for_long(server, monkeypatch)
        answers.size = 0
        async with connect(listening[0]) as client:
            await client.send_all(frame(ask("hit", 1)))
            assert await numbers(client, 1) == [1]
        await until(lambda: server.statistics().open == 0)
        assert (server.statistics().gave_way, server.statistics().unwritten) == (1, 0)
        nursery.cancel_scope.cancel()


async def test_idle_ones_give_way_before_slow_ones(answers, ask, listening, connect, monkeypatch):
    """Nobody who is owed an answer loses his place while somebody sits idle on one."""
    server = TcpServer(listening, answers, ListenOptions(tcp_clients=2))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        busy = connect(listening[0])
        await busy.send_all(frame(ask("miss", 1)))
        await until(lambda: answers.waiting)
        await busy_for_long(server, monkeypatch)
        idle = connect(listening[0])
        await until(lambda: server.statistics().open == 2)
        newcomer = connect(listening[0])
        assert await is_closed(idle)
        answers.release()
        assert await numbers(busy, 1) == [1]
        await newcomer.send_all(frame(ask("hit", 2)))
        assert await numbers(newcomer, 1) == [2]
        nursery.cancel_scope.cancel()


async def test_what_is_shed_is_answered_on_its_connection(answers, ask, listening, connect):
    """In a flood a TCP client hears of the refusal like a UDP client; connections are askers of their own."""
    answers.refusing = True
    server = TcpServer(listening, answers, ListenOptions())
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        for number in (1, 2):
            async with connect(listening[0]) as client:
                await client.send_all(frame(ask("miss", number)))
                assert await numbers(client, 1) == [number]
        nursery.cancel_scope.cancel()
    assert len(set(answers.askers)) == 2


@pytest.mark.parametrize("kind", ["idle", "trickle", "deaf", "slow"])
async def test_a_crowd_keeps_nobody_out(answers, ask, listening, connect, monkeypatch, kind):
    """Many more clients than there are places, of a kind that wants to hold them, and each newcomer is served."""
    monkeypatch.setattr(tcp, "_SLOW", -1.0)
    octets = {
        "idle": b"",
        "trickle": frame(ask("hit", 1))[:7],
        "deaf": frame(ask("hit", 1)) * 200,
        "slow": frame(ask("miss", 1)),
    }[kind]
    server = TcpServer(listening, answers, ListenOptions(tcp_clients=8))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        for number in range(60):
            crowd = connect(listening[0])
            await until(lambda number=number: server.statistics().accepted > number + number // 10)
            if octets:
                await crowd.send_all(octets)
            if number % 10 == 9:
                async with connect(listening[0]) as client:
                    await client.send_all(frame(ask("hit", number)))
                    assert await numbers(client, 1) == [number]
        statistics = server.statistics()
        assert statistics.open <= 8
        assert statistics.refused == 0
        assert statistics.evicted + statistics.gave_way + statistics.idle >= 60 - 8
        nursery.cancel_scope.cancel()
