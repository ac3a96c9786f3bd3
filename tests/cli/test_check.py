"""`stubresolver check`, online and offline."""

import json
import sqlite3
from datetime import timedelta

from stubresolver.lab.rogues import GALLERY

ROGUES = {rogue.code: rogue for rogue in GALLERY}


def iso(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def offline(run, files, *arguments):
    return run(
        *("check", "--chain", files.chain, "--address", "127.0.0.1", "--policy", files.policy),
        *("--log-list", files.log_list, *arguments),
    )


def test_honest_chain_is_allowed(run, files):
    """A chain that meets every demand: exit status 0, and a person reads why."""
    outcome = offline(run, files, "--name", "dns.lab")
    assert outcome.status == 0
    assert "ALLOWED  2 valid SCTs (Alder, Birch)" in outcome.out
    assert "path.address" in outcome.out


def test_json_has_the_documented_shape(run, files):
    """--json: one object with the keys that are promised."""
    verdict = json.loads(offline(run, files, "--json").out)
    assert verdict["allowed"] is True
    assert {"rule", "outcome", "subject", "detail"} == set(verdict["findings"][0])
    assert {"log_id", "log", "operator", "timestamp", "status"} == set(verdict["scts"][0])
    assert [sct["status"] for sct in verdict["scts"]] == ["VALID", "VALID"]
    assert {"version", "timestamp", "digest"} == set(verdict["log_list"])
    assert len(verdict["path"]) == 3
    assert len(verdict["policy"]) == 64
    assert verdict["at"].endswith("Z")


def test_time_is_an_argument(run, files, world):
    """--at judges for any time, however it is written; the same question has the same answer, octet for octet."""
    late = offline(run, files, "--json", "--at", iso(world.now + timedelta(days=90)))
    assert late.status == 1
    assert "expired on" in late.out
    moment = iso(world.now)
    again = [offline(run, files, "--json", "--at", text).out for text in (moment, moment.removesuffix("Z"))]
    assert again[0] == again[1]
    assert json.loads(again[0])["at"] == moment


def test_wrong_address_is_refused(run, files):
    """Exit status 1, and the rule is named."""
    outcome = run("check", "--chain", files.chain, "--address", "127.0.0.9", "--policy", files.policy)
    assert outcome.status == 1
    assert "REFUSED  path.address: 127.0.0.9 is not in the SAN (addresses: 127.0.0.1, ::1)" in outcome.out


def test_anchors_take_the_place_of_the_policys(run, files):
    """--anchors names the roots for this one judgement."""
    outcome = run(
        *("check", "--chain", files.chain, "--address", "127.0.0.1", "--anchors", files.anchors),
        *("--log-list", files.log_list, "--json"),
    )
    failed = {finding["rule"] for finding in json.loads(outcome.out)["findings"] if finding["outcome"] == "FAIL"}
    assert failed == {"issuer.allowed"}


def test_bad_input_is_told_with_status_2(run, files, tmp_path):
    """Whatever is wrong with the input is one line on stderr, and no verdict."""
    (tmp_path / "junk.pem").write_text("hello")
    chain = ("check", "--chain", files.chain)
    for arguments, words in (
        (("check", "--chain", "/nowhere.pem", "--address", "127.0.0.1"), "/nowhere.pem: cannot be read: No such file"),
        (("check", "--chain", tmp_path / "junk.pem", "--address", "::1"), "no -----BEGIN CERTIFICATE----- in it"),
        (chain, "--chain needs --address"),
        ((*chain, "--address", "dns.lab"), "'dns.lab' is not an IP address"),
        ((*chain, "--address", "::1", "--at", "yesterday"), "--at 'yesterday' is not a time"),
        ((*chain, "--address", "127.0.0.1", "--at", ""), "--at '' is not a time"),
        ((*chain, "--address", "127.0.0.1", "--at", "0001-01-01T00:00:00+14:00"), "is not a time"),
        ((*chain, "--address", "127.0.0.1", "--name", ""), "--name '' is no name"),
        (("check", "--name", "", "tls://127.0.0.1"), "--name only with --chain"),
        ((*chain, "--address", "::1", "tls://127.0.0.1"), "does not go with upstreams"),
        (("check", "--address", "::1"), "--address only with --chain"),
        (("check", "tls://dns.lab"), "'dns.lab' is not an IP address"),
        (("check", "--policy", "/nowhere.toml"), "/nowhere.toml: trust.policy: cannot be read"),
        (("check", "--log-list", files.chain), "not a log list: not JSON: "),
        (("check", "--anchors", files.policy), "no certificates in PEM"),
        (("check", "--config", "/nowhere.toml"), "/nowhere.toml: cannot be read"),
        (("check", "--nonsense"), "No such option"),
    ):
        outcome = run(*arguments)
        assert outcome.status == 2, arguments
        assert words in outcome.err
        assert outcome.out == ""


def test_upstream_is_dialled_and_judged(run, files, start):
    """Online: the verdict on what a live server shows, over both transports; no query is sent, evidence is kept."""
    servers = [start(), start(doh=True)]
    upstreams = [
        f"{scheme}://127.0.0.1:{port}#dns.lab" for scheme, (_, port) in zip(("tls", "https"), servers, strict=True)
    ]
    outcome = run("check", "--config", files.config, "--json", *upstreams)
    assert outcome.status == 0, outcome
    verdicts = [json.loads(line) for line in outcome.out.splitlines()]
    assert [verdict["allowed"] for verdict in verdicts] == [True, True]
    assert "path.second-lock" in verdicts[0]["demanded"]
    assert [server.tally.application_octets for server, _ in servers] == [0, 0]
    assert len(list(files.config.parent.glob("state/evidence.sqlite3"))) == 1
    with sqlite3.connect(files.config.parent / "state" / "evidence.sqlite3") as database:
        assert database.execute("SELECT count(*) FROM record").fetchone() == (2,)


def test_rogue_is_refused_and_shown(run, files, start, world):
    """Online: exit status 1, the rules in a table, and not one application octet."""
    server, port = start(ROGUES["one-operator"].make(world))
    outcome = run("check", "--config", files.config, f"tls://127.0.0.1:{port}")
    assert outcome.status == 1
    assert "REFUSED  ct.operators: 1 of 2 (Alder)" in outcome.out
    assert "Alder 2" in outcome.out
    assert server.tally.application_octets == 0


def test_unreached_upstream_is_status_3_and_refused_outweighs_it(run, files, start, world):
    """The gravest outcome is the exit status: refused before not reached."""
    _, port = start(ROGUES["no-scts"].make(world))
    outcome = run("check", "--config", files.config, "tls://127.0.0.1:1")
    assert outcome.status == 3
    assert "NOT REACHED" in outcome.out
    assert "refused" in outcome.out
    assert run("check", "--config", files.config, "tls://127.0.0.1:1", f"tls://127.0.0.1:{port}").status == 1


def test_check_without_a_place_for_evidence_says_so(run, files, start, tmp_path):
    """Somebody who may not write evidence can still look, and is told that it is not kept."""
    (tmp_path / "state").write_text("a file where the folder should be")
    _, port = start()
    outcome = run("check", "--config", files.config, f"tls://127.0.0.1:{port}#dns.lab")
    assert outcome.status == 0
    assert "EVIDENCE IS NOT KEPT" in outcome.err
    assert "evidence: 1 judgements and 0 alarms could not be kept: " in outcome.err
