"""Honest logs are proved; every way in which a log can break its promise or contradict itself is named."""

import base64
import json
from dataclasses import replace
from datetime import timedelta

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from stubresolver.audit import MAXIMUM_ANSWER, Kind, Outcome, due, prove
from stubresolver.audit.heads import SLACK
from stubresolver.audit.report import MAXIMUM_EVIDENCE
from stubresolver.ct import LogKind, LogState, TemporalInterval, read_tree_head
from stubresolver.errors import FetchFailed
from tests.audit.fakes import (
    DAY,
    GARBAGE,
    HOUR,
    NOW,
    PROMISED,
    FakeLog,
    encoded,
    forked,
    make_entry,
    milliseconds,
    relisted,
    status,
    tree_with,
    without,
)
from tests.ct.signing import Signer

KINDS = tuple(LogKind)
BOTH = pytest.mark.parametrize("kind", KINDS)
RFC, STATIC = LogKind.RFC6962, LogKind.STATIC_CT
HEAD = {RFC: "get-sth", STATIC: "checkpoint"}
PROOF = {RFC: "get-proof-by-hash", STATIC: "tile/"}
CONSISTENCY = {RFC: "get-sth-consistency", STATIC: "tile/"}
SECOND = timedelta(seconds=1)
MILLISECOND = timedelta(milliseconds=1)


def audited(fake, seen=None, now=NOW):
    return trio.run(prove, fake.entry, fake.get, seen, now)


def kinds(report):
    return [finding.kind for finding in report.findings]


@BOTH
@pytest.mark.parametrize(("index", "size"), [(0, 1), (1, 2), (0, 256), (255, 256), (256, 257), (70, 300), (511, 512)])
def test_an_honest_log_is_proved(kind, index, size):
    """The entry is in the tree that the log signed: where, in how large a tree, and the head to be remembered."""
    fake = FakeLog(kind, index=index, size=size)
    report = audited(fake)
    assert (report.outcome, report.kind, report.index) == (Outcome.PROVED, Kind.INCLUDED, index)
    assert (report.tree.size, report.tree.root, report.head) == (size, fake.tree.root(size), report.tree)
    assert report.detail == f"leaf {index} of {size}"
    assert report.log is fake.log
    assert report.at == NOW


def test_what_an_rfc_6962_log_is_asked():
    """RFC 6962 s4.3 to s4.5: the tree head, the proof by our leaf's hash, and between them the consistency proof."""
    fake = FakeLog(RFC)
    audited(fake)
    by_hash = base64.b64encode(fake.tree.leaf(70)).decode().replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
    assert fake.asked == ["ct/v1/get-sth", f"ct/v1/get-proof-by-hash?hash={by_hash}&tree_size=300"]
    fake.asked.clear()
    audited(fake, fake.head(200))
    assert fake.asked[1] == "ct/v1/get-sth-consistency?first=200&second=300"


def test_what_a_static_ct_log_is_asked():
    """The checkpoint, and each tile that the two proofs need, once; never one that the tree does not have."""
    fake = FakeLog(STATIC)
    audited(fake)
    assert sorted(fake.asked) == ["checkpoint", "tile/0/000", "tile/0/001.p/44"]
    fake.asked.clear()
    audited(fake, fake.head(200))
    assert sorted(fake.asked) == ["checkpoint", "tile/0/000", "tile/0/001.p/44"]


@BOTH
@pytest.mark.parametrize("size", [1, 128, 255, 256, 299])
def test_a_tree_that_grew_is_proved_to_follow(kind, size):
    """A larger tree replaces the one seen before when it is proved to begin with it."""
    fake = FakeLog(kind)
    report = audited(fake, fake.head(size))
    assert kinds(report) == [Kind.INCLUDED]
    assert report.head.size == 300


@BOTH
def test_a_tree_that_did_not_grow_is_signed_anew(kind):
    """One size, one root: the later head is remembered, an earlier one is not; nothing is asked for to compare them."""
    fake = FakeLog(kind)
    assert audited(fake, fake.head(300, NOW - 2 * HOUR)).head.timestamp == milliseconds(NOW - HOUR)
    assert audited(fake, fake.head(300, NOW)).head is None
    assert not any("consistency" in path for path in fake.asked)


