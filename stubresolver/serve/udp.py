"""DNS over UDP: the drain loop (RFC 1035 s4.2.1).

- One task, one checkpoint a turn: wait until the socket is readable, then take up to `BATCH` datagrams. No task and no
  waiting per datagram: the answers at hand leave together at the end of the turn, any other when `answer_soon` calls
  back.
- `BATCH` bounds a turn, so that a flood cannot starve the other tasks.
- A queue that stands in the socket makes everybody wait, those too whose answers are at hand. Once it stands for
  `_STANDING` the resolver is told (`Answers.press`): it then sends away most of what would have to be fetched, which
  costs an eighth of fetching it.
- Nothing that a client sends and nothing that the kernel says of an answer ends the loop: what cannot be sent is
  dropped and counted, as the network itself may drop any datagram.
- Where memory is short datagrams are dropped, too; and a socket that stays readable without giving any is left alone
  for a moment, so that it does not take a processor.
- The socket belongs to the caller. Answers that were promised can still leave after `serve` has ended, until the
  caller closes it.
"""

import math
import socket
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import Final

import trio

from stubresolver.errors import MalformedQuery
from stubresolver.serve.answers import Answers
from stubresolver.serve.asker import asker_of
from stubresolver.serve.batch import BATCH, MAX_DATAGRAM, DatagramBatch, WayBack
from stubresolver.serve.front import Front
from stubresolver.serve.options import ListenOptions
from stubresolver.wire.query import Query

# Services that answer any datagram with text: echo, daytime, qotd, chargen (RFC 862, 867, 865, 864). Text is no query,
# so an error sent there would get the next text back, and so on; one forged sender is enough to begin with. BIND drops
# such ports for the same reason.
_TALKATIVE: Final = frozenset({7, 13, 17, 19})

# A queue of so many octets of the kernel's memory, about 340 questions, is deep: three times what programs like dnsperf
# have outstanding by default. Half of a small socket's room is deep as well. If it stands for longer than an answer at
# hand may take, it is no burst: 500 questions at once are taken before. Nor is it one where hardly any room is left.
_DEEP: Final = 256 << 10
_STANDING: Final = 0.005
_FULL: Final = 3 / 4

# Seconds; the socket that says it is readable and gives nothing is asked a hundred times a second.
_PAUSE: Final = 0.01


@dataclass(frozen=True, slots=True)
class UdpStatistics:
    """What one UDP socket has seen. What is neither answered at once nor malformed was or will be answered later."""

    received: int
    answered_at_once: int
    malformed: int  # answered with an error or with silence
    denied: int  # of clients that may not ask
    unsent: int  # the kernel did not take the answer
    dropped: int = 0  # by the kernel, because its queue was full: nobody has seen them
    shed: int = 0  # answered at once, with a refusal, because too much was asked


class UdpServer:
    """Answers the queries that arrive at one bound, non-blocking UDP socket."""

    def __init__(self, sock: socket.socket, answers: Answers, front: Front | None = None) -> None:
        self._sock = sock
        self._answers = answers
        self._front = Front(ListenOptions()) if front is None else front
        # On loopback nobody else can ask, so nobody is asked who he is.
        is_loopback = ip_address(sock.getsockname()[0]).is_loopback
        self._handle = self._answer if is_loopback else self._answer_if_allowed
        self._is_loopback = is_loopback
        self._reading = trio.CancelScope()
        self._received = 0
        self._later = 0
        self._malformed = 0
        self._denied = 0
        self._unsent = 0
        self._shed = 0
        self._batch = DatagramBatch(sock)
        room = self._batch.queue().room
        self._deep, self._full = min(_DEEP, room // 2), room * _FULL
        self._deep_since = math.inf

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Answer until `stop` is called or the task is cancelled."""
        with self._reading:
            task_status.started()
            while True:
                await trio.lowlevel.wait_readable(self._sock)
                before = self._received
                try:
                    while self._drain(trio.current_time()):
                        await trio.lowlevel.checkpoint()
                except MemoryError:
                    self._unsent += 1  # at least; whoever asked will ask again
                if self._received == before:  # ENOBUFS, ENOMEM: it stays readable, and gives nothing
                    await trio.sleep(_PAUSE)

    def stop(self) -> None:
        """Read no more queries; answers that were promised still leave."""
        self._reading.cancel()

    def statistics(self) -> UdpStatistics:
        """The counts so far."""
        return UdpStatistics(
            received=self._received,
            answered_at_once=self._received - self._malformed - self._denied - self._later,
            malformed=self._malformed,
            denied=self._denied,
            unsent=self._unsent,
            dropped=self._batch.queue().dropped,
            shed=self._shed,
        )

    def _drain(self, now: float) -> bool:
        """Take up to a batch of datagrams; True if there may be more."""
        batch, answer = self._batch, self._handle
        datagrams = batch.receive()
        self._received += len(datagrams)
        self._unsent += batch.send([answer(slot, datagram, now) for slot, datagram in enumerate(datagrams)])
        if len(datagrams) < BATCH:
            self._deep_since = math.inf
            return False
        self._measure(now)
        return True

    def _measure(self, now: float) -> None:
        """Tell of a queue that stands; a look costs as much as a fifth of an answer, one for each full batch."""
        octets = self._batch.queue().octets
        if octets < self._deep:
            self._deep_since = math.inf
            return
        self._deep_since = min(self._deep_since, now)
        if now >= self._deep_since + _STANDING or octets >= self._full:
            self._answers.press(now)

    def _answer(self, slot: int, datagram: bytes, now: float) -> bytes | None:
        """What to send back now; None for nothing, or for an answer that comes later."""
        try:
            query = Query(datagram)
        except MalformedQuery as error:
            self._malformed += 1
            if len(datagram) > MAX_DATAGRAM or self._batch.port(slot) in _TALKATIVE:
                return None
            return self._front.refuse(datagram, error, self._batch.address(slot), now)
        is_new = not query.is_remembered
        if is_new:
            own = self._front.greet(query, self._batch.address(slot), now)
            if own is not None:
                return own
        answer = self._answers.answer_nowait(query, now)
        if answer is None:
            return self._fetch(slot, query, now)
        if is_new:
            query.remember()
        return answer

    def _fetch(self, slot: int, query: Query, now: float) -> bytes | None:
        """What to send back for what is not at hand; None where it comes later."""
        batch = self._batch
        asker = batch.sender(slot) if self._is_loopback else asker_of(batch.address(slot), batch.port(slot))
        refusal = self._answers.shed(query, now, asker)
        if refusal is not None:
            self._shed += 1
            return refusal
        self._later += 1
        self._answers.answer_soon(query, partial(self._send_later, batch.way_back(slot)), asker)
        return None

    def _answer_if_allowed(self, slot: int, datagram: bytes, now: float) -> bytes | None:
        """The same on a socket that other machines can reach."""
        if self._front.allows(self._batch.address(slot)):
            return self._answer(slot, datagram, now)
        self._denied += 1
        return self._front.turn_away(datagram) if len(datagram) <= MAX_DATAGRAM else None

    def _send_later(self, way_back: WayBack, answer: bytes) -> None:
        """Send one answer, now or never."""
        self._unsent += self._batch.send_later(way_back, answer)
