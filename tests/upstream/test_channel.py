"""One connection, many askers: order, cancellation, silence, ends. On virtual time, through real TLS in memory."""

import collections
import itertools
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from stubresolver.errors import ChannelClosed, ExchangeTimeout, ProtocolViolation
from stubresolver.transport.dot import DotProtocol
from stubresolver.transport.protocol import Answered, Draining, Ended, Failed, Token
from stubresolver.upstream import Channel, dial, parse_upstream
from stubresolver.upstream.channel import MAX_QUEUE, TURN
from stubresolver.upstream.dial import TRICKLE
from stubresolver.wire.framing import FrameReader, frame

DOT = parse_upstream("tls://127.0.0.1#dns.test")


def message(number: int, text: bytes = b"") -> bytes:
    return number.to_bytes(2, "big") + bytes(10) + text


class Scripted:
    """A protocol without a wire format: the test says what each received octet means."""

    def __init__(self, room=10, script=None):
        self.limit = room
        self.script = script or {}
        self.sent = []
        self.forgotten = []
        self.open = set()
        self.unsent = b""
        self.worn = False

    @property
    def room(self):
        return self.limit - len(self.open)

    def send_query(self, wire):
        self.sent.append(wire)
        token = Token(len(self.sent))
        self.open.add(token)
        self.unsent += b"?"
        return token

    def receive_data(self, data):
        events = [event for octet in data for event in self.script[octet]] if data else [Ended("")]
        self.open -= {event.token for event in events if isinstance(event, Answered | Failed)}
        return events

    def data_to_send(self):
        data, self.unsent = self.unsent, b""
        return [data] if data else []

    def forget(self, token):
        self.forgotten.append(token)
        self.open.discard(token)


@asynccontextmanager
async def opened(internet, demands, handler, protocol=None, upstream=DOT):
    """A running channel to the handler; when the test is done it is cancelled and must have left nothing."""
    async with trio.open_nursery() as internet.nursery:
        internet.handlers["127.0.0.1"] = handler
        stream = await dial(upstream, demands)
        channel = Channel(stream, protocol or DotProtocol(), timeout=4.0, silence=0.75)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(channel.run)
            yield channel
            nursery.cancel_scope.cancel()
        assert channel.outstanding == 0
        assert channel.ended is not None
        internet.nursery.cancel_scope.cancel()


def say(*pieces):
    """A server that says one piece whenever it hears something, whatever that is."""

    async def serve(server):
        for piece in pieces:
            if not await server.receive():
                return
            await server.send(piece)
        while await server.receive():
            pass
        await server.transport.aclose()

    return serve


async def test_exchange(autojump_clock, internet, demands):
    """A query is asked and its answer comes back under its own id."""
    async with opened(internet, demands, internet.dot(bytes.upper)) as channel:
        assert await channel.exchange(message(7, b"abc")) == message(7, b"ABC")
        assert (channel.asked, channel.answered, channel.outstanding) == (1, 1, 0)


async def test_memory_that_is_short_ends_one_connection(autojump_clock, internet, demands):
    """Whoever waits for an answer on it hears why, and nothing else ends."""

    class Short(Scripted):
        def receive_data(self, data):
            raise MemoryError

    async with opened(internet, demands, internet.tls(say(b"x")), Short()) as channel:
        with pytest.raises(ChannelClosed, match="not enough memory"):
            await channel.exchange(message(7))


async def test_answers_in_any_order_reach_their_asker(autojump_clock, internet, demands):
    """The last asked is answered first; each asker gets its own."""

    async def backwards(server):
        reader, queries = FrameReader(), []
        while len(queries) < 20:
            queries += reader.feed(await server.receive())
        for query in reversed(queries):
            await server.send(frame(query.upper()))
        await server.receive()

    answers = {}

    async def ask(number):
        answers[number] = await channel.exchange(message(500, b"q%d" % number))

    async with (
        opened(internet, demands, internet.tls(backwards)) as channel,
        trio.open_nursery() as nursery,
    ):
        for number in range(20):
            nursery.start_soon(ask, number)
    assert answers == {number: message(500, b"Q%d" % number) for number in range(20)}


