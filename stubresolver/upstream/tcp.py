"""A TCP connection to an upstream's address, and no octet on it.

What it may not do: encrypt, judge, try another address, or set its own time limit; who dials does that.
"""

import trio
from trio import socket

from stubresolver.upstream.upstream import Upstream

# RFC 5482: how long written octets may stay unacknowledged before the kernel gives the connection up; Linux would wait
# some 15 minutes (tcp_retries2). Twice the dial's patience: a flaky radio link recovers, a dead one does not linger.
USER_TIMEOUT_MS = 10_000


async def open_tcp(upstream: Upstream) -> trio.abc.Stream:
    """A TCP connection to the upstream's address; OSError where there is none."""
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
    return trio.SocketStream(sock)
