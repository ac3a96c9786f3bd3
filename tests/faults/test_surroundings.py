"""Rows "captive portal" and "clock wrong at boot"."""

import time

import pytest

from stubresolver.lab.authority import Credential
from tests.faults.lab import Lab
from tests.faults.launcher import write_clocks

YEAR = 365 * 86400.0
PROBE, TIME_SERVER = "detectportal.firefox.com", "time.cloudflare.com"


def portal(lab: Lab) -> Credential:
    """What a captive portal shows to whoever comes: its own certificate, from nobody's CA."""
    return lab.world.issue((), authority=lab.world.stranger, names=["login.portal.lab"], addresses=())


@pytest.mark.parametrize("shows", ["http", "certificate", "http on 443 alone"])
def test_captive_portal(lab: Lab, shows: str) -> None:
    """Named as such, probe names have their honest addresses, no question leaves; after the login it works."""
    if shows == "certificate":
        lab.open(credential=portal(lab))
    else:
        for place in lab.places():
            lab.internet.call(do="open", at=place, kind="http")
            if shows == "http on 443 alone" and place[1] == 853:
                lab.internet.call(do="shut", at=place, deaf=True)
    lab.start()
    lab.wait(lambda: "login page" in lab.ask().texts, "an extended error that says what it is", 8)
    reply = lab.ask()
    assert reply.status == "SERVFAIL", reply
    assert reply.took <= 4.0
    probe = lab.ask(PROBE)
    assert probe.status == "NOERROR", probe
    assert probe.message.answer, probe
    assert lab.status()["diagnosis"]["kind"] == "captive-portal"
    assert lab.tallies(*lab.places())["application_octets"] == 0
    lab.figures = {"SERVFAIL": reply.took, "probe": probe.took}
    for place in lab.places():
        lab.internet.call(do="shut", at=place)
    lab.open()
    logged_in = time.monotonic()
    lab.wait(lambda: lab.ask(patience=1).right, "an answer after the login", 31)  # the longest pause after a refusal
    lab.figures["after the login"] = time.monotonic() - logged_in


def test_portal_by_hand(lab: Lab) -> None:
    """`portal` asks the server that DHCP gave, for its time; nothing is kept of it, and nothing goes there after it."""
    for place in lab.places():
        lab.internet.call(do="open", at=place, kind="http")
    server = ("10.0.0.1", 53)
    lab.internet.call(do="open", at=server, kind="plain")
    (lab.folder / "resolv.conf").write_text(f"nameserver {server[0]}\n")
    lab.start(more=f'[portal]\nservers = ["dhcp:{lab.folder}/resolv.conf"]\n')
    before = lab.ask()
    assert before.status == "SERVFAIL", before
    assert lab.status()["clear"]["queries"] == 0
    lab.declared.append(server)
    lab.command("portal", "--for", "4s", "--yes", "--detach")
    name = lab.name()
    assert lab.ask(name).right
    assert lab.status()["clear"]["queries"] >= 1
    lab.wait(lambda: lab.ask().status == "SERVFAIL", "the end of its time", 6)
    sent = lab.status()["clear"]["queries"]
    assert lab.ask(name).status == "SERVFAIL"  # not even what was told meanwhile
    assert lab.status()["clear"]["queries"] == sent
    lab.strike("rst")


@pytest.mark.parametrize("years", [-6, 6], ids=["years back", "years ahead"])
def test_wrong_clock(lab: Lab, years: int) -> None:
    """Named as such; a time server's name has its address; once the clock is right it connects by itself."""
    write_clocks(lab.clocks, ahead=years * YEAR)
    lab.open()
    lab.start()
    lab.wait(lambda: "clock" in lab.ask().texts, "an extended error that names the clock", 8)
    reply = lab.ask()
    assert reply.status == "SERVFAIL", reply
    assert reply.took <= 4.0
    server = lab.ask(TIME_SERVER)
    assert server.status == "NOERROR", server
    assert server.message.answer, server
    assert lab.status()["diagnosis"]["kind"] == "clock-wrong"
    write_clocks(lab.clocks)
    right = time.monotonic()
    # The kernel would wake us; a clock that a test moves is looked at once a second.
    lab.wait(lambda: lab.ask(patience=1).right, "an answer once the clock is right", 3)
    lab.figures = {"SERVFAIL": reply.took, "after the clock was set": time.monotonic() - right}
