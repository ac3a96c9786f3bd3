"""DNS over TCP: who is let in (RFC 7766 s6.2.2). What is said on a connection is `connection.py`'s.

- At most `tcp_clients` connections. When all are taken, the longest idle one of the address that holds most gives way:
  a host that opens many connections pushes out its own first. If none is idle, the one that has been owed answers for
  longest without taking any, if that is more than `_SLOW`; else the newcomer waits as long once, and is then closed.
  As many may wait as there are places. So neither clients that never
  read nor questions that are never answered keep others out.
- `stop` ends listening and reading; `serve` then returns as soon as every answer that is owed has been written. How
  long that may take is the caller's cancel scope.
- A client that may not ask is let go of at once, whatever place there is.
- The listening sockets are closed when listening ends.
"""

import socket
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

import trio

from stubresolver.serve.accepting import Acceptor
from stubresolver.serve.answers import Answers
from stubresolver.serve.asker import asker_of
from stubresolver.serve.commons import Commons
from stubresolver.serve.connection import Connection, End
from stubresolver.serve.front import Front
from stubresolver.serve.options import ListenOptions

_SLOW = 0.2  # seconds: unbound's jostle-timeout, as in `resolve.admission`

# Answers that the kernel holds for one client, who may never take them; it would hold some megabytes (tcp(7),
# tcp_wmem), and doubles what it is told (socket(7), SO_SNDBUF). Two answers of the largest size.
_SEND_BUFFER = 1 << 17


@dataclass(frozen=True, slots=True)
class TcpStatistics:
    """What the TCP listeners have seen."""

    open: int  # connections now
    accepted: int
    refused: int  # closed at once, because all places were taken by busy clients
    denied: int  # closed at once, because the client may not ask
    evicted: int  # idle ones that gave way to a newcomer
    idle: int  # closed for being idle too long
    slow: int  # cut off for not taking their answers
    queries: int
    malformed: int  # queries that were answered with an error, or by closing
    gave_way: int = 0  # busy ones that made no progress, and gave way to a newcomer
    unwritten: int = 0  # octets of answers that clients have not taken yet
    places: int = 0
    short: int = 0  # attempts to let one in for which descriptors or memory were too short


class TcpServer:
    """Answers the queries that arrive at listening, non-blocking TCP sockets."""

    def __init__(
        self, sockets: Sequence[socket.socket], answers: Answers, options: ListenOptions, front: Front | None = None
    ) -> None:
        self._sockets = sockets
        for sock in sockets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)  # of those that will be accepted
        self._commons = Commons()
        self._answers = answers
        self._options = options
        self._front = Front(options) if front is None else front
        self._acceptor = Acceptor(self._welcome, self.make_room)
        self._accepting = trio.CancelScope()
        self._connections: set[Connection] = set()
        self._held: Counter[bytes] = Counter()  # connections of each address, until their streams are closed
        self._ends: Counter[End] = Counter()
        self._newcomers = 0  # who wait for a place
        self._accepted = 0
        self._refused = 0
        self._denied = 0
        self._queries = 0  # of connections that have ended
        self._malformed = 0

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Answer until `stop` is called and nothing is owed, or until the task is cancelled."""
        async with trio.open_nursery() as around:
            around.start_soon(self._commons.run)
            await self._listen(task_status)
            around.cancel_scope.cancel()

    async def _listen(self, task_status: trio.TaskStatus[None]) -> None:
        listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(sock)) for sock in self._sockets]
        async with trio.open_nursery() as connections:
            with self._accepting:
                task_status.started()
                await self._acceptor.run(listeners, connections)
            for connection in self._connections:
                connection.stop_reading()

    def stop(self) -> None:
        """Accept and read no more; answers that are owed are still written."""
        self._accepting.cancel()

    def statistics(self) -> TcpStatistics:
        """The counts so far."""
        return TcpStatistics(
            open=len(self._connections),
            accepted=self._accepted,
            refused=self._refused,
            denied=self._denied,
            evicted=self._ends[End.EVICTED],
            idle=self._ends[End.IDLE],
            slow=self._ends[End.SLOW],
            queries=self._queries + sum(connection.queries for connection in self._connections),
            malformed=self._malformed + sum(connection.malformed for connection in self._connections),
            gave_way=self._ends[End.GAVE_WAY],
            unwritten=self._commons.held,
            places=self._options.tcp_clients,
            short=self._acceptor.short,
        )

    async def _welcome(self, stream: trio.SocketStream) -> None:
        """Serve a new connection if there is a place for it; the caller closes the stream."""
        try:
            host, port = stream.socket.getpeername()[:2]
        except OSError:
            return  # the client has gone already
        address = ip_address(host).packed
        if self._accepting.cancel_called:
            return  # accepted in the very turn in which we stop
        self._accepted += 1
        if not self._front.allows(address):
            self._denied += 1
            return
        if not await self._finds_place():
            self._refused += 1
            return
        connection = Connection(
            stream,
            address,
            self._answers,
            self._options,
            self._front,
            asker=asker_of(address, port),
            commons=self._commons,
        )
        self._connections.add(connection)
        self._held[address] += 1
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
            self._held[address] -= 1
            if not self._held[address]:
                del self._held[address]
            self._ends[connection.end] += 1
            self._queries += connection.queries
            self._malformed += connection.malformed

    async def _finds_place(self) -> bool:
        """Whether there is a place for one more, now or in a moment."""
        if len(self._connections) < self._options.tcp_clients or self.make_room():
            return True
        if self._newcomers >= self._options.tcp_clients:
            return False
        self._newcomers += 1
        try:
            await trio.sleep(_SLOW)
        finally:
            self._newcomers -= 1
        if self._accepting.cancel_called:
            return False
        return len(self._connections) < self._options.tcp_clients or self.make_room()

    def make_room(self) -> bool:
        """Close the connection that is worth least; False where each of them is busy and quick."""
        latest = trio.current_time() - _SLOW
        victim, least = None, (True, 0, latest)
        for each in self._connections:
            worth = (not each.is_idle, -self._held[each.address], each.since)
            if worth < least and (each.is_idle or each.since <= latest):
                victim, least = each, worth
        if victim is None:
            return False
        victim.abort(End.EVICTED if victim.is_idle else End.GAVE_WAY)
        self._connections.discard(victim)
        return True
