"""Evidence on file systems that are really full, really read-only, or not ours to write: in a mount namespace."""

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("on_a_disk.py")
# As any user where users may have namespaces of their own; as root where they may not (a chroot, some containers).
WAYS = (("unshare", "--user", "--map-root-user", "--mount"), ("unshare", "--mount"))


@functools.cache
def way_to_mount():
    """The command that gives the command behind it mounts of its own; None where the system lets us have none."""
    if shutil.which("unshare") is None:
        return None
    for way in WAYS:
        command = [*way, "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/mnt"]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return way
    return None


@pytest.fixture(scope="module")
def told():
    """What each trial found on its disk, by the trial's name."""
    way = way_to_mount()
    if way is None:
        pytest.skip("needs unshare(1) and a system that lets us mount a tmpfs of our own")
    done = subprocess.run(
        [*way, sys.executable, SCRIPT],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(map(json.loads, done.stdout.splitlines()))


@pytest.mark.parametrize("trial", ["full at the start", "full in the middle"])
def test_full_disk(told, trial):
    """ENOSPC, wherever SQLite meets it: the judgement waits in memory and is written when there is room."""
    found = told[trial]
    assert found["problem"].endswith(("database or disk is full", "No space left on device", "disk I/O error")), found
    assert (found["unrecorded"], found["after"], found["records"]) == (1, "", found["expected"])
    assert found["aside"] == []


@pytest.mark.parametrize("trial", ["read-only at the start", "read-only in the middle"])
def test_read_only(told, trial):
    """EROFS: what was kept is recalled all the same, and what could not be kept is kept once it can be written."""
    found = told[trial]
    assert "readonly" in found["problem"] or "unable to open" in found["problem"], found
    assert (found["unrecorded"], found["after"], found["records"]) == (1, "", found["expected"])
    assert found["passed"], "the leaf is known from the file"
    assert found["aside"] == []


def test_read_only_without_a_file(told):
    """A folder in which nothing can be made is memory."""
    found = told["read-only and empty"]
    assert found["problem"].endswith("cannot keep evidence here: Read-only file system"), found
    assert (found["unrecorded"], found["after"], found["records"]) == (1, "", 1)


def test_damaged_and_full(told):
    """A damaged file on a full disk is put aside if that is possible, and lost in no case."""
    found = told["damaged and full"]
    assert found["kept_octets"], "the damaged octets are there, under one name or the other"
    assert (found["after"], found["records"]) == ("", 1)
