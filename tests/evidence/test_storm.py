"""Storms: evidence on a disk that fills, locks, goes read-only, is spoilt, robbed and mended while judgements come.

What must hold is written from docs/design.md ("Evidence that cannot be kept", "A damaged file is evidence, too") and
the issue. By hand, for longer: STUBRESOLVER_STORMS=1000 python -m pytest tests/evidence/test_storm.py
"""

import contextlib
import os
import random
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest

from stubresolver.errors import EvidenceError
from stubresolver.evidence import EvidenceKeeper, EvidenceStore
from stubresolver.evidence.audits import Audited, Raised
from stubresolver.evidence.backlog import MAXIMUM
from stubresolver.evidence.files import MAXIMUM_ASIDE
from stubresolver.evidence.schema import prepare

SEEDS = int(os.environ.get("STUBRESOLVER_STORMS", "5"))
NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
UPSTREAMS = ("tls://127.0.0.1#dns.lab", "tls://127.0.0.2#dns.lab")
FAULTS = ("full", "read-only", "locked", "folder")
ACTS = {"judge": 60, "recall": 20, "retry": 5, "alarm": 4, "fault": 6, "heal": 6, "spoil": 2, "rob": 2, "restart": 2}


class Disk:
    """What is the matter with it; SQLite's own settings stand for a disk that is full or read-only."""

    def __init__(self):
        self.fault = ""
        self.open = []

    def prepare(self, database):
        """In the place of the store's own: no waiting for the platters, and the fault of now."""
        prepare(database)
        if not database.execute("PRAGMA database_list").fetchone()[2]:
            return  # in memory
        database.execute("PRAGMA synchronous = OFF")
        self.open = [each for each in self.open[-4:] if each is not database] + [database]
        self.settle(database)

    def settle(self, database):
        database.execute(f"PRAGMA query_only = {int(self.fault == 'read-only')}")
        (pages,) = database.execute("PRAGMA page_count").fetchone()  # of a file that was spoilt there is none
        database.execute(f"PRAGMA max_page_count = {pages if self.fault == 'full' else 1_000_000}")

    def become(self, fault):
        self.fault = fault
        for database in self.open:
            with contextlib.suppress(sqlite3.Error):
                self.settle(database)


