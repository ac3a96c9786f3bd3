"""DNS over UDP: the drain loop (RFC 1035 s4.2.1).

- One task, one checkpoint a turn: wait until the socket is readable, then take up to `BATCH` datagrams. No task and no
  waiting per datagram: an answer at hand leaves at once, any other when `answer_soon` calls back.
- `BATCH` bounds a turn, so that a flood cannot starve the other tasks.
- Nothing that a client sends and nothing that `sendto` says ends the loop: what cannot be sent is dropped and counted,
  as the network itself may drop any datagram.
- The socket belongs to the caller. Answers that were promised can still leave after `serve` has ended, until the
  caller closes it.
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import trio

from stubresolver.errors import MalformedQuery
from stubresolver.serve.answers import Answers
from stubresolver.wire.query import Query, malformed_reply

BATCH = 64  # at about 6 µs a cached answer, others wait for less than half a millisecond

# A query is a header, a question of at most 259 octets and an OPT: even padded by the block (RFC 8467 s4.1) it has no
# use for more than this. What is larger is cut by the kernel, counts as malformed and gets no answer.
MAX_DATAGRAM = 4096

_IP_PKTINFO = 8  # linux/in.h; the socket module of Python 3.11 has no name for it
_ANCILLARY = socket.CMSG_SPACE(20)  # struct in6_pktinfo, the larger of the two: an address and an interface's index


@dataclass(frozen=True, slots=True)
class UdpStatistics:
    """What one UDP socket has seen. What is neither answered at once nor malformed was or will be answered later."""

    received: int
    answered_at_once: int
    malformed: int  # answered with an error or with silence
    unsent: int  # the kernel did not take the answer


class UdpServer:
    """Answers the queries that arrive at one bound, non-blocking UDP socket."""

    def __init__(self, sock: socket.socket, answers: Answers) -> None:
        self._sock = sock
        self._answers = answers
        self._reading = trio.CancelScope()
        self._received = 0
        self._at_once = 0
        self._malformed = 0
        self._unsent = 0
        # `_receive` gives a datagram and the way back to its sender, as `_send` wants it.
        self._receive: Callable[[int], tuple[bytes, Any]] = sock.recvfrom
        self._send: Callable[[bytes, Any], object] = sock.sendto
        if _is_wildcard(sock):
            self._answer_from_asked_address()

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Answer until `stop` is called or the task is cancelled."""
        with self._reading:
            task_status.started()
            while True:
                await trio.lowlevel.wait_readable(self._sock)
                while self._drain(trio.current_time()):
                    await trio.lowlevel.checkpoint()

    def stop(self) -> None:
        """Read no more queries; answers that were promised still leave."""
        self._reading.cancel()

    def statistics(self) -> UdpStatistics:
        """The counts so far."""
        return UdpStatistics(
            received=self._received,
            answered_at_once=self._at_once,
            malformed=self._malformed,
            unsent=self._unsent,
        )

    def _drain(self, now: float) -> bool:
        """Take up to a batch of datagrams; True if there may be more."""
        receive, send, answer_nowait = self._receive, self._send, self._answers.answer_nowait
        for _ in range(BATCH):
            try:
                datagram, way_back = receive(MAX_DATAGRAM + 1)  # one more, to see that a datagram was cut
            except OSError:  # nothing left; or a passing lack of memory, and the socket stays readable
                return False
            self._received += 1
            try:
                query = Query(datagram)
            except MalformedQuery as error:
                self._refuse(datagram, error, way_back)
                continue
            reply = answer_nowait(query, now)
            if reply is None:
                self._answers.answer_soon(query, partial(self._reply, way_back))
                continue
            self._at_once += 1
            try:
                send(reply, way_back)
            except OSError:  # full buffer, firewall, sender's port 0: the client will ask again
                self._unsent += 1
        return True

    def _reply(self, way_back: Any, reply: bytes) -> None:
        """Send one answer, now or never."""
        try:
            self._send(reply, way_back)
        except OSError:
            self._unsent += 1

    def _refuse(self, datagram: bytes, error: MalformedQuery, way_back: Any) -> None:
        """Answer what is no query with an error, if it deserves one."""
        self._malformed += 1
        if len(datagram) <= MAX_DATAGRAM and (reply := malformed_reply(datagram, error)) is not None:
            self._reply(way_back, reply)

    def _answer_from_asked_address(self) -> None:
        """Let each answer leave from the address that was asked, on a socket that is bound to all of them.

        RFC 2181 s4.1: "servers, when responding to queries using UDP, must cause the reply to be sent with the source
        address field in the IP header set to the address that was in the destination address field of the IP header
        of the packet containing the query causing the response." The kernel would choose by its routes instead.
        """
        sock = self._sock
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)

        def receive(size: int) -> tuple[bytes, Any]:
            datagram, ancillary, _flags, peer = sock.recvmsg(size, _ANCILLARY)
            return datagram, (_return_info(ancillary), peer)

        def send(reply: bytes, way_back: Any) -> object:
            return sock.sendmsg((reply,), way_back[0], 0, way_back[1])

        self._receive, self._send = receive, send


def _is_wildcard(sock: socket.socket) -> bool:
    """Whether the socket is bound to every address of the machine."""
    return sock.getsockname()[0] in {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound


def _return_info(ancillary: list[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    """The packet information of a query, turned into that of its answer.

    struct in_pktinfo { int ipi_ifindex; struct in_addr ipi_spec_dst, ipi_addr; }: on sending, spec_dst is the source
    address. On receiving, the kernel puts the local address there, which is what we want; the index is cleared, so
    that routes may differ. struct in6_pktinfo { struct in6_addr ipi6_addr; int ipi6_ifindex; } keeps its index, which
    link-local addresses need.
    """
    return [
        (level, kind, bytes(4) + data[4:8] + bytes(4) if level == socket.IPPROTO_IP else data)
        for level, kind, data in ancillary
    ]
