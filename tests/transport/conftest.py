"""Certificates for TLS machines; the only time that these tests know."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest

from stubresolver.lab.authority import Credential, LabAuthority

NOW = datetime(2026, 11, 2, 12, 0, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def authority(now: datetime) -> LabAuthority:
    return LabAuthority("Transport", now=now)


@pytest.fixture(scope="session")
def credential(authority: LabAuthority, now: datetime) -> Credential:
    """Valid for 30 days around `now`."""
    month = timedelta(days=30)
    return authority.issue(
        not_before=now - month, not_after=now + month, names=["dns.test"], addresses=[ip_address("127.0.0.1")]
    )
