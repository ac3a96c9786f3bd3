"""What is remembered of a log, whoever else audits at the same time and whatever became of the row."""

import base64
import contextlib
import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.serialization import load_der_public_key

from stubresolver.audit import Kind, Outcome
from stubresolver.audit.keeping import NotKept, audit_and_keep
from stubresolver.ct import LogKind, read_again
from stubresolver.evidence import EvidenceStore
from stubresolver.evidence.audits import Heads
from tests.audit.fakes import HOUR, NOW, FakeLog, forked, milliseconds, status

BOTH = pytest.mark.parametrize("kind", LogKind)


@pytest.fixture
def store(tmp_path):
    with contextlib.closing(EvidenceStore(tmp_path / "evidence.sqlite3")) as opened:
        yield opened


async def inline(function):
    return function()


async def audited(store, fake, get=None, now=NOW):
    (report,) = await audit_and_keep(store.audits(), [fake.entry], get or fake.get, now, inline)
    return report


def seen(store, fake):
    return store.audits().heads([fake.log]).seen.get(fake.log.log_id)


def meanwhile(store, fake, ours, theirs):
    """Fetches from `ours`; another process finishes an audit of `theirs` as soon as our tree head has come."""
    done = []

    async def get(url):
        octets = await ours.get(url)
        if not done:
            done.append(True)
            await audited(store, theirs)
            if theirs.face.tree is ours.face.tree and theirs.face.size > ours.face.size:
                ours.face = theirs.face  # it is one log
        return octets

    return get


@BOTH
async def test_of_two_audits_at_once_both_are_compared(store, kind):
    """Two processes see one log grow: each of the heads is proved to follow the other, the newest is remembered."""
    ours, theirs = FakeLog(kind), FakeLog(kind)
    theirs.face.tree = ours.tree
    ours.show(200, NOW - 3 * HOUR)
    await audited(store, ours)
    ours.show(300, NOW - HOUR)
    theirs.show(250, NOW - 2 * HOUR)
    report = await audited(store, ours, meanwhile(store, ours, ours, theirs))
    assert (report.outcome, seen(store, ours).size) == (Outcome.PROVED, 300)

    theirs.show(350, NOW)
    ours.show(320, NOW - HOUR / 2)
    report = await audited(store, ours, meanwhile(store, ours, ours, theirs))
    assert report.outcome is Outcome.PROVED
    assert seen(store, ours).size == 350


@BOTH
@pytest.mark.parametrize("remembered", [True, False], ids=["seen before", "first contact"])
@pytest.mark.parametrize(("size", "found"), [(250, Kind.INCONSISTENT), (300, Kind.SPLIT_VIEW)])
async def test_a_log_with_two_faces_for_two_processes_is_caught(store, kind, remembered, size, found):
    """The service is shown one tree and the command another, at the same moment: one of the two finds it out."""
    ours, theirs = FakeLog(kind), FakeLog(kind)
    if remembered:
        ours.show(150, NOW - 3 * HOUR)
        await audited(store, ours)
    ours.show(300, NOW - HOUR, tree=forked(ours, 200))
    theirs.show(size, NOW - 2 * HOUR)
    report = await audited(store, ours, meanwhile(store, ours, ours, theirs))
    assert (report.outcome, report.kind, report.head) == (Outcome.ALARM, found, None)
    assert seen(store, ours).root == theirs.tree.root(size)
    assert [alarm.kind for alarm in store.audits().alarms()] == [found.value]


@BOTH
async def test_two_trees_in_turn_are_an_alarm_each_time(store, kind):
    """A, B, A, B, each grown since it was last shown: what was seen first stays, and B is never taken for it."""
    fake = FakeLog(kind)
    honest, other = fake.tree, forked(fake, 120)
    kinds = []
    for number in range(6):
        fake.show(150 + 20 * number, NOW - (8 - number) * HOUR, tree=other if number % 2 else honest)
        kinds.append((await audited(store, fake)).kind)
    assert kinds == [Kind.INCLUDED, Kind.INCONSISTENT] * 3
    assert seen(store, fake).root == honest.root(230)


@BOTH
async def test_a_log_that_the_list_calls_otherwise_is_held_against_what_it_said(store, kind):
    """A changed submission prefix, or kind, makes nobody forget: what is remembered was signed by the same key."""
    fake = FakeLog(kind)
    fake.show(200, NOW - 2 * HOUR)
    await audited(store, fake)
    first = seen(store, fake)
    log = replace(fake.log, submission_url="https://renamed.example/", description="Renamed")
    assert store.audits().heads([log]) == Heads({log.log_id: first}, {})
    fake.show(300, NOW, tree=forked(fake, 100))
    if kind is LogKind.RFC6962:
        fake.log, fake.entry = log, replace(fake.entry, log=log)
    assert (await audited(store, fake)).kind is Kind.INCONSISTENT