class Storm:
    """One keeper, its disk, and what was judged."""

    def __init__(self, seed, path, disk, policies, verdicts):
        self.chance = random.Random(seed)  # noqa: S311 - no secret
        self.path, self.disk, self.policies, self.verdicts = path, disk, policies, verdicts
        self.now = NOW
        self.reports = []
        self.judged, self.allowed = Counter(), {}
        self.lost = 0
        self.files = {}  # of each file that there was: how often it says that each record was judged
        self.alarms, self.told, self.taken = set(), set(), set()
        self.locker = None
        self.newest = None
        self.keeper = self.opened()

    def opened(self):
        keeper = EvidenceKeeper(self.path, lambda: self.now, self.reports.append)
        keeper.keep_demands(*self.policies)
        return keeper

    def act(self):
        self.now += timedelta(seconds=self.chance.choice([0, 1, 60]))
        [what] = self.chance.choices(list(ACTS), list(ACTS.values()))
        getattr(self, what)()
        self.check()

    def judge(self):
        """Somebody is dialled and judged."""
        for _ in range(self.chance.choice([1, 1, 1, 5, 30])):
            presented, verdict = self.chance.choice(self.verdicts)
            verdict = replace(verdict, at=self.now)
            judgement = self.keeper.judgement(self.chance.choice(UPSTREAMS), presented, verdict)
            self.judged[judgement.identity] += 1
            if verdict.allowed:
                self.newest = self.now
                self.allowed.setdefault(sha256(presented.chain[0]).hexdigest(), []).append(self.now)
            if self.chance.random() < 0.1:
                self.keeper.hold(judgement, self.chance.choice([None, "the disk hangs"]))
            else:
                self.keeper.record(judgement)

    def recall(self):
        """What a judgement is told: nothing that was never so, and no earlier time than this process knows."""
        presented, _ = self.chance.choice(self.verdicts)
        leaf = sha256(presented.chain[0]).hexdigest()
        found = self.chance.choice([self.keeper.recall, self.keeper.recall_here])(leaf)
        assert found.newest == self.newest or self.keeper.state.lost, (found, self.newest, self.keeper.state)
        assert found.passed is None or found.passed in self.allowed.get(leaf, [])

    def retry(self):
        self.keeper.retry()

    def alarm(self):
        kind = f"alarm {len(self.alarms)} {self.now}"
        outcome = Audited("aa", "bb", "alarm", kind, "two trees", "2026-11-02T12:00:00.000Z", "2026-11-02")
        with contextlib.suppress(EvidenceError):  # the audit's own trouble
            self.keeper.audits().keep(outcome, [Raised(kind, "two trees", b"{}")])
            self.alarms.add(kind)

    # What happens to the disk.

    def fault(self):
        self.heal()
        fault = self.chance.choice(FAULTS)
        if fault == "locked" and self.path.is_file():
            self.locker = sqlite3.connect(self.path, isolation_level=None, timeout=0)
            with contextlib.suppress(sqlite3.Error):
                self.locker.execute("BEGIN EXCLUSIVE")
        elif fault == "folder":
            self.witness()
            self.path.parent.rename(self.path.parent.with_name("elsewhere"))
            self.path.parent.touch()
        self.disk.become(fault)

    def heal(self):
        """All is well again, and somebody has looked at what was put aside."""
        if self.disk.fault == "folder":
            self.path.parent.unlink()
            self.path.parent.with_name("elsewhere").rename(self.path.parent)
        if self.locker is not None:
            self.locker.close()
            self.locker = None
        self.disk.become("")
        if len(self.aside()) >= MAXIMUM_ASIDE:
            for file in self.aside():
                self.taken.add(file.stat().st_ino)
                file.rename(self.path.parent.with_name(f"seen {len(self.taken)}"))

    def spoil(self):
        if self.witness():
            with self.path.open("r+b") as file:
                file.write(self.chance.randbytes(100))

    def rob(self):
        """The file is taken away, or another one put in its place."""
        if self.witness():
            self.taken.add(self.path.stat().st_ino)
            self.path.rename(self.path.parent.with_name(f"taken {len(self.taken)}"))
            if self.chance.random() < 0.3:
                EvidenceStore(self.path).close()

    def restart(self):
        """Another process, where nothing waits: it knows what the file knows."""
        self.keeper.retry()
        if self.disk.fault or not self.keeper.state.kept:
            return
        assert self.keeper.state.unrecorded == 0
        self.keeper.close()
        self.lost += self.keeper.state.lost
        self.witness()
        with closing(sqlite3.connect(self.path)) as database:
            [(newest,)] = database.execute("SELECT max(last_seen) FROM record WHERE allowed").fetchall()
        self.newest = newest and datetime.fromisoformat(newest)
        self.keeper = self.opened()
        assert self.keeper.recall("00").newest == self.newest

    # What must hold.

    def aside(self):
        return [file for file in self.path.parent.iterdir() if ".corrupt-" in file.name]

    def witness(self):
        """Read what the file says; whether it is one that can be read."""
        try:
            identity = self.path.stat().st_ino
            with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=0)) as database:
                counts = Counter(dict(database.execute("SELECT id, count FROM record").fetchall()))
                kinds = {kind for (kind,) in database.execute("SELECT kind FROM alarm")}
        except (OSError, sqlite3.Error):
            return False
        self.files[identity] = counts
        self.told |= kinds
        return True

    def check(self):
        state = self.keeper.state
        assert bool(state.problem) != state.kept
        assert state.unrecorded <= MAXIMUM
        told = [line.startswith("EVIDENCE IS NOT KEPT") for line in self.reports if " KEPT" in line.upper()]
        assert told == [number % 2 == 0 for number in range(len(told))], self.reports
        assert (len(told) % 2 == 0) == state.kept
        if self.chance.random() < 0.1 and self.witness():
            written = sum(self.files.values(), Counter())
            assert all(written[identity] <= count for identity, count in self.judged.items()), "written twice"
            missing = set(self.judged) - set(written)
            assert len(missing) <= state.unrecorded + state.lost + self.lost, "lost in silence"
        if self.disk.fault != "folder":
            there = {file.stat().st_ino for file in self.path.parent.iterdir()}
            assert self.files.keys() - self.taken <= there, "deleted"
            assert len(self.aside()) <= MAXIMUM_ASIDE

    def end(self):
        """All is well for good."""
        self.heal()
        self.keeper.retry()
        assert (self.keeper.state.kept, self.keeper.state.unrecorded) == (True, 0)
        self.keeper.close()
        self.lost += self.keeper.state.lost
        assert self.witness()
        written = sum(self.files.values(), Counter())
        assert all(written[identity] <= count for identity, count in self.judged.items()), "written twice"
        assert len(set(self.judged) - set(written)) <= self.lost, "lost in silence"
        assert self.alarms <= self.told, "an alarm is lost"


@pytest.fixture(scope="module")
def verdicts(world, verifier, presented, junk):
    """What is shown and found: more chains that nobody allows than memory takes, some that are allowed."""
    allowed = [presented, *(replace(presented, chain=world.issue().chain) for _ in range(2))]
    return [(each, verifier.judge(each, NOW)) for each in [*allowed * 5, *map(junk, range(90))]]


@pytest.fixture
def disk(monkeypatch):
    disk = Disk()
    monkeypatch.setattr("stubresolver.evidence.store.prepare", disk.prepare)
    for module in ("keeper", "current"):
        monkeypatch.setattr(f"stubresolver.evidence.{module}.PATIENCE", 0.0)
    return disk


@pytest.mark.parametrize("seed", range(SEEDS))
def test_storm_loses_nothing_in_silence(path, disk, world, verdicts, seed):
    """Each judgement is in a file once, or waits, or is counted as lost; no file goes; nothing is made up."""
    storm = Storm(seed, path, disk, (world.policy, world.log_list), verdicts)
    for _ in range(100):
        storm.act()
    storm.end()
