"""The log's lines about upstreams: what goes wrong all night long fills no journal, and nothing new is left out."""

import logging

import pytest

from stubresolver.errors import ConnectFailed
from stubresolver.loglines import EventLog
from stubresolver.upstream import ConnectionLost, DialFailed, Judged, parse_upstream
from tests.test_app import FAILED, PASSED, judged

ONE, OTHER = parse_upstream("tls://127.0.0.1#dns.lab"), parse_upstream("tls://127.0.0.2#dns.lab")


def failed(upstream=ONE, why="unreachable"):
    return DialFailed(upstream, ConnectFailed(f"{upstream}: {why}"))


@pytest.fixture
def lines(caplog):
    """What events are logged as; a number is so many seconds in between."""
    caplog.set_level(logging.INFO, "stubresolver")

    def told(*events):
        time = [0.0]
        log = EventLog(lambda: time[0])
        for event in events:
            if isinstance(event, float):
                time[0] += event
            else:
                log.report(event)
        return [record.getMessage() for record in caplog.records]

    return told


def test_the_same_failure_again_and_again(lines):
    """The first, second, fourth, eighth time: a thousand in a row are eleven lines, with their number."""
    said = lines(*[failed()] * 1100)
    assert len(said) == 11
    assert said[:3] == [
        f"{ONE}: unreachable",
        f"{ONE}: unreachable (2 times in a row)",
        f"{ONE}: unreachable (4 times in a row)",
    ]
    assert said[-1].endswith("(1024 times in a row)")


def test_each_upstream_counts_for_itself(lines):
    """What another one comes to says nothing of this one."""
    assert len(lines(*[failed(ONE), failed(OTHER)] * 3)) == 4


def test_another_failure_is_news(lines):
    """A failure of another kind, and the first after a success, are told at once."""
    said = lines(*[failed()] * 3, failed(why="refused"), failed())
    assert len(said) == 4
    assert said[-1] == f"{ONE}: unreachable (4 times)", "no row any more, and not the same line once more"


@pytest.mark.parametrize(("kinds", "most"), [(2, 22), (1100, 8 + 11)])
def test_who_is_in_the_way_fills_no_journal(lines, kinds, most):
    """It is he who says how a handshake fails: now this way, now that way, or never twice the same."""
    assert len(lines(*[failed(why=f"reason {number % kinds}") for number in range(1100)])) <= most


def test_after_a_success_it_begins_anew(lines):
    """A connection that stood, or was lost, ends the row."""
    said = lines(*[failed()] * 3, Judged(ONE, judged(PASSED)), failed(), failed())
    assert [line.rpartition(": ")[2] for line in said[:2]] == ["unreachable", "unreachable (2 times in a row)"]
    assert said[2].startswith(f"{ONE}: allowed")
    assert len(said) == 5
    assert len(lines(ConnectionLost(ONE, "reset"), ConnectionLost(ONE, "reset"))) == 5 + 2


def test_who_lets_connections_stand_and_breaks_them_fills_no_journal(lines):
    """A thousand in a minute are 32 lines and one in five seconds more, with how many there would have been."""
    stands, lost = Judged(ONE, judged(PASSED)), ConnectionLost(ONE, "reset")
    said = lines(*[failed(), stands, lost, 0.06] * 1000)
    left_out = [line for line in said if "left out" in line]
    assert len(said) == 32 + 11 + len(left_out)
    assert left_out[0] == f"{ONE}: it comes and goes: {3 * 84 - 32} lines about it were left out"
    assert len(left_out) == 11


def test_who_closes_what_is_idle_is_told_of_each_time(lines):
    """Most servers do so after ten seconds or more; a judgement that a person has asked for is told however it is."""
    stands, lost = Judged(ONE, judged(PASSED)), ConnectionLost(ONE, "closed")
    assert len(lines(*[stands, 10.0, lost] * 1000)) == 2000
    assert len(lines(*[Judged(ONE, judged(PASSED), again=True)] * 100)) == 2100


def test_a_lost_connection_is_told_once(lines):
    """A connection that ends by an error of the line says so in its own words already."""
    said = lines(ConnectionLost(ONE, "connection lost: reset by peer"), ConnectionLost(ONE, "closed by the peer"))
    assert said == [f"{ONE}: connection lost: reset by peer", f"{ONE}: connection lost: closed by the peer"]


def test_refusals_count_alike(lines):
    """A certificate that is refused for hours is told as rarely, and as loudly."""
    said = lines(*[Judged(ONE, judged(FAILED))] * 5)
    assert len(said) == 3
    assert all("REFUSED" in line for line in said)
    assert said[1].endswith("(2 times in a row)")
