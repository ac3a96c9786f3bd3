"""The evidence store: what was judged is on the disk once, whole and readable by its owner; faults have one error."""

import json
import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path

import pytest

from stubresolver.errors import EvidenceError
from stubresolver.evidence import EvidenceStore
from stubresolver.lab.world import NAME, World
from stubresolver.verify import Presented, TlsFacts, Verifier

ROOT = Path(__file__).resolve().parents[1]
NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
UPSTREAM = "tls://127.0.0.1#dns.lab"
TLS = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384", "X25519MLKEM768", "dot", openssl_error=None)


@pytest.fixture(scope="module")
def world():
    return World(NOW)


@pytest.fixture(scope="module")
def verifier(world):
    return Verifier(world.policy, world.log_list)


@pytest.fixture(scope="module")
def presented(world):
    return Presented(ip_address("127.0.0.1"), NAME, world.issue().chain, TLS)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "evidence.sqlite"


@pytest.fixture
def store(path):
    with closing(EvidenceStore(path)) as opened:
        yield opened


def rows(path, statement):
    """What another program reads in the file."""
    with closing(sqlite3.connect(path)) as database:
        return database.execute(statement).fetchall()


def test_a_judgement_is_kept_whole(store, path, verifier, presented):
    """Chain, address, name, TLS facts, verdict and digests can all be read back."""
    verdict = verifier.judge(presented, NOW)
    identity = store.record(UPSTREAM, presented, verdict)
    assert store.chain(identity) == presented.chain
    (kept,) = store.records()
    assert (kept.id, kept.upstream, kept.allowed, kept.summary) == (identity, UPSTREAM, True, verdict.summary)
    assert (kept.first_seen, kept.last_seen, kept.count) == (*["2026-11-02T12:00:00.000Z"] * 2, 1)
    ((address, name, tls, judged, policy, log_list),) = rows(
        path, "SELECT address, name, tls, verdict, policy, log_list FROM record"
    )
    assert (address, name, policy, log_list) == ("127.0.0.1", NAME, verdict.policy, verdict.log_list.digest)
    assert json.loads(judged) == json.loads(json.dumps(verdict.to_jsonable()))
    assert json.loads(tls) == {
        "version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384", "group": "X25519MLKEM768", "alpn": "dot",
        "openssl_error": None,
    }  # fmt: skip


def test_a_refused_judgement_is_kept_too(store, world, verifier, presented):
    """Also one whose chain is nothing or cannot be read, offline or dialled: that is what evidence is for."""
    refused = [
        replace(presented, chain=world.issue(authority=world.finish).chain),
        replace(presented, chain=()),
        replace(presented, chain=(b"junk", b"junk")),
        replace(presented, address=None, name=None, tls=None),
        replace(presented, tls=replace(TLS, openssl_error="caf\u00e9 \u2028")),
    ]
    for shown in refused:
        verdict = verifier.judge(shown, NOW)
        assert not verdict.allowed
        assert store.chain(store.record(UPSTREAM, shown, verdict)) == shown.chain
    assert [kept.allowed for kept in store.records()] == [False] * len(refused)


def test_the_same_again_moves_last_seen_and_count(store, verifier, presented):
    """One record for one chain with one outcome, however often it is seen."""
    for hours in (0, 1, 2):
        store.record(UPSTREAM, presented, verifier.judge(presented, NOW + timedelta(hours=hours)))
    (kept,) = store.records()
    assert (kept.count, kept.first_seen[11:13], kept.last_seen[11:13]) == (3, "12", "14")


def test_each_difference_is_another_record(store, world, verifier, presented):
    """Another upstream, address, name, chain, handshake, policy, list or outcome is another judgement."""
    other_policy = Verifier(replace(world.policy, minimum_tls="TLSv1.2"), world.log_list)
    other_list = Verifier(world.policy, replace(world.log_list, digest="another"))
    seen = [
        (UPSTREAM, presented, verifier, NOW),
        ("https://127.0.0.1/dns-query", presented, verifier, NOW),
        (UPSTREAM, replace(presented, address=ip_address("::1")), verifier, NOW),
        (UPSTREAM, replace(presented, name=None), verifier, NOW),
        (UPSTREAM, replace(presented, chain=world.issue().chain), verifier, NOW),
        (UPSTREAM, replace(presented, tls=replace(TLS, group="x25519")), verifier, NOW),
        (UPSTREAM, presented, other_policy, NOW),
        (UPSTREAM, presented, other_list, NOW),
        (UPSTREAM, presented, verifier, NOW + timedelta(days=400)),
    ]
    for upstream, shown, judge, at in seen:
        store.record(upstream, shown, judge.judge(shown, at))
    assert len(store.records()) == len(seen)
    assert {kept.count for kept in store.records()} == {1}


