"""Measure the budgets: `python -m bench [--only PART]... [--seconds S] [--rounds N] [--json]`. Loopback only.

Exit status: 0 every measured budget is met, 1 one is missed (it says which), 2 something could not be measured.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
import warnings
from pathlib import Path
from typing import NoReturn

from cryptography.utils import CryptographyDeprecationWarning

from bench.audits import audits
from bench.contenders import DNSS, KNOT, STUBBY, STUBRESOLVER, STUBRESOLVER_DOH, UNBOUND, Contender, Running
from bench.load import Load, cached_names, measure_cached, measure_misses
from bench.measure import Series, first_answers, race, ratio, verdicts
from bench.process import CannotMeasure
from bench.report import Budget, Figure, Report, describe_machine
from bench.world import Upstream, serve_upstream

# part: who is measured, the peer that the budget counts from, how many times its figure is allowed. Ours goes first.
_RACES: dict[str, tuple[tuple[Contender, ...], Contender, float]] = {
    "cached": ((STUBRESOLVER, UNBOUND, KNOT), UNBOUND, 1.4),
    "dot": ((STUBRESOLVER, KNOT, UNBOUND, STUBBY), KNOT, 0.9),
    "doh": ((STUBRESOLVER_DOH, DNSS), DNSS, 1.7),
}
_TITLES = {"cached": "cached, UDP", "dot": "miss over DoT", "doh": "miss over DoH"}
_ALONE = ("verdict", "audit")  # no other program has a part in these
_PARTS = (*_ALONE, "start", *_RACES)
_VERDICT_MILLISECONDS = 2.0
_AUDIT_SECONDS = 2.0
_START_SECONDS = 0.7
_RESIDENT_MEBIBYTES = 70.0


def main() -> int:
    """Measure what was asked for; returns the exit status."""
    arguments = _arguments()
    os.environ["PATH"] += os.pathsep + "/usr/sbin"  # where Debian has unbound and kresd; not on everybody's path
    # Some of certifi's old roots have a serial number of zero; the warning is about the library's own future.
    warnings.filterwarnings("ignore", category=CryptographyDeprecationWarning)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    parts = [part for part in _PARTS if part in (arguments.only or _PARTS)]
    report = Report(describe_machine(), arguments.seconds, arguments.rounds)
    try:
        _require_installed(parts)
        with tempfile.TemporaryDirectory(prefix="stubresolver-bench-") as name:
            _measure(parts, Path(name), report)
    except CannotMeasure as error:
        report.problems.append(str(error))
    if report.figures or arguments.json:
        print(json.dumps(report.document(), indent=1) if arguments.json else report.text())
    for budget in report.missed:
        print(f"over budget: {budget.what}: {budget.got:.2f}, allowed {budget.limit:g} {budget.unit}", file=sys.stderr)
    for problem in report.problems:
        print(f"not measured: {problem}", file=sys.stderr)
    return 2 if report.problems else 1 if report.missed else 0


def _measure(parts: list[str], folder: Path, report: Report) -> None:
    """Run each part and put what it found into the report; one that fails does not stop the others."""
    if "verdict" in parts:
        _verdict(report)
    if "audit" in parts:
        _audit(folder / "audit", report)
    served = [part for part in parts if part not in _ALONE]
    if not served:
        return
    place = folder / "upstream"
    place.mkdir()
    with serve_upstream(place) as upstream:
        for part in served:
            try:
                if part == "start":
                    _start(upstream, folder, report)
                else:
                    _race(part, upstream, folder / part, report)
            except CannotMeasure as error:
                report.problems.append(f"{part}: {error}")


def _verdict(report: Report) -> None:
    milliseconds = tuple(seconds * 1e3 for seconds in verdicts())
    _add(report, Figure("verdict", "stubresolver", milliseconds, "ms"), _VERDICT_MILLISECONDS)


def _audit(folder: Path, report: Report) -> None:
    folder.mkdir()
    try:
        _add(report, Figure("audit of three SCTs", "stubresolver", audits(folder), "s"), _AUDIT_SECONDS)
    except CannotMeasure as error:
        report.problems.append(f"audit: {error}")


def _start(upstream: Upstream, folder: Path, report: Report) -> None:
    seconds = first_answers(STUBRESOLVER, upstream, folder)
    _add(report, Figure("first answer after exec", "stubresolver", seconds, "s"), _START_SECONDS)


def _race(part: str, upstream: Upstream, folder: Path, report: Report) -> None:
    """One table of processor time per query, and its budget."""
    contenders, peer, limit = _RACES[part]
    folder.mkdir()
    names = cached_names(folder)

    def measure(server: Running) -> Load:
        if part == "cached":
            return measure_cached(server, names, report.seconds)
        return measure_misses(server, folder, report.seconds)

    series = race(contenders, upstream, folder, report.rounds, measure)
    report.figures += [_figure(_TITLES[part], each) for each in series]
    ours, theirs = series[0], next(each for each in series if each.name == peer.name)
    report.budgets.append(Budget(_TITLES[part], ratio(ours, theirs), limit, f"x {peer.name}"))
    if part != "cached":  # after so many different names the cache is as full as it may be
        what = f"resident, {_TITLES[part]}"
        report.figures += [Figure(what, each.name, (each.resident_mebibytes,), "MiB") for each in series]
        report.budgets.append(Budget(what, ours.resident_mebibytes, _RESIDENT_MEBIBYTES, "MiB"))


def _figure(what: str, series: Series) -> Figure:
    per_second = statistics.median(load.queries / load.seconds for load in series.loads)
    return Figure(what, series.name, series.microseconds, "us", per_second)


def _add(report: Report, figure: Figure, limit: float) -> None:
    """A figure whose median is its own budget's."""
    report.figures.append(figure)
    report.budgets.append(Budget(figure.what, figure.median, limit, figure.unit))


def _require_installed(parts: list[str]) -> None:
    """Say at once everything that is missing; raises `CannotMeasure`."""
    if set(parts) <= set(_ALONE):
        return
    programs = {"dnsdist": "dnsdist", "dnsperf": "dnsperf"}
    for part in parts:
        if part in _RACES:
            programs |= {each.program: each.package for each in _RACES[part][0] if each.package}
    missing = [package for program, package in programs.items() if shutil.which(program) is None]
    if missing:
        raise CannotMeasure(f"not installed: apt-get install --no-install-recommends {' '.join(sorted(missing))}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=_PARTS, help="measure this part alone; may be repeated")
    parser.add_argument("--seconds", type=_positive, default=3.0, help="length of one measurement under load (3)")
    parser.add_argument("--rounds", type=int, choices=range(1, 101), metavar="N", default=5, help="rounds (5)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the tables")
    return parser.parse_args()


def _positive(text: str) -> float:
    """From half a second to a minute; bounds the run and keeps the clock tick of 10 ms small beside it."""
    seconds = float(text)
    if not 0.5 <= seconds <= 60:
        raise argparse.ArgumentTypeError(f"{text} is not between 0.5 and 60")
    return seconds


def _end(number: int, _frame: object) -> NoReturn:
    """A signal ends the run through the `with` blocks, which end what they started."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
