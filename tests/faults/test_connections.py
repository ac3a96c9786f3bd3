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


@pytest.mark.parametrize("transport", ["dot", "doh"])
@pytest.mark.parametrize("second", [True, False], ids=["second upstream", "same upstream"])
def test_silent_peer(lab: Lab, transport: str, second: bool) -> None:
    """Half-open with twenty queries in flight: answers within 2 s by a new connection, and the old one is dropped."""
    name = {"dot": dot, "doh": doh}[transport]
    addresses = ["1.1.1.1", "1.0.0.1"] if second else ["1.1.1.1"]
    lab.open([transport], addresses)
    lab.start([name(each) for each in addresses])
    lab.settle()
    place = DOT if transport == "dot" else DOH
    assert lab.tallies(place)["standing"] == 1
    if second:
        lab.set(place, swallow=True)  # what is dialled anew is not better
    lab.strike("deafen", place)
    replies = lab.ask_many(20)
    assert all(reply.right for reply in replies), [str(reply) for reply in replies if not reply.right]
    lab.figures = {"answers": slowest(replies)}
    assert slowest(replies) <= 2.0
    again = lab.ask()
    assert again.right, again
    assert again.took <= 1.0  # whoever answered last is asked first
    if not second:
        lab.wait(lambda: lab.tallies(place)["standing"] == 1, "the end of the silent connection", 5)


def test_silent_while_idle(lab: Lab) -> None:
    """The first query after the silence began is answered within 2 s, too, with all eight upstreams configured."""
    lab.open()
    lab.start()
    lab.settle()
    lab.strike("deafen")
    reply = lab.ask()
    assert reply.right, reply
    assert reply.took <= 2.0
    lab.figures = {"answer": reply.took}
