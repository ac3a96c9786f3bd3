"""Evidence whose file fails: judgement goes on and is no milder, nothing is lost in silence, nothing is destroyed."""

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from stubresolver.evidence import EvidenceKeeper, EvidenceStore
from stubresolver.evidence.audits import Audited, Raised
from stubresolver.evidence.backlog import MAXIMUM, MAXIMUM_OCTETS
from stubresolver.evidence.files import MAXIMUM_ASIDE
from stubresolver.evidence.schema import prepare

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
UPSTREAM = "tls://127.0.0.1#dns.lab"


class Kept:
    """A keeper on a file, what it reported, and what of the world is judged by it."""

    def __init__(self, path, world, verifier, presented):
        self.path, self.world, self.verifier, self.presented = path, world, verifier, presented
        self.reports = []
        self.now = NOW
        self.keeper = self.opened()

    def opened(self):
        keeper = EvidenceKeeper(self.path, lambda: self.now, self.reports.append)
        keeper.keep_demands(self.world.policy, self.world.log_list)
        return keeper

    def judgement(self, presented=None, at=NOW, upstream=UPSTREAM):
        shown = presented or self.presented
        return self.keeper.judgement(upstream, shown, self.verifier.judge(shown, at))

    def record(self, *arguments, **options):
        return self.keeper.record(self.judgement(*arguments, **options))

    def recall(self):
        return self.keeper.recall(sha256(self.presented.chain[0]).hexdigest())

    @property
    def state(self):
        return self.keeper.state

    def ids(self):
        """What a reader of the file finds."""
        with closing(EvidenceStore(self.path)) as store:
            return [record.id for record in store.records(1000)]

    def aside(self):
        return sorted(file for file in self.path.parent.iterdir() if ".corrupt-" in file.name)


@pytest.fixture
def kept(path, world, verifier, presented):
    made = Kept(path, world, verifier, presented)
    yield made
    made.keeper.close()


@pytest.fixture
def refusals(presented, junk):
    """Chains that nobody allows, each another."""
    return [junk(number) for number in range(200)]


@pytest.fixture
def disk(monkeypatch):
    """A disk that can be full: then no file grows by a page."""
    full = []

    def prepare_on_it(database):
        prepare(database)
        database.execute(f"PRAGMA max_page_count = {full[0] if full else 1_000_000}")

    monkeypatch.setattr("stubresolver.evidence.store.prepare", prepare_on_it)

    class Disk:
        def fill(self, kept):
            kept.record()
            full.append(kept.keeper._file._store._database.execute("PRAGMA page_count").fetchone()[0])
            kept.keeper._file._store._database.execute(f"PRAGMA max_page_count = {full[0]}")

        def empty(self, kept):
            full.clear()
            if kept.keeper._file._store is not None:
                kept.keeper._file._store._database.execute("PRAGMA max_page_count = 1000000")

    return Disk()


def test_where_all_is_well_nothing_is_said(kept):
    """The file has the judgement, the state is empty for people."""
    (done,) = kept.record()
    assert kept.ids() == [done.id]
    assert (kept.state.kept, kept.state.problem, str(kept.state), kept.reports) == (True, "", "", [])
    assert kept.state.file == str(kept.path)


def test_what_a_full_disk_does_not_take_is_written_when_there_is_room(kept, disk, refusals):
    """Each once, with the times of its first and its last judgement; told once, not for each dial."""
    disk.fill(kept)
    kept.now += HOUR
    shown = refusals[:5]
    for hours in (1, 2, 3):
        for each in shown:
            assert kept.record(each, NOW + hours * HOUR) == ()
    assert (kept.state.kept, kept.state.unrecorded, kept.state.lost) == (False, 5, 0)
    assert kept.state.problem.endswith("database or disk is full")
    assert kept.state.since == "2026-11-02T13:00:00.000Z"
    assert str(kept.state).startswith(
        "EVIDENCE NOT KEPT since 2026-11-02T13:00Z (5 judgements wait in memory, 0 are lo"
    )
    assert len(kept.ids()) == 1
    disk.empty(kept)
    kept.now += HOUR
    kept.keeper.retry()
    assert (kept.state.kept, kept.state.unrecorded, kept.state.since) == (True, 0, "2026-11-02T14:00:00.000Z")
    with closing(EvidenceStore(kept.path)) as store:
        refused = store.records(allowed=False)
        assert {store.chain(record.id) for record in refused} == {each.chain for each in shown}
    assert {(record.first_seen[11:13], record.last_seen[11:13]) for record in refused} == {("13", "15")}
    assert [line.split(":")[0] for line in kept.reports] == [
        "EVIDENCE IS NOT KEPT",
        "evidence is kept again; 10 judgements were written that had waited",
    ]


