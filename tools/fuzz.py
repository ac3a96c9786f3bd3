"""Feed mutations of the kept corpus to every parser that reads what strangers wrote, and tell of each escape.

    python -m tools.fuzz                              # 1,000,000 mutations over all parsers: about a minute
    python -m tools.fuzz --runs 10000000 --seed 7
    python -m tools.fuzz --only query --only answer
    python -m tools.fuzz --atheris --runs 1000000     # guided by coverage; needs the extra: pip install -e '.[fuzz]'

Run from the repository's root. The parsers, what must hold for each, and the corpus are those of `tests/fuzz`; an
escape is an exception that the parser does not document, or an invariant that broke. Each kind of escape is told once,
with the input in hex; a line of `tests/fuzz/corpus` makes it a test. Exit status: 0 no escape, 1 some.

Without --atheris the same seed gives the same mutations. With it each parser runs in a process of its own, because
libFuzzer ends the process when it is done, and the inputs that reached something new are kept in the folder of --found.
"""

import argparse
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.mutation import mutations
from tests.fuzz.targets import TARGETS, Target


@dataclass
class Outcome:
    """What came of one parser."""

    name: str
    runs: int = 0
    seconds: float = 0.0
    escapes: dict[str, bytes] = field(default_factory=dict)  # by kind: the first input


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print a table, return the exit status."""
    options = _parse(arguments)
    chosen = [target for target in TARGETS if not options.only or target.name in options.only]
    total = sum(target.share for target in chosen)
    outcomes = []
    for target in chosen:
        runs = max(1, options.runs * target.share // total)
        if options.atheris:
            outcomes.append(_guide(target, runs, options.found))
        else:
            outcomes.append(_mutate(target, runs, options.seed))
        _tell(outcomes[-1])
    runs, escapes = sum(each.runs for each in outcomes), sum(len(each.escapes) for each in outcomes)
    print(f"{'all':10} {runs:>11,} runs {sum(each.seconds for each in outcomes):8.1f} s {escapes} escapes")
    return 1 if escapes else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1_000_000, help="mutations over all parsers")
    parser.add_argument("--seed", type=int, default=1, help="of the mutations")
    parser.add_argument("--only", action="append", choices=[target.name for target in TARGETS], help="one parser")
    parser.add_argument("--atheris", action="store_true", help="guided by coverage")
    parser.add_argument("--found", type=Path, default=Path("fuzz-found"), help="what atheris keeps")
    return parser.parse_args(arguments)


def _mutate(target: Target, runs: int, seed: int) -> Outcome:
    """The corpus, then so many mutations of it."""
    outcome = Outcome(target.name)
    start = time.perf_counter()
    corpus = target.corpus()
    for octets in corpus:
        _try(target, octets, outcome)
    for octets in mutations(corpus, seed, runs):
        _try(target, octets, outcome)
    outcome.seconds = time.perf_counter() - start
    return outcome


def _try(target: Target, octets: bytes, outcome: Outcome) -> None:
    outcome.runs += 1
    try:
        target.check(octets)
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        place = traceback.extract_tb(error.__traceback__)[-1]
        kind = f"{type(error).__name__} at {place.filename}:{place.lineno}: {error}"[:200]
        outcome.escapes.setdefault(kind.split(": ", 1)[0], octets)


def _tell(outcome: Outcome) -> None:
    rate = outcome.runs / outcome.seconds if outcome.seconds else 0
    print(f"{outcome.name:10} {outcome.runs:>11,} runs {outcome.seconds:8.1f} s {rate:>9,.0f} a second", flush=True)
    for kind, octets in outcome.escapes.items():
        print(f"  ESCAPE {kind}\n  {octets.hex() or '-'}", flush=True)


def _guide(target: Target, runs: int, found: Path) -> Outcome:
    """A child process under libFuzzer, which ends with the first escape."""
    folder = found / target.name
    folder.mkdir(parents=True, exist_ok=True)
    for number, octets in enumerate((*target.corpus(), *target.found())):
        (folder / f"kept-{number:03}").write_bytes(octets)
    start = time.perf_counter()
    command = [sys.executable, "-m", "tools.fuzz_guided", target.name, str(runs), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603 - ourselves
    outcome = Outcome(target.name, runs, time.perf_counter() - start)
    if done.returncode:
        said = done.stdout[-3000:]  # the traceback; what libFuzzer itself says goes to stderr
        crashes = sorted(folder.glob("crash-*"), key=lambda file: file.stat().st_mtime)
        outcome.escapes[said.strip() or done.stderr[-500:]] = crashes[-1].read_bytes() if crashes else b""
    return outcome


if __name__ == "__main__":
    sys.exit(main())
