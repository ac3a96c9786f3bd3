"""What goes when there is no more room: allowed before refused, the middle of many alike, never the newest."""

import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
UPSTREAM, OTHER = "tls://127.0.0.1#dns.lab", "tls://[::1]#dns.lab"
BOUND = 512 * 1024
HALF_A_MINUTE = timedelta(seconds=30)


@pytest.fixture
def small(path, opening):
    """A store of 512 KiB."""
    with opening(path, maximum_octets=BOUND) as opened:
        opened._database.execute("PRAGMA synchronous = OFF")  # thousands of records, no crash
        yield opened


@pytest.fixture
def refuse(verifier, junk):
    """Records a chain that nobody has shown before."""

    def refuse(store, number, at, upstream=UPSTREAM):
        shown = junk(number)
        return store.record(upstream, shown, verifier.judge(shown, at)).id

    return refuse


@pytest.fixture
def allow(verifier, world, presented):
    """Records another chain that is allowed: the honest one, with something behind it that nobody needs."""

    def allow(store, number, at, upstream=UPSTREAM):
        shown = replace(presented, chain=(*presented.chain, world.stranger.anchor), name=presented.name)
        shown = replace(shown, tls=replace(presented.tls, cipher=f"cipher {number}" + " " * 3000))
        verdict = verifier.judge(shown, at)
        assert verdict.allowed
        return store.record(upstream, shown, verdict).id

    return allow


def in_order(rows):
    """What must hold of any file: every link, certificate and snapshot belongs to a record, and none is missing."""
    assert rows("PRAGMA integrity_check") == [("ok",)]
    assert rows("SELECT record FROM link WHERE record NOT IN (SELECT id FROM record)") == []
    assert rows("SELECT certificate FROM link WHERE certificate NOT IN (SELECT sha256 FROM certificate)") == []
    assert rows("SELECT sha256 FROM certificate WHERE sha256 NOT IN (SELECT certificate FROM link)") == []
    used = {digest for (digest,) in rows("SELECT policy FROM record UNION SELECT log_list FROM record")} - {None}
    assert {digest for (digest,) in rows("SELECT sha256 FROM snapshot")} == used


def test_the_file_stays_within_its_bound(small, path, rows, refuse, allow):
    """Thousands of records later it is no larger than the bound and one record; what is dropped makes room."""
    for number in range(1500):
        (refuse if number % 3 else allow)(small, number, NOW + number * HALF_A_MINUTE)
        assert path.stat().st_size <= BOUND + 32 * 1024
    assert path.stat().st_size > BOUND * 0.9
    in_order(rows)


def test_the_oldest_allowed_go_first(small, rows, allow, refuse):
    """While there are allowed records to drop, no refused one goes, old as it may be."""
    refused = [refuse(small, number, NOW + number * HALF_A_MINUTE) for number in range(20)]
    allowed = [allow(small, number, NOW + timedelta(hours=1) + number * HALF_A_MINUTE) for number in range(300)]
    refused += [refuse(small, number, NOW + timedelta(hours=9) + number * HALF_A_MINUTE) for number in range(20, 40)]
    left = {kept.id for kept in small.records(10_000)}
    assert set(refused) <= left
    survived = [identity in left for identity in allowed]
    assert 10 < sum(survived) < 200
    assert survived == sorted(survived)
    assert small.dropped() == []
    in_order(rows)


def test_no_refused_record_goes_for_an_allowed_one(small, refuse, allow):
    """Where refused records fill the file, allowed ones replace one another, and the newest is always there."""
    for number in range(300):
        refuse(small, number, NOW + number * HALF_A_MINUTE)
    before = {kept.id for kept in small.records(10_000, allowed=False)}
    for number in range(60):
        newest = allow(small, number, NOW + timedelta(hours=5) + number * HALF_A_MINUTE)
    assert before == {kept.id for kept in small.records(10_000, allowed=False)}
    assert newest in {kept.id for kept in small.records(10_000, allowed=True)}
    assert len(small.records(10_000, allowed=True)) < 10


def test_the_newest_of_each_upstream_stays(small, refuse, allow):
    """However much is refused elsewhere: its last record, and its last that was allowed."""
    first = allow(small, 1, NOW, OTHER)
    last = refuse(small, 2, NOW + HALF_A_MINUTE, OTHER)
    alone = allow(small, 3, NOW, "tls://192.0.2.1")
    mine = allow(small, 4, NOW)
    for number in range(10, 700):
        refuse(small, number, NOW + number * HALF_A_MINUTE)
    left = {kept.id for kept in small.records(10_000)}
    assert {first, last, alone, mine} <= left