def test_what_waits_goes_before_what_is_judged_now(kept, disk, world, presented):
    """So a change is seen in the order in which it happened, also if the first half of it could not be written."""
    kept.record()
    disk.fill(kept)
    other = replace(presented, chain=world.issue().chain)
    kept.record(other, NOW + HOUR)
    disk.empty(kept)
    events = [event.kind.value for done in kept.record(presented, NOW + 2 * HOUR) for event in done.events]
    assert events == ["leaf-key", "leaf-key"]
    assert kept.state.unrecorded == 0


def test_what_can_be_read_still_counts(kept, disk):
    """A disk that is full forgets nothing: leaf and time are recalled from the file."""
    kept.record()
    disk.fill(kept)
    kept.record(replace(kept.presented, name=None), NOW + HOUR)
    assert kept.recall().passed == NOW
    assert kept.recall().newest == NOW + HOUR, "what was allowed since holds against the clock, too"


def test_what_cannot_be_recalled_was_never_seen(kept):
    """No leniency for a leaf that only the file knew; the clock is held against the time that was read before."""
    kept.record()
    assert kept.recall().passed == NOW
    kept.path.unlink()
    kept.path.mkdir()
    recalled = kept.recall()
    assert (recalled.passed, recalled.newest) == (None, NOW)
    assert kept.keeper.recall_here("00").newest == NOW


def test_what_this_process_allowed_meanwhile_is_known(kept):
    """By the same rule as in the file: it has judged that itself."""
    kept.path.unlink()
    kept.path.mkdir()
    kept.record(at=NOW + HOUR)
    assert (kept.recall().passed, kept.recall().newest) == (NOW + HOUR, NOW + HOUR)
    kept.path.rmdir()
    kept.keeper.retry()
    assert kept.keeper._second is None, "the file knows it now"
    assert kept.recall().passed == NOW + HOUR


def test_refused_judgements_make_nothing_known(kept, refusals):
    """Who fills the disk and shows chains cannot lift the clock's floor, nor make a leaf known."""
    kept.path.unlink()
    kept.path.mkdir()
    for each in refusals[:10]:
        kept.record(each, NOW + timedelta(days=3650))
    recalled = kept.keeper.recall(sha256(refusals[0].chain[0]).hexdigest())
    assert (recalled.passed, recalled.newest) == (None, None)


def test_floor_goes_down_again_when_a_person_prunes(kept):
    """`evidence prune --future` is the way out of a clock that was ahead, without a restart."""
    kept.record(at=NOW + 2 * HOUR)
    assert kept.recall().newest == NOW + 2 * HOUR
    with closing(EvidenceStore(kept.path)) as other:
        other.prune(after=NOW)
    assert kept.recall().newest is None
    assert kept.keeper.recall_here("00").newest is None


def test_who_fills_the_disk_does_not_hide_the_first_refusal(kept, disk, refusals):
    """Of a flood of his chains the first and the last stay, allowed ones go before, and what was lost is counted."""
    disk.fill(kept)
    kept.record(replace(kept.presented, name=None))
    other = "tls://127.0.0.2#dns.lab"
    kept.record(refusals[199], upstream=other)
    for each in refusals[:150]:
        kept.record(each)
    assert (kept.state.unrecorded, kept.state.lost) == (MAXIMUM, 152 - MAXIMUM)
    disk.empty(kept)
    kept.keeper.retry()
    with closing(EvidenceStore(kept.path)) as store:
        chains = {store.chain(record.id) for record in store.records(1000, allowed=False)}
        assert len(chains) == MAXIMUM
        assert {refusals[0].chain, refusals[149].chain, refusals[199].chain} <= chains
        assert len(store.records(allowed=True)) == 1
    assert str(kept.state) == f"EVIDENCE: {152 - MAXIMUM} judgements are lost"


def test_large_chains_do_not_fill_the_memory(kept, disk, presented):
    """The bound is of octets, too."""
    disk.fill(kept)
    for number in range(30):
        kept.record(replace(presented, chain=(bytes([number]) * 100_000,)))
    assert kept.state.unrecorded == MAXIMUM_OCTETS // 100_000
    assert kept.state.lost == 30 - kept.state.unrecorded


def test_a_judgement_that_no_file_can_hold_is_lost_alone(kept, disk, refusals, presented):
    """What others wait for is written all the same, and nothing is tried for ever."""
    disk.fill(kept)
    kept.record(refusals[0])
    kept.record(replace(presented, name="\ud800"))
    kept.record(refusals[1])
    disk.empty(kept)
    kept.keeper.retry()
    assert (kept.state.kept, kept.state.unrecorded, kept.state.lost) == (True, 0, 1)
    assert len(kept.ids()) == 3
    assert any("this judgement is lost" in line for line in kept.reports)