@BOTH
def test_two_trees_of_one_millisecond_are_joined_like_others(kind):
    """A timestamp that did not move is no rollback: the proof decides."""
    fake = FakeLog(kind)
    assert audited(fake, fake.head(200, NOW - HOUR)).outcome is Outcome.PROVED
    fork(fake)
    assert audited(fake, fake.head(200, NOW - HOUR)).kind is Kind.INCONSISTENT


@BOTH
def test_every_tree_follows_an_empty_one(kind):
    """An empty tree seen before has one possible root and needs no proof."""
    fake = FakeLog(kind)
    report = audited(fake, fake.head(0))
    assert (report.outcome, report.head.size) == (Outcome.PROVED, 300)
    assert not any("consistency" in path for path in fake.asked)


@BOTH
def test_a_replica_that_lags_is_held_against_the_tree_seen_before(kind):
    """An older head with fewer leaves is no rollback if it is a part of what was seen; it is not remembered."""
    fake = FakeLog(kind)
    seen = fake.head(400, NOW - HOUR / 2)
    fake.answers[HEAD[kind]] = [fake.signer.head(300, milliseconds(NOW - HOUR), fake.tree.root(300))]
    fake.show(400)
    report = audited(fake, seen)
    assert (report.outcome, kinds(report), report.head) == (Outcome.PROVED, [Kind.INCLUDED, Kind.LAGGING], None)


@BOTH
def test_a_replica_that_cannot_be_compared_proves_nothing(kind):
    """A server that does not know the larger tree cannot join them: a note, not a proof and no alarm."""
    fake = FakeLog(kind)
    report = audited(fake, fake.head(400, NOW - HOUR / 2))
    assert (report.outcome, report.kind, report.head) == (Outcome.NOTE, Kind.UNREACHABLE, None)


@BOTH
def test_a_forked_replica_that_lags_is_inconsistent(kind):
    """Older and smaller is no excuse: what is no part of the tree seen before is another history."""
    fake = FakeLog(kind)
    seen = fake.head(400, NOW - HOUR / 2)
    other = forked(fake, 100)
    fake.answers[HEAD[kind]] = [fake.signer.head(300, milliseconds(NOW - HOUR), other.root(300))]
    fake.show(400, tree=other)
    report = audited(fake, seen)
    assert (report.outcome, report.kind, report.head) == (Outcome.ALARM, Kind.INCONSISTENT, None)


# Each lie by its name: what the log does, the head seen before, and what the audit calls it.


def missigned(fake):
    root, moment = fake.tree.root(300), milliseconds(NOW)
    theirs = Signer(ec.generate_private_key(ec.SECP256R1()), fake.kind).head_signature(300, moment, root)
    if fake.kind is RFC:
        octets = fake.signer.sth(300, moment, root, theirs)
    else:
        line = fake.signer.note_line(300, moment, root, signature=theirs)
        octets = f"{fake.signer.origin}\n300\n{base64.b64encode(root).decode()}\n\n{line}".encode()
    fake.answers[HEAD[fake.kind]] = octets


def split_view(fake):
    fake.show(300, tree=forked(fake, 250))
    return fake.head(300)


def fork(fake):
    fake.show(300, tree=forked(fake, 150))
    return fake.head(200)


def rollback(fake):
    return fake.head(301, NOW - 2 * HOUR)


def backdated(fake):
    fake.show(300, NOW - 2 * HOUR)
    return fake.head(200, NOW - HOUR)


def missing(fake):
    fake.show(300, tree=without(fake))


def short(fake):
    fake.show(fake.index)


def wrong_root(fake):
    octets = fake.signer.head(300, milliseconds(NOW), forked(fake, 200).root(300))
    fake.answers[HEAD[fake.kind]] = octets


def garbled(fake):
    fake.answers[PROOF[fake.kind]] = GARBAGE


def garbled_consistency(fake):
    fake.answers[CONSISTENCY[fake.kind]] = [GARBAGE, GARBAGE, GARBAGE, GARBAGE]
    return fake.head(200)


def stale(fake):
    fake.show(300, NOW - 3 * DAY)


def future(fake):
    fake.show(300, NOW + 2 * DAY)


