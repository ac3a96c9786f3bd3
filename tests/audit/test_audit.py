"""Several SCTs at once: all logs at the same time, each log one after the other, what was seen handed on."""

from dataclasses import replace
from datetime import timedelta

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import ec

from stubresolver.audit import Kind, Outcome, audit
from stubresolver.ct import LogKind, LogState
from stubresolver.errors import FetchFailed
from tests.audit.fakes import DAY, HOUR, NOW, FakeLog, forked, make_entry, milliseconds, relisted
from tests.ct.signing import Signer

RFC, STATIC = LogKind.RFC6962, LogKind.STATIC_CT


def three():
    """Three logs with keys and places of their own."""
    made = []
    for number, kind in enumerate((RFC, STATIC, STATIC)):
        signer = Signer(ec.generate_private_key(ec.SECP256R1()), kind, origin=f"log{number}.example")
        made.append(FakeLog(kind, signer=signer, url=f"https://read{number}.example/"))
    return made


class Web:
    """Fetches from the right log, each answer after `delay` seconds; counts how many wait at once."""

    def __init__(self, logs, delay=1):
        self.logs = logs
        self.delay = delay
        self.waiting = {}
        self.most = {}

    async def get(self, url):
        log = next(log for log in self.logs if url.startswith(log.log.url))
        name = log.log.url
        self.waiting[name] = self.waiting.get(name, 0) + 1
        self.most[name] = max(self.most.get(name, 0), self.waiting[name])
        try:
            await trio.sleep(self.delay)
            return await log.get(url)
        finally:
            self.waiting[name] -= 1


async def test_three_logs_take_the_time_of_one(autojump_clock):
    """Every log is asked at once; an RFC 6962 log takes two questions, a static-ct log two rounds."""
    logs = three()
    web = Web(logs)
    reports = await audit([log.entry for log in logs], web.get, {}, NOW)
    assert [report.outcome for report in reports] == [Outcome.PROVED] * 3
    assert [report.log for report in reports] == [log.log for log in logs]
    assert trio.current_time() == 2


async def test_one_slow_log_does_not_spoil_the_others(autojump_clock):
    """A log that does not answer is a note of its own."""
    logs = three()
    logs[1].answers[""] = FetchFailed("not complete after 10 s")
    reports = await audit([log.entry for log in logs], Web(logs).get, {}, NOW)
    assert [report.outcome for report in reports] == [Outcome.PROVED, Outcome.NOTE, Outcome.PROVED]


async def test_each_log_is_held_against_its_own_head(autojump_clock):
    """The tree heads seen before are found by log id, and those to be remembered come back one for each log."""
    logs = three()
    logs[2].show(300, tree=forked(logs[2], 150))
    reports = await audit(
        [log.entry for log in logs], Web(logs).get, {log.log.log_id: log.head(200) for log in logs}, NOW
    )
    assert [report.kind for report in reports] == [Kind.INCLUDED, Kind.INCLUDED, Kind.INCONSISTENT]
    assert [report.head is not None for report in reports] == [True, True, False]


async def test_the_entries_of_one_log_are_proved_one_after_the_other(autojump_clock):
    """Two promises of one log, in the order that was asked for; the second tree is held against the first."""
    log = three()[0]
    other = make_entry(log.signer, log.log, 90)
    log.tree.leaves[90] = replace(other, merkle_leaf=other.merkle_leaf.replace(b"tbs", b"TBS")).merkle_leaf
    other = replace(other, merkle_leaf=log.tree.leaves[90])
    reports = await audit([other, log.entry], Web([log]).get, {}, NOW)
    assert [report.index for report in reports] == [90, 70]
    assert [report.head is not None for report in reports] == [True, False]
    assert trio.current_time() == 4


async def test_a_log_with_two_faces_in_one_run_is_caught(autojump_clock):
    """What it shows for one entry and for the next is one size with two roots, though nothing was seen before."""
    log = three()[0]
    other = make_entry(log.signer, log.log, 90)
    second = log.signer.head(300, milliseconds(NOW), forked(log, 200).root(300))
    log.answers["get-sth"] = [log.signer.head(300, milliseconds(NOW - HOUR), log.tree.root(300)), second]
    reports = await audit([log.entry, replace(other, merkle_leaf=b"other")], Web([log]).get, {}, NOW)
    assert reports[0].outcome is Outcome.PROVED
    assert reports[1].kind is Kind.SPLIT_VIEW


