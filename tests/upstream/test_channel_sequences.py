"""Any sequence of asking, giving up, answering, failing and waiting: to each its own answer, and nothing left over."""

from dataclasses import dataclass, field

import trio
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, StreamEnded, StreamReset
from h2.exceptions import H2Error
from hyperframe.frame import GoAwayFrame
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from stubresolver.errors import UpstreamError
from stubresolver.transport.doh import DohProtocol
from stubresolver.transport.dot import DotProtocol
from stubresolver.upstream.channel import Channel
from stubresolver.wire.framing import FrameReader, frame

NUMBERS = st.integers(0, 12)
STEPS = st.one_of(
    st.tuples(st.just("ask"), NUMBERS),
    st.tuples(st.just("ask"), NUMBERS),
    st.tuples(st.just("answer"), NUMBERS),
    st.tuples(st.just("answer"), NUMBERS),
    st.tuples(st.just("give up"), NUMBERS),
    st.tuples(st.just("reset"), NUMBERS),
    st.tuples(st.just("hold back"), NUMBERS),
    st.tuples(st.just("let through"), NUMBERS),
    st.tuples(st.just("wait"), st.sampled_from([0, 1, 5])),
    st.tuples(st.sampled_from(["turn"] * 3 + ["goaway", "repeat", "close", "cut", "retire", "abandon"]), NUMBERS),
)


class Wire:
    """A verified stream without TLS: what the channel reads and writes are lists."""

    upstream = "the upstream"
    violated = False

    def __init__(self) -> None:
        self.arrives: trio.MemorySendChannel
        self.arrives, self._arriving = trio.open_memory_channel(1000)
        self.written: list[bytes] = []
        self.may_write = trio.Event()
        self.may_write.set()
        self.closed = False

    async def receive_some(self) -> bytes:
        data = await self._arriving.receive()
        if data is None:
            raise trio.BrokenResourceError("cut")
        return data

    async def send_records(self, pieces) -> None:
        await self.may_write.wait()
        self.written += pieces
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()


class DotServer:
    """Owes answers and gives them in any order."""

    def __init__(self) -> None:
        self.reader, self.owed = FrameReader(), []

    def take(self, data: bytes) -> bytes:
        self.owed += self.reader.feed(data)
        return b""

    def answer(self, number: int) -> bytes:
        return frame(_answer(self.owed.pop(number % len(self.owed)))) if self.owed else b""

    def repeat(self, number: int) -> bytes:
        return frame(_answer(self.owed[number % len(self.owed)])) if self.owed else b""

    def reset(self, _number: int) -> bytes:
        return b""

    def goaway(self) -> bytes:
        return b""


class DohServer:
    """The same over HTTP/2; what it has to say for itself goes out with each turn."""

    def __init__(self) -> None:
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self.h2.initiate_connection()
        self.owed, self.bodies = [], {}

    def take(self, data: bytes) -> bytes:
        for event in self.h2.receive_data(data):
            if isinstance(event, DataReceived):
                self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
            elif isinstance(event, StreamEnded):
                self.owed.append(event.stream_id)
            elif isinstance(event, StreamReset) and event.stream_id in self.owed:
                self.owed.remove(event.stream_id)
        return self.h2.data_to_send()

    def answer(self, number: int, *, keep: bool = False) -> bytes:
        if not self.owed:
            return b""
        stream = self.owed[number % len(self.owed)] if keep else self.owed.pop(number % len(self.owed))
        fields = [(b":status", b"503" if number == 9 else b"200"), (b"content-type", b"application/dns-message")]
        try:
            self.h2.send_headers(stream, fields)
            self.h2.send_data(stream, _answer(self.bodies[stream]), end_stream=not keep)
        except H2Error:
            return b""
        return self.h2.data_to_send()

    def repeat(self, number: int) -> bytes:
        return self.answer(number, keep=True)

    def reset(self, number: int) -> bytes:
        if not self.owed:
            return b""
        self.h2.reset_stream(
            self.owed.pop(number % len(self.owed)), ErrorCodes.REFUSED_STREAM if number % 2 else ErrorCodes.CANCEL
        )
        return self.h2.data_to_send()

    def goaway(self) -> bytes:
        last = max(self.owed, default=0)
        return bytes(GoAwayFrame(0, last_stream_id=last).serialize())