LIES = {
    "bad signature": (missigned, Kind.TREE_HEAD_SIGNATURE, KINDS),
    "two roots for one size": (split_view, Kind.SPLIT_VIEW, KINDS),
    "a fork": (fork, Kind.INCONSISTENT, KINDS),
    "a smaller tree later": (rollback, Kind.ROLLBACK, KINDS),
    "a larger tree earlier": (backdated, Kind.ROLLBACK, KINDS),
    "another leaf": (missing, Kind.MISSING_LEAF, KINDS),
    "a tree that ends before": (short, Kind.MISSING_LEAF, KINDS),
    "another root": (wrong_root, Kind.WRONG_ROOT, KINDS),
    "garbage for a proof": (garbled, Kind.MALFORMED_ANSWER, KINDS),
    "garbage for a consistency proof": (garbled_consistency, Kind.MALFORMED_ANSWER, KINDS),
    "a head of three days ago": (stale, Kind.STALE_TREE_HEAD, KINDS),
    "a head of the day after tomorrow": (future, Kind.FUTURE_TREE_HEAD, KINDS),
}
CASES = [pytest.param(kind, lie, found, id=f"{kind}-{name}") for name, (lie, found, of) in LIES.items() for kind in of]


@pytest.mark.parametrize(("kind", "lie", "found"), CASES)
def test_a_dishonest_log_is_caught_and_named(kind, lie, found):
    """Each lie is an alarm of its own kind, with evidence; no lie but a missing entry gets its head remembered."""
    fake = FakeLog(kind)
    seen = lie(fake)
    report = audited(fake, seen)
    assert (report.outcome, report.kind) == (Outcome.ALARM, found)
    assert report.findings[0].evidence
    assert report.findings[0].detail in report.detail
    if found in {Kind.SPLIT_VIEW, Kind.INCONSISTENT, Kind.ROLLBACK, Kind.FUTURE_TREE_HEAD, Kind.TREE_HEAD_SIGNATURE}:
        assert report.head is None


@pytest.mark.parametrize(("kind", "lie", "found"), CASES)
def test_the_evidence_of_an_alarm_convicts(kind, lie, found):
    """Whoever is shown the evidence can verify it: signed heads whole, both where two contradict, the SCT and leaf."""
    fake = FakeLog(kind)
    seen = lie(fake)
    evidence = {item.what: item for item in audited(fake, seen).findings[0].evidence}
    assert all(item.size == len(item.octets) for item in evidence.values())
    if found is Kind.TREE_HEAD_SIGNATURE:
        return
    assert read_tree_head(evidence["tree head"].octets, fake.log).size == fake.face.size
    assert evidence["tree head"].url.startswith(fake.log.url)
    if found in {Kind.SPLIT_VIEW, Kind.INCONSISTENT, Kind.ROLLBACK}:
        assert read_tree_head(evidence["tree head seen before"].octets, fake.log) == seen
    if found in {Kind.MISSING_LEAF, Kind.WRONG_ROOT}:
        assert evidence["SCT"].octets == fake.entry.serialized
        assert evidence["MerkleTreeLeaf"].octets == fake.entry.merkle_leaf


def test_a_log_that_refuses_to_join_its_own_trees_is_inconsistent():
    """It signed both and serves the larger one: a "no" to the consistency proof is no way to hide a fork."""
    for number in (400, 404, 410):
        fake = FakeLog(RFC)
        fake.answers["get-sth-consistency"] = status(number)
        report = audited(fake, fake.head(200))
        assert (report.outcome, report.kind, report.head) == (Outcome.ALARM, Kind.INCONSISTENT, None)
        assert "asked twice" in report.detail


@pytest.mark.parametrize("part", ["tile/0/000", "tile/0/001"])
def test_a_tile_that_is_not_there_is_no_alarm_yet(part):
    """The signed checkpoint covers it, partial or full; but who asked too early may have made a cache say so."""
    fake = FakeLog(STATIC)
    fake.answers[part] = status(404)
    report = audited(fake)
    assert (report.outcome, report.kind) == (Outcome.NOTE, Kind.TILE_NOT_THERE)
    assert "a part of the signed tree is not there" in report.detail
    asked = [path for path in fake.asked if path.startswith(part)]
    assert asked == ([part] if part.endswith("000") else [f"{part}.p/44", part])


@BOTH
def test_a_head_of_nothing_with_a_root_is_inconsistent(kind):
    """The empty tree has one root (RFC 6962 s2.1)."""
    fake = FakeLog(kind)
    seen = read_tree_head(fake.signer.head(0, milliseconds(NOW - 2 * HOUR), bytes(32)), fake.log)
    assert audited(fake, seen).kind is Kind.INCONSISTENT


# Notes: nothing was proved, and nothing disproved.

