"""The evidence file among files: making it, telling it from another, putting a damaged one aside, and what goes wrong.

A damaged file is evidence, too. It is never deleted and never written over: it gets a name beside its own, with what
SQLite has put beside it, and a new file begins. Only a file of the kind that we make is touched so, a plain one of our
own with mode 0600: a slip in `[evidence] file` must not move somebody's document. Of two processes that find the damage
at once, the second sees that another file is there by then and leaves it alone.
"""

import contextlib
import errno
import fcntl
import grp
import os
import pwd
import sqlite3
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from stubresolver.errors import EvidenceDamaged, EvidenceError, EvidenceUnfit

MAXIMUM_ASIDE: Final = 5  # damaged files beside the one in use: a disk that goes on failing does not fill itself so

_ASIDE: Final = ".corrupt-"
# What SQLite may have put beside a database (sqlite.org/tempfiles.html). The journal goes first: one that is left
# beside a new file would be played back into it.
_BESIDE: Final = ("-journal", "-wal", "-shm")
# Where SQLite locks a database, for whatever purpose (its os.h: from PENDING_BYTE to the end of SHARED_SIZE). Who has
# all of it knows that nobody is in the middle of a transaction.
_LOCK_START: Final = 0x40000000
_LOCK_OCTETS: Final = 512
# sqlite.org/rescode.html#corrupt, #notadb
_PRIMARY: Final = 0xFF  # an extended code has the primary one in its last octet
_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

Identity = tuple[int, int]  # device and inode


def make_file(path: Path) -> Identity:
    """Make the file, for its owner only, unless it is there; which one it is. Raises OSError or `EvidenceError`."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        raise EvidenceError(f"{path.parent} is no folder") from None
    _require_own_folder(path.parent)
    # O_RDONLY: a file that cannot be written can still be looked into. A pipe is not waited for.
    descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    try:
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    _require_private(path, status)
    return status.st_dev, status.st_ino


def file_identity(path: Path) -> Identity | None:
    """Which file is there now; None where none is. Raises OSError where nobody may look."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_dev, status.st_ino


class HeldFile:
    """A file that is used by its name, and is not given another one meanwhile.

    SQLite finds a journal by the file's name. Who has a file open under whose name another one is being written would
    play that one's journal back into his own, and take it away (sqlite.org/howtocorrupt.html, s1.4). So each use shares
    a lock (flock(2)) that `put_aside` needs for itself alone, and is of the file that has the name then.
    """

    def __init__(self, path: Path) -> None:
        """Open it, made if need be; raises OSError or `EvidenceError`."""
        self.identity = make_file(path)
        self._path = path
        # SQLite's own locks (fcntl(2)) end when the process closes any descriptor of the file: this one stays open.
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """One use; raises `EvidenceError` where another file has the name, or will have."""
        if self._descriptor < 0:
            raise EvidenceError("it is closed")
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EvidenceError("another process is putting it aside") from None
        try:
            status = os.fstat(self._descriptor)
            if (status.st_dev, status.st_ino) != self.identity or file_identity(self._path) != self.identity:
                raise EvidenceError("another file took its place")
            yield
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of it, after all else of this process that has it open; twice is harmless."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1


def fault(error: Exception) -> type[EvidenceError]:
    """The kind of error that says what a fault means for the file."""
    if isinstance(error, EvidenceError):
        return type(error)
    if isinstance(error, UnicodeEncodeError):
        return EvidenceUnfit
    # Text that is no UTF-8 is told by Python's module, without a code; and what SQLite quotes of it cannot be read.
    code = getattr(error, "sqlite_errorcode", None)
    unreadable = isinstance(error, UnicodeDecodeError) or (isinstance(error, sqlite3.OperationalError) and code is None)
    return EvidenceDamaged if unreadable or (code or 0) & _PRIMARY in _DAMAGE else EvidenceError


