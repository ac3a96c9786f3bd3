"""`logs show`, `diff`, `verify`, `rollback`: what a person reads, and the exit statuses that scripts read."""

import json
from datetime import timedelta

import pytest

from stubresolver.config import read_shipped
from stubresolver.lab.logs import LabLog
from tests.cli.logs_world import IN_FORCE, LATER, LOGS, NEW_LOG, NOW, Lists, Signer, make_lists, retired, written


@pytest.fixture
def lists(tmp_path) -> Lists:
    return make_lists(tmp_path / "lists")


def test_show_tells_the_list_in_force(run, lists) -> None:
    """By operator: each log with state, kind, interval and since when; version, age, and how many count."""
    found = run("logs", "show", "--config", lists.config)
    assert found.status == 0
    assert "v3 list, version in force" in found.out
    assert "20 days old: fresh" in found.out
    assert "12 of 12 logs count now, of 3 operators" in found.out
    lines = [line.split() for line in found.out.splitlines()]
    assert ["Alder", "(4)"] in lines
    assert ["Alder", "1", "usable", "rfc6962", f"{NOW - timedelta(180):%Y-%m-%d}..{NOW + timedelta(180):%Y-%m-%d}",
            f"{NOW - timedelta(400):%Y-%m-%d}"] in lines  # fmt: skip


def test_show_as_json_has_every_log(run, lists) -> None:
    """What people read, machines read too."""
    lists.list.write_bytes(written(*LOGS[1:], retired(LOGS[0]), at=NOW - timedelta(days=71)))
    facts = json.loads(run("logs", "show", "--json", "--config", lists.config).out)
    assert (facts["format"], facts["age_days"], facts["freshness"]) == ("v3", 71, "stale")
    assert (facts["listed"], facts["counting"]) == (12, 11)
    assert [log["log"] for log in facts["logs"] if not log["counts"]] == ["Alder 1"]


@pytest.mark.parametrize(("days", "word"), [(44, "fresh"), (45, "ageing"), (69, "ageing"), (70, "stale")])
def test_show_tells_the_age(run, lists, days, word) -> None:
    """Fresh below 45 days, stale from 70 on."""
    lists.list.write_bytes(written(*LOGS, at=NOW - timedelta(days=days, minutes=1)))
    assert f"{days} days old: {word}" in run("logs", "show", "--config", lists.config).out


def test_show_of_the_shipped_list_and_of_a_file(run, lists) -> None:
    """A word and a file take the place of the list in force; what never counts is named."""
    assert "100 logs count" in run("logs", "show", "shipped").out
    other = lists.source("other.json", written(*LOGS[:3], version="other"))
    assert "version other" in run("logs", "show", other).out


@pytest.mark.parametrize("octets", [b"", b"<html>", b"{", b"\xff"])
def test_a_list_that_cannot_be_read_is_bad_input(run, lists, octets) -> None:
    """Status 2 and one line that names the file, for each command that reads one."""
    bad = lists.source("bad.json", octets)
    for arguments in (("show", bad), ("diff", bad, "installed"), ("diff", "shipped", bad)):
        found = run("logs", *arguments, "--config", lists.config)
        assert (found.status, found.out) == (2, "")
        assert f"{bad}: " in found.err
        assert len(found.err.splitlines()) == 1


@pytest.mark.parametrize("columns", ["40", "60", "80"])
def test_show_leaves_no_name_out(run, lists, monkeypatch, columns: str) -> None:
    """In a narrow terminal every cell is folded; a list without its logs' names would say nothing."""
    monkeypatch.setenv("COLUMNS", columns)
    assert "Alder" in run("logs", "show", "--config", lists.config).out


def test_diff_says_what_differs(run, lists) -> None:
    """Status 1 and a line for each difference; status 0 where there is none."""
    other = lists.source("other.json", written(*LOGS[:-1], NEW_LOG))
    found = run("logs", "diff", "installed", other, "--config", lists.config)
    assert found.status == 1
    assert "added Alder 5 (Alder)" in found.out
    assert "removed Cedar 4 (Cedar)" in found.out
    changes = json.loads(run("logs", "diff", "installed", other, "--json", "--config", lists.config).out)["changes"]
    assert {change["kind"] for change in changes} == {"timestamp", "added", "removed"}
    same = run("logs", "diff", "installed", lists.list, "--config", lists.config)
    assert (same.status, same.out.strip()) == (0, "nothing differs")


def test_verify_tells_whether_a_list_would_be_listened_to(run, lists) -> None:
    """Unsigned, a list is one voice of a quorum; signed by a key that is given, it vouches alone."""
    other, signer = lists.source("other.json", written(*LOGS, NEW_LOG)), Signer()
    found = run("logs", "verify", other, "--config", lists.config)
    assert found.status == 0
    assert "ACCEPTED  unsigned: one voice of a quorum" in found.out
    key = lists.source("key.pem", signer.public_pem)
    lists.source("other.sig", signer.sign(other.read_bytes()))
    found = run("logs", "verify", other, "--key", key, "--config", lists.config)
    assert "ACCEPTED  signed by key.pem: vouches alone" in found.out
    wrong = lists.source("wrong", signer.sign(b"another list"))
    found = run("logs", "verify", other, "--key", key, "--signature", wrong, "--config", lists.config)
    assert found.status == 1
    assert f"REFUSED  {other}: mis-signed" in found.out
    facts = json.loads(run("logs", "verify", other, "--key", key, "--json", "--config", lists.config).out)
    assert (facts["accepted"], facts["signed_by"], facts["problem"]) == (True, "key.pem", None)