NOT_NOW = [None, 301, 302, 401, 403, 408, 425, 429, 500, 502, 503, 504]
NO = [400, 404, 405, 410, 451]


@BOTH
@pytest.mark.parametrize("number", [*NOT_NOW, *NO])
def test_a_log_without_a_tree_head_is_only_a_note(kind, number):
    """Unreachable, busy or gone: as long as nothing is signed, nothing convicts."""
    fake = FakeLog(kind)
    fake.answers[HEAD[kind]] = FetchFailed("no", number)
    report = audited(fake, fake.head(200))
    assert (report.outcome, report.kind, report.tree, report.head) == (Outcome.NOTE, Kind.UNREACHABLE, None, None)


@BOTH
@pytest.mark.parametrize("octets", [b"", GARBAGE, b"{}", b"\xff" * 99, b"[" * 100_000], ids=range(5))
def test_what_is_no_tree_head_is_only_a_note(kind, octets):
    """A page of somebody's web server says nothing about the log; what came is kept all the same."""
    fake = FakeLog(kind)
    fake.answers[HEAD[kind]] = octets
    report = audited(fake)
    assert (report.outcome, report.kind, report.head) == (Outcome.NOTE, Kind.NOT_A_LOG, None)
    assert report.findings[0].evidence[0].octets == octets[:MAXIMUM_EVIDENCE]


@BOTH
def test_an_answer_without_end_is_only_a_note(kind):
    """More than any tree head has is not looked at."""
    fake = FakeLog(kind)
    fake.answers[HEAD[kind]] = bytes(MAXIMUM_ANSWER + 1)
    assert audited(fake).kind is Kind.UNREACHABLE


@BOTH
@pytest.mark.parametrize("number", NOT_NOW)
def test_a_log_that_withholds_only_the_proof_is_told_apart(kind, number):
    """A note, but it says that a tree head was served and the proof was not; the head is remembered."""
    fake = FakeLog(kind)
    fake.answers[PROOF[kind]] = FetchFailed("no", number)
    report = audited(fake)
    assert (report.outcome, report.kind, report.head) == (Outcome.NOTE, Kind.UNREACHABLE, report.tree)
    assert "a tree head of 300 leaves was served, but no inclusion proof" in report.detail


@BOTH
@pytest.mark.parametrize("number", NOT_NOW)
def test_nothing_is_proved_in_a_tree_that_may_be_another(kind, number):
    """Without the consistency proof an inclusion does not count, and the head seen before stays."""
    fake = FakeLog(kind)
    fake.answers[CONSISTENCY[kind]] = [FetchFailed("no", number)] if kind is RFC else FetchFailed("no", number)
    report = audited(fake, fake.head(200))
    assert (report.outcome, report.kind, report.head) == (Outcome.NOTE, Kind.UNREACHABLE, None)
    assert "no proof that joins it to 200 seen before" in report.detail
    assert (report.index == 70) is (kind is RFC)


@pytest.mark.parametrize(
    ("kind", "facts"), [(RFC, {"url": ""}), (STATIC, {"url": ""}), (STATIC, {"submission_url": ""})]
)
def test_a_log_that_the_list_does_not_place_is_a_note(kind, facts):
    """Without its URL a log cannot be asked, without its submission prefix its checkpoints cannot be known."""
    fake = relisted(FakeLog(kind), **facts)
    report = audited(fake)
    assert (report.outcome, report.kind, fake.asked) == (Outcome.NOTE, Kind.NO_URL, [])


def test_an_sct_without_its_leaf_index_is_a_note():
    """A static-ct log's entry cannot be looked up without its index; its tree is followed all the same."""
    fake = FakeLog(STATIC, extensions=b"")
    report = audited(fake)
    assert (report.outcome, report.kind, report.head.size) == (Outcome.NOTE, Kind.NO_LEAF_INDEX, 300)


