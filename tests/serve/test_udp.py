"""The UDP drain loop on real loopback sockets."""

import itertools
import socket
from ipaddress import ip_address

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from stubresolver.serve import Front, UdpServer, UdpStatistics, batch, udp
from stubresolver.serve.batch import BATCH, MAX_DATAGRAM
from stubresolver.wire import query as query_module
from stubresolver.wire.cookie import answering_cookie


def bound(address="127.0.0.1", family=socket.AF_INET):
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind((address, 0))
    return sock


def client_of(server, address=None):
    """A client socket that takes datagrams only from the address that it asked."""
    sock = socket.socket(server.family, socket.SOCK_DGRAM)
    sock.connect((address or server.getsockname()[0], server.getsockname()[1]))
    sock.setblocking(False)
    return sock


async def receive(sock):
    await trio.lowlevel.wait_readable(sock)
    return sock.recv(65536)


def is_silent(sock):
    """True if nothing has been answered; loopback delivers before `sendto` returns."""
    try:
        sock.recv(65536)
    except BlockingIOError:
        return True
    return False


@pytest.fixture
def server_socket():
    with bound() as sock:
        yield sock


async def test_answer_at_hand_is_sent_to_its_asker(answers, ask, server_socket):
    """Each client gets its own answer, at once."""
    server = UdpServer(server_socket, answers)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        with client_of(server_socket) as one, client_of(server_socket) as two:
            one.send(ask("hit", 1))
            two.send(ask("hit", 2))
            assert (await receive(one))[:2] == b"\0\1"
            assert (await receive(two))[:2] == b"\0\2"
        server.stop()
    assert server.statistics() == UdpStatistics(received=2, answered_at_once=2, malformed=0, denied=0, unsent=0)


async def test_later_answer_is_sent_when_it_comes(answers, ask, server_socket):
    """An answer that must be fetched goes to the client that asked for it, whatever was asked meanwhile."""
    server = UdpServer(server_socket, answers)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        with client_of(server_socket) as slow, client_of(server_socket) as quick:
            slow.send(ask("miss", 1))
            quick.send(ask("hit", 2))
            assert (await receive(quick))[:2] == b"\0\2"
            assert is_silent(slow)
            answers.release()
            assert (await receive(slow))[:2] == b"\0\1"
        server.stop()


async def test_promised_answers_leave_after_the_stop(answers, ask, server_socket):
    """After `stop` nothing is read, and what was promised still leaves while the socket is open."""
    server = UdpServer(server_socket, answers)
    with client_of(server_socket) as client:
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve)
            client.send(ask("miss", 1))
            while not answers.waiting:
                await trio.lowlevel.checkpoint()
            server.stop()
        client.send(ask("hit", 2))
        answers.release()
        assert (await receive(client))[:2] == b"\0\1"
        assert is_silent(client)


async def test_answer_after_the_close_is_dropped(answers, ask):
    """An answer that comes when the socket is closed is counted and hurts nobody."""
    sock = bound()
    server = UdpServer(sock, answers)
    with client_of(sock) as client:
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve)
            client.send(ask("miss"))
            while not answers.waiting:
                await trio.lowlevel.checkpoint()
            server.stop()
    sock.close()
    answers.release()
    assert server.statistics().unsent == 1


def test_failing_send_is_counted_and_forgotten(answers, ask, server_socket, monkeypatch):
    """Whatever the kernel says to an answer, at once or later, the next datagram is served."""
    server = UdpServer(server_socket, answers)
    with client_of(server_socket) as client:
        for query in (ask("hit"), ask("miss"), ask("hit") + b"\0", b"\0" * 12, ask("hit")):
            client.send(query)
        with monkeypatch.context() as patch:
            patch.setattr(batch, "_sendmmsg", lambda *_: -1)
            assert server._drain(0.0) is False
            answers.release()
        assert server.statistics() == UdpStatistics(received=5, answered_at_once=2, malformed=2, denied=0, unsent=5)
        client.send(ask("hit", 6))
        server._drain(0.0)
        assert client.recv(100)[:2] == b"\0\6"
        assert is_silent(client)


def test_only_queries_with_answers_at_hand_are_remembered(answers, ask, server_socket):
    """A query that had to be fetched is not asked again soon, and takes no room among those that are."""
    server = UdpServer(server_socket, answers)
    query_module._keys.clear()
    with client_of(server_socket) as client:
        client.send(ask("miss"))
        server._drain(0.0)
        assert not query_module._keys
        client.send(ask("hit"))
        server._drain(0.0)
        assert list(query_module._keys) == [ask("hit")[2:]]


def test_answer_within_the_call_is_sent(ask, server_socket):
    """Whoever calls back at once takes nothing from the other answers of the batch."""

    class Hasty:
        def answer_nowait(self, query, now):
            return query.wire + b"now" if query.wire[13:14] == b"h" else None

        def shed(self, query, now, asker):
            return None

        def answer_soon(self, query, reply, asker):
            reply(query.wire + b"soon")

    server = UdpServer(server_socket, Hasty())
    with client_of(server_socket) as client:
        queries = [ask("hit" if number % 3 else "miss", number) for number in range(BATCH)]
        for query in queries:
            client.send(query)
        assert server._drain(0.0) is True
        replies = {client.recv(100) for _ in queries}
    assert replies == {query + (b"now" if number % 3 else b"soon") for number, query in enumerate(queries)}


