"""The service's own audits on virtual time: when they ask, when they ask again, what they say; nothing is raised."""

import contextlib
import json
import logging
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
import trio

from stubresolver.audit import Report, read_entries
from stubresolver.audit.background import LOOK, Auditor, tell_kept
from stubresolver.audit.keeping import alarm_octets, audit_and_keep
from stubresolver.audit.keeping import keep as keep_report
from stubresolver.audit.report import Finding, Kind, Received
from stubresolver.ct import LogList
from stubresolver.errors import FetchFailed
from stubresolver.evidence import EvidenceStore
from stubresolver.evidence.audits import MAXIMUM_ALARM, Audited, Raised
from stubresolver.lab.authority import octet_string
from stubresolver.lab.log_api import LogFront
from stubresolver.lab.logs import log_list_json, milliseconds, sct_list, slug
from stubresolver.lab.world import NAME, World
from stubresolver.verify import Presented, Verifier

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
HOST = "logs.lab:4711"
HOUR = 3600.0


@pytest.fixture(scope="module")
def world():
    found = World(NOW)
    found.log_host = HOST
    return found


class Logs:
    """The world's logs as `get` reaches them, without sockets; who asks what is written down."""

    def __init__(self, world, clock):
        self.fronts = {slug(log): LogFront(log, HOST, clock) for log in world.logs}
        self.down = False
        self.asked = []  # (hours since the start, log's name)

    async def get(self, url):
        name, _, path = url.removeprefix(f"https://{HOST}/").partition("/")
        if path in {"checkpoint", "ct/v1/get-sth"}:
            self.asked.append((round(trio.current_time() / HOUR, 1), name))
        page = None if self.down else self.fronts[name].read(path)
        if page is None or page.status != 200:
            raise FetchFailed(f"{url}: no", None if page is None else page.status)
        return page.body


@pytest.fixture
def store(tmp_path, world):
    with contextlib.closing(EvidenceStore(tmp_path / "evidence.sqlite3")) as opened:
        opened.keep_demands(world.policy, world.log_list)
        yield opened


def clock():
    """The wall clock of these tests: NOW, and the virtual time since."""
    return NOW + timedelta(seconds=trio.current_time())


async def inline(function):
    return function()


@pytest.fixture
def logs(world):
    return Logs(world, clock)


def keep(store, world, logged=timedelta(0), at=NOW, upstream="tls://127.0.0.1#dns.lab"):
    """A certificate, allowed and kept, whose SCTs are of `logged` before."""
    chain = world.issue(stamped=-logged, starts=-logged - timedelta(hours=1)).chain
    presented = Presented(ip_address("127.0.0.1"), NAME, chain)
    verdict = Verifier(world.policy, world.log_list).judge(presented, at)
    assert verdict.allowed
    return store.record(upstream, presented, verdict)


async def run_for(hours, store, world, logs):
    """The auditor for so many hours of virtual time; what it told of the number of alarms."""
    told = []
    with trio.move_on_after(hours * HOUR):
        auditor = Auditor(store, lambda: world.log_list, logs.get, clock, in_thread=inline, alarmed=told.append)
        await auditor.run()
    return told


async def test_new_leaf_is_audited_once_when_due(autojump_clock, store, world, logs):
    """A static-ct log is asked an hour after its minute, an RFC 6962 log an hour after its day; then never again."""
    keep(store, world)
    await run_for(24 * 3, store, world, logs)
    assert logs.asked == [(1.2, "birch-1"), (25.0, "alder-1")]
    assert [each.outcome for each in store.audits().outcomes()] == ["proved", "proved"]


async def test_old_leaf_is_audited_at_once(autojump_clock, store, world, logs):
    """What is due at the start is asked at the start."""
    keep(store, world, timedelta(days=3))
    await run_for(1, store, world, logs)
    assert sorted(logs.asked) == [(0.0, "alder-1"), (0.0, "birch-1")]


