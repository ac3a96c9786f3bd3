"""What the listeners need of whoever knows the answers; the resolver fits without being named here."""

from collections.abc import Callable
from typing import Protocol

from stubresolver.wire.query import Query


class Answers(Protocol):
    """The two ways to an answer. Neither blocks, neither raises because of what a client asked."""

    def answer_nowait(self, query: Query, now: float) -> bytes | None:
        """The answer if it is at hand at `now` (monotonic seconds), None if it must be fetched."""

    def answer_soon(self, query: Query, reply: Callable[[bytes], None]) -> None:
        """Fetch the answer; `reply` is called with it exactly once, at once or later, whatever happens upstream."""
