"""`stubresolver explain`: the same verdict again, or what differs."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from stubresolver.cli.explain import differences
from stubresolver.cli.shown import kept_verdict
from stubresolver.exported import Exported
from stubresolver.verify import Mode, Outcome, TlsFacts

UPSTREAM = "tls://127.0.0.1#dns.lab"


def exported(run, identity, tmp_path):
    file = tmp_path / "exported.json"
    assert run("evidence", "export", identity, "-o", file, "--force").status == 0
    return file


def test_record_is_reproduced(run, kept):
    """A record judged again by its own time, policy and list: the same octets, whether allowed or refused."""
    for name, word in (("honest", "ALLOWED"), ("finish", "REFUSED"), ("unlogged", "REFUSED")):
        outcome = run("explain", kept[name][:10])
        assert outcome.status == 0
        assert word in outcome.out
        assert outcome.out.endswith("reproduced, octet for octet\n")


def test_exported_file_is_reproduced_elsewhere(run, kept, tmp_path):
    """In another process, with another hash seed, another folder, no evidence and no configuration."""
    file = exported(run, kept["finish"], tmp_path)
    told = []
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "STATE_DIRECTORY": str(tmp_path / "elsewhere")}
        command = [sys.executable, "-m", "stubresolver", "explain", str(file), "--json"]
        folder = Path.cwd() if seed == "1" else tmp_path
        environment["PYTHONPATH"] = str(Path.cwd())
        ended = subprocess.run(command, capture_output=True, cwd=folder, env=environment, check=True, timeout=60)
        told.append(json.loads(ended.stdout))
    assert told[0] == told[1]
    assert (told[0]["reproduced"], told[0]["differences"], told[0]["upstream"]) == (True, [], UPSTREAM)
    assert told[0]["kept"] == told[0]["judged"]


def test_verdict_that_does_not_reproduce_is_said_so(run, kept, tmp_path):
    """A verdict that was turned round, its digests too: exit status 1, and the rule that differs is named."""
    file = exported(run, kept["finish"], tmp_path)
    honest = Exported.read(file.read_bytes())
    verdict = json.loads(honest.verdict)
    for finding in verdict["findings"]:
        if finding["rule"] == "issuer.allowed":
            finding |= {"outcome": "PASS", "detail": "Lab is on the allow-list"}
    verdict["allowed"] = True
    forged = replace(honest, verdict=json.dumps(verdict, sort_keys=True, separators=(",", ":")).encode())
    file.write_bytes(forged.write())
    outcome = run("explain", file)
    assert outcome.status == 1
    assert outcome.out.endswith("NOT REPRODUCED\n")
    facts = json.loads(run("explain", file, "--json").out)
    assert facts["reproduced"] is False
    assert [each["what"] for each in facts["differences"]] == ["verdict", "issuer.allowed"]
    assert facts["differences"][1]["before"] == "PASS Lab is on the allow-list"


def test_kept_verdict_that_contradicts_itself_is_told(run, kept, tmp_path):
    """Only "allowed" turned round, its findings left: not reproduced, and said why."""
    file = exported(run, kept["finish"], tmp_path)
    honest = Exported.read(file.read_bytes())
    forged = replace(honest, verdict=honest.verdict.replace(b'"allowed":false', b'"allowed":true'))
    file.write_bytes(forged.write())
    outcome = run("explain", file, "--json")
    facts = json.loads(outcome.out)
    assert (outcome.status, facts["kept"]["allowed"], facts["judged"]["allowed"]) == (1, True, False)
    assert [each["what"] for each in facts["differences"]] == ["kept verdict"]


def test_forged_file_cannot_steer_a_terminal(run, kept, tmp_path):
    """Control characters and markup in what somebody else wrote, wherever they stand, are shown as what they are."""
    evil = "\x1b]0;pwned\x07\u202e\x9b2J[bold]"
    file = exported(run, kept["finish"], tmp_path)
    honest = Exported.read(file.read_bytes())
    verdict = json.loads(honest.verdict)
    verdict["findings"][0] |= {"detail": evil, "subject": evil}
    verdict["path"][0] |= {"subject": evil, "not_after": evil}
    verdict["scts"][0] |= {"log": evil, "operator": evil, "timestamp": evil}
    tls = TlsFacts(evil, evil, evil, None, None)
    verdict_octets = json.dumps(verdict, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    presented = replace(honest.presented, tls=tls, name=evil)
    for forged in (
        replace(honest, upstream=evil, presented=presented, verdict=verdict_octets),
        replace(honest, verdict=json.dumps(verdict | {"policy": evil}, sort_keys=True).encode()),
        replace(honest, verdict=json.dumps(verdict | {"mode": evil}, sort_keys=True).encode()),
    ):
        file.write_bytes(forged.write())
        for options in ((), ("--json",)):
            outcome = run("explain", file, *options)
            assert outcome.status in {1, 2}
            told = outcome.out + outcome.err
            assert told
            assert not set(told) & set("\x1b\x07\x9b\u202e")
    file.write_bytes(replace(honest, upstream=evil, presented=presented, verdict=verdict_octets).write())
    assert "[bold]" in run("explain", file).out


def test_other_demands_are_shown_rule_by_rule(run, kept, files, tmp_path):
    """By another policy, at its own time: what differs and nothing else; the status says whether it is allowed."""
    strict = tmp_path / "strict.toml"
    strict.write_text(files.policy.read_text() + "[ct]\nminimum_scts = 3\nminimum_scts_long = 3\n")
    outcome = run("explain", kept["honest"], "--policy", strict, "--json")
    facts = json.loads(outcome.out)
    assert (outcome.status, facts["reproduced"]) == (1, None)
    assert [each["what"] for each in facts["differences"]] == ["verdict", "ct.scts", "policy"]
    assert facts["kept"]["at"] == facts["judged"]["at"]
    assert run("explain", kept["honest"], "--policy", files.policy).status == 0


def test_now_judges_by_what_is_in_force(run, kept, files):
    """--now: this time, the configured policy and list; here only the time and the list's age have changed."""
    outcome = run("explain", kept["honest"], "--now", "--config", files.config, "--json")
    differing = {each["what"] for each in json.loads(outcome.out)["differences"]}
    assert (outcome.status, differing - {"ct.list-age"}) == (0, {"time"})
    shipped = run("explain", kept["honest"], "--now")
    assert shipped.status == 1
    assert "issued by CN=Lab CA Root" in shipped.out


