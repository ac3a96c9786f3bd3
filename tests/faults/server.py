"""An upstream with a valid certificate, or any other, that answers as it is told while it runs.

DoT and DoH over the lab's TLS machine and conversations; beside a good server it can be late, fail, lose queries, lie
about the question, answer twice or unasked, and end its connections in order, by close_notify or GOAWAY. The resolver's
own code has no part in it. `Tally` says what has reached it.
"""

import functools
import math
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio
from hyperframe.frame import GoAwayFrame

from stubresolver.lab.authority import Credential
from stubresolver.lab.conversations import Behaviour, Conversation, Desk, DotConversation, Tally
from stubresolver.lab.doh import DohConversation
from stubresolver.lab.tls import TLSFailed, TLSServer, server_context
from tests.faults.answers import answer, question_end

_READ = 65536
_LARGEST = 1232  # octets over UDP; DNS flag day 2020
_HEADER = 12


@dataclass(slots=True)
class Manners:
    """How a server answers, until it changes."""

    delay: float = 0.0  # seconds before an answer
    rcode: int = 0  # instead of an answer, unless it is 0
    silent: bool = False  # takes queries and never answers
    lose: int = 0  # of so many queries in a row the last one is never answered; 0 for none
    lie: bool = False  # an answer to another question
    copies: int = 1  # of each answer; DoT alone: an HTTP/2 stream carries one
    unasked: bool = False  # before each answer, one with another id and question; DoT alone
    reorder: int = 1  # waits for so many queries, then answers the last one first


@dataclass(eq=False)
class Server:
    """One place that is asked; several connections at once."""

    credential: Credential
    transport: str  # "dot" or "doh"
    manners: Manners = field(default_factory=Manners)
    tally: Tally = field(default_factory=Tally)
    _speakers: set["_Speaker"] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._context = server_context(self.credential, b"dot" if self.transport == "dot" else b"h2")

    async def handle(self, stream: trio.SocketStream) -> None:
        """One connection, until the client or we end it."""
        self.tally.connections += 1
        speaker = _Speaker(stream, TLSServer(self._context), self._converse())
        self._speakers.add(speaker)
        try:
            async with trio.open_nursery() as nursery:
                heard, said = trio.open_memory_channel[tuple[float, bytes]](math.inf)
                nursery.start_soon(self._answer, speaker, said)
                await self._listen(speaker, heard)
                nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client has gone
        finally:
            self._speakers.discard(speaker)
            await trio.aclose_forcefully(stream)

    async def part(self, how: str) -> int:
        """End every connection: "close_notify", or "goaway" and then nothing; how many there were."""
        speakers = tuple(self._speakers)
        for speaker in speakers:
            if how == "goaway":
                await speaker.say(bytes(GoAwayFrame(0, last_stream_id=0).serialize()))
            else:
                await speaker.close()
        return len(speakers)

    def _converse(self) -> Conversation:
        desk = _Desk(answer, Behaviour(), self.tally, manners=self.manners)
        return DotConversation(desk) if self.transport == "dot" else DohConversation(desk, "/dns-query")

    async def _listen(self, speaker: "_Speaker", heard: trio.MemorySendChannel[tuple[float, bytes]]) -> None:
        while data := await speaker.stream.receive_some(_READ):
            was_established = speaker.tls.established
            try:
                plaintext = speaker.tls.receive_data(data)
            except TLSFailed:
                await speaker.flush()  # the alert
                return
            self.tally.handshakes += speaker.tls.established and not was_established
            self.tally.application_octets += len(plaintext)
            await speaker.flush()
            if plaintext or (speaker.tls.established and not was_established):
                heard.send_nowait((trio.current_time() + self.manners.delay, plaintext))
            if speaker.tls.closed:
                return

    async def _answer(self, speaker: "_Speaker", said: trio.MemoryReceiveChannel[tuple[float, bytes]]) -> None:
        """Take what was said when its time has come, in its order: a stream in another one is garbage."""
        async for due, plaintext in said:
            await trio.sleep_until(due)
            await speaker.say(speaker.conversation.receive_data(plaintext))


@dataclass(eq=False)
class _Speaker:
    """One connection; what is said leaves in the order in which it was encrypted."""

    stream: trio.SocketStream
    tls: TLSServer
    conversation: Conversation
    _closed: bool = False
    _turn: trio.Lock = field(default_factory=trio.Lock)

    async def say(self, plaintext: bytes) -> None:
        """Send it, encrypted; nothing after our close_notify, which a fault may send before a late answer."""
        if not self._closed:
            self.tls.send(plaintext)
            await self.flush()

    async def close(self) -> None:
        """Say close_notify, and FIN."""
        self._closed = True
        self.tls.close()
        await self.flush()
        await self.stream.send_eof()

    async def flush(self) -> None:
        """Write what the TLS machine has to say."""
        async with self._turn:
            if octets := self.tls.data_to_send():
                await self.stream.send_all(octets)


@dataclass(slots=True, kw_only=True)
class _Desk(Desk):
    """The lab's desk with the manners of the moment."""

    manners: Manners

    def take(self, ticket: int, query: bytes) -> list[tuple[int, bytes]]:
        manners = self.manners
        self.taken += 1
        self.tally.queries += 1
        if manners.silent or (manners.lose and self.taken % manners.lose == 0):
            return []
        reply = answer(query, manners.rcode)
        if manners.lie:
            reply = _other(reply)
        replies = [(ticket, reply)] * manners.copies
        if manners.unasked:
            replies.insert(0, (ticket, (int.from_bytes(reply[:2]) ^ 0x5A5A).to_bytes(2) + _other(reply)[2:]))
        self.held += replies
        if len(self.held) < manners.reorder:
            return []
        ready, self.held = self.held[::-1] if manners.reorder > 1 else self.held, []
        return ready


def _other(reply: bytes) -> bytes:
    """The same answer to another question: the last letter of its name, before the type, is another."""
    octets = bytearray(reply)
    end = question_end(reply) - 5
    octets[end - 1] ^= 1
    return bytes(octets)


def talker(octets: bytes) -> Callable[[trio.SocketStream], Awaitable[None]]:
    """A server that says this at the first word it hears, as the web server of a captive portal would."""

    async def handle(stream: trio.SocketStream) -> None:
        try:
            if await stream.receive_some(_READ):
                await stream.send_all(octets)
        except trio.BrokenResourceError:
            pass
        finally:
            await trio.aclose_forcefully(stream)

    return handle


async def serve_plain(place: tuple[str, int], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Plain DNS over UDP and TCP: behind another program's TLS, or as a network's own server."""
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        await udp.bind(place)
        async with trio.open_nursery() as nursery:
            await nursery.start(functools.partial(trio.serve_tcp, _answer_plain, place[1], host=place[0]))
            task_status.started()
            while True:
                query, client = await udp.recvfrom(_READ)
                reply = answer(query)
                truncated = reply[:2] + bytes((reply[2] | 2, reply[3])) + reply[4:6] + bytes(6)
                await udp.sendto(
                    reply if len(reply) <= _LARGEST else truncated + reply[_HEADER : question_end(reply)], client
                )


async def _answer_plain(stream: trio.SocketStream) -> None:
    buffer = b""
    try:
        while data := await stream.receive_some(_READ):
            buffer += data
            while len(buffer) >= (end := 2 + int.from_bytes(buffer[:2])) > 2:
                reply = answer(buffer[2:end])
                buffer = buffer[end:]
                await stream.send_all(len(reply).to_bytes(2) + reply)
    except trio.BrokenResourceError:
        pass
