"""Batches of datagrams on real loopback sockets."""

import itertools
import os
import socket
from contextlib import ExitStack, contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stubresolver.serve import batch as module
from stubresolver.serve.batch import BATCH, MAX_DATAGRAM, DatagramBatch, WayBack

ADDRESSES = ["127.0.0.1", "::1"]


@contextmanager
def served(address="127.0.0.1", clients=1):
    """A batch on a socket that is bound to the address, and clients that take only what the asked address says."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with ExitStack() as stack:
        sock = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        sock.bind((address, 0))
        peers = [stack.enter_context(socket.socket(family, socket.SOCK_DGRAM)) for _ in range(clients)]
        for peer in peers:
            peer.connect(sock.getsockname())
            peer.setblocking(False)
        yield DatagramBatch(sock), sock, peers


def taken(peer):
    """Everything that has been sent to the peer; loopback delivers before the sender's call returns."""
    found = []
    while True:
        try:
            found.append(peer.recv(65536))
        except BlockingIOError:
            return found


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("count", [0, 1, 2, 63, 64])
def test_each_sender_gets_its_own_answer(address, count):
    """However many there are, each datagram is received whole, in order, and answered to its own sender."""
    with served(address, count) as (batch, _, peers):
        queries = [bytes((number,)) * number for number in range(count)]
        for peer, query in zip(peers, queries, strict=True):
            peer.send(query)
        assert batch.receive() == queries
        assert batch.send([b"answer to " + query for query in queries]) == 0
        assert [taken(peer) for peer in peers] == [[b"answer to " + query] for query in queries]


def test_more_than_a_batch_waits_for_the_next():
    """No call takes more than a batch, and nothing is lost between two."""
    with served() as (batch, _, (peer,)):
        for number in range(BATCH + 3):
            peer.send(bytes((number,)))
        assert batch.receive() == [bytes((number,)) for number in range(BATCH)]
        assert batch.receive() == [bytes((number,)) for number in range(BATCH, BATCH + 3)]
        assert batch.receive() == []


@settings(max_examples=60, deadline=None)
@given(rounds=st.lists(st.lists(st.none() | st.binary(max_size=1232), max_size=BATCH), min_size=1, max_size=3))
def test_unanswered_ones_leave_no_trace(rounds):
    """Whichever datagrams are not answered, the others get what is theirs, batch after batch."""
    with served(clients=BATCH) as (batch, _, peers):
        for answers in rounds:
            for peer in peers[: len(answers)]:
                peer.send(b"query")
            assert batch.receive() == [b"query"] * len(answers)
            assert batch.send(answers) == 0
            for peer, answer in itertools.zip_longest(peers, answers):
                assert taken(peer) == ([] if answer is None else [answer])


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("size", [0, 1, 512, MAX_DATAGRAM, MAX_DATAGRAM + 1, MAX_DATAGRAM + 2, 65000])
def test_large_datagrams_are_cut(address, size):
    """A datagram that is too large comes with one octet too many, and touches none of its neighbours."""
    with served(address) as (batch, _, (peer,)):
        sent = [b"before", b"x" * size, b"after"]
        for datagram in sent:
            peer.send(datagram)
        assert batch.receive() == [datagram[: MAX_DATAGRAM + 1] for datagram in sent]


def test_answers_of_any_length_that_a_query_may_ask_for():
    """The largest answer over UDP, and as large a one as any datagram that was taken whole, reach their senders."""
    with served(clients=3) as (batch, _, peers):
        answers = [b"a" * 1232, b"b" * MAX_DATAGRAM, b"c" * 1232]
        for peer in peers:
            peer.send(b"query")
        batch.receive()
        assert batch.send(answers) == 0
        assert [taken(peer) for peer in peers] == [[answer] for answer in answers]


@pytest.mark.parametrize("size", [MAX_DATAGRAM + 65, 70000, 1 << 20])
def test_answer_that_fits_no_slot_is_dropped_alone(size):
    """An answer that is too large is counted, at once and later, and touches none of its neighbours."""
    with served(clients=3) as (batch, _, peers):
        for peer in peers:
            peer.send(b"query")
        batch.receive()
        way_back = batch.way_back(1)
        assert batch.send([b"one", b"x" * size, b"three"]) == 1
        assert [taken(peer) for peer in peers] == [[b"one"], [], [b"three"]]
        assert batch.send_later(way_back, b"x" * size) == 1
        assert batch.send_later(way_back, b"two") == 0
        assert taken(peers[1]) == [b"two"]


@pytest.mark.parametrize("address", ADDRESSES)
def test_port_of_the_sender(address):
    """Each slot knows the port that its datagram came from."""
    with served(address, 2) as (batch, _, peers):
        for peer in peers:
            peer.send(b"query")
        batch.receive()
        assert [batch.port(slot) for slot in (0, 1)] == [peer.getsockname()[1] for peer in peers]