async def test_queries_of_one_turn_share_a_write(autojump_clock, internet, demands):
    """Queries that are asked in the same turn of the loop go out together."""
    heard = []

    async def listen(server):
        while data := await server.receive():
            heard.append(data)

    async with opened(internet, demands, internet.tls(listen)) as channel:
        await wait_all_tasks_blocked()
        for number in range(50):
            channel.ask(message(number))
        await wait_all_tasks_blocked()
        assert [len(FrameReader().feed(data)) for data in heard] == [50]


async def test_cancelled_exchange_leaves_nothing(autojump_clock, internet, demands):
    """Cancellation gives the slot back at once; the id stays with the peer's late answer, which reaches nobody."""
    async with opened(internet, demands, internet.dot(bytes.upper, delay=1.0)) as channel:
        with trio.move_on_after(0.5) as scope:
            await channel.exchange(message(1, b"late"))
        assert scope.cancelled_caught
        assert channel.outstanding == 0
        assert channel._protocol.room == 999
        assert await channel.exchange(message(2, b"next")) == message(2, b"NEXT")
        assert channel._protocol.room == 1000
        assert channel.answered == 1


async def test_exchange_ends_within_its_time(autojump_clock, internet, demands):
    """A query that is not answered while others are ends after its own four seconds; the channel lives on."""
    async with opened(internet, demands, internet.dot(lambda wire: None if b"lost" in wire else wire)) as channel:
        start = trio.current_time()
        errors = []

        async def lost():
            try:
                await channel.exchange(message(1, b"lost"))
            except ExchangeTimeout as error:
                errors.append((trio.current_time() - start, error.summary))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(lost)
            await trio.sleep(1)
            nursery.start_soon(lost)
            await trio.sleep(0.5)
            assert await channel.exchange(message(2, b"found")) == message(2, b"found")
        text = f"{DOT}: no answer within 4 s"
        assert errors == [(4.0, text), (5.0, text)]
        assert await channel.exchange(message(3)) == message(3)


async def test_overdue_answer_is_told_once(autojump_clock, internet, demands):
    """Others are answered and one is not: it is told after half of its time, while the channel is not silent."""
    woken = []

    def told(exchange):
        woken.append((exchange.wire, exchange.result, trio.current_time() - start))

    def answered(wire):
        return None if wire.endswith(b"lost") else wire

    async with opened(internet, demands, internet.dot(answered)) as channel:
        start = trio.current_time()
        channel.ask(message(13, b"lost"), told)
        for _ in range(35):
            assert await channel.exchange(message(1)) == message(1)
            assert not channel.silent
            await trio.sleep(0.1)
        assert woken == [(message(13, b"lost"), None, pytest.approx(2.0))]
        await trio.sleep(1)
        [_, (_, result, after)] = woken
        assert isinstance(result, ExchangeTimeout)
        assert after == pytest.approx(4.0)


async def test_silence_is_told_to_who_waits(autojump_clock, internet, demands):
    """Queries outstanding and not one answer for 0.75 s: the channel is silent until one comes."""
    async with opened(internet, demands, internet.dot(lambda wire: wire, delay=2.0)) as channel:
        await trio.sleep(100)  # nothing asked: no silence
        assert not channel.silent
        start = trio.current_time()
        exchange = channel.ask(message(5))
        assert await exchange.wait() is None
        assert trio.current_time() == start + 0.75
        assert channel.silent
        assert await exchange.wait() == message(5)
        assert trio.current_time() == start + 2.0
        assert not channel.silent
        await trio.sleep(100)
        assert not channel.silent


async def test_slow_peer_is_learnt(autojump_clock, internet, demands):
    """RFC 6298's smoothing: who always needs 2 s is soon no longer called silent; a next connection knows it."""
    async with opened(internet, demands, internet.dot(lambda wire: wire, delay=2.0)) as channel:
        silences = 0
        for number in range(10):
            exchange = channel.ask(message(number))
            while await exchange.wait() is None:
                silences += 1
        assert silences <= 1
        assert channel.answer_time.smoothed == pytest.approx(2.0, abs=0.2)
        other = Channel(channel.stream, DotProtocol(), timeout=4.0, silence=0.75, answer_time=channel.answer_time)
        assert 2.0 < other.patience <= 3.0