async def test_leaf_that_comes_later_is_found(autojump_clock, store, world, logs):
    """A certificate that is allowed while the service runs is seen at the next look."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_for, 2, store, world, logs)
        await trio.sleep(HOUR)
        keep(store, world, timedelta(days=3), clock())
    assert [hours for hours, _ in logs.asked] == pytest.approx([1 + LOOK / HOUR] * 2, abs=0.2)


async def test_restart_asks_nobody_again(autojump_clock, store, world, logs):
    """What was proved stays proved: the file remembers."""
    keep(store, world, timedelta(days=3))
    await run_for(1, store, world, logs)
    await run_for(48, store, world, logs)
    assert len(logs.asked) == 2


async def test_same_leaf_of_two_upstreams_is_audited_once(autojump_clock, store, world, logs):
    """The same certificate is one leaf, whoever shows it."""
    chain = world.issue(stamped=timedelta(days=-3), starts=timedelta(days=-3)).chain
    for upstream in ("tls://127.0.0.1", "tls://127.0.0.2"):
        presented = Presented(ip_address("127.0.0.1"), NAME, chain)
        store.record(upstream, presented, Verifier(world.policy, world.log_list).judge(presented, NOW))
    await run_for(24, store, world, logs)
    assert len(logs.asked) == 2


async def test_refused_leaf_is_not_audited(autojump_clock, store, world, logs):
    """Only what was allowed is used, and only that is asked about."""
    presented = Presented(ip_address("127.0.0.1"), NAME, world.issue(authority=world.finish).chain)
    store.record("tls://127.0.0.1", presented, Verifier(world.policy, world.log_list).judge(presented, NOW))
    await run_for(48, store, world, logs)
    assert logs.asked == []


async def test_note_is_repeated_hourly_then_daily(autojump_clock, store, world, logs, caplog, monkeypatch):
    """A log that cannot be reached is asked hourly for a day, then daily; after a week that is a warning."""
    monkeypatch.setattr("stubresolver.audit.background.LOOK", HOUR)
    caplog.set_level(logging.INFO, "stubresolver")
    keep(store, world, timedelta(days=3))
    logs.down = True
    await run_for(24 * 10, store, world, logs)
    times = sorted({hours for hours, _ in logs.asked})
    assert times[:25] == pytest.approx(list(range(25)), abs=0.05)
    assert times[25:] == pytest.approx([24 * day for day in range(2, 10)], abs=0.05)
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2 * 3  # two logs, on the days 7, 8 and 9
    assert "no proof for 7 days" in warnings[0].getMessage()
    assert not [record for record in caplog.records if record.levelno > logging.WARNING]


async def test_log_that_comes_back_is_proved(autojump_clock, store, world, logs):
    """A note is not for ever: once the log answers, the leaf is proved and nobody is asked again."""
    keep(store, world, timedelta(days=3))
    logs.down = True
    await run_for(2.5, store, world, logs)
    logs.down = False
    await run_for(48, store, world, logs)
    assert [each.outcome for each in store.audits().outcomes()] == ["proved", "proved"]
    assert len(logs.asked) == 2 * 4


async def test_alarm_is_logged_as_an_error_and_at_every_start(autojump_clock, store, world, logs, caplog):
    """What is found is said at once, repeated daily while it lasts, and said again whenever the service starts."""
    keep(store, world, timedelta(days=3))
    logs.fronts["alder-1"].root = bytes(32)
    assert await run_for(25, store, world, logs) == [1, 1]
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 2
    assert errors[0].startswith("AUDIT ALARM (wrong-root): tls://127.0.0.1#dns.lab: Alder 1: ")
    caplog.clear()
    assert tell_kept(store.audits()) == 1
    assert "AUDIT ALARM 1 is kept since 2026-11-02 (wrong-root, seen 2 times)" in caplog.text


async def test_gravest_outcome_of_one_log_stands(store, world):
    """Two SCTs of one log are one row: that it holds the second leaf does not hide that it lacks the first."""
    old = Logs(world, lambda: NOW)
    index = world.alder1.tree.size

    def stamp(issuer_key_hash, tbs):
        signing = ((world.alder1, -3), (world.alder1, -2), (world.birch1, -2))
        times = [(log, milliseconds(NOW + timedelta(days=days))) for log, days in signing]
        return octet_string(sct_list([log.sign(issuer_key_hash, tbs, time) for log, time in times]))

    leaf = world.issue(stamp, starts=timedelta(days=-4)).chain[0]
    old.fronts["alder-1"].tree = world.alder1.tree.with_other(index, b"another leaf")
    issuer = bytes.fromhex(world.lab.intermediate_spki_sha256)
    entries = read_entries(leaf, issuer, world.log_list).entries
    reports = await audit_and_keep(store.audits(), entries, old.get, NOW, inline)
    assert [report.outcome.value for report in reports] == ["alarm", "proved", "proved"]
    kept = {each.log: each.outcome for each in store.audits().outcomes()}
    assert kept == {world.alder1.log_id.hex(): "alarm", world.birch1.log_id.hex(): "proved"}


def test_many_alarms_are_told_in_few_lines(store, caplog):
    """At a start ten alarms are named, and how many more there are."""
    for number in range(12):
        audited = Audited("aa" * 32, f"{number:064x}", "alarm", "rollback", "", *["2026-11-02T12:00:00.000Z"] * 2)
        store.audits().keep(audited, [Raised("rollback", f"number {number}", b"{}")])
    assert tell_kept(store.audits()) == 12
    assert len(caplog.records) == 11
    assert caplog.records[-1].getMessage() == "AUDIT ALARMS: 2 more are kept"


def test_alarms_that_cannot_be_read_are_said(store, caplog):
    """A damaged file does not keep the service from starting."""
    store.close()
    assert tell_kept(store.audits()) == 0
    assert "the alarms of the audits cannot be read" in caplog.text


async def test_growing_log_stays_proved_by_its_history(autojump_clock, store, world, logs):
    """The second certificate of a log is held against the tree head of the first."""
    keep(store, world, timedelta(days=3))
    await run_for(1, store, world, logs)
    world.alder1.tree.grow(1000)
    keep(store, world, timedelta(days=3), clock())
    await run_for(1, store, world, logs)
    assert [each.outcome for each in store.audits().outcomes()] == ["proved"] * 4
    assert any("get-sth-consistency" in path for path in logs.fronts["alder-1"].asked)


async def test_list_in_force_decides(autojump_clock, store, world, logs):
    """After a reload it is the new list's logs that are asked; a log that it lacks is not."""
    keep(store, world, timedelta(days=3))
    without = [log for log in world.logs if log.description != "Birch 1"]
    listed = LogList.parse(log_list_json(without, now=NOW, host=HOST))
    await run_for(1, store, replace_list(world, listed), logs)
    assert logs.asked == [(0.0, "alder-1")]


