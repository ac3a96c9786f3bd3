"""A damaged file gets another name with all that belongs to it; nothing is deleted, nothing written over."""

import contextlib
import grp
import os
import pwd
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime

import pytest

from stubresolver.errors import EvidenceDamaged, EvidenceError, EvidenceUnfit
from stubresolver.evidence.files import HeldFile, fault, file_identity, make_file, put_aside, set_aside, why

NOW = datetime(2026, 11, 2, 12, 34, 56, tzinfo=UTC)
STAMP = "20261102T123456Z"


@pytest.fixture
def damaged(tmp_path):
    """A file and which one it is."""
    path = tmp_path / "evidence.sqlite3"
    make_file(path)
    path.write_bytes(b"damaged")
    return path


def test_what_lies_beside_it_goes_with_it(damaged):
    """A journal would be played back into the new file; a reader of the old one may need it."""
    for end in ("-journal", "-wal", "-shm"):
        damaged.with_name(damaged.name + end).write_bytes(end.encode())
    aside = put_aside(damaged, file_identity(damaged), NOW)
    assert aside.name == f"evidence.sqlite3.corrupt-{STAMP}"
    found = {file.name: file.read_bytes() for file in damaged.parent.iterdir()}
    assert found == {aside.name: b"damaged"} | {
        f"{aside.name}{end}": end.encode() for end in ("-journal", "-wal", "-shm")
    }
    assert set_aside(damaged) == (str(aside),)


def test_two_of_one_second_have_two_names(damaged):
    """The second does not take the first one's place."""
    first = put_aside(damaged, file_identity(damaged), NOW)
    make_file(damaged)
    second = put_aside(damaged, file_identity(damaged), NOW)
    assert (first.read_bytes(), second.read_bytes()) == (b"damaged", b"")
    assert set_aside(damaged) == (str(first), str(second))


def test_another_file_by_then_is_left_alone(damaged):
    """Somebody else was faster: what lies there now is not what was found damaged."""
    identity = file_identity(damaged)
    damaged.rename(damaged.with_name("taken"))
    damaged.write_bytes(b"new")
    assert put_aside(damaged, identity, NOW) is None
    assert damaged.read_bytes() == b"new"
    damaged.unlink()
    assert put_aside(damaged, identity, NOW) is None


