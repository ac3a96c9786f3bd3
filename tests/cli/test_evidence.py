"""`stubresolver evidence`: what a person sees of what was kept."""

import json
import os
from datetime import timedelta
from ipaddress import ip_address

import pytest

from stubresolver.config import load_log_list, load_policy
from stubresolver.evidence import EvidenceStore
from stubresolver.exported import Exported
from stubresolver.verify import Presented, Verifier

UPSTREAM = "tls://127.0.0.1#dns.lab"


def ids(outcome):
    return [json.loads(line)["id"] for line in outcome.out.splitlines()]


def test_list_shows_the_newest_first(run, kept):
    """One line for each judgement, with outcome and reason; the newest stands at the top."""
    outcome = run("evidence", "list")
    assert outcome.status == 0
    lines = [line for line in outcome.out.splitlines() if UPSTREAM in line]
    assert [line.split()[3] for line in lines] == [kept[name][:12] for name in ("finish", "unlogged", "honest")]
    assert [line.split()[4] for line in lines] == ["REFUSED", "REFUSED", "ALLOWED"]
    assert "issuer.allowed: CN=Finish CA TLS" in lines[0]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ((), ["finish", "unlogged", "honest"]),
        (("--allowed",), ["honest"]),
        (("--refused",), ["finish", "unlogged"]),
        (("--limit", 2), ["finish", "unlogged"]),
        (("--since", "150m"), ["finish", "unlogged"]),
        (("--since", "9999-01-01"), []),
        (("--upstream", "tls://127.0.0.1:853#DNS.lab."), ["finish", "unlogged", "honest"]),
        (("--upstream", "tls://127.0.0.1"), []),
    ],
)
def test_list_is_filtered(run, kept, options, names):
    """Each filter leaves what it names; an upstream is found however it is written."""
    outcome = run("evidence", "list", "--json", *options)
    assert outcome.status == 0
    assert ids(outcome) == [kept[name] for name in names]


def test_list_says_when_there_is_more_or_nothing(run, kept):
    """Somebody who sees a part is told so."""
    assert "There are more" in run("evidence", "list", "--limit", 2).out
    assert "There are more" not in run("evidence", "list", "--limit", 3).out
    assert run("evidence", "list", "--since", "9999-01-01").out == "nothing kept that matches\n"


def test_show_tells_one_judgement_whole(run, kept):
    """Chain, rules, verdict and times; the first digits of the id will do."""
    outcome = run("evidence", "show", kept["finish"][:8])
    assert outcome.status == 0
    assert kept["finish"] in outcome.out
    assert "REFUSED  issuer.allowed: CN=Finish CA TLS" in outcome.out
    assert "path.second-lock" not in outcome.out.split("Rules")[0]
    facts = json.loads(run("evidence", "show", kept["finish"], "--json").out)
    assert facts["verdict"]["allowed"] is False
    assert len(facts["chain"]) == 2
    assert set(facts["chain"][0]) > {"subject", "serial", "spki_sha256"}


def test_report_mode_is_told_apart(run, kept, world, files, tmp_path):
    """What was connected to although it would have been refused is neither ALLOWED nor REFUSED."""
    files.policy.write_text('[policy]\nmode = "report"\n' + files.policy.read_text())
    policy, log_list = load_policy(files.policy), load_log_list(files.log_list)
    presented = Presented(ip_address("127.0.0.1"), "dns.lab", world.issue(()).chain)
    store = EvidenceStore(tmp_path / "state" / "evidence.sqlite3")
    store.keep_demands(policy, log_list)
    identity = store.record(UPSTREAM, presented, Verifier(policy, log_list).judge(presented, world.now)).id
    store.close()
    lines = [line.split() for line in run("evidence", "list", "--refused").out.splitlines() if UPSTREAM in line]
    assert [line[4] for line in lines] == ["REPORTED", "REFUSED", "REFUSED"]
    assert "\nREPORT ONLY, would be refused: ct.sct-list" in run("evidence", "show", identity).out
    assert run("explain", identity).out.endswith("reproduced, octet for octet\n")


def test_markup_in_a_certificate_is_text(run, world, files, tmp_path):
    """A subject that looks like markup, or that steers a terminal, is shown as what it is."""
    policy, log_list = load_policy(files.policy), load_log_list(files.log_list)
    chain = world.issue(common_name="[bold red]\x1b[31mBAD[/]").chain
    presented = Presented(ip_address("127.0.0.1"), None, chain)
    store = EvidenceStore(tmp_path / "state" / "evidence.sqlite3")
    store.keep_demands(policy, log_list)
    identity = store.record(UPSTREAM, presented, Verifier(policy, log_list).judge(presented, world.now)).id
    store.close()
    for command in (("evidence", "show"), ("explain",)):
        out = run(*command, identity).out
        assert "CN=[bold red]" in out
        assert "BAD[/]" in out
        assert "\x1b" not in out


def test_export_is_what_explain_reads(run, kept, tmp_path):
    """To stdout, or into a file that is not overwritten unless told to."""
    told = run("evidence", "export", kept["unlogged"])
    assert told.status == 0
    assert Exported.read(told.out.encode()).upstream == UPSTREAM
    file = tmp_path / "refused.json"
    assert run("evidence", "export", kept["unlogged"], "-o", file).status == 0
    assert file.read_text() == told.out
    file.write_text("precious")
    outcome = run("evidence", "export", kept["unlogged"], "-o", file)
    assert (outcome.status, file.read_text()) == (2, "precious")
    assert "--force overwrites it" in outcome.err
    assert run("evidence", "export", kept["unlogged"], "-o", file, "--force").status == 0
    assert file.read_text() == told.out
    assert [path.name for path in tmp_path.glob(".refused*")] == []


