"""`logs update`: quorum and signatures, what is shown before anything changes, and what it means for the upstreams."""

import json
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from stubresolver.cli import logs_sources
from stubresolver.config import load_log_list
from stubresolver.lab.logs import log_list_json
from tests.cli.logs_world import FORGED, LATER, LOGS, NEW_LOG, NOW, Lists, Signer, make_lists, retired, written
from tests.cli.webserver import SILENT, serving


@pytest.fixture
def lists(tmp_path) -> Lists:
    return make_lists(tmp_path / "lists")


@pytest.fixture
def update(run, lists):
    def command(*arguments: object):
        return run("logs", "update", *arguments, "--config", lists.config)

    return command


def names(path: Path) -> set[str]:
    return {log.description for log in load_log_list(path).logs.values()}


def test_a_dry_run_shows_everything_and_changes_nothing(lists, update) -> None:
    """Without --yes the whole difference is shown; with it, that is what happens."""
    one = lists.source("one.json", written(*LOGS[1:], retired(LOGS[0]), NEW_LOG))
    two = lists.source("two.json", written(*LOGS, NEW_LOG, version="two"))
    before = lists.state()
    found = update("--from", one, two)
    assert found.status == 0
    assert "added Alder 5 (Alder)" in found.out
    assert "Alder 1 (Alder): state usable" in found.out
    assert "the list: timestamp" in found.out
    assert "Nothing was changed: --yes does it." in found.out
    assert lists.state() == before
    done = update("--from", one, "--from", two, "--yes")
    assert done.status == 0
    assert "added Alder 5 (Alder)" in done.out
    assert "A service that runs takes it over on `stubresolver reload`." in done.out
    assert names(lists.list) == names(one)
    assert load_log_list(lists.list).timestamp == LATER
    assert lists.previous.read_bytes() == before["log_list.json"][0]
    again = update("--from", one, two, "--yes")
    assert lists.previous.read_bytes() == before["log_list.json"][0]
    assert "nothing differs" in again.out


def test_a_new_log_needs_a_quorum(lists, update) -> None:
    """One unsigned source alone adds nothing, the same one under two names neither; what is withheld is told."""
    one = lists.source("one.json", written(*LOGS, NEW_LOG))
    lists.source("copy.json", one.read_bytes())
    for sources in ((one,), (one, lists.folder / "copy.json")):
        before = lists.state()
        found = update("--from", *sources, "--yes")
        assert found.status == 4
        assert "withheld: Alder 5 (Alder) to be added: listed by" in found.out
        assert "2 independent sources are wanted" in found.out
        assert "Nothing was changed: all that is new is withheld." in found.out
        assert lists.state() == before
    assert update("--from", one, "--quorum", "1", "--yes").status == 0
    assert "Alder 5" in names(lists.list)


def test_a_day_on_which_all_is_withheld_is_no_failed_unit() -> None:
    """A log that only one source has yet is every week's news; what was refused or not reached stays a failure."""
    unit = (Path(__file__).parents[2] / "systemd" / "stubresolver-log-list.service").read_text()
    assert re.findall(r"^SuccessExitStatus=(.*)$", unit, re.MULTILINE) == ["4"]
    assert re.findall(r"^RestartPreventExitStatus=(.*)$", unit, re.MULTILINE) == ["1 2"]


def test_a_refused_source_outweighs_what_is_withheld(lists, update) -> None:
    """Somebody has to look at it."""
    one = lists.source("one.json", written(*LOGS, NEW_LOG))
    bad = lists.source("bad.json", b"<html>")
    assert update("--from", one, bad, "--yes").status == 1


def test_a_signature_by_a_configured_key_vouches(lists, update) -> None:
    """A list that is signed by a key of [logs] keys needs no second one; each name of a signature is found."""
    signer = Signer()
    (lists.folder / "ours.pub").write_bytes(signer.public_pem)
    lists.config.write_text(lists.config.read_text() + '[logs]\nsources = ["signed.json"]\nkeys = ["ours.pub"]\n')
    signed = lists.source("signed.json", written(*LOGS, NEW_LOG))
    for name in ("signed.sig", "signed.json.sig", "signed.json.minisig"):
        beside = lists.source(name, signer.sign(signed.read_bytes()))
        facts = json.loads(update("--json").out)
        assert facts["sources"][0]["vouched"] == "ours.pub"
        assert facts["result"] == "dry-run"
        beside.unlink()
    assert json.loads(update("--json").out)["sources"][0]["vouched"] is None
    apart = lists.source("apart", signer.sign(signed.read_bytes()))
    assert update("--from", signed, "--signature", apart, "--yes").status == 0
    assert "Alder 5" in names(lists.list)


