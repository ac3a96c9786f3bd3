"""What the tests of `loglists` share: nine logs of three operators, enough for one of them to go."""

from datetime import timedelta

import pytest
from hypothesis import settings

from stubresolver.ct import LogList
from stubresolver.lab.logs import LabLog
from tests.loglists.formats import NOW, YEAR, pinned

# On a busy machine a single example may take long; how fast the code is, is not measured here.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def logs() -> list[LabLog]:
    """The honest logs, of both kinds."""
    return [
        LabLog(operator, f"{operator} {number}", "static-ct" if number == 3 else "rfc6962", interval=YEAR)
        for operator in ("Alder", "Birch", "Cedar")
        for number in (1, 2, 3)
    ]


@pytest.fixture(scope="session")
def current(logs) -> LogList:
    """The list in force: all of them, a week old."""
    return pinned(logs, NOW - timedelta(days=7))
