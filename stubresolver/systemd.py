"""What systemd and we tell each other: inherited sockets, readiness, the watchdog (sd_listen_fds(3), sd_notify(3)).

The protocol is a few environment variables and datagrams, spoken here without libsystemd. Outside systemd each of these
functions does nothing. The variables of inherited sockets are removed once read, so that no child takes them for its
own. This module reads the environment, and no other beside `cli` does.
"""

import os
import socket
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass

import trio

from stubresolver.errors import CannotListen

_FIRST_DESCRIPTOR = 3  # SD_LISTEN_FDS_START, sd_listen_fds(3)
_INTERNET = (socket.AF_INET, socket.AF_INET6)


@dataclass(frozen=True, slots=True)
class InheritedSockets:
    """The sockets of `stubresolver.socket`: bound, non-blocking, ours to close."""

    udp: tuple[socket.socket, ...]
    tcp: tuple[socket.socket, ...]  # listening


def take_sockets(environ: MutableMapping[str, str] = os.environ) -> InheritedSockets | None:
    """The sockets that systemd passed to this process, None if it passed none.

    Raises `CannotListen` if they cannot serve DNS: anything but UDP and listening TCP over IPv4 or IPv6, or only one
    of the two.
    """
    given = {name: environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")}
    # sd_listen_fds(3): "$LISTEN_PID: must contain the decimal PID of the current process"; others' are left alone.
    if given["LISTEN_PID"] != str(os.getpid()) or given["LISTEN_FDS"] in {"", "0"}:
        return None
    count = given["LISTEN_FDS"]
    if not (count.isascii() and count.isdecimal()):
        raise CannotListen(f"LISTEN_FDS={count!r}: expected the number of sockets that systemd passed")
    names = given["LISTEN_FDNAMES"].split(":")
    sockets: list[socket.socket] = []
    try:
        while len(sockets) < int(count):
            name = names[len(sockets)] if len(sockets) < len(names) else "unknown"
            sockets.append(_adopt(_FIRST_DESCRIPTOR + len(sockets), name))
        return _sort(sockets)
    except CannotListen:
        for sock in sockets:
            sock.close()
        raise


def _sort(sockets: list[socket.socket]) -> InheritedSockets:
    """The sockets by transport; `CannotListen` if there is only one."""
    udp = tuple(sock for sock in sockets if sock.type == socket.SOCK_DGRAM)
    tcp = tuple(sock for sock in sockets if sock.type == socket.SOCK_STREAM)
    # RFC 7766 s5: "All general-purpose DNS implementations MUST support both UDP and TCP transport."
    if not udp or not tcp:
        lacking = "ListenStream=" if udp else "ListenDatagram="
        raise CannotListen(f"the socket unit passed no {lacking} socket; DNS needs both UDP and TCP (RFC 7766 s5)")
    return InheritedSockets(udp, tcp)


def _adopt(descriptor: int, name: str) -> socket.socket:
    """The socket behind a descriptor, made non-blocking and kept from children."""
    which = f"descriptor {descriptor} ({name}) of the socket unit"
    try:
        sock = socket.socket(fileno=descriptor)
    except (OSError, OverflowError) as error:
        raise CannotListen(f"{which} is no socket: {error}; expected ListenDatagram= and ListenStream=") from error
    is_listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) != 0
    is_right = sock.type == socket.SOCK_DGRAM or (sock.type == socket.SOCK_STREAM and is_listening)
    if sock.family not in _INTERNET or not is_right:
        # Of kinds that the socket module does not know, it gives the bare number.
        family, kind = (getattr(value, "name", value) for value in (sock.family, sock.type))
        sock.close()
        raise CannotListen(
            f"{which} is {family} {kind}{' that listens' if is_listening else ''}; "
            "expected ListenDatagram=ADDRESS:PORT or ListenStream=ADDRESS:PORT with Accept=no"
        )
    sock.setblocking(False)
    sock.set_inheritable(False)
    return sock


def notify(*assignments: str) -> None:
    """Send a notification such as "READY=1" to the service manager, if there is one. Never raises.

    sd_notify(3): newline-separated assignments in one datagram; an address that begins with '@' is in Linux's abstract
    namespace. A manager that does not listen is none of our clients' business.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return  # none, or a kind of socket that we do not speak
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(1.0)  # the manager's queue is full only if it hangs
            sock.sendto("\n".join(_one_line(text) for text in assignments).encode("utf-8", "replace"), address)
    except (OSError, ValueError):
        return


def ready(status: str) -> None:
    """Start-up (or a reload) is finished: the sockets are served. `status` is shown by `systemctl status`."""
    notify("READY=1", f"STATUS={status}")


def reloading(monotonic_ns: int | None = None) -> None:
    """A reload begins; `ready` ends it. sd_notify(3) demands the time of CLOCK_MONOTONIC with it."""
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) if monotonic_ns is None else monotonic_ns
    notify("RELOADING=1", f"MONOTONIC_USEC={now // 1000}")


def stopping(status: str) -> None:
    """The service has begun to end."""
    notify("STOPPING=1", f"STATUS={status}")


def watchdog_interval() -> float | None:
    """Within how many seconds systemd wants a sign of life, None if it wants none (sd_watchdog_enabled(3))."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    wanted_of = os.environ.get("WATCHDOG_PID") or str(os.getpid())
    if wanted_of != str(os.getpid()) or not (microseconds.isascii() and microseconds.isdecimal()):
        return None
    return int(microseconds) / 1e6 or None


async def watchdog(interval: float, probe: Callable[[], Awaitable[bool]]) -> None:
    """Give a sign of life while the event loop turns and the probe succeeds, at three times the demanded rate.

    A loop that hangs does not come here, a probe that fails or hangs gives no sign: systemd then restarts the service
    after `interval`. Two signs may fail before it does.
    """
    while True:
        next_sign = trio.current_time() + interval / 3
        with trio.move_on_at(next_sign):
            if await probe():
                notify("WATCHDOG=1")
        await trio.sleep_until(next_sign)


def _one_line(text: str) -> str:
    """The text without the line breaks that would make it another assignment."""
    return " ".join(text.splitlines())
