"""The pinned list is what its script writes from the compiled facts, and the script refuses facts that contradict."""

import base64
import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest

from stubresolver.ct import DENIED_LOGS, LogKind, LogList

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tools/make_log_list.py"


@pytest.fixture(scope="module")
def facts_file(shared_data):
    return shared_data / "ct-logs.json"


@pytest.fixture(scope="module")
def facts(facts_file):
    return json.loads(facts_file.read_bytes())


def run(facts_file):
    """The script's --check, which writes nothing."""
    command = [sys.executable, SCRIPT, facts_file, "--check"]
    return subprocess.run(
        command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False, timeout=60
    )


def test_the_shipped_list_is_up_to_date(facts_file):
    """CI writes it anew and compares: neither the list nor the note of its origin was edited by hand."""
    done = run(facts_file)
    assert (done.returncode, done.stdout) == (0, "up to date\n")


def test_the_shipped_list_says_what_the_facts_say(facts):
    """Each fact, log by log, read back through the product's own parser; nothing more and nothing less."""
    found = LogList.parse((ROOT / "stubresolver/data/log_list.json").read_bytes()).logs
    assert set(found) == {base64.b64decode(row["log_id"]) for row in facts["logs"]}
    for row in facts["logs"]:
        log = found[base64.b64decode(row["log_id"])]
        kind = LogKind.STATIC_CT if row["kind"] == "static-ct-api" else LogKind.RFC6962
        assert (log.operator, log.description, log.state, log.kind) == (
            row["operator"], row["description"], row["state"], kind,
        )  # fmt: skip
        assert (log.interval is None) is (not row.get("temporal_interval"))
        if log.interval is not None:
            span = (f"{log.interval.start:%Y-%m-%dT%H:%M:%SZ}", f"{log.interval.end:%Y-%m-%dT%H:%M:%SZ}")
            assert span == (row["temporal_interval"]["start_inclusive"], row["temporal_interval"]["end_exclusive"])


def test_the_denied_set_is_that_of_the_facts(facts):
    """The compiled-in set and the compiled facts name the same logs for the same reasons."""
    assert {base64.b64decode(row["log_id"]): row["why"] for row in facts["deny"]} == DENIED_LOGS


def test_changed_facts_are_noticed(facts, tmp_path):
    """--check fails where the facts say something else, and names the files."""
    changed = copy.deepcopy(facts)
    changed["logs"][0]["state"] = "readonly"
    (tmp_path / "facts.json").write_text(json.dumps(changed))
    done = run(tmp_path / "facts.json")
    assert done.returncode == 1
    assert "differs: log_list.json, log_list.origin.md" in done.stdout


def test_a_key_that_is_not_its_id_is_refused(facts, tmp_path):
    """Facts that contradict themselves do not become a list."""
    changed = copy.deepcopy(facts)
    changed["logs"][0]["key"] = changed["logs"][1]["key"]
    (tmp_path / "facts.json").write_text(json.dumps(changed))
    done = run(tmp_path / "facts.json")
    assert done.returncode == 1
    assert "log_id is not the SHA-256 of the key" in done.stderr


def test_a_denied_log_among_the_facts_is_refused(facts, tmp_path):
    """The list that is written must load, deny set and all."""
    changed = copy.deepcopy(facts)
    changed["logs"][0]["log_id"] = facts["deny"][0]["log_id"]
    (tmp_path / "facts.json").write_text(json.dumps(changed))
    assert run(tmp_path / "facts.json").returncode == 1
