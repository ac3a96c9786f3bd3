"""One query from the first connection that it is asked on to its answer, or the reason why there is none.

A query is asked once more, on another connection, when its own ended before the answer or is silent; then a late
answer still counts. Should that one be no better, it is asked a third time and the last: of somebody else where both
were of one upstream; on any third connection where one of them was silent, because a router that was started anew has
forgotten all that stood.

It is asked once more, too, when others are answered on its connection and it alone is not: elsewhere at the same
provider, because most such names are slow to find for everybody, and that is no reason to tell a second provider, nor
to dial somebody who pauses. Should its own connection end or go silent meanwhile, the first rule holds.

It is asked once more, of another upstream, when the answer is a failure that the other one may not have (SERVFAIL,
another address) or is no answer to the question; a good answer from there is handed on, else the first one with its
extended errors. It goes to another provider only where its own has nobody else. A connection that we let go of
ourselves, because the machine moved, does not count.

No task is made where a connection stands and its answer is sound.

What it may not do: choose a connection, dial, look into an answer further than `soundness` does, or let an exchange
take longer than `query_timeout`.
"""

import functools
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Final

import trio

from stubresolver.errors import (
    ChannelClosed,
    ExchangeTimeout,
    NoUpstream,
    PolicyRefused,
    ProtocolViolation,
    UpstreamError,
)
from stubresolver.upstream.channel import Channel
from stubresolver.upstream.exchange import Exchange
from stubresolver.upstream.holding import MOVED
from stubresolver.upstream.line import Line
from stubresolver.upstream.lines import Lines
from stubresolver.upstream.soundness import Worth, is_sound, worth

Reply = Callable[[bytes | UpstreamError], None]

# How long a failure is held back for want of a connection to somebody who may know better: who cannot be reached within
# a second is not the healthy upstream that it is held back for.
SECOND_OPINION_SECONDS: Final = 1.0


@dataclass(slots=True)
class Late:
    """A query that takes longer than one sound answer."""

    query: bytes
    asked: Channel | None = None  # where it was asked last
    again: bool = False  # the second connection was no better
    fallback: bytes | None = None  # an answer that is better than none, while a better one is looked for


