"""What the tests of `verify` share: the lab's world at one time, and its verifier."""

from datetime import UTC, datetime
from ipaddress import ip_address

import pytest
from hypothesis import settings

from stubresolver.lab.world import NAME, World
from stubresolver.verify import Presented, TlsFacts, Verifier

# On a busy machine a single example may take long; how fast the code is, is not measured here.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
def now() -> datetime:
    """The only time that these tests know."""
    return NOW


@pytest.fixture(scope="session")
def world(now: datetime) -> World:
    """Authorities and logs for all: making keys is the slow part."""
    return World(now)


@pytest.fixture(scope="session")
def verifier(world: World) -> Verifier:
    """The demands of the shipped policy, with the lab's authorities and logs."""
    return Verifier(world.policy, world.log_list)


@pytest.fixture(scope="session")
def tls() -> TlsFacts:
    """A handshake that nobody objects to."""
    return TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384", "X25519MLKEM768", "dot", openssl_error=None)


@pytest.fixture(scope="session")
def presented(world: World, tls: TlsFacts) -> Presented:
    """What an honest upstream shows."""
    return Presented(ip_address("127.0.0.1"), NAME, world.issue().chain, tls)
