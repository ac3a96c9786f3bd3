"""The figures as a table for people and as JSON for machines, and which budgets are missed."""

import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

_PACKAGES = ("dnsdist", "dnsperf", "dnss", "knot-resolver", "stubby", "unbound")
_DISTRIBUTIONS = ("cryptography", "h2", "pyOpenSSL", "trio")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured quantity of one program."""

    what: str
    who: str
    samples: tuple[float, ...]
    unit: str
    per_second: float | None = None  # queries that the program answered in a second of that load

    @property
    def median(self) -> float:
        """The middle sample, which one disturbed sample does not move."""
        return statistics.median(self.samples)


@dataclass(frozen=True, slots=True)
class Budget:
    """What was asked for and what came of it."""

    what: str
    got: float
    limit: float
    unit: str  # "x unbound", "ms"

    @property
    def met(self) -> bool:
        """Whether the figure is within the budget."""
        return self.got <= self.limit


@dataclass(slots=True)
class Report:
    """Everything of one run."""

    machine: dict[str, str]
    seconds: float  # of one measurement under load
    rounds: int
    figures: list[Figure] = field(default_factory=list)
    budgets: list[Budget] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)  # parts that could not be measured, and why

    @property
    def missed(self) -> list[Budget]:
        """The budgets that were not met."""
        return [budget for budget in self.budgets if not budget.met]

    def text(self) -> str:
        """The tables."""
        figures = [
            (
                figure.what,
                figure.who,
                f"{figure.median:.2f} {figure.unit}",
                f"{min(figure.samples):.2f} to {max(figure.samples):.2f}",
                "" if figure.per_second is None else f"{figure.per_second:,.0f}",
            )
            for figure in self.figures
        ]
        budgets = [
            (each.what, f"{each.got:.2f} {each.unit}", f"{each.limit:g} {each.unit}", "met" if each.met else "MISSED")
            for each in self.budgets
        ]
        machine = "\n".join(f"{key}: {value}" for key, value in self.machine.items())
        return "\n\n".join(
            (
                f"{machine}\nunder load: {self.rounds} rounds of {self.seconds:g} s each, in turn",
                _table(("figure", "program", "median", "range", "queries/s"), figures),
                _table(("budget", "measured", "allowed", ""), budgets),
            )
        )

    def document(self) -> dict[str, object]:
        """The same for JSON."""
        return {
            "machine": self.machine,
            "seconds": self.seconds,
            "rounds": self.rounds,
            "figures": [
                {
                    "what": figure.what,
                    "who": figure.who,
                    "unit": figure.unit,
                    "median": figure.median,
                    "samples": figure.samples,
                    "per_second": figure.per_second,
                }
                for figure in self.figures
            ],
            "problems": self.problems,
            "budgets": [
                {"what": each.what, "got": each.got, "limit": each.limit, "unit": each.unit, "met": each.met}
                for each in self.budgets
            ],
        }


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = (head, ["-" * width for width in widths], *rows)
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in lines
    )


def describe_machine() -> dict[str, str]:
    """Where and with what the figures were measured; the load average says whether others were at work too."""
    with Path("/proc/cpuinfo").open() as lines:
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    return {
        "processor": f"{model}, {os.cpu_count()} cores",
        "system": platform.platform(),
        "load average before": " ".join(f"{value:.2f}" for value in os.getloadavg()),
        "Python": f"{platform.python_version()}, "
        + ", ".join(f"{name} {metadata.version(name)}" for name in _DISTRIBUTIONS),
        "peers": _package_versions(),
    }


def _package_versions() -> str:
    """The peers' versions by dpkg; without dpkg the peers were not Debian's."""
    command = ["dpkg-query", "-W", "-f", "${Package} ${Version}\n", *_PACKAGES]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return "unknown (no dpkg-query)"
    return ", ".join(done.stdout.split("\n")[:-1])
