"""Which leaves are known, what the clock is held against, and that nobody gets either in by a side door."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stubresolver.ct import CTPolicy
from stubresolver.errors import EvidenceError
from stubresolver.evidence import EvidenceStore, Recalled
from stubresolver.evidence import known as module
from stubresolver.lab.rogues import GALLERY
from stubresolver.verify import Mode, Remembered, Rule, Verifier, WhenStale
from tests.evidence.conftest import NOW

UPSTREAM, OTHER = "tls://127.0.0.1#dns.lab", "tls://127.0.0.2#dns.lab"
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)


def leaf(presented):
    return sha256(presented.chain[0]).hexdigest()


def aged(world, age, policy=None):
    """The judge by a list that is so old."""
    return Verifier(policy or world.policy, replace(world.log_list, timestamp=NOW - age))


@pytest.fixture
def keep(store):
    """Judge by a verifier and record."""

    def keep(verifier, presented, at=NOW, upstream=UPSTREAM):
        store.keep_demands(verifier.policy, verifier.log_list)
        verdict = verifier.judge(presented, at)
        store.record(upstream, presented, verdict)
        return verdict

    return keep


def test_an_allowed_leaf_is_known_from_its_first_time(store, keep, verifier, presented):
    """Whoever showed it; seen again it keeps its first time, and the newest judgement is the newest of all."""
    assert store.recall(leaf(presented)) == Recalled()
    keep(verifier, presented)
    keep(verifier, presented, NOW + DAY, OTHER)
    keep(verifier, presented, NOW + 2 * DAY)
    assert store.recall(leaf(presented)) == Recalled(NOW, NOW + 2 * DAY)
    assert store.recall("00" * 32) == Recalled(None, NOW + 2 * DAY)


def test_a_first_time_of_a_clock_that_was_ahead_is_put_right(store, keep, verifier, presented):
    """The earlier of two times stays."""
    keep(verifier, presented, NOW + 20 * DAY)
    keep(verifier, presented, NOW)
    assert store.recall(leaf(presented)).passed == NOW


@pytest.mark.parametrize(("age", "known"), [(0 * DAY, True), (70 * DAY - SECOND, True), (70 * DAY, False)])
@pytest.mark.parametrize("when", [WhenStale.KNOWN_LEAVES, WhenStale.REPORT])
def test_a_leaf_becomes_known_by_a_fresh_list_only(world, store, keep, presented, age, known, when):
    """Also where a policy allows by a stale one."""
    verifier = aged(world, age, replace(world.policy, ct=CTPolicy(when_stale=when)))
    verdict = keep(verifier, presented)
    assert verdict.allowed is (known or when is WhenStale.REPORT)
    assert (store.recall(leaf(presented)).passed is not None) is known


@pytest.mark.parametrize("rogue", GALLERY, ids=lambda rogue: rogue.code)
@pytest.mark.parametrize("mode", Mode)
def test_what_is_refused_is_as_unknown_as_before(world, store, keep, presented, rogue, mode):
    """In report mode, too, though it connects then; and it does not lift the floor under the clock."""
    shown = replace(presented, chain=rogue.make(world).chain, tls=replace(presented.tls, openssl_error="no"))
    verdict = keep(Verifier(replace(world.policy, mode=mode), world.log_list), shown, NOW + 5 * DAY)
    assert not verdict.allowed
    assert store.recall(leaf(shown)) == Recalled()


def test_a_policy_without_ct_makes_nothing_known(world, store, keep, presented):
    """Nobody looked at its SCTs then; that the upstream was allowed is a time all the same."""
    assert keep(Verifier(replace(world.policy, ct=None), world.log_list), presented).allowed
    assert store.recall(leaf(presented)) == Recalled(None, NOW)


def test_another_policy_lends_its_leaf_no_more_than_its_age(world, store, keep, presented):
    """Known by a lax policy, it is held against every demand of a strict one; only the list's age is forgiven."""
    lax = Verifier(replace(world.policy, ct=CTPolicy(minimum_scts=1, minimum_operators=1)), world.log_list)
    shown = replace(presented, chain=world.issue([world.alder1]).chain)
    assert keep(lax, shown, upstream=OTHER).allowed
    passed = store.recall(leaf(shown)).passed
    assert passed == NOW
    strict = Verifier(world.policy, world.log_list)
    verdict = strict.judge(shown, NOW + 80 * DAY, Remembered(passed=passed))
    assert {finding.rule for finding in verdict.failures} == {Rule.CT_SCTS, Rule.CT_OPERATORS}


def test_a_known_leaf_outlives_the_freshness_of_its_list(world, store, keep, verifier, presented):
    """Recalled and judged again: allowed while it lives, another one is not; neither becomes known by that."""
    keep(verifier, presented)
    other = replace(presented, chain=world.issue().chain)
    stale = NOW + 80 * DAY
    for shown, allowed in ((presented, True), (other, False)):
        verdict = verifier.judge(shown, stale, Remembered(passed=store.recall(leaf(shown)).passed))
        assert verdict.allowed is allowed
        store.record(UPSTREAM, shown, verdict)
    assert [store.recall(leaf(shown)).passed for shown in (presented, other)] == [NOW, None]


