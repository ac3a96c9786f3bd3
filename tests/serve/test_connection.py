"""One TCP connection, on memory streams and virtual time."""

import math
import struct

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from stubresolver.serve import Front, ListenOptions
from stubresolver.serve.commons import _MOST, Commons
from stubresolver.serve.connection import Connection, End
from stubresolver.wire.framing import FrameReader, frame

OPTIONS = ListenOptions(tcp_idle_seconds=10, tcp_queries=4)
CLIENT = bytes((192, 0, 2, 7))


class Client:
    """The client's end of a connection that is being served."""

    def __init__(self, answers, options=OPTIONS):
        self.stream, served = memory_stream_pair()
        self.writes = 0
        self.deliver = served.send_stream.send_all_hook
        served.send_stream.send_all_hook = self.count_write
        self.connection = Connection(served, CLIENT, answers, options, Front(options))
        self.frames = FrameReader()
        self.answers = []
        self.ended_at = math.inf

    async def count_write(self):
        self.writes += 1
        await self.deliver()

    async def run(self):
        await self.connection.run()
        self.ended_at = trio.current_time()

    async def receive(self, count):
        """The next answers, without their framing."""
        while len(self.answers) < count:
            data = await self.stream.receive_some()
            assert data, "the connection was closed before all answers came"
            self.answers += self.frames.feed(data)
        taken, self.answers = self.answers[:count], self.answers[count:]
        return taken

    async def numbers(self, count):
        """The ids of the next answers."""
        return [int.from_bytes(answer[:2], "big") for answer in await self.receive(count)]


async def test_answers_come_in_the_order_of_readiness(answers, ask):
    """RFC 7766 s7: an answer at hand does not wait for one that must be fetched."""
    client = Client(answers)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        await client.stream.send_all(frame(ask("miss", 1)) + frame(ask("miss", 2)) + frame(ask("hit", 3)))
        assert await client.numbers(1) == [3]
        answers.release()
        assert await client.numbers(2) == [2, 1]
        await client.stream.aclose()
    assert client.connection.end is End.CLIENT
    assert client.connection.queries == 3


@pytest.mark.parametrize("trailing", [b"", b"\0", b"\0\x20half"])
async def test_queries_may_come_octet_by_octet(answers, ask, trailing):
    """RFC 7766 s8: servers "MUST NOT close a connection simply because the first "read" [...] does not contain" all."""
    client = Client(answers)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        for octet in frame(ask("hit", 1)) + frame(ask("hit", 2)) + trailing:
            await client.stream.send_all(bytes((octet,)))
        assert await client.numbers(2) == [1, 2]
        await client.stream.aclose()


async def test_answers_are_gathered_into_one_write(answers, ask):
    """Queries that came together are answered together."""
    client = Client(answers)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        await client.stream.send_all(b"".join(frame(ask("hit", number)) for number in range(4)))
        await wait_all_tasks_blocked()
        assert client.writes == 1
        assert await client.numbers(4) == [0, 1, 2, 3]
        await client.stream.aclose()


async def test_half_closed_client_gets_its_answers(answers, ask, autojump_clock):
    """A client that has said all and shut down its side is still owed its answers."""
    client = Client(answers)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        await client.stream.send_all(frame(ask("miss", 1)) + frame(ask("miss", 2)))
        await client.stream.send_eof()
        await trio.sleep(60)  # no idle limit while answers are owed
        answers.release()
        assert await client.numbers(2) == [2, 1]
        assert await client.stream.receive_some() == b""
    assert client.ended_at == 60


async def test_idle_connection_is_closed(answers, ask, autojump_clock):
    """RFC 7766 s6.2.3: the idle limit runs from the last answer, not while one is owed."""
    client = Client(answers)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        await trio.sleep(9)
        await client.stream.send_all(frame(ask("miss", 1)))
        await trio.sleep(30)
        answers.release()
        assert await client.numbers(1) == [1]
        assert await client.stream.receive_some() == b""
    assert client.ended_at == 9 + 30 + 10
    assert client.connection.end is End.IDLE


async def test_silent_connection_is_closed(answers, autojump_clock):
    """A client that never asks anything is idle from the start."""
    client = Client(answers)
    await client.run()
    assert client.ended_at == 10
    assert client.connection.end is End.IDLE


async def test_trickling_client_is_idle(answers, autojump_clock):
    """RFC 7766 s6.2.3: parts of a message do not reset the idle limit."""
    client = Client(answers)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        await client.stream.send_all(b"\xff\xff")
        for _ in range(3):
            await trio.sleep(3)
            await client.stream.send_all(b"\0")
        assert await client.stream.receive_some() == b""
    assert client.ended_at == 10


