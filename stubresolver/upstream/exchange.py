"""One query on one channel, from asking to its result: who waits, and how they are woken.

What it may not do: know the protocol or the stream; the channel does, and puts the result in.
"""

from collections.abc import Callable
from typing import Protocol

from trio.lowlevel import Abort, RaiseCancelT, Task, checkpoint, current_task, reschedule, wait_task_rescheduled

from stubresolver.errors import UpstreamError
from stubresolver.transport.protocol import Token


class Asked(Protocol):
    """The channel, as far as an exchange knows it."""

    def give_up(self, exchange: "Exchange") -> None:
        """Nobody waits for this exchange any more."""


class Exchange:
    """One query on one channel: who waits, and what became of it."""

    __slots__ = ("_channel", "_task", "asked_at", "result", "token", "told", "wire", "woken")

    def __init__(
        self, channel: Asked, wire: bytes, now: float, woken: Callable[["Exchange"], None] | None = None
    ) -> None:
        self._channel = channel
        self._task: Task | None = None
        self.wire = wire
        self.asked_at = now
        self.woken = woken  # called when there is a result, or `told`; None for an asker that waits
        self.told = False  # its asker has heard that the answer is overdue, or that nobody is answered
        self.token: Token | None = None  # None while it waits for room
        self.result: bytes | UpstreamError | None = None  # None while it is under way

    async def wait(self) -> bytes | None:
        """The answer; or None if it is overdue or the channel silent: then wait again, and perhaps ask elsewhere too.

        Raises an `UpstreamError` where there will be no answer. A cancelled wait gives the exchange up.
        """
        if self.result is None:
            self._task = current_task()
            await wait_task_rescheduled(self._abort)
        else:
            await checkpoint()
        if isinstance(self.result, UpstreamError):
            raise self.result
        return self.result

    async def answer(self) -> bytes:
        """Wait for the answer, however late it is."""
        while (answer := await self.wait()) is None:
            pass
        return answer

    def wake(self) -> None:
        """Let the asker look at the result; without one, it is told that there is none yet."""
        self.told = True
        if self.woken is not None:
            self.woken(self)
            return
        task, self._task = self._task, None
        if task is not None:
            reschedule(task)

    def _abort(self, _raise_cancel: RaiseCancelT) -> Abort:
        self._task = None
        self._channel.give_up(self)
        return Abort.SUCCEEDED
