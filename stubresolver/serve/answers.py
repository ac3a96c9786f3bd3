"""What the listeners need of whoever knows the answers; the resolver fits without being named here."""

from collections.abc import Callable
from typing import Protocol

from stubresolver.wire.query import Query


class Answers(Protocol):
    """The ways to an answer. None of them blocks, none raises because of what a client asked."""

    def answer_nowait(self, query: Query, now: float) -> bytes | None:
        """The answer if it is at hand at `now` (monotonic seconds), None if it must be fetched."""

    def shed(self, query: Query, now: float, asker: bytes) -> bytes | None:
        """What to reply instead of fetching the answer, because too much is asked; None if it is to be fetched.

        `asker` tells clients apart (`serve.asker`), so that one who wants everything leaves something for the others.
        """

    def answer_soon(self, query: Query, reply: Callable[[bytes], None], asker: bytes = b"") -> None:
        """Fetch the answer; `reply` is called with it exactly once, at once or later, whatever happens upstream."""

    def press(self, now: float) -> None:
        """More is waiting in a socket than can be taken in time."""