def replace_list(world, listed):
    class Other:
        log_list = listed

    return Other


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE record SET verdict = '{}'",
        "UPDATE record SET verdict = X'00'",
        "UPDATE record SET first_seen = 'yesterday'",
        "UPDATE record SET first_seen = '2026-11-02T12:00:00'",
        "DELETE FROM certificate",
    ],
)
async def test_damaged_record_is_said_and_passed_over(autojump_clock, store, world, logs, caplog, statement):
    """A record that cannot be read is an error once a day, and keeps no other from being audited."""
    keep(store, world, timedelta(days=3))
    store._database.execute(statement)
    keep(store, world, timedelta(days=3), upstream="tls://127.0.0.3#dns.lab")
    await run_for(24.5, store, world, logs)
    assert [hours for hours, _ in logs.asked] == [0.0, 0.0]
    told = [record for record in caplog.records if "could not be audited" in record.getMessage()]
    assert [record.exc_info for record in told] == [None, None]


async def test_clock_that_was_ahead_delays_nothing(autojump_clock, store, world, logs):
    """An outcome that is dated in the future was of a wrong clock: the log is asked when it is due."""
    keep(store, world, timedelta(days=3))
    logs.down = True
    await run_for(0.1, store, world, logs)
    store._database.execute("UPDATE audit SET at = '2036-01-01T00:00:00.000Z'")
    logs.down = False
    await run_for(1, store, world, logs)
    assert [each.outcome for each in store.audits().outcomes()] == ["proved", "proved"]


