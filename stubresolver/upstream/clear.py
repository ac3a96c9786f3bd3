"""Where plain DNS is written (RFC 1035 s4.2): one question, one server, UDP or TCP. Two doors lead here, and no third.

The law of this file: before each write the door is asked, with the very octets, whether these may leave now; and each
query that is written is counted in `SENT`, here and nowhere else, before it is. So what `SENT` says is what this
process has told in clear. It knows no zone, no person and no second server: `upstream.plain` and `upstream.portal` do.

Against answers that somebody else sends (RFC 5452): each attempt has a socket and so a port of its own, which is
connected, so that the kernel drops what comes from elsewhere; id, question, QR and opcode are compared, and what
differs is passed over. Who guesses too often has the question asked over TCP.
"""

import socket
from ipaddress import IPv6Address
from typing import Final, Protocol

import trio

from stubresolver.upstream.server import PlainServer
from stubresolver.wire.codes import FORMERR, NOTIMP, OPCODE, QR, RCODE, TC
from stubresolver.wire.framing import FrameReader, frame
from stubresolver.wire.names import after_name

_STRANGERS: Final = 32  # datagrams that are no answer before TCP is tried: 1 in 2,000 of all ids
_DATAGRAM: Final = 65_535


class Door(Protocol):
    """Whoever answers for what leaves."""

    def let_out(self, wire: bytes) -> None:
        """Called in the moment before this query is written; raises `Unanswered` if it may not be."""


class Unanswered(Exception):
    """One attempt brought no answer; the text says why."""


class Sent:
    """How many queries this process has written in clear since it was started."""

    def __init__(self) -> None:
        self.queries = 0


SENT: Final = Sent()


async def ask_once(server: PlainServer, wire: bytes, door: Door) -> bytes:
    """The answer of one server to one query; raises `Unanswered`, OSError or `trio.BrokenResourceError`."""
    return await (_over_tcp if server.tcp else _over_udp)(server, wire, door)


def socket_address(server: PlainServer) -> tuple[str, int] | tuple[str, int, int, int]:
    """The server for `connect`; raises OSError for an interface that is not there."""
    address = server.address
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        host = str(IPv6Address(int(address)))
        return host, server.port, 0, socket.if_nametoindex(address.scope_id)
    return str(address), server.port


def answers(answer: bytes, wire: bytes) -> bool:
    """Whether this is the answer to that query (RFC 5452 s9.1): id, QR, opcode, question; letter case is the server's.

    A server that could not read the question need not repeat it: then the id alone counts, and nothing is believed.
    """
    if len(answer) < 12 or answer[:2] != wire[:2] or answer[2] & (QR | OPCODE) != QR:
        return False
    if answer[4:6] == b"\0\0":
        return answer[3] & RCODE in (FORMERR, NOTIMP) and answer[6:8] == b"\0\0"
    end = after_name(wire, 12)
    name, fields = slice(12, end), slice(end, end + 4)
    return answer[4:6] == b"\0\1" and answer[name].lower() == wire[name].lower() and answer[fields] == wire[fields]


def _let_out(wire: bytes, door: Door) -> None:
    """The only way to a write."""
    door.let_out(wire)
    SENT.queries += 1


async def _over_udp(server: PlainServer, wire: bytes, door: Door) -> bytes:
    """Send one datagram, take its answer; over TCP where that is truncated, or where somebody guesses."""
    with _socket(server, socket.SOCK_DGRAM) as sock:
        await sock.connect(socket_address(server))
        _let_out(wire, door)
        await sock.send(wire)
        for _ in range(_STRANGERS):
            answer = await sock.recv(_DATAGRAM)
            if answers(answer, wire):
                break
        else:
            return await _over_tcp(server, wire, door)
    return await _over_tcp(server, wire, door) if answer[2] & TC else answer


async def _over_tcp(server: PlainServer, wire: bytes, door: Door) -> bytes:
    """One connection for one query: RFC 7766 s8, length and message in one write."""
    with _socket(server, socket.SOCK_STREAM) as sock:
        await sock.connect(socket_address(server))
        stream, reader = trio.SocketStream(sock), FrameReader()
        _let_out(wire, door)
        await stream.send_all(frame(wire))
        while data := await stream.receive_some():
            for answer in reader.feed(data):
                if not answers(answer, wire):
                    raise Unanswered("the answer to another question over TCP")
                return answer
    raise Unanswered("the connection was closed without an answer")


def _socket(server: PlainServer, kind: socket.SocketKind) -> trio.socket.SocketType:
    """A socket whose port the kernel picks when it is connected, at random (RFC 5452 s9.2, RFC 6056)."""
    return trio.socket.socket(socket.AF_INET6 if server.address.version == 6 else socket.AF_INET, kind)
