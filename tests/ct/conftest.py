"""What the tests of `ct` share: one time, one precertificate, one minted certificate."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import settings

from stubresolver.ct import Precertificate
from stubresolver.lab.authority import Credential, LabAuthority
from stubresolver.lab.logs import LabLog

# On a busy machine a single example may take long; how fast the code is, is not measured here.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
def now() -> datetime:
    """The only time that these tests know."""
    return NOW


@pytest.fixture(scope="session")
def precertificate(now: datetime) -> Precertificate:
    """Something for logs to sign: they look at its octets only. It lives 90 days."""
    return Precertificate(
        tbs=b"\x30\x03\x02\x01\x05",
        issuer_key_hash=sha256(b"the issuer's key").digest(),
        not_before=now - timedelta(days=1),
        not_after=now + timedelta(days=89),
    )


@pytest.fixture(scope="session")
def rsa_key() -> rsa.RSAPrivateKey:
    """Some real logs have RSA keys; making one is slow."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="session")
def credential(now: datetime) -> Credential:
    """A whole certificate with one SCT of either kind of log."""
    logs = [(LabLog("Alder", "Alder 1"), now), (LabLog("Birch", "Birch 1", "static-ct"), now)]
    ends = now + timedelta(days=89)
    return LabAuthority("Test", now=now).issue(not_before=now, not_after=ends, names=["dns.lab"], logs=logs)
