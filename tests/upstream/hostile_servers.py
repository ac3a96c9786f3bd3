"""Upstreams that have a good certificate, or pretend to, and then do their worst. Reusable: `HOSTILE`, `listen`.

Each is a value: which transport it speaks, what it does with a connection, and what the client's log says in the end. A
server here sends until the client closes, or until it has sent `ENOUGH`, which no test lets it.
"""

import queue
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

import trio
from OpenSSL import SSL

from stubresolver.lab.authority import Credential
from stubresolver.lab.tls import TLSFailed, TLSServer, server_context
from tests.transport.floods import FLOODS, HEADERS, OK, PING, SETTINGS, TLS_FLOODS, frame
from tests.transport.records import (
    APPLICATION_SECRET,
    HANDSHAKE,
    HANDSHAKE_SECRET,
    Forger,
    count_records,
    watch_secrets,
)

ENOUGH = 256 << 20
_READ = 64 * 1024
_HELLO_RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")  # RFC 8446 s4.1.3


class Gone(Exception):
    """The client has closed."""


@dataclass
class Tally:
    """What became of a server's connections."""

    connections: int = 0
    sent: int = 0  # octets that the system took
    left: int = 0  # connections that the client has closed


@dataclass
class Peer:
    """One connection, from the hostile side."""

    stream: trio.abc.Stream
    context: SSL.Context
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        self.secrets = watch_secrets(self.context)
        self.tls = TLSServer(self.context)
        self._early = b""  # what came with the end of the handshake

    async def shake_hands(self) -> None:
        """An honest handshake."""
        while not self.tls.established:
            self._early = self.tls.receive_data(await self.receive())
            if not self.tls.established:
                await self.send(self.tls.data_to_send())

    async def read(self) -> bytes:
        """What the client says next."""
        plaintext, self._early = self._early, b""
        while not plaintext:
            plaintext = self.tls.receive_data(await self.receive())
            if self.tls.closed:
                raise Gone
        return plaintext

    async def say(self, plaintext: bytes) -> None:
        """Encrypt and send."""
        self.tls.send(plaintext)
        await self.send(self.tls.data_to_send())

    async def send(self, octets: bytes) -> None:
        """Send as it is."""
        try:
            await self.stream.send_all(octets)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Gone from None
        self.tally.sent += len(octets)

    async def flood(self, make: Callable[[], bytes]) -> None:
        """Send without end what `make` makes."""
        while self.tally.sent < ENOUGH:
            await self.send(make())

    async def listen(self) -> None:
        """Take what the client sends, and do nothing with it."""
        while True:
            await self.receive()

    def forger(self) -> tuple[bytes, Forger]:
        """What the handshake left to be sent, and who makes our records from then on."""
        tail = self.tls.data_to_send()
        return tail, Forger(self.secrets[APPLICATION_SECRET], count_records(tail))

    async def receive(self) -> bytes:
        """Octets as they come."""
        try:
            data = bytes(await self.stream.receive_some(_READ))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Gone from None
        if not data:
            raise Gone
        return data


@dataclass(frozen=True)
class Hostile:
    """One way to misbehave."""

    transport: str  # "tls" or "https"
    reason: str  # what is said of the connection's end (a regular expression); "" where it is only left for silence
    act: Callable[[Peer], Awaitable[None]]
    handshake: bool = True  # it is completed honestly

    async def serve(self, credential: Credential, stream: trio.abc.Stream, tally: Tally | None = None) -> None:
        """Misbehave on one connection until the client has closed it."""
        alpn = b"h2" if self.transport == "https" else b"dot"
        peer = Peer(stream, server_context(credential, alpn), tally or Tally())
        peer.tally.connections += 1
        try:
            if self.handshake:
                await peer.shake_hands()
            await self.act(peer)
            await peer.listen()
        except (Gone, TLSFailed, SSL.Error):  # the last: OpenSSL has seen the client's alert
            peer.tally.left += 1
        finally:
            await trio.aclose_forcefully(stream)


