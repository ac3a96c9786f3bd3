"""A resolver that is asked by the listeners, and the queries that it is asked."""

import struct
from collections.abc import Callable

import pytest

from stubresolver.wire.query import Query


class FakeAnswers:
    """Answers names that begin with `h` at once and keeps the askers of all others until `release` is called.

    While it is `refusing` it sheds those others.
    """

    def __init__(self) -> None:
        self.waiting: list[tuple[Query, Callable[[bytes], None]]] = []
        self.size = 0  # octets added to every answer
        self.asked = 0
        self.refusing = False
        self.askers: list[bytes] = []
        self.pressed: list[float] = []

    def render(self, query: Query) -> bytes:
        """An answer that repeats the whole query, as a response."""
        return query.wire[:2] + bytes((query.wire[2] | 0x80,)) + query.wire[3:] + bytes(self.size)

    def answer_nowait(self, query: Query, now: float) -> bytes | None:
        self.asked += 1
        return self.render(query) if query.wire[13:14] == b"h" else None

    def shed(self, query: Query, now: float, asker: bytes) -> bytes | None:
        self.askers.append(asker)
        return query.wire[:2] + b"shed" if self.refusing else None

    def press(self, now: float) -> None:
        self.pressed.append(now)

    def answer_soon(self, query: Query, reply: Callable[[bytes], None], asker: bytes = b"") -> None:
        self.waiting.append((query, reply))

    def release(self) -> None:
        """Answer all that wait, the last asker first."""
        while self.waiting:
            query, reply = self.waiting.pop()
            reply(self.render(query))


@pytest.fixture
def answers() -> FakeAnswers:
    """A resolver that answers `hit` at once and `miss` when released."""
    return FakeAnswers()


@pytest.fixture
def ask() -> Callable[..., bytes]:
    """Write a query for one label: `ask("hit", 7)`."""

    def write(label: str, number: int = 1) -> bytes:
        header = struct.pack(">6H", number, 0x0100, 1, 0, 0, 0)
        return header + bytes((len(label),)) + label.encode() + b"\0" + struct.pack(">2H", 1, 1)

    return write