@BOTH
async def test_damage_is_a_remark_and_stops_nothing(store, kind):
    """The log is proved; that nothing could be compared is said once, and the next head is remembered."""
    fake = FakeLog(kind)
    await audited(store, fake)
    store._database.execute("UPDATE tree_head SET size = 9")
    report = await audited(store, fake)
    assert [finding.kind for finding in report.findings] == [Kind.INCLUDED, Kind.FORGOTTEN]
    assert report.outcome is Outcome.PROVED
    assert len((await audited(store, fake)).findings) == 1


@BOTH
@pytest.mark.parametrize("table", ["tree_head", "audit", "alarm"])
async def test_what_cannot_be_kept_is_told_all_the_same(store, kind, table):
    """A full disk costs the memory of an alarm, not the alarm."""
    fake = FakeLog(kind)
    await audited(store, fake)
    fake.show(310, NOW, tree=forked(fake, 305))
    fake.answers["get-proof-by-hash" if kind is LogKind.RFC6962 else "tile/0/000"] = b"no proof"
    for verb in ("INSERT", "UPDATE"):
        store._database.execute(
            f"CREATE TRIGGER full_{verb} BEFORE {verb} ON {table} BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        )
    with pytest.raises(NotKept, match="evidence could not be written: disk full") as caught:
        await audited(store, fake)
    assert [report.outcome for report in caught.value.reports] == [Outcome.ALARM]


def without_tile():
    """A log that says "404" to a partial tile of its signed tree, and to the full one that is yet to come."""
    fake = FakeLog(LogKind.STATIC_CT)
    fake.answers["tile/0/001"] = status(404)
    return fake


async def kinds(store, fake, *hours):
    """What audits find, so many hours after the first one; the log signs a tree head for each."""
    found = []
    for hour in hours:
        now = NOW + hour * HOUR
        fake.show(300, now)
        found.append((await audited(store, fake, now=now)).kind)
    return found


async def test_a_tile_that_is_not_there_for_a_day_is_an_alarm(store):
    """Hourly or daily, it is an alarm from the first day on and stays one; kept with the head that covers the tile."""
    fake = without_tile()
    assert await kinds(store, fake, 0, 1, 23) == [Kind.TILE_NOT_THERE] * 3
    assert not store.audits().alarms()
    assert await kinds(store, fake, 24, 25, 49) == [Kind.MISSING_TILE] * 3
    (alarm,) = store.audits().alarms()
    assert (alarm.kind, alarm.count) == ("missing-tile", 3)
    assert "so it was at every audit since 2026-11-02T12:00:00.000Z" in alarm.detail
    received = json.loads(store.audits().received(alarm.number))["received"]
    assert {item["what"] for item in received} >= {"tree head", "SCT", "MerkleTreeLeaf", "tile"}


async def test_a_tile_that_was_there_in_between_is_no_alarm(store):
    """What a cache was made to say for an hour, on two days, is not said for a day."""
    fake = without_tile()
    assert await kinds(store, fake, 0) == [Kind.TILE_NOT_THERE]
    answer = fake.answers.pop("tile/0/001")
    assert await kinds(store, fake, 12) == [Kind.INCLUDED]
    fake.answers["tile/0/001"] = answer
    assert await kinds(store, fake, 30) == [Kind.TILE_NOT_THERE]


async def test_a_clock_that_was_ahead_makes_no_alarm_of_a_tile(store):
    """A note from the future says nothing of how long it lasts; counting begins anew."""
    fake = without_tile()
    assert await kinds(store, fake, 48, 0, 23, 24) == [*[Kind.TILE_NOT_THERE] * 3, Kind.MISSING_TILE]


async def test_a_tile_of_a_consistency_proof_is_no_alarm_yet(store):
    """The same for the tiles that join the tree to the one seen before; until then the old head is remembered."""
    fake = FakeLog(LogKind.STATIC_CT)
    fake.show(200, NOW - HOUR)
    await audited(store, fake)
    fake.answers["tile/0/001"] = status(404)
    assert await kinds(store, fake, 0, 24) == [Kind.TILE_NOT_THERE, Kind.MISSING_TILE]
    assert seen(store, fake).size == 200


@BOTH
@pytest.mark.parametrize("padding", [0, 15_000])
async def test_an_alarm_can_be_checked_with_nothing_else(store, kind, padding):
    """A split view by what is exported alone: the key, which the log id is made of, and two heads signed by it."""
    fake = FakeLog(kind)
    await audited(store, fake)
    fake.show(300, NOW, tree=forked(fake, 100))
    if padding and kind is LogKind.RFC6962:  # a log that hopes that its signature is cut off
        fake.answers["get-sth"] = fake.signer.head(300, milliseconds(NOW), fake.face.tree.root(300)) + b" " * padding
    await audited(store, fake)
    (alarm,) = store.audits().alarms()
    document = json.loads(store.audits().received(alarm.number))
    key = load_der_public_key(base64.b64decode(document["log"]["key"]))
    log = replace(fake.log, key=key, log_id=base64.b64decode(document["log"]["log_id"]), url="", submission_url="")
    one, two = (read_again(base64.b64decode(item["octets"]), log) for item in document["received"])
    assert one.size == two.size
    assert one.root != two.root