def test_other_log_list_is_shown_sct_by_sct(run, kept, files, tmp_path):
    """By another list: each SCT with what it was and what it is."""
    document = json.loads(files.log_list.read_text())
    document["operators"] = [each for each in document["operators"] if each["name"] != "Birch"]
    other = tmp_path / "other.json"
    other.write_text(json.dumps(document))
    outcome = run("explain", kept["honest"], "--log-list", other, "--json")
    told = {each["what"]: each for each in json.loads(outcome.out)["differences"]}
    assert outcome.status == 1
    assert (told["SCT 2"]["before"], told["SCT 2"]["after"][:11]) == ("VALID Birch 1 (Birch)", "UNKNOWN_LOG")
    assert {"verdict", "ct.scts", "ct.operators", "log list"} < set(told)
    assert "What differs" in run("explain", kept["honest"], "--log-list", other).out


def test_every_field_of_a_verdict_is_compared(run, kept, tmp_path):
    """Whatever differs between two verdicts is told: none looks the same that is not."""
    verdict = kept_verdict(Exported.read(exported(run, kept["honest"], tmp_path).read_bytes()))
    first = verdict.findings[0]
    for changed in (
        replace(verdict, at=verdict.at.replace(year=2030)),
        replace(verdict, findings=verdict.findings[1:]),
        replace(verdict, findings=(replace(first, outcome=Outcome.NOTE), *verdict.findings[1:])),
        replace(verdict, findings=(replace(first, subject="somebody else"), *verdict.findings[1:])),
        replace(verdict, scts=verdict.scts[1:]),
        replace(verdict, scts=(replace(verdict.scts[0], timestamp="2030-01-01"), *verdict.scts[1:])),
        replace(verdict, path=verdict.path[1:]),
        replace(verdict, path=(replace(verdict.path[0], not_after="2030-01-01"), *verdict.path[1:])),
        replace(verdict, demanded=frozenset()),
        replace(verdict, policy="0" * 64),
        replace(verdict, log_list=None),
        replace(verdict, mode=Mode.REPORT),
    ):
        assert differences(verdict, changed)
        assert changed != verdict
    assert differences(verdict, verdict) == []


def test_bad_input_is_status_2(run, kept, tmp_path):
    """A file that is none, one that was changed, an id that is not there: one line each."""
    file = exported(run, kept["honest"], tmp_path)
    (tmp_path / "junk.json").write_text("{}")
    (tmp_path / "changed.json").write_text(file.read_text().replace("dns.lab", "dns.bad"))
    for source, words in (
        ("nowhere.json", "nowhere.json: no such file, and no id"),
        ("", ": no such file"),
        (tmp_path / "junk.json", "junk.json: not an exported judgement"),
        (tmp_path / "changed.json", "changed.json: the exported judgement was changed or damaged"),
        ("abcdef" * 5, "no record begins with"),
    ):
        outcome = run("explain", source)
        assert (outcome.status, outcome.out) == (2, ""), source
        assert words in outcome.err


def test_nothing_kept_is_no_verdict(run, tmp_path):
    """Status 1 says that it was judged otherwise; where there is nothing to judge it is 2, and says where it looked."""
    for command in (("explain", "3f9a1c"), ("policy", "allow", "--from-evidence", "3f9a1c")):
        outcome = run(*command)
        assert (outcome.status, outcome.out) == (2, "")
        assert f"no evidence is kept in {tmp_path / 'state' / 'evidence.sqlite3'}" in outcome.err


def test_export_of_before_is_reproduced_without_differences(run):
    """A verdict that was kept before it named its proof is repeated in its own form, and nothing is made of that."""
    facts = json.loads(run("explain", Path(__file__).parents[1] / "exported_before_proof.json", "--json").out)
    assert (facts["reproduced"], facts["differences"]) == (True, [])
    assert "proof" not in facts["kept"]