def test_a_flood_thins_out_itself(small, refuse, verifier, world, presented):
    """Three days of fresh chains: what was refused for another reason, elsewhere or on another day stays."""
    start = NOW.replace(hour=0)
    shown = replace(presented, chain=world.issue(authority=world.finish).chain)
    precious = small.record(UPSTREAM, shown, verifier.judge(shown, start)).id
    elsewhere = refuse(small, 1, start, OTHER)
    refuse(small, 2, start + timedelta(seconds=1), OTHER)
    made = {}
    for number in range(10, 10 + 3 * 2880, 2):  # every minute, for the test's sake
        at = start + number * HALF_A_MINUTE
        made.setdefault(at.date(), []).append(refuse(small, number, at))
    left = {kept.id for kept in small.records(10_000)}
    assert {precious, elsewhere} <= left
    survivors = {day: [identity for identity in ids if identity in left] for day, ids in made.items()}
    sizes = [len(ids) for ids in survivors.values()]
    assert max(sizes[:3]) - min(sizes[:3]) <= 2, "each day has its share"
    for day, ids in survivors.items():
        assert ids[0] == made[day][0], "the first of each day stays"
        assert made[day][-1] in ids, "and the last"
    counted = {note.day: note.count for note in small.dropped() if note.upstream == UPSTREAM}
    assert counted == {
        str(day): len(made[day]) - len(ids) for day, ids in survivors.items() if len(made[day]) > len(ids)
    }
    assert {note.failed for note in small.dropped()} <= {"path.second-lock path.valid", "path.valid"}


def test_of_groups_of_one_the_oldest_goes(small, refuse):
    """When there is nothing left to thin out, newer refused records replace the oldest."""
    made = [refuse(small, number, NOW + timedelta(days=number)) for number in range(300)]
    left = [kept.id for kept in small.records(10_000)]
    assert left == made[-len(left) :][::-1]
    assert 30 < len(left) < 250


@pytest.mark.parametrize("batch", [1, 7, 200])
def test_pruning_by_size_gives_the_room_back(small, path, rows, refuse, allow, monkeypatch, batch):
    """The same order, and the file is smaller afterwards; a dry run says the same and does nothing."""
    monkeypatch.setattr("stubresolver.evidence.store._BATCH", batch)
    for number in range(30):
        refuse(small, number, NOW + number * HALF_A_MINUTE)
        allow(small, number, NOW + number * HALF_A_MINUTE)
    size, before = path.stat().st_size, small.records(10_000)
    would = small.prune(keep_octets=250 * 1024, dry_run=True)
    assert (path.stat().st_size, small.records(10_000)) == (size, before)
    done = small.prune(keep_octets=250 * 1024)
    assert done == would
    assert path.stat().st_size == size - done.octets <= 250 * 1024
    had, left = Counter(kept.allowed for kept in before), Counter(kept.allowed for kept in small.records(10_000))
    assert had - left == {True: done.allowed, False: done.refused}
    assert left[True] == 1, "the newest"
    in_order(rows)
    small.prune(keep_octets=0)
    assert len(small.records()) == 2
    in_order(rows)


@pytest.mark.parametrize("batch", [1, 2, 200])
def test_pruning_by_time_drops_what_is_older(small, rows, refuse, allow, monkeypatch, batch):
    """Allowed or refused, by when it was last seen; the newest of an upstream stays, old as it is."""
    monkeypatch.setattr("stubresolver.evidence.store._BATCH", batch)
    old = allow(small, 1, NOW, OTHER)
    for hours in range(6):
        refuse(small, hours, NOW + timedelta(hours=hours))
        allow(small, hours, NOW + timedelta(hours=hours, minutes=1))
    allow(small, 0, NOW + timedelta(hours=5, minutes=30))  # seen again
    done = small.prune(before=NOW + timedelta(hours=3))
    assert (done.allowed, done.refused) == (2, 3)
    left = {kept.id: kept.last_seen for kept in small.records(10_000)}
    assert left.pop(old) == "2026-11-02T12:00:00.000Z"
    assert min(left.values()) == "2026-11-02T15:00:00.000Z"
    assert len(left) == 7
    in_order(rows)


def test_pruning_nothing_changes_nothing(small, refuse):
    """Without a limit nothing goes."""
    refuse(small, 1, NOW)
    refuse(small, 2, NOW)
    done = small.prune()
    assert (done.allowed, done.refused, done.octets) == (0, 0, 0)
    assert len(small.records()) == 2


def test_a_file_that_cannot_shrink_is_pruned_all_the_same(path, opening, refuse):
    """An empty database that somebody else made has no room to give back, and pruning it ends."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE t (c)")
        database.execute("DROP TABLE t")
    with opening(path) as store:
        for number in range(5):
            refuse(store, number, NOW)
        size = path.stat().st_size
        assert store.prune(keep_octets=0).refused == 4
        assert path.stat().st_size == size


def test_notes_are_bounded(small, rows, refuse, monkeypatch):
    """Events and counts of what was dropped are kept for the newest; the rest would grow for ever."""
    monkeypatch.setattr("stubresolver.evidence.retention._MAXIMUM_NOTES", 10)
    for number in range(30):
        small._database.execute("INSERT INTO event VALUES (NULL, 'u', 'root', 'a', 'b', ?)", (f"{number:02}",))
        small._database.execute("INSERT INTO dropped VALUES ('u', ?, '', 1)", (f"2026-01-{number + 1:02}",))
    refuse(small, 1, NOW)
    assert [at for (at,) in rows("SELECT at FROM event ORDER BY number")] == [f"{number}" for number in range(20, 30)]
    assert [day for (day,) in rows("SELECT day FROM dropped")] == [f"2026-01-{day}" for day in range(20, 31)]
