"""Files that a command writes: whole or not at all, and on the disk when it says so. And what it reads, bounded."""

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from stubresolver.errors import BadInput

_NEW_MODE = 0o644  # what is written here is no secret, and the service reads it as another user


def replace_file(path: Path, old: bytes | None, new: bytes) -> None:
    """Put `new` in the place of `old` (None: there was no file), which stays beside it as PATH~.

    Mode and, where we may, owner stay; a symbolic link stays one. Raises `BadInput` where the file is no longer `old`
    or cannot be written; then it is as it was.
    """
    target = path.resolve()
    try:
        if read_if_there(target) != old:
            raise BadInput(f"{path}: changed by somebody else meanwhile; nothing was written, try again")
        like = None if old is None else target.stat()
        if old is not None:
            _put(target.with_name(f"{target.name}~"), old, like)
        _put(target, new, like)
    except OSError as error:
        raise BadInput(f"{path}: cannot be written: {error.strerror or error}") from None


def write_new(path: Path, octets: bytes, *, overwrite: bool) -> None:
    """Write a file that must not be there yet, or may be overwritten; raises `BadInput`."""
    try:
        if not overwrite:
            path.touch(_NEW_MODE, exist_ok=False)  # takes the name, and no link's
        try:
            _put(path.resolve(), octets, None)
        except BaseException:
            if not overwrite:
                path.unlink()
            raise
    except FileExistsError:
        raise BadInput(f"{path}: is there already; --force overwrites it") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be written: {error.strerror or error}") from None


def read_if_there(path: Path) -> bytes | None:
    """The octets of a file, None if there is none; raises OSError."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def read_bounded(path: Path, limit: int) -> bytes:
    """A regular file of at most `limit` octets; raises `BadInput`. A FIFO is not waited for, a device not read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise BadInput(f"{path}: not a regular file")
            with open(descriptor, "rb", closefd=False) as file:
                octets = file.read(limit + 1)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise BadInput(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(octets) > limit:
        raise BadInput(f"{path}: too large: expected at most {limit} octets")
    return octets


def _put(target: Path, octets: bytes, like: os.stat_result | None) -> None:
    """Write beside the target, make it durable, take the target's name: nobody ever reads half a file."""
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            if like is not None:
                with contextlib.suppress(PermissionError):  # only root may give a file away
                    os.fchown(file.fileno(), like.st_uid, like.st_gid)
            os.fchmod(file.fileno(), _NEW_MODE if like is None else stat.S_IMODE(like.st_mode))
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)  # the name, too
    finally:
        os.close(folder)
