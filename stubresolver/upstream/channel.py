"""One verified stream driven by one protocol: queries of many askers go out gathered, answers come back in any order.

Theory of operation. Three tasks per connection and none per query: the reader takes all that has arrived and wakes who
is answered; the writer sleeps until there is something to say and then says everything in one write; the watcher sleeps
until the oldest query is too old or the connection has been silent for too long. An asker is called back, or parks in
`Exchange.wait`; if it is cancelled there, its slot and its id are given back. It is told while it waits if the channel
has gone silent, or if others are answered and it alone is not; it may ask elsewhere then, too.

Others are served meanwhile, whatever the peer does: the reader lets go of the loop after so many answers, and reads a
peer that trickles no faster than once in a millisecond. What a peer may send beside answers is bounded by the protocol
and the TLS machine; what it may keep us from writing, by the query's own deadline.

Every exchange ends within `timeout` seconds: answered, failed by the peer, `ExchangeTimeout`, or `ChannelClosed` with
the connection. Queries beyond the protocol's room wait their turn in a bounded queue, against the same deadline.

What it may not do: dial, choose, ask twice. It takes a `VerifiedStream` and nothing less.
"""

import itertools
from collections import deque
from collections.abc import Callable

import trio
from trio.lowlevel import checkpoint

from stubresolver.errors import ChannelClosed, ExchangeTimeout, ProtocolViolation
from stubresolver.transport.protocol import Answered, Draining, Ended, Event, Failed, QueryProtocol, Token
from stubresolver.upstream.answertime import AnswerTime
from stubresolver.upstream.dial import TRICKLE, TRICKLE_OCTETS, TRICKLE_PAUSE, VerifiedStream
from stubresolver.upstream.exchange import Exchange

# How many queries may wait for room, beyond those outstanding. As many as a DoT connection may owe; who finds the queue
# full is told at once instead of after its deadline.
MAX_QUEUE = 1000

# How many events are handled before others get their turn: an answer costs the resolver some 35 µs, and a client whose
# answer is cached is not to wait for more than 2 ms of them.
TURN = 64

# Who waits for an answer that is overdue on a connection that answers others is told so: so many at once, and then for
# a while nobody. To ask elsewhere costs as much again; where hundreds wait, the names are slow and not the upstream.
OVERDUE_AT_ONCE = 16
OVERDUE_PAUSE = 0.25  # seconds


