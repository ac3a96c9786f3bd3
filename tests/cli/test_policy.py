"""`stubresolver policy show` and `lint`."""

import json
import tomllib
from pathlib import Path

import pytest

from stubresolver.config import read_shipped

SHIPPED = tomllib.loads(read_shipped("policy.toml").decode())


def values(outcome):
    return {each["key"]: (each["value"], each["source"]) for each in json.loads(outcome.out)["values"]}


def test_shipped_policy_is_shown_whole(run):
    """Without any file: every key of the shipped policy, each from there, and for all upstreams."""
    outcome = run("policy", "show", "--json")
    shown = values(outcome)
    assert outcome.status == 0
    for section, keys in SHIPPED.items():
        for key, value in keys.items():
            entries = (
                {f"{section}.{key}[{i}]": entry for i, entry in enumerate(value)} if isinstance(value, list) else {}
            )
            for path, expected in (entries or {f"{section}.{key}": value}).items():
                assert shown.pop(path) == (expected, "shipped")
    assert shown == {}
    facts = json.loads(outcome.out)
    assert (facts["file"], len(facts["upstreams"]), facts["mode"]) == (None, 8, "enforce")
    people = run("policy", "show").out
    assert "ct.minimum_scts  " in people
    assert "Fina RDC 2020: issued the twelve" in people
    assert "REPORT MODE" not in people


def test_each_value_names_its_line(run, tmp_path):
    """What a file says comes from FILE:LINE, entry by entry; the shipped deny-list stays below the file's own."""
    file = tmp_path / "mine.toml"
    file.write_text(
        '# mine\n[ct]\nminimum_scts = 3\n\n[issuers]\nallow = [\n    { name = "A", spki_sha256 = "'
        + "ab" * 32
        + '" },\n]\n'
        'deny = [{ reason = "no", spki_sha256 = "' + "cd" * 32 + '" }]\n'
    )
    shown = values(run("policy", "show", "--policy", file, "--json"))
    assert shown["ct.minimum_scts"] == (3, f"{file}:3")
    assert shown["ct.minimum_scts_long"] == (3, "shipped")
    assert shown["issuers.allow[0]"][1] == f"{file}:7"
    assert "issuers.allow[1]" not in shown
    assert shown["issuers.deny[0]"][1] == f"{file}:9"
    assert shown["issuers.deny[1]"] == (SHIPPED["issuers"]["deny"][0], "shipped")
    assert len([key for key in shown if key.startswith("issuers.deny")]) == 1 + len(SHIPPED["issuers"]["deny"])


def test_each_upstreams_policy_is_shown(run, files, tmp_path):
    """An upstream with a policy of its own is shown under that, `ct: off` and report mode in plain sight."""
    own = tmp_path / "corp.toml"
    own.write_text('[policy]\nmode = "report"\n[ct]\nrequired = false\n')
    files.config.write_text(
        'upstreams = ["tls://1.1.1.1", "tls://10.0.0.53#dns.corp.example"]\n[trust]\npolicy = "p.toml"\n'
        '[trust.upstreams]\n"tls://10.0.0.53#dns.corp.example" = "corp.toml"\n'
    )
    outcome = run("policy", "show", "--config", files.config, "--json")
    told = [json.loads(line) for line in outcome.out.splitlines()]
    assert [(each["file"], each["upstreams"], each["mode"]) for each in told] == [
        (str(files.policy), ["tls://1.1.1.1"], "enforce"),
        (str(own), ["tls://10.0.0.53#dns.corp.example"], "report"),
    ]
    people = run("policy", "show", "--config", files.config).out
    assert people.count("REPORT MODE: whatever fails is only told, nobody is refused") == 1
    assert "ct      off" in people
    assert "ct      demanded" in people


def test_broken_policy_is_not_shown(run, tmp_path):
    """A policy with an error is no policy: exit status 2, with file and key."""
    file = tmp_path / "mine.toml"
    file.write_text("[ct]\nminimum_sct = 3\n")
    outcome = run("policy", "show", "--policy", file)
    assert (outcome.status, outcome.out) == (2, "")
    assert f"{file}: ct.minimum_sct: " in outcome.err


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ("", 0, "no errors, no warnings"),
        ("[ct]\nminimum_operators = 1\n", 0, ":2: warning: ct.minimum_operators: "),
        ('[policy]\nmode = "report"\n', 0, ":2: warning: policy.mode: "),
        ("[ct]\n\nminimum_scts = 'two'\n", 2, ":3: error: ct.minimum_scts: "),
        ("[ct\n", 2, ":1: error: not TOML"),
        ('\n[anchors]\nsource = "nowhere.pem"\n', 2, ":3: error: anchors.source: "),
    ],
)
def test_lint_names_file_line_and_key(run, tmp_path, text, status, words):
    """Errors are exit status 2, warnings are not; each stands with file, line and key."""
    file = tmp_path / "mine.toml"
    file.write_text(text)
    outcome = run("policy", "lint", file)
    assert (outcome.status, outcome.err) == (status, "")
    assert f"{file}{words}" in outcome.out or (not text and words in outcome.out)
    for line in run("policy", "lint", file, "--json").out.splitlines():
        problem = json.loads(line)
        assert problem["severity"] == ("error" if status else "warning")
        assert problem["remedy"]


def test_lint_of_no_file_is_status_2(run):
    """A file that cannot be read is told as that."""
    outcome = run("policy", "lint", "/nowhere.toml")
    assert (outcome.status, outcome.out) == (2, "")
    assert "/nowhere.toml: cannot be read" in outcome.err


def test_documented_policy_has_no_complaints(run):
    """The shipped policy, as the copy in conf/ shows it, passes its own examination."""
    outcome = run("policy", "lint", Path(__file__).resolve().parents[2] / "conf" / "policy.toml")
    assert (outcome.status, outcome.out.endswith("no errors, no warnings\n")) == (0, True)


@pytest.mark.parametrize("command", ["show", "lint", "deny", "allow"])
def test_each_part_has_help(run, command):
    """Each part explains itself and its exit status."""
    outcome = run("policy", command, "--help")
    assert (outcome.status, "xit status" in outcome.out) == (0, True)
