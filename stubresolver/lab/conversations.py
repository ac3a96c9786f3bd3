"""What the lab's servers say inside TLS, honest or misbehaving, and DoT in full. No socket, no TLS, no clock.

Each conversation takes plaintext and gives plaintext. Nothing that a client sends raises: a client that breaks the
protocol ends its own connection. Misbehaviours are values, so that a test names what it wants and no more.

RFC 7858 (DoT), RFC 1035 s4.2.2 (framing).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

AnswerFunction = Callable[[bytes], bytes | None]
"""A query in wire format -> its answer, or None for nothing. Never raises."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a server departs from a good one, counted per connection; the default departs in nothing."""

    silent: bool = False  # takes queries and never answers
    wrong_question: bool = False  # answers with another name in the question
    reorder: int = 1  # waits for so many queries, then answers the last one first
    close_after: int | None = None  # the query with this number is not answered: the connection ends, in good order
    cut_after: int | None = None  # half of the answer to the query with this number, then the end without a word
    http_status: int = 200  # DoH: the status of every response
    refuse_first: int = 0  # DoH: so many streams are reset with REFUSED_STREAM
    goaway_after: int | None = None  # DoH: GOAWAY with the query of this number, later streams are not processed


@dataclass(slots=True)
class Tally:
    """What a server has seen, over all its connections."""

    connections: int = 0
    handshakes: int = 0  # completed ones
    application_octets: int = 0  # received, decrypted
    queries: int = 0


class Conversation(Protocol):
    """One connection's machine."""

    ended: bool  # nothing more will be said; the connection is to be closed
    cut: bool  # ... without close_notify

    def receive_data(self, data: bytes) -> bytes:
        """Take plaintext (b"" at the start) and give what is to be written. Never raises."""


@dataclass(slots=True)
class Desk:
    """Takes queries in and hands answers out as the behaviour wants; a ticket says where an answer belongs."""

    answer: AnswerFunction
    behaviour: Behaviour
    tally: Tally
    taken: int = 0
    held: list[tuple[int, bytes]] = field(default_factory=list)

    def take(self, ticket: int, query: bytes) -> list[tuple[int, bytes]]:
        """The answers that are to be sent now, in this order."""
        self.taken += 1
        self.tally.queries += 1
        answer = None if self.behaviour.silent or self.closes else self.answer(query)
        if answer is None:
            return []
        self.held.append((ticket, _ask_otherwise(answer) if self.behaviour.wrong_question else answer))
        if len(self.held) < self.behaviour.reorder:
            return []
        ready, self.held = self.held[::-1], []
        return ready

    @property
    def closes(self) -> bool:
        """True if the query just taken is the one that ends the connection."""
        return self.taken == self.behaviour.close_after

    @property
    def cuts(self) -> bool:
        """True if the answer to the query just taken is the one that is cut."""
        return self.taken == self.behaviour.cut_after


class DotConversation:
    """RFC 7858: length-framed messages, answered as they come."""

    def __init__(self, desk: Desk) -> None:
        self.ended = False
        self.cut = False
        self._desk = desk
        self._buffer = b""

    def receive_data(self, data: bytes) -> bytes:
        """Take plaintext and give the frames of the answers."""
        self._buffer += data
        reply = b""
        while not self.ended and (frame := self._next_frame()) is not None:
            for _, answer in self._desk.take(0, frame):
                # RFC 1035 s4.2.2: "The message is prefixed with a two byte length field"
                framed = len(answer).to_bytes(2) + answer
                reply += framed[: len(framed) // 2] if self._desk.cuts else framed
            self.cut = self._desk.cuts
            self.ended = self._desk.closes or self._desk.cuts
        return reply

    def _next_frame(self) -> bytes | None:
        end = 2 + int.from_bytes(self._buffer[:2])
        if len(self._buffer) < 2 or len(self._buffer) < end:
            return None
        frame, self._buffer = self._buffer[2:end], self._buffer[end:]
        return frame


def _ask_otherwise(answer: bytes) -> bytes:
    """The same message with one bit of its question turned: the first letter of the name, or the type of the root."""
    octets = bytearray(answer)
    octets[13:14] = (octets[13] ^ 1).to_bytes(1)
    return bytes(octets)