LOCKER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.readline()
"""


def test_a_file_that_another_process_holds_costs_less_than_a_second(kept, refusals):
    """For eight dials in turn, not for each; and it is used again at once when it is free."""
    kept.record()
    command = [sys.executable, "-c", LOCKER, str(kept.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        began = time.monotonic()
        for each in refusals[:8]:
            kept.recall()
            kept.record(each)
        assert time.monotonic() - began < 1
        assert (kept.state.kept, kept.state.unrecorded) == (False, 8)
        assert "locked" in kept.state.problem
        other.communicate("\n")
    kept.record(refusals[8])
    assert (kept.state.kept, len(kept.ids())) == (True, 10)


def test_a_file_that_is_locked_at_the_start_is_opened_later(kept, path, refusals):
    """The service starts all the same."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        late = kept.opened()
        assert "locked" in late.state.problem
        late.record(kept.judgement(refusals[0]))
        other.execute("ROLLBACK")
    late.retry()
    assert (late.state.kept, len(kept.ids())) == (True, 1)
    late.close()


def header(octets):
    return b"these are not the records" + octets[25:]


def torn(octets):
    """Every page but the first half written; the file's change counter, by which others notice, is another."""
    pages = b"".join(octets[at : at + 2048] + b"\xff" * 2048 for at in range(4096, len(octets), 4096))
    return octets[:24] + b"\xff" + octets[25:4096] + pages


