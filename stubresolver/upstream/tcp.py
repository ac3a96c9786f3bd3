"""A TCP connection to an upstream's address, and no octet on it.

A SYN that is lost, or sent while the network is away, is sent again by the kernel after 1, 2 and 4 seconds (RFC 6298
s2 and s5.5). Nobody waits that long for a name. So every half second a further connection is begun beside the pending
ones, on a socket of its own; the first to stand is used and the others are closed. That costs a SYN each half second to
an address that does not answer, and half a second instead of up to four when it does again.

What it may not do: encrypt, judge, try another address, or set its own time limit; who dials does that.
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import trio
from trio import socket

from stubresolver.upstream.upstream import Upstream

# RFC 5482: how long written octets may stay unacknowledged before the kernel gives the connection up; Linux would wait
# some 15 minutes (tcp_retries2). Twice the dial's patience: a flaky radio link recovers, a dead one does not linger.
USER_TIMEOUT_MS = 10_000

AGAIN_SECONDS: Final = 0.5  # half of the kernel's first wait (RFC 6298 s2: 1 s), and longer than any terrestrial path
ATTEMPTS: Final = 6  # within `connect_timeout` there is no time for more; the last ones go on to its end

_T = TypeVar("_T")


async def open_tcp(upstream: Upstream) -> trio.abc.Stream:
    """A TCP connection to the upstream's address; OSError where there is none."""
    sock = await first_of(lambda: _connect(upstream), lambda sock: sock.close())
    return trio.SocketStream(sock)


async def first_of(attempt: Callable[[], Awaitable[_T]], discard: Callable[[_T], None]) -> _T:
    """What the first attempt to succeed has brought; a further one begins every half second until then.

    The OSError of the last attempt that was pending, as soon as none is. What is brought and not used is discarded.
    """
    brought: list[_T] = []
    pending = 0
    failure = OSError("no attempt was made")

    async def run() -> None:
        nonlocal pending, failure
        pending += 1
        try:
            brought.append(await attempt())
        except OSError as error:
            failure = error
        pending -= 1
        if brought or not pending:
            nursery.cancel_scope.cancel()

    try:
        async with trio.open_nursery() as nursery:
            for _ in range(ATTEMPTS):
                nursery.start_soon(run)
                await trio.sleep(AGAIN_SECONDS)
    except BaseException:
        for unused in brought:
            discard(unused)
        raise
    for unused in brought[1:]:  # two can end in the same turn
        discard(unused)
    if not brought:
        raise failure
    return brought[0]


async def _connect(upstream: Upstream) -> socket.SocketType:
    family = socket.AF_INET if upstream.address.version == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        # RFC 7766 s8 and Nagle (RFC 9293 s3.7.4): queries are small, complete and urgent.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
        await sock.connect((str(upstream.address), upstream.port))
    except BaseException:
        sock.close()
        raise
    return sock
