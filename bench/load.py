"""Load by dnsperf: names that are asked again and again, or never twice; and what dnsperf says came of it."""

import itertools
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.contenders import Running
from bench.process import CannotMeasure

WARM_SECONDS = 0.5  # before each measurement: connections open, code compiled and in the processor's caches
CACHED_NAMES = 1000  # about what one person's programs ask in a day
_MOST_PER_SECOND = 120_000  # names to have ready: more than any contender answers on this kind of machine
_OUTSTANDING = 100  # dnsperf's default
_LOST_SHARE = 0.001  # of the queries may get lost: one in a thousand; beyond that the figure means nothing

_fresh = itertools.count()


@dataclass(frozen=True, slots=True)
class Load:
    """What one measurement found."""

    queries: int  # completed
    seconds: float  # by the clock
    processor_seconds: float  # of the server

    @property
    def microseconds(self) -> float:
        """Processor time per query."""
        return self.processor_seconds / self.queries * 1e6


def cached_names(folder: Path) -> Path:
    """The file of names that the cache will hold."""
    path = folder / "cached.names"
    path.write_text("".join(f"c{number}.wild.lab A\n" for number in range(CACHED_NAMES)))
    return path


def measure_cached(server: Running, names: Path, seconds: float) -> Load:
    """Ask the same names for `seconds`, after each has been asked."""
    _dnsperf(server, names, ["-n", "1"])
    return _measured(server, names, ["-l", f"{seconds:g}"])


def measure_misses(server: Running, folder: Path, seconds: float) -> Load:
    """Ask names that nobody asked before for `seconds`, or until they are used up."""
    _dnsperf(server, _fresh_names(folder, WARM_SECONDS), ["-n", "1", "-l", f"{WARM_SECONDS:g}"])
    return _measured(server, _fresh_names(folder, seconds), ["-n", "1", "-l", f"{seconds:g}"])


def _fresh_names(folder: Path, seconds: float) -> Path:
    run = next(_fresh)
    path = folder / "fresh.names"
    path.write_text("".join(f"m{run}-{number}.wild.lab A\n" for number in range(int(seconds * _MOST_PER_SECOND))))
    return path


def _measured(server: Running, names: Path, limits: list[str]) -> Load:
    before = server.processor_seconds
    queries, seconds = _dnsperf(server, names, limits)
    return Load(queries, seconds, server.processor_seconds - before)


def _dnsperf(server: Running, names: Path, limits: list[str]) -> tuple[int, float]:
    """Run dnsperf; the queries it completed and the seconds they took. Raises `CannotMeasure` unless all went well."""
    command = ["dnsperf", "-s", "127.0.0.1", "-p", str(server.port), "-d", str(names), "-q", str(_OUTSTANDING), *limits]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except OSError as error:
        raise CannotMeasure(f"dnsperf cannot be started: {error.strerror}; it is in Debian's package dnsperf") from None
    except subprocess.TimeoutExpired:
        raise CannotMeasure(f"{server.name}: dnsperf did not end within 120 s") from None
    completed, lost = _number(r"Queries completed: +(\d+)", done), _number(r"Queries lost: +(\d+)", done)
    answered = _number(r"Response codes: +NOERROR (\d+)", done)
    if not completed or answered < completed or lost > completed * _LOST_SHARE:
        raise CannotMeasure(
            f"{server.name}: of {completed + lost:g} queries {lost:g} were lost, and {completed - answered:g} answers "
            f"had another code than NOERROR; dnsperf wrote:\n{done.stdout[-1500:]}{done.stderr[-500:]}"
        )
    return int(completed), _number(r"Run time \(s\): +([\d.]+)", done)


def _number(pattern: str, done: subprocess.CompletedProcess[str]) -> float:
    found = re.search(pattern, done.stdout)
    return float(found[1]) if found else 0.0
