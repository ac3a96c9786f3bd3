"""One query from the first connection that it is asked on to its answer, or the reason why there is none.

A query is asked at most twice: once more, elsewhere if possible, when its connection ended or went silent. No task is
made where a connection stands and answers.

What it may not do: choose a connection, dial, know what a query or an answer means, or let an exchange take longer than
`query_timeout`.
"""

import functools
from collections.abc import Awaitable, Callable, Coroutine

import trio

from stubresolver.errors import ChannelClosed, ExchangeTimeout, NoUpstream, PolicyRefused, UpstreamError
from stubresolver.upstream.channel import Channel, Exchange
from stubresolver.upstream.lines import Lines


class Asking:
    """Asks on the connections of `lines`."""

    def __init__(self, lines: Lines, query_timeout: float) -> None:
        self._lines = lines
        self._query_timeout = query_timeout

    def exchange_soon(self, query: bytes, reply: Callable[[bytes | UpstreamError], None]) -> None:
        """Ask, and call `reply` exactly once."""
        try:
            channel = self._lines.choose(None)
            if channel is not None:
                channel.ask(query, functools.partial(self._woken, query, channel, reply))
                return
        except UpstreamError as error:
            reply(error)
            return
        self._start(self._connected_and_asked(query), reply)

    def _woken(
        self, query: bytes, channel: Channel, reply: Callable[[bytes | UpstreamError], None], exchange: Exchange
    ) -> None:
        """The exchange has its result; or its channel has ended or gone silent: then ask once more, elsewhere."""
        result = exchange.result
        if result is None:
            exchange.woken = None  # whoever races it from now on waits for it
            self._start(self._race(query, channel, exchange), reply, exchange.asked_at)
        elif isinstance(result, ChannelClosed):
            self._start(self._ask_elsewhere(query, channel), reply, exchange.asked_at)
        else:
            reply(result)

    def _start(
        self,
        answer: Coroutine[None, None, bytes],
        reply: Callable[[bytes | UpstreamError], None],
        asked_at: float | None = None,
    ) -> None:
        """Get the answer in a task, within what is left of the query's time."""
        if self._lines.nursery is None:
            answer.close()
            reply(NoUpstream("shutting down"))
            return
        started = trio.current_time() if asked_at is None else asked_at
        self._lines.nursery.start_soon(self._reply_late, answer, reply, started + self._query_timeout)

    async def _reply_late(
        self,
        answer: Coroutine[None, None, bytes],
        reply: Callable[[bytes | UpstreamError], None],
        deadline: float,
    ) -> None:
        result: bytes | UpstreamError = NoUpstream("shutting down")  # stays so if this task is cancelled
        try:
            with trio.move_on_at(deadline) as limit:
                result = await answer
            if limit.cancelled_caught:
                result = ExchangeTimeout(f"no upstream answered within {self._query_timeout:g} s")
        except UpstreamError as error:
            result = error
        finally:
            reply(result)

    async def _connected_and_asked(self, query: bytes) -> bytes:
        """Where no connection stands: dial, ask, and ask once more elsewhere if need be."""
        channel = await self._lines.connected(None)
        exchange = channel.ask(query)
        try:
            answer = await exchange.wait()
        except ChannelClosed:
            return await self._ask_elsewhere(query, channel)
        return answer if answer is not None else await self._race(query, channel, exchange)

    async def _ask_elsewhere(self, query: bytes, avoid: Channel) -> bytes:
        channel = await self._lines.connected(avoid)
        return await channel.exchange(query)

    async def _race(self, query: bytes, silent: Channel, exchange: Exchange) -> bytes:
        """The first answer: from the silent channel after all, or from elsewhere."""
        answers: list[bytes] = []
        errors: list[UpstreamError] = []

        async def take(source: Awaitable[bytes]) -> None:
            try:
                answers.append(await source)
            except UpstreamError as error:
                errors.append(error)
            if answers or len(errors) == 2:
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take, exchange.answer())
            nursery.start_soon(take, self._ask_elsewhere(query, silent))
        if answers:
            return answers[0]
        raise min(errors, key=lambda error: not isinstance(error, PolicyRefused | NoUpstream))
