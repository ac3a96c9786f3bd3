"""The history of merges: a slice of it, with figures that can be read off the lists themselves."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tools/merge_history.py"


@pytest.fixture(scope="module")
def history(shared_data):
    """The script on a part of the real lists."""

    def history(*arguments):
        command = [sys.executable, SCRIPT, shared_data, *arguments]
        return subprocess.run(
            command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False, timeout=100
        )

    return history


@pytest.fixture(scope="module")
def stories(history):
    """September 2023, the second source a week behind: sixteen logs were added in that month."""
    done = history("--lists", "2023-09", "--lag", "7", "--json")
    assert done.returncode == 0, done.stderr
    return {story["setting"]: story for story in map(json.loads, done.stdout.splitlines())}


def test_a_signed_list_is_followed(stories):
    """Its key vouches: every log is added on its day, and no verdict differs from the published list's."""
    story = stories["signed"]
    assert (story["logs"]["start"], story["logs"]["end"]) == (19, 35)
    assert story["changes"]["added"] == 16
    assert story["withheld"] == story["days_of_45"] == sum(story["differ"].values()) == 0
    assert story["judgements"] == 55 * (story["lists"] - 1)
    assert story["dated"] == "2023-09-29"


def test_a_source_alone_adds_nothing(stories):
    """No quorum: the sixteen logs are withheld, and so is a younger date."""
    story = stories["alone"]
    assert story["logs"]["end"] == story["logs"]["start"] == 19
    assert (story["withheld_logs"], "added" in story["changes"], "timestamp" in story["changes"]) == (16, False, False)
    assert set(story["differ"]) == {"refused instead of allowed"}


def test_a_second_source_adds_with_its_lag(stories):
    """What one source listed a week ago the other has now, and the list's date is the older one's."""
    story = stories["two"]
    assert 0 < story["changes"]["added"] <= 16
    assert story["dated"] < "2023-09-23"
    assert story["withheld"] < stories["alone"]["withheld"]
    assert set(story["differ"]) <= {"refused instead of allowed"}


def test_the_tables_are_for_people(history):
    """Two tables on stdout, the progress on stderr."""
    done = history("--lists", "2023-09-2", "--settings", "two", "--quorum", "1")
    assert done.returncode == 0
    assert "logs not added for want of a quorum" in done.stdout
    assert "2023q3" in done.stdout
    assert "two" in done.stderr


def test_no_list_of_that_name_is_a_mistake(history):
    """Nothing to merge is no result."""
    assert history("--lists", "1999").returncode == 2
