"""What somebody who holds one source can do to the list, and what not."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from stubresolver.errors import SourceRefused
from stubresolver.lab.logs import LabLog
from stubresolver.loglists import load_key, merge
from stubresolver.loglists.shrinking import counts_until
from stubresolver.loglists.spelling import normal
from tests.loglists.formats import FORMATS, NOW, YEAR, as_apple, as_mozilla, as_v3, pinned, source

DAY = timedelta(days=1)
LATER = NOW + timedelta(hours=1)
MINE = [
    LabLog(operator, f"{operator} {number}", interval=YEAR) for operator in ("Mallory", "Trudy") for number in (1, 2)
]
PLACES = ("https://one.example/a", "https://two.example/b", "https://three.example/c")


def update(current, *lists):
    sources = [source(name, octets, current) for name, octets in zip(PLACES, lists, strict=False)]
    return merge(current, sources, now=LATER)


def assert_no_wider(before, after):
    """Nothing counts that did not, and nothing counts for longer, for more certificates or for another operator."""
    for log_id, log in after.logs.items():
        known = before.logs[log_id]
        assert counts_until(log) <= counts_until(known)
        assert (normal(log.operator), log.previous_operators, log.kind) == (
            normal(known.operator), known.previous_operators, known.kind,
        )  # fmt: skip
        if known.interval is not None:
            assert known.interval.start <= log.interval.start <= log.interval.end <= known.interval.end
    assert after.timestamp <= max(before.timestamp, LATER)


@pytest.mark.parametrize("name", FORMATS)
def test_poison_alone_adds_nothing(name, logs, current):
    """One list with four logs of its own among the honest ones, in each format."""
    result = update(current, FORMATS[name](logs + MINE))
    assert_no_wider(current, result.log_list)
    assert {item.log for item in result.withheld} == {log.description for log in MINE}
    assert result.log_list.timestamp == current.timestamp


@pytest.mark.parametrize("name", FORMATS)
def test_poison_among_honest_sources_adds_nothing(name, logs, current):
    """Two honest sources do not make a third one's logs good."""
    result = update(current, FORMATS[name](logs + MINE), as_v3(logs, NOW - DAY), as_apple(logs))
    assert_no_wider(current, result.log_list)
    assert set(result.log_list.logs) == set(current.logs)


def same_list_twice(octets):
    """The same list in other octets: as it is, spaced anew, its operators turned round, its times as numbers."""
    document = json.loads(octets)
    yield octets
    yield json.dumps(document).encode()
    yield octets + b"\n \n"
    yield json.dumps({**document, "operators": document["operators"][::-1]}).encode()
    yield json.dumps({**document, "version": "another"}).encode()


def test_one_poisoned_list_under_two_names_is_one_voice(logs, current):
    """Two files, two hosts: what says the same has one author."""
    octets = as_v3(logs + MINE)
    for again in same_list_twice(octets):
        result = update(current, octets, again)
        assert_no_wider(current, result.log_list)
        assert result.notes[0] == (
            "https://two.example/b is not independent of https://one.example/a: they say exactly the same"
        )


def test_two_lists_of_one_host_are_one_voice(logs, current):
    """Whatever they say, and on whatever port; so is one file that is given twice."""
    for one, two in (
        ("https://one.example/a", "https://ONE.example:8443/b"),
        ("/lists/a.json", "/lists/a.json"),
    ):
        sources = [source(one, as_v3(logs + MINE), current), source(two, as_v3(logs + MINE[::-1], NOW - DAY), current)]
        result = merge(current, sources, now=LATER)
        assert_no_wider(current, result.log_list)
        assert "both are from" in result.notes[0]


def test_voices_are_joined_by_a_third(logs, current):
    """A is B's host, B says what C says: one voice, however they are ordered."""
    a = source("https://one.example/a", as_v3(logs + MINE, NOW - DAY), current)
    b = source("https://one.example/b", as_v3(logs + MINE), current)
    c = source("https://two.example/c", as_v3(logs + MINE), current)
    for sources in ((a, b, c), (c, a, b), (a, c, b)):
        assert_no_wider(current, merge(current, sources, now=LATER).log_list)