def test_certificates_are_kept_once_by_their_hash(store, path, world, verifier):
    """Two leaves of one CA share its intermediate; a chain that repeats a certificate comes back as it was."""
    chains = [world.issue().chain, world.issue().chain]
    chains.append((*chains[0], chains[0][1]))
    for chain in chains:
        shown = Presented(ip_address("127.0.0.1"), NAME, chain, TLS)
        assert store.chain(store.record(UPSTREAM, shown, verifier.judge(shown, NOW))) == chain
    kept = rows(path, "SELECT sha256, der FROM certificate")
    assert {der for _, der in kept} == {der for chain in chains for der in chain}
    assert all(digest == sha256(der).hexdigest() for digest, der in kept)
    assert len(kept) == 3


def test_records_come_newest_first_and_no_more_than_asked(store, world, verifier, presented):
    """A page of the newest judgements."""
    for days in range(5):
        shown = replace(presented, chain=world.issue().chain)
        store.record(UPSTREAM, shown, verifier.judge(shown, NOW + timedelta(days=days)))
    assert [kept.last_seen[:10] for kept in store.records(3)] == ["2026-11-06", "2026-11-05", "2026-11-04"]
    assert len(store.records()) == 5


def test_what_was_kept_is_there_after_opening_again(path, verifier, presented):
    """A file is opened as it was left, its schema made once."""
    verdict = verifier.judge(presented, NOW)
    for count in (1, 2, 3):
        with closing(EvidenceStore(path)) as opened:
            identity = opened.record(UPSTREAM, presented, verdict)
            assert opened.records()[0].count == count
            assert opened.chain(identity) == presented.chain


def test_only_the_owner_can_read_the_file(store, path):
    """0600 in a folder of 0700: who was dialled, and when, is nobody else's business."""
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_an_unknown_record_is_an_evidence_error(store):
    """Asking for what is not there is answered, not raised from the depths."""
    with pytest.raises(EvidenceError, match="no record"):
        store.chain("0" * 64)


def test_threads_share_one_store(store, verifier, presented):
    """A lock puts their records one after the other; none is lost."""
    verdict = verifier.judge(presented, NOW)

    def write():
        for _ in range(10):
            store.record(UPSTREAM, presented, verdict)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [kept.count for kept in store.records()] == [40]