class Channel:
    """A connection that queries can be asked on, while `run` is running."""

    def __init__(
        self,
        stream: VerifiedStream,
        protocol: QueryProtocol,
        *,
        timeout: float,
        silence: float,
        answer_time: AnswerTime | None = None,
    ) -> None:
        self.stream = stream
        self.opened_at = trio.current_time()
        self.last_heard = self.opened_at  # when the peer's last plaintext came, whatever it was
        self.answer_time = answer_time or AnswerTime()  # given where the upstream's earlier connections have shown it
        self.asked = 0
        self.answered = 0
        self.ended: str | None = None  # why it is over; "" for our own wish; None while it lives
        self.violated = False  # it is over because the peer broke the protocol or flooded us: worse than a lost line
        self.draining = False  # takes no more queries
        self.silent = False  # queries are outstanding and none was answered for `patience` seconds
        self._protocol = protocol
        self._timeout = timeout
        self._silence = silence
        self._outstanding: dict[Token, Exchange] = {}  # oldest first
        self._queue: deque[Exchange] = deque()
        self._silent_since: float | None = None  # since when something has been owed and no answer has come
        self._sample: float | None = None  # when what was answered last had been asked
        self._overdue_at = self.opened_at  # when somebody may be told again that his answer is overdue
        self._unsent: list[bytes] = []
        self._to_write = trio.Event()
        self._writing = False
        self._writing_since = 0.0
        self._to_watch = trio.Event()
        self._scope: trio.CancelScope | None = None
        self._abandoned = False

    @property
    def patience(self) -> float:
        """How long nothing may be answered, while something is owed, before the channel counts as silent."""
        return self.answer_time.patience(self._silence)

    @property
    def overdue(self) -> float:
        """How long one query may go without its answer while others get theirs: half its time, as a rule."""
        return max(self._timeout / 2, self.patience)

    @property
    def outstanding(self) -> int:
        """How many exchanges are under way or waiting for room."""
        return len(self._outstanding) + len(self._queue)

    @property
    def open(self) -> bool:
        """True if it takes queries, be it into the queue.

        One that has no room while it owes us nothing is worn out, and so is one that keeps many ids for nobody.
        """
        return self._takes(self._protocol.room)

    @property
    def room(self) -> bool:
        """True if a query would go out at once."""
        return not self._queue and self._protocol.room > 0

    def ask(self, wire: bytes, woken: Callable[[Exchange], None] | None = None) -> Exchange:
        """Begin an exchange; the caller gives `woken`, or must `wait` for it. `ChannelClosed` where it takes none."""
        room = self._protocol.room
        if not self._takes(room):
            raise ChannelClosed(f"{self.stream.upstream}: {self.ended or 'this connection takes no more queries'}")
        exchange = Exchange(self, wire, trio.current_time(), woken)
        if room > 0 and not self._queue:
            self._send(exchange)
        else:
            self._queue.append(exchange)
        self._to_watch.set()
        return exchange

    async def exchange(self, wire: bytes) -> bytes:
        """Ask and wait for the answer, however silent the channel is."""
        return await self.ask(wire).answer()

    def give_up(self, exchange: Exchange) -> None:
        """Nobody waits for this exchange any more."""
        exchange.woken = None
        self._release(exchange)
        if exchange.told and not self.silent and not self.outstanding:
            self._silent_since = None  # others were answered, and it alone is not: that is no silence

    def retire(self) -> None:
        """Take no more queries, send none that still waits, and end when the last outstanding one is answered."""
        self.draining = True
        while self._queue:
            self._close(self._queue.popleft(), self._text("this connection takes no more queries"))
        self._end_if_drained()

    def refuse(self) -> None:
        """The peer was judged anew and refused: as `retire`, but where something is not written yet, end at once."""
        if self._to_write.is_set() or self._writing:
            self._end("")
        else:
            self.retire()

    def abandon(self, reason: str) -> None:
        """The connection cannot be trusted to live: wake everybody with `ChannelClosed` now, and close without a word.

        No close_notify: the peer of a dead line reads none, and on another network it would tell where we were.
        """
        self._abandoned = True
        self._end(reason)

    async def run(self) -> None:
        """Drive the connection until it ends; then close it and fail whatever is outstanding."""
        try:
            async with trio.open_nursery() as nursery:
                self._scope = nursery.cancel_scope
                nursery.start_soon(self._read)
                nursery.start_soon(self._write)
                nursery.start_soon(self._watch)
                self._to_write.set()  # what the protocol says first (RFC 9113 s3.4)
                if self.ended is not None:
                    nursery.cancel_scope.cancel()
        except* MemoryError:  # what a peer sends may take more than there is: this connection ends, and nothing else
            self._end("not enough memory")
        finally:
            self._end("")
            with trio.CancelScope(shield=True):
                if self._abandoned:
                    await trio.aclose_forcefully(self.stream)
                else:
                    await self.stream.aclose()

    async def _read(self) -> None:
        in_vain = 0
        while self.ended is None:
            try:
                data = await self.stream.receive_some()
            except trio.BrokenResourceError as error:
                self.violated = self.stream.violated
                self._end(f"connection lost: {error.__cause__ or error}")
                return
            self.last_heard = trio.current_time()
            events = self._protocol.receive_data(data)
            if len(events) <= TURN or isinstance(events[-1], Ended):  # nobody may ask here again before that is known
                for event in events:
                    self._handle(event)
            else:
                await self._handle_in_turns(events)
            if events:  # a peer that only pings, or trickles octets, is silent
                self._heard_answer()
                in_vain = 0
            # Acknowledgements. While the writer is held back, they stay in the protocol, which bounds them.
            if not self._unsent and (unsent := self._protocol.data_to_send()):
                self._unsent = unsent
                self._to_write.set()
            if self._queue:
                self._admit()
            self._end_if_drained()
            if not events:
                in_vain += 1
                if in_vain > TRICKLE and len(data) < TRICKLE_OCTETS:  # octet by octet: each would cost us 25 µs
                    await trio.sleep(TRICKLE_PAUSE)

    async def _handle_in_turns(self, events: list[Event]) -> None:
        """Many answers at once: others are served between them."""
        for start in range(0, len(events), TURN):
            for event in events[start : start + TURN]:
                self._handle(event)
            await checkpoint()

    def _heard_answer(self) -> None:
        """The peer answers. How long it took is measured once a read; what ended a silence was slow and not dead."""
        since = self._silent_since if self.silent else self._sample
        if since is not None:
            self.answer_time.add(self.last_heard - since)
            self._sample = None
        self.silent = False
        self._silent_since = self.last_heard if self.outstanding else None

    async def _write(self) -> None:
        while True:
            await self._to_write.wait()
            if self.ended is not None:
                return
            self._to_write = trio.Event()
            data = self._unsent + self._protocol.data_to_send()
            self._unsent = []
            try:
                if data:
                    self._writing = True  # stays so where this is cut off
                    self._writing_since = trio.current_time()
                    await self.stream.send_records(data)
                    self._writing = False
            except trio.BrokenResourceError as error:
                self._end(f"connection lost: {error.__cause__ or error}")
                return

    async def _watch(self) -> None:
        while True:
            if not self.outstanding:
                self._to_watch = trio.Event()
                await self._to_watch.wait()
            await trio.sleep_until(self._next_deadline())
            now = trio.current_time()
            await self._expire_until(now)
            if not self.silent and self._silent_since is not None and self._silent_since + self.patience <= now:
                self.silent = True
                await self._tell_of_silence()
            elif not self.silent and self._overdue_at <= now:
                self._tell_overdue(now)

    async def _expire_until(self, now: float) -> None:
        """End what has waited for too long; many in turns, as with answers."""
        number = 0
        while (oldest := self._oldest()) is not None and oldest.asked_at + self._timeout <= now:
            self._expire(oldest)
            if self._writing and self._writing_since + self._timeout <= now:
                self._end(f"the upstream reads nothing: a write has been waiting for {self._timeout:g} s")
            number += 1
            if number % TURN == 0:
                await checkpoint()

    async def _tell_of_silence(self) -> None:
        """Let everybody who waits ask elsewhere, too; in turns, until an answer comes after all."""
        waiting = [*self._outstanding.values(), *self._queue]
        for number, exchange in enumerate(waiting, start=1):
            if exchange.result is None:
                exchange.wake()
            if number % TURN == 0:
                await checkpoint()
                if not self.silent:
                    return

    def _tell_overdue(self, now: float) -> None:
        """Let those who have waited for long ask elsewhere, too, the oldest first."""
        asked_by = now - self.overdue
        late = itertools.takewhile(lambda exchange: exchange.asked_at <= asked_by, self._outstanding.values())
        untold = list(itertools.islice((each for each in late if not each.told), OVERDUE_AT_ONCE))
        self._overdue_at = now + OVERDUE_PAUSE
        for exchange in untold:
            if exchange.result is None:
                exchange.wake()

    def _next_deadline(self) -> float:
        oldest = self._oldest()
        if oldest is None:
            return trio.current_time()
        deadline = oldest.asked_at + self._timeout
        if not self.silent:
            deadline = min(deadline, max(oldest.asked_at + self.overdue, self._overdue_at))
            if self._silent_since is not None:
                deadline = min(deadline, self._silent_since + self.patience)
        return deadline

    def _oldest(self) -> Exchange | None:
        """The exchange that ends first: queries go out in the order in which they were asked."""
        outstanding = next(iter(self._outstanding.values()), None)
        return outstanding or (self._queue[0] if self._queue else None)

    def _expire(self, exchange: Exchange) -> None:
        exchange.result = ExchangeTimeout(self._text(f"no answer within {self._timeout:g} s"))
        self._release(exchange)
        exchange.wake()

    def _release(self, exchange: Exchange) -> None:
        """Its slot is free again."""
        if exchange.token is None:
            self._queue.remove(exchange)
        elif self._outstanding.pop(exchange.token, None) is not None:
            self._protocol.forget(exchange.token)
            self._to_write.set()
            self._admit()
        self._end_if_drained()

    def _takes(self, room: int) -> bool:
        if self.ended is not None or self.draining or self._protocol.worn or len(self._queue) >= MAX_QUEUE:
            return False
        return room > 0 or self.outstanding > 0

    def _send(self, exchange: Exchange) -> None:
        exchange.token = self._protocol.send_query(exchange.wire)
        self._outstanding[exchange.token] = exchange
        self.asked += 1
        if self._silent_since is None:
            self._silent_since = trio.current_time()
        self._to_write.set()

    def _admit(self) -> None:
        """Send from the queue while there is room."""
        while self._queue and self._protocol.room > 0:
            self._send(self._queue.popleft())

    def _handle(self, event: Event) -> None:
        if isinstance(event, Answered):
            exchange = self._outstanding.pop(event.token, None)
            self.answered += 1
            if exchange is not None:
                self._sample = exchange.asked_at
                exchange.result = event.wire
                exchange.wake()
        elif isinstance(event, Failed):
            exchange = self._outstanding.pop(event.token, None)
            if exchange is not None:
                kind = ChannelClosed if event.retry else ProtocolViolation
                exchange.result = kind(f"{self.stream.upstream}: {event.reason}")
                exchange.wake()
        elif isinstance(event, Draining):
            self.retire()
        elif isinstance(event, Ended):
            self.violated = event.violation
            self._abandoned = event.violation  # whoever floods us hears no farewell
            self._end(event.reason or "the upstream closed the connection")

    def _end_if_drained(self) -> None:
        if self.draining and not self.outstanding:
            self._end("")

    def _end(self, reason: str) -> None:
        """The connection is over: wake all askers and stop the tasks. The first reason counts."""
        if self.ended is not None:
            return
        self.ended = reason
        text = self._text(reason or "the connection was closed")
        for exchange in [*self._outstanding.values(), *self._queue]:
            self._close(exchange, text)
        self._outstanding.clear()
        self._queue.clear()
        if self._scope is not None:
            self._scope.cancel()

    def _text(self, reason: str) -> str:
        return f"{self.stream.upstream}: {reason}"

    @staticmethod
    def _close(exchange: Exchange, text: str) -> None:
        exchange.result = ChannelClosed(text)
        exchange.wake()