def test_verify_says_what_is_wrong(run, lists) -> None:
    """Status 1 with the reason for what would be refused; status 2 for what is no file or no key."""
    for name, octets, problem in (
        ("old.json", written(*LOGS, at=IN_FORCE - timedelta(days=1)), "older than the list in force"),
        ("future.json", written(*LOGS, at=NOW + timedelta(days=3)), "dated in the future"),
        ("small.json", written(*LOGS[:4]), "shrunk"),
        ("page.html", b"<html>", "an HTML page"),
    ):
        found = run("logs", "verify", lists.source(name, octets), "--config", lists.config)
        assert found.status == 1
        assert problem in found.out
    assert run("logs", "verify", lists.folder / "absent", "--config", lists.config).status == 2
    assert run("logs", "verify", lists.folder, "--config", lists.config).status == 2
    found = run("logs", "verify", lists.list, "--key", lists.config, "--config", lists.config)
    assert found.status == 2
    assert f"{lists.config}: not a public key" in found.err


def test_a_list_does_not_steer_the_terminal(run, lists) -> None:
    """Brackets in a description are no markup."""
    odd = LabLog("Alder", "[bold red]Alder[/] 8", since=LATER)
    out = run("logs", "show", lists.source("odd.json", written(*LOGS, odd))).out
    assert "[bold red]Alder[/] 8" in out


def test_rollback_brings_the_list_before_back(run, lists) -> None:
    """Shown first, done with --yes, and done again it is undone."""
    before = lists.state()
    found = run("logs", "rollback", "--config", lists.config)
    assert found.status == 0
    assert "removed Cedar 4 (Cedar)" in found.out
    assert "Nothing was changed: --yes does it." in found.out
    assert lists.state() == before
    found = run("logs", "rollback", "--yes", "--config", lists.config)
    assert found.status == 0
    assert "is in force again" in found.out
    assert "stubresolver reload" in found.out
    assert lists.list.read_bytes() == before["log_list.json.previous"][0]
    assert lists.previous.read_bytes() == before["log_list.json"][0]
    run("logs", "rollback", "--yes", "--config", lists.config)
    assert lists.list.read_bytes() == before["log_list.json"][0]


def test_rollback_is_the_way_out_of_a_broken_list(run, lists) -> None:
    """A list in force that does not read is named by every command, and a rollback mends it."""
    lists.list.write_bytes(b"{")
    found = run("logs", "show", "--config", lists.config)
    assert found.status == 2
    assert "`stubresolver logs rollback` brings the list before it back" in found.err
    found = run("logs", "rollback", "--yes", "--config", lists.config)
    assert found.status == 0
    assert "in force, and cannot be used" in found.out
    assert run("logs", "show", "--config", lists.config).status == 0
    found = run("logs", "rollback", "--yes", "--config", lists.config)  # and the broken one does not come back
    assert found.status == 2
    assert "cannot be put in force" in found.err


def test_rollback_without_a_list_before_is_bad_input(run, lists) -> None:
    """There must have been an update; the shipped list is what an update keeps at first."""
    lists.previous.unlink()
    found = run("logs", "rollback", "--yes", "--config", lists.config)
    assert found.status == 2
    assert "no list was in force before" in found.err


def test_the_usual_place_is_written_where_none_is_configured(run, lists, monkeypatch, tmp_path) -> None:
    """Without [trust] log_list the list is installed in /etc/stubresolver, with the shipped list as the one before."""
    place = tmp_path / "etc" / "log_list.json"
    monkeypatch.setattr("stubresolver.config.log_list.LOG_LIST_FILE", place)
    config = lists.source("plain.toml", b'upstreams = ["tls://127.0.0.1:9#dns.lab"]\n')
    shipped = json.loads(read_shipped("log_list.json"))
    shipped["log_list_timestamp"] = f"{LATER:%Y-%m-%dT%H:%M:%SZ}"
    signer = Signer()
    newer = lists.source("newer.json", json.dumps(shipped).encode())
    lists.source("newer.json.sig", signer.sign(newer.read_bytes()))
    key = lists.source("key.pem", signer.public_pem)
    assert run("logs", "update", "--from", newer, "--key", key, "--yes", "--config", config).status == 0
    assert f"{place}\n" in run("logs", "show", "--config", config).out
    assert place.with_name("log_list.json.previous").read_bytes() == read_shipped("log_list.json")
    assert run("logs", "diff", "shipped", "installed", "--config", config).status == 1
    assert run("logs", "rollback", "--yes", "--config", config).status == 0
    assert place.read_bytes() == read_shipped("log_list.json")


def test_help_teaches(run) -> None:
    """Each command says what it is for and what its statuses mean; `update` names lists that may be used."""
    assert "stubresolver logs update" in run("logs", "--help").out
    for name in ("show", "diff", "verify", "update", "rollback"):
        assert "Exit status:" in run("logs", name, "--help").out
    assert "CTKnownLogs.h" in run("logs", "update", "--help").out