@pytest.mark.parametrize("address", ADDRESSES)
def test_later_answer_finds_its_way(address):
    """A way back outlives its batch, and a later answer disturbs no batch under way."""
    with served(address, 2) as (batch, _, (late, other)):
        late.send(b"slow")
        batch.receive()
        way_back = batch.way_back(0)
        batch.send([None])
        other.send(b"quick")
        assert batch.receive() == [b"quick"]
        assert batch.send_later(way_back, b"at last") == 0
        assert batch.send([b"at once"]) == 0
        assert (taken(late), taken(other)) == ([b"at last"], [b"at once"])


def test_receiver_that_is_gone_hurts_nobody():
    """Answers to a closed socket are lost as the network would lose them; those behind them arrive."""
    with served(clients=2) as (batch, _, (gone, there)):
        for _ in range(3):
            gone.send(b"query")
            there.send(b"query")
        batch.receive()
        gone.close()
        batch.send([bytes((number,)) for number in range(6)])
        assert taken(there) == [b"\1", b"\3", b"\5"]
        there.send(b"again")
        assert batch.receive() == [b"again"]


@pytest.mark.parametrize("refused", [{0}, {1}, {4}, {0, 1}, {1, 3}, {0, 1, 2, 3, 4}])
@pytest.mark.parametrize("most", [1, 2, 5])
def test_message_that_the_kernel_refuses_is_dropped_alone(monkeypatch, refused, most):
    """sendmmsg(2) may end early, at an error or for its own reasons: only what it refuses is missing."""
    with served(clients=5) as (batch, _, peers):
        first_address = batch._address

        def reluctant(descriptor, address, count, flags):
            first = (address - first_address) // module._MESSAGE
            willing = list(itertools.takewhile(lambda slot: slot not in refused, range(first, first + count)))[:most]
            return real(descriptor, address, len(willing), flags) if willing else -1

        real = module._sendmmsg
        monkeypatch.setattr(module, "_sendmmsg", reluctant)
        for peer in peers:
            peer.send(b"query")
        batch.receive()
        assert batch.send([b"answer"] * 5) == len(refused)
        assert [number for number, peer in enumerate(peers) if not taken(peer)] == sorted(refused)


def test_error_of_the_kernel_itself_is_counted():
    """A sender's port of 0 cannot be answered: a real error of a real socket."""
    with served() as (batch, _, (peer,)):
        peer.send(b"query")
        batch.receive()
        way_back = batch.way_back(0)
        nowhere = WayBack(way_back.peer[:2] + b"\0\0" + way_back.peer[4:], way_back.control_length)
        assert batch.send_later(nowhere, b"answer") == 1
        assert batch.send_later(way_back, b"answer") == 0
        assert taken(peer) == [b"answer"]


def test_closed_socket_takes_nothing():
    """After the close nothing is read and nothing written, even if another file has the same number by then."""
    with served() as (batch, sock, (peer,)):
        number = sock.fileno()
        for _ in range(2):
            peer.send(b"query")
        batch.receive()
        way_back = batch.way_back(0)
        sock.close()
        os.dup2(peer.fileno(), number)
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.bind(("127.0.0.1", 0))
                peer.connect(other.getsockname())
                other.sendto(b"secret", peer.getsockname())
                assert batch.receive() == []
                assert batch.send([b"answer", b"answer"]) == 2
                assert batch.send_later(way_back, b"answer") == 1
            assert taken(peer) == [b"secret"]
        finally:
            os.close(number)


@pytest.mark.parametrize(
    ("bound", "asked"),
    [
        ("0.0.0.0", ["127.0.0.1", "127.9.8.7", "127.1.1.1"]),  # noqa: S104 - the case
        ("::", ["::1", "::ffff:127.9.8.7", "::ffff:127.1.1.1"]),
    ],
)
@pytest.mark.parametrize("later", [False, True])
def test_each_answer_leaves_from_its_asked_address(bound, asked, later):
    """RFC 2181 s4.1 holds within one batch for every message, at once and later."""
    family = socket.AF_INET6 if ":" in bound else socket.AF_INET
    with ExitStack() as stack:
        sock = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((bound, 0))
        batch = DatagramBatch(sock)
        peers = []
        for address in asked * 2:
            peers.append(stack.enter_context(socket.socket(family, socket.SOCK_DGRAM)))
            peers[-1].connect((address, sock.getsockname()[1]))
            peers[-1].setblocking(False)
            peers[-1].send(address.encode())
        queries = batch.receive()
        assert queries == [address.encode() for address in asked * 2]
        if later:
            ways_back = [batch.way_back(slot) for slot in range(len(queries))]
            assert [batch.send_later(*pair) for pair in zip(ways_back, queries, strict=True)] == [0] * 6
        else:
            assert batch.send([None, *queries[1:]]) == 0
        assert [taken(peer) for peer in peers[1:]] == [[query] for query in queries[1:]]
