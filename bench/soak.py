"""An hour of bad luck: `python -m bench.soak [--minutes M] [--seed N] [--rate Q] [--json]`. Loopback only.

The real service before two real upstreams, random faults of docs/faults.md, and a mixed load whose answers are known.
At the end: no wrong answer, no query unanswered or late, memory flat within 5 % after the warm-up, and nothing
left over: no flight, no connection, no descriptor, an orderly exit. Exit status: 0 all of that, 1 not (it says what),
2 it could not be run. The same seed brings the same faults.
"""

import argparse
import contextlib
import json
import os
import secrets
import shutil
import signal
import statistics
import sys
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import trio
from cryptography.utils import CryptographyDeprecationWarning

from bench.process import CannotMeasure, Program
from bench.soak_faults import KINDS, draw
from bench.soak_load import LATE, Load
from bench.soak_world import SoakWorld
from stubresolver.cli.control import ask_service
from stubresolver.errors import BadInput

_WARM_UP = 0.25  # of the run at least, and until each kind of fault has been seen: the cache fills
_FLAT = 0.05
_TENTHS = 10
_SAMPLE = 1.0  # seconds between two looks at the memory
_QUIET = 12.0  # seconds after the last query for everything to go home; a query has four
_SPARE = 6  # descriptors that may be open beside those of a service that has just started: four upstreams, two dials


class _Counters(msgspec.Struct, frozen=True):
    """Of `stubresolver status`: the resolver."""

    under_way: int
    queries: int
    hits: int
    stale: int
    stale_late: int


class _Clients(msgspec.Struct, frozen=True):
    """... its clients."""

    waiting: int
    tcp_open: int


class _Upstream(msgspec.Struct, frozen=True):
    """... one upstream."""

    outstanding: int


class _Clear(msgspec.Struct, frozen=True):
    """... what went out in clear."""

    queries: int


class _Status(msgspec.Struct, frozen=True):
    """What is looked at of it at the end; all but the counters has to be nothing."""

    counters: _Counters
    clients: _Clients
    upstreams: tuple[_Upstream, ...]
    clear: _Clear
    tasks: dict[str, str]

    @property
    def left_over(self) -> dict[str, object]:
        """What is there and must not be."""
        found = {
            "flights": self.counters.under_way,
            "askers": self.clients.waiting,
            "TCP clients": self.clients.tcp_open,
            "queries at upstreams": sum(each.outstanding for each in self.upstreams),
            "queries sent in clear": self.clear.queries,
            "failed tasks": self.tasks,
        }
        return {name: value for name, value in found.items() if value}