def test_one_key_is_one_voice(logs, current):
    """Who signs two lists is one witness of how fresh they are."""
    key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
    public = load_key(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    lists = [as_v3(logs), as_v3(logs[::-1], NOW - DAY)]
    sources = [
        source(name, octets, current, signature=key.sign(octets), keys=[public])
        for name, octets in zip(PLACES, lists, strict=False)
    ]
    assert "one key signed both" in merge(current, sources, now=LATER).notes[0]


@pytest.mark.parametrize("name", ["Birch LLC", "B\u0456rch", "\u0412irch", "B\u00efrch", "Birch2"])
def test_an_operator_renamed_to_look_like_a_second_one_is_not_taken(name, logs, current):
    """A suffix, a letter of another script, an accent: by one source, no log changes hands."""
    renamed = [replace(log, operator=name) if log.operator == "Birch" else log for log in logs]
    for others in ((), (as_apple(logs),)):
        result = update(current, as_v3(renamed), *others)
        assert_no_wider(current, result.log_list)
        assert {log.operator for log in result.log_list.logs.values()} == {"Alder", "Birch", "Cedar"}
        assert len(result.withheld) == 3


@pytest.mark.parametrize("name", ["BIRCH", "Birch.", "  Birch", "\uff22irch", "B-i-r-c-h", "Birch\u0301"])
def test_another_spelling_of_an_operator_is_the_same_operator(name, logs, current):
    """Case, signs, width: listed alike, and written as it was, so that two logs of Birch stay one operator's."""
    new = LabLog(name, "Birch 4", interval=YEAR)
    renamed = [replace(log, operator=name) if log.operator == "Birch" else log for log in logs]
    result = update(current, as_v3([*renamed, new]), as_apple([*logs, replace(new, operator="Birch")]))
    assert result.log_list.logs[new.log_id].operator == "Birch"
    assert {log.operator for log in result.log_list.logs.values()} == {"Alder", "Birch", "Cedar"}


def test_a_new_log_under_two_operators_is_not_listed_alike(logs, current):
    """Two sources list the key, but not whose it is."""
    new = LabLog("Birch", "Birch 4", interval=YEAR)
    result = update(current, as_v3([*logs, new]), as_apple([*logs, replace(new, operator="Birch LLC")]))
    assert new.log_id not in result.log_list.logs
    assert {item.operator for item in result.withheld} == {"Birch", "Birch LLC"}


def test_forged_previous_operators_are_not_taken(logs, current):
    """A log that was somebody else's when it signed makes two operators of one."""
    forged = [replace(log, previous_operators=(("Dogwood", NOW + DAY),)) for log in logs]
    for others in ((), (as_mozilla(logs),), (as_apple(logs), as_v3(logs, NOW - DAY))):
        assert_no_wider(current, update(current, as_v3(forged), *others).log_list)


def test_forged_previous_operators_of_a_new_log_are_not_taken(logs, current):
    """Mozilla lists the new log and states no history: that does not carry the one of the other source."""
    new = LabLog("Birch", "Birch 4", interval=YEAR)
    forged = replace(new, previous_operators=(("Dogwood", NOW + DAY),))
    assert_no_wider(current, update(current, as_v3([*logs, forged]), as_mozilla([*logs, new])).log_list)


STATES = st.sampled_from(["pending", "qualified", "usable", "readonly", "retired", "rejected"])
DAYS = st.integers(-400, 400).map(lambda days: NOW + days * DAY)


@st.composite
def forgeries(draw, logs):
    """What a source may make of a log that is known: anything but its key."""
    start = draw(DAYS)
    changes = {
        "operator": draw(st.sampled_from(["Alder", "Birch", "Cedar", "ALDER", "Mallory"])),
        "state": draw(STATES),
        "since": draw(DAYS),
        "interval": draw(st.sampled_from([YEAR, None, (start, start + 200 * DAY)])),
        "kind": draw(st.sampled_from(["rfc6962", "static-ct"])),
        "previous_operators": draw(st.sampled_from([(), (("Mallory", start),)])),
    }
    chosen = draw(st.sets(st.sampled_from(sorted(changes)), max_size=3))
    return replace(draw(st.sampled_from(logs)), **{name: changes[name] for name in chosen})


@pytest.mark.parametrize("retired", [False, True])
@settings(max_examples=60)
@given(data=st.data())
def test_no_single_source_widens_anything(retired, logs, data):
    """Whatever one source says of three logs and adds of its own, beside an honest one or alone, in any format."""
    known = [replace(log, state="retired", since=NOW - 30 * DAY) for log in logs[:2]] + logs[2:] if retired else logs
    current = pinned(known, NOW - 7 * DAY)
    forged = {log.log_id: log for log in (data.draw(forgeries(known)) for _ in range(3))}
    poisoned = [forged.get(log.log_id, log) for log in known] + MINE
    octets = FORMATS[data.draw(st.sampled_from(sorted(FORMATS)))](poisoned)
    honest = data.draw(st.sampled_from([(), (as_v3(known, NOW - DAY),), (as_apple(known), as_mozilla(known))]))
    try:
        result = update(current, octets, *honest)
    except SourceRefused:
        return
    assert_no_wider(current, result.log_list)


def test_a_source_can_take_at_most_a_third_at_once(logs, current):
    """What one source can do is to remove; more than a third of what counts it cannot."""
    for gone in range(1, 9):
        if gone <= 3:
            assert len(update(current, as_v3(logs[gone:]), as_apple(logs)).log_list.logs) == 9 - gone
        else:
            with pytest.raises(SourceRefused, match="shrunk"):
                update(current, as_v3(logs[gone:]), as_apple(logs))


def test_a_log_that_was_taken_away_does_not_come_back_by_one(logs, current):
    """Remove today, add tomorrow: the second half needs a quorum."""
    removed = update(current, as_v3(logs[1:], NOW - DAY), as_apple(logs)).log_list
    assert logs[0].log_id not in removed.logs
    back = update(removed, as_v3(logs))
    assert logs[0].log_id not in back.log_list.logs
    assert back.withheld[0].log == "Alder 1"