async def test_garbage_flood_leaves_the_service_alive(answers, ask, server_socket):
    """Datagrams of nothing, of noise and of too much are survived, and a query among them is answered."""
    server = UdpServer(server_socket, answers)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        with client_of(server_socket) as flood, client_of(server_socket) as client:
            garbage = [
                octet * size for size in (0, 1, 11, 12, 512, 4096, 4097, 65507) for octet in (b"\0", b"\xff", b"\x80")
            ]
            for number, datagram in enumerate(garbage):
                flood.send(datagram)
                while server.statistics().received <= number:
                    await trio.lowlevel.checkpoint()
            client.send(ask("hit", 9))
            assert (await receive(client))[:2] == b"\0\x09"
        server.stop()
    assert server.statistics() == UdpStatistics(received=25, answered_at_once=1, malformed=24, denied=0, unsent=0)


async def test_oversized_query_gets_no_answer(answers, ask, server_socket):
    """A datagram that was cut is not answered, not even with an error."""
    server = UdpServer(server_socket, answers)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        with client_of(server_socket) as client:
            client.send(ask("hit") + bytes(MAX_DATAGRAM))
            client.send(ask("hit") + bytes(9))  # trailing octets: FORMERR (RFC 1035 s4.1.1)
            refusal = await receive(client)
            assert refusal[3] & 0x0F == 1
            assert is_silent(client)
        server.stop()


async def test_no_talk_with_services_that_answer_anything(answers, ask, server_socket, monkeypatch):
    """What comes from chargen's port and is no query gets silence, or it would get the next line back."""
    server = UdpServer(server_socket, answers)
    line = bytes(range(33, 105)) + b"\r\n"
    with client_of(server_socket) as client:
        client.send(line)
        server._drain(0.0)
        assert not is_silent(client)
        monkeypatch.setattr(udp, "_TALKATIVE", {client.getsockname()[1]})
        client.send(line)
        server._drain(0.0)
        assert is_silent(client)
        client.send(ask("hit"))
        server._drain(0.0)
        assert not is_silent(client)


@settings(max_examples=100, deadline=None)
@given(datagrams=st.lists(st.binary(max_size=80), max_size=BATCH))
def test_no_datagram_raises(datagrams):
    """Any octets are answered, refused or ignored; the loop takes the next."""

    class Nobody:
        def answer_nowait(self, query, now):
            return None if query.wire[0] & 1 else b"answer"

        def shed(self, query, now, asker):
            return None

        def answer_soon(self, query, reply, asker):
            reply(b"answer")

    with bound() as sock, client_of(sock) as client:
        server = UdpServer(sock, Nobody())
        for datagram in datagrams:
            client.send(datagram)
        server._drain(0.0)
        statistics = server.statistics()
    assert (statistics.received, statistics.unsent) == (len(datagrams), 0)
    assert 0 <= statistics.answered_at_once <= len(datagrams) - statistics.malformed


async def test_flood_does_not_starve_other_tasks(answers, ask, server_socket):
    """After each batch the other tasks have their turn, however many datagrams wait."""
    server = UdpServer(server_socket, answers)
    with client_of(server_socket) as client:
        for number in range(3 * BATCH):
            client.send(ask("hit", number))
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve)
            asked = []
            while not asked or asked[-1] < 3 * BATCH:
                asked.append(answers.asked)
                await trio.lowlevel.checkpoint()
            server.stop()
    # trio runs the tasks of a turn in random order, so two batches may lie between two looks.
    assert max(after - before for before, after in itertools.pairwise(asked)) <= 2 * BATCH
    assert answers.asked == 3 * BATCH


@pytest.mark.parametrize(
    ("family", "asked"),
    [
        (socket.AF_INET, "127.0.0.1"),
        (socket.AF_INET, "127.9.8.7"),
        (socket.AF_INET6, "::1"),
        (socket.AF_INET6, "::ffff:127.9.8.7"),
    ],
)
@pytest.mark.parametrize("label", ["hit", "miss"])
async def test_wildcard_answers_from_the_asked_address(answers, ask, family, asked, label):
    """RFC 2181 s4.1: an answer comes from the address that was asked, or the client will not take it."""
    sock = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.setblocking(False)
    sock.bind(("", 0))
    server = UdpServer(sock, answers)
    with sock, client_of(sock, asked) as client:
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve)
            client.send(ask(label, 5))
            while not answers.asked:
                await trio.lowlevel.checkpoint()
            answers.release()
            assert (await receive(client))[:2] == b"\0\5"
            server.stop()


