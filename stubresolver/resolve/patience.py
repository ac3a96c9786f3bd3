"""Who has waited long enough: one task for all, because all wait equally long.

RFC 8767 s5 calls it the client response timer and recommends 1.8 seconds, because many clients ask again after two.
Here it runs for a flight and not for each of its askers: who joins one that is overdue has no better reason to wait.
"""

import math
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import trio

CLIENT_SECONDS: Final = 1.8

_T = TypeVar("_T")


class Patience(Generic[_T]):
    """Calls back for each thing that was waited for, `CLIENT_SECONDS` after it was begun."""

    def __init__(self, end: Callable[[_T], None]) -> None:
        """`end` may not raise; whether the waiting is over by then is for it to know."""
        self._end = end
        self._begun: deque[tuple[float, _T]] = deque()  # by time: they end in the order in which they began
        self._sleep = trio.CancelScope()

    def begin(self, waited_for: _T, now: float) -> None:
        """Start to wait."""
        self._begun.append((now + CLIENT_SECONDS, waited_for))
        if len(self._begun) == 1:
            self._sleep.cancel()

    async def run(self) -> None:
        """Call back at the right moments, until cancelled."""
        while True:
            with trio.CancelScope() as self._sleep:
                await trio.sleep_until(self._begun[0][0] if self._begun else math.inf)
            now = trio.current_time()
            while self._begun and self._begun[0][0] <= now:
                self._end(self._begun.popleft()[1])