def test_two_processes_write_to_one_file(path, world, verifier, presented):
    """`check` may run beside the service: all records of both are there."""
    script = (
        "import sys, pathlib, datetime, ipaddress\n"
        "from stubresolver.evidence import EvidenceStore\n"
        "from stubresolver.verify import Policy, Presented, Verifier\n"
        "store = EvidenceStore(pathlib.Path(sys.argv[1]))\n"
        "verifier = Verifier(Policy((bytes.fromhex(sys.argv[2]),)))\n"
        "at = datetime.datetime(2026, 11, 2, tzinfo=datetime.UTC)\n"
        "for number in range(15):\n"
        "    for name in ('shared', sys.argv[3] + str(number)):\n"
        "        shown = Presented(ipaddress.ip_address('127.0.0.1'), name, (b'junk',))\n"
        "        store.record('tls://127.0.0.1', shown, verifier.judge(shown, at))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script, str(path), world.lab.anchor.hex()]
    running = [subprocess.Popen([*command, name], env=environment, stderr=subprocess.PIPE) for name in ("one", "two")]
    assert [(each.communicate(timeout=60)[1], each.returncode) for each in running] == [(b"", 0)] * 2
    with closing(EvidenceStore(path)) as store:
        assert sorted(kept.count for kept in store.records()) == [1] * 30 + [30]


def test_a_path_that_cannot_be_made_is_an_evidence_error(tmp_path):
    """A folder for a file, a file for a folder: the error names the path."""
    (tmp_path / "file").write_bytes(b"")
    for wrong in (tmp_path, tmp_path / "file" / "evidence.sqlite"):
        with pytest.raises(EvidenceError, match="cannot keep evidence here") as caught:
            EvidenceStore(wrong)
        assert str(wrong) in str(caught.value)


def test_a_file_that_is_no_database_is_an_evidence_error(path):
    """Somebody's file is not written over."""
    path.parent.mkdir()
    path.write_bytes(b"these are not the records that you look for\n" * 100)
    with pytest.raises(EvidenceError, match="cannot keep evidence here"):
        EvidenceStore(path)
    assert path.read_bytes().startswith(b"these are not")


def test_another_programs_database_is_not_touched(path):
    """A database that we did not make gets no tables of ours."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE cookies (name TEXT)")
    with pytest.raises(EvidenceError, match="another program"):
        EvidenceStore(path)
    assert rows(path, "SELECT name FROM sqlite_master") == [("cookies",)]


def test_a_file_of_a_later_version_is_not_touched(store, path):
    """What a newer program wrote, this one cannot know; it says which versions meet."""
    store.close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 2")
    before = path.read_bytes()
    with pytest.raises(EvidenceError, match=r"written by a later version \(2, this one knows 1\)"):
        EvidenceStore(path)
    assert path.read_bytes() == before


def test_a_full_disk_is_an_evidence_error_and_leaves_no_half_record(store, path, world, verifier, presented):
    """What does not fit is not there at all, and what was there still is; with room again, it goes on."""
    first = store.record(UPSTREAM, presented, verifier.judge(presented, NOW))
    (pages,) = store._database.execute("PRAGMA page_count").fetchone()
    store._database.execute(f"PRAGMA max_page_count = {pages}")
    big = replace(presented, chain=(*world.issue().chain, bytes(200_000)))
    verdict = verifier.judge(big, NOW)
    with pytest.raises(EvidenceError, match="full"):
        store.record(UPSTREAM, big, verdict)
    assert [kept.id for kept in store.records()] == [first]
    assert len(rows(path, "SELECT * FROM certificate")) == 2
    store._database.execute("PRAGMA max_page_count = 1000000")
    assert store.chain(store.record(UPSTREAM, big, verdict)) == big.chain


def test_a_known_judgement_needs_no_room(store, world, verifier, presented):
    """Where nothing can be written, what is kept already is enough; what is not kept is an error."""
    verdict = verifier.judge(presented, NOW)
    first = store.record(UPSTREAM, presented, verdict)
    store._database.execute("PRAGMA query_only = ON")
    assert store.record(UPSTREAM, presented, verdict) == first
    with pytest.raises(EvidenceError, match="readonly"):
        store.record("tls://127.0.0.2", presented, verdict)


def test_a_record_that_fails_half_way_leaves_nothing(store, path, verifier, presented):
    """Certificates and record are one transaction: a fault at the record takes the certificates back."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TRIGGER no BEFORE INSERT ON record BEGIN SELECT RAISE(FAIL, 'not today'); END")
    with pytest.raises(EvidenceError, match="not today"):
        store.record(UPSTREAM, presented, verifier.judge(presented, NOW))
    assert rows(path, "SELECT * FROM certificate") == []


def test_a_locked_file_is_an_evidence_error(store, path, verifier, presented):
    """Another program that holds the file for good does not hold us for good."""
    store._database.execute("PRAGMA busy_timeout = 1")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(EvidenceError, match="locked"):
            store.record(UPSTREAM, presented, verifier.judge(presented, NOW))
        other.execute("ROLLBACK")
    store.record(UPSTREAM, presented, verifier.judge(presented, NOW))
    assert len(store.records()) == 1


def test_a_damaged_file_is_an_evidence_error(store, path, verifier, presented):
    """A record whose certificate or chain was taken away or rewritten is reported, not raised from the depths."""
    identity = store.record(UPSTREAM, presented, verifier.judge(presented, NOW))
    for damage in ("DELETE FROM certificate", "UPDATE record SET chain = 'no JSON'", "UPDATE record SET chain = '7'"):
        with closing(sqlite3.connect(path)) as database, database:
            database.execute(damage)
        with pytest.raises(EvidenceError):
            store.chain(identity)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DROP TABLE record")
    for broken in (store.records, lambda: store.chain(identity)):
        with pytest.raises(EvidenceError, match="cannot be read"):
            broken()


def test_a_closed_store_is_an_evidence_error(store, verifier, presented):
    """After the end nothing is kept, and that is said."""
    store.close()
    with pytest.raises(EvidenceError):
        store.record(UPSTREAM, presented, verifier.judge(presented, NOW))
    with pytest.raises(EvidenceError):
        store.records()
