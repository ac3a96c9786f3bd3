"""A writer of the pinned list that is killed: before its n-th system call, in the middle of a write, or at any time.

Run by test_pinned: `killed_writer.py FOLDER steps` kills one writer before each system call that `install` makes and
prints what each left behind as one JSON object a line; `killed_writer.py FOLDER random` kills them at any moment.
"""

import builtins
import fcntl
import json
import os
import random
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stubresolver.pinned import install

OLDER, OLD, NEW = (word * 20_000 for word in (b"older ", b"old ", b"new "))
ROUNDS = 40
CALLS = [(os, name) for name in ("open", "mkdir", "fstat", "fchmod", "write", "fsync", "rename", "unlink", "close")]
CALLS += [(fcntl, "flock"), (builtins, "open")]


def count_calls(kill_before: int) -> list[str]:
    """Let the calls be counted, and this process be killed before one of them; a write is then half made."""
    made: list[str] = []

    def counted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **more: Any) -> Any:
            made.append(name)
            if len(made) == kill_before:
                if name == "write":
                    call(arguments[0], bytes(arguments[1])[:1000])
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **more)

        return wrapper

    for module, name in CALLS:
        setattr(module, name, counted(name, getattr(module, name)))
    return made


def prepare(folder: Path, *, installed: bool) -> Path:
    """A folder as it was before: with a list and the one before it, or with neither."""
    path = folder / "log_list.json"
    for file in folder.iterdir():
        file.unlink()
    if installed:
        path.write_bytes(OLD)
        path.with_name("log_list.json.previous").write_bytes(OLDER)
    return path


def killed_at(path: Path, step: int) -> bool:
    """True if a writer was killed before its system call of that number; False if it had fewer."""
    child = os.fork()
    if not child:
        count_calls(step)
        install(path, NEW, OLD)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def steps(folder: Path) -> None:
    """Kill a writer at each of its steps, then let the next one write."""
    for installed in (True, False):
        step = 0
        while True:
            step += 1
            path = prepare(folder, installed=installed)
            killed = killed_at(path, step)
            left = {file.name: file.read_bytes() for file in folder.iterdir()}
            install(path, NEW, left.get("log_list.json", OLD))
            after = {file.name: file.read_bytes() for file in folder.iterdir()}
            told = {
                "installed": installed, "step": step, "killed": killed,
                "left": {name: named(octets) for name, octets in left.items()},
                "after": {name: named(octets) for name, octets in after.items()},
            }  # fmt: skip
            sys.stdout.write(json.dumps(told) + "\n")
            if not killed:
                break


def named(octets: bytes) -> str:
    """Which of the lists it is."""
    known = {OLDER: "older", OLD: "old", NEW: "new", b"": "empty"}
    return known.get(octets, "a part")


def at_random(folder: Path) -> None:
    """Kill writers that replace old by new and new by old, each at a moment of chance."""
    chance = random.Random(4)  # noqa: S311 - the same moments each time
    for _ in range(ROUNDS):
        path = prepare(folder, installed=True)
        child = os.fork()
        if not child:
            now, then = OLD, NEW
            while True:
                install(path, then, now)
                now, then = then, now
        select.select([], [], [], chance.uniform(0, 0.02))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        files = (path, path.with_name("log_list.json.previous"))
        sys.stdout.write(json.dumps([named(file.read_bytes()) for file in files]) + "\n")


if __name__ == "__main__":
    {"steps": steps, "random": at_random}[sys.argv[2]](Path(sys.argv[1]))