@dataclass
class Findings:
    """What a run has shown beside the answers."""

    faults: Counter[str] = field(default_factory=Counter)
    resident: list[float] = field(default_factory=list)  # MiB, one each second
    first_round: int = 0  # how many looks there were until each kind of fault had been seen
    descriptors: tuple[int, int] = (0, 0)  # at the start, at the end
    standing: int = 0
    dials: int = 0
    status: _Status | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def tenths(self) -> list[float]:
        """Medians of the memory in ten parts of the time after the warm-up."""
        warm = self.resident[max(self.first_round, int(len(self.resident) * _WARM_UP)) :]
        size = max(1, len(warm) // _TENTHS)
        return [
            statistics.median(warm[start : start + size]) for start in range(0, size * _TENTHS, size) if warm[start:]
        ]


def main() -> int:
    """Run it; returns the exit status."""
    arguments = _arguments()
    os.environ["PATH"] += os.pathsep + "/usr/sbin"  # where Debian has dnsdist; not on everybody's path
    warnings.filterwarnings("ignore", category=CryptographyDeprecationWarning)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    if shutil.which("dnsdist") is None:
        print("not measured: apt-get install --no-install-recommends dnsdist", file=sys.stderr)
        return 2
    try:
        with tempfile.TemporaryDirectory(prefix="stubresolver-soak-") as name, contextlib.ExitStack() as stack:
            return _soak(SoakWorld(Path(name), stack), arguments)
    except CannotMeasure as error:
        print(f"not measured: {error}", file=sys.stderr)
        return 2


def _soak(world: SoakWorld, arguments: argparse.Namespace) -> int:
    service = world.start()
    load, findings = Load(world.port, arguments.rate, arguments.seed), Findings()
    findings.descriptors = (service.descriptors, 0)
    try:
        trio.run(_run, world, service, load, findings, arguments)
        _look_after(world, service, findings)
    except CannotMeasure as error:
        findings.problems.append(f"the service did not live to the end: {error}")
    if world.trouble:
        print(f"the lab's own servers wrote:\n{world.trouble[-3000:]}", file=sys.stderr)
    _judge(load, findings)
    document = _document(load, findings, arguments)
    print(json.dumps(document, indent=1) if arguments.json else _text(document))
    for problem in findings.problems:
        print(f"failed: {problem}", file=sys.stderr)
    return 1 if findings.problems else 0


async def _run(
    world: SoakWorld, service: Program, load: Load, findings: Findings, arguments: argparse.Namespace
) -> None:
    """Load and faults for the time, then the quiet in which everything comes home."""
    end = trio.current_time() + arguments.minutes * 60
    async with trio.open_nursery() as asking:
        with trio.move_on_at(end):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(load.run, asking)
                nursery.start_soon(_bring_faults, world, load, findings, arguments.seed)
                nursery.start_soon(_watch, service, load, findings, end)
    await trio.sleep(_QUIET)


async def _bring_faults(world: SoakWorld, load: Load, findings: Findings, seed: int) -> None:
    for fault in draw(seed, ours=[1]):
        await trio.sleep(fault.rest)
        load.moment = str(fault)
        findings.faults[fault.kind] += 1
        try:
            await trio.to_thread.run_sync(world.begin, fault)
            await trio.sleep(fault.lasts)
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(world.end, fault)
        load.moment = f"after {fault}"
        if not findings.first_round and len(findings.faults) == len(KINDS):
            findings.first_round = len(findings.resident)


async def _watch(service: Program, load: Load, findings: Findings, end: float) -> None:
    """The memory once a second, and a line about how it stands where somebody looks."""
    while True:
        findings.resident.append(service.resident_mebibytes)
        if sys.stderr.isatty():
            outcome = load.outcome
            told = (
                f"{end - trio.current_time():5.0f} s left; {outcome.asked} asked, {outcome.failed} SERVFAIL, "
                f"{len(outcome.wrong)} wrong, {len(outcome.late)} late; {findings.resident[-1]:.1f} MiB; {load.moment}"
            )
            print(f"\r\033[K{told[:118]}", end="", file=sys.stderr, flush=True)
        await trio.sleep(_SAMPLE)


def _look_after(world: SoakWorld, service: Program, findings: Findings) -> None:
    """What is left over once nobody asks any more, and how the service ends."""
    if sys.stderr.isatty():
        print(file=sys.stderr)
    findings.descriptors = (findings.descriptors[0], service.descriptors)
    findings.standing, findings.dials = world.standing(), world.dials()
    try:
        findings.status = ask_service(world.folder / "control.sock", "status", _Status)
    except BadInput as error:
        findings.problems.append(f"the control socket: {error}")
    start = time.monotonic()
    status, written = service.end()
    if status or "Traceback" in written or "internal error" in written:
        findings.problems.append(f"the service ended with status {status} and wrote:\n{written[-2000:]}")
    if time.monotonic() - start > 3:
        findings.problems.append(f"the service took {time.monotonic() - start:.1f} s to end")


def _judge(load: Load, findings: Findings) -> None:
    outcome, problems = load.outcome, findings.problems
    problems += [f"wrong: {each}" for each in outcome.wrong]
    problems += [f"unanswered or over {LATE} s: {each}" for each in outcome.late]
    if outcome.under_way:
        problems.append(f"{outcome.under_way} questions are still under way")
    if not outcome.answered:
        problems.append("nothing was answered")
    tenths = findings.tenths
    if tenths and not all(abs(each / statistics.mean(tenths) - 1) <= _FLAT for each in tenths):
        problems.append(f"memory is not flat within {_FLAT:.0%}: {' '.join(f'{each:.1f}' for each in tenths)} MiB")
    if findings.descriptors[1] > findings.descriptors[0] + _SPARE:
        problems.append(f"{findings.descriptors[1]} descriptors are open, {findings.descriptors[0]} at the start")
    if findings.status is not None and findings.status.left_over:
        problems.append(f"left over: {findings.status.left_over}")


def _document(load: Load, findings: Findings, arguments: argparse.Namespace) -> dict[str, Any]:
    outcome = load.outcome
    return {
        "minutes": arguments.minutes,
        "seed": arguments.seed,
        "rate": arguments.rate,
        "asked": outcome.asked,
        "answered": outcome.answered,
        "SERVFAIL": outcome.failed,
        "SERVFAIL by fault": dict(outcome.failures.most_common()),
        "wrong": len(outcome.wrong),
        "late": len(outcome.late),
        "slowest seconds": round(outcome.slowest, 3),
        "faults": dict(sorted(findings.faults.items())),
        "kinds": dict(sorted(outcome.kinds.items())),
        "dials": findings.dials,
        "connections left": findings.standing,
        "descriptors at start, end": list(findings.descriptors),
        "resident MiB, tenths after warm-up": [round(each, 1) for each in findings.tenths],
        "resident MiB, first, highest": [findings.resident[0], max(findings.resident)] if findings.resident else [],
        "counters": None if findings.status is None else msgspec.to_builtins(findings.status.counters),
        "problems": findings.problems,
    }


def _text(document: dict[str, Any]) -> str:
    return "\n".join(f"{name:>36}  {value}" for name, value in document.items() if name != "problems")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0, help="length of the run (60)")
    parser.add_argument(
        "--seed", type=int, default=secrets.randbelow(1 << 32), help="of the faults (another each time)"
    )
    parser.add_argument("--rate", type=float, default=100.0, help="questions a second (100)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    return parser.parse_args()


def _end(number: int, _frame: object) -> NoReturn:
    """A signal ends the run through the `with` blocks, which end what they started."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
