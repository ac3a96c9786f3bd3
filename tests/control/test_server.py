"""The control socket: who may speak there, for how long, and how much."""

import contextlib
import errno
import os
import socket
import stat
import struct
import sys
import tempfile
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from stubresolver.control import ControlServer, ControlSocket, server
from stubresolver.control.server import CLIENTS, SECONDS
from stubresolver.errors import BadInput, CannotListen


class Told(msgspec.Struct):
    """A result."""

    name: str


async def tell(request):
    await trio.lowlevel.checkpoint()
    if request.name == "bad":
        raise BadInput("no such name")
    return Told(request.name)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "control.sock"


@contextlib.asynccontextmanager
async def serving(path, users=None):
    """A control server with one command."""
    with ControlSocket(path) as sock:
        server = ControlServer(sock, {"tell": tell})
        server._users = users or server._users
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            yield
            nursery.cancel_scope.cancel()


async def talk(path, octets, *, end=True):
    """What the server says to these octets, until it hangs up."""
    stream = await trio.open_unix_socket(path)
    async with stream:
        await stream.send_all(octets)
        if end:
            await stream.send_eof()
        said = b""
        async for part in stream:
            said += part
    return said


@pytest.mark.parametrize(
    ("request_line", "reply"),
    [
        (b'{"command": "tell", "name": "x"}\n', b'{"result":{"name":"x"}}\n'),
        (b'{"command": "tell", "name": "x"}\nmore', b'{"result":{"name":"x"}}\n'),
        (b'{"command": "tell", "name": "bad"}\n', b'{"error":"no such name"}\n'),
        (b'{"command": "ask"}\n', b'{"error":"no command \'ask\': expected one of tell"}\n'),
        (b'{"command": "tell"}', b'{"error":"19 octets without the end of a line, within 5 seconds"}\n'),
        (b"", b'{"error":"0 octets without the end of a line, within 5 seconds"}\n'),
        (b"x" * 5000, b'{"error":"a request of more than 4096 octets"}\n'),
    ],
)
async def test_conversations(path, request_line, reply):
    """One line in, one line out, whatever comes."""
    async with serving(path):
        assert await talk(path, request_line) == reply


