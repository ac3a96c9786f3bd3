"""The control socket: who may speak there, for how long, and how much.

- The socket's mode is 0600 from its first moment, in a folder where nobody else can put things, and whoever connects is
  looked at once more: root or the service's own user (SO_PEERCRED, unix(7)). Others are hung up on.
- One request a connection, within `SECONDS` and `MAX_REQUEST` octets; at most `CLIENTS` at once. What a client does or
  leaves ends its own connection and nothing else.
- A socket file that nobody listens on is left over from a service that was killed, and is replaced. Anything else that
  lies there is left alone.
"""

import contextlib
import errno
import os
import socket
import stat
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

import trio

from stubresolver.control.protocol import MAX_REQUEST, Command, read_request, write_error, write_result
from stubresolver.errors import BadInput, CannotListen

CLIENTS: Final = 8
SECONDS: Final = 5.0  # for the request, and again for taking the reply
_CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid: struct ucred
_OVERFLOW: Final = 65_534  # /proc/sys/kernel/overflowuid, as every distribution has it


class ControlSocket:
    """A listening Unix socket and its name in the file system; closing it takes the name away."""

    def __init__(self, path: Path) -> None:
        """Raises `CannotListen`."""
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _hold(path.parent)
            os.fchmod(self.socket.fileno(), 0o600)  # Linux gives this mode, less the umask, to the file that bind makes
            self._bind()
            self.socket.listen(CLIENTS)
            self._inode = path.lstat().st_ino
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            self.socket.close()
            raise CannotListen(f"{path}: no control socket: {getattr(error, 'strerror', None) or error}") from None
        except CannotListen:
            self.socket.close()
            raise

    def _bind(self) -> None:
        """Take the name, if need be from a service that has ended without giving it back."""
        try:
            self.socket.bind(str(self.path))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            if not stat.S_ISSOCK(self.path.lstat().st_mode):
                raise CannotListen(f"{self.path}: no control socket: something else lies there") from None
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
                listens = probe.connect_ex(str(self.path))
            if listens != errno.ECONNREFUSED:  # unix(7): nobody listens; all else is somebody, of whatever kind
                raise CannotListen(f"{self.path}: no control socket: another service listens there") from None
            self.path.unlink()
            self.socket.bind(str(self.path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
        with contextlib.suppress(OSError):
            if self.path.lstat().st_ino == self._inode:
                self.path.unlink()


def _hold(folder: Path) -> None:
    """Raise `CannotListen` for a folder in which others could put a socket of theirs in the place of ours."""
    mode = folder.stat().st_mode
    # sticky, inode(7): a file there can be renamed or deleted by its owner, the folder's owner and root alone
    if mode & (stat.S_IWGRP | stat.S_IWOTH) and not mode & stat.S_ISVTX:
        raise CannotListen(f"{folder}: no control socket: other users can write there: chmod go-w")


def _users() -> set[int]:
    """Who may speak here: root and our own user, where that is one user.

    user_namespaces(7): whoever has no number in a namespace appears as the overflow user there; a service that has that
    number itself, in a namespace that lacks some users, cannot tell these from itself.
    """
    own = os.geteuid()
    if own == _OVERFLOW:
        try:
            everybody = Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]
        except OSError:
            everybody = False
        if not everybody:
            return {0}
    return {0, own}


class ControlServer:
    """Answers requests by the commands that it was given."""

    def __init__(self, sock: ControlSocket, commands: Mapping[str, Command]) -> None:
        self._socket = sock
        self._commands = commands
        self._clients = 0
        self._users = _users()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(self._socket.socket.dup()))
        task_status.started()
        await trio.serve_listeners(self._welcome, [listener])

    async def _welcome(self, stream: trio.SocketStream) -> None:
        """One client; the caller closes the stream."""
        credentials = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        if _CREDENTIALS.unpack(credentials)[1] not in self._users or self._clients >= CLIENTS:
            return
        self._clients += 1
        try:
            reply = await self._answer(stream)
            with trio.move_on_after(SECONDS):
                await stream.send_all(reply)
        except trio.BrokenResourceError:
            pass  # it has gone
        finally:
            self._clients -= 1

    async def _answer(self, stream: trio.SocketStream) -> bytes:
        """The line for a client's line."""
        try:
            request = read_request(await _receive_line(stream))
            return write_result(await self._command(request.command)(request))
        except BadInput as error:
            return write_error(str(error))

    def _command(self, name: str) -> Command:
        """The command of that name; raises `BadInput`."""
        try:
            return self._commands[name]
        except KeyError:
            known = ", ".join(sorted(self._commands))
            raise BadInput(f"no command {name[:64]!r}: expected one of {known}") from None


async def _receive_line(stream: trio.SocketStream) -> bytes:
    """One line; raises `BadInput`."""
    received = b""
    with trio.move_on_after(SECONDS):
        while b"\n" not in received:
            octets = await stream.receive_some(MAX_REQUEST)
            if not octets:
                break
            received += octets
            if len(received) > MAX_REQUEST:
                raise BadInput(f"a request of more than {MAX_REQUEST} octets")
    line, end, _ = received.partition(b"\n")
    if not end:
        raise BadInput(f"{len(received)} octets without the end of a line, within {SECONDS:g} seconds")
    return line
