"""Outcomes of audits in the evidence file: tree heads by their signature, alarms whole, bounded, never displaced."""

import json
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest

from stubresolver.ct import LogKind, LogList
from stubresolver.ct.tree_head import TreeHead, read_tree_head
from stubresolver.errors import BadInput, EvidenceError
from stubresolver.evidence import EvidenceStore
from stubresolver.evidence.audits import MAXIMUM_ALARM, Audited, Heads, Raised
from stubresolver.lab.log_api import LogFront
from stubresolver.lab.logs import LabLog, log_list_json, slug

AT = datetime(2026, 11, 2, 12, tzinfo=UTC)
HOST = "logs.lab:4711"
LAB = (LabLog("Alder", "Alder 1"), LabLog("Birch", "Birch 1", "static-ct"))
LOGS = LogList.parse(log_list_json(LAB, now=AT, host=HOST)).logs
LEAF = "aa" * 32


@pytest.fixture
def path(tmp_path):
    return tmp_path / "evidence.sqlite3"


@pytest.fixture
def store(path):
    opened = EvidenceStore(path)
    yield opened
    opened.close()


def head(lab, size=None, at=AT):
    """A tree head of a lab log, signed."""
    front = LogFront(lab, HOST, lambda: at)
    front.size = size
    page = front.read("checkpoint" if lab.kind == "static-ct" else "ct/v1/get-sth")
    return read_tree_head(page.body, LOGS[lab.log_id])


def outcome(kind="included", leaf=LEAF, log=LAB[0], word="proved", at=AT):
    return Audited(leaf, log.log_id.hex(), word, kind, f"{kind} found", *[at.strftime("%Y-%m-%dT%H:%M:%S.000Z")] * 2)


def raised(kind="split-view", octets=b'{"received": []}'):
    return Raised(kind, f"{kind} found", octets)


def raise_one(store, leaf=LEAF, kind="split-view", log=LAB[0], at=AT):
    return store.audits().keep(outcome(kind, leaf, log, "alarm", at), [raised(kind)])


def remember(store, head, before=None):
    return store.audits().remember(LOGS[head.log_id], head, before, "2026-11-02T12:00:00.000Z")


def seen(store):
    return store.audits().heads(LOGS.values()).seen


@pytest.mark.parametrize("lab", LAB, ids=slug)
def test_tree_head_comes_back_as_it_was(store, lab):
    """What is remembered of a log is its own signed statement, for both kinds."""
    first = head(lab)
    assert remember(store, first) is None
    assert seen(store) == {lab.log_id: first}


@pytest.mark.parametrize("lab", LAB, ids=slug)
@pytest.mark.parametrize(
    "facts",
    [
        {"url": "https://moved.example/", "submission_url": "https://renamed.example/"},
        {"submission_url": ""},
        {"kind": LogKind.RFC6962},
        {"kind": LogKind.STATIC_CT},
    ],
)
def test_list_cannot_make_a_log_unsay_anything(store, lab, facts):
    """What the key signed counts, by whatever name, kind or address the list has the log today."""
    first = head(lab)
    remember(store, first)
    log = replace(LOGS[lab.log_id], **facts)
    assert store.audits().heads([log]) == Heads({lab.log_id: first}, {})


def test_heads_are_of_the_logs_asked_for(store):
    """A log that is on no list any more is not spoken of."""
    remember(store, head(LAB[0]))
    assert store.audits().heads([LOGS[LAB[1].log_id]]) == Heads({}, {})


def test_head_takes_the_place_of_the_one_it_follows_alone(store):
    """Of two audits at once the slower one learns what the faster one saw, and undoes nothing."""
    first, second, third = (head(LAB[0], size) for size in (3, 4, 5))
    assert remember(store, first) is None
    assert remember(store, second, first) is None
    for before in (None, first):
        assert remember(store, third, before) == second
        assert seen(store) == {LAB[0].log_id: second}
    assert remember(store, third, second) is None
    assert remember(store, third, first) is None  # the same that is there
    assert seen(store) == {LAB[0].log_id: third}


def test_time_beyond_the_database_is_no_failure(store):
    """A tree head dated beyond SQLite's integers is not remembered, and nothing fails."""
    mad = TreeHead(LAB[0].log_id, 1, (1 << 64) - 1, bytes(32), b"{}")
    assert remember(store, mad) is None
    assert seen(store) == {}


