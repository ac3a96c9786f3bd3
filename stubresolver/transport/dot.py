"""DNS over TLS (RFC 7858) as a machine: queries in, framed octets out; octets in, answers out in any order.

It owns the message ids of one connection and nothing else: no socket, no TLS, no time. It never looks into a message
beyond its id. An id whose asker has gone stays reserved until its late answer arrives or the connection ends; else a
late answer would reach whoever got the id next.

What a peer can send is bounded by what it was asked: each message answers a query that is owed, once, or ends the
connection; so does the first octet that comes while nothing is owed.
"""

from stubresolver.transport.protocol import Answered, Ended, Event, Late, Token
from stubresolver.wire.framing import FrameReader, frame

# How many answers one connection may owe, forgotten ones included. RFC 7766 s6.2.1 names no number for pipelining; ids
# would allow 65,536 (RFC 1035 s4.1.1). A thousand at 10 ms of round trip are 100,000 queries a second, more than this
# program can ask, so a connection that owes more is ill and not busy.
MAX_OUTSTANDING = 1000

# How many of them may be kept for nobody. A flood of names that their servers never answer would fill the connection in
# seconds; half of the room is left to be used while a fresh connection is made.
MAX_FORGOTTEN = MAX_OUTSTANDING // 2

_HEADER = 12  # RFC 1035 s4.1.1
_LATE = Late()


class DotProtocol:
    """One connection's worth of DoT; implements `QueryProtocol`."""

    def __init__(self) -> None:
        self._reader = FrameReader()
        self._unsent: list[bytes] = []
        self._next = 0  # tokens count up; a token's low 16 bits are its id on the wire
        self._owed: dict[int, tuple[Token, bytes] | None] = {}  # id -> token and the caller's id; None: forgotten
        self.worn = False
        self._forgotten = 0
        self._ended = False

    @property
    def room(self) -> int:
        """How many more queries may be sent now."""
        return 0 if self._ended else MAX_OUTSTANDING - len(self._owed)

    def send_query(self, wire: bytes) -> Token:
        """Take one query. Ids count up: RFC 5452 s4.3 wants them hard to guess for UDP; behind TLS nobody can guess."""
        while (number := self._next & 0xFFFF) in self._owed:
            self._next += 1
        token = Token(self._next)
        self._next += 1
        self._owed[number] = (token, wire[:2])
        self._unsent.append(frame(number.to_bytes(2, "big") + wire[2:]))
        return token

    def receive_data(self, data: bytes) -> list[Event]:
        """Match each whole frame to the query that bears its id. Never raises."""
        if self._ended:
            return []
        if not data:
            self._ended = True
            return [Ended("the upstream closed the connection within a message" if self._reader.pending else "")]
        events: list[Event] = []
        owed = self._owed
        for wire in self._reader.feed(data):
            if len(wire) < _HEADER:
                return self._violation(events, f"got a message of {len(wire)} octets, expected at least {_HEADER}")
            number = wire[0] << 8 | wire[1]
            if number not in owed:
                # RFC 7766 s7: "Clients MUST match responses to outstanding queries ... using the Message ID".
                return self._violation(events, f"got an answer with id {number}, which no query bears")
            asked = owed.pop(number)
            if asked is not None:
                events.append(Answered(asked[0], asked[1] + wire[2:]))
            else:
                self._forget(-1)
                events.append(_LATE)
        if not owed and self._reader.pending:
            return self._violation(events, "the upstream sends and was not asked")
        return events

    def data_to_send(self) -> list[bytes]:
        """All queries since the last call, each a piece of its own.

        RFC 7858 s3.3 lets several messages share a TLS record, but dnsdist 1.7 with its defaults reads the first one of
        a record and forgets the rest. A record for each costs 2 µs; they still leave in one write.
        """
        frames, self._unsent = self._unsent, []
        return frames

    def forget(self, token: Token) -> None:
        """Nobody waits for this answer any more; its id stays reserved."""
        asked = self._owed.get(token & 0xFFFF)
        if asked is not None and asked[0] == token:
            self._owed[token & 0xFFFF] = None
            self._forget(1)

    def _forget(self, change: int) -> None:
        self._forgotten += change
        self.worn = self._forgotten >= MAX_FORGOTTEN

    def _violation(self, events: list[Event], problem: str) -> list[Event]:
        self._ended = True
        events.append(Ended(f"protocol violation: {problem}", violation=True))
        return events