async def test_anything_that_comes_is_heard(autojump_clock, internet, demands):
    """`last_heard` is when the peer's last octets came, whether they answer or not."""
    async with opened(internet, demands, internet.tls(say(b"\0"))) as channel:
        assert channel.last_heard == channel.opened_at
        await trio.sleep(1)
        channel.ask(message(1))
        await trio.sleep(1)
        assert channel.last_heard == channel.opened_at + 1


async def test_abandoned_channel_wakes_everybody_at_once(autojump_clock, internet, demands):
    """Outstanding or queued, each hears `ChannelClosed` before `abandon` returns; the peer hears no close_notify."""
    woken = []
    async with opened(internet, demands, internet.tls(say()), Scripted(room=1)) as channel:
        for number in range(3):
            channel.ask(message(number), woken.append)
        await wait_all_tasks_blocked()
        channel.abandon("another network")
        assert [exchange.result.summary for exchange in woken] == [f"{DOT}: another network"] * 3
        assert (channel.ended, channel.outstanding, channel.open) == ("another network", 0, False)
        channel.abandon("twice")
        await wait_all_tasks_blocked()
        assert channel.ended == "another network"
        assert channel.stream._closed
    assert not internet.servers[0].machine.over


async def test_abandoned_channel_does_not_wait_for_a_write(autojump_clock, internet, demands):
    """A write that the dead peer's full window holds back ends in the same moment."""
    async with opened(internet, demands, internet.tls(say())) as channel:
        await wait_all_tasks_blocked()
        channel.stream._transport.send_stream.send_all_hook = trio.sleep_forever
        channel.ask(message(1))
        await wait_all_tasks_blocked()
        before = trio.current_time()
        channel.abandon("another network")
        await wait_all_tasks_blocked()
        assert channel.stream._closed
        assert trio.current_time() == before


async def test_channel_abandoned_before_it_ran_closes(autojump_clock, internet, demands):
    """`run` returns and closes without a word; abandoning what has ended changes nothing."""
    async with trio.open_nursery() as internet.nursery:
        internet.handlers["127.0.0.1"] = internet.tls(say())
        channel = Channel(await dial(DOT, demands), DotProtocol(), timeout=4.0, silence=0.75)
        channel.abandon("another network")
        await channel.run()
        assert channel.stream._closed
    assert not internet.servers[0].machine.over


async def test_silence_outlives_those_who_gave_up(autojump_clock, internet, demands):
    """A dead line becomes silent although the asker is gone, so that the next asker is not sent there."""
    async with opened(internet, demands, internet.dot(lambda _wire: None)) as channel:
        with trio.move_on_after(0.5):
            await channel.exchange(message(1))
        assert not channel.silent
        await trio.sleep(0.5)
        assert channel.silent


async def test_octets_that_answer_nothing_are_silence(autojump_clock, internet, demands):
    """A peer that pings, or trickles an answer that never ends, does not keep the askers from asking elsewhere."""

    async def trickle(server):
        await server.receive()
        for octet in b"\xff\xff" + bytes(20):
            await server.send(bytes([octet]))
            await trio.sleep(0.3)

    async with opened(internet, demands, internet.tls(trickle)) as channel:
        start = trio.current_time()
        exchange = channel.ask(message(1))
        assert await exchange.wait() is None
        assert trio.current_time() == start + 0.75
        await trio.sleep(1)
        assert channel.silent


async def test_late_answer_ends_silence(autojump_clock, internet, demands):
    """An answer that nobody waits for any more shows as well that the peer answers."""
    async with opened(internet, demands, internet.dot(lambda wire: wire, delay=2.0)) as channel:
        with trio.move_on_after(1):
            await channel.exchange(message(1))
        await trio.sleep(0.5)
        assert channel.silent
        await trio.sleep(1)
        assert not channel.silent