@contextmanager
def elsewhere(hostile: Hostile, credential: Credential, tally: Tally) -> Iterator[int]:
    """The port where it is served, in a thread of its own: what it works is not our work."""
    told: queue.SimpleQueue[tuple[int, trio.lowlevel.TrioToken, trio.CancelScope]] = queue.SimpleQueue()

    async def serve() -> None:
        async with trio.open_nursery() as nursery:
            port = await nursery.start(partial(listen, hostile, credential, tally=tally))
            told.put((port, trio.lowlevel.current_trio_token(), nursery.cancel_scope))

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    port, token, scope = told.get()
    try:
        yield port
    finally:
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(scope.cancel)
        thread.join()


async def listen(
    hostile: Hostile,
    credential: Credential,
    host: str = "127.0.0.1",
    port: int = 0,
    tally: Tally | None = None,
    *,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; `nursery.start` gives the port."""
    tally = tally or Tally()

    async def handle(stream: trio.SocketStream) -> None:
        await hostile.serve(credential, stream, tally)

    listeners = await trio.open_tcp_listeners(port, host=host)
    task_status.started(listeners[0].socket.getsockname()[1])
    await trio.serve_listeners(handle, listeners)


def _frames(unit: bytes) -> Callable[[Peer], Awaitable[None]]:
    """HTTP/2: two queries are taken, one answer is begun, then the same frame again and again."""

    async def act(peer: Peer) -> None:
        await _requests(peer, 2)
        await peer.say(frame(SETTINGS) + frame(HEADERS, OK, flags=4, stream=1))
        octets = unit * (16384 // len(unit) + 1)

        def make() -> bytes:
            peer.tls.send(octets)
            return peer.tls.data_to_send()

        await peer.flood(make)

    return act


async def _requests(peer: Peer, wanted: int) -> None:
    """Read until so many HEADERS frames have come."""
    octets = await peer.read()
    while True:
        at, found = 24, 0  # RFC 9113 s3.4: the preface has 24 octets
        while at + 9 <= len(octets):
            found += octets[at + 3] == HEADERS
            at += 9 + int.from_bytes(octets[at : at + 3])
        if found >= wanted:
            return
        octets += await peer.read()


def _records(make: Callable[[Forger, int], bytes]) -> Callable[[Peer], Awaitable[None]]:
    """TLS: after the first query, 80 KiB of the same record."""

    async def act(peer: Peer) -> None:
        tail, forger = peer.forger()
        await peer.send(tail)
        octets = bytearray()
        while len(octets) < 80 * 1024:  # before, for forging is slow
            octets += make(forger, len(octets))
        await peer.read()
        await peer.send(bytes(octets))

    return act


def _instead(octets: bytes) -> Callable[[Peer], Awaitable[None]]:
    """Instead of TLS: the same octets again and again."""

    async def act(peer: Peer) -> None:
        await peer.flood(lambda: octets)

    return act


def _after_query(octets: bytes, pause: float = 0.0) -> Callable[[Peer], Awaitable[None]]:
    """DoT: these octets after the first query, in one piece or one by one."""

    async def act(peer: Peer) -> None:
        await peer.read()
        for at in range(len(octets)) if pause else ():
            await peer.say(octets[at : at + 1])
            await trio.sleep(pause)
        if not pause:
            await peer.say(octets)

    return act


async def _duplicate(peer: Peer) -> None:
    """DoT: the first query is echoed as an answer, twice."""
    query = await peer.read()
    wire = query[: 2 + int.from_bytes(query[:2])]
    answer = wire[:4] + b"\x80" + wire[5:]
    await peer.say(answer + answer)


async def _unasked(peer: Peer) -> None:
    """DoT: an answer to a query that was never asked, perhaps before any was."""
    await peer.say(b"\0\x0c\xff\xff" + bytes(10))


async def _deaf(_peer: Peer) -> None:
    """Reads nothing more, and says nothing."""
    await trio.sleep_forever()


async def _silent(_peer: Peer) -> None:
    """Reads, and says nothing."""


def _settings(values: bytes, again: bytes = b"") -> Callable[[Peer], Awaitable[None]]:
    """HTTP/2: settings with which nothing can be asked, and perhaps something alive beside them, now and then."""

    async def act(peer: Peer) -> None:
        await peer.say(frame(SETTINGS, values))
        while again:
            await peer.say(again)
            await trio.sleep(0.02)

    return act


async def _trickled_handshake(peer: Peer) -> None:
    """The server's flight, octet by octet."""
    peer.tls.receive_data(await peer.receive())
    for octet in peer.tls.data_to_send():
        await peer.send(bytes((octet,)))
        await trio.sleep(0.01)


async def _retry_for_ever(peer: Peer) -> None:
    """HelloRetryRequest (RFC 8446 s4.1.4), as often as the client says hello."""
    while True:
        hello = await peer.receive()
        session = hello[44 : 44 + hello[43]]
        extensions = b"\0\x2b\0\2\3\4" + b"\0\x33\0\2\0\x17"  # TLS 1.3; a key share of P-256, please
        body = b"\3\3" + _HELLO_RETRY + bytes((len(session),)) + session + b"\x13\1\0"
        body += len(extensions).to_bytes(2) + extensions
        message = b"\2" + len(body).to_bytes(3) + body
        await peer.send(b"\x16\3\3" + len(message).to_bytes(2) + message)


async def _long_chain(peer: Peer) -> None:
    """16 MiB of certificates: as many as a Certificate message can hold (RFC 8446 s4.4.2)."""
    peer.tls.receive_data(await peer.receive())
    flight = peer.tls.data_to_send()
    end = 0
    for _ in range(3):  # ServerHello, ChangeCipherSpec, EncryptedExtensions
        end += 5 + int.from_bytes(flight[end + 3 : end + 5])
    forger = Forger(peer.secrets[HANDSHAKE_SECRET], 1)
    await peer.send(flight[:end] + forger.record(b"\x0b\xff\xff\xff\0\xff\xff\xfb", HANDSHAKE))
    await peer.flood(lambda: forger.record(bytes(16384), HANDSHAKE))


HOSTILE: dict[str, Hostile] = {
    "endless server hello": Hostile(
        "tls", "excessive message size", _instead(b"\x16\3\3\x40\0\2\xff\xff\xff" + bytes(16380)), handshake=False
    ),
    "endless change of cipher": Hostile("tls", "TLS handshake failed", _instead(b"\x14\3\3\0\1\1" * 2000), False),
    "endless warnings": Hostile("tls", "TLS handshake failed", _instead(b"\x15\3\3\0\2\1\x5a" * 2000), False),
    "plaintext flood": Hostile("tls", "TLS handshake failed", _instead(b"HTTP/1.1 200 OK\r\n" * 4000), False),
    "trickled handshake": Hostile("tls", "", _trickled_handshake, handshake=False),
    "hello retry for ever": Hostile("tls", "TLS handshake failed: unexpected message", _retry_for_ever, False),
    "chain of 16 MiB": Hostile("tls", "TLS handshake failed: excessive message size", _long_chain, handshake=False),
    **{f"tls {name}": Hostile("tls", reason, _records(make)) for name, (make, reason) in TLS_FLOODS.items()},
    **{f"h2 {name}": Hostile("https", reason, _frames(unit)) for name, (unit, reason) in FLOODS.items()},
    "dot unasked answer": Hostile("tls", "protocol violation", _unasked),
    "dot answer to another id": Hostile("tls", "which no query bears", _after_query(b"\0\x0c\xff\xff" + bytes(10))),
    "dot empty message": Hostile("tls", "got a message of 0 octets", _after_query(b"\0\0")),
    "dot short message": Hostile("tls", "got a message of 11 octets", _after_query(b"\0\x0b" + bytes(11))),
    "dot duplicate answer": Hostile("tls", "protocol violation", _duplicate),
    "dot message without end": Hostile("tls", "", _after_query(b"\xff\xff" + bytes(4000), 0.002)),
    "dot silent": Hostile("tls", "", _silent),
    "dot deaf": Hostile("tls", "", _deaf),
    "h2 silent": Hostile("https", "", _silent),
    "h2 shut window": Hostile("https", "", _settings(b"\0\4\0\0\0\0")),
    "h2 shut window and pings": Hostile("https", "", _settings(b"\0\4\0\0\0\0", frame(PING, bytes(8)))),
    "h2 no streams": Hostile("https", "", _settings(b"\0\3\0\0\0\0")),
    "h2 limits that change": Hostile(
        "https", "", _settings(b"\0\4\0\0\0\0", frame(SETTINGS, b"\0\3\0\0\0\5") + frame(SETTINGS, b"\0\3\0\0\0\6"))
    ),
}
"""Name: what it does. A test may leave some out, never add a case of its own: they belong here."""
