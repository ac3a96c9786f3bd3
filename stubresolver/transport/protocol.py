"""The shape that DoT and DoH share: a machine that turns queries into octets and octets into answers.

No socket, no TLS, no time. The driver (upstream/channel.py) feeds what it read and writes what the machine has to say.
"""

from dataclasses import dataclass
from typing import NewType, Protocol

Token = NewType("Token", int)  # names one outstanding query on one connection


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to one query, with the id that the query bore when it was given in."""

    token: Token
    wire: bytes


@dataclass(frozen=True, slots=True)
class Late:
    """An answer came that nobody waits for any more: the peer lives."""


@dataclass(frozen=True, slots=True)
class Failed:
    """One query got no answer although the connection lives (stream reset, HTTP error)."""

    token: Token
    reason: str
    retry: bool  # True if the peer surely did not process it, so that asking again elsewhere is sound


@dataclass(frozen=True, slots=True)
class Draining:
    """The peer takes no more queries on this connection; those under way may still be answered (GOAWAY)."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The connection is over; whatever is outstanding will not be answered here. `reason` is "" for a clean end."""

    reason: str
    violation: bool = False  # the peer broke the protocol, or sent what nobody needs: no accident of the network


Event = Answered | Late | Failed | Draining | Ended


class QueryProtocol(Protocol):
    """One connection's worth of DoT or DoH."""

    worn: bool  # so much of its room is kept for answers that nobody waits for that a fresh connection is better

    @property
    def room(self) -> int:
        """How many more queries may be sent now."""

    def send_query(self, wire: bytes) -> Token:
        """Take one query in wire format; its octets come out of `data_to_send`."""

    def receive_data(self, data: bytes) -> list[Event]:
        """Take octets that arrived (b"" for the end of the stream) and say what they mean. Never raises."""

    def data_to_send(self) -> list[bytes]:
        """Everything that is to be written now, in pieces that want a TLS record each; empty for nothing."""

    def forget(self, token: Token) -> None:
        """Nobody waits for this answer any more; a late one must reach nobody."""