async def test_room_that_comes_and_goes_is_silence(autojump_clock, internet, demands):
    """A peer that changes its limits again and again has answered nothing, and does not look alive by it."""
    protocol = Scripted(script={1: []})
    receive = protocol.receive_data

    def receive_and_make_room(data):
        protocol.limit += 1
        return receive(data)

    async def serve(server):
        await server.receive()
        while True:
            await server.send(b"\1")
            await trio.sleep(0.1)

    protocol.receive_data = receive_and_make_room
    async with opened(internet, demands, internet.tls(serve), protocol) as channel:
        assert await channel.ask(message(1)).wait() is None
        await trio.sleep(0.5)
        assert channel.silent


async def test_many_answers_let_others_have_their_turn(autojump_clock, internet, demands):
    """What one read brings is not handed out in one go: another task runs between so many answers."""
    count = 10 * TURN
    protocol = Scripted(room=count, script={1: [Answered(Token(number + 1), b"answer") for number in range(count)]})
    seen, woken = [], []

    async def watch():
        while len(woken) < count:
            await trio.lowlevel.checkpoint()
            if len(woken) not in seen:
                seen.append(len(woken))

    async with (
        opened(internet, demands, internet.tls(say(b"\1")), protocol) as channel,
        trio.open_nursery() as nursery,
    ):
        for _ in range(count):
            channel.ask(b"q", woken.append)
        nursery.start_soon(watch)
    assert max(after - before for before, after in itertools.pairwise(seen)) <= 2 * TURN


async def test_many_who_wait_in_vain_let_others_have_their_turn(autojump_clock, internet, demands):
    """Hundreds are told of the silence, then that their time is over: so many in one turn of the loop, each once."""
    count = 10 * TURN
    turns = collections.Counter()
    told = []

    class Loop(trio.abc.Instrument):
        number = 0

        def before_io_wait(self, _timeout):
            self.number += 1

    loop = Loop()

    def tell(exchange):
        turns[loop.number] += 1
        told.append((exchange, exchange.result))

    trio.lowlevel.add_instrument(loop)
    async with opened(internet, demands, internet.tls(say()), Scripted(room=count)) as channel:
        exchanges = [channel.ask(b"q", tell) for _ in range(count)]
        await trio.sleep(5)
    assert [exchange for exchange, result in told if result is None] == exchanges
    assert [exchange for exchange, result in told if result is not None] == exchanges
    assert max(turns.values()) <= TURN


async def test_answer_ends_the_news_of_silence(autojump_clock, internet, demands):
    """Who was not told yet when an answer comes after all is not told any more; nor is who gave up meanwhile."""
    count = 3 * TURN
    protocol = Scripted(room=count, script={1: [Answered(Token(count), b"late")]})
    told = []

    def tell(exchange):
        told.append(exchange)
        if len(told) == 1:
            channel.give_up(exchanges[1])
        if len(told) == TURN - 1:
            channel.last_heard = trio.current_time()
            channel._heard_answer()

    async with opened(internet, demands, internet.tls(say()), protocol) as channel:
        exchanges = [channel.ask(b"q", tell) for _ in range(count)]
        await trio.sleep(0.8)
        assert told == [exchanges[0], *exchanges[2:TURN]]


@pytest.mark.parametrize("last", [[], [Ended("gone")]])
async def test_what_fails_with_the_connection_is_not_asked_there_again(autojump_clock, internet, demands, last):
    """A hundred streams that a GOAWAY, or resets and the end, leave unprocessed: whoever is woken finds it closed."""
    count = 100
    failed = [Failed(Token(number + 1), "refused", retry=True) for number in range(count)]
    protocol = Scripted(room=count, script={1: [*([] if last else [Draining()]), *failed, *last]})
    again = []

    async def ask(number):
        with pytest.raises(ChannelClosed, match=r"refused|gone"):
            await channel.exchange(message(number))
        again.append(channel.open)

    async with (
        opened(internet, demands, internet.tls(say(b"\1")), protocol) as channel,
        trio.open_nursery() as nursery,
    ):
        for number in range(count):
            nursery.start_soon(ask, number)
    assert again == [False] * count