def test_last_outcome_stands(store):
    """Of each certificate and log the last outcome counts, and others' stay."""
    audits = store.audits()
    audits.keep(outcome("unreachable", word="note"), ())
    audits.keep(outcome("unreachable", log=LAB[1], word="note"), ())
    audits.keep(outcome(at=AT + timedelta(hours=1)), ())
    audits.keep(outcome(leaf="bb" * 32), ())
    assert [(each.log, each.outcome) for each in audits.outcomes(LEAF)] == [
        (LAB[0].log_id.hex(), "proved"),
        (LAB[1].log_id.hex(), "note"),
    ]
    assert len(audits.outcomes()) == 3


def test_alarm_is_kept_whole(store, path):
    """What was received is there octet for octet, also for who opens the file later."""
    octets = json.dumps({"received": "x" * 60_000}).encode()
    (alarm,) = store.audits().keep(outcome(word="alarm"), [raised(octets=octets)])
    store.close()
    again = EvidenceStore(path)
    assert again.audits().received(alarm.number) == octets
    assert again.audits().alarms() == [alarm]
    again.close()


def test_same_alarm_is_counted(store):
    """The same again moves count and time; what was received first stays."""
    raise_one(store)
    later = outcome("split-view", word="alarm", at=AT + timedelta(days=1))
    store.audits().keep(later, [raised(octets=b'{"received": "later"}')])
    (alarm,) = store.audits().alarms()
    assert (alarm.count, alarm.first_seen[:10], alarm.last_seen[:10]) == (2, "2026-11-02", "2026-11-03")
    assert store.audits().received(alarm.number) == b'{"received": []}'


def test_several_alarms_of_one_audit(store):
    """One visit can convict a log of more than one thing."""
    kept = store.audits().keep(outcome(word="alarm"), [raised("split-view"), raised("missing-leaf")])
    assert [alarm.kind for alarm in kept] == ["split-view", "missing-leaf"]


def test_alarm_beyond_the_bound_is_refused(store):
    """64 KiB of one alarm and no more; nothing of that audit is kept then."""
    with pytest.raises(EvidenceError, match="65537 octets, expected at most 65536"):
        store.audits().keep(outcome(word="alarm"), [raised(octets=b'"' + b"x" * (MAXIMUM_ALARM - 1) + b'"')])
    assert store.audits().outcomes() == []


@pytest.fixture
def few(monkeypatch):
    """A bound on alarms that is reached sooner: each is a transaction that the disk must confirm."""
    monkeypatch.setattr("stubresolver.evidence.audits.MAXIMUM_ALARMS", 12)
    return 12


def test_flood_of_alarms_displaces_none_of_another_kind(store, few):
    """Whoever raises hundreds of alarms of one log and kind gets rid of his newest ones alone."""
    first = [raise_one(store)[0], raise_one(store, kind="rollback")[0], raise_one(store, log=LAB[1])[0]]
    for number in range(few + 8):
        kept = raise_one(store, leaf=f"{number:064x}", kind="missing-leaf")
        assert bool(kept) == (number < few - 3)
    alarms = store.audits().alarms()
    assert len(alarms) == few
    assert alarms[:3] == first
    assert [alarm.leaf for alarm in alarms[3:6]] == [f"{number:064x}" for number in range(3)]
    assert len(store.audits().outcomes()) == few + 8 + 2


def test_full_store_makes_room_for_a_new_kind(store, few):
    """The largest group gives its newest for an alarm of another log."""
    for number in range(few):
        raise_one(store, leaf=f"{number:064x}", kind="missing-leaf")
    assert raise_one(store, log=LAB[1])
    alarms = store.audits().alarms()
    assert len(alarms) == few
    assert (alarms[-1].log, alarms[-2].leaf) == (LAB[1].log_id.hex(), f"{few - 2:064x}")


def test_first_of_each_kind_stays_where_all_differ(store, few):
    """Where no two alarms are alike, those that came first stay, and the newest is told of by its outcome alone."""
    for number in range(few):
        assert raise_one(store, kind=f"kind {number}")
    assert raise_one(store, kind="one more") == ()
    assert [alarm.kind for alarm in store.audits().alarms()] == [f"kind {number}" for number in range(few)]
    assert store.audits().outcomes()[0].kind == "one more"


def test_outcomes_are_bounded(store, monkeypatch):
    """The oldest outcomes go."""
    monkeypatch.setattr("stubresolver.evidence.audits.MAXIMUM_OUTCOMES", 3)
    for number in range(5):
        store.audits().keep(outcome(leaf=f"{number:064x}", at=AT + timedelta(hours=number)), ())
    assert [int(each.leaf, 16) for each in store.audits().outcomes()] == [4, 3, 2]