def truncated(octets):
    return octets[: len(octets) // 2 // 4096 * 4096]


def stump(octets):
    return octets[:100]


DAMAGES = [header, torn, truncated, stump]
STATEMENTS = [
    "DROP TABLE record",
    "DROP TABLE passed",
    "ALTER TABLE record RENAME COLUMN policy TO rules",
    "UPDATE passed SET at = 'yesterday'",
    "UPDATE record SET last_seen = 'soon'",
]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("moment", ["start", "middle"])
def test_a_damaged_file_is_put_aside_and_a_new_one_begun(kept, refusals, damage, moment):
    """Octet for octet under a name of its own, and told; the judgement that found it is in the new file."""
    for each in refusals[:20]:
        kept.record(each)
    octets = damage(kept.path.read_bytes())
    if moment == "start":
        kept.keeper.close()
    kept.path.write_bytes(octets)
    if moment == "start":
        kept.keeper = kept.opened()
    kept.recall()
    (done,) = kept.record(refusals[20])
    assert kept.ids() == [done.id]
    (aside,) = kept.aside()
    assert aside.read_bytes() == octets
    assert aside.name == "evidence.sqlite.corrupt-20261102T120000Z"
    assert aside.stat().st_mode & 0o777 == 0o600
    assert kept.state.kept
    assert kept.state.set_aside == (str(aside),)
    assert any(f"put aside as {aside}, and a new file is begun" in line for line in kept.reports)


@pytest.mark.parametrize("statement", STATEMENTS)
@pytest.mark.parametrize("moment", ["start", "middle"])
def test_a_file_that_says_what_nobody_wrote_is_damaged(kept, refusals, statement, moment):
    """Tables that lack, times that are none: nothing of it is believed, and nothing thrown away."""
    kept.record()
    if moment == "start":
        kept.keeper.close()
    with closing(sqlite3.connect(kept.path)) as database, database:
        database.execute(statement)
    if moment == "start":
        kept.keeper = kept.opened()
    kept.recall()
    kept.record(refusals[0])
    kept.keeper.retry()
    assert (len(kept.ids()), len(kept.aside())) == (1, 1)
    assert kept.recall().passed is None
    assert kept.state.kept


@pytest.mark.parametrize("seed", range(8))
def test_random_damage_ends_nothing(kept, refusals, seed):
    """Octets at random places, again and again: no use raises, and in the end the newest judgement is in a file."""
    chance = random.Random(seed)  # noqa: S311 - the same places each time
    for number, each in enumerate(refusals[:12]):
        kept.record(each)
        kept.now += timedelta(seconds=1)
        if number % 3 == 2 and kept.path.is_file():
            octets = bytearray(kept.path.read_bytes())
            for _ in range(chance.randrange(1, 200)):
                octets[chance.randrange(len(octets))] = chance.randrange(256)
            kept.path.write_bytes(octets)
        kept.recall()
        kept.keeper.recall_here("00")
    kept.keeper.close()  # what SQLite holds of a file hides some damage as long as that is open
    kept.keeper = kept.opened()
    if not kept.state.kept:
        for file in [kept.path, *kept.aside()]:
            file.unlink(missing_ok=True)
    (*_, done) = kept.record(refusals[12])
    assert done.id in kept.ids()


def test_only_so_many_are_put_aside(kept):
    """A disk that goes on failing is not filled with what it has spoilt; then it is memory, and that is said."""
    for number in range(MAXIMUM_ASIDE + 1):
        kept.now = NOW + timedelta(seconds=number // 2)  # two in one second have two names
        kept.record()
        assert kept.state.kept
        kept.path.write_bytes(b"%d" % number * 1000)
    kept.record()
    assert (kept.state.kept, len(kept.aside())) == (False, MAXIMUM_ASIDE)
    assert f"{MAXIMUM_ASIDE} damaged ones lie beside it already" in kept.state.problem
    assert sorted(file.read_bytes()[:1] for file in kept.aside()) == [b"0", b"1", b"2", b"3", b"4"]
    kept.aside()[0].unlink()
    kept.record()
    assert kept.state.kept


def make_readable(path):
    path.write_bytes(b"somebody's letters" * 100)
    path.chmod(0o644)


def make_foreign(path):
    path.unlink()
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE cookies (name TEXT)")
    path.chmod(0o600)


def make_later(path):
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 77")


def make_link(path):
    target = path.with_name("elsewhere")
    path.rename(target)
    target.write_bytes(b"damaged" * 1000)
    path.symlink_to(target)


def make_pipe(path):
    path.unlink()
    os.mkfifo(path, 0o600)


@pytest.mark.parametrize("make", [make_readable, make_foreign, make_later, make_link, make_pipe])
def test_what_is_no_file_of_ours_is_left_alone(kept, make):
    """A slip in the configuration moves nobody's document, and a link is not followed to one."""
    kept.keeper.close()
    make(kept.path)
    before = {file.name: file.lstat().st_ino for file in kept.path.parent.iterdir()}
    kept.keeper = kept.opened()
    kept.record()
    assert (kept.state.kept, kept.state.unrecorded, kept.aside()) == (False, 1, [])
    assert {file.name: file.lstat().st_ino for file in kept.path.parent.iterdir()} == before


RACER = """
import sys
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from stubresolver.evidence import EvidenceKeeper
from stubresolver.verify import Policy, Presented, Verifier
now = datetime(2026, 11, 2, 12, tzinfo=UTC)
keeper = EvidenceKeeper(Path(sys.argv[1]), lambda: now, print)
verifier = Verifier(Policy((bytes.fromhex(sys.argv[2]),)))
keeper.keep_demands(verifier.policy, None)
print("ready", flush=True)
for number, line in enumerate(sys.stdin):
    shown = Presented(ip_address("127.0.0.1"), f"judged-by-{sys.argv[3]}-{number}", (b"junk",))
    keeper.record(keeper.judgement("tls://127.0.0.1", shown, verifier.judge(shown, now)))
    print("recorded", flush=True)
for attempt in range(50):
    if keeper.state.unrecorded:
        keeper.retry()
keeper.close()
"""


def test_processes_that_find_the_damage_at_once_lose_nothing(path, world):
    """One puts it aside; every judgement of all is in the new file or in the one that was put aside."""
    command = [sys.executable, "-c", RACER, str(path), world.lab.anchor.hex()]
    root = Path(__file__).resolve().parents[2]
    racers = [
        subprocess.Popen(
            [*command, str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root,
        )
        for number in range(3)
    ]  # fmt: skip
    for racer in racers:
        while racer.stdout.readline() != "ready\n":
            pass
    for _ in range(3):
        for racer in racers:
            racer.stdin.write("now\n")
            racer.stdin.flush()
        for racer in racers:
            while racer.stdout.readline() != "recorded\n":
                pass
        path.write_bytes(header(path.read_bytes()))
    for racer in racers:
        racer.stdin.write("now\n")
        racer.communicate(timeout=20)
        assert racer.returncode == 0
    every = b"".join(file.read_bytes() for file in path.parent.iterdir())
    expected = {f"judged-by-{racer}-{number}" for racer in range(3) for number in range(4)}
    assert {name for name in expected if name.encode() in every} == expected


@pytest.mark.parametrize("how", ["deleted", "replaced", "folder"])
def test_a_file_that_is_taken_away_is_begun_anew(kept, refusals, how):
    """Nothing goes on into a file that has no name any more; that it was taken is said."""
    kept.record()
    kept.recall()
    if how == "folder":
        shutil.rmtree(kept.path.parent)
    elif how == "deleted":
        kept.path.unlink()
    else:
        kept.path.rename(kept.path.with_name("mine"))
        with closing(EvidenceStore(kept.path)):
            pass
    (done,) = kept.record(refusals[0])
    assert kept.ids() == [done.id]
    assert kept.recall().newest == NOW, "the clock is held against what was read before"
    assert kept.recall().passed is None
    assert any("taken away or replaced" in line for line in kept.reports)
    assert kept.state.kept


def test_without_a_place_it_is_all_in_memory(world, verifier, presented, refusals):
    """A user without a home: judged, remembered, and told that nothing of it stays."""
    kept = Kept(None, world, verifier, presented)
    kept.record()
    kept.record(refusals[0])
    assert (kept.recall().passed, kept.recall().newest) == (NOW, NOW)
    assert (kept.state.file, kept.state.kept, kept.state.unrecorded) == ("", False, 2)
    kept.keeper.close()
    assert kept.reports == [
        "EVIDENCE IS NOT KEPT: there is no place for it; what is judged waits in memory to be written",
        "evidence: 2 judgements and 0 alarms could not be kept: there is no place for it",
    ]


def test_nothing_that_is_lost_is_not_told(world, verifier, presented):
    """Who judged nothing has nothing to lose: that there is no place is said, and no more."""
    kept = Kept(None, world, verifier, presented)
    kept.keeper.close()
    assert kept.reports == [
        "EVIDENCE IS NOT KEPT: there is no place for it; what is judged waits in memory to be written"
    ]


def test_alarms_of_the_time_without_a_file_get_into_it(kept):
    """An audit that ran meanwhile is kept in memory, and what it found is handed over, once."""
    kept.path.unlink()
    kept.path.mkdir()
    kept.record()
    outcome = Audited("aa", "bb", "alarm", "split-view", "two trees", "2026-11-02T12:00:00.000Z", "2026-11-02")
    kept.keeper.audits().keep(outcome, [Raised("split-view", "two trees", b"{}")])
    assert len(kept.keeper.audits().candidates(NOW - HOUR)) == 1
    assert kept.keeper.export(kept.judgement().identity).reproduces
    kept.path.rmdir()
    kept.keeper.retry()
    with closing(EvidenceStore(kept.path)) as store:
        (alarm,) = store.audits().alarms()
        assert (alarm.kind, alarm.count, store.audits().received(alarm.number)) == ("split-view", 1, b"{}")
    assert kept.state.kept


def test_damage_that_an_audit_finds_is_put_aside(kept):
    """Whoever meets it first."""
    kept.record()
    kept.path.write_bytes(torn(kept.path.read_bytes()))
    with pytest.raises(Exception, match="cannot be read"):
        kept.keeper.audits().candidates(NOW - HOUR)
    assert kept.keeper.audits().candidates(NOW - HOUR) == []
    assert len(kept.aside()) == 1


def test_after_the_end_nothing_is_opened_again(kept):
    """A use that comes too late, in a thread that nobody waited for, makes no new file."""
    kept.keeper.close()
    kept.path.unlink()
    kept.record()
    kept.keeper.close()
    assert not kept.path.exists()


def test_a_disk_that_hangs_does_not_hold_up_the_end(kept, monkeypatch):
    """Nor is the state waited for."""
    monkeypatch.setattr("stubresolver.evidence.keeper._CLOSING", 0.01)
    with kept.keeper._disk:
        kept.keeper.hold(kept.judgement(), "the disk does not answer")
        assert kept.state.unrecorded == 1
        assert kept.keeper.recall_here(sha256(kept.presented.chain[0]).hexdigest()).passed == NOW
        kept.keeper.close()
    assert kept.reports[-1] == "evidence: 1 judgements are lost: the disk does not answer"


def test_memory_that_is_short_is_a_problem_in_words(kept, monkeypatch):
    """It costs the record, not the process."""

    def short(*_, **__):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("stubresolver.evidence.store.write", short)
        kept.record()
        assert kept.state.problem.endswith("evidence could not be written: not enough memory")
        assert kept.state.unrecorded == 1
    kept.keeper.retry()
    assert kept.state.kept


def test_threads_share_it(kept, disk, refusals):
    """Uses of several threads come one after the other; nothing is lost between memory and file."""
    disk.fill(kept)

    def write(start):
        for each in refusals[start : start + 5]:
            kept.record(each)
            kept.keeper.hold(kept.judgement(each), "slow")
            kept.recall()

    threads = [threading.Thread(target=write, args=(start,)) for start in (0, 5, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    disk.empty(kept)
    kept.keeper.retry()
    assert len(kept.ids()) == 16
