"""Run by test_disks.py in a mount namespace: each trial on a tmpfs of its own; prints [trial, what it found]."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path

from stubresolver.evidence import EvidenceKeeper, EvidenceStore
from stubresolver.lab.world import NAME, World
from stubresolver.verify import Presented, Verifier

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
UPSTREAM = "tls://127.0.0.1#dns.lab"
PLACE = Path("/mnt")
PATH = PLACE / "state" / "evidence.sqlite3"


class Trial:
    """A fresh disk with a keeper on it."""

    def __init__(self, world: World) -> None:
        mount("-t", "tmpfs", "-o", "size=400k", "tmpfs")
        self.world = world
        self.verifier = Verifier(world.policy, world.log_list)
        self.presented = Presented(ip_address("127.0.0.1"), NAME, world.issue().chain)
        self.keeper: EvidenceKeeper | None = None

    def start(self) -> None:
        """Open it, anew."""
        if self.keeper is not None:
            self.keeper.close()
        self.keeper = EvidenceKeeper(PATH, lambda: NOW)
        self.keeper.keep_demands(self.world.policy, self.world.log_list)

    def record(self, name: str) -> None:
        """Keep a judgement of the same leaf, by another name."""
        assert self.keeper is not None
        shown = replace(self.presented, name=name)
        self.keeper.record(self.keeper.judgement(UPSTREAM, shown, self.verifier.judge(shown, NOW)))

    def found(self, cure: Callable[[], None], expected: int) -> dict[str, object]:
        """What is so now, and after the cure."""
        assert self.keeper is not None
        recalled = self.keeper.recall(sha256(self.presented.chain[0]).hexdigest())
        self.record("another")
        before = self.keeper.state
        cure()
        self.keeper.retry()
        after = self.keeper.state
        self.keeper.close()
        with closing(EvidenceStore(PATH)) as store:
            records = len(store.records(1000))
        aside = [file.name for file in PATH.parent.iterdir() if ".corrupt-" in file.name]
        return {
            "problem": before.problem, "unrecorded": before.unrecorded, "after": after.problem, "records": records,
            "expected": expected, "passed": recalled.passed is not None, "aside": aside,
        }  # fmt: skip


def mount(*arguments: str) -> None:
    """Mount something on the place."""
    subprocess.run(["mount", *arguments, str(PLACE)], check=True)


def unmount() -> None:
    """Undo it."""
    subprocess.run(["umount", str(PLACE)], check=True)


def fill() -> None:
    """Take all the room there is."""
    with (PLACE / "filler").open("wb", buffering=0) as filler:
        try:
            while filler.write(b"x" * 512):
                pass
        except OSError:
            return


def make_room() -> None:
    """Give it back."""
    (PLACE / "filler").unlink()


def full(trial: Trial, *, middle: bool) -> dict[str, object]:
    """A disk without room, before the first file or after it."""
    if middle:
        trial.start()
        trial.record(NAME)
    fill()
    if not middle:
        trial.start()
    return trial.found(make_room, 1 + middle)


def read_only(trial: Trial, *, middle: bool, empty: bool = False) -> dict[str, object]:
    """A disk that takes nothing any more: a file is there already, or not."""
    if not empty:
        trial.start()
        trial.record(NAME)
    # Another, read-only, view of the same disk over it: a disk with a file that is open for writing stays as it is.
    mount("--bind", str(PLACE))
    mount("-o", "remount,bind,ro")
    if not middle:
        trial.start()
    return trial.found(unmount, 2 - empty)


def damaged(trial: Trial) -> dict[str, object]:
    """A file that is none, where there is no room for another."""
    PATH.parent.mkdir()
    PATH.touch(0o600)
    PATH.write_bytes(b"damaged " * 1000)
    fill()
    trial.start()
    found = trial.found(make_room, 1)
    kept = any(file.read_bytes() == b"damaged " * 1000 for file in PATH.parent.iterdir())
    return found | {"kept_octets": kept}


TRIALS: dict[str, Callable[[Trial], dict[str, object]]] = {
    "full at the start": lambda trial: full(trial, middle=False),
    "full in the middle": lambda trial: full(trial, middle=True),
    "read-only at the start": lambda trial: read_only(trial, middle=False),
    "read-only in the middle": lambda trial: read_only(trial, middle=True),
    "read-only and empty": lambda trial: read_only(trial, middle=False, empty=True),
    "damaged and full": damaged,
}


def main() -> None:
    """Every trial."""
    world = World(NOW)
    for name, run in TRIALS.items():
        found = run(Trial(world))
        sys.stdout.write(json.dumps([name, found]) + "\n")


if __name__ == "__main__":
    main()
