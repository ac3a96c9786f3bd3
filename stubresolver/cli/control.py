"""One question to the running service, over its control socket."""

import contextlib
import socket
from pathlib import Path
from typing import Final, TypeVar

import click
import msgspec

from stubresolver.cli.status_file import default_status_file
from stubresolver.control.protocol import MAX_REPLY, Reply, Request
from stubresolver.errors import BadInput
from stubresolver.verify import printable

socket_option = click.option(
    "--socket",
    "socket_file",
    type=click.Path(path_type=Path, readable=False),  # who may not is told so by `ask_service`, with what to do
    help="The service's control socket. Default: control.sock beside its status file: in $RUNTIME_DIRECTORY (systemd), "
    "/run/stubresolver for root, else in the user's $XDG_RUNTIME_DIR/stubresolver.",
)
_PATIENCE: Final = 10.0  # seconds; the service answers in milliseconds
_LONGEST: Final = 1000  # characters that are shown of what the service says

_Result = TypeVar("_Result", bound=msgspec.Struct)


def default_control_socket() -> Path:
    """Where the service of this user listens for commands."""
    return default_status_file().with_name("control.sock")


def ask_service(path: Path | None, command: str, result: type[_Result], name: str = "") -> _Result:
    """What the service answers; raises `BadInput` with what to do where it cannot be asked, or refuses."""
    return request_service(path, Request(command=command, name=name), result)


def request_service(path: Path | None, request: Request, result: type[_Result]) -> _Result:
    """The same, for what needs more words."""
    file = path or default_control_socket()
    try:
        line = _exchange(file, msgspec.json.encode(request) + b"\n")
    except FileNotFoundError:
        raise BadInput(
            f"{file}: not there: no service of this user is running; root finds the system's, --socket names another"
        ) from None
    except ConnectionRefusedError:
        if not file.is_socket():
            raise BadInput(f"{file}: is there, and no socket; the service's is {default_control_socket()}") from None
        raise BadInput(f"{file}: nobody listens there any more: start the service, `stubresolver run`") from None
    except PermissionError:
        raise BadInput(f"{file}: only root and the service's own user may ask it: try sudo") from None
    except OSError as error:  # a path of more than 107 octets, too, and a timeout
        raise BadInput(f"{file}: the service cannot be asked: {error.strerror or error}") from None
    if not line.endswith(b"\n"):
        raise BadInput(f"{file}: the service hung up: it is busy, or this user may not ask it: try again, or sudo")
    try:
        reply = msgspec.json.decode(line, type=Reply)
        if not reply.error:
            return msgspec.json.decode(reply.result, type=result)
    except (msgspec.DecodeError, ValueError) as error:
        raise BadInput(f"{file}: not the answer of a service of this version: {error}") from None
    raise BadInput(f"the service says: {printable(reply.error, _LONGEST)}")


def _exchange(file: Path, request: bytes) -> bytes:
    """Send a line, read what comes until the end; raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_PATIENCE)
        connection.connect(str(file))
        received = bytearray()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has hung up, perhaps with an answer
            connection.sendall(request)
            while octets := connection.recv(65536):
                received += octets
                if len(received) > 2 * MAX_REPLY:
                    break
    return bytes(received)
