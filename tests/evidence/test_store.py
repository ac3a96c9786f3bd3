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

from stubresolver.ct import LogList
from stubresolver.errors import BadInput, EvidenceError
from stubresolver.evidence import EvidenceStore
from stubresolver.exported import Exported, encode_verdict
from stubresolver.lab.world import NAME
from stubresolver.verify import Presented, Revocation, Verifier

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
UPSTREAM = "tls://127.0.0.1#dns.lab"


def test_a_judgement_is_kept_whole(store, rows, verifier, presented):
    """Chain, address, name, TLS facts, verdict and digests can all be read back."""
    verdict = verifier.judge(presented, NOW)
    done = store.record(UPSTREAM, presented, verdict)
    assert (done.new, done.events) == (True, ())
    assert store.chain(done.id) == presented.chain
    (kept,) = store.records()
    assert kept == store.get(done.id)
    assert (kept.id, kept.upstream, kept.allowed, kept.summary) == (done.id, UPSTREAM, True, verdict.summary)
    assert kept.mode == "enforce"
    assert (kept.first_seen, kept.last_seen, kept.count) == (*["2026-11-02T12:00:00.000Z"] * 2, 1)
    ((address, name, tls, judged, log_list),) = rows("SELECT address, name, tls, verdict, log_list FROM record")
    assert (address, name, log_list) == ("127.0.0.1", NAME, verdict.log_list.digest)
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
        replace(presented, tls=replace(presented.tls, openssl_error="caf\u00e9 \u2028")),
    ]
    for shown in refused:
        verdict = verifier.judge(shown, NOW)
        assert not verdict.allowed
        assert store.chain(store.record(UPSTREAM, shown, verdict).id) == shown.chain
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
    other_list = Verifier(world.policy, LogList.parse(world.log_list_json + b" "))
    for demanding in (other_policy, other_list):
        store.keep_demands(demanding.policy, demanding.log_list)
    seen = [
        (UPSTREAM, presented, verifier, NOW),
        ("https://127.0.0.1/dns-query", presented, verifier, NOW),
        (UPSTREAM, replace(presented, address=ip_address("::1")), verifier, NOW),
        (UPSTREAM, replace(presented, name=None), verifier, NOW),
        (UPSTREAM, replace(presented, chain=world.issue().chain), verifier, NOW),
        (UPSTREAM, replace(presented, tls=replace(presented.tls, group="x25519")), verifier, NOW),
        (UPSTREAM, presented, other_policy, NOW),
        (UPSTREAM, presented, other_list, NOW),
        (UPSTREAM, presented, verifier, NOW + timedelta(days=400)),
    ]
    for upstream, shown, judge, at in seen:
        assert store.record(upstream, shown, judge.judge(shown, at)).new
    assert len(store.records()) == len(seen)
    assert {kept.count for kept in store.records()} == {1}


def test_certificates_are_kept_once_by_their_hash(store, rows, world, verifier, presented):
    """Two leaves of one CA share its intermediate; a chain that repeats a certificate comes back as it was."""
    chains = [world.issue().chain, world.issue().chain]
    chains.append((*chains[0], chains[0][1]))
    for chain in chains:
        shown = replace(presented, chain=chain)
        assert store.chain(store.record(UPSTREAM, shown, verifier.judge(shown, NOW)).id) == chain
    kept = rows("SELECT sha256, der FROM certificate")
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


def test_what_was_kept_is_there_after_opening_again(path, opening, verifier, presented):
    """A file is opened as it was left, its schema made once."""
    verdict = verifier.judge(presented, NOW)
    for count in (1, 2, 3):
        with opening(path) as opened:
            kept = opened.record(UPSTREAM, presented, verdict)
            assert kept.new is (count == 1)
            assert opened.records()[0].count == count
            assert opened.chain(kept.id) == presented.chain


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
        "store.keep_demands(verifier.policy, None)\n"
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


