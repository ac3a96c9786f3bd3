"""pinned: the list in force as a file, whole at every instant; the one before is kept."""

import fcntl
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stubresolver import pinned
from stubresolver.errors import BadInput
from stubresolver.pinned import install, read_installed, read_previous

WRITER = Path(__file__).with_name("killed_writer.py")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lists" / "log_list.json"


@pytest.fixture
def installed(path: Path) -> Path:
    """A list that is in force already."""
    install(path, b"first", b"shipped")
    return path


@pytest.fixture
def tight_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def names(path: Path) -> set[str]:
    return {each.name for each in path.parent.iterdir()}


def test_the_first_list_keeps_the_shipped_one(path, tight_umask) -> None:
    """Where no file was in force, what the caller says was in force is the previous list; everybody may read both."""
    install(path, b"first", b"shipped")
    assert read_installed(path) == b"first"
    assert read_previous(path) == b"shipped"
    assert names(path) == {"log_list.json", "log_list.json.previous", ".log_list.json.lock"}
    for file in (path, path.with_name("log_list.json.previous")):
        assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755


def test_the_list_before_is_kept(installed) -> None:
    """One list back, and no further."""
    install(installed, b"second", b"first")
    assert (read_installed(installed), read_previous(installed)) == (b"second", b"first")


def test_going_back_and_forth_loses_nothing(installed) -> None:
    """A rollback is the previous list put in force; what was in force is the previous one then."""
    install(installed, read_previous(installed), b"first")
    assert (read_installed(installed), read_previous(installed)) == (b"shipped", b"first")
    install(installed, read_previous(installed), b"shipped")
    assert (read_installed(installed), read_previous(installed)) == (b"first", b"shipped")


def test_a_list_that_somebody_else_changed_is_not_overwritten(installed) -> None:
    """What was merged with another list than the one in force is not put in its place."""
    with pytest.raises(BadInput, match="changed by somebody else meanwhile; nothing was written"):
        install(installed, b"second", b"something else")
    assert (read_installed(installed), read_previous(installed)) == (b"first", b"shipped")


def test_two_writers_do_not_mix(installed) -> None:
    """While one writes, another is told and changes nothing."""
    with installed.with_name(".log_list.json.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BadInput, match="just being written by another process"):
            install(installed, b"second", b"first")
    assert (read_installed(installed), read_previous(installed)) == (b"first", b"shipped")
    install(installed, b"second", b"first")


def test_nothing_was_there_before(path) -> None:
    """Without a file there is nothing in force here and nothing to go back to."""
    assert read_installed(path) is None
    with pytest.raises(BadInput, match="no list was in force before"):
        read_previous(path)


@pytest.mark.parametrize("name", ["log_list.json", ".log_list.json.lock"])
def test_a_symbolic_link_is_not_followed(installed, tmp_path, name) -> None:
    """Under a name that is a link, nobody else's file is read or written."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"first")
    link = installed.with_name(name)
    link.unlink()
    link.symlink_to(victim)
    with pytest.raises(BadInput, match="a symbolic link, which is not followed"):
        install(installed, b"second", b"first")
    assert victim.read_bytes() == b"first"


@pytest.mark.parametrize("name", [".log_list.json.new", ".log_list.json.previous.new", "log_list.json.previous"])
def test_a_link_in_the_place_of_a_name_that_is_written_is_replaced(installed, tmp_path, name) -> None:
    """A link that waits for us under a name that we write goes; what it leads to stays as it is."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    link = installed.with_name(name)
    link.unlink(missing_ok=True)
    link.symlink_to(victim)
    install(installed, b"second", b"first")
    assert victim.read_bytes() == b"precious"
    assert (read_installed(installed), read_previous(installed)) == (b"second", b"first")


@pytest.mark.parametrize("kind", ["fifo", "folder"])
def test_what_is_no_regular_file_is_refused(installed, kind) -> None:
    """A FIFO is not waited for, a folder is not read."""
    installed.unlink()
    if kind == "fifo":
        os.mkfifo(installed)
    else:
        installed.mkdir()
    for use in (lambda: read_installed(installed), lambda: install(installed, b"second", b"first")):
        with pytest.raises(BadInput, match="not a regular file"):
            use()


def test_a_file_without_end_is_not_read(installed, monkeypatch) -> None:
    """What is larger than any list is refused before it is held."""
    monkeypatch.setattr(pinned, "MAXIMUM_OCTETS", 4)
    with pytest.raises(BadInput, match="more than 4 octets, which no log list has"):
        read_installed(installed)


@pytest.mark.parametrize("room", [0, 5, 8], ids=["none", "for the previous list", "for a part of the new one"])
def test_a_disk_that_is_full_changes_nothing(installed, monkeypatch, room) -> None:
    """A write that fails leaves the old list and the one before it, and nothing half written beside them."""
    left, write = [room], os.write

    def full(descriptor: int, octets: bytes) -> int:
        written = write(descriptor, octets[: left[0]])
        left[0] -= written
        if not written:
            raise OSError(28, "No space left on device")
        return written

    monkeypatch.setattr("os.write", full)
    with pytest.raises(BadInput, match="cannot be written: No space left on device"):
        install(installed, b"second", b"first")
    monkeypatch.undo()
    assert (read_installed(installed), read_previous(installed)) == (b"first", b"shipped")
    assert not any(name.endswith(".new") for name in names(installed))


def test_a_folder_that_cannot_be_made_is_told(tmp_path) -> None:
    """The error names the file and the reason."""
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "log_list.json", tmp_path / "absent" / "absent" / "log_list.json"):
        with pytest.raises(BadInput, match=f"{path}: cannot be written: (Not a directory|No such file)"):
            install(path, b"a", b"b")


def test_a_writer_killed_at_any_step_leaves_a_whole_list(tmp_path) -> None:
    """Before each system call of a writer, SIGKILL: old or new, whole; the next writer clears what was left."""
    rounds = killed(tmp_path, "steps")
    seen = set()
    for each in rounds:
        left, after = each["left"], each["after"]
        if each["installed"]:
            assert left["log_list.json"] in {"old", "new"}, each
            assert left["log_list.json.previous"] in {"older", "old"}, each
            if left["log_list.json"] == "new":
                assert left["log_list.json.previous"] == "old", each
        else:
            assert left.get("log_list.json", "new") == "new", each
            assert left.get("log_list.json.previous", "old") == "old", each
        assert set(after) == {"log_list.json", "log_list.json.previous", ".log_list.json.lock"}, each
        assert after["log_list.json"] == "new", each
        seen.add((left.get("log_list.json"), ".log_list.json.new" in left and left[".log_list.json.new"]))
    assert sum(each["killed"] for each in rounds) > 30
    assert {("old", False), ("old", "empty"), ("old", "a part"), ("old", "new"), ("new", False)} <= seen


def test_a_writer_killed_at_any_time_leaves_a_whole_list(tmp_path) -> None:
    """SIGKILL at any moment, many times over: one of the two lists, whole, and one that was before it."""
    rounds = killed(tmp_path, "random")
    assert len(rounds) == 40
    for now, before in rounds:
        assert now in {"old", "new"}
        assert before in {"older", "old", "new"}
    assert {now for now, _ in rounds} == {"old", "new"}


def killed(folder: Path, how: str) -> list[Any]:
    """What the killed writers left, round by round."""
    environment = {**os.environ, "PYTHONPATH": str(WRITER.parent.parent)}
    command = [sys.executable, WRITER, folder, how]
    told = subprocess.run(command, capture_output=True, check=True, text=True, env=environment)
    return [json.loads(line) for line in told.stdout.splitlines()]
