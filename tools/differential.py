"""The same questions through us, through unbound and through knot-resolver, to one upstream; each difference explained.

    python -m tools.differential                        # 2,000 questions, about 20 seconds
    python -m tools.differential --number 150
    python -m tools.differential --write                # and write the table into docs/differences.md

Run from the repository's root; needs Debian's knot, unbound and knot-resolver. Everything happens on 127.0.0.1: knotd
serves and signs a zone at the root, an upstream of ours puts DoT in front of it, the three forward to that. Compared
are RCODE, flags, the records of each section, TTLs, extended errors, EDNS and the letters of the question. Exit
status: 0 every difference is of a class in `tools.differ.classes`, 1 one is not (it is shown).
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tools.differ.classes import CLASSES, Case, classify
from tools.differ.compare import Reply, ask, differences, read
from tools.differ.contenders import KRESD, UNBOUND, US, contenders
from tools.differ.zone import Question, questions

OTHERS = (UNBOUND, KRESD)
PAGE = Path(__file__).parents[1] / "docs" / "differences.md"
_BEGIN, _END = "<!-- made by tools/differential.py -->", "<!-- end -->"


@dataclass
class Result:
    """What a run found."""

    questions: int = 0
    seconds: float = 0.0
    alike: Counter[str] = field(default_factory=Counter)  # by program
    classes: Counter[tuple[str, str]] = field(default_factory=Counter)  # by title and program
    unexplained: list[str] = field(default_factory=list)


def run(number: int) -> Result:
    """Ask, compare, classify. The questions are a sample of the 2,000, evenly spread."""
    everything = questions()
    chosen = everything[:: max(1, len(everything) // number)][:number]
    result = Result(len(chosen))
    with tempfile.TemporaryDirectory() as folder, contenders(Path(folder)) as ports, ThreadPoolExecutor(3) as pool:
        start = time.monotonic()
        for index, question in enumerate(chosen):
            asked = {name: pool.submit(ask, question, port, index) for name, port in ports.items()}
            replies = {name: read(future.result()) for name, future in asked.items()}
            _judge(question, replies, time.monotonic() - start, result)
        result.seconds = time.monotonic() - start
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, show, and write the page if wanted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--number", type=int, default=2000, help="how many questions")
    parser.add_argument("--write", action="store_true", help="write the table into docs/differences.md")
    options = parser.parse_args(arguments)
    os.environ["PATH"] += ":/usr/sbin:/sbin"  # where Debian keeps servers
    result = run(options.number)
    table = render(result)
    print(table)
    for line in result.unexplained:
        print(f"UNEXPLAINED {line}")
    if options.write:
        write(table)
    return 1 if result.unexplained else 0


def render(result: Result) -> str:
    """The table of a run."""
    alike = ", ".join(f"{result.alike[other]:,} of {other}" for other in OTHERS)
    lines = [
        f"{result.questions:,} questions. Replies that say the same but for their age: {alike}.",
        f"Differences that no class explains: {len(result.unexplained)}.",
        "",
        f"| difference | {UNBOUND} | {KRESD} | reason |",
        "|---|---|---|---|",
    ]
    for each in CLASSES:
        counts = " | ".join(f"{result.classes[each.title, other]:,}" for other in OTHERS)
        lines.append(f"| {each.title} | {counts} | {each.reason} |")
    return "\n".join(lines)


def write(table: str) -> None:
    """Put the table in its place on the page."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(_BEGIN)
    after = rest.split(_END)[1]
    PAGE.write_text(f"{before}{_BEGIN}\n\n{table}\n\n{_END}{after}", encoding="utf-8")


def _judge(question: Question, replies: Mapping[str, Reply | None], elapsed: float, result: Result) -> None:
    ours = replies[US]
    for other in OTHERS:
        theirs = replies[other]
        aspects = differences(ours, theirs)
        if not aspects:
            result.alike[other] += 1
            continue
        if ours is None or theirs is None:
            result.unexplained.append(f"{question}: no readable reply of {US if ours is None else other}")
            continue
        found, left = classify(Case(question, ours, theirs, other, elapsed), aspects)
        result.classes.update((each.title, other) for each in found)
        result.alike[other] += [each.title for each in found] == ["age"] and not left
        if left:
            result.unexplained.append(f"{question}: {', '.join(sorted(left))}\n  {US}: {ours}\n  {other}: {theirs}")


if __name__ == "__main__":
    sys.exit(main())