async def test_certificate_first_seen_by_a_clock_that_was_ahead_is_audited(autojump_clock, store, world, logs):
    """It need not wait for the time that the clock said then."""
    keep(store, world, timedelta(days=3))
    store._database.execute("UPDATE record SET first_seen = '2036-01-01T00:00:00.000Z'")
    await run_for(1, store, world, logs)
    assert [each.outcome for each in store.audits().outcomes()] == ["proved", "proved"]


async def test_defect_of_ours_does_not_end_the_service(autojump_clock, store, world, logs, caplog, monkeypatch):
    """Whatever goes wrong while an answer is read is an error in the log, once a day."""
    keep(store, world, timedelta(days=3))

    async def broken(_url):
        raise RuntimeError("what nobody expected")

    monkeypatch.setattr(logs, "get", broken)
    await run_for(25, store, world, logs)
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 2
    assert "its certificate could not be audited: ExceptionGroup" in errors[0]


def test_what_a_log_said_is_kept_printable(store, world):
    """No character that steers a terminal, and none that a database cannot hold, gets into the file as text."""
    finding = Finding(Kind.ROLLBACK, "\x1b[2J\udc80 \x9b", (Received("tree head", "https://logs.lab/", b"x", 1),))
    (alarm,) = keep_report(store.audits(), report_of(entries_of(world)[0], finding), "")
    assert alarm.detail == "Alder 1: \\x1b[2J\\xdc80 \\x9b"  # who it is about, for whoever reads it alone
    assert f"Alder 1: {store.audits().outcomes()[0].detail}" == alarm.detail


async def test_alarm_that_cannot_be_kept_is_logged(autojump_clock, store, world, logs, caplog):
    """A full disk must not silence it: it is told and counted, and kept at the next visit that finds room."""
    keep(store, world, timedelta(days=3))
    logs.fronts["alder-1"].root = bytes(32)
    store._database.execute("CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    assert await run_for(1, store, world, logs) == [1]
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert "AUDIT ALARM (wrong-root)" in errors[0]
    assert "disk full" in errors[1]
    store._database.execute("DROP TRIGGER full")
    await run_for(1, store, world, logs)
    assert [alarm.kind for alarm in store.audits().alarms()] == ["wrong-root"]


async def test_alarm_that_cannot_be_kept_is_looked_for_again_in_an_hour(autojump_clock, store, world, logs):
    """Not in a day: who could fill the disk for a moment must not win a day."""
    keep(store, world, timedelta(days=3))
    logs.fronts["alder-1"].root = bytes(32)
    store._database.execute("CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    assert await run_for(2.5, store, world, logs) == [1, 1, 1]


async def test_evidence_that_cannot_be_read_ends_nothing(autojump_clock, store, world, logs, caplog):
    """The auditor says so at each look and goes on."""
    store.close()
    await run_for(1, store, world, logs)
    assert len([record for record in caplog.records if "cannot use the evidence" in record.getMessage()]) == 6


def test_kept_alarm_is_bounded_and_keeps_what_convicts_best(world, store):
    """However much was received and however long the URLs are, the first item stays."""
    entry = entries_of(world)[0]
    item = Received("tree head", "https://logs.lab/" + "x" * 30_000, b"x" * 4000, 4000)
    finding = Finding(Kind.SPLIT_VIEW, "two roots " * 1000, (item,) * 10)
    octets = alarm_octets(report_of(entry, finding), finding)
    assert len(octets) <= MAXIMUM_ALARM
    assert len(json.loads(octets)["received"]) == 1


def entries_of(world):
    leaf = world.issue().chain[0]
    return read_entries(leaf, bytes.fromhex(world.lab.intermediate_spki_sha256), world.log_list).entries


def report_of(entry, finding):
    return Report(entry, (finding,), None, None, None, NOW)
