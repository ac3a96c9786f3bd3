"""Row "all upstreams down"."""

import time

import pytest

from tests.faults.answers import ZONE
from tests.faults.lab import Lab, Reply

OUTAGES = {
    # where, how it begins, how it ends
    "link": ("internet", "ip link set gw0 down", "ip link set gw0 up\nip address add fd00::1/64 dev gw0 nodad"),
    # nothing on this machine hears of it
    "beyond the router": (
        "internet",
        "ip route add blackhole 10.0.0.2\nip -6 route add blackhole fd00::2",
        "ip route del blackhole 10.0.0.2\nip -6 route del blackhole fd00::2",
    ),
    "prohibited": (
        "resolver",
        "ip route replace prohibit default\nip -6 route replace prohibit default",
        "ip route replace default via 10.0.0.1\nip -6 route replace default via fd00::1",
    ),
}


@pytest.mark.parametrize("how", OUTAGES)
def test_all_down(lab: Lab, how: str) -> None:
    """Cached and stale answers, SERVFAIL with its reason within 4 s; a second after the network is back, answers."""
    place, begins, ends = OUTAGES[how]
    where = lab.net.internet if place == "internet" else lab.net.resolver
    lab.open()
    lab.start()
    lab.settle()
    cached, stale = f"a-cached.{ZONE}", f"ttl1-stale.{ZONE}"
    assert lab.ask(cached).right
    assert lab.ask(stale).right
    lab.net.run(begins, where)
    outage = [lab.ask_soon() for _ in range(5)]
    for _ in range(8):
        outage.append(lab.ask_soon())
        time.sleep(1.0)  # a client that asks all along
    fresh, old = lab.ask(cached), lab.ask(stale)
    assert fresh.right, fresh
    assert old.right, old
    assert old.codes == [3]  # RFC 8914 s4.4: Stale Answer
    down = [each() for each in outage]
    assert all(reply.status == "SERVFAIL" and set(reply.codes) & {22, 23} for reply in down), list(map(str, down))
    lab.figures = {"SERVFAIL": max(reply.took for reply in down), "cached": fresh.took, "stale": old.took}
    assert max(reply.took for reply in down) <= 4.0
    lab.net.run(ends, where)
    lab.figures["recovery"] = recovery(lab)
    assert lab.figures["recovery"] <= 1.0


def test_down_at_the_start(lab: Lab) -> None:
    """Started before the network is there: SERVFAIL with its reason within 4 s, answers a second after it came."""
    lab.open()
    lab.net.run("ip link set wan0 down")
    lab.start()
    reply = lab.ask()
    assert reply.status == "SERVFAIL", reply
    assert set(reply.codes) & {22, 23}, reply
    assert reply.took <= 4.0
    lab.net.run("ip link set wan0 up\nip address add fd00::2/64 dev wan0 nodad")  # which went with the link
    lab.net.run("ip route add default via 10.0.0.1\nip -6 route add default via fd00::1")
    lab.figures = {"recovery": recovery(lab)}
    assert lab.figures["recovery"] <= 1.0


def recovery(lab: Lab) -> float:
    """Seconds from now to the first right answer, where a new name is asked for every 50 ms."""
    start = time.monotonic()
    replies: list[Reply] = []
    waiting = []
    while time.monotonic() < start + 2.0 and not any(reply.right for reply in replies):
        waiting.append(lab.ask_soon())
        time.sleep(0.05)
        replies = [each() for each in waiting if each.done()]
    right = [reply for reply in (each() for each in waiting) if reply.right]
    assert right, "no right answer"
    return min(reply.at + reply.took for reply in right) - start
