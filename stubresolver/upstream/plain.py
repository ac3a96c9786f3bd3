"""Plain DNS (RFC 1035 s4.2) to private servers, for named zones alone: the second door by which queries leave.

The law of this file: no octet of a query whose question is not at or below one of the exchanger's own zones is sent,
whoever asks for it; the root is no zone. `upstream.dial` is the only other door, and all that leaves by it goes to who
was judged. Nobody is judged here, so what comes back is believed about the zone alone (see `resolve.routes`), and never
as authentic: AD is cleared. RFC 4035 s4.9.3: a stub "MUST NOT place any reliance on signature validation allegedly
performed on its behalf, except when [it] obtained the data in question ... via a secure channel".

Servers are asked in their order, one that failed last; the next one as soon as one has refused, has no answer of its
own (SERVFAIL and the like) or has said nothing for half a second, a second, two seconds. Nothing is padded; RFC 7830
s6: "implementations MUST NOT use this option if the DNS transport is not encrypted".

A query is a task, with an id from the system's generator and sockets of its own (see `upstream.clear`, which writes);
there is no connection that stays. That is right for the few questions that a zone gets and wrong for everybody's: those
go to the pool. `ClearExchanger` is what this door shares with the one of `upstream.portal`: all but the fence.
"""

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from typing import Final

import trio

from stubresolver.errors import NoUpstream, UpstreamError
from stubresolver.local.names import zone_in
from stubresolver.upstream.clear import Door, Unanswered, ask_once
from stubresolver.upstream.options import UpstreamOptions
from stubresolver.upstream.report import UpstreamStatistics
from stubresolver.upstream.server import PlainServer
from stubresolver.wire.codes import AD, FORMERR, NOTIMP, RCODE, REFUSED, SERVFAIL
from stubresolver.wire.names import after_name
from stubresolver.wire.opt import opt_record

QUERY_SECONDS: Final = UpstreamOptions().query_timeout

# RFC 1035 s4.2.1: "the minimum retransmission interval should be 2-5 seconds", for the networks of its day; RFC 1536 s1
# wants it to grow exponentially. A private network answers within milliseconds, and nobody waits for longer than four.
WAITS: Final = (0.5, 1.0, 2.0)

_BEHIND: Final = 30.0  # seconds for which who failed is asked last: as long as the pool's longest pause
_AT_ONCE: Final = 128  # queries with sockets of their own; far below the usual limit of 1,024 descriptors
_ELSEWHERE: Final = frozenset({FORMERR, SERVFAIL, NOTIMP, REFUSED})  # says nothing about the name; others may know it


class ClearExchanger(ABC):
    """An `Exchanger` over plain DNS, with a fence that is another's to say; it works while `run` is running."""

    closed = "shutting down"  # said to who waits when `run` ends

    def __init__(
        self,
        servers: Sequence[PlainServer],
        policy: str,
        *,
        turns: trio.CapacityLimiter | None = None,
        seconds: float = QUERY_SECONDS,
        waits: Sequence[float] = WAITS,
    ) -> None:
        """`policy` in a few words; `turns` may be shared with others; no query takes more than `seconds`."""
        self.sent = 0  # queries that were let out
        self._policy = policy
        self._turns = turns or trio.CapacityLimiter(_AT_ONCE)
        self._seconds = seconds
        self._waits = waits
        self._nursery: trio.Nursery | None = None  # while `run` is running and may start tasks
        self._use(servers)

    @abstractmethod
    def why_not(self, query: bytes) -> str:
        """Why a query with this question may not leave now; "" if it may."""

    def let_out(self, wire: bytes) -> None:
        """The fence, once more, at the last moment; raises `Unanswered`."""
        if problem := self.why_not(wire):
            raise Unanswered(problem)
        self.sent += 1

    def _use(self, servers: Sequence[PlainServer], problem: str = "no server is known") -> None:
        self._lines = tuple(_Line(server, self._policy) for server in dict.fromkeys(servers))
        self._problem = problem

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Carry the queries, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._nursery = None

    def exchange_soon(self, query: bytes, reply: Callable[[bytes | UpstreamError], None]) -> None:
        """Ask a query as `upstream_query` makes it; `reply` is called once, within its time."""
        if problem := self.why_not(query):
            reply(NoUpstream(problem))
        elif not self._lines:
            reply(NoUpstream(self._problem))
        elif self._nursery is None:
            reply(NoUpstream(self.closed))
        else:
            self._nursery.start_soon(self._reply_late, query, reply)

    def statistics(self) -> tuple[UpstreamStatistics, ...]:
        """What is known of the servers, in their order."""
        now = trio.current_time()
        return tuple(line.statistics(now) for line in self._lines)

    async def _reply_late(self, query: bytes, reply: Callable[[bytes | UpstreamError], None]) -> None:
        asking = _Asking(query, self)
        result: bytes | UpstreamError = NoUpstream(self.closed)  # stays so if this task is cancelled
        try:
            now = trio.current_time()
            lines = sorted(self._lines, key=lambda line: line.behind_until > now)
            with trio.move_on_after(self._seconds):
                async with self._turns:
                    await asking.run(lines, self._waits)
            result = asking.result(lines, f"no answer within {self._seconds:g} s")
        finally:
            reply(result)


