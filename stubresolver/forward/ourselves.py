"""Whether a server is one of our own listeners: it would ask itself, whoever named it.

By address and port. A way back to us through another machine is not seen here; it ends because who asks what is under
way waits for that (see `resolve.resolver`), so such a loop costs one exchange and its time.
"""

import socket
from collections.abc import Collection

from stubresolver.upstream.clear import socket_address
from stubresolver.upstream.server import PlainServer

Listening = Collection[tuple[str, int]]  # hosts and ports


def is_own(server: PlainServer, listening: Listening) -> bool:
    """Whether the server is one of our own listeners."""
    hosts = {host for host, port in listening if port == server.port}
    everywhere = "::" in hosts or ("0.0.0.0" in hosts and server.address.version == 4)  # noqa: S104 - not bound here
    return str(server.address) in hosts or (everywhere and _is_here(server))


def _is_here(server: PlainServer) -> bool:
    """Whether the address is one of this machine: what is sent to it comes from it."""
    if server.address.is_loopback:
        return True
    family = socket.AF_INET6 if server.address.version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect(socket_address(server))  # sends nothing
            return bool(sock.getsockname()[0] == str(server.address))
    except OSError:
        return False