async def test_the_same_promise_is_asked_about_once(autojump_clock):
    """Two upstreams with one certificate are one question and two reports."""
    log = three()[0]
    reports = await audit([log.entry, log.entry], Web([log]).get, {}, NOW)
    assert reports[0] is reports[1]
    assert len(log.asked) == 2


async def test_nothing_to_prove_is_nothing(autojump_clock):
    """No entries, no questions, no reports."""
    assert await audit([], Web([]).get, {}, NOW) == []


async def test_a_log_is_not_flooded(autojump_clock):
    """A tree of many levels needs many tiles; no more than eight are asked for at once, and each only once."""
    log = three()[1]
    log.answers["checkpoint"] = log.signer.head((1 << 40) - 1, milliseconds(NOW), bytes(32))
    log.answers["tile/"] = FetchFailed("busy", 503)
    web = Web([log])
    reports = await audit([log.entry], web.get, {}, NOW)
    assert reports[0].kind is Kind.UNREACHABLE
    assert web.most[log.log.url] == 8
    assert len(log.asked) == len(set(log.asked)) == 10


async def test_an_audit_can_be_cancelled(autojump_clock):
    """A deadline of the caller ends it at once, with every question."""
    logs = three()
    web = Web(logs, delay=60)
    with trio.move_on_after(5) as scope:
        await audit([log.entry for log in logs], web.get, {}, NOW)
    assert scope.cancelled_caught
    assert trio.current_time() == 5
    assert set(web.waiting.values()) == {0}


def misdated(log, by):
    """The log's tree head is of another time than the clock here says it is."""
    log.show(300, NOW + by)


@pytest.mark.parametrize("by", [-4 * DAY, 4 * DAY, timedelta(days=365), -timedelta(days=365)], ids=str)
async def test_a_wrong_clock_here_accuses_nobody(autojump_clock, by):
    """Logs of several operators cannot all be late, or early, at once: it is our clock, and nothing more is said."""
    logs = of_operators(three(), "Alder", "Birch", "Birch")
    for log in logs:
        misdated(log, by)
    reports = await audit([log.entry for log in logs], Web(logs).get, {}, NOW)
    kinds = {finding.kind for report in reports for finding in report.findings}
    assert kinds <= {Kind.CLOCK, Kind.INCLUDED, Kind.TOO_EARLY}
    assert [report.outcome for report in reports] == [Outcome.NOTE] * 3
    assert "the clock here is wrong" in reports[0].detail


@pytest.mark.parametrize(
    ("operators", "days", "accused"),
    [
        (("Alder", "Birch", "Cedar"), (-4, -4, 0), (True, True, False)),  # one dates it well: the clock is right
        (("Alder", "Birch", "Cedar"), (-4, 4, -4), (True, True, True)),  # they do not say alike
        (("Alder", "Alder", "Alder"), (-4, -4, -4), (True, True, True)),  # one operator may well be late everywhere
    ],
)
async def test_a_clock_that_is_right_excuses_nobody(autojump_clock, operators, days, accused):
    """Only where all say alike, and more than one operator does, is the clock to blame."""
    logs = of_operators(three(), *operators)
    for log, number in zip(logs, days, strict=True):
        misdated(log, number * DAY)
    reports = await audit([log.entry for log in logs], Web(logs).get, {}, NOW)
    assert tuple(report.outcome is Outcome.ALARM for report in reports) == accused


async def test_a_log_that_stands_still_is_no_witness_of_the_clock(autojump_clock):
    """An old tree head of a retired log fits any clock: it neither blames ours nor clears it."""
    logs = of_operators(three(), "Alder", "Birch", "Cedar")
    relisted(logs[0], state=LogState.RETIRED, state_since=NOW - 99 * DAY)
    for log in logs:
        misdated(log, -4 * DAY)
    reports = await audit([log.entry for log in logs], Web(logs).get, {}, NOW)
    assert [Kind.CLOCK in {each.kind for each in report.findings} for report in reports] == [False, True, True]
    logs[2].show(300, NOW)
    reports = await audit([log.entry for log in logs], Web(logs).get, {}, NOW)
    assert [report.kind for report in reports][1:] == [Kind.STALE_TREE_HEAD, Kind.INCLUDED]


def of_operators(logs, *names):
    return [relisted(log, operator=name) for log, name in zip(logs, names, strict=True)]