@pytest.mark.parametrize(
    ("kind", "delay", "facts"),
    [
        (RFC, DAY, {}),
        (STATIC, timedelta(minutes=1), {}),
        (RFC, timedelta(hours=2), {"mmd": timedelta(hours=2)}),
        (STATIC, timedelta(0), {"mmd": timedelta(0)}),
    ],
)
@pytest.mark.parametrize("shown", [missing, short])
def test_an_entry_is_missed_once_it_is_due(kind, delay, facts, shown):
    """RFC 6962 s3: within the maximum merge delay of the SCT; 24 hours or a minute where the list has none."""
    fake = FakeLog(kind, **facts)
    shown(fake)
    fake.show(fake.face.size, PROMISED + delay)
    now = PROMISED + delay + SECOND
    assert due(fake.entry) == PROMISED + delay
    assert audited(fake, now=now).kind is Kind.MISSING_LEAF
    fake.show(fake.face.size, PROMISED + delay - MILLISECOND)
    report = audited(fake, now=now)
    if kind is STATIC and shown is missing:  # another leaf stands where ours was promised: that can never come right
        assert report.kind is Kind.MISSING_LEAF
    else:
        assert (report.outcome, report.kind) == (Outcome.NOTE, Kind.TOO_EARLY)
        assert report.head is not None


@BOTH
def test_an_entry_may_be_proved_before_it_is_due(kind):
    """Nothing has to be waited for where the entry is in the tree already."""
    fake = FakeLog(kind)
    fake.show(300, PROMISED + SECOND)
    assert audited(fake, now=PROMISED + 2 * SECOND).outcome is Outcome.PROVED


# What an attacker may try to turn an alarm into a note for ever.


@BOTH
def test_an_old_tree_head_replayed_for_ever_becomes_an_alarm(kind):
    """The entry is not due in a head from before; but such a head cannot be shown longer than its MMD and a day."""
    fake = FakeLog(kind, mmd=HOUR)
    short(fake)
    fake.show(fake.face.size, PROMISED)
    limit = PROMISED + HOUR + SLACK
    found = [audited(fake, now=PROMISED + days * DAY).kind for days in range(10)]
    assert found == [Kind.TOO_EARLY] * 2 + [Kind.STALE_TREE_HEAD] * 8
    assert audited(fake, now=limit).kind is Kind.TOO_EARLY
    assert audited(fake, now=limit + MILLISECOND).kind is Kind.STALE_TREE_HEAD


@BOTH
def test_an_old_tree_head_is_an_alarm_even_where_the_entry_is_in_it(kind):
    """RFC 6962 s3.5: "no older than the Maximum Merge Delay". Who stands still may show others something else."""
    fake = FakeLog(kind)
    stale(fake)
    assert kinds(audited(fake)) == [Kind.STALE_TREE_HEAD, Kind.INCLUDED]


@BOTH
@pytest.mark.parametrize(
    "facts",
    [
        {"state": LogState.READONLY},
        {"state": LogState.RETIRED, "state_since": NOW - DAY},
        {"state": LogState.RETIRED},
        {"interval": TemporalInterval(NOW - 200 * DAY, NOW)},
    ],
    ids=["readonly", "retired", "retired nobody knows when", "its interval is over"],
)
def test_a_log_that_takes_nothing_any_more_may_stand_still(kind, facts):
    """An old head of such a log is a remark beside the proof; a leaf that is missing from it is missed as ever."""
    fake = FakeLog(kind, **facts)
    fake.show(300, NOW - 90 * DAY)
    assert kinds(audited(fake)) == [Kind.INCLUDED, Kind.FROZEN]
    fake.show(300, PROMISED + DAY, tree=without(fake))
    assert audited(fake).kind is Kind.MISSING_LEAF


@pytest.mark.parametrize(
    "facts",
    [{"state": LogState.RETIRED, "state_since": NOW + DAY}, {"interval": TemporalInterval(NOW - DAY, NOW + DAY)}],
)
def test_a_log_that_is_still_open_may_not_stand_still(facts):
    """A retirement that is only announced, an interval that still runs: no excuse."""
    fake = FakeLog(RFC, **facts)
    stale(fake)
    assert audited(fake).kind is Kind.STALE_TREE_HEAD


@BOTH
def test_a_clock_that_is_a_little_slow_is_no_alarm(kind):
    """A head from up to a day ahead of this machine's clock passes; `stale-tree-head` is so much later at the most."""
    fake = FakeLog(kind)
    fake.show(300, NOW + SLACK)
    assert audited(fake).outcome is Outcome.PROVED
    fake.show(300, NOW + SLACK + MILLISECOND)
    assert audited(fake).kind is Kind.FUTURE_TREE_HEAD


def test_a_tree_head_of_the_end_of_time_is_an_alarm():
    """No timestamp of the protocol makes the audit raise, and none beyond the calendar is remembered."""
    fake = FakeLog(RFC)
    fake.answers["get-sth"] = fake.signer.sth(300, 2**64 - 1, fake.tree.root(300))
    report = audited(fake)
    assert (report.kind, report.head) == (Kind.FUTURE_TREE_HEAD, None)
    assert "18446744073709551615 ms after 1970" in report.detail