def test_leaves_that_have_expired_are_dropped(world, keep, verifier, presented, rows):
    """With the next one that passes after their end; in their last second they stay."""
    first = replace(presented, chain=world.issue(ends=10 * DAY).chain)
    late = [replace(presented, chain=world.issue().chain) for _ in range(2)]
    for shown, at in ((first, NOW), (late[0], NOW + 10 * DAY)):
        assert keep(verifier, shown, at).allowed
    assert set(rows("SELECT leaf FROM passed")) == {(leaf(first),), (leaf(late[0]),)}
    assert keep(verifier, late[1], NOW + 10 * DAY + SECOND).allowed
    assert set(rows("SELECT leaf FROM passed")) == {(leaf(late[0]),), (leaf(late[1]),)}


def test_only_so_many_leaves_are_known(world, store, keep, verifier, presented, monkeypatch):
    """The newest stay."""
    monkeypatch.setattr(module, "_MAXIMUM_PASSED", 3)
    shown = [replace(presented, chain=world.issue().chain) for _ in range(5)]
    for number, each in enumerate(shown):
        keep(verifier, each, NOW + number * SECOND)
    assert [store.recall(leaf(each)).passed is not None for each in shown] == [False, False, True, True, True]


def test_a_known_leaf_and_its_record_are_one_transaction(path, opening, verifier, presented):
    """Where the leaf cannot be kept, the record is not either: nothing is half done."""
    with opening(path) as store:
        with closing(sqlite3.connect(path)) as database:
            database.execute("CREATE TRIGGER full BEFORE INSERT ON passed BEGIN SELECT raise(ABORT, 'full'); END")
            database.commit()
        with pytest.raises(EvidenceError, match="full"):
            store.record(UPSTREAM, presented, verifier.judge(presented, NOW))
        assert store.records() == []


@pytest.mark.parametrize("text", ["yesterday", "2026-11-02T12:00:00", ""])
def test_a_damaged_time_is_an_error_and_no_time(path, opening, verifier, presented, text):
    """A file that cannot be read right is said to be so."""
    with opening(path) as store:
        store.record(UPSTREAM, presented, verifier.judge(presented, NOW))
        with closing(sqlite3.connect(path)) as database:
            database.execute("UPDATE passed SET at = ?", (text,))
            database.commit()
        with pytest.raises(EvidenceError, match="cannot be read"):
            store.recall(leaf(presented))


def test_what_is_dated_ahead_can_be_dropped(world, store, keep, verifier, presented, rows):
    """The way out after a clock that was ahead: records and known leaves of later go, the newest included."""
    ahead = replace(presented, chain=world.issue().chain)
    keep(verifier, presented)
    keep(verifier, ahead, NOW + 40 * DAY)
    keep(verifier, replace(presented, chain=world.issue(()).chain), NOW + 40 * DAY)
    now = NOW + DAY
    assert store.recall("").newest == NOW + 40 * DAY
    would = store.prune(after=now, dry_run=True)
    assert (would.allowed, would.refused) == (1, 1)
    assert store.recall(leaf(ahead)) == Recalled(NOW + 40 * DAY, NOW + 40 * DAY)
    done = store.prune(after=now)
    assert (done.allowed, done.refused) == (1, 1)
    assert store.recall(leaf(ahead)) == Recalled(None, NOW)
    assert store.recall(leaf(presented)) == Recalled(NOW, NOW)
    assert rows("SELECT count(*) FROM certificate") == [(len(presented.chain),)]
    again = store.prune(after=now)
    assert (again.allowed, again.refused) == (0, 0)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 60), st.booleans()), max_size=8))
def test_the_floor_is_the_newest_allowed_judgement(world, verifier, presented, chains, tmp_path_factory, shown):
    """Of any judgements in any order: refused ones count for nothing, a leaf's first time is its earliest."""
    with closing(EvidenceStore(tmp_path_factory.mktemp("e") / "e.sqlite")) as store:
        store.keep_demands(world.policy, world.log_list)
        times = {}
        for number, days, allowed in shown:
            each = replace(presented, chain=chains[number], address=presented.address if allowed else None, name="x")
            each = replace(each, name=presented.name) if allowed else each
            verdict = verifier.judge(each, NOW + days * DAY)
            assert verdict.allowed is allowed
            store.record(f"tls://127.0.0.{number}", each, verdict)
            if allowed:
                times.setdefault(number, []).append(NOW + days * DAY)
        last = [each[-1] for each in times.values()]  # of one record the time of its last judgement is kept
        assert store.recall("").newest == max(last, default=None)
        for number, chain in enumerate(chains):
            assert store.recall(sha256(chain[0]).hexdigest()).passed == min(times.get(number, []), default=None)


@pytest.fixture(scope="module")
def chains(world):
    return [world.issue().chain for _ in range(3)]