async def test_reading_stops_while_too_much_is_owed(answers, ask):
    """Beyond `tcp_queries` answers owed, no query is taken until one has been written; none is lost."""
    client = Client(answers)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        await client.stream.send_all(b"".join(frame(ask("miss", number)) for number in range(10)))
        for taken in (4, 8, 10):
            await wait_all_tasks_blocked()
            assert client.connection.queries == taken
            assert len(answers.waiting) <= 4
            answers.release()
        assert sorted(await client.numbers(10)) == list(range(10))
        await client.stream.aclose()


async def test_client_that_never_reads_is_cut_off(answers, ask, autojump_clock):
    """A client that does not take its answers within the limit is closed, and its queries are taken no further."""
    client = Client(answers)
    client.stream, served = trio.testing.lockstep_stream_pair()  # a write waits until it is read
    client.connection = Connection(served, CLIENT, answers, OPTIONS, Front(OPTIONS))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        await client.stream.send_all(frame(ask("hit", 1)))
    assert client.ended_at == 10
    assert client.connection.end is End.SLOW


async def test_output_is_bounded(answers, ask, autojump_clock):
    """Large answers that pile up unread end the connection before they fill the memory."""
    answers.size = 60000
    options = ListenOptions(tcp_queries=1000)
    client = Client(answers, options)
    client.stream, served = trio.testing.lockstep_stream_pair()
    client.connection = Connection(served, CLIENT, answers, options, Front(options))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        await client.stream.send_all(b"".join(frame(ask("miss", number)) for number in range(100)))
        await wait_all_tasks_blocked()
        answers.release()
    assert client.ended_at == 0
    assert client.connection.end is End.SLOW
    assert _MOST < 100 * 60000


async def test_cached_answers_are_held_back_by_the_client(answers, ask):
    """Large answers at hand are rendered no faster than the client takes them."""
    answers.size = 60000
    client = Client(answers, ListenOptions(tcp_queries=1000))
    client.stream, served = trio.testing.lockstep_stream_pair()
    options = ListenOptions(tcp_queries=1000)
    client.connection = Connection(served, CLIENT, answers, options, Front(options))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        await client.stream.send_all(b"".join(frame(ask("hit", number)) for number in range(50)))
        await wait_all_tasks_blocked()
        assert answers.asked < 5
        assert await client.numbers(50) == list(range(50))
        await client.stream.aclose()


@pytest.mark.parametrize("message", [b"", b"\0" * 11, b"\0\1\x80" + bytes(9)])
async def test_message_without_answer_ends_the_connection(answers, ask, message):
    """After what deserves no answer (RFC 1035 s4.1.1: no header, a response) the answers owed are sent, and no more."""
    client = Client(answers)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        await client.stream.send_all(frame(ask("miss", 1)) + frame(message) + frame(ask("hit", 2)))
        await wait_all_tasks_blocked()
        answers.release()
        assert await client.numbers(1) == [1]
        assert await client.stream.receive_some() == b""
    assert client.connection.end is End.MALFORMED
    assert client.connection.malformed == 1


async def test_malformed_query_is_refused_in_its_turn(answers, ask):
    """A query with an error is answered with that error, and the connection goes on."""
    client = Client(answers)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        await client.stream.send_all(frame(ask("hit", 1) + b"trailing") + frame(ask("hit", 2)))
        refused, answered = await client.receive(2)
        assert refused[3] & 0x0F == 1  # FORMERR
        assert answered[:2] == b"\0\2"
        await client.stream.aclose()
    assert client.connection.malformed == 1


async def test_largest_message_is_taken(answers, ask):
    """RFC 1035 s4.2.2: a message may have 65,535 octets, in a query and in an answer."""
    client = Client(answers)
    query = ask("hit", 1)
    padding = struct.pack(">BHHIHHH", 0, 41, 1232, 0, 65535 - len(query) - 11, 12, 65535 - len(query) - 15)
    large = query[:10] + b"\0\1" + query[12:] + padding
    large += bytes(65535 - len(large))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        await client.stream.send_all(frame(large))
        assert [len(answer) for answer in await client.receive(1)] == [65535]
        await client.stream.aclose()


async def test_reset_ends_the_connection(answers, ask):
    """RFC 7766 s6.2.4: to a client that has gone nothing is sent, and a late answer reaches nobody."""
    client = Client(answers)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        await client.stream.send_all(frame(ask("miss", 1)))
        await wait_all_tasks_blocked()
        await client.stream.aclose()
        answers.release()
    assert client.connection.end is End.RESET
    assert answers.waiting == []


