"""What all TCP connections share: the event loop's time, and memory for answers that their clients have not taken.

- In one pass of the event loop all connections together take `_IN_A_PASS` queries, as many as a UDP socket's batch, at
  most `_AT_ONCE` in a row; who finds none left waits for the next pass, in the order in which they came. So thousands
  of queries that are pipelined on a hundred connections hold up nobody else for longer than one UDP socket does.
- All connections together hold `_OCTETS` of answers that were not taken; beyond that one that wants to hold more than
  `_LEAST`, two answers of the largest size, is cut off. One alone may hold `_MOST`.
"""

from typing import Final

import trio

_IN_A_PASS: Final = 64
_AT_ONCE: Final = 8
_GRANTED: Final = _IN_A_PASS // _AT_ONCE

_LARGEST: Final = 65537  # RFC 1035 s4.2.2: two octets of length, 65,535 of message
_LEAST: Final = 2 * _LARGEST
_MOST: Final = 16 * _LARGEST
_OCTETS: Final = 16 << 20


class Commons:
    """For the connections of one `TcpServer`; `run` hands out the turns."""

    __slots__ = ("_due", "_held", "_left", "_waiting")

    def __init__(self) -> None:
        self._left = _IN_A_PASS
        self._waiting = trio.lowlevel.ParkingLot()
        self._due = trio.Event()  # somebody found none left
        self._held = 0

    @property
    def held(self) -> int:
        """Octets of answers that were not taken yet."""
        return self._held

    async def run(self) -> None:
        """Hand out turns, until cancelled."""
        while True:
            await self._due.wait()  # until the next pass, as somebody found none left in this one
            granted = self._waiting.unpark(count=_GRANTED)
            self._left = _IN_A_PASS - _AT_ONCE * len(granted)
            if not self._waiting:
                self._due = trio.Event()

    async def turn(self, wanted: int) -> int:
        """How many of so many queries may be taken now, at least one; waits only where none is left."""
        wanted = min(wanted, _AT_ONCE)
        if self._left >= wanted:
            self._left -= wanted
        else:
            self._due.set()
            await self._waiting.park()
        return wanted

    def hold(self, octets: int) -> None:
        """So many octets more wait for a client; negative for those that it has taken."""
        self._held += octets

    def allows(self, octets: int) -> bool:
        """Whether one connection may hold so many, which are counted already."""
        return octets <= _LEAST or (octets <= _MOST and self._held <= _OCTETS)