def test_the_shipped_list_vouches_by_itself(lists, update) -> None:
    """The word stands for the list of this version, which has other logs than the lab's: without --force it is less."""
    lists.list.write_bytes(written(*LOGS, at=NOW - timedelta(days=4000)))
    found = update("--from", "shipped")
    assert found.status == 1
    assert "REFUSED  shipped: shrunk: " in found.out


def test_a_shipped_list_that_is_older_is_passed_over(lists, update) -> None:
    """It stands in the configuration for the next upgrade: a timer must not fail on every day before it."""
    lists.list.write_bytes(written(*LOGS, at=LATER - timedelta(days=1)))
    before = lists.state()
    alone = update("--from", "shipped", "--yes")
    assert (alone.status, lists.state()) == (0, before)
    assert "older than the list in force, and has nothing new\nNothing to change.\n" in alone.out
    facts = json.loads(update("--from", "shipped", "--json").out)
    assert (facts["result"], facts["refused"], len(facts["passed_over"])) == ("unchanged", [], 1)
    assert update("--from", "shipped", lists.source("page.json", b"<html>")).status == 1
    assert update("--from", "shipped", "absent.json").status == 3
    assert update("--from", "shipped", *lists.pair(*LOGS, NEW_LOG), "--yes").status == 0
    assert "Alder 5" in names(lists.list)


def test_a_shrink_needs_force(lists, update) -> None:
    """A list that has lost more than a third is taken only on purpose."""
    small = lists.pair(*LOGS[:6])
    before = lists.state()
    assert update("--from", *small, "--yes").status == 1
    assert lists.state() == before
    assert update("--from", *small, "--yes", "--force").status == 0
    assert names(lists.list) == {log.description for log in LOGS[:6]}


def test_a_source_that_fails_takes_nothing_from_the_others(lists, update) -> None:
    """One is refused, two agree: what they agree on is taken, and the status says that one was refused."""
    good = lists.pair(*LOGS, NEW_LOG)
    bad = lists.source("bad.json", b"{")
    found = update("--from", bad, *good, "--yes")
    assert found.status == 1
    assert f"REFUSED  {bad}: truncated" in found.out
    assert "Alder 5" in names(lists.list)


def test_who_is_not_reached_is_told_apart_from_who_is_refused(lists, update) -> None:
    """Status 3 where nobody could be reached, 0 where others did; a file that is not there was not reached."""
    absent = lists.folder / "absent.json"
    found = update("--from", "https://127.0.0.1:1/list.json", absent)
    assert found.status == 3
    assert (
        "NOT REACHED  https://127.0.0.1:1/list.json: cannot be connected to: 127.0.0.1: Connection refused" in found.out
    )
    assert f"NOT REACHED  {absent}: cannot be read: No such file or directory" in found.out
    assert f"Nothing was changed: {lists.list} is as it was." in found.out
    good = lists.pair(*LOGS, NEW_LOG)
    assert update("--from", absent, *good, "--yes").status == 0


def test_a_name_that_no_upstream_resolves_is_not_reached(lists, update) -> None:
    """The system's resolver is not asked in its place."""
    found = update("--from", "https://lists.example/list.json")
    assert found.status == 3
    assert "lists.example cannot be resolved: no upstream has an answer: no upstream can be reached" in found.out
    assert "tls://127.0.0.1:9#dns.lab: connection refused" in found.out


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "no source: name files or https URLs with --from"),
        (("--from", ""), "a source without a name"),
        (("--from", "a.json", "a.json"), "a.json: named twice"),
        (("--from", "a.json", "b.json", "--signature", "s"), "--signature is of one list"),
        (("--from", "shipped", "--signature", "s"), "--signature is of one list"),
        (("--from", "a.json", "--key", "absent.pub"), "absent.pub: cannot be read"),
        (("--from", "a.json", "--web-anchors", "/nowhere/x.pem"), "/nowhere/x.pem: cannot be read"),
        (("--from", "https://127.0.0.1:1/a", "--web-anchors", "/dev/null"), "/dev/null: cannot be read: not a regular"),
        (("--from", "https://127.0.0.1:1/a", "--web-anchors", __file__), f"{__file__}: "),
        (("--from", "a.json", "--quorum", "0"), "Invalid value for '--quorum'"),
    ],
)
def test_bad_input_is_told(update, arguments, problem) -> None:
    """What cannot be meant so is status 2."""
    found = update(*arguments)
    assert found.status == 2
    assert problem in found.err


def test_other_urls_are_refused(update) -> None:
    """Plain http is no source."""
    found = update("--from", "http://127.0.0.1/list.json")
    assert found.status == 1
    assert "REFUSED  http://127.0.0.1/list.json: expected a URL that begins with https://\n" in found.out