def test_who_may_not_ask_is_turned_away(answers, ask, server_socket, monkeypatch):
    """On a socket that others can reach, a client that is not on the list hears REFUSED, and noise hears nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", 0))
        server = UdpServer(sock, answers)
        with client_of(sock, "127.0.0.1") as client:
            client.send(ask("hit", 1))
            server._drain(0.0)
            assert client.recv(100)[3] & 0x0F == 0
            monkeypatch.setattr(Front, "allows", lambda _, address: address != bytes((127, 0, 0, 1)))
            for datagram in (ask("hit", 2), b"noise", ask("hit", 3) + bytes(MAX_DATAGRAM)):
                client.send(datagram)
            server._drain(0.0)
            refusal = client.recv(100)
            assert (refusal[:2], refusal[3] & 0x0F) == (b"\0\2", 5)
            assert is_silent(client)
        assert server.statistics() == UdpStatistics(received=4, answered_at_once=1, malformed=0, denied=3, unsent=0)
    assert answers.asked == 1


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.3.2.1"), (socket.AF_INET6, "::1")])
def test_cookie_belongs_to_the_address(ask, family, address):
    """The server cookie is made for the very address that the datagram came from."""

    class Own:
        def answer_nowait(self, query, now):
            return query.extra

    with bound(address, family) as sock, client_of(sock) as client:
        server = UdpServer(sock, Own())
        cookie = b"\0\n\0\x08abcdefgh"
        client.send(ask("hit")[:11] + b"\1" + ask("hit")[12:] + b"\0\0\x29\4\xd0\0\0\0\0\0\x0c" + cookie)
        server._drain(5.0)
        packed = ip_address(client.getsockname()[0]).packed
        assert client.recv(100) == answering_cookie(b"abcdefgh", server._front._secret, packed, 5)


async def test_what_is_shed_is_answered_at_once(answers, ask, server_socket):
    """A question that is not fetched gets its refusal in the batch, in its own place, and each socket is an asker."""
    answers.refusing = True
    server = UdpServer(server_socket, answers)
    with client_of(server_socket) as one, client_of(server_socket) as two:
        one.send(ask("miss", 1))
        two.send(ask("hit", 2))
        two.send(ask("miss", 3))
        server._drain(0.0)
        assert one.recv(100) == b"\0\1shed"
        assert two.recv(100)[:2] == b"\0\2"
        assert two.recv(100) == b"\0\3shed"
    assert len(set(answers.askers)) == 2
    assert answers.waiting == []
    statistics = server.statistics()
    assert (statistics.shed, statistics.answered_at_once) == (2, 3)


def test_another_machine_is_one_asker(answers, ask):
    """On a socket that others can reach, loopback's sockets still count each for itself."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", 0))
        server = UdpServer(sock, answers)
        with client_of(sock, "127.0.0.1") as one, client_of(sock, "127.0.0.1") as two:
            for client in (one, two, one):
                client.send(ask("miss"))
            server._drain(0.0)
    assert len(answers.askers) == 3
    assert answers.askers[0] == answers.askers[2] != answers.askers[1]


def test_standing_queue_is_told(answers, ask, server_socket):
    """A queue that has been deep for 5 ms is told of; a burst that is taken within that is not."""
    server_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    server = UdpServer(server_socket, answers)
    with client_of(server_socket) as client:

        def fill():
            for number in range(600):
                client.send(ask("hit", number))

        fill()
        turn = 0
        while server._drain(turn * 0.0004):
            turn += 1
        assert answers.pressed == []
        fill()
        server._drain(1.0)
        server._drain(1.004)
        assert answers.pressed == []
        server._drain(1.006)
        assert answers.pressed == [1.006]


def test_queue_that_is_nearly_full_is_told_at_once(answers, ask, server_socket):
    """Before the kernel drops what somebody else asks there is no time to wait and see."""
    server_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 17)
    server = UdpServer(server_socket, answers)
    with client_of(server_socket) as client:
        while not server.statistics().dropped:
            client.send(ask("hit"))
        server._drain(1.0)
        assert answers.pressed == [1.0]


def test_full_batches_of_a_shallow_queue_are_no_flood(answers, ask, server_socket):
    """A program with two batches outstanding all the time fills each batch, and nobody is sent away for it."""
    server = UdpServer(server_socket, answers)
    with client_of(server_socket) as client:
        for number in range(2 * BATCH):
            client.send(ask("hit", number))
        for turn in range(100):
            assert server._drain(turn * 0.01)
            for number in range(BATCH):
                client.send(ask("hit", number))
    assert answers.pressed == []


def test_what_the_kernel_drops_is_counted(answers, ask):
    """Datagrams that found the socket's queue full are in the statistics; of a closed socket nothing is."""
    sock = bound()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    server = UdpServer(sock, answers)
    with client_of(sock) as client:
        for number in range(200):
            client.send(ask("hit", number))
    while server._drain(0.0):
        pass
    statistics = server.statistics()
    assert statistics.dropped > 0
    assert statistics.received + statistics.dropped == 200
    sock.close()
    assert server.statistics().dropped == 0
