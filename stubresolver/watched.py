"""A file that is read whole or not at all, watched, and read again when it has changed.

The law of this file: reading is bounded (a file of 200 MB, a FIFO, a device, a folder are refused), and whatever is
wrong with a file is a `problem` in words, never an error. A file is watched by asking once a second whether it still is
the same, which costs a few microseconds, works on every file system, and sees a file that takes another's place. One
that is being written is left alone until it has been the same for two looks. What its octets mean is for who gives
`parse`.
"""

import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

from stubresolver.errors import BadInput

LOOK_SECONDS: Final = 1.0  # between two looks at a file

_OPEN: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC  # a FIFO would be waited for without O_NONBLOCK
_PIECE: Final = 32 * 1024  # about 2 ms of parsing
_PAUSE: Final = 0.0005  # seconds between two pieces, in which the service has the interpreter to itself
_PATIENCE: Final = 10  # looks at a file that keeps changing before it is read all the same

_State = tuple[int, ...] | None  # what tells two versions of a file apart; None: not there
_NEVER: Final = (-1,)


class Content(Protocol):
    """What was read of a file."""

    @property
    def problems(self) -> Iterable[str]:
        """What a person should know about the file."""


_C = TypeVar("_C", bound=Content)


class WatchedFile(Generic[_C]):
    """One file: what was last read of it, and whether it still is the same."""

    def __init__(self, path: Path, parse: Callable[[str, Iterator[bytes]], _C], limit: int) -> None:
        self.content: _C | None = None  # another object only where it says something else
        self._path = path
        self._parse = parse
        self._limit = limit
        self._read: _State = _NEVER  # the version that was read, or could not be
        self._seen: _State = _NEVER  # the one at the last look
        self._looks = 0  # at a version that was another at each look
        self.problem = ""  # why the file as it is now could not be read; "" where it was

    @property
    def problems(self) -> Iterator[str]:
        """What a person should know about the file."""
        if self.problem:
            yield self.problem + ("" if self.content is None else "; what it said before stays in force")
        if self.content is not None:
            yield from self.content.problems

    def has_changed(self) -> bool:
        """Whether the file is not the one that was read any more, and the same as at the last look."""
        now = _state(self._path)
        settled = now == self._seen
        self._seen = now
        self._looks = 0 if settled else self._looks + 1
        return now != self._read and (settled or self._looks >= _PATIENCE)

    def read(self, *, gently: bool) -> bool:
        """Read the file if it is not the one that was read before; whether it was."""
        state = _state(self._path)
        if state == self._read:
            return False
        self._read, self.problem = state, ""
        try:
            content = self._parse(str(self._path), _pieces(self._path, self._limit, gently=gently))
        except OSError as error:
            self.problem = f"{self._path}: cannot be read: {error.strerror or error}"
        except (BadInput, ValueError) as error:  # ValueError: a NUL in the path
            self.problem = f"{self._path}: cannot be used: {error}"
        except MemoryError:
            self.problem = f"{self._path}: cannot be used: not enough memory to read it"
        else:
            self._take(content)
        return True

    def _take(self, content: _C) -> None:
        """Put what was read in force, unless it may be half of one version and half of another."""
        if _state(self._path) != self._read:
            self._read = _NEVER
            self.problem = f"{self._path}: changed while it was read; it is read again when it has settled"
        if (self.content is None or not self.problem) and content != self.content:
            self.content = content


def _state(path: Path) -> _State:
    """What tells this version of the file from another; None where there is none that can be looked at."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _pieces(path: Path, limit: int, *, gently: bool) -> Iterator[bytes]:
    """The octets of a regular file, piece by piece; raises OSError, or `BadInput` for what is not read."""
    pause = threading.Event()  # never set: waiting for it is a sleep that lets other threads run
    descriptor = os.open(path, _OPEN)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise BadInput("not a regular file")
        if found.st_size > limit:
            raise BadInput(f"{found.st_size:,} octets, expected {limit:,} at most")
        rest = limit
        while piece := os.read(descriptor, _PIECE):
            rest -= len(piece)
            if rest < 0:
                raise BadInput(f"grew beyond {limit:,} octets while it was read")
            yield piece
            if gently:
                pause.wait(_PAUSE)
    finally:
        os.close(descriptor)