def test_lists_and_signatures_come_over_https(lists, update, world, files, tmp_path) -> None:
    """Two servers, one list signed: a URL is a source like a file, and its signature lies beside it."""
    signer, listed = Signer(), written(*LOGS, NEW_LOG)
    key = lists.source("key.pem", signer.public_pem)
    pages = {"/ct/list.json": listed, "/ct/list.sig": signer.sign(listed), "/other.json": listed}
    with serving(world.issue(), pages, tmp_path) as port:
        base = f"https://127.0.0.1:{port}"
        found = update("--from", f"{base}/other.json", "--web-anchors", files.anchors, "--key", key, "--json")
        assert json.loads(found.out)["sources"][0]["vouched"] is None
        found = update("--from", f"{base}/ct/list.json", "--web-anchors", files.anchors, "--key", key, "--yes")
        assert found.status == 0
        assert "key.pem" in found.out
        assert "Alder 5" in names(lists.list)
        refused = update("--from", f"{base}/ct/list.json")  # a server that certifi's authorities do not vouch for
        assert refused.status == 1
        assert "its certificate is not accepted" in refused.out


def test_the_systems_store_does_not_stand_in_for_certifi(lists, update, monkeypatch, tmp_path) -> None:
    """An inspecting proxy whose root a product has installed would be every source at once: no quorum would help."""
    monkeypatch.setattr("certifi.where", lambda: str(tmp_path / "ca-certificates.crt"))
    before = lists.state()
    found = update("--from", "https://127.0.0.1:1/list.json", "--yes")
    assert found.status == 2
    assert "the sources' servers: --web-anchors: this machine's certifi points to" in found.err
    assert lists.state() == before


def test_a_silent_server_is_left_after_its_time(lists, update, world, files, tmp_path, monkeypatch) -> None:
    """Each source has its seconds, and no more."""
    monkeypatch.setattr(logs_sources, "SECONDS", 0.2)
    with serving(world.issue(), {"/list.json": SILENT}, tmp_path) as port:
        url = f"https://127.0.0.1:{port}/list.json"
        found = update("--from", url, "--web-anchors", files.anchors)
    assert found.status == 3
    assert f"NOT REACHED  {url}: not complete after 0.2 s: 0 octets came" in found.out


def test_no_bar_where_no_terminal_is(lists, update, world, files, tmp_path) -> None:
    """Standard error stays empty for scripts."""
    with serving(world.issue(), {"/list.json": written(*LOGS)}, tmp_path) as port:
        found = update("--from", f"https://127.0.0.1:{port}/list.json", "--web-anchors", files.anchors, "--json")
    assert found.err == ""
    assert json.loads(found.out)["sources"][0]["logs"] == 12


def test_a_list_that_is_yet_to_be_made_starts_from_the_shipped_one(lists, update) -> None:
    """The configuration names a file that is not there: the first update makes it."""
    lists.list.unlink()
    lists.previous.unlink()
    found = update("--from", "shipped", "--yes")
    assert found.status == 0
    assert "Nothing to change." in found.out
    assert not lists.list.exists()


def test_it_is_said_which_upstream_a_new_list_would_refuse(run, world, files, kept, tmp_path) -> None:
    """A retirement that costs an upstream its certificate is said loudly before it is applied, with the rule."""
    files.config.write_text(
        'upstreams = ["tls://127.0.0.1#dns.lab", "tls://127.0.0.2#dns.lab"]\n' + files.config.read_text()
    )
    later = world.now + timedelta(minutes=1)
    logs = [replace(log, state="rejected", since=later) if log is world.birch1 else log for log in world.logs]
    source = tmp_path / "source.json"
    source.write_bytes(log_list_json(logs, now=later))
    arguments = ("logs", "update", "--from", source, "--config", files.config)
    found = run(*arguments)
    assert found.status == 0
    assert "tls://127.0.0.1#dns.lab: would be REFUSED by the new list: ct." in found.out
    assert "tls://127.0.0.2#dns.lab: could not be tried: the evidence has no certificate of it" in found.out
    effects = json.loads(run(*arguments, "--json").out)["effects"]
    assert [(effect["refuses"], effect["tried"]) for effect in effects] == [(True, True), (False, False)]
    assert run(*arguments, "--yes").status == 0
    assert load_log_list(files.log_list).logs[world.birch1.log_id].state == "rejected"
    assert kept


def test_without_evidence_it_is_said_that_nothing_could_be_tried(lists, update) -> None:
    """No silence where there is nothing to judge by."""
    sources = lists.pair(*LOGS, NEW_LOG)
    assert "tls://127.0.0.1:9#dns.lab: could not be tried: no evidence is kept in" in update("--from", *sources).out


def test_forged_logs_of_two_names_do_not_pass(lists, update) -> None:
    """What two sources list is not what one of them alone adds."""
    one = lists.source("one.json", written(*LOGS, NEW_LOG, *FORGED))
    two = lists.source("two.json", written(*LOGS, NEW_LOG))
    assert update("--from", one, two, "--yes").status == 0
    assert names(lists.list) == {log.description for log in (*LOGS, NEW_LOG)}
    assert load_log_list(lists.list).timestamp <= NOW
