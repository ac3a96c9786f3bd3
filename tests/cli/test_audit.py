"""`stubresolver audit` as a person uses it: a lab upstream, lab logs over https, what is said, kept and exported."""

import contextlib
import json
import sqlite3
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
import trio

from stubresolver.evidence import EvidenceStore
from stubresolver.evidence.audits import Audited, Raised
from stubresolver.lab.archive import HOST, Archive
from stubresolver.lab.dishonest import DECEITS
from stubresolver.lab.logs import log_list_json

LOGGED = timedelta(days=-2)


@pytest.fixture
def archive(world):
    """The world's logs over https, in a thread of their own."""
    served = Archive(world.issue(names=[HOST], addresses=()), lambda: datetime.now(UTC))
    standing, known = threading.Event(), {}

    async def serve():
        async with trio.open_nursery() as nursery:
            await nursery.start(served.serve)
            served.join(world.logs)
            known.update(token=trio.lowlevel.current_trio_token(), scope=nursery.cancel_scope)
            standing.set()

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    assert standing.wait(10)
    yield served
    known["token"].run_sync_soon(known["scope"].cancel)
    thread.join(10)


@pytest.fixture
def audit(run, files, start, archive, world):
    """Run `audit` with an upstream that shows a certificate with three SCTs."""
    credential = world.issue([world.alder1, world.alder2, world.birch1], stamped=LOGGED, starts=LOGGED)
    _, port = start(credential)
    files.log_list.write_bytes(log_list_json(world.logs, now=world.now, host=archive.host))
    files.config.write_text(
        f'upstreams = ["tls://127.0.0.1:{port}#dns.lab"]\n[trust]\npolicy = "p.toml"\nlog_list = "list.json"\n'
    )
    files.chain.write_bytes(credential.chain_pem)

    def command(*arguments):
        return run("audit", "--config", files.config, "--web-anchors", files.anchors, *arguments)

    return command


def test_honest_logs_are_proved(audit, tmp_path):
    """Each SCT is proved, of both kinds of log, and says by what; exit status 0, and it is kept."""
    outcome = audit()
    assert (outcome.status, outcome.err) == (0, "")
    for name in ("Alder 1", "Alder 2", "Birch 1"):
        assert f"{name}" in outcome.out
    assert "included: leaf 5" in outcome.out
    assert "3 SCTs; proved: 3, notes: 0, alarms: 0" in outcome.out
    store = EvidenceStore(tmp_path / "state" / "evidence.sqlite3")
    assert [each.outcome for each in store.audits().outcomes()] == ["proved"] * 3
    store.close()


def test_three_scts_take_less_than_two_seconds(audit):
    """All logs are asked at once: dial, judge, evidence and the proofs of three SCTs fit into two seconds."""
    begun = time.monotonic()
    assert audit().status == 0
    assert time.monotonic() - begun < 2


def test_json_is_one_object_a_certificate(audit):
    """--json has every SCT with its log, outcome, kind, tree size and leaf index."""
    outcome = audit("--json")
    document = json.loads(outcome.out)
    assert (outcome.status, document["outcome"], document["allowed"]) == (0, "proved", True)
    assert [sct["log"] for sct in document["scts"]] == ["Alder 1", "Alder 2", "Birch 1"]
    assert all(sct["outcome"] == "proved" and sct["leaf_index"] < sct["tree_size"] for sct in document["scts"])


def test_chain_of_a_file(audit, files):
    """A PEM file is audited as if it had been shown at the address."""
    outcome = audit("--chain", files.chain, "--address", "127.0.0.1", "--json")
    document = json.loads(outcome.out)
    assert (outcome.status, document["outcome"]) == (0, "proved")
    assert document["shown_by"] == [f"{files.chain} for 127.0.0.1"]


def test_kept_certificate(audit):
    """--kept takes the newest allowed certificate of the evidence; where there is none, that is said."""
    nothing = audit("--kept")
    assert (nothing.status, "no allowed certificate" in nothing.err) == (2, True)
    assert audit().status == 0
    outcome = audit("--kept", "--json")
    assert (outcome.status, json.loads(outcome.out)["outcome"]) == (0, "proved")


