"""`stubresolver` with clocks that a test can move: how far is read from a file at each look.

    python launcher.py CLOCKS stubresolver run --config ...

CLOCKS has three doubles: seconds that the wall clock is ahead, seconds for which the machine has slept, and a count of
settings. What the program asks of the time it asks through `time` and through its own seams; both are replaced before
anything else is loaded.
"""

import importlib
import mmap
import struct
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

SIZE = 24
_FORMAT = "ddd"


def write_clocks(file: Path, *, ahead: float = 0.0, slept: float = 0.0, settings: int = 0) -> None:
    """What the service's clocks show from now on."""
    with file.open("r+b" if file.exists() else "w+b") as handle:
        handle.write(struct.pack(_FORMAT, ahead, slept, settings))


def _install(clocks: Path) -> None:
    with clocks.open("rb") as handle:
        shown = mmap.mmap(handle.fileno(), SIZE, prot=mmap.PROT_READ)
    real = time.clock_gettime

    def ahead() -> float:
        return float(struct.unpack_from(_FORMAT, shown)[0])

    def clock_gettime(clock: int) -> float:
        moved, slept, _ = struct.unpack_from(_FORMAT, shown)
        return real(clock) + (moved if clock == time.CLOCK_REALTIME else slept if clock == time.CLOCK_BOOTTIME else 0.0)

    time.clock_gettime = clock_gettime
    time.time = lambda: real(time.CLOCK_REALTIME) + ahead()

    def moved_now() -> datetime:
        return datetime.now(UTC) + timedelta(seconds=ahead())

    for name in ("stubresolver.cli.common", "stubresolver.upstream.dial"):
        seam = importlib.import_module(name)
        seam.__dict__["moved_now"] = moved_now
        seam.utc_now.__code__ = _look_elsewhere.__code__  # whoever has the function already has this one


def _look_elsewhere() -> datetime:
    return moved_now()  # type: ignore[name-defined]  # noqa: F821 - found in the seam's own module


def main() -> None:
    """Install the clocks and run the command."""
    _install(Path(sys.argv[1]))
    del sys.argv[:2]
    from stubresolver.__main__ import main as command  # noqa: PLC0415

    sys.exit(command())


if __name__ == "__main__":
    main()
