"""Row "hostile peer": some that tests/upstream/test_hostile.py holds against the pool, here against the service."""

import re

import pytest

from tests.faults.lab import Lab, doh, dot, slowest
from tests.upstream.hostile_servers import HOSTILE

CASES = [
    "endless server hello",
    "trickled handshake",
    "hello retry for ever",
    "chain of 16 MiB",
    *[name for name in HOSTILE if name.startswith("tls ")][:2],
    *[name for name in HOSTILE if re.match("h2 .*(settings|continuation|ping|huge|bomb|reset)", name)][:6],
    "dot message without end",
    "dot deaf",
    "h2 shut window and pings",
]
MEMORY = 12.0  # MiB more than before: what is read of one peer at most, and what an allocator makes of it


@pytest.mark.parametrize("case", CASES)
def test_hostile_peer(lab: Lab, case: str) -> None:
    """Preferred to a healthy upstream: the reason is logged, memory is bounded, and every answer is there and right."""
    hostile = HOSTILE[case]
    place = ("1.1.1.1", 853 if hostile.transport == "tls" else 443)
    name = dot if hostile.transport == "tls" else doh
    folder = str(lab.credential_folder(lab.honest))
    elsewhere = (place[0], 8000)
    lab.open(addresses=["1.1.1.1", "1.0.0.1"])
    neighbour = lab.neighbour()  # what it works on its flood must not slow down the healthy one
    neighbour.call(do="open", at=elsewhere, kind="hostile", folder=folder, name=case)
    lab.start([name("1.1.1.1"), dot("1.0.0.1"), doh("1.0.0.1")], '[upstream]\norder = "strict"\n')
    lab.settle()
    before = lab.resident()
    lab.internet.call(do="turn", at=place, to=elsewhere)
    lab.strike("rst", place)
    replies = [reply for _ in range(5) for reply in lab.ask_many(10)]
    assert all(reply.right for reply in replies), [str(reply) for reply in replies if not reply.right]
    lab.figures = {"slowest": slowest(replies), "MiB": lab.resident() - before}
    assert slowest(replies) <= 4.0
    dialled = len(neighbour.call(do="tally", at=elsewhere)["accepted"])
    assert dialled, "the hostile one was never dialled"
    if hostile.reason:
        lab.wait(lambda: re.search(hostile.reason, lab.log), f"{hostile.reason!r} in the log", 10)
    lab.internet.call(do="shut", at=place)
    # It may be dialled again by then, and what is not asked cannot misbehave.
    lab.wait(lambda: lab.connections(place) < dialled, "the end of the hostile connection", 15)
    lab.figures["MiB"] = max(lab.figures["MiB"], lab.resident() - before)
    assert lab.figures["MiB"] <= MEMORY
