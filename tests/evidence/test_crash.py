"""A process that writes evidence is killed at random moments: the file is whole, and what was told is there."""

import os
import random
import select
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from stubresolver.evidence import EvidenceStore

ROOT = Path(__file__).resolve().parents[2]
WRITER = Path(__file__).with_name("writer.py")
LARGE, SMALL = 64 * 1024 * 1024, 160 * 1024


class Writer:
    """The process of writer.py, its lines read by octets so that a kill can follow any of them."""

    def __init__(self):
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, WRITER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, bufsize=0
        )
        self.buffer = b""
        assert self.line(60) == "ready"

    def line(self, seconds):
        """The next line, or None if none comes in that time."""
        while b"\n" not in self.buffer:
            if not select.select([self.process.stdout], [], [], seconds)[0]:
                return None
            self.buffer += os.read(self.process.stdout.fileno(), 4096)
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode()

    def write_and_die(self, path, start, maximum, moment, records=0):
        """One child that writes until it is killed; returns the ids that it told.

        It is killed `moment` seconds after its birth, or after it has told of so many records.
        """
        self.process.stdin.write(f"{path}\t{start}\t{maximum}\n".encode())
        child = int(self.line(60))
        told = [self.line(60) for _ in range(records)]
        # nothing is read meanwhile: what it tells waits in the pipe
        select.select([], [], [], moment)
        os.kill(child, signal.SIGKILL)
        while (line := self.line(60)) != "dead":
            told.append(line)
        return told


@pytest.fixture
def writer():
    opened = Writer()
    yield opened
    opened.process.stdin.close()
    assert opened.process.wait(timeout=60) == 0
    opened.process.stdout.close()


def whole(path):
    """Opens the file as the program does, and looks at all of it; returns the ids of its records, newest first."""
    with closing(EvidenceStore(path)) as store:
        ids = [kept.id for kept in store.records(100_000)]
        for identity in ids[:3]:
            assert store.export(identity).reproduces
    with closing(sqlite3.connect(path)) as database:

        def rows(statement):
            return database.execute(statement).fetchall()

        assert rows("PRAGMA integrity_check") == [("ok",)]
        assert rows("SELECT record FROM link WHERE record NOT IN (SELECT id FROM record)") == []
        assert rows("SELECT certificate FROM link WHERE certificate NOT IN (SELECT sha256 FROM certificate)") == []
        assert rows("SELECT id FROM record WHERE policy NOT IN (SELECT sha256 FROM snapshot)") == []
        assert rows("SELECT id FROM record WHERE log_list NOT IN (SELECT sha256 FROM snapshot)") == []
        assert rows("SELECT id FROM record WHERE id NOT IN (SELECT record FROM link)") == []
    return ids


def kill_often(writer, folder, kills, maximum, seed, each=25):
    """Kills, each at another moment; after each, what was told and what is in the file. A file takes `each` kills."""
    moments = random.Random(seed)  # noqa: S311 - the same moments each time
    for kill in range(kills):
        path = folder / str(kill // each) / "evidence.sqlite3"
        # half of them while the file is opened, made or first written to; the others among records
        moment = moments.uniform(0, 0.02) if kill % 2 else moments.uniform(0, 0.12)
        told = writer.write_and_die(path, (kill + 1) * 1000, maximum, moment)
        yield path, told, whole(path)


def test_killed_150_times_nothing_that_was_told_is_lost(writer, tmp_path):
    """Every id that `record` returned is there after each kill, and at most the record being written beside them."""
    told, before, file, several, silent = set(), set(), None, 0, 0
    for path, ids, found in kill_often(writer, tmp_path, 150, LARGE, seed=1):
        if path != file:
            told, before, file = set(), set(), path
        told |= set(ids)
        assert told <= set(found)
        assert before <= set(found)
        assert len(set(found) - before - set(ids)) <= 1
        before = set(found)
        several += len(ids) > 1
        silent += not ids
    assert several >= 20, "many were killed among records"
    assert silent >= 20, "and many before the first"


def test_killed_50_times_while_records_are_dropped_the_file_stays_whole(writer, tmp_path):
    """Where records drop others, a kill leaves all of that or nothing: the newest is the last told, or newer."""
    path = tmp_path / "0" / "evidence.sqlite3"
    told, largest = set(writer.write_and_die(path, 0, SMALL, 0, records=60)), 0
    assert len(whole(path)) < 60, "the bound was reached"
    for path, ids, found in kill_often(writer, tmp_path, 50, SMALL, seed=2, each=50):
        told |= set(ids)
        if ids:
            assert found[0] == ids[-1] or found[0] not in told
        largest = max(largest, path.stat().st_size)
    assert largest <= SMALL + 64 * 1024
    with closing(EvidenceStore(path)) as store:
        assert store.dropped(), "refused ones, too"
