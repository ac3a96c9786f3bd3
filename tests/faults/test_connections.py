"""Rows "reused connection closed by the peer" and "peer goes silent"."""

import pytest

from tests.faults.lab import Lab, doh, dot, slowest

DOT, DOH = ("1.1.1.1", 853), ("1.1.1.1", 443)
STRIKES = [
    ("dot", "fin"),
    ("dot", "rst"),
    ("dot", "close_notify"),
    ("dot", "alert"),
    ("dot", "garbage"),
    ("doh", "fin"),
    ("doh", "rst"),
    ("doh", "close_notify"),
    ("doh", "goaway"),
]


@pytest.mark.parametrize(("transport", "strike"), STRIKES)
def test_closed_connection(lab: Lab, transport: str, strike: str) -> None:
    """Closed while idle and with thirty queries in flight: no client sees an error, and one handshake mends it."""
    place = DOT if transport == "dot" else DOH
    lab.open([transport], ["1.1.1.1"])
    lab.start([dot("1.1.1.1") if transport == "dot" else doh("1.1.1.1")])
    lab.settle()
    before = lab.tallies(place)
    lab.strike(strike, place)
    idle = lab.ask()
    assert idle.right, idle
    after = lab.tallies(place)
    assert after["handshakes"] - before["handshakes"] <= 1
    lab.set(place, delay=0.4)
    waiting = [lab.ask_soon() for _ in range(30)]
    lab.wait(lambda: lab.tallies(place)["queries"] >= after["queries"] + 30, "thirty queries in flight")
    lab.set(place, delay=0.0)
    lab.strike(strike, place)
    replies = [each() for each in waiting]
    assert all(reply.right for reply in replies), [str(reply) for reply in replies if not reply.right]
    assert lab.tallies(place)["handshakes"] - after["handshakes"] <= 1
    lab.figures = {"idle": idle.took, "in flight": slowest(replies)}