def test_a_file_in_use_stays(damaged):
    """Its journal is not taken from somebody who is in the middle of a transaction."""
    damaged.unlink()
    make_file(damaged)
    script = (
        "import sqlite3, sys\n"
        "database = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "database.execute('BEGIN IMMEDIATE')\n"
        "print('locked', flush=True)\n"
        "sys.stdin.readline()\n"
    )
    command = [sys.executable, "-c", script, str(damaged)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(EvidenceError, match="damaged, and in use by another process"):
            put_aside(damaged, file_identity(damaged), NOW)
        other.communicate("\n")
    assert put_aside(damaged, file_identity(damaged), NOW) is not None


def test_what_cannot_be_moved_keeps_its_name(damaged, monkeypatch):
    """And no empty file is left of the attempt."""

    def no(*_):
        raise OSError(28, "No space left on device")

    identity = file_identity(damaged)
    monkeypatch.setattr("pathlib.Path.rename", no)
    with pytest.raises(EvidenceError, match="damaged, and stays where it is: No space left on device"):
        put_aside(damaged, identity, NOW)
    assert [file.name for file in damaged.parent.iterdir()] == [damaged.name]


def test_only_files_that_we_make_are_moved(damaged):
    """Who may be read by others, or is a link, was made by somebody else."""
    identity = file_identity(damaged)
    damaged.chmod(0o640)
    with pytest.raises(EvidenceError, match="expected a plain file of our own with mode 0600"):
        put_aside(damaged, identity, NOW)
    damaged.chmod(0o600)
    target = damaged.rename(damaged.with_name("target"))
    damaged.symlink_to(target)
    with pytest.raises(EvidenceError, match="it is a link"):
        put_aside(damaged, identity, NOW)
    assert target.read_bytes() == b"damaged"


def test_faults_have_a_kind_and_words(tmp_path):
    """What SQLite and Python say is told apart by what it means for the file."""

    def raised(statement, *values, text=bytes):
        with closing(sqlite3.connect(tmp_path / "x")) as database:
            database.text_factory = text
            try:
                database.execute(statement, values).fetchall()
            except (sqlite3.Error, UnicodeError) as error:
                return error
        raise AssertionError(statement)

    (tmp_path / "x").write_bytes(b"letters " * 100)
    assert fault(raised("SELECT * FROM sqlite_master")) is EvidenceDamaged
    (tmp_path / "x").unlink()
    assert fault(raised("SELECT CAST(x'ff' AS TEXT)", text=str)) is EvidenceDamaged
    assert fault(raised("SELECT ?", "\ud800")) is EvidenceUnfit
    assert fault(raised("SELECT * FROM nothing")) is EvidenceError
    assert fault(EvidenceUnfit("x")) is EvidenceUnfit
    assert (why(MemoryError()), why(OSError(28, "No space")), why(ValueError("x"))) == (
        "not enough memory",
        "No space",
        "x",
    )


def test_a_file_that_is_used_is_not_moved_and_one_that_was_moved_is_not_used(damaged):
    """Else the journal of the new file would be played back into the old one, by whoever has that open."""
    held = HeldFile(damaged)
    with held.used(), pytest.raises(EvidenceError, match="in use by another process"):
        put_aside(damaged, held.identity, NOW)
    assert put_aside(damaged, held.identity, NOW) is not None
    make_file(damaged)
    with pytest.raises(EvidenceError, match="another file took its place"), held.used():
        raise AssertionError
    held.close()
    held.close()
    with pytest.raises(EvidenceError, match="closed"), held.used():
        raise AssertionError


@pytest.mark.parametrize("mode", [0o606, 0o660, 0o622])
def test_what_others_may_write_is_no_evidence(damaged, mode):
    """It would say which certificates were seen before, and when."""
    damaged.chmod(mode)
    with pytest.raises(EvidenceError, match=f"others may write it .mode {mode:04o}., expected 0600"):
        make_file(damaged)
    damaged.chmod(0o644)
    make_file(damaged)


@pytest.mark.parametrize("mode", [0o1777, 0o775, 0o702])
def test_no_evidence_where_others_can_put_a_journal_beside_it(damaged, mode, monkeypatch):
    """SQLite plays a journal that it finds into the database: whoever may put one there writes in it, root's too."""
    monkeypatch.setattr(grp, "getgrgid", lambda _gid: grp.struct_group(("staff", "x", os.getegid(), [])))
    damaged.parent.chmod(mode)
    refusal = f"others can put files into {damaged.parent} .mode {mode:04o}.: chmod go-w"
    with pytest.raises(EvidenceError, match=refusal):
        make_file(damaged)
    damaged.unlink()
    with pytest.raises(EvidenceError, match=refusal):
        make_file(damaged)
    assert not damaged.exists()


def test_folder_of_a_private_group_is_ones_own(damaged, monkeypatch):
    """A umask of 002 makes folders that the group may write, where each user has a group of his own; only there."""
    damaged.parent.chmod(0o775)
    owner = pwd.struct_passwd(("ada", "x", os.geteuid(), os.getegid(), "", "/", "/"))
    monkeypatch.setattr(pwd, "getpwuid", lambda _uid: owner)
    for name, members, fine in (("ada", [], True), ("ada", ["eve"], False), ("users", [], False)):
        group = grp.struct_group((name, "x", os.getegid(), members))
        monkeypatch.setattr(grp, "getgrgid", lambda _gid, group=group: group)
        with contextlib.nullcontext() if fine else pytest.raises(EvidenceError, match="others can put files"):
            make_file(damaged)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files away")
def test_what_belongs_to_somebody_else_is_no_evidence(damaged):
    """Who may put files into the folder puts none in our way; the service's own folder may be looked into by root."""
    os.chown(damaged, 54321, 54321)
    with pytest.raises(EvidenceError, match="it belongs to user 54321, expected 0"):
        make_file(damaged)
    os.chown(damaged.parent, 54321, 54321)
    make_file(damaged)