def test_another_programs_database_is_not_touched(path, rows):
    """A database that we did not make gets no tables of ours."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE cookies (name TEXT)")
    with pytest.raises(EvidenceError, match="another program"):
        EvidenceStore(path)
    assert rows("SELECT name FROM sqlite_master") == [("cookies",)]


@pytest.mark.parametrize(
    ("version", "problem"),
    [(5, r"written by a later version \(5, this one knows 4\)"), (1, r"written by an unreleased version \(1\)")],
)
def test_a_file_of_another_version_is_not_touched(store, path, version, problem):
    """What another program wrote, this one cannot know; it says which versions meet."""
    store.close()
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA user_version = {version}")
    before = path.read_bytes()
    with pytest.raises(EvidenceError, match=problem):
        EvidenceStore(path)
    assert path.read_bytes() == before


def test_a_full_disk_is_an_evidence_error_and_leaves_no_half_record(store, rows, world, verifier, presented):
    """What does not fit is not there at all, and what was there still is; with room again, it goes on."""
    first = store.record(UPSTREAM, presented, verifier.judge(presented, NOW)).id
    (pages,) = store._database.execute("PRAGMA page_count").fetchone()
    store._database.execute(f"PRAGMA max_page_count = {pages}")
    big = replace(presented, chain=(*world.issue().chain, bytes(200_000)))
    verdict = verifier.judge(big, NOW)
    with pytest.raises(EvidenceError, match="full"):
        store.record(UPSTREAM, big, verdict)
    assert [kept.id for kept in store.records()] == [first]
    assert len(rows("SELECT * FROM certificate")) == 2
    store._database.execute("PRAGMA max_page_count = 1000000")
    assert store.chain(store.record(UPSTREAM, big, verdict).id) == big.chain


def test_what_cannot_be_pruned_is_told_as_written(store, verifier, presented):
    """A change that fails is not called a file that cannot be read; a dry run only reads."""
    store.record(UPSTREAM, presented, verifier.judge(presented, NOW))
    store._database.execute("PRAGMA query_only = ON")
    with pytest.raises(EvidenceError, match="evidence could not be written: attempt to write a readonly database"):
        store.prune(after=NOW - timedelta(days=1))
    assert store.prune(after=NOW - timedelta(days=1), dry_run=True).allowed == 1


def test_a_record_that_fails_half_way_leaves_nothing(store, path, rows, verifier, presented):
    """Certificates and record are one transaction: a fault at the record takes the certificates back."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TRIGGER no BEFORE INSERT ON record BEGIN SELECT RAISE(FAIL, 'not today'); END")
    with pytest.raises(EvidenceError, match="not today"):
        store.record(UPSTREAM, presented, verifier.judge(presented, NOW))
    assert rows("SELECT * FROM certificate") == []


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


@pytest.mark.parametrize(
    ("damage", "broken"),
    [
        ("DELETE FROM certificate", "chain export"),
        ("DELETE FROM snapshot", "export"),
        ("UPDATE record SET address = 'nowhere'", "export"),
        ("UPDATE record SET tls = 'no JSON'", "export"),
        ("UPDATE record SET verdict = '[]'", "export"),
        ("UPDATE record SET verdict = '{}'", "export"),
        ("UPDATE event SET kind = 'weather'", "events"),
        ("DROP TABLE record", "records find get chain export prune"),
        ("DROP TABLE event", "events prune"),
        ("DROP TABLE dropped", "dropped prune"),
    ],
)
def test_a_damaged_file_is_an_evidence_error(store, path, world, verifier, presented, damage, broken):
    """What was taken away or rewritten is reported where it is missed, not raised from the depths."""
    other = replace(presented, chain=world.issue().chain)
    for shown in (other, presented):
        identity = store.record(UPSTREAM, shown, verifier.judge(shown, NOW)).id
    uses = {
        "records": store.records,
        "find": lambda: store.find(identity[:6]),
        "get": lambda: store.get(identity),
        "chain": lambda: store.chain(identity),
        "export": lambda: store.export(identity),
        "events": store.events,
        "dropped": store.dropped,
        "prune": lambda: store.prune(before=NOW + timedelta(days=1), keep_octets=0, dry_run=True),
    }
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(damage)
    for name in broken.split():
        with pytest.raises(EvidenceError):
            uses[name]()
    for name in uses.keys() - set(broken.split()):
        uses[name]()