async def test_end_between_turns_ends_the_rest(autojump_clock, internet, demands):
    """What was not handed out yet when the channel is let go is answered by nobody; everybody is woken once."""
    count = 3 * TURN
    protocol = Scripted(room=count, script={1: [Answered(Token(number + 1), b"answer") for number in range(count)]})
    woken = []

    def wake(exchange):
        woken.append(exchange.result)
        if len(woken) == TURN:
            channel.abandon("moved")

    async with opened(internet, demands, internet.tls(say(b"\1")), protocol) as channel:
        for _ in range(count):
            channel.ask(b"q", wake)
        await trio.sleep(1)
    assert woken[:TURN] == [b"answer"] * TURN
    assert [result.summary for result in woken[TURN:]] == [f"{DOT}: moved"] * (count - TURN)


@pytest.mark.parametrize("split", ["plaintext", "ciphertext"])
async def test_trickle_is_read_at_leisure(autojump_clock, internet, demands, split):
    """Octet by octet, as fast as can be: what comes is let gather; an answer among it is an answer all the same."""
    answer = frame(message(0, bytes(3000)))

    async def serve(server):
        await server.receive()
        if split == "plaintext":
            for octet in answer[:2000]:
                await server.send(bytes([octet]))
            await server.send(answer[2000:])
        else:
            server.machine.send(answer)
            for octet in server.machine.data_to_send():
                await server.transport.send_all(bytes([octet]))

    async with opened(internet, demands, internet.tls(serve)) as channel:
        reads = 0
        receive = channel.stream._transport.receive_some

        async def counted(size):
            nonlocal reads
            reads += 1
            return await receive(size)

        channel.stream._transport.receive_some = counted
        with trio.fail_after(1):
            assert await channel.exchange(message(0)) == message(0, bytes(3000))
        assert reads < 4 * TRICKLE


async def test_worn_channel_is_replaced_before_it_is_full(autojump_clock, internet, demands):
    """Where too many ids are kept for nobody the channel takes no more, and what is under way is answered."""
    protocol = Scripted()
    async with opened(internet, demands, internet.tls(say(b"\1")), protocol) as channel:
        protocol.script = {1: [Answered(Token(1), b"one")]}
        under_way = channel.ask(b"a")
        assert channel.open
        protocol.worn = True
        assert not channel.open
        assert await under_way.answer() == b"one"


async def test_peer_that_reads_nothing_is_left(autojump_clock, internet, demands):
    """A write that waits for longer than a query may ends the connection, as an accident of the network."""
    async with opened(internet, demands, internet.tls(say())) as channel:
        await wait_all_tasks_blocked()
        channel.stream._transport.send_stream.send_all_hook = trio.sleep_forever
        start = trio.current_time()
        first = channel.ask(message(1))
        with pytest.raises(ExchangeTimeout):
            await first.answer()
        assert trio.current_time() == start + 4.0
        await wait_all_tasks_blocked()
        assert channel.ended == "the upstream reads nothing: a write has been waiting for 4 s"
        assert not channel.violated


async def test_violation_is_told_from_loss(autojump_clock, internet, demands):
    """A peer that breaks the protocol is not one whose line was cut; it hears no farewell."""
    async with opened(internet, demands, internet.tls(say(frame(message(999))))) as channel:
        channel.ask(message(1))
        await trio.sleep(1)
        assert channel.violated
        assert channel.stream._closed
    assert not internet.servers[0].machine.over


async def test_queue_without_room_is_silence(autojump_clock, internet, demands):
    """Queries that wait for room that never comes are told of the silence as those under way are."""
    protocol = Scripted(room=1, script={1: [Answered(Token(1), b"one")]})
    async with opened(internet, demands, internet.tls(say(b"\1")), protocol) as channel:
        first, queued = channel.ask(b"a"), channel.ask(b"b")
        protocol.limit = 0  # RFC 9113 s6.5.2: "A zero value does prevent the creation of new streams"
        assert await first.answer() == b"one"
        start = trio.current_time()
        assert await queued.wait() is None
        assert trio.current_time() == start + 0.75


