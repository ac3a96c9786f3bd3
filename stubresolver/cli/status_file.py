"""What a running service says of itself to other commands: one small file, always whole.

The service writes it when it listens and after each reload, and takes it away at its end. Whoever reads it must not
believe it: the file belongs to the service's user, who may have put any number into it. `find_service` therefore holds
the process against it, and gives a handle that cannot come to mean another process.
"""

import contextlib
import itertools
import os
import select
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import msgspec

from stubresolver.cli.common import state_folder
from stubresolver.errors import BadInput

status_option = click.option(
    "--status-file",
    "status_file",
    type=click.Path(path_type=Path),
    help="Where the service tells its process id. Default: status.json in $RUNTIME_DIRECTORY (systemd), "
    "/run/stubresolver for root, else in the user's $XDG_RUNTIME_DIR/stubresolver.",
)
_LIMIT = 64 * 1024  # octets of the file; it has a few hundred


class ServiceStatus(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One running service."""

    pid: int
    config: str  # the configuration file, or "defaults"
    reloads: int  # how many have ended since the start
    reloaded: bool  # whether the last one put its files in force; True at the start
    outcome: str  # what came of it, in one line
    # Of the log list in force, as of the last start, reload or day. With defaults: a service that was started by an
    # earlier version says nothing of them.
    log_list_timestamp: str = ""  # ISO 8601 UTC
    log_list_age_days: int = 0
    log_list_state: str = ""  # "fresh", "ageing" or "stale"
    audit_alarms: int = 0  # that are kept


@dataclass(frozen=True, slots=True)
class RunningService:
    """A process that is `stubresolver run` and belongs to whom its status file belongs."""

    handle: int  # a pidfd
    status: ServiceStatus

    def reload(self) -> None:
        """Send SIGHUP; raises OSError where that is not permitted or the process has ended."""
        signal.pidfd_send_signal(self.handle, signal.SIGHUP)

    def ended(self, seconds: float) -> bool:
        """True as soon as it has ended, False if it lives after so many seconds."""
        # pidfd_open(2): it becomes readable when the process terminates
        return bool(select.select([self.handle], [], [], seconds)[0])


def default_status_file() -> Path:
    """Where the service of this user tells its process id."""
    if given := os.environ.get("RUNTIME_DIRECTORY"):  # systemd.exec(5)
        return Path(given.split(":")[0]) / "status.json"
    if os.geteuid() == 0:
        return Path("/run/stubresolver/status.json")
    if given := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(given) / "stubresolver" / "status.json"
    return state_folder() / "status.json"


def write_status(file: Path, status: ServiceStatus) -> None:
    """Put the file in the place of the one before, whole; raises OSError."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = file.with_name(f"{file.name}.{status.pid}")
    try:
        fresh.unlink(missing_ok=True)  # of an earlier process of that number, or somebody's link to another file
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(msgspec.json.encode(status))
        fresh.replace(file)
    except OSError:
        fresh.unlink(missing_ok=True)  # the half of it that a full disk took
        raise


def remove_status(file: Path, pid: int) -> None:
    """Take the file away, unless another process has put its own there."""
    with contextlib.suppress(BadInput, OSError):
        if read_status(file).pid == pid:
            file.unlink()


def read_status(file: Path) -> ServiceStatus:
    """What the service says of itself; raises `BadInput`."""
    try:
        # not to wait for ever where somebody has put a pipe in its place
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as opened:
            return msgspec.json.decode(opened.read(_LIMIT), type=ServiceStatus)
    except FileNotFoundError:
        raise BadInput(
            f"{file}: not there: no service of this user is running, or it tells its status elsewhere"
        ) from None
    except OSError as error:
        raise BadInput(f"{file}: cannot be read: {error.strerror or error}") from None
    except (msgspec.DecodeError, ValueError) as error:
        raise BadInput(f"{file}: not the status of a service: {error}") from None


@contextlib.contextmanager
def find_service(file: Path) -> Iterator[RunningService]:
    """The process that the status file names; raises `BadInput` where it is not a stubresolver of the file's owner."""
    status = read_status(file)
    try:
        handle = os.pidfd_open(status.pid)  # from here on it means this process and no later one of the same number
    except (OSError, OverflowError):
        raise BadInput(f"{file}: process {status.pid} has ended: no service of this user is running") from None
    try:
        _hold(file, status.pid)
        yield RunningService(handle, status)
    finally:
        os.close(handle)


def _hold(file: Path, pid: int) -> None:
    """Raise `BadInput` unless the process runs `stubresolver run` as the user who owns the file."""
    process = Path(f"/proc/{pid}")
    try:
        words = [os.fsdecode(word) for word in (process / "cmdline").read_bytes().split(b"\0")]
        same_owner = process.stat().st_uid == file.stat().st_uid
    except OSError as error:
        raise BadInput(f"{file}: process {pid} cannot be looked at: {error.strerror or error}") from None
    # /opt/stubresolver/bin/python /opt/stubresolver/bin/stubresolver run ..., or python -m stubresolver run ...
    ours = any(Path(word).name == "stubresolver" and after == "run" for word, after in itertools.pairwise(words))
    if not (ours and same_owner):
        raise BadInput(f"{file}: process {pid} is no `stubresolver run` of the file's owner; it was left alone")
