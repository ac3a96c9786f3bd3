"""Row "client floods": the floods are those of bench/floods.py. They need both cores, so they run one at a time.

How fast the others are served meanwhile is `python -m bench.flood`'s to measure and to judge, on a machine that does
nothing else: 5 ms are less than a neighbour may take. Here it is a figure, beside that of a server that nobody floods,
asked at the same moments; what is held to here is that answers come, that memory has a bound, and that the end is one.
"""

import math
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.faults.lab import Asked, Lab

_ROOT = Path(__file__).parents[2]
SECONDS = 4.0
MEMORY = 40.0  # MiB more than before; bench/flood.py has the same bound
QUIET = ("10.0.0.1", 5353)  # a plain server in the internet, asked for names that are no secret


@pytest.mark.alone
@pytest.mark.parametrize("kind", ["random", "sockets", "idle", "trickle", "deaf"])
def test_flood(lab: Lab, kind: str) -> None:
    """Cached answers come, over UDP and TCP, memory keeps its bound, a new name is answered within 2 s of the end."""
    lab.open()
    lab.internet.call(do="open", at=QUIET, kind="plain")
    lab.start()
    lab.settle()
    names = [lab.name("a") for _ in range(50)]
    assert all(lab.ask(name).right for name in names)
    before = lab.resident()
    command = [*lab.net.resolver, sys.executable, "-m", "bench.floods", kind, "53", str(SECONDS)]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.DEVNULL) as flood:
        time.sleep(1.0)  # until it has begun, and its first 20 ms are over
        cached, quiet, most, until = [], [], before, time.monotonic() + SECONDS - 1.5
        while time.monotonic() < until:
            cached.append(lab.ask_soon(names[len(cached) % 50], patience=1.0))
            quiet.append(lab.ask_soon("a-quiet.lab", to=QUIET, patience=1.0))
            most = max(most, lab.resident())
            time.sleep(0.01)
        tcp = [lab.ask(names[0], via="tcp") for _ in range(3)]
        flood.wait(30)
    begun = time.monotonic()
    lab.wait(lambda: lab.ask(patience=0.5).right, "a new name", 5)
    recovery = time.monotonic() - begun
    took, beside = milliseconds(cached), milliseconds(quiet)
    lab.figures = {
        "p50 ms": took[len(took) // 2],
        "p99 ms": took[int(len(took) * 0.99)],
        "p99 ms beside": beside[int(len(beside) * 0.99)],
        "MiB": most - before,
        "recovery": recovery,
    }
    assert all(reply.right for reply in tcp), list(map(str, tcp))
    assert sum(map(math.isfinite, took)) >= 0.95 * len(took), f"{took.count(math.inf)} of {len(took)} without an answer"
    assert lab.figures["MiB"] <= MEMORY, lab.figures
    assert recovery <= 2.0, lab.figures


def milliseconds(asked: Sequence[Asked]) -> list[float]:
    """How long each right answer took, the shortest first; one that did not come took for ever."""
    replies = [each() for each in asked]
    return sorted(reply.took * 1e3 if reply.right else math.inf for reply in replies)