def test_a_closed_store_is_an_evidence_error(store, verifier, presented):
    """After the end nothing is kept, and that is said."""
    store.close()
    with pytest.raises(EvidenceError):
        store.record(UPSTREAM, presented, verifier.judge(presented, NOW))
    for use in (store.records, store.events, store.dropped, lambda: store.prune(keep_octets=0)):
        with pytest.raises(EvidenceError):
            use()


def test_demands_that_were_not_kept_are_an_evidence_error(path, world, verifier, presented):
    """A record that could never be judged again is none: policy and list are told before the first verdict."""
    verdict = verifier.judge(presented, NOW)
    with closing(EvidenceStore(path)) as store:
        with pytest.raises(EvidenceError, match="not kept before the verdict"):
            store.record(UPSTREAM, presented, verdict)
        store.keep_demands(world.policy, None)
        with pytest.raises(EvidenceError, match="not kept before the verdict"):
            store.record(UPSTREAM, presented, verdict)
        store.keep_demands(world.policy, world.log_list)
        store.record(UPSTREAM, presented, verdict)


def test_demands_are_written_once_and_only_with_a_record(store, rows, world, verifier, presented):
    """Two snapshots however many records; one that no record needs is not there."""
    store.keep_demands(replace(world.policy, minimum_tls="TLSv1.2"), None)
    assert rows("SELECT count(*) FROM snapshot") == [(0,)]
    for shown in (presented, replace(presented, name=None)):
        store.record(UPSTREAM, shown, verifier.judge(shown, NOW))
    kept = rows("SELECT sha256, octets FROM snapshot")
    assert {octets for _, octets in kept} == {world.policy.snapshot(), world.log_list_json}
    assert all(digest == sha256(octets).hexdigest() for digest, octets in kept)
    assert len(kept) == 2


def test_a_new_reason_replaces_the_policy_of_a_record(store, rows, world, presented):
    """Same demands, other names: the record goes on, and is exported with the policy of its last judgement."""
    issuers = replace(world.policy.issuers, allowed=dict.fromkeys(world.policy.issuers.allowed, "renamed"))
    renamed = replace(world.policy, issuers=issuers)
    for policy in (world.policy, renamed):
        store.keep_demands(policy, world.log_list)
        kept = store.record(UPSTREAM, presented, Verifier(policy, world.log_list).judge(presented, NOW))
    assert renamed.digest == world.policy.digest
    assert not kept.new
    assert store.export(kept.id).policy == renamed.snapshot()
    assert {octets for (octets,) in rows("SELECT octets FROM snapshot")} == {renamed.snapshot(), world.log_list_json}


def test_what_is_exported_is_what_was_judged(store, world, verifier, presented):
    """Everything of the last judgement, staple and all; it reproduces, also where nothing was allowed or readable."""
    shapes = [
        presented,
        replace(presented, staple=b"a staple"),
        replace(presented, chain=()),
        replace(presented, chain=(b"junk", b"", b"junk")),
        Presented(ip_address("::1"), None, presented.chain),
    ]
    for shown in shapes:
        verdict = verifier.judge(shown, NOW + timedelta(microseconds=1))
        exported = store.export(store.record(UPSTREAM, shown, verdict).id)
        assert (exported.upstream, exported.presented, exported.at) == (UPSTREAM, shown, verdict.at)
        assert exported.verdict == encode_verdict(verdict)
        assert (exported.policy, exported.log_list) == (world.policy.snapshot(), world.log_list_json)
        assert exported.reproduces
        assert Exported.read(exported.write()) == exported


def test_a_new_staple_with_the_same_outcome_is_the_same_record(store, world, presented):
    """A server has a new staple every few days; the record holds the last, with the verdict on it."""
    policy = replace(world.policy, revocation=Revocation.OFF)
    verifier = Verifier(policy, world.log_list)
    store.keep_demands(policy, world.log_list)
    for hours, staple in enumerate((b"old", b"new")):
        shown = replace(presented, staple=staple)
        kept = store.record(UPSTREAM, shown, verifier.judge(shown, NOW + timedelta(hours=hours)))
    (record,) = store.records()
    assert (record.id, record.count) == (kept.id, 2)
    assert store.export(kept.id).presented.staple == b"new"
    assert store.export(kept.id).reproduces


