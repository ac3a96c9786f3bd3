"""The lab's time and its first inhabitants, for all tests of the lab."""

from datetime import UTC, datetime

import pytest

from stubresolver.lab.authority import LabAuthority

NOW = datetime(2026, 11, 2, 12, 0, 0, 123000, tzinfo=UTC)


@pytest.fixture(scope="session")
def now() -> datetime:
    """The only time that these tests know."""
    return NOW


@pytest.fixture(scope="session")
def authority(now: datetime) -> LabAuthority:
    """An authority for all: making keys is the slow part."""
    return LabAuthority("Test", now=now)
