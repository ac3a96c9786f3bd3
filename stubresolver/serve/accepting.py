"""Letting TCP clients in, also where descriptors or memory are short (accept(2): EMFILE, ENFILE, ENOBUFS, ENOMEM).

A client that cannot be accepted stays in the kernel's queue and keeps the listener readable, so trying again at once
would take a whole processor. The client that is worth least gives way; where none is, nobody is let in for a moment.
What goes wrong with one client ends its connection and nothing else. A shortage is told once a minute.
"""

import errno
import logging
import math
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NoReturn

import trio

_SHORT: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_PAUSE: Final = 0.1  # seconds until the next attempt: what trio's own listeners wait
_CLOSING: Final = 0.01  # seconds for the one that gives way to be gone
_TOLD: Final = 60.0  # seconds between two lines in the log

log = logging.getLogger("stubresolver")

Handler = Callable[[trio.SocketStream], Awaitable[None]]


class Acceptor:
    """Accepts on several listeners; each client is served in a task of its own."""

    def __init__(self, welcome: Handler, make_room: Callable[[], bool]) -> None:
        """`make_room` closes a connection, and gives False where none can go."""
        self._welcome = welcome
        self._make_room = make_room
        self._told = -math.inf
        self.short = 0  # how often nobody could be let in

    async def run(self, listeners: Sequence[trio.SocketListener], clients: trio.Nursery) -> None:
        """Let clients in until cancelled; the listeners are closed then."""
        async with trio.open_nursery() as nursery:
            for listener in listeners:
                nursery.start_soon(self._listen, listener, clients)

    async def _listen(self, listener: trio.SocketListener, clients: trio.Nursery) -> NoReturn:
        async with listener:
            while True:
                try:
                    stream = await listener.accept()
                except MemoryError:
                    await self._wait("not enough memory")
                except OSError as error:
                    if error.errno not in _SHORT:
                        raise
                    await self._wait(os.strerror(error.errno).lower())
                else:
                    clients.start_soon(self._serve, stream)

    async def _wait(self, problem: str) -> None:
        self.short += 1
        if trio.current_time() - self._told >= _TOLD:
            self._told = trio.current_time()
            log.warning("a TCP client could not be let in: %s; idle ones give way", problem)
        await trio.sleep(_CLOSING if self._make_room() else _PAUSE)

    async def _serve(self, stream: trio.SocketStream) -> None:
        try:
            await self._welcome(stream)
        except* MemoryError:
            log.warning("a TCP client was let go: not enough memory")
        finally:
            await trio.aclose_forcefully(stream)