async def test_end_of_connection_ends_all_exchanges(autojump_clock, internet, demands):
    """Everybody who waits, asked or queued, hears `ChannelClosed`; so does whoever asks later."""

    async def hang_up(server):
        await server.receive()
        server.machine.close()
        await server.flush()
        await server.transport.aclose()

    errors = []

    async def ask():
        try:
            await channel.exchange(message(1))
        except ChannelClosed as error:
            errors.append(error.summary)

    async with opened(internet, demands, internet.tls(hang_up), Scripted(room=2)) as channel:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(ask)
        await ask()
        assert errors == [f"{DOT}: the upstream closed the connection"] * 6
        assert not channel.open


async def test_broken_connection_says_how(autojump_clock, internet, demands):
    """An end without close_notify is a lost connection."""

    async def cut(server):
        await server.receive()
        await server.transport.aclose()

    async with opened(internet, demands, internet.tls(cut)) as channel:
        with pytest.raises(ChannelClosed, match="connection lost: the peer closed the connection after the handshake"):
            await channel.exchange(message(1))


async def test_violation_ends_the_connection(autojump_clock, internet, demands):
    """An answer that nobody asked for ends the channel, with the protocol's words."""
    async with opened(internet, demands, internet.tls(say(frame(message(999))))) as channel:
        with pytest.raises(ChannelClosed, match="protocol violation: got an answer with id 999"):
            await channel.exchange(message(1))


async def test_queries_beyond_the_room_wait_their_turn(autojump_clock, internet, demands):
    """What has no room is sent when an answer, a failure or a cancellation makes room, in order of asking."""
    protocol = Scripted(
        room=1, script={1: [Answered(Token(1), b"one")], 2: [Failed(Token(2), "no", retry=False)], 3: []}
    )
    results = []

    async def ask(text):
        try:
            results.append(await channel.exchange(text))
        except ProtocolViolation as error:
            results.append(error.summary)

    async with opened(internet, demands, internet.tls(say(b"\1", b"\2", b"\3")), protocol) as channel:
        async with trio.open_nursery() as nursery:
            for text in (b"a", b"b"):
                nursery.start_soon(ask, text)
                await trio.lowlevel.checkpoint()
            with trio.move_on_after(0):
                await channel.exchange(b"cancelled while queued")
        assert protocol.sent == [b"a", b"b"]
        assert results == [b"one", f"{DOT}: no"]
        with trio.move_on_after(1):
            await channel.exchange(b"c")
        assert protocol.forgotten == [Token(3)]


async def test_queue_is_bounded(autojump_clock, internet, demands):
    """Who finds the queue full hears it at once."""
    async with opened(internet, demands, internet.tls(say()), Scripted(room=1)) as channel:
        exchanges = [channel.ask(message(1)) for _ in range(1 + MAX_QUEUE)]
        assert not channel.open
        with pytest.raises(ChannelClosed, match="takes no more queries"):
            channel.ask(message(1))
        for exchange in exchanges:
            channel.give_up(exchange)
        assert channel.open


async def test_worn_out_channel_is_not_open(autojump_clock, internet, demands):
    """No room although nothing is under way (ids lost to forgotten answers): it must be replaced."""
    protocol = Scripted(room=1)
    async with opened(internet, demands, internet.tls(say()), protocol) as channel:
        assert channel.open
        protocol.limit = 0
        assert not channel.open


async def test_retry_is_told_from_failure(autojump_clock, internet, demands):
    """What the peer surely did not process may be asked elsewhere: `ChannelClosed`; the rest is the peer's fault."""
    script = {1: [Failed(Token(1), "refused stream", retry=True), Failed(Token(2), "HTTP status 404", retry=False)]}
    async with opened(internet, demands, internet.tls(say(b"\1")), Scripted(script=script)) as channel:
        first, second = channel.ask(b"a"), channel.ask(b"b")
        with pytest.raises(ChannelClosed, match="refused stream"):
            await first.wait()
        with pytest.raises(ProtocolViolation, match="HTTP status 404"):
            await second.wait()
        assert channel.open