def test_dismissed_alarm_is_gone(store):
    """What a person has dealt with is dropped; dropping it twice, or asking for it, says what is wrong."""
    (alarm,) = raise_one(store)
    store.audits().dismiss(alarm.number)
    assert store.audits().alarms() == []
    for ask in (store.audits().dismiss, store.audits().received):
        for number in (alarm.number, (1 << 63) - 1, 1 << 63, 1 << 70):
            with pytest.raises(BadInput, match=f"no alarm {number} is kept"):
                ask(number)


@pytest.mark.parametrize(
    ("statement", "ask"),
    [
        ("UPDATE audit SET outcome = X'00'", lambda audits: audits.outcomes()),
        ("UPDATE alarm SET count = 'many'", lambda audits: audits.alarms()),
        ("UPDATE alarm SET detail = X'07'", lambda audits: audits.alarms()),
        ("UPDATE alarm SET octets = '{'", lambda audits: audits.received(1)),
        ("UPDATE alarm SET octets = X'7B'", lambda audits: audits.received(1)),
    ],
)
def test_damaged_row_is_said(store, path, statement, ask):
    """Damage is an `EvidenceError`, and never makes a log look as if it had lied."""
    store.audits().keep(outcome(word="alarm"), [raised()])
    with sqlite3.connect(path) as other:
        other.execute(statement)
    other.close()
    with pytest.raises(EvidenceError, match="cannot be read"):
        ask(store.audits())


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("root = 'beef'", "not what its row says"),
        ("size = size + 1", "not what its row says"),
        ("size = 'many'", "not what its row says"),
        ("octets = X'00'", "control character"),
        ("octets = X'7B'", "not the JSON of a tree head"),
        ("octets = 7", "no octets"),
    ],
)
def test_damaged_tree_head_stops_nothing(store, path, change, why):
    """It is told of, no other log's is lost by it, and the next one takes its place."""
    first, other_head = head(LAB[0], 5), head(LAB[1])
    remember(store, first)
    remember(store, other_head)
    with sqlite3.connect(path) as other:
        other.execute(f"UPDATE tree_head SET {change} WHERE log = '{first.log_id.hex()}'")  # noqa: S608 - ours
    other.close()
    heads = store.audits().heads(LOGS.values())
    assert heads.seen == {LAB[1].log_id: other_head}
    assert why in heads.damaged[LAB[0].log_id]
    again = head(LAB[0], 3)
    assert remember(store, again) is None
    assert seen(store) == {LAB[0].log_id: again, LAB[1].log_id: other_head}


def test_forged_tree_head_is_damage(store, path):
    """A row that agrees with itself but was not signed by the log is not believed."""
    first = head(LAB[0])
    document = json.loads(first.octets) | {"tree_size": 77}
    remember(store, first)
    with sqlite3.connect(path) as other:
        other.execute("UPDATE tree_head SET size = 77, octets = ?", (json.dumps(document).encode(),))
    other.close()
    heads = store.audits().heads(LOGS.values())
    assert heads.seen == {}
    assert "did not sign" in heads.damaged[first.log_id]


def test_closed_file_is_said(store):
    """Whatever SQLite says becomes an `EvidenceError`."""
    audits = store.audits()
    store.close()
    for ask in (lambda: audits.heads(LOGS.values()), audits.alarms, audits.outcomes, lambda: raise_one(store)):
        with pytest.raises(EvidenceError):
            ask()


def test_candidates_are_allowed_leaves(store_of_world, verifier, presented, world):
    """Each certificate that was allowed since a time, once, with its newest record and its oldest time; no refused."""
    refused = replace(presented, chain=world.issue(()).chain)
    for upstream, shown, hours in (
        ("tls://127.0.0.1", presented, -2),
        ("tls://127.0.0.2", presented, -1),
        ("tls://127.0.0.1", refused, 0),
    ):
        store_of_world.record(upstream, shown, verifier.judge(shown, AT + timedelta(hours=hours)))
    (found,) = store_of_world.audits().candidates(AT - timedelta(hours=3))
    assert found.leaf == sha256(presented.chain[0]).hexdigest()
    assert (found.upstream, found.first_seen) == ("tls://127.0.0.2", "2026-11-02T10:00:00.000Z")
    assert store_of_world.get(found.record).upstream == "tls://127.0.0.2"
    assert store_of_world.audits().candidates(AT) == []


@pytest.fixture
def store_of_world(path, opening):
    with opening(path) as opened:
        yield opened
