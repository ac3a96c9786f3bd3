"""Which network the machine is in, watched: the kernel says that something has changed, and is asked what.

Its messages only wake us; then it is asked for its route to each upstream, and what differs counts. So messages that
were lost (ENOBUFS) cost nothing, a lifetime that is renewed or a container that starts is no change, and a VPN's policy
route is one. They come in bursts: after the first one we wait for a fiftieth of a second of quiet, half a second at
most, and read no more of them than a few hundred in a burst, however many there are.

Each change that is told costs handshakes. Anybody on the link can make himself its router and cease to be it many times
a second (RFC 3756 s4.2.1), so after `MOVES` in a row no more than one a second is told, of what is so by then.

Only the kernel is believed (sender's port id 0, netlink(7)). Asking may wait for a lock of the kernel's, so it is done
in a thread. Without netlink (a container, a sandbox) nothing is watched: that is said once, and all else works.
"""

import errno
import secrets
import socket
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import trio

from stubresolver.netwatch.change import Network
from stubresolver.netwatch.netlink import (
    GROUPS,
    Message,
    Route,
    Surroundings,
    interrupts,
    left,
    link_request,
    link_runs,
    messages,
    network_key,
    read_route,
    route_request,
)

Address = IPv4Address | IPv6Address

QUIET_SECONDS: Final = 0.02  # a program that sets up an interface needs a few milliseconds for each step of it
LONGEST_SECONDS: Final = 0.5  # of a burst: half of what an answer after a move may take
MOVES: Final = 8  # a laptop that wakes up, joins a network and starts a VPN there: three or four
MOVE_SECONDS: Final = 1.0  # until one more is told after these; in between there is time for an answer
RETRY_SECONDS: Final = 1.0  # where there was no thread to ask in, or no descriptor

_DATAGRAMS: Final = 256  # read of one burst at a time; the kernel's own buffer holds about as many
_ANSWER_SECONDS: Final = 1.0
_OCTETS: Final = 65_536
_KERNEL: Final = 0  # its port id


def look(targets: Sequence[Address]) -> Surroundings:
    """How the kernel would send to each of these now; raises `OSError` where it cannot be asked. Blocks."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as sock:
        sock.bind((0, 0))
        sock.settimeout(_ANSWER_SECONDS)
        routes: list[Route | None] = []
        running: dict[int, bool] = {}
        for target in targets:
            answer = _asked(sock, partial(route_request, target))
            route = read_route(answer)
            if route is not None and route.interface not in running:
                link = _asked(sock, partial(link_request, route.interface))
                running[route.interface] = link_runs(link)
            routes.append(route if route is not None and running[route.interface] else None)
        return tuple(routes)


def _asked(sock: socket.socket, request: Callable[[int], bytes]) -> Message:
    """The kernel's answer to a request."""
    sequence = secrets.randbits(32)
    sock.sendto(request(sequence), (_KERNEL, 0))
    while True:
        datagram, sender = sock.recvfrom(_OCTETS)
        if sender[0] != _KERNEL:
            continue
        for message in messages(datagram):
            if message.sequence == sequence:
                return message


def open_events() -> socket.socket:
    """A socket to which the kernel tells what changes; raises `OSError`."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    try:
        sock.setblocking(False)
        sock.bind((0, GROUPS))
    except OSError:
        sock.close()
        raise
    return sock


class Monitor:
    """Watches the way to some addresses."""

    def __init__(
        self,
        targets: Sequence[Address],
        changed: Callable[[Network], None],
        *,
        look: Callable[[Sequence[Address]], Surroundings] = look,
    ) -> None:
        """`changed` is called with the network at the start, when it is another one, and when it was away."""
        self._targets = tuple(dict.fromkeys(targets))
        self._changed = changed
        self._look = look
        self._salt = secrets.token_bytes(16)
        self._surroundings: Surroundings = ()
        self._told_until = float("-inf")  # each change that is told takes `MOVE_SECONDS` of the time before it

    async def run(self, events: socket.socket) -> None:
        """Watch until cancelled; `events` is closed then."""
        with events:
            self._surroundings = await self._looked()
            self._tell()
            while True:
                await trio.sleep_until(self._told_until)
                interrupted = await self._burst(events)
                surroundings = await self._looked()
                elsewhere = interrupted or left(self._surroundings, surroundings)
                self._surroundings = surroundings
                if elsewhere:
                    earliest = trio.current_time() - (MOVES - 1) * MOVE_SECONDS
                    self._told_until = max(self._told_until, earliest) + MOVE_SECONDS
                    self._tell()

    def _tell(self) -> None:
        key = network_key(self._surroundings, self._salt)
        self._changed(Network(key, bool(key)))

    async def _looked(self) -> Surroundings:
        while True:
            try:
                return await trio.to_thread.run_sync(self._look, self._targets, abandon_on_cancel=True)
            except (OSError, RuntimeError):  # the second: no thread can be started
                await trio.sleep(RETRY_SECONDS)

    async def _burst(self, events: socket.socket) -> bool:
        """Wait for messages, and for quiet after them; True if what was in use has gone, be it for a moment."""
        interrupted = more = False
        while not more:
            await trio.lowlevel.wait_readable(events)
            interrupted, more = self._drain(events)
        longest = trio.current_time() + LONGEST_SECONDS
        while more and trio.current_time() < longest:
            await trio.sleep(QUIET_SECONDS)
            also, more = self._drain(events)
            interrupted |= also
        return interrupted

    def _drain(self, events: socket.socket) -> tuple[bool, bool]:
        """Read what is there: whether it interrupts, and whether there was anything of the kernel's."""
        interrupted = heard = False
        for _ in range(_DATAGRAMS):
            try:
                datagram, sender = events.recvfrom(_OCTETS)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # messages were lost, as if one had come
                    raise
                heard = True
                continue
            if sender[0] == _KERNEL:
                heard = True
                interrupted |= any(interrupts(message, self._surroundings) for message in messages(datagram))
        return interrupted, heard