@BOTH
def test_a_head_that_was_not_joined_is_never_remembered_later(kind):
    """Withholding the proof once and showing the fork again does not get it accepted."""
    fake = FakeLog(kind)
    seen = fake.head(200)
    fork(fake)
    fake.answers[CONSISTENCY[kind]] = status(503)
    assert audited(fake, seen).head is None
    fake.answers.clear()
    assert audited(fake, seen).kind is Kind.INCONSISTENT


# Servers of one log that are not of one mind, and object stores.


@pytest.mark.parametrize("part", ["get-proof-by-hash", "get-sth-consistency"])
def test_a_log_is_asked_twice_before_its_no_counts(part):
    """One of several servers may not have the newest tree yet."""
    fake = FakeLog(RFC)
    fake.answers[part] = [status(404)]
    assert audited(fake, fake.head(200)).outcome is Outcome.PROVED


@pytest.mark.parametrize("gone", [404, 403, 410])
def test_the_full_tile_stands_for_a_partial_one_that_is_gone(gone):
    """static-ct-api: "Once a corresponding full tile is made available, logs MAY omit any partial tiles"."""
    fake = FakeLog(STATIC)
    fake.answers[".p/44"] = status(gone)
    fake.answers["checkpoint"] = fake.signer.head(300, milliseconds(NOW), fake.tree.root(300))
    fake.show(512)
    report = audited(fake)
    assert (report.outcome, report.tree.size) == (Outcome.PROVED, 300)
    assert fake.asked[-1] == "tile/0/001"


@pytest.mark.parametrize("length", [0, 31, 43 * 32, 44 * 32 + 1, 8192])
def test_a_tile_of_another_length_is_malformed(length):
    """A partial tile has just as many hashes as its name says."""
    fake = FakeLog(STATIC)
    fake.answers[".p/44"] = bytes(length)
    report = audited(fake)
    assert (report.outcome, report.kind) == (Outcome.ALARM, Kind.MALFORMED_ANSWER)
    assert f"{length} octets, expected 1408" in report.detail


def proof(**members):
    path = [base64.b64encode(bytes(32)).decode()] * 9
    return encoded(**({"leaf_index": 70, "audit_path": path} | members))


MALFORMED = {
    "no JSON": GARBAGE,
    "nothing": b"",
    "a list": b"[]",
    "no path": b'{"leaf_index": 70}',
    "an index as text": proof(leaf_index="70"),
    "brackets without end": b'{"x": ' + b"[" * 50_000,
    "not base64": proof(audit_path=["!"]),
    "not ASCII": proof(audit_path=["ß" * 44]),
    "a short hash": proof(audit_path=[base64.b64encode(bytes(31)).decode()]),
    "an empty hash": proof(audit_path=[""]),
    "a path without end": proof(audit_path=[base64.b64encode(bytes(32)).decode()] * 65),
    "a number for a hash": proof(audit_path=[7]),
}
WRONG = {
    "zeroes": proof(),
    "an empty path": proof(audit_path=[]),
    "a negative index": proof(leaf_index=-1),
    "an index behind the tree": proof(leaf_index=300),
    "an index of 65 bits": proof(leaf_index=1 << 64),
    "an index of thousands of digits": proof(leaf_index=10**4000),
}


@pytest.mark.parametrize("octets", MALFORMED.values(), ids=MALFORMED)
def test_an_answer_that_is_no_proof_is_an_alarm(octets):
    """The log signed a tree and then answers nonsense: it is named, and kept."""
    fake = FakeLog(RFC)
    fake.answers["get-proof-by-hash"] = octets
    finding = audited(fake).findings[0]
    assert finding.kind is Kind.MALFORMED_ANSWER
    assert finding.evidence[-1].octets == octets[: len(finding.evidence[-1].octets)]


@pytest.mark.parametrize("octets", WRONG.values(), ids=WRONG)
def test_a_proof_that_does_not_lead_to_the_root_is_an_alarm(octets):
    """Whatever index and path a log gives, they lead from our leaf to the signed root or convict."""
    fake = FakeLog(RFC)
    fake.answers["get-proof-by-hash"] = octets
    assert audited(fake).kind is Kind.WRONG_ROOT


