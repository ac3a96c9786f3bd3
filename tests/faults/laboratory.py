"""Runs the rows of the fault table several at a time, because most of their time is waiting.

A row is a test function whose first argument is `lab`. All rows that pytest has collected are begun with the first one;
each test then waits for its own. Rows are timed on a machine that does other things, too: one that fails is run once
more in a fresh lab, alone with those still under way, and fails if that fails as well.
"""

import functools
import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path

import pytest

from stubresolver.lab.world import World
from tests.faults.capture import Proof
from tests.faults.lab import Lab
from tests.faults.namespaces import ADDRESSES

_AT_ONCE = 5  # two cores; a lab waits for nine tenths of its time


class Laboratory:
    """All labs of a session and what they have found."""

    def __init__(self, folder: Path, world: World) -> None:
        self.proof = Proof()
        self.rows = 0
        self._folder = folder
        self._world = world
        self._credential = world.issue(addresses=[ip_address(each) for each in ADDRESSES])
        self._results: dict[str, Future[dict[str, float]]] = {}
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="lab")
        self._lock = threading.Lock()

    def begin(self, items: Sequence[pytest.Function]) -> None:
        """All these rows; the ones that say that they take long go first."""
        for item in sorted(items, key=_turn):
            arguments = dict(item.callspec.params) if hasattr(item, "callspec") else {}
            row, alone = functools.partial(item.obj, **arguments), False
            if item.get_closest_marker("alone") is not None:
                row = functools.partial(self._alone, tuple(self._results.values()), row)
                alone = True
            self._results[item.nodeid] = self._pool.submit(self._run, item.name, row, alone)

    def result(self, item: pytest.Function) -> dict[str, float]:
        """The figures of a row; raises what it raised."""
        return self._results[item.nodeid].result()

    def wait_for_others(self, item: pytest.Function) -> None:
        """Until every other row has ended, well or not."""
        for name, result in self._results.items():
            if name != item.nodeid:
                result.exception()

    def close(self) -> None:
        """Begin nothing more, and wait."""
        self._pool.shutdown(cancel_futures=True)

    @staticmethod
    def _alone(others: Sequence[Future[dict[str, float]]], row: Callable[..., None], *, lab: Lab) -> None:
        """Once all that were begun before have ended; they do, because rows that wait for others are begun last."""
        for other in others:
            other.exception()
        row(lab=lab)

    def _run(self, name: str, row: Callable[..., None], alone: bool) -> dict[str, float]:
        try:
            return self._once(name, row, alone)
        except Exception:  # noqa: BLE001 - whatever it was, told beside what comes of the second time
            first = traceback.format_exc()
        try:
            return self._once(f"{name}-again", row, alone)
        except Exception as error:
            error.add_note(f"... and the first time:\n{first}")
            raise

    def _once(self, name: str, row: Callable[..., None], alone: bool) -> dict[str, float]:
        folder = self._folder / "".join(letter if letter.isalnum() else "-" for letter in name)
        folder.mkdir()
        lab = Lab(folder, self._world, self._credential, flooded=alone)
        try:
            row(lab=lab)
        except BaseException as error:
            if lab.service is not None:
                error.add_note(f"the resolver's log:\n{lab.log[-3000:]}")
            raise
        finally:
            proof = lab.close()
            with self._lock:
                if not lab.expect_leaks:
                    self.rows += not alone  # of a flood, what clients ask is not recorded
                    self.proof.add(proof)
        if lab.expect_leaks:
            assert proof.leaks, "a question in clear was not found"
            return lab.figures
        assert not proof.leaks, f"{len(proof.leaks)} leaks, such as {proof.leaks[:5]}"
        return lab.figures


def _turn(item: pytest.Function) -> int:
    """In which order rows are begun."""
    return 2 if item.get_closest_marker("alone") is not None else item.get_closest_marker("slow") is None
