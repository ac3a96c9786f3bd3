"""Row "client floods": the floods are those of bench/floods.py. They need both cores, so they run one at a time."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.lab import Lab

_ROOT = Path(__file__).parents[2]
SECONDS = 3.0
MEMORY = 32.0  # MiB more than before; bench/flood.py has the same bound


@pytest.mark.alone
@pytest.mark.parametrize("kind", ["random", "sockets", "idle", "trickle", "deaf"])
def test_flood(lab: Lab, kind: str) -> None:
    """Cached answers within 5 ms for 99 of 100, memory within its bound, a new name within 2 s after the end."""
    lab.open()
    lab.start()
    lab.settle()
    names = [lab.name("a") for _ in range(50)]
    assert all(lab.ask(name).right for name in names)
    before = lab.resident()
    command = [*lab.net.resolver, sys.executable, "-m", "bench.floods", kind, "53", str(SECONDS)]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.DEVNULL) as flood:
        time.sleep(0.5)  # until it has begun
        asked, most, until = [], before, time.monotonic() + SECONDS - 1.0
        while time.monotonic() < until:
            asked.append(lab.ask_soon(names[len(asked) % 50]))
            most = max(most, lab.resident())
            time.sleep(0.01)
        tcp = [lab.ask(names[0], via="tcp") for _ in range(3)]
        flood.wait(30)
    begun = time.monotonic()
    lab.wait(lambda: lab.ask(patience=0.5).right, "a new name", 5)
    recovery = time.monotonic() - begun
    replies = [each() for each in asked]
    took = sorted(reply.took for reply in replies)
    lab.figures = {
        "p50 ms": took[len(took) // 2] * 1e3,
        "p99 ms": took[int(len(took) * 0.99)] * 1e3,
        "MiB": most - before,
        "recovery": recovery,
    }
    assert all(reply.right for reply in replies), [str(reply) for reply in replies if not reply.right][:5]
    assert all(reply.right for reply in tcp), list(map(str, tcp))
    assert lab.figures["p99 ms"] <= 5.0, lab.figures
    assert lab.figures["MiB"] <= MEMORY, lab.figures
    assert recovery <= 2.0, lab.figures