class PlainExchanger(ClearExchanger):
    """For some zones and no name outside them."""

    def __init__(
        self,
        zones: Collection[bytes],
        servers: Sequence[PlainServer] = (),
        *,
        turns: trio.CapacityLimiter | None = None,
        seconds: float = QUERY_SECONDS,
        waits: Sequence[float] = WAITS,
    ) -> None:
        """`zones` in wire format, lower case; for the others see `ClearExchanger`."""
        self._zones = frozenset(zones) - {b"\0"}
        policy = "plain DNS for its forward zone: neither encrypted nor verified"
        super().__init__(servers, policy, turns=turns, seconds=seconds, waits=waits)

    def use(self, servers: Sequence[PlainServer], problem: str = "no server is known") -> None:
        """Ask these from now on; `problem` says why there are none. What is under way ends as it was begun."""
        self._use(servers, problem)

    def why_not(self, query: bytes) -> str:
        """What is not of the zones stays here."""
        if zone_in(query[12 : after_name(query, 12)].lower(), self._zones) is None:
            return "not sent: plain DNS is for names in its forward zone alone"
        return ""


class _Line:
    """One server, and how it has done."""

    def __init__(self, server: PlainServer, policy: str) -> None:
        self.server = server
        self._policy = policy
        self.behind_until = float("-inf")
        self.asked = 0
        self.answered = 0
        self.last_error = ""

    def failed(self, reason: str) -> None:
        """It has no answer."""
        self.last_error = reason
        self.behind_until = trio.current_time() + _BEHIND

    def statistics(self, now: float) -> UpstreamStatistics:
        """What is known of it."""
        return UpstreamStatistics(
            upstream=str(self.server),
            policy=self._policy,
            state="plain",
            verdict=None,
            tls=None,
            outstanding=0,
            connections=0,
            would_refuse=0,
            asked=self.asked,
            answered=self.answered,
            last_error=self.last_error,
            paused_for=max(0.0, self.behind_until - now),
        )


class _Asking:
    """One query at one server after the other, until one of them answers."""

    def __init__(self, query: bytes, door: Door) -> None:
        self._query = query
        self._door = door
        self._answer: bytes | None = None
        self._second_best: bytes | None = None  # tells a failure that no server could better
        self._reasons: dict[_Line, str] = {}  # of those that are not asked any more
        self._failed = trio.Event()

    async def run(self, lines: Sequence[_Line], waits: Sequence[float]) -> None:
        """Ask, until there is an answer or nobody is left."""
        async with trio.open_nursery() as nursery:
            for line, wait in ((line, wait) for wait in waits for line in lines):
                if line not in self._reasons:
                    self._failed = trio.Event()
                    nursery.start_soon(self._attempt, line, nursery.cancel_scope)
                    with trio.move_on_after(wait):
                        await self._failed.wait()
                    if len(self._reasons) == len(lines):
                        nursery.cancel_scope.cancel()

    def result(self, lines: Sequence[_Line], silent: str) -> bytes | UpstreamError:
        """What came of it, for who asked: the query's id, and nothing that passes for authentic."""
        answer = self._answer or self._second_best
        if answer is None:
            reasons = [f"{line.server}: {self._reasons.get(line, silent)}" for line in lines]
            return NoUpstream("; ".join(reasons[:3]) + (f" (+{len(reasons) - 3} more)" if len(reasons) > 3 else ""))
        return self._query[:2] + answer[2:3] + bytes((answer[3] & ~AD,)) + answer[4:]

    async def _attempt(self, line: _Line, scope: trio.CancelScope) -> None:
        line.asked += 1
        try:
            answer = await self._ask(line.server)
        except (OSError, trio.BrokenResourceError, Unanswered) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self._give_up(line, reason)
            return
        line.answered += 1
        if answer[3] & RCODE in _ELSEWHERE:
            self._second_best = self._second_best or answer
            self._give_up(line, f"RCODE {answer[3] & RCODE}")
            return
        self._answer = answer
        line.behind_until = float("-inf")
        scope.cancel()

    def _give_up(self, line: _Line, reason: str) -> None:
        """Nothing is to be had from this server."""
        self._reasons[line] = reason
        line.failed(reason)
        self._failed.set()

    async def _ask(self, server: PlainServer) -> bytes:
        """One attempt at one server; RFC 6891 s6.2.2: one that finds EDNS malformed is asked again without."""
        for edns in (True, False):
            wire = _own_query(self._query, edns=edns)
            answer = await ask_once(server, wire, self._door)
            if answer[4:6] != b"\0\0" and (answer[3] & RCODE != FORMERR or not edns):
                return answer
        raise Unanswered("it cannot read the question")


def _own_query(query: bytes, *, edns: bool) -> bytes:
    """The query as it goes out: an id of its own, no padding, an OPT record of the size that needs no fragments."""
    end = after_name(query, 12) + 4
    dnssec_ok = query[end + 7] & 0x80 != 0  # the OPT record's flags
    head = secrets.token_bytes(2) + query[2:10]
    return head + bytes((0, edns)) + query[12:end] + (opt_record(dnssec_ok=dnssec_ok) if edns else b"")