def test_alarm_is_told_kept_and_exported(audit, archive, tmp_path, run, files):
    """A split view: exit status 1, the alarm is listed and written out with both tree heads, until it is dismissed."""
    assert audit().status == 0
    deceit = next(deceit for deceit in DECEITS if deceit.code == "split-view")
    deceit.begin(archive.fronts["alder-1"], 5000)
    outcome = audit()
    assert outcome.status == 1
    assert "split-view" in outcome.out
    assert "3 SCTs; proved: 2, notes: 0, alarms: 1" in outcome.out

    listed = run("audit", "--alarms", "--json", "--config", files.config)
    (alarm,) = [json.loads(line) for line in listed.out.splitlines()]
    assert (listed.status, alarm["kind"], alarm["count"]) == (1, "split-view", 1)
    target = tmp_path / "alarm.json"
    assert run("audit", "--export", alarm["number"], "-o", target, "--config", files.config).status == 0
    document = json.loads(target.read_bytes())
    assert {item["what"] for item in document["received"]} >= {"tree head seen before", "tree head"}
    again = run("audit", "--export", alarm["number"], "-o", target, "--config", files.config)
    assert (again.status, "is there already" in again.err) == (2, True)

    unsure = run("audit", "--dismiss", alarm["number"], "--config", files.config)
    assert (unsure.status, "--yes" in unsure.err) == (2, True)
    assert run("audit", "--dismiss", alarm["number"], "--yes", "--config", files.config).status == 0
    assert run("audit", "--alarms", "--config", files.config).out == "No alarm is kept.\n"


def test_note_is_no_failure(audit, archive):
    """One log that refuses its proofs is a note, and the exit status stays 0."""
    archive.fronts["birch-1"].heads_only = True
    outcome = audit()
    assert outcome.status == 0
    assert "unreachable" in outcome.out
    assert "3 SCTs; proved: 2, notes: 1, alarms: 0" in outcome.out


def test_no_log_reached(audit, files, world):
    """Where no log can be reached the exit status is 3."""
    files.log_list.write_bytes(log_list_json(world.logs, now=world.now, host="nowhere.lab"))
    outcome = audit()
    assert outcome.status == 3
    assert "proved: 0, notes: 3" in outcome.out


def test_no_upstream_reached(audit):
    """Where no upstream can be reached nothing is asked, and the exit status is 3."""
    outcome = audit("--upstream", "tls://127.0.0.1:1#dns.lab")
    assert outcome.status == 3
    assert "NOT REACHED" in outcome.err


def test_certificate_without_scts(audit, start, world):
    """Where there is nothing to prove, that is said; the verdict refuses such a certificate anyway."""
    _, port = start(world.issue(()))
    outcome = audit("--upstream", f"tls://127.0.0.1:{port}#dns.lab")
    assert outcome.status == 3
    assert "REFUSED" in outcome.out
    assert "nothing could be asked: it has no SCT that a log could be asked about" in outcome.out
    assert "unreadable" not in outcome.out
    assert "no embedded SCTs" in outcome.out


def test_unverified_path_is_not_audited(audit, start, world):
    """Without a verified path nobody knows over which issuer the SCTs were signed."""
    _, port = start(world.issue(authority=world.stranger))
    outcome = audit("--upstream", f"tls://127.0.0.1:{port}#dns.lab", "--json")
    document = json.loads(outcome.out)
    assert (document["scts"], document["allowed"]) == ([], False)
    assert "without a verified path" in document["problem"]


def test_unknown_web_anchors_are_a_note(run, files, audit):
    """A log whose web server is not trusted is not reached; nothing is proved by whoever answers there."""
    outcome = run("audit", "--config", files.config)
    assert outcome.status == 3
    assert "proved: 0" in outcome.out


def test_the_systems_store_does_not_stand_in_for_certifi(run, files, monkeypatch, tmp_path):
    """An inspecting proxy whose root a product has installed would speak for every log."""
    monkeypatch.setattr("certifi.where", lambda: str(tmp_path / "ca-certificates.crt"))
    outcome = run("audit", "--config", files.config)
    assert outcome.status == 2
    assert "this machine's certifi points to" in outcome.err


def test_evidence_that_cannot_be_written(audit, files, tmp_path):
    """Who may not write the evidence audits all the same, and is told what is missing."""
    (tmp_path / "state").write_text("a file where the folder should be")
    outcome = audit()
    assert outcome.status == 0
    assert "EVIDENCE IS NOT KEPT" in outcome.err
    assert "judgements and 0 alarms could not be kept: " in outcome.err


