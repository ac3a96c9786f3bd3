"""Rows "slow upstream, lossy, reordered, ..." and "fast SERVFAIL from one upstream"."""

import time
from typing import Any

import pytest

from tests.faults.answers import SERVFAIL, TXT
from tests.faults.lab import Lab, doh, dot, slowest

CASES: dict[str, dict[str, Any]] = {
    "slow": {"delay": 2.0},
    "lossy": {"stall": 0.2, "late": 0.25},
    "reordered": {"reorder": 5},
    "one octet": {"piece": 1},
    "lie": {"lie": True},
    "late": {"delay": 4.5},
    "lag": {"lag": 0.3},
}
DOT_CASES: dict[str, dict[str, Any]] = {"twice": {"copies": 2}, "unasked": {"unasked": True}}
EACH = [(transport, case) for transport in ("dot", "doh") for case in CASES] + [("dot", case) for case in DOT_CASES]


@pytest.mark.parametrize(("transport", "case"), EACH)
def test_bad_upstream(lab: Lab, transport: str, case: str) -> None:
    """Many questions at once: each gets its own right answer, or SERVFAIL, within 4 s, and nothing is left over."""
    name, port = {"dot": (dot, 853), "doh": (doh, 443)}[transport]
    bad = ("1.1.1.1", port)
    lab.open([transport], ["1.1.1.1", "1.0.0.1"])
    lab.start([name("1.1.1.1"), name("1.0.0.1")])
    lab.settle()
    descriptors = lab.descriptors()
    lab.set(bad, **CASES.get(case) or DOT_CASES[case])
    asking = [lab.ask_soon(lab.name("a")) for _ in range(20)]
    asking.append(lab.ask_soon(lab.name("big"), TXT, via="tcp"))
    if case != "one octet":  # 300,000 octets one at a time take their seconds, whoever carries them
        asking += [lab.ask_soon(lab.name("a")) for _ in range(25)]
        asking += [lab.ask_soon(lab.name("big"), TXT, via="tcp") for _ in range(10)]
        asking += [lab.ask_soon(lab.name("huge"), TXT, via="tcp") for _ in range(5)]
    replies = [each() for each in asking]
    assert all(reply.right or reply.status == "SERVFAIL" for reply in replies), [str(each) for each in replies]
    lab.figures = {"slowest": slowest(replies), "right": sum(reply.right for reply in replies) / len(replies)}
    assert slowest(replies) <= 4.0
    if case not in {"lie", "late"}:  # it does answer in time
        assert all(reply.right for reply in replies), [str(reply) for reply in replies if not reply.right]
    lab.set(bad, delay=0.0, lag=0.0, stall=0.0, reorder=1, piece=65536, lie=False, copies=1, unasked=False)
    lab.settle()
    assert all(reply.right for reply in lab.ask_many(30))
    lab.wait(lambda: lab.descriptors() <= descriptors + 2, "the descriptors to go", 10)


@pytest.mark.parametrize("transport", ["dot", "doh"])
def test_lost_answers(lab: Lab, transport: str) -> None:
    """One query in five is never answered, on a connection that answers all others: every client gets its answer."""
    name, port = {"dot": (dot, 853), "doh": (doh, 443)}[transport]
    lab.open([transport], ["1.1.1.1", "1.0.0.1"])
    lab.start([name("1.1.1.1"), name("1.0.0.1")])
    lab.settle()
    lab.set(("1.1.1.1", port), lose=5)
    asking = []
    for _ in range(200):
        asking.append(lab.ask_soon(lab.name("a")))
        time.sleep(0.03)  # a client that asks all along
    replies = [each() for each in asking]
    assert all(reply.right for reply in replies), [str(reply) for reply in replies if not reply.right]
    lab.figures = {"slowest": slowest(replies), "late": sum(reply.took > 0.5 for reply in replies) / len(replies)}
    assert slowest(replies) <= 4.0


@pytest.mark.parametrize("transport", ["dot", "doh"])
def test_fast_failure(lab: Lab, transport: str) -> None:
    """One upstream says SERVFAIL at once, the other takes 100 ms: every answer is right."""
    name, port = {"dot": (dot, 853), "doh": (doh, 443)}[transport]
    lab.open([transport], ["1.1.1.1", "1.0.0.1"])
    lab.start([name("1.1.1.1"), name("1.0.0.1")])
    lab.settle()
    lab.set(("1.1.1.1", port), rcode=SERVFAIL)
    lab.set(("1.0.0.1", port), delay=0.1)
    replies = [reply for _ in range(5) for reply in lab.ask_many(10)]
    assert all(reply.right for reply in replies), [str(reply) for reply in replies if not reply.right]
    lab.figures = {"slowest": slowest(replies)}