@BOTH
def test_the_evidence_of_a_finding_is_bounded(kind):
    """However much a log serves, one finding keeps 40 KiB, what is signed first; the sizes tell what was cut."""
    fake = FakeLog(kind)
    junk = json.dumps({"leaf_index": 0, "audit_path": "x" * (MAXIMUM_ANSWER - 100)}).encode()
    fake.answers[PROOF[kind]] = junk
    evidence = audited(fake).findings[0].evidence
    assert [item.what for item in evidence[:3]] == ["tree head", "SCT", "MerkleTreeLeaf"]
    assert sum(len(item.octets) for item in evidence) == MAXIMUM_EVIDENCE
    assert evidence[-1].size == len(junk)


# Over many histories.

STEPS = st.lists(
    st.tuples(st.integers(0, 40), st.sampled_from(["fine", "lag", 503, None, 429, "timeout-proof"])),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60)
@given(st.sampled_from(KINDS), STEPS)
def test_an_honest_log_never_raises_an_alarm(kind, steps):
    """Growing, lagging, busy, half reachable: notes and proofs only, and what is remembered only grows."""
    fake = FakeLog(kind, size=100)
    seen, moment = None, NOW - 20 * HOUR
    for growth, mood in steps:
        moment += HOUR
        size = fake.face.size
        fake.show(min(600, size + growth), moment)
        fake.answers.clear()
        if mood == "lag":
            fake.answers[HEAD[kind]] = [fake.signer.head(size, milliseconds(moment - HOUR), fake.tree.root(size))]
        elif mood == "timeout-proof":
            fake.answers[PROOF[kind]] = FetchFailed("not complete after 10 s")
        elif mood != "fine":
            fake.answers[""] = FetchFailed("busy", mood)
        report = audited(fake, seen)
        assert report.outcome is not Outcome.ALARM, report.detail
        assert (mood in {"fine", "lag"}) is (report.outcome is Outcome.PROVED)
        if report.head is not None:
            assert seen is None or (report.head.size, report.head.timestamp) > (seen.size, seen.timestamp)
            seen = report.head


@settings(max_examples=150)
@given(st.sampled_from(KINDS), st.data())
def test_no_octets_make_the_audit_raise_or_prove(kind, data):
    """Whatever stands in for one answer, there is a report; it is a proof only where the answer was not needed."""
    fake = FakeLog(kind)
    part = data.draw(st.sampled_from([HEAD[kind], PROOF[kind], CONSISTENCY[kind]]))
    honest = trio.run(fake.get, fake.log.url + ("ct/v1/get-sth" if kind is RFC else "checkpoint"))
    octets = data.draw(st.binary(max_size=300) | st.integers(1, 200).map(lambda end: honest[:-end]))
    fake.answers[part] = octets
    report = audited(fake, fake.head(200))
    assert report.outcome is not Outcome.PROVED
    assert report.outcome is (Outcome.NOTE if part == HEAD[kind] else Outcome.ALARM)


@settings(max_examples=80)
@given(st.sampled_from(KINDS), st.integers(0, 299), st.integers(1, 600), st.integers(1, 300))
def test_a_fork_is_never_remembered(kind, at, size, before):
    """Whatever tree a log shows, its head replaces the one seen only if its leaves begin with the ones seen."""
    fake = FakeLog(kind, index=0)
    other = forked(fake, at)
    fake.show(size, tree=other)
    report = audited(fake, fake.head(before))
    same = other.root(min(size, before)) == fake.tree.root(min(size, before))
    assert (report.head is not None) is (same and size >= before)
    if not same:
        assert report.outcome is Outcome.ALARM


def test_the_right_leaf_under_another_index_is_no_proof():
    """A static-ct SCT names its place: our leaf elsewhere in the tree is not what was promised."""
    fake = FakeLog(STATIC, index=70)
    moved = tree_with(fake.entry.merkle_leaf, 71)
    fake.show(300, tree=moved)
    assert audited(fake).kind is Kind.MISSING_LEAF


def test_an_entry_of_another_certificate_is_not_proved():
    """The log holds a certificate, but not this one."""
    fake = FakeLog(RFC)
    entry = make_entry(fake.signer, fake.log, 70)
    other = replace(entry, merkle_leaf=entry.merkle_leaf.replace(b"tbs", b"TBS"))
    report = trio.run(prove, other, fake.get, None, NOW)
    assert report.kind is Kind.MISSING_LEAF