def test_alarm_that_cannot_be_kept_is_shown(audit, archive, tmp_path):
    """A full disk hides no alarm: it is shown, with its exit status, and that it is not kept is said."""
    assert audit().status == 0
    with contextlib.closing(sqlite3.connect(tmp_path / "state" / "evidence.sqlite3")) as database:
        database.execute("CREATE TRIGGER full BEFORE INSERT ON alarm BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    deceit = next(deceit for deceit in DECEITS if deceit.code == "split-view")
    deceit.begin(archive.fronts["alder-1"], 5000)
    outcome = audit()
    assert outcome.status == 1
    assert "split-view" in outcome.out
    assert "not all of this audit is kept" in outcome.err
    assert "disk full" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--chain", "x.pem"), "go together"),
        (("--address", "127.0.0.1"), "go together"),
        (("--chain", "x.pem", "--address", "127.0.0.1", "--kept"), "does not go with"),
        (("--chain", "/nowhere/x.pem", "--address", "127.0.0.1"), "cannot be read"),
        (("--output", "x"), "only with --export"),
        (("--force",), "only with --export"),
        (("--export", "3", "--dismiss", "3"), "one of them at a time"),
        (("--alarms", "--kept"), "one of them at a time"),
        (("--dismiss", "3", "--upstream", "tls://127.0.0.1"), "one of them at a time"),
        (("--dismiss", 0), "not in the range"),
        (("--web-anchors", "/nowhere/x.pem"), "/nowhere/x.pem: cannot be read"),
        (("--web-anchors", "/dev/null"), "/dev/null: cannot be read: not a regular file"),
        (("--export", "7"), "no evidence is kept"),
        (("--alarms",), "no evidence is kept"),
        (("--upstream", "1.1.1.1"), ""),
    ],
)
def test_bad_input(run, files, arguments, complaint):
    """What does not go together, or is not there, is exit status 2 (1 where no evidence is kept) and one sentence."""
    outcome = run("audit", "--config", files.config, *arguments)
    assert outcome.status == (1 if "no evidence" in complaint else 2)
    assert complaint in outcome.err


def test_address_that_is_none(run, files):
    """--address wants an IP address."""
    outcome = run("audit", "--config", files.config, "--chain", files.chain, "--address", "dns.lab")
    assert (outcome.status, "is not an IP address" in outcome.err) == (2, True)


def test_alarms_are_read_at_80_columns(run, files, tmp_path, monkeypatch):
    """The table fits, no word of it is broken, and each alarm's text is one line."""
    monkeypatch.setenv("COLUMNS", "80")
    store = EvidenceStore(tmp_path / "state" / "evidence.sqlite3")
    audited = Audited("aa" * 32, "bb" * 32, "alarm", "tree-head-signature", "x", *["2026-11-02T12:00:00.000Z"] * 2)
    store.audits().keep(audited, [Raised("tree-head-signature", f"Alder 1: {'long ' * 40}", b"{}")])
    store.close()
    lines = run("audit", "--alarms", "--config", files.config).out.splitlines()
    assert [line.split() for line in lines if "tree-head-signature" in line] == [
        ["1", "2026-11-02", "2026-11-02", "1", "tree-head-signature", "aaaaaaaaaaaa…"]
    ]
    assert f"  1: Alder 1: {'long ' * 40}".rstrip() in [line.rstrip() for line in lines]
    assert all(len(line) <= 80 for line in lines if "Alder 1" not in line)


def test_alarm_of_a_hostile_log_cannot_steer_the_terminal(run, files, tmp_path):
    """What a log sent is shown without control characters."""
    store = EvidenceStore(tmp_path / "state" / "evidence.sqlite3")
    audited = Audited("aa" * 32, "bb" * 32, "alarm", "split-view", "\x1b[2J", *["2026-11-02T12:00:00.000Z"] * 2)
    store.audits().keep(audited, [Raised("split-view", "\x1b[2J[bold]", b"{}")])
    store.close()
    outcome = run("audit", "--alarms", "--config", files.config)
    assert "\x1b" not in outcome.out
    assert "[bold]" in outcome.out