def test_records_can_be_filtered(store, world, verifier, presented):
    """Allowed or refused, of one upstream, since a time; each filter narrows the others."""
    refused = replace(presented, chain=())
    for hours, (upstream, shown) in enumerate(
        [(UPSTREAM, presented), (UPSTREAM, refused), ("tls://::1", presented), ("tls://::1", refused)]
    ):
        store.record(upstream, shown, verifier.judge(shown, NOW + timedelta(hours=hours)))

    def found(**filters):
        return [(kept.upstream, kept.allowed) for kept in store.records(**filters)]

    assert found(allowed=True) == [("tls://::1", True), (UPSTREAM, True)]
    assert found(allowed=False) == [("tls://::1", False), (UPSTREAM, False)]
    assert found(upstream=UPSTREAM) == [(UPSTREAM, False), (UPSTREAM, True)]
    assert found(since=NOW + timedelta(hours=2)) == [("tls://::1", False), ("tls://::1", True)]
    assert found(since=NOW + timedelta(hours=1), allowed=False, upstream=UPSTREAM) == [(UPSTREAM, False)]
    assert found(limit=1, allowed=True) == [("tls://::1", True)]
    assert found(upstream="tls://") == []


def test_a_record_is_found_by_the_beginning_of_its_id(store, rows, verifier, presented):
    """Six digits or more, in either case; what fits several or none is an error that says so."""
    identity = store.record(UPSTREAM, presented, verifier.judge(presented, NOW)).id
    assert store.find(identity[:6]) == store.find(identity.upper()[:20]) == store.find(identity) == identity
    for wrong in ("", identity[:5], "no hex", identity + "0", identity[:6] + "\n", "%" * 6):
        with pytest.raises(BadInput, match="is no id of a record"):
            store.find(wrong)
    absent = f"{(int(identity[:6], 16) + 1) % 16**6:06x}"
    with pytest.raises(BadInput, match=f"no record begins with {absent}"):
        store.find(absent)
    twins = [identity[:8] + f"{number:056x}" for number in range(7)]
    for twin in twins:
        store._database.execute(
            "INSERT INTO record SELECT ?, upstream, allowed, failed, mode, first_seen, last_seen, day, count, policy,"
            " log_list, address, name, tls, summary, verdict, staple FROM record WHERE id = ?",
            (twin, identity),
        )
    with pytest.raises(BadInput, match=f"several records begin with {identity[:8]}: {twins[0][:14]}") as caught:
        store.find(identity[:8])
    assert str(caught.value).endswith(", …")


def test_a_file_of_version_2_gets_the_tables_of_this_one_and_keeps_its_rows(path, rows):
    """What an earlier version kept stays, and what this one needs is added, in one transaction."""
    with closing(EvidenceStore(path)):
        pass
    with closing(sqlite3.connect(path)) as database:
        for table in ("passed", "tree_head", "audit", "alarm"):
            database.execute(f"DROP TABLE {table}")
        database.execute("INSERT INTO dropped VALUES ('tls://192.0.2.1', '2026-01-01', 'ct.scts', 3)")
        database.execute("PRAGMA user_version = 2")
        database.commit()
    with closing(EvidenceStore(path)) as store:
        assert [each.count for each in store.dropped()] == [3]
    assert rows("PRAGMA user_version") == [(4,)]
    assert {"passed", "tree_head", "audit", "alarm"} <= {name for (name,) in rows("SELECT name FROM sqlite_master")}


def test_a_file_of_version_3_gets_since_when_each_outcome_has_been_so(path, rows):
    """Nobody knows it of what was kept before: it counts from the last audit."""
    with closing(EvidenceStore(path)):
        pass
    with closing(sqlite3.connect(path)) as database:
        database.execute("ALTER TABLE audit DROP COLUMN since")
        database.execute("INSERT INTO audit VALUES ('aa', 'bb', 'note', 'no-url', '', '2026-11-02T12:00:00.000Z')")
        database.execute("PRAGMA user_version = 3")
        database.commit()
    with closing(EvidenceStore(path)) as store:
        assert [each.since for each in store.audits().outcomes()] == ["2026-11-02T12:00:00.000Z"]
    assert rows("PRAGMA user_version") == [(4,)]
