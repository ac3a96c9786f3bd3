"""The replay of real certificates over daily log lists: what changed is found, on its day, with its reason."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tools/replay.py"


@pytest.fixture
def replay(shared_data):
    """The script on the real data, or a part of it."""

    def replay(*arguments):
        command = [sys.executable, SCRIPT, shared_data, *arguments]
        return subprocess.run(
            command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False, timeout=100
        )

    return replay


def test_a_change_is_told_with_its_day_and_reason(replay):
    """A leaf of 2024 gains its second SCT's log in October 2023: refused before, allowed from that day."""
    done = replay("--certificates", "cloudflare-ech", "--lists", "2023-1", "--json")
    assert done.returncode == 0
    (change, facts) = map(json.loads, done.stdout.splitlines())
    assert (change["certificate"], change["day"]) == ("cloudflare-ech.com_2024-10-30_cf342b6b", "2023-10-03")
    assert (change["before"], change["after"], change["valid"]) == ("refused", "allowed", False)
    assert change["why"][:2] == ["ct.scts FAIL -> PASS", "ct.operators FAIL -> PASS"]
    assert change["why"][2].startswith("SCT 2 (")
    assert change["why"][2].endswith(" UNKNOWN_LOG -> VALID")
    assert (facts["certificates"], facts["changes"]) == (1, 1)
    assert facts["judgements"] == facts["lists"] > 50
    assert facts["judged_for_the_day"] == 0
    assert 0 < facts["allowed"] < facts["judgements"]


def test_within_its_validity_a_certificate_is_judged_for_the_day(replay):
    """The quad9 leaf of 2023 under the lists of its first month: its days are those judged for."""
    done = replay("--certificates", "quad9.net_2023", "--lists", "2023-08", "--json")
    facts = json.loads(done.stdout.splitlines()[-1])
    assert facts["judged_for_the_day"] == facts["judgements"] == facts["certificates"] * facts["lists"] > 0


def test_the_table_is_for_people(replay):
    """Certificate, day, from, to and why; the progress is on stderr, so that the table can be kept."""
    done = replay("--certificates", "cloudflare-ech", "--lists", "2023-10-0")
    assert done.returncode == 0
    assert "Days on which a verdict changed" in done.stdout
    assert "cloudflare-ech.com_2024-10-30_cf342b6b" in done.stdout
    assert "ct.operators FAIL -> PASS" in done.stdout
    assert "a time a third into it" in " ".join(done.stdout.split())
    assert "judging" in done.stderr
    assert "judging" not in done.stdout


def test_nothing_to_replay_is_no_error(replay):
    """No certificate or no list of that name: no change, said in figures."""
    done = replay("--certificates", "nobody", "--lists", "1999", "--json")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 1)
    assert json.loads(done.stdout)["judgements"] == 0
