"""DNS over TCP: who is let in (RFC 7766 s6.2.2). What is said on a connection is `connection.py`'s.

- At most `tcp_clients` connections. When all are taken, the longest idle one of the address that holds most gives way:
  a host that opens many connections pushes out its own first. If none is idle the newcomer is closed.
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

from stubresolver.serve.answers import Answers
from stubresolver.serve.connection import Connection, End
from stubresolver.serve.front import Front
from stubresolver.serve.options import ListenOptions


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


class TcpServer:
    """Answers the queries that arrive at listening, non-blocking TCP sockets."""

    def __init__(
        self, sockets: Sequence[socket.socket], answers: Answers, options: ListenOptions, front: Front | None = None
    ) -> None:
        self._sockets = sockets
        self._answers = answers
        self._options = options
        self._front = Front(options) if front is None else front
        self._accepting = trio.CancelScope()
        self._connections: set[Connection] = set()
        self._ends: Counter[End] = Counter()
        self._accepted = 0
        self._refused = 0
        self._denied = 0
        self._queries = 0  # of connections that have ended
        self._malformed = 0

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Answer until `stop` is called and nothing is owed, or until the task is cancelled."""
        listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(sock)) for sock in self._sockets]
        async with trio.open_nursery() as connections:
            with self._accepting:
                task_status.started()
                await trio.serve_listeners(self._welcome, listeners, handler_nursery=connections)
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
        )

    async def _welcome(self, stream: trio.SocketStream) -> None:
        """Serve a new connection if there is a place for it; the caller closes the stream."""
        try:
            address = ip_address(stream.socket.getpeername()[0]).packed
        except OSError:
            return  # the client has gone already
        if self._accepting.cancel_called:
            return  # accepted in the very turn in which we stop
        self._accepted += 1
        if not self._front.allows(address):
            self._denied += 1
            return
        if not self._has_place():
            self._refused += 1
            return
        connection = Connection(stream, address, self._answers, self._options, self._front)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
            self._ends[connection.end] += 1
            self._queries += connection.queries
            self._malformed += connection.malformed

    def _has_place(self) -> bool:
        """Whether one more can be served, if need be in the place of one that is idle."""
        if len(self._connections) < self._options.tcp_clients:
            return True
        idle = [connection for connection in self._connections if connection.is_idle]
        if not idle:
            return False
        held = Counter(connection.address for connection in self._connections)
        victim = max(idle, key=lambda connection: (held[connection.address], -connection.idle_since))
        victim.abort(End.EVICTED)
        self._connections.discard(victim)
        return True