def test_prune_drops_the_old(run, kept):
    """By age; a dry run only says so. What is the newest of its upstream stays."""
    dry = run("evidence", "prune", "--before", "90m", "--dry-run")
    assert dry.out.startswith("would be dropped: 0 allowed, 1 refused; ")
    assert len(ids(run("evidence", "list", "--json"))) == 3
    done = run("evidence", "prune", "--before", "90m")
    assert (done.status, done.out.startswith("dropped: 0 allowed, 1 refused; ")) == (0, True)
    assert ids(run("evidence", "list", "--json")) == [kept["finish"], kept["honest"]]


def test_prune_to_a_size(run, kept):
    """By size: what may go goes, and the outcome is told as JSON, too."""
    outcome = run("evidence", "prune", "--keep", "1K", "--json")
    pruned = json.loads(outcome.out)
    assert (outcome.status, pruned["dry_run"], pruned["refused"]) == (0, False, 1)
    assert len(ids(run("evidence", "list", "--json"))) == 2


def test_events_are_listed(run, kept, world, files, tmp_path):
    """What changed of an upstream since it was last allowed; nothing is told before anything changed."""
    assert run("evidence", "events").out == "no changes are kept that match\n"
    policy, log_list = load_policy(files.policy), load_log_list(files.log_list)
    presented = Presented(ip_address("127.0.0.1"), "dns.lab", world.issue((world.alder1, world.birch1)).chain)
    store = EvidenceStore(tmp_path / "state" / "evidence.sqlite3")
    store.keep_demands(policy, log_list)
    store.record(UPSTREAM, presented, Verifier(policy, log_list).judge(presented, world.now + timedelta(minutes=1)))
    store.close()
    [event] = [json.loads(line) for line in run("evidence", "events", "--json").out.splitlines()]
    assert (event["upstream"], event["kind"]) == (UPSTREAM, "leaf-key")
    assert "leaf-key" in run("evidence", "events", "--upstream", UPSTREAM).out
    assert run("evidence", "events", "--upstream", "tls://192.0.2.1", "--json").out == ""


def test_bad_input_is_status_2(run, kept, tmp_path):
    """A mistake is one line on stderr, and nothing on stdout."""
    for arguments, words in (
        (("show", "abc"), "'abc' is no id of a record"),
        (("show", "0" * 64), "no record begins with"),
        (("export", "zz"), "is no id of a record"),
        (("export", kept["honest"], "--force"), "--force goes with --output"),
        (("export", kept["honest"], "-o", tmp_path / "no" / "such"), "cannot be written: No such file"),
        (("list", "--since", "yesterday"), "--since 'yesterday' is not a time"),
        (("list", "--since", "999999w"), "older than the calendar"),
        (("list", "--upstream", "1.1.1.1"), "is not spoken"),
        (("list", "--limit", "0"), "Invalid value for '--limit'"),
        (("prune",), "nothing to go by: --before TIME, --keep SIZE or --future"),
        (("prune", "--keep", "much"), "--keep 'much' is not a size"),
        (("events", "--since", ""), "--since '' is not a time"),
    ):
        outcome = run("evidence", *arguments)
        assert (outcome.status, outcome.out) == (2, ""), arguments
        assert words in outcome.err


def test_no_evidence_is_told_and_none_is_made(run, tmp_path):
    """Looking at evidence where none is kept makes no file; it says where it looked."""
    outcome = run("evidence", "list")
    assert outcome.status == 1
    assert f"no evidence is kept in {tmp_path / 'state' / 'evidence.sqlite3'}" in outcome.err
    assert not (tmp_path / "state").exists()


def test_damaged_evidence_is_status_1(run, kept, tmp_path):
    """A file that is no database is told as that."""
    file = tmp_path / "state" / "evidence.sqlite3"
    os.truncate(file, 0)
    file.write_bytes(b"not a database at all, however long it is" * 100)
    outcome = run("evidence", "list")
    assert outcome.status == 1
    assert "cannot keep evidence here" in outcome.err


@pytest.mark.parametrize("command", ["list", "show", "export", "prune", "events"])
def test_each_part_has_help(run, command):
    """Each part explains itself and its exit status."""
    outcome = run("evidence", command, "--help")
    assert (outcome.status, "xit status" in outcome.out) == (0, True)


def test_damaged_evidence_is_told_and_left_where_it_is(run, files, tmp_path):
    """Who only looks moves nothing; who records does, and says what became of it."""
    file = tmp_path / "state" / "evidence.sqlite3"
    file.parent.mkdir(exist_ok=True)
    file.touch(0o600)
    file.write_bytes(b"damaged " * 1000)
    for words in (("evidence", "list"), ("evidence", "events"), ("audit", "--alarms")):
        looked = run(*words, "--config", files.config)
        assert (looked.status, looked.out) == (1, "")
        assert "file is not a database; whoever records there next puts it aside and begins a new one" in looked.err
        assert [found.name for found in file.parent.iterdir()] == [file.name]
    checked = run("check", "--config", files.config, "tls://127.0.0.1:1#dns.lab")
    assert "the evidence is put aside as " in checked.err
    (aside,) = file.parent.glob("*.corrupt-*")
    assert aside.read_bytes() == b"damaged " * 1000
    assert run("evidence", "list", "--config", files.config).status == 0
