"""A lab world at a fixed time, its verifier, what an honest upstream shows, stores that know the world's demands."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address

import pytest

from stubresolver.evidence import EvidenceStore
from stubresolver.lab.world import NAME, World
from stubresolver.verify import Presented, TlsFacts, Verifier

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
TLS = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384", "X25519MLKEM768", "dot", openssl_error=None)


@pytest.fixture(scope="session")
def world():
    return World(NOW)


@pytest.fixture(scope="session")
def verifier(world):
    return Verifier(world.policy, world.log_list)


@pytest.fixture(scope="session")
def presented(world):
    return Presented(ip_address("127.0.0.1"), NAME, world.issue().chain, TLS)


@pytest.fixture(scope="session")
def junk(presented):
    """A chain that anybody can make: the number, and nothing that is a certificate."""

    def junk(number):
        return replace(presented, chain=(b"junk %d" % number + bytes(3000),))

    return junk


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "evidence.sqlite"


@pytest.fixture
def opening(world):
    """Opens a store that holds the world's demands, until the `with` ends."""

    def opening(path, *verifiers, **options):
        opened = EvidenceStore(path, **options)
        opened.keep_demands(world.policy, world.log_list)
        for verifier in verifiers:
            opened.keep_demands(verifier.policy, verifier.log_list)
        return closing(opened)

    return opening


@pytest.fixture
def store(path, opening):
    with opening(path) as opened:
        yield opened


@pytest.fixture
def rows(path):
    """What another program reads in the file."""

    def rows(statement, *values):
        with closing(sqlite3.connect(path)) as database:
            return database.execute(statement, values).fetchall()

    return rows