def _answer(query: bytes) -> bytes:
    """What only the answer to this question can be."""
    return query[:12] + query[12:].upper()


@dataclass
class Play:
    """One channel, its server, and everybody who ever asked."""

    channel: Channel
    wire: Wire
    server: DotServer | DohServer
    asked: list = field(default_factory=list)  # (exchange, what its answer must be)
    woken: list = field(default_factory=list)
    given_up: list = field(default_factory=list)
    rest: bytes = b""  # of what the server said and the network still holds

    def carry(self, said: bytes, *, hold: bool = False) -> None:
        """Both ways, as far as the network lets through."""
        written, self.wire.written = self.wire.written, []
        self.rest += said + (self.server.take(b"".join(written)) if written else b"")
        if self.rest and not hold:
            self.wire.arrives.send_nowait(self.rest)
            self.rest = b""

    async def step(self, what: str, number: int) -> None:
        """Do one thing, and let everybody react."""
        match what:
            case "ask" if self.channel.open:
                text = b"%d-%d" % (len(self.asked), number)
                wire = number.to_bytes(2) + bytes(10) + b"question " + text
                self.asked.append((self.channel.ask(wire, self.woken.append), _answer(wire)))
            case "give up":
                waiting = [each for each, _ in self.asked if each.result is None and each not in self.given_up]
                if waiting and self.channel.ended is None:
                    exchange = waiting[number % len(waiting)]
                    self.given_up.append(exchange)
                    self.channel.give_up(exchange)
            case "answer" | "repeat" | "reset":
                self.carry(getattr(self.server, what)(number))
            case "goaway":
                self.carry(self.server.goaway())
            case "hold back":
                self.carry(self.server.answer(number), hold=True)
                if len(self.rest) > 3:  # the network delivers an answer in two pieces
                    self.wire.arrives.send_nowait(self.rest[:3])
                    self.rest = self.rest[3:]
            case "wait":
                await trio.sleep(number)
            case "close" | "cut":
                self.wire.arrives.send_nowait(b"" if what == "close" else None)
            case "retire":
                self.channel.retire()
            case "abandon":
                self.channel.abandon("abandoned")
            case _:
                self.carry(b"")
        await wait_all_tasks_blocked()


async def play(protocol, server, steps) -> None:
    """Carry the steps out, wait until every query's time is over, and look at what is left."""
    wire = Wire()
    channel = Channel(wire, protocol, timeout=4.0, silence=0.75)
    play = Play(channel, wire, server)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.run)
        await wait_all_tasks_blocked()
        for what, number in steps:
            await play.step(what, number)
        await trio.sleep(5)
        assert channel.outstanding == 0
        for exchange, answer in play.asked:
            if exchange in play.given_up:
                assert exchange.result is None
            else:
                assert exchange.result == answer or isinstance(exchange.result, UpstreamError)
                assert play.woken.count(exchange) in {1, 2, 3}  # the ones more: told that it is overdue, of the silence
        if channel.ended is None:
            _assert_idle(protocol)
        nursery.cancel_scope.cancel()
    assert wire.closed
    assert channel.ended is not None


def _assert_idle(protocol) -> None:
    """No slot is kept for anybody; ids of DoT only for answers that may still come, to nobody."""
    if isinstance(protocol, DotProtocol):
        assert set(protocol._owed.values()) <= {None}
        assert protocol._forgotten == len(protocol._owed)
    else:
        assert (protocol._exchanges, protocol._held) == ({}, set())


@settings(max_examples=120, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_dot(steps):
    """RFC 7766 s7: answers are matched by id, whatever was forgotten, repeated or cut in between."""
    trio.run(play, DotProtocol(), DotServer(), steps, clock=MockClock(autojump_threshold=0))


@settings(max_examples=120, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_doh(steps):
    """RFC 9113 s5: answers are matched by stream."""
    trio.run(play, DohProtocol("dns.test", "/"), DohServer(), steps, clock=MockClock(autojump_threshold=0))
