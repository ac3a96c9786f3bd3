"""The cache's file in the state folder: read once at the start and taken away, written once at the end.

It is a diary of what was asked and a source of answers, so it is for the service's user alone: mode 0600, and a file of
another owner, one that others may read or write, a link, or anything that is no plain file is left alone. Whatever is
wrong with it is one line in the log and never an error. Taken away, so that what is flushed later does not come back
after a crash. Where it is not wanted (`persist = false`), one that was left by an earlier start is taken away, too; so
is, unread, what a process left beside it that was killed while it wrote.
"""

import contextlib
import hashlib
import logging
import os
import stat
import tempfile
import time
from pathlib import Path

from stubresolver.app import App
from stubresolver.cli.common import state_folder
from stubresolver.config import Settings
from stubresolver.errors import BadInput, StubResolverError
from stubresolver.trust import Trust

log = logging.getLogger("stubresolver")


class KeptCache:
    """Where the cache outlives a restart, if it is to."""

    def __init__(self, file: Path, settings: Settings) -> None:
        self._file = file
        self._persist = settings.cache.persist
        self._limit = 2 * settings.cache.max_octets + (1 << 20)  # what is kept takes less room in a file

    async def restore(self, app: App, trust: Trust) -> None:
        """Give the answers of an earlier start to the cache, while the service answers already."""
        remove_halves(self._file)
        try:
            octets = take_file(self._file, self._limit)
            if octets is not None and self._persist:
                answers = await app.restore_cache(octets, demands_digest(trust), time.time())
                log.info("%s: %d answers of an earlier start", self._file, answers)
        except BadInput as error:
            log.warning("%s: ignored: %s", self._file, error)

    def write(self, app: App, trust: Trust) -> None:
        """Keep what the cache holds; after the last query."""
        if not self._persist:
            return
        try:
            put_file(self._file, app.pack_cache(demands_digest(trust), time.time()))
        except OSError as error:
            log.warning("%s: the cache is not kept: %s", self._file, error.strerror or error)
        except MemoryError:
            log.warning("%s: the cache is not kept: not enough memory", self._file)


def kept_cache(settings: Settings) -> KeptCache | None:
    """That of this user; None, with a line in the log, for one without a home."""
    try:
        return KeptCache(state_folder() / "cache.bin", settings)
    except StubResolverError as error:
        if settings.cache.persist:
            log.warning("the cache is not kept: %s", error)
        return None


def demands_digest(trust: Trust) -> str:
    """What stands for the upstreams, and for the policies and the log list that they are judged by."""
    words = sorted(f"{upstream} {policy} {listed}\n" for upstream, (policy, listed) in trust.digests.items())
    return hashlib.sha256("".join(words).encode()).hexdigest()


def take_file(file: Path, limit: int) -> bytes | None:
    """The octets of a file of our own, which is gone then; None where there is none. Raises `BadInput`."""
    try:
        # no link is followed, no pipe is waited for
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _hold(os.fstat(descriptor), limit)
            file.unlink()
            with open(descriptor, "rb", closefd=False) as opened:
                return opened.read(limit)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadInput(f"cannot be read: {error.strerror or error}") from None


def _hold(status: os.stat_result, limit: int) -> None:
    """Raise `BadInput` for a file that is not ours alone, or too large."""
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise BadInput("expected a plain file of our own with mode 0600; it was left alone")
    if status.st_size > limit:
        raise BadInput(f"{status.st_size} octets, expected at most {limit}; it was left alone")


def remove_halves(file: Path) -> None:
    """Take away what `put_file` leaves where it is killed: as much of a diary as the file itself."""
    with contextlib.suppress(OSError):  # a folder that is not there, or not ours, has none of ours
        for half in file.parent.glob(f".{file.name}.*"):
            status = half.lstat()
            if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
                half.unlink()


def put_file(file: Path, octets: bytes) -> None:
    """Write a file for our eyes only, whole or not at all; raises OSError. Its digest finds what a power cut does."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(octets)
        Path(temporary).replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise
