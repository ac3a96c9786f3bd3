"""What a flood does to everybody else: `python -m bench.flood [--seconds N] [--only KIND] [--json]`.

The service runs as a user runs it, in front of an upstream on loopback that answers after `DELAY`. While one of the
floods of `bench.floods` is on, three modest clients ask: names that are in the cache, 100 a second over UDP; one such
name on a new TCP connection, ten times a second; a new name, ten times a second. When the flood ends, new names are
asked for until ten in turn are answered.

Exit status: 0 every budget is met, 1 one is missed, 2 something could not be measured.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from bench.contenders import STUBRESOLVER, Running
from bench.floods import KINDS, question
from bench.process import CannotMeasure, Program, free_port
from bench.world import serve_lab_upstream, serve_upstream

DELAY = 0.01  # seconds there and back: a near upstream's
_NAMES = 1_000  # that are in the cache
_PATIENCE = 1.0  # seconds that a modest client waits
_ROOT = Path(__file__).resolve().parent.parent

P99_BUDGET = 5.0  # milliseconds within which 99 of 100 cached answers come
RECOVERY_BUDGET = 2.0  # seconds after the flood until a new name is answered
MEMORY_BUDGET = 40.0  # MiB more than before the flood: 1,024 exchanges, 800 that gave way, and the cache that fills


@dataclass(slots=True)
class Asked:
    """What a modest client saw."""

    milliseconds: list[float] = field(default_factory=list)  # of each answer
    failed: int = 0  # an answer with another code than NOERROR, or a connection that was closed
    lost: int = 0  # no answer within its patience

    def at(self, share: float) -> float:
        """The time within which so large a share of all questions was answered, those without an answer counting."""
        times = sorted(self.milliseconds) + [_PATIENCE * 1000] * (self.lost + self.failed)
        return times[min(int(len(times) * share), len(times) - 1)] if times else 0.0

    def __str__(self) -> str:
        missing = f", {self.lost} lost" * bool(self.lost) + f", {self.failed} failed" * bool(self.failed)
        return f"{self.at(0.5):.2f} / {self.at(0.99):.2f} / {self.at(1):.1f} ms of {len(self.milliseconds)}{missing}"


@dataclass(slots=True)
class Outcome:
    """One flood."""

    kind: str
    cached: Asked
    tcp: Asked
    new: Asked
    flood: dict[str, int]
    processor: float  # share of one core
    before: float  # MiB resident
    most: float
    after: float
    recovery: float  # seconds until ten new names in turn were answered

    @property
    def missed(self) -> list[str]:
        """The budgets that were not met."""
        found = {
            "cached answers": self.cached.at(0.99) <= P99_BUDGET,
            "recovery": self.recovery <= RECOVERY_BUDGET,
            "memory": self.most - self.before <= MEMORY_BUDGET,
        }
        return [name for name, met in found.items() if not met]

    def __str__(self) -> str:
        return "\n".join(
            (
                f"{self.kind}: {'met' if not self.missed else 'MISSED: ' + ', '.join(self.missed)}",
                f"  cached, UDP (p50 / p99 / max)  {self.cached}",
                f"  cached, new TCP connection     {self.tcp}",
                f"  new names, UDP                 {self.new}",
                f"  the flood                      {self.flood}",
                f"  processor {self.processor:.0%}; new names again {self.recovery:.2f} s after its end",
                f"  resident {self.before:.1f} MiB before, {self.most:.1f} at most, {self.after:.1f} afterwards",
            )
        )


def measure(kind: str, server: Running, seconds: float) -> Outcome:
    """One flood of so many seconds."""
    before = server.resident_mebibytes
    spent, begun = server.processor_seconds, time.monotonic()
    command = [sys.executable, "-m", "bench.floods", kind, str(server.port), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=_ROOT, text=True) as flood:
        time.sleep(0.5)  # it starts
        memory: list[float] = []
        until = begun + seconds - 0.2
        cached, tcp, new = Asked(), Asked(), Asked()
        with _beside(
            lambda: _every(0.01, until, lambda number: _ask(server.port, f"c{number * 7 % _NAMES}.wild.lab", cached)),
            lambda: _every(0.1, until, lambda _: _ask_tcp(server.port, "c5.wild.lab", tcp)),
            lambda: _every(0.1, until, lambda number: _ask(server.port, f"n{number}-{begun}.wild.lab", new)),
            lambda: _every(0.1, until, lambda _: memory.append(server.resident_mebibytes)),
        ):
            pass
        output, _ = flood.communicate(timeout=seconds + 30)
        ended = time.monotonic()
    processor = (server.processor_seconds - spent) / (ended - begun)
    recovery = _recovery(server.port, ended)
    if not output:
        raise CannotMeasure(f"the flood {kind!r} did not end well")
    time.sleep(1)
    after = server.resident_mebibytes
    most = max(*memory, after)
    return Outcome(kind, cached, tcp, new, json.loads(output), processor, before, most, after, recovery)


@contextlib.contextmanager
def _beside(*functions: Callable[[], None]) -> Iterator[None]:
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join()


def _every(pause: float, until: float, do: Callable[[int], None]) -> None:
    for number in itertools.count():
        due = time.monotonic() + pause
        if due > until:
            return
        do(number)
        time.sleep(max(due - time.monotonic(), 0))


def _ask(port: int, name: str, asked: Asked) -> bool:
    """One question over UDP from a socket of its own, as a program's resolver library does it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(_PATIENCE)
        sock.connect(("127.0.0.1", port))
        begun = time.perf_counter()
        try:
            sock.send(question(name))
            reply = sock.recv(4096)
        except OSError:
            asked.lost += 1
            return False
        return _note(reply, begun, asked)


def _ask_tcp(port: int, name: str, asked: Asked) -> None:
    """One question on a connection of its own."""
    begun, wire = time.perf_counter(), question(name)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE) as sock:
            sock.sendall(len(wire).to_bytes(2) + wire)
            reply = sock.recv(4096)[2:]
    except TimeoutError:
        asked.lost += 1
        return
    except OSError:
        reply = b""
    if reply:
        _note(reply, begun, asked)
    else:
        asked.failed += 1


def _note(reply: bytes, begun: float, asked: Asked) -> bool:
    if reply[3] & 15:
        asked.failed += 1
        return False
    asked.milliseconds.append((time.perf_counter() - begun) * 1000)
    return True


def _recovery(port: int, ended: float) -> float:
    """Seconds from the flood's end to the first of ten new names in turn that are answered."""
    first, row = ended, 0
    for number in itertools.count():
        begun = time.monotonic()
        if _ask(port, f"r{number}-{ended}.wild.lab", Asked()):
            first, row = (begun, 1) if row == 0 else (first, row + 1)
            if row == 10:
                return first - ended
        else:
            row = 0
        if begun > ended + 30:
            raise CannotMeasure("no new name is answered 30 s after a flood")
        time.sleep(0.01)
    raise AssertionError("unreachable")


async def relay(port: int, target: int) -> None:
    """Carry octets to the upstream, each piece half of `DELAY` late."""
    loop = asyncio.get_running_loop()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            loop.call_later(DELAY / 2, writer.write, data)
        loop.call_later(DELAY, writer.close)

    async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward, back = await asyncio.open_connection("127.0.0.1", target)
        with contextlib.suppress(OSError):
            await asyncio.gather(carry(reader, back), carry(onward, writer))

    server = await asyncio.start_server(welcome, "127.0.0.1", port)
    await server.serve_forever()


def _run(kinds: list[str], seconds: float, folder: Path) -> Iterator[Outcome]:
    for kind in kinds:
        own = folder / kind
        own.mkdir()
        serve = serve_lab_upstream(own, b"\6silent") if kind in ("silent", "slow") else serve_upstream(own)
        port = free_port()
        with serve as upstream:
            command = [sys.executable, "-m", "bench.flood", "--relay", str(port), str(upstream.dot_port)]
            with Program("relay", command, own, {"PYTHONPATH": str(_ROOT)}) as late:
                late.wait_until_it_accepts(port)
                with Running(STUBRESOLVER, replace(upstream, dot_port=port), own / "service") as server:
                    server.wait_until_ready()
                    _warm(server.port)
                    yield measure(kind, server, seconds)


def _warm(port: int) -> None:
    """Put the names into the cache, as names in use and not as names that were seen once."""
    warm = Asked()
    for number in range(3 * _NAMES):
        _ask(port, f"c{number % _NAMES}.wild.lab", warm)
    if warm.failed or warm.lost:
        raise CannotMeasure(f"before the flood {warm.failed + warm.lost} questions failed")


def main() -> int:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description="What floods do to everybody else.")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each flood (8)")
    parser.add_argument("--only", action="append", choices=KINDS, help="one kind; may be repeated")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--relay", nargs=2, type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.relay:
        asyncio.run(relay(*arguments.relay))
    outcomes = []
    try:
        with tempfile.TemporaryDirectory(prefix="stubresolver-flood-") as folder:
            for outcome in _run(arguments.only or list(KINDS), arguments.seconds, Path(folder)):
                outcomes.append(outcome)
                if not arguments.json:
                    print(outcome, flush=True)
    except CannotMeasure as error:
        print(f"could not be measured: {error}", file=sys.stderr)
        return 2
    if arguments.json:
        print(json.dumps([_document(outcome) for outcome in outcomes], indent=2))
    return 1 if any(outcome.missed for outcome in outcomes) else 0


def _document(outcome: Outcome) -> dict[str, object]:
    """One flood for a machine: each client's times as median, 99th of a hundred and most."""
    document: dict[str, object] = {**asdict(outcome), "missed": outcome.missed}
    for name, asked in (("cached", outcome.cached), ("tcp", outcome.tcp), ("new", outcome.new)):
        times = [round(asked.at(share), 3) for share in (0.5, 0.99, 1)]
        document[name] = {
            "p50_p99_max_ms": times,
            "answered": len(asked.milliseconds),
            "failed": asked.failed,
            "lost": asked.lost,
            "mean_ms": round(statistics.fmean(asked.milliseconds), 3) if asked.milliseconds else None,
        }
    return document


if __name__ == "__main__":
    sys.exit(main())
