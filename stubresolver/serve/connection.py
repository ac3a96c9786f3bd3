"""One client's TCP connection (RFC 7766): queries in, answers out, in whatever order they are ready.

Theory of operation. Two tasks: one reads, one writes. Reading turns octets into queries; an answer at hand is queued
for the writer at once, any other when `answer_soon` calls back. The writer takes all that is queued in one write, so
that pipelined queries that came in one segment leave in few.

The connection *owes* an answer from the moment a query is taken until the answer has been written. Of that one number
follows all else:
- idle (RFC 7766 s3: the server "has sent responses to all the queries it has received on that connection") is to owe
  nothing and to have no query that waits to be taken, and only then does the idle limit run;
- full is to owe `tcp_queries` answers or to hold much unwritten output, and then reading stops: the kernel's window
  fills and holds the client back;
- slow is to owe answers and to have had none taken for a while: then it may have to give its place to another;
- done is to have stopped reading and to owe nothing: a client that sends its queries and shuts down its side still
  gets its answers.
"""

import enum
import math

import trio

from stubresolver.errors import MalformedQuery
from stubresolver.serve.answers import Answers
from stubresolver.serve.commons import Commons
from stubresolver.serve.front import Front
from stubresolver.serve.options import ListenOptions
from stubresolver.wire.framing import FrameReader, frame
from stubresolver.wire.query import Query

_RECEIVE = 16384  # octets at once: some hundred queries, of which `Commons` says how many are taken in a row

# Reading stops while more than this is unwritten. One answer of the largest size (RFC 1035 s4.2.2: 65,535 octets) fits.
_FULL_OUTPUT = 65537


class End(enum.Enum):
    """Why a connection ended."""

    CLIENT = "the client closed it"
    RESET = "the client reset it"
    MALFORMED = "a message that deserves no answer"
    IDLE = "idle for too long"
    SLOW = "the client did not take its answers"
    EVICTED = "idle, and its place was needed"
    GAVE_WAY = "owed answers for long, and its place was needed"
    STOPPED = "we stop"


class Connection:
    """Answers the queries of one client on one stream, which it closes at the end."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        address: bytes,
        answers: Answers,
        options: ListenOptions,
        front: Front,
        *,
        asker: bytes = b"",
        commons: Commons | None = None,
    ) -> None:
        """`commons` are shared with all other connections; `asker` as in `serve.asker`."""
        self.address = address  # the client's, in network order
        self.end = End.CLIENT
        self.queries = 0
        self.malformed = 0
        self.since = trio.current_time()  # idle since then, or owing answers of which none was taken since then
        self._stream = stream
        self._answers = answers
        self._options = options
        self._front = front
        self._asker = asker
        self._commons = commons or Commons()
        self._owed = 0
        self._received = 0  # queries that wait to be taken
        self._output: list[bytes] = []
        self._unwritten = 0  # octets in `_output` and in the write under way
        self._has_read_all = False
        self._is_over = False
        self._work = trio.Event()  # for the writer: there is output, or reading has ended
        self._room = trio.Event()  # for the reader: something was written
        self._life = trio.CancelScope()
        self._reading = trio.CancelScope(deadline=self.since + options.tcp_idle_seconds)

    @property
    def is_idle(self) -> bool:
        """True if every query has been answered (RFC 7766 s3)."""
        return not (self._owed or self._received)

    async def run(self) -> None:
        """Serve until the client or a limit ends it. Raises nothing that a client can cause."""
        try:
            async with self._stream:
                with self._life:
                    await self._converse()
        finally:
            self._is_over = True
            self._commons.hold(-self._unwritten)

    def stop_reading(self) -> None:
        """Take no more queries; end when the answers that are owed have been written."""
        self.end = End.STOPPED
        self._reading.cancel()

    def abort(self, end: End) -> None:
        """End now, whatever is owed."""
        self.end = end
        self._life.cancel()

    async def _converse(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write)
            with self._reading:
                await self._read()
            if self._reading.cancelled_caught and self.end is End.CLIENT:
                self.end = End.IDLE
            self._has_read_all = True
            self._work.set()

    async def _read(self) -> None:
        """Take queries until the client ends its side, or sends what deserves no answer."""
        frames = FrameReader()
        try:
            while data := await self._stream.receive_some(_RECEIVE):
                wires = frames.feed(bytes(data))
                self._receive(len(wires))
                turn = 0
                for wire in wires:
                    while self._owed >= self._options.tcp_queries or self._unwritten > _FULL_OUTPUT:
                        self._room = trio.Event()
                        await self._room.wait()
                    if not turn:
                        turn = await self._commons.turn(self._received)
                    turn -= 1
                    self._received -= 1
                    if not self._take(wire):
                        self.end = End.MALFORMED
                        return
        except trio.BrokenResourceError:
            # RFC 7766 s6.2.4: if a client has closed the session "before all pending responses have been sent, then
            # the server MUST NOT attempt to send those responses".
            self.abort(End.RESET)

    def _receive(self, queries: int) -> None:
        """So many whole queries have come, and while one is not answered, no idle limit runs.

        RFC 7766 s6.2.3: "servers SHOULD reset the idle timeout on the receipt of a full DNS message, rather than on
        receipt of any part of a DNS message": a client that trickles octets is idle.
        """
        if queries:
            if self.is_idle:
                self.since = trio.current_time()
            self._received = queries
            self._reading.deadline = math.inf

    def _take(self, wire: bytes) -> bool:
        """Take one message; False if it deserves no answer, so that the connection is of no use."""
        self.queries += 1
        now = trio.current_time()
        try:
            query = Query(wire, tcp=True)
        except MalformedQuery as error:
            self.malformed += 1
            refusal = self._front.refuse(wire, error, self.address, now, tcp=True)
            if refusal is None:
                return False
            self._owed += 1
            self._reply(refusal)
            return True
        self._owed += 1
        answer = None if query.is_remembered else self._front.greet(query, self.address, now, tcp=True)
        if answer is None:
            answer = self._answers.answer_nowait(query, now)
        if answer is None:
            answer = self._answers.shed(query, now, self._asker)
        if answer is None:
            self._answers.answer_soon(query, self._reply, self._asker)
        else:
            self._reply(answer)
        return True

    def _reply(self, answer: bytes) -> None:
        """Queue one answer; what comes after the connection's end reaches nobody."""
        self._output.append(frame(answer))
        if self._is_over:
            return
        octets = len(answer) + 2
        self._unwritten += octets
        self._commons.hold(octets)
        if not self._commons.allows(self._unwritten):
            self.abort(End.SLOW)
        self._work.set()

    async def _write(self) -> None:
        """Write what is queued, all of it at a time, until nothing more can come."""
        while not (self._has_read_all and self._owed == 0):
            if not self._output:
                self._work = trio.Event()
                await self._work.wait()
                continue
            count, data = len(self._output), b"".join(self._output)
            self._output.clear()
            try:
                with trio.fail_after(self._options.tcp_idle_seconds):
                    await self._stream.send_all(data)
            except trio.TooSlowError:
                self.abort(End.SLOW)
                return
            except trio.BrokenResourceError:
                self.abort(End.RESET)
                return
            self._wrote(count, len(data))

    def _wrote(self, answers: int, octets: int) -> None:
        """So many answers are owed no longer."""
        self._owed -= answers
        self._unwritten -= octets
        self._commons.hold(-octets)
        self._room.set()
        self.since = trio.current_time()
        if self.is_idle:
            self._reading.deadline = self.since + self._options.tcp_idle_seconds