def why(error: Exception) -> str:
    """A fault in words."""
    if isinstance(error, MemoryError):
        return "not enough memory"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def put_aside(path: Path, damaged: Identity, now: datetime) -> Path | None:
    """Give a damaged file another name; that name, or None where another file is there already.

    Raises `EvidenceError` where it must or can not be done.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise EvidenceError(f"{path}: damaged, and stays where it is: {_no_link(error)}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # see HeldFile
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, _LOCK_OCTETS, _LOCK_START)  # another program's
        if file_identity(path) != damaged:
            return None
        _require_ours(os.fstat(descriptor))
        return _rename(path, now)
    except BlockingIOError:
        raise EvidenceError(f"{path}: damaged, and in use by another process") from None
    except (OSError, EvidenceError) as error:
        raise EvidenceError(f"{path}: damaged, and stays where it is: {why(error)}") from None
    finally:
        os.close(descriptor)


def set_aside(path: Path) -> tuple[str, ...]:
    """The names of the damaged files that lie beside the one in use, the oldest first."""
    try:
        beside = list(path.parent.iterdir())
    except OSError:
        return ()
    ours = (file for file in beside if file.name.startswith(f"{path.name}{_ASIDE}"))
    return tuple(sorted(str(file) for file in ours if not file.name.endswith(_BESIDE)))


def _require_own_folder(folder: Path) -> None:
    """Raise `EvidenceError` for a folder in which others can put files, be it sticky like /tmp.

    What lies beside a database under the name of its journal is played into it, whoever put it there
    (sqlite.org/fileformat2.html, s3): the mode of the file itself protects nothing then.
    """
    status = folder.stat()
    if status.st_mode & 0o002 or (status.st_mode & 0o020 and not _is_private_group(status)):
        mode = stat.S_IMODE(status.st_mode)
        raise EvidenceError(f"others can put files into {folder} (mode {mode:04o}): chmod go-w {folder}")


def _is_private_group(status: os.stat_result) -> bool:
    """Whether the group is the owner's alone: by its name, as many systems make one for each user (useradd -U)."""
    try:
        group, owner = grp.getgrgid(status.st_gid), pwd.getpwuid(status.st_uid)
    except KeyError:
        return False
    return group.gr_name == owner.pw_name and group.gr_gid == owner.pw_gid and set(group.gr_mem) <= {owner.pw_name}


def _require_private(path: Path, status: os.stat_result) -> None:
    """Raise `EvidenceError` for what somebody else could have written: it says which certificates were seen before.

    Root looks into the service's file, in the service's folder; in a folder like /tmp anybody may have put one.
    """
    if not stat.S_ISREG(status.st_mode):
        raise EvidenceError("not a regular file")
    if status.st_uid not in {0, os.geteuid(), path.parent.stat().st_uid}:
        raise EvidenceError(f"it belongs to user {status.st_uid}, expected {os.geteuid()}")
    if status.st_mode & 0o022:
        raise EvidenceError(f"others may write it (mode {stat.S_IMODE(status.st_mode):04o}), expected 0600")


def _require_ours(status: os.stat_result) -> None:
    """Raise `EvidenceError` unless it is a file as we make them."""
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise EvidenceError("expected a plain file of our own with mode 0600; look at it, and move it away yourself")


def _rename(path: Path, now: datetime) -> Path:
    """Move the file, and what belongs to it; raises OSError or `EvidenceError`."""
    if len(set_aside(path)) >= MAXIMUM_ASIDE:
        raise EvidenceError(f"{MAXIMUM_ASIDE} damaged ones lie beside it already; look at them, and move them away")
    target = _reserve(path.with_name(f"{path.name}{_ASIDE}{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"))
    try:
        for end in _BESIDE:
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + end).rename(target.with_name(target.name + end))
        path.rename(target)
    except OSError:
        with contextlib.suppress(OSError):
            if target.stat().st_size == 0:
                target.unlink()
        raise
    return target


def _reserve(wanted: Path) -> Path:
    """A name that nobody has, as an empty file of ours: a rename would write over somebody else's."""
    for name in (wanted, *(wanted.with_name(f"{wanted.name}-{number}") for number in range(2, 10))):
        with contextlib.suppress(FileExistsError):
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            return name
    raise EvidenceError(f"{wanted} and the names after it are taken")


def _no_link(error: OSError) -> str:
    return "it is a link; look at it, and move it away yourself" if error.errno == errno.ELOOP else why(error)
