"""Each test here is a row of the fault table, or a part of one; see laboratory.py for how they are run.

A row writes its figures into `lab.figures`; with STUBRESOLVER_FAULT_FIGURES=FILE they are written there, as JSON.
"""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stubresolver.lab.world import World
from tests.faults.lab import missing
from tests.faults.laboratory import Laboratory
from tests.interop.network import can_make_network


def pytest_configure(config: pytest.Config) -> None:
    """What the rows are marked with."""
    config.addinivalue_line("markers", "slow: a row that takes long, and so is begun first")
    config.addinivalue_line("markers", "alone: a row that needs the whole machine")


@pytest.fixture(scope="session")
def laboratory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    """Everything that runs; all rows that were collected are begun."""
    if lack := missing():
        pytest.skip(lack)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
        if not can_make_network():
            pytest.skip("needs root, or user namespaces, to make networks of its own")
        laboratory = Laboratory(tmp_path_factory.mktemp("faults"), World(datetime.now(UTC)))
        laboratory.begin([item for item in request.session.items if _is_row(item)])
        yield laboratory
        laboratory.close()


@pytest.fixture
def lab(laboratory: Laboratory) -> Laboratory:
    """What stands for the row's own lab; the call is replaced below."""
    return laboratory


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Wait for the row instead of calling it."""
    laboratory = pyfuncitem.funcargs.get("lab")
    if not isinstance(laboratory, Laboratory):
        return None
    figures = laboratory.result(pyfuncitem)
    if file := os.environ.get("STUBRESOLVER_FAULT_FIGURES"):
        with Path(file).open("a") as out:
            out.write(json.dumps({"row": pyfuncitem.name, **figures}) + "\n")
    return True


def _is_row(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and "lab" in item.fixturenames
