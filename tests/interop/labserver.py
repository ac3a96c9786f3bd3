"""A server of the lab on a thread of its own, so that a test can ask the resolver in the meantime."""

import contextlib
import threading
from collections.abc import Iterator

import trio

from stubresolver.lab.servers import Server


@contextlib.contextmanager
def running(server: Server) -> Iterator[int]:
    """The port of the server, which runs until the block ends."""
    started = threading.Event()
    found: list[tuple[int, trio.lowlevel.TrioToken, trio.CancelScope]] = []

    async def main() -> None:
        try:
            async with trio.open_nursery() as nursery:
                port = await nursery.start(server.serve)
                found.append((port, trio.lowlevel.current_trio_token(), nursery.cancel_scope))
                started.set()
        finally:
            started.set()

    thread = threading.Thread(target=trio.run, args=(main,), name="lab server")
    thread.start()
    assert started.wait(10), "the lab's server does not start"
    assert found, "the lab's server ended at its start"
    ((port, token, scope),) = found
    try:
        yield port
    finally:
        token.run_sync_soon(scope.cancel)
        thread.join(10)
        assert not thread.is_alive(), "the lab's server does not end"
