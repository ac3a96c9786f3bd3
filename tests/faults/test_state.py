"""Rows "disk full, read-only state, evidence database locked or corrupt" and "memory, descriptors, threads short"."""

import sqlite3
from pathlib import Path

import pytest

from tests.faults.lab import Lab

DAMAGES = {
    "no database": lambda file: file.write_bytes(b"no database at all\n" * 500),
    "torn": lambda file: file.write_bytes(file.read_bytes()[:4096] + b"\xff" * (file.stat().st_size - 4096)),
    "empty": lambda file: file.write_bytes(b""),
}


@pytest.mark.parametrize("how", DAMAGES)
def test_damaged_evidence(lab: Lab, how: str) -> None:
    """The service goes on; the damaged file lies beside the new one, octet for octet."""
    lab.open()
    lab.start()
    lab.settle()
    lab.stop()
    file = lab.folder / "evidence.sqlite3"
    DAMAGES[how](file)
    damaged = file.read_bytes()
    lab.start()
    lab.settle()
    kept = [each.read_bytes() for each in lab.folder.glob("evidence.sqlite3*")]
    if damaged:
        assert damaged in kept, list(lab.folder.iterdir())
    lab.wait(lambda: _records(file) > 0, "a record in a file of its own", 10)


def test_locked_evidence(lab: Lab) -> None:
    """Another process holds the database all the time: first answers come, and the service says what it cannot keep."""
    lab.open()
    lab.start()
    lab.settle()
    lab.stop()
    for each in lab.folder.glob("evidence.sqlite3*"):
        each.unlink()
    with sqlite3.connect(lab.folder / "evidence.sqlite3", isolation_level=None) as other:
        other.execute("CREATE TABLE held (x)")
        other.execute("BEGIN EXCLUSIVE")
        lab.start()
        lab.settle()
        assert all(reply.right for reply in lab.ask_many(20))
        lab.wait(lambda: "evidence" in lab.log.lower(), "a word about it in the log", 5)
    other.close()


FOLDERS = {
    # what is done to the state folder, in a mount namespace of the service's own
    "full": "mount -t tmpfs -o size=64k,mode=0700 none {state} && "
    "head -c 100k /dev/zero > {state}/filler 2>/dev/null || true",
    "read-only": "mount -t tmpfs -o ro,mode=0700 none {state}",
}


@pytest.mark.parametrize("how", FOLDERS)
def test_useless_folder(lab: Lab, how: str) -> None:
    """The service goes on and says what it cannot keep."""
    lab.open()
    state = lab.folder / "state"
    state.mkdir()
    script = FOLDERS[how].format(state=state)
    lab.start(
        wrap=("unshare", "--mount", "sh", "-ec", f'{script}; exec "$@"', "sh"),
        evidence="state/evidence.sqlite3",
    )
    lab.settle()
    assert all(reply.right for reply in lab.ask_many(20))
    lab.wait(lambda: "evidence" in lab.log.lower(), "a word about it in the log", 5)


@pytest.mark.parametrize("descriptors", [80, 100])
def test_few_descriptors(lab: Lab, descriptors: int) -> None:
    """Sixty TCP clients where there is room for few: UDP is answered all along, and so is TCP afterwards."""
    lab.open()
    lab.start(wrap=("prlimit", f"--nofile={descriptors}"))
    lab.settle()
    waiting = [lab.ask_soon(via="tcp") for _ in range(60)]
    assert all(reply.right for reply in lab.ask_many(20))
    assert any(each().right for each in waiting)
    assert lab.ask().right
    assert lab.ask(via="tcp").right


def test_too_few_descriptors(lab: Lab) -> None:
    """Where it cannot even begin, it says why in a line and ends; no traceback."""
    lab.start(wrap=("prlimit", "--nofile=6"), wait=False)
    service, lab.service = lab.service, None
    assert service is not None
    lab.wait(lambda: not service.alive, "its end", 30)
    assert service.process.returncode not in {0, None}
    assert "Traceback" not in service.log
    assert "files and sockets" in service.log, service.log
    assert "LimitNOFILE" in service.log, service.log  # what to do
    service.end()


def test_little_memory(lab: Lab) -> None:
    """With 160 MiB of address space left for all that comes, a thousand names and large answers are answered."""
    lab.open()
    lab.start(wrap=("prlimit", "--as=700000000"))
    lab.settle()
    replies = [reply for _ in range(10) for reply in lab.ask_many(100)]
    assert all(reply.right or reply.status == "SERVFAIL" for reply in replies)
    assert lab.ask().right


def _records(file: Path) -> int:
    try:
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as database:
            tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return sum(database.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0] for table in tables)  # noqa: S608
    except sqlite3.Error:
        return 0
    finally:
        database.close()
