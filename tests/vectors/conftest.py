"""What the vectors share: the lab's world at one time."""

from datetime import UTC, datetime

import pytest
from hypothesis import settings

from stubresolver.lab.world import World

# On a busy machine a single example may take long; how fast the code is, is not measured here.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def world() -> World:
    """Authorities and logs for all: making keys is the slow part."""
    return World(datetime(2026, 11, 2, 12, tzinfo=UTC))
