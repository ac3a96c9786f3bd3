"""Rows "resume, address or route change", "port 853 blocked" and "IPv4-only, IPv6-only, broken IPv6"."""

import time

import pytest

from tests.faults.lab import EVERY, Lab
from tests.faults.launcher import write_clocks
from tests.faults.namespaces import ADDRESSES

DOT = [(address, 853) for address in ADDRESSES]
DOH = [(address, 443) for address in ADDRESSES]


def test_resume(lab: Lab) -> None:
    """After hours of sleep the old connections are dead and nobody said so: they are abandoned without being asked."""
    lab.open()
    lab.start()
    lab.settle()
    lab.strike("deafen")
    before = lab.tallies(*lab.places())["connections"]
    write_clocks(lab.clocks, slept=8 * 3600.0)
    # The kernel would wake us; a clock that a test moves is looked at once a second.
    lab.wait(lambda: lab.tallies(*lab.places())["connections"] > before, "a new connection without a query", 3)
    reply = lab.ask()
    assert reply.right, reply
    assert reply.took <= 1.0
    lab.figures = {"answer": reply.took}


def test_another_network(lab: Lab) -> None:
    """The cable goes, another network comes with other addresses: the first answer is there within a second."""
    lab.open()
    lab.start()
    lab.settle()
    lab.net.move()
    reply = lab.ask()
    assert reply.right, reply
    assert reply.took <= 1.0
    lab.figures = {"answer": reply.took}


def test_route_change(lab: Lab) -> None:
    """A VPN takes the default route; what stands goes nowhere any more, though its interface and address are there."""
    lab.open()
    lab.start()
    lab.settle()
    lab.net.run("ip link set wan1 up")
    lab.settle()  # that alone may be a change of networks
    lab.net.run("ip route add blackhole 10.0.0.2\nip -6 route add blackhole fd00::2", lab.net.internet)
    lab.net.run(
        "ip route replace default via 10.0.1.1 src 10.0.1.2\nip -6 route replace default via fd01::1 src fd01::2"
    )
    reply = lab.ask()
    assert reply.right, reply
    assert reply.took <= 1.0
    lab.figures = {"answer": reply.took}


def test_back_off_ends_with_the_move(lab: Lab) -> None:
    """After ten seconds without any upstream the pauses are long; another network ends them."""
    lab.open()
    lab.start()
    lab.settle()
    lab.net.run("ip link set gw0 down", lab.net.internet)
    for _ in range(10):
        assert lab.ask(patience=1.0).status in {"", "SERVFAIL"}
    lab.net.move()
    reply = lab.ask()
    assert reply.right, reply
    assert reply.took <= 1.0
    lab.figures = {"answer": reply.took}


BLOCKS = {
    # what is done to port 853 in the internet; the first two need no help of the kernel
    "dropped": "",
    "reset": "",
    "nft drop": "tcp dport 853 drop",
    "nft reset": "tcp dport 853 reject with tcp reset",
    "nft icmp": "tcp dport 853 reject with icmpx type admin-prohibited",
}


@pytest.mark.parametrize("how", BLOCKS)
def test_port_blocked(lab: Lab, how: str) -> None:
    """The first answer comes over DoH within a second; while DoH works, blocked DoT is not tried with each query."""
    lab.open()
    if BLOCKS[how] and not lab.net.can("nft", "list", "ruleset"):
        pytest.skip("needs Debian's nftables (nft), and a kernel that has it; the variants without it were run")
    lab.start()
    lab.settle()
    if BLOCKS[how]:
        chain = "{ type filter hook input priority 0 ; }"
        lab.net.run(f"nft add table inet f\nnft add chain inet f c '{chain}'", lab.net.internet)
        lab.net.run(f"nft add rule inet f c {BLOCKS[how]}", lab.net.internet)
    else:
        for place in DOT:
            lab.internet.call(do="shut", at=place, deaf=how == "dropped")
    lab.net.move()  # where the port is blocked
    reply = lab.ask()
    assert reply.right, reply
    assert reply.took <= 1.0
    lab.figures = {"answer": reply.took}
    # What is dropped is known to be only when each of the four has been dialled, for `connect_timeout`, 3 s.
    until = time.monotonic() + 6.0
    while time.monotonic() < until:
        assert lab.ask().right
        time.sleep(0.25)
    if BLOCKS[how]:
        lab.net.run("nft flush ruleset", lab.net.internet)
    else:
        for place in DOT:
            lab.internet.call(do="reopen", at=place)
    before = lab.tallies(*DOT)["connections"], lab.tallies(*DOH)["queries"]
    assert all(lab.ask().right for _ in range(20))
    assert lab.tallies(*DOH)["queries"] >= before[1] + 20
    assert lab.tallies(*DOT)["connections"] == before[0]  # probed again after minutes, which no test waits for


NETWORKS = {
    "IPv4 only": ("ip -6 address flush dev wan1\nip -6 route del default", ""),
    "IPv6 only": ("ip -4 address flush dev wan1", ""),
    "IPv6 goes nowhere": ("", "ip -6 route add blackhole fd01::2"),
    "IPv4 goes nowhere": ("", "ip route add blackhole 10.0.1.2"),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_half_a_network(lab: Lab, kind: str) -> None:
    """Happy eyeballs: in a network where one family is missing or broken the first answer comes within 600 ms."""
    ours, theirs = NETWORKS[kind]
    lab.open()
    lab.start([EVERY[i] for i in ((2, 3, 0, 1, 6, 7, 4, 5) if kind == "IPv6 goes nowhere" else range(8))])
    lab.settle()
    if theirs:
        lab.net.run(theirs, lab.net.internet)
    lab.net.move(ours)
    reply = lab.ask()
    assert reply.right, reply
    assert reply.took <= 0.6
    lab.figures = {"answer": reply.took}
