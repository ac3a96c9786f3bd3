"""Row "upstream refuses by policy"."""

import time
from collections.abc import Iterable
from ipaddress import ip_address

import pytest

from stubresolver.lab.authority import Credential
from tests.faults.lab import Lab
from tests.faults.namespaces import ADDRESSES

MINUTE = 60.0


def rogue(lab: Lab) -> Credential:
    """Fina's part: a CA that the store trusts and our policy does not."""
    return lab.world.issue(authority=lab.world.finish, addresses=[ip_address(each) for each in ADDRESSES])


def test_others_are_tried(lab: Lab) -> None:
    """Three of four addresses are refused: the fourth answers, and no octet of a query reached the three."""
    lab.open(addresses=ADDRESSES[:3], credential=rogue(lab))
    lab.open(addresses=ADDRESSES[3:])
    lab.start()
    lab.settle()
    assert all(reply.right for reply in lab.ask_many(20))
    refused = [place for place in lab.places() if place[0] != ADDRESSES[3]]
    tally = lab.tallies(*refused)
    assert tally["connections"]
    assert tally["application_octets"] == 0


@pytest.mark.slow
def test_steady_refusal(lab: Lab) -> None:
    """All are refused: SERVFAIL within 4 s with the rule's text; four dials a minute, though clients keep asking."""
    lab.open(credential=rogue(lab))
    lab.start()
    reply = lab.ask()
    assert reply.status == "SERVFAIL", reply
    assert "issuer" in reply.texts, reply
    assert reply.took <= 4.0
    replies = []
    until = time.monotonic() + MINUTE + 5
    while time.monotonic() < until:
        replies.append(lab.ask_soon())
        time.sleep(0.2)
    got = [each() for each in replies]
    assert {each.status for each in got} == {"SERVFAIL"}
    assert max(each.took for each in got) <= 4.0
    dials = {
        address: sorted(at for port in (853, 443) for at in lab.tally((address, port))["accepted"])
        for address in ADDRESSES
    }
    assert all(dials.values())  # each was tried
    worst = max(in_a_minute(each) for each in dials.values())
    lab.figures = {"dials a minute": worst, "answer": reply.took}
    assert worst <= 4, dials
    assert lab.tallies(*lab.places())["application_octets"] == 0


def in_a_minute(moments: Iterable[float]) -> int:
    """The most of these moments that lie within one minute."""
    ordered = list(moments)
    return max(sum(start <= each < start + MINUTE for each in ordered) for start in ordered)
