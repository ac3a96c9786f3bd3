"""The pinned log list as a file: put in place whole, the one before kept beside it.

    log_list.json             in force
    log_list.json.previous    in force before it, or what the package ships where that was in force
    .log_list.json.lock       held by whoever writes; empty
    .log_list.json.new        what is being written, and .log_list.json.previous.new; of a writer that was killed, the
                              next one takes them away

A file takes its name by rename(2) only when both are on the disk, so a kill at any instant, or a power cut, leaves the
old list or the new one, and a full disk changes neither of the two names. The previous list takes its name first:
between the two renames the old list stands under both.
Everything happens relative to one descriptor of the folder, under names that are never followed if they are symbolic
links: nobody's other file is written.

What it may not do: know what a list says, or which list is in force where there is no file.
"""

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from stubresolver.errors import BadInput

MAXIMUM_OCTETS = 16 * 1024 * 1024  # of a file that is read here; a list has 120 KiB, what is taken over 4 MiB at most
_MODE = 0o644  # no secret, and the service reads it as another user
_FOLDER_MODE = 0o755
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO would be waited for without O_NONBLOCK
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LOCK = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def install(path: Path, octets: bytes, in_force: bytes) -> None:
    """Put `octets` in the place of `in_force`, which is kept as the previous list; on the disk when this returns.

    Raises `BadInput` where the file is not `in_force` any more, or cannot be written. Where there is no file, what the
    caller says is in force is kept all the same. A folder that is not there is made.
    """
    try:
        _make_folder(path.parent)
        with _folder(path) as folder, _locked(folder, path):
            found = _read(folder, path.name)
            if found is not None and found != in_force:
                raise BadInput(f"{path}: changed by somebody else meanwhile; nothing was written, try again")
            with contextlib.ExitStack() as undone:
                for name, content in ((_previous(path), in_force), (path.name, octets)):
                    undone.callback(_remove, folder, _temporary(name))
                    _write(folder, _temporary(name), content)
                for name in (_previous(path), path.name):
                    os.rename(_temporary(name), name, src_dir_fd=folder, dst_dir_fd=folder)
                    os.fsync(folder)
    except OSError as error:
        raise _unusable(path, "written", error) from None


def read_previous(path: Path) -> bytes:
    """The list that was in force before; raises `BadInput` where there is none."""
    try:
        with _folder(path) as folder:
            found = _read(folder, _previous(path))
    except FileNotFoundError:
        found = None
    except OSError as error:
        raise _unusable(path.with_name(_previous(path)), "read", error) from None
    if found is None:
        raise BadInput(f"{path}: no list was in force before: there is no {_previous(path)} beside it")
    return found


def read_installed(path: Path) -> bytes | None:
    """The file's octets, None where there is none; raises `BadInput` where it cannot be read."""
    try:
        with _folder(path) as folder:
            return _read(folder, path.name)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(path, "read", error) from None


def _previous(path: Path) -> str:
    return f"{path.name}.previous"


def _make_folder(folder: Path) -> None:
    """Make it where it is not there, for everybody to read, whatever the umask."""
    try:
        folder.mkdir()
    except FileExistsError:  # be it a file: opening it as a folder says so
        return
    folder.chmod(_FOLDER_MODE)
    with _folder(folder) as above:
        os.fsync(above)


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[int]:
    """A descriptor of the folder that the file is in."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield folder
    finally:
        os.close(folder)


@contextlib.contextmanager
def _locked(folder: int, path: Path) -> Iterator[None]:
    """One writer at a time; the kernel lets go of the lock of one that was killed. Raises `BadInput`."""
    lock = os.open(f".{path.name}.lock", _LOCK, 0o600, dir_fd=folder)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInput(f"{path}: is just being written by another process; nothing was changed") from None
        yield
    finally:
        os.close(lock)


def _read(folder: int, name: str) -> bytes | None:
    """A regular file's octets, None where there is no such name; raises OSError or `BadInput`."""
    try:
        descriptor = os.open(name, _READ, dir_fd=folder)
    except FileNotFoundError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BadInput(f"{name}: not a regular file")
        with open(descriptor, "rb", closefd=False) as file:
            octets = file.read(MAXIMUM_OCTETS + 1)
    finally:
        os.close(descriptor)
    if len(octets) > MAXIMUM_OCTETS:
        raise BadInput(f"{name}: more than {MAXIMUM_OCTETS} octets, which no log list has")
    return octets


def _write(folder: int, name: str, octets: bytes) -> None:
    """Write a new file and make it durable."""
    _remove(folder, name)
    descriptor = os.open(name, _CREATE, _MODE, dir_fd=folder)
    try:
        os.fchmod(descriptor, _MODE)  # whatever the umask
        rest = memoryview(octets)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(folder: int, name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def _temporary(name: str) -> str:
    return f".{name}.new"


def _unusable(path: Path, what: str, error: OSError) -> BadInput:
    if error.errno == errno.ELOOP:
        return BadInput(f"{path}: a symbolic link, which is not followed: name the file itself")
    return BadInput(f"{path}: cannot be {what}: {error.strerror or error}")
