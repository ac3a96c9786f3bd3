"""A TCP relay that does to connections what bad networks do, told so while it runs. No TLS in here, no DNS.

Each `Route` listens at one address and carries octets to one target. What it does to them is a `Weather`; what happens
once, to the connections that stand, is one of the words of `Route.strike`:

    fin, rst        both ends see the connection closed in order, or reset
    deafen          half-open: whatever comes from now on is swallowed, and nothing is closed
    alert           a fatal alert in clear where a TLS record should be, towards the resolver (RFC 8446 s6)
    garbage         the same towards the server, whose TLS library answers with an alert of its own

TCP hides loss: a lost segment is one that comes late, with all that follow it. That is `stall`.
"""

import contextlib
import random
import socket
import struct
import time
from dataclasses import dataclass, field

import trio

_READ = 65536
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no seconds: close() sends RST (tcp(7))
_ALERT = bytes.fromhex("15 0303 0002 0250")  # fatal internal_error


@dataclass(slots=True)
class Weather:
    """What happens to octets on their way, until it changes."""

    lag: float = 0.0  # seconds that every piece takes, each way
    stall: float = 0.0  # the share of pieces that come `late`, and hold up what follows
    late: float = 0.25  # seconds; RFC 6298 s2.4 has at least one second, Linux sends again after 0.2
    piece: int = _READ  # octets per piece; 1: one at a time
    swallow: bool = False  # new connections are accepted and never hear a word


class _Pieces:
    """Octets on their way, each due at its own time."""

    def __init__(self, most: int) -> None:
        self.send, self.receive = trio.open_memory_channel[tuple[float, bytes]](most)

    def push(self, octets: bytes) -> None:
        """Add these, due at once, where there is room and somebody to take them."""
        with contextlib.suppress(trio.WouldBlock, trio.ClosedResourceError, trio.BrokenResourceError):
            self.send.send_nowait((0.0, octets))


@dataclass(slots=True, eq=False)
class Link:
    """One connection from the resolver, and the one to the target; each with what is on its way to it."""

    near: trio.SocketStream
    far: trio.SocketStream
    deaf: bool
    to_near: _Pieces = field(default_factory=lambda: _Pieces(256))
    to_far: _Pieces = field(default_factory=lambda: _Pieces(256))


@dataclass(slots=True, eq=False)
class Route:
    """One address that is listened at."""

    target: tuple[str, int]
    weather: Weather = field(default_factory=Weather)
    accepted: list[float] = field(default_factory=list)  # when, in seconds of CLOCK_MONOTONIC
    links: set[Link] = field(default_factory=set)
    dice: random.Random = field(default_factory=lambda: random.Random(6))  # noqa: S311 - loss, no secret

    async def handle(self, near: trio.SocketStream) -> None:
        """Carry one connection until either end, or a strike, ends it."""
        self.accepted.append(time.monotonic())
        try:
            far = await trio.open_tcp_stream(*self.target)
        except OSError:
            _reset(near)  # nobody there: what a kernel would say
            return
        link = Link(near, far, self.weather.swallow)
        self.links.add(link)
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            async with trio.open_nursery() as nursery:
                for source, pieces in ((near, link.to_far), (far, link.to_near)):
                    nursery.start_soon(self._take, link, source, pieces, nursery.cancel_scope)
                for pieces, sink in ((link.to_far, far), (link.to_near, near)):
                    nursery.start_soon(_deliver, link, pieces, sink, nursery.cancel_scope)
        finally:
            self.links.discard(link)
            for stream in (near, far):
                await trio.aclose_forcefully(stream)

    def strike(self, what: str) -> int:
        """Do this to every connection that stands; to how many."""
        struck = tuple(self.links)
        for link in struck:
            match what:
                case "fin":
                    link.near.socket.shutdown(socket.SHUT_WR)
                case "rst":
                    _reset(link.near)
                case "deafen":
                    link.deaf = True
                case "alert":
                    link.to_near.push(_ALERT)
                case "garbage":
                    link.to_far.push(bytes(64))
                case _:
                    raise ValueError(f"{what!r} is no strike")
        return len(struck)

    async def _take(self, link: Link, source: trio.SocketStream, pieces: _Pieces, end: trio.CancelScope) -> None:
        """One direction: what comes is due at its own time, but not before what is ahead of it."""
        try:
            while data := await source.receive_some(_READ):
                if link.deaf:
                    continue
                for piece in _cut(data, self.weather.piece):
                    await pieces.send.send((trio.current_time() + self._takes(), piece))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            end.cancel()
            return
        if not link.deaf:
            pieces.send.close()
        elif source is link.near:  # a deaf link keeps its server's farewell to itself, and ends with the resolver's
            end.cancel()

    def _takes(self) -> float:
        weather = self.weather
        return weather.lag + (weather.late if weather.stall and self.dice.random() < weather.stall else 0.0)


async def _deliver(link: Link, pieces: _Pieces, sink: trio.SocketStream, end: trio.CancelScope) -> None:
    """The other half of a direction; at its end the other side hears of it, too."""
    try:
        async for due, piece in pieces.receive:
            await trio.sleep_until(due)
            if not link.deaf:
                await sink.send_all(piece)
        await sink.send_eof()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        end.cancel()


def _cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def _reset(stream: trio.SocketStream) -> None:
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    stream.socket.close()