async def test_stop_reading_pays_what_is_owed(answers, ask, autojump_clock):
    """When we stop, later queries are not taken and earlier ones are answered."""
    client = Client(answers)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        await client.stream.send_all(frame(ask("miss", 1)))
        await wait_all_tasks_blocked()
        client.connection.stop_reading()
        await client.stream.send_all(frame(ask("hit", 2)))
        await trio.sleep(2)
        answers.release()
        assert await client.numbers(1) == [1]
        assert await client.stream.receive_some() == b""
    assert client.connection.end is End.STOPPED


async def test_cancellation_leaves_nothing(answers, ask, autojump_clock):
    """A cancelled connection closes its stream, and answers that come later are dropped."""
    client = Client(answers)
    with trio.move_on_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.run)
            await client.stream.send_all(frame(ask("miss", 1)))
    assert await client.stream.receive_some() == b""
    answers.release()


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=5))
def test_no_octets_raise(data, cuts):
    """Any octets, in any pieces, end in an orderly close."""

    class Nobody:
        def answer_nowait(self, query, now):
            return None

        def shed(self, query, now, asker):
            return None

        def answer_soon(self, query, reply, asker):
            reply(b"an answer")

    async def converse():
        client = Client(Nobody())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.run)
            for start, end in zip(sorted([0, *cuts]), [*sorted(cuts), 300], strict=True):
                await client.stream.send_all(data[start:end])
            await client.stream.send_eof()
        assert client.connection.end in {End.CLIENT, End.MALFORMED}

    trio.run(converse, clock=MockClock(autojump_threshold=0))


def with_options(query, *options):
    """A query of the `ask` fixture with an OPT record and these options."""
    data = b"".join(struct.pack(">HH", code, len(value)) + value for code, value in options)
    opt = b"\0\0\x29\4\xd0\0\0\0\0" + struct.pack(">H", len(data)) + data
    return query[:10] + b"\0\1" + query[12:] + opt


async def test_keepalive_is_told_to_who_asks(ask):
    """RFC 7828 s3.3.2: the reply to a query with the option says our idle time in units of 100 ms, no other."""

    class Hasty:
        def answer_nowait(self, query, now):
            return query.extra or b"none"

        def shed(self, query, now, asker):
            raise AssertionError

    client = Client(Hasty(), ListenOptions(tcp_idle_seconds=12.5))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        for query in (ask("hit"), with_options(ask("hit")), with_options(ask("hit"), (11, b""))):
            await client.stream.send_all(frame(query))
        assert await client.receive(3) == [b"none", b"none", b"\0\x0b\0\2\0\x7d"]
        await client.stream.aclose()


async def test_own_answers_are_owed_like_others(answers, ask):
    """ANY, CHAOS and a mere cookie are answered in their turn, and the resolver is not asked."""
    client = Client(answers)
    cookie = with_options(ask("hit", 4), (10, b"abcdefgh"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        await client.stream.send_all(
            frame(ask("hit", 1)[:-4] + b"\0\xff\0\1")
            + frame(ask("hit", 2)[:-4] + b"\0\x10\0\3")
            + frame(cookie[:2] + b"\1\0\0\0\0\0\0\0\0\1" + cookie[21:])
        )
        assert await client.numbers(3) == [1, 2, 4]
        assert answers.asked == 0
        assert client.connection.is_idle
        await client.stream.aclose()


async def test_query_that_waits_for_its_turn_is_no_idleness(answers, ask, autojump_clock):
    """Who has asked and is not heard yet, because others have their turn, is neither idle nor cut off for it."""
    commons = Commons()
    client = Client(answers)
    client.connection._commons = commons
    while commons._left:
        await commons.turn(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        await trio.sleep(9)
        await client.stream.send_all(frame(ask("hit", 1)) + frame(ask("hit", 2)))
        await trio.sleep(9)
        assert not client.connection.is_idle
        assert client.connection.since == pytest.approx(9)
        nursery.start_soon(commons.run)
        assert await client.numbers(2) == [1, 2]
        await wait_all_tasks_blocked()
        assert client.connection.is_idle
        nursery.cancel_scope.cancel()


async def test_late_answer_after_the_end_holds_nothing(answers, ask):
    """What comes for a connection that has ended is not counted among what clients have still to take."""
    client = Client(answers)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        await client.stream.send_all(frame(ask("miss", 1)))
        await wait_all_tasks_blocked()
        client.connection.abort(End.GAVE_WAY)
    answers.release()
    assert client.connection._commons.held == 0