async def test_only_its_user_and_root(path):
    """The file is for its owner alone, and lies in a folder of its owner."""
    async with serving(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_others_are_hung_up_on(path):
    """Whoever gets past the file's mode is still looked at; they hear nothing, whenever they are cut off."""
    said = b""
    async with serving(path, {os.geteuid() + 1}):
        with contextlib.suppress(trio.BrokenResourceError):
            said = await talk(path, b'{"command": "tell"}\n')
    assert said == b""


async def test_the_silent_are_hung_up_on(path, autojump_clock):
    """Who says nothing has a few seconds."""
    async with serving(path):
        with trio.fail_after(2 * SECONDS + 1):
            assert b"without the end of a line" in await talk(path, b"{", end=False)


async def test_the_many_are_hung_up_on(path):
    """No more than a few at once; the service is there for the next ones when these have gone."""
    async with serving(path):
        streams = [await trio.open_unix_socket(path) for _ in range(CLIENTS)]
        await trio.testing.wait_all_tasks_blocked(0.01)
        extra = await trio.open_unix_socket(path)
        with trio.fail_after(2):
            assert await extra.receive_some() == b""
        for stream in (*streams, extra):
            await stream.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert await talk(path, b'{"command": "tell", "name": "x"}\n')


async def test_who_leaves_ends_nothing(path):
    """A client that goes before its answer, with unread octets, leaves the server as it was."""
    async with serving(path):
        stream = await trio.open_unix_socket(path)
        await stream.send_all(b'{"command": "tell"}\n')
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await stream.aclose()
        assert await talk(path, b'{"command": "tell", "name": "x"}\n')


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user for a moment")
@pytest.mark.parametrize("uid", [65534, 12345])
async def test_another_user_is_hung_up_on(tmp_path, uid):
    """Even where a slip has opened socket and folders to everybody: the kernel says who it is."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "control.sock"
        async with serving(path):
            path.parent.chmod(0o755)
            path.chmod(0o666)
            as_other = ["setpriv", f"--reuid={uid}", "--clear-groups", sys.executable, "-c", _ASK, str(path)]
            done = await trio.run_process(as_other, capture_stdout=True, check=False)
            assert (done.returncode, done.stdout) == (0, b"said: ")
            ours = await trio.run_process([sys.executable, "-c", _ASK, str(path)], capture_stdout=True)
            assert b'"name":"x"' in ours.stdout


_ASK = """
import socket, sys
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
said = b""
try:
    sock.sendall(b'{"command": "tell", "name": "x"}\\n')
    while octets := sock.recv(4096):
        said += octets
except OSError:
    pass
print("said: " + said.decode(), end="")
"""


@pytest.mark.parametrize(("mode", "refused"), [(0o777, True), (0o770, True), (0o1777, False), (0o755, False)])
def test_a_folder_of_everybody(path, mode, refused):
    """Somebody else's socket in the place of ours would tell a person what it likes."""
    path.parent.mkdir()
    path.parent.chmod(mode)
    if refused:
        with pytest.raises(CannotListen, match="other users can write there"):
            ControlSocket(path)
    else:
        with ControlSocket(path):
            assert path.is_socket()


@pytest.mark.parametrize(
    ("uid", "uid_map", "users"),
    [
        (1000, "0 0 1", {0, 1000}),
        (65534, "0 0 4294967295", {0, 65534}),
        (65534, "65534 65534 1", {0}),
        (65534, None, {0}),
    ],
)
def test_a_user_that_stands_for_others_is_nobody(monkeypatch, uid, uid_map, users):
    """In a namespace of its own the overflow user's number is that of every user whom it does not know."""
    monkeypatch.setattr(server.os, "geteuid", lambda: uid)

    def read(_path):
        if uid_map is None:
            raise FileNotFoundError
        return uid_map

    monkeypatch.setattr(Path, "read_text", read)
    assert server._users() == users


def test_a_left_over_socket_is_replaced(path):
    """The file of a service that was killed is no obstacle."""
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(path))
    with ControlSocket(path):
        assert path.is_socket()
    assert not path.exists()


def test_a_service_that_listens_is_left_alone(path):
    """Two services do not take each other's socket away."""
    with ControlSocket(path):
        with pytest.raises(CannotListen, match="another service listens there"):
            ControlSocket(path)
        assert path.is_socket()


def test_what_is_no_socket_is_left_alone(path):
    """A file that lies there is somebody's."""
    path.parent.mkdir()
    path.write_text("mine")
    with pytest.raises(CannotListen, match="something else lies there"):
        ControlSocket(path)
    assert path.read_text() == "mine"


def test_a_successor_keeps_its_socket(path):
    """What another service has put there meanwhile is not taken away at the end."""
    with ControlSocket(path):
        path.unlink()
        second = ControlSocket(path)
    assert path.is_socket()
    second.__exit__()
    assert not path.exists()


def test_a_socket_of_another_kind_is_left_alone(path):
    """A datagram socket lies there, and somebody reads from it."""
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        with pytest.raises(CannotListen, match="another service listens there"):
            ControlSocket(path)
        assert path.is_socket()


@pytest.mark.parametrize(
    ("name", "why"), [("x" * 200, "path too long"), ("a\0b", "null"), ("missing/\0", "null"), ("file/a", "File exists")]
)
def test_impossible_paths(tmp_path, name, why):
    """A path that cannot be says so, and why."""
    (tmp_path / "file").touch()
    with pytest.raises(CannotListen, match=f"no control socket: .*{why}"):
        ControlSocket(tmp_path / name)


def test_why_the_name_cannot_be_taken(path, monkeypatch):
    """What the system says of bind is told, and not that of the look at what lies there."""
    monkeypatch.setattr(socket.socket, "bind", _refuse)
    with pytest.raises(CannotListen, match="Permission denied"):
        ControlSocket(path)


def _refuse(*_):
    raise PermissionError(errno.EACCES, "Permission denied")