class Asking:
    """Asks on the connections of `lines`."""

    def __init__(self, lines: Lines, query_timeout: float) -> None:
        self._lines = lines
        self._query_timeout = query_timeout

    def exchange_soon(self, query: bytes, reply: Reply) -> None:
        """Ask, and call `reply` exactly once, within `query_timeout` seconds."""
        channel = self._lines.choose()
        if channel is not None:
            channel.ask(query, functools.partial(self._woken, query, channel, reply))
            return
        late = Late(query)
        self._start(late, self._connected_and_asked(late), reply, trio.current_time())

    def _woken(self, query: bytes, channel: Channel, reply: Reply, exchange: Exchange) -> None:
        """The exchange has its result; or it is overdue, or its channel has gone silent."""
        result = exchange.result
        if (isinstance(result, bytes) and is_sound(query, result)) or (result and _is_final(query, result)):
            reply(result)
        else:
            exchange.woken = None  # whoever follows it from now on waits for it
            late = Late(query, channel)
            self._start(late, self._followed(late, channel, exchange, result), reply, exchange.asked_at)

    def _start(self, late: Late, answer: Coroutine[None, None, bytes], reply: Reply, asked_at: float) -> None:
        """Get the answer in a task, within what is left of the query's time."""
        if self._lines.nursery is None:
            answer.close()
            reply(NoUpstream("shutting down"))
        else:
            deadline = asked_at + self._query_timeout
            self._lines.nursery.start_soon(self._reply_late, late, answer, reply, deadline)

    async def _reply_late(
        self, late: Late, answer: Coroutine[None, None, bytes], reply: Reply, deadline: float
    ) -> None:
        result: bytes | UpstreamError = NoUpstream("shutting down")  # stays so if this task is cancelled
        try:
            with trio.move_on_at(deadline) as limit:
                result = await answer
            if limit.cancelled_caught:
                timeout = ExchangeTimeout(f"no upstream answered within {self._query_timeout:g} s")
                result = late.fallback or self._lines.explained(timeout)
        except UpstreamError as error:
            result = late.fallback or error
        finally:
            reply(result)

    async def _connected_and_asked(self, late: Late) -> bytes:
        """Where no connection stands: dial, ask, and ask once more if need be."""
        channel = late.asked = await self._lines.connected()
        exchange = channel.ask(late.query)
        return await self._followed(late, channel, exchange, await _outcome(exchange))

    async def _followed(
        self, late: Late, channel: Channel, exchange: Exchange, result: bytes | UpstreamError | None
    ) -> bytes:
        """What comes of a query after its first turn."""
        while result is None:
            if channel.silent:
                return await self._race(late, channel, exchange.answer())
            if kin := self._lines.kin(channel):
                after_all = self._after_all(Late(late.query), channel, exchange)
                return await self._race(late, channel, after_all, kin)
            result = await _outcome(exchange)
        if isinstance(result, ChannelClosed):
            return await self._ask_anew(late, channel)
        if not _is_final(late.query, result):
            return await self._second_opinion(late, channel, result)
        if isinstance(result, UpstreamError):
            raise result
        return result

    async def _after_all(self, late: Late, channel: Channel, exchange: Exchange) -> bytes:
        """The answer of a connection that answers others; anybody's, where it ends or goes silent in the meantime."""
        result: bytes | UpstreamError | None = None
        while result is None:
            if channel.silent:
                return await self._race(late, channel, exchange.answer())
            result = await _outcome(exchange)
        if isinstance(result, ChannelClosed):
            return await self._ask_anew(late, channel)
        if isinstance(result, UpstreamError):
            raise result
        return result

    async def _ask_anew(self, late: Late, ended: Channel) -> bytes:
        """Ask once more what was asked on a connection that has ended."""
        if ended.ended == MOVED:
            return await self._connected_and_asked(late)
        return await self._ask_elsewhere(late, ended)

    async def _ask_elsewhere(
        self, late: Late, avoid: Channel, among: list[Line] | None = None, *, demand: bool = True
    ) -> bytes:
        while True:
            channel = late.asked = await self._lines.connected(avoid, among, demand=demand)
            exchange = channel.ask(late.query)
            try:
                answer = await exchange.wait()
                if answer is not None:
                    return answer
                if late.again:
                    return await exchange.answer()
                late.again = True
                return await self._race(late, channel, exchange.answer(), self._third(avoid, channel))
            except ChannelClosed:
                if channel.ended == MOVED:
                    continue
                among = self._third(avoid, channel)
                if late.again or among == [] or (among is None and avoid.ended is not None):
                    raise
                late.again, avoid = True, channel

    def _third(self, first: Channel, second: Channel) -> list[Line] | None:
        """Whom a query may be asked of that two connections did not answer; None for anybody."""
        same = self._lines.of(first) is self._lines.of(second)
        return self._lines.others(second, address=False) if same else None

    async def _second_opinion(self, late: Late, channel: Channel, first: bytes | UpstreamError) -> bytes:
        """Ask somebody else where the first answer is none; a failure is handed on if nobody does better."""
        own = isinstance(first, bytes)
        if isinstance(first, bytes) and worth(late.query, first) is Worth.FAILURE:
            late.fallback, error = first, None
        else:
            error = first if isinstance(first, UpstreamError) else _another_question(channel)
            self._lines.offended(channel, error, own=own)
        try:
            with trio.move_on_after(SECOND_OPINION_SECONDS) as limit:
                among = self._lines.others(channel, address=error is None)
                other = await self._lines.connected(channel, among, demand=False)
            if not limit.cancelled_caught:
                second = await self._asked_for_opinion(other, late.query)
                if _is_final(late.query, second):
                    self._lines.outdone(channel, other, own=own)
                    return second
        except UpstreamError:
            pass  # the first one's words count
        if late.fallback is not None:
            return late.fallback
        raise error or _another_question(channel)

    async def _asked_for_opinion(self, other: Channel, query: bytes) -> bytes:
        """The answer of somebody else, whose answers may be good for nothing, too."""
        try:
            answer = await other.exchange(query)
        except ProtocolViolation as error:
            self._lines.offended(other, error, own=False)
            raise
        if worth(query, answer) is Worth.VIOLATION:
            self._lines.offended(other, _another_question(other), own=True)
        return answer

    async def _race(
        self, late: Late, slow: Channel, after_all: Awaitable[bytes], among: list[Line] | None = None
    ) -> bytes:
        """The first good answer: from the slow or silent channel after all, or from elsewhere."""
        is_silent = slow.silent
        errors: list[UpstreamError] = []
        answers: list[bytes] = []

        async def take(source: Awaitable[bytes], *, late_one: bool) -> None:
            try:
                answer = await source
            except UpstreamError as error:
                errors.append(error)
            else:
                answers.append(answer)
                late.fallback = answer
                if _is_final(late.query, answer):
                    nursery.cancel_scope.cancel()
                    if late_one:
                        late.asked = slow
                    elif late.asked is not None and is_silent:
                        self._lines.outdone(slow, late.asked, own=False)
            if len(answers) + len(errors) == 2:
                nursery.cancel_scope.cancel()

        # While others are answered nobody's pause is cut short: `demand` is for where nothing serves.
        elsewhere = self._ask_elsewhere(late, slow, among, demand=is_silent)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(functools.partial(take, after_all, late_one=True))
            nursery.start_soon(functools.partial(take, elsewhere, late_one=False))
        if answers:
            return next((answer for answer in answers if _is_final(late.query, answer)), answers[0])
        raise min(errors, key=lambda error: not isinstance(error, PolicyRefused | NoUpstream))


async def _outcome(exchange: Exchange) -> bytes | UpstreamError | None:
    """As `Exchange.wait`, but a failure is a value."""
    try:
        return await exchange.wait()
    except UpstreamError as error:
        return error


def _is_final(query: bytes, result: bytes | UpstreamError) -> bool:
    """Whether nobody else is asked for something better."""
    if isinstance(result, UpstreamError):
        return not isinstance(result, ChannelClosed | ProtocolViolation)
    return worth(query, result) in {Worth.SOUND, Worth.FINAL}


def _another_question(channel: Channel) -> ProtocolViolation:
    return ProtocolViolation(f"{channel.stream.upstream}: got the answer to another question")