async def test_draining_channel_answers_and_ends(autojump_clock, internet, demands):
    """After GOAWAY: no new queries, the queued ones go elsewhere, those under way are answered, then it ends."""
    protocol = Scripted(room=1, script={1: [Draining()], 2: [Answered(Token(1), b"one")]})

    async def serve(server):
        await server.receive()
        await server.send(b"\1")
        await trio.sleep(1)
        await server.send(b"\2")
        await server.receive()

    async with opened(internet, demands, internet.tls(serve), protocol) as channel:
        under_way, queued = channel.ask(b"a"), channel.ask(b"b")
        with pytest.raises(ChannelClosed):
            await queued.wait()
        assert not channel.open
        assert channel.ended is None
        assert await under_way.answer() == b"one"
        await wait_all_tasks_blocked()
        assert channel.ended == ""
    assert internet.servers[0].machine.over  # we said close_notify


@pytest.mark.parametrize("busy", [True, False])
async def test_retired_channel_ends_when_it_is_idle(autojump_clock, internet, demands, busy):
    """A channel that was replaced answers what it owes and goes."""
    async with opened(internet, demands, internet.dot(lambda wire: wire, delay=0.5)) as channel:
        exchange = channel.ask(message(1)) if busy else None
        channel.retire()
        assert not channel.open
        if exchange:
            assert await exchange.wait() == message(1)
        await wait_all_tasks_blocked()
        assert channel.ended == ""


async def test_channel_that_was_retired_before_it_ran_ends(autojump_clock, internet, demands):
    """`run` of a channel that is over already returns, and closes."""
    async with trio.open_nursery() as internet.nursery:
        internet.handlers["127.0.0.1"] = internet.tls(say())
        channel = Channel(await dial(DOT, demands), DotProtocol(), timeout=4.0, silence=0.75)
        channel.retire()
        await channel.run()
        with pytest.raises(trio.ClosedResourceError):
            await channel.stream.send_all(b"x")


async def test_acknowledgements_are_written_without_a_query(autojump_clock, internet, demands):
    """What the protocol has to say because of what it received goes out at once."""
    protocol = Scripted(script={1: []})
    acknowledged = trio.Event()

    async def serve(server):
        await server.receive()
        await server.send(b"\1")
        assert await server.receive() == b"ack"
        acknowledged.set()

    receive = protocol.receive_data

    def receive_and_acknowledge(data):
        protocol.unsent += b"ack"
        return receive(data)

    protocol.receive_data = receive_and_acknowledge
    protocol.unsent = b"preface"
    async with opened(internet, demands, internet.tls(serve), protocol):
        with trio.fail_after(1):
            await acknowledged.wait()


async def test_acknowledgements_for_a_peer_that_does_not_read_stay_in_the_protocol(autojump_clock, internet, demands):
    """The protocol bounds what a peer can make us owe it; the channel keeps what one read brought, and no more."""
    protocol = Scripted(script={1: []})
    receive = protocol.receive_data

    def receive_and_acknowledge(data):
        protocol.unsent += b"ack"
        return receive(data)

    async def flood(server):
        await server.receive()
        for _ in range(100):
            await server.send(b"\1")
            await trio.sleep(0.01)

    async def held_back(_data):
        await trio.sleep_forever()

    protocol.receive_data = receive_and_acknowledge
    async with opened(internet, demands, internet.tls(flood), protocol) as channel:
        channel.ask(message(1))
        await wait_all_tasks_blocked()
        channel.stream._transport.send_all = held_back
        await trio.sleep(2)
        assert channel._unsent == [b"ack"]
        assert len(protocol.unsent) > 90 * len(b"ack")


async def test_write_that_fails_ends_the_channel(autojump_clock, internet, demands):
    """A connection that can be read but not written is over."""
    async with opened(internet, demands, internet.tls(say())) as channel:

        async def broken(_data):
            await trio.lowlevel.checkpoint()
            raise trio.BrokenResourceError("no route to host")

        channel.stream._transport.send_all = broken
        with pytest.raises(ChannelClosed, match="connection lost: no route to host"):
            await channel.exchange(message(1))
