"""What is around the upstreams: what is told of it, when, how often, and which names are answered because of it."""

import logging
from dataclasses import replace

import dns.message
import pytest
import trio

from stubresolver.app import App
from stubresolver.config import Settings
from stubresolver.errors import ConnectFailed
from stubresolver.netwatch import Change, Kind
from stubresolver.surroundings import TELL_SECONDS, Surroundings
from stubresolver.upstream import DialFailed, Judged, PoolStatistics, parse_upstream
from stubresolver.upstream.diagnosis import Kind as Trouble
from stubresolver.verify import Finding, Outcome, Rule
from stubresolver.wire import Query
from tests.test_app import FAILED, judged
from tests.upstream.test_diagnosis import HTTP, STANDS, UNREACHED, UNTRIED

HOME = Change(Kind.NETWORK, "home", reachable=True)
AWAY = Change(Kind.NETWORK, "", reachable=False)


class World:
    """Surroundings of upstreams that a test makes stand or fall."""

    def __init__(self, *lines, **options):
        self.lines, self.asked, self.told = lines, 0, 0
        self.around = Surroundings(self.statistics, told=self.tell, **options)

    def statistics(self):
        self.asked += 1
        return PoolStatistics(tuple(self.lines))

    def tell(self):
        self.told += 1


def ask(name="time.cloudflare.com", kind="A"):
    return Query(dns.message.make_query(name, kind, use_edns=0).to_wire())


@pytest.fixture
def lines(caplog):
    """What was logged, without what came before."""
    caplog.set_level(logging.INFO, "stubresolver")

    def taken():
        found = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return found

    return taken


def test_the_last_resort_is_for_when_nothing_stands_and_something_failed():
    """Not while one stands, not before anything was tried; with no network at all without a try."""
    assert World(STANDS, UNREACHED).around.last_resort(ask()) is None
    assert World(UNTRIED, UNTRIED).around.last_resort(ask()) is None
    assert World(UNREACHED, UNTRIED).around.last_resort(ask()) is not None
    silent = replace(STANDS, state="silent")
    assert World(UNREACHED, silent).around.last_resort(ask()) is not None
    idle = replace(UNTRIED, connections=3)
    assert World(UNREACHED, idle).around.last_resort(ask()) is None, "one that has served may serve again"
    assert World(UNREACHED, replace(UNREACHED, connections=3)).around.last_resort(ask()) is not None
    away = World(UNTRIED)
    away.around.network = away.around.network.__class__("", reachable=False)
    assert away.around.last_resort(ask()) is not None


def test_the_last_resort_can_be_switched_off():
    """[local] emergency = false: no name is answered out of the table."""
    assert World(UNREACHED, emergency=False).around.last_resort(ask()) is None


def test_a_name_that_others_are_asked_for_is_theirs():
    """A name in a forward zone fails by its own servers and is not answered here."""
    world = World(UNREACHED, elsewhere=lambda name: name.endswith(b"\3ntp\3org\0"))
    assert world.around.last_resort(ask("pool.ntp.org")) is None
    assert world.around.last_resort(ask("time.google.com")) is not None


def test_other_names_cost_no_look_at_the_upstreams():
    """Every miss asks the last resort: what is not in its table is decided by the name alone."""
    world = World(UNREACHED)
    assert world.around.last_resort(ask("www.example.com")) is None
    assert world.asked == 0


async def test_those_who_fail_are_told_why_without_a_look_each(autojump_clock):
    """A thousand failures in a moment are one diagnosis; a quarter of a second later it is made anew."""
    world = World(HTTP)
    assert all("login page" in world.around.explain().text for _ in range(1000))
    assert world.asked == 1
    world.lines = (STANDS,)
    await trio.sleep(0.3)
    assert world.around.explain().told == ""
    assert world.asked == 2


async def test_a_change_is_explained_at_once(autojump_clock):
    """What was said of the network before says nothing of this one."""
    world = World(HTTP)
    assert "login page" in world.around.explain().text
    world.around.take(AWAY)
    assert "not connected" in world.around.explain().text


async def test_a_diagnosis_is_logged_once(autojump_clock, lines):
    """However many dials fail, one line says what is the matter, and one that it is over."""
    world = World(UNREACHED, UNREACHED)
    for _ in range(5):
        world.around.notice()
    (line,) = lines()
    assert line.startswith("unreachable: no upstream can be reached")
    world.lines = (HTTP, HTTP)
    await trio.sleep(TELL_SECONDS)
    world.around.notice()
    (line,) = lines()
    assert line.startswith("captive-portal: perhaps a login page")
    world.lines = (STANDS, HTTP)
    world.around.notice()
    world.around.notice()
    assert lines() == ["an upstream can be asked again"]
    assert world.told == 3
    assert world.around.noticed.kind is Trouble.FINE


async def test_what_a_diagnosis_says_of_all_is_not_said_of_each(autojump_clock):
    """Without a network every dial fails, by a wrong clock every judgement: eight upstreams add nothing to the line."""
    world = World(UNREACHED)
    upstream = parse_upstream("tls://127.0.0.1#dns.lab")
    failed = DialFailed(upstream, ConnectFailed("network is unreachable"))
    by_clock = Judged(upstream, judged(Finding(Rule.CLOCK_FLOOR, Outcome.FAIL, "", "the clock says 2019")))
    world.around.notice()
    assert not world.around.covers(failed), "nobody can be reached, each in its own way"
    assert not world.around.covers(by_clock)
    world.around.take(AWAY)
    assert world.around.covers(failed)
    assert not world.around.covers(by_clock)
    world.around.take(HOME)
    assert not world.around.covers(failed)
    world.around.clock = "clock.floor: the clock says 2019"
    world.around.notice()
    assert world.around.covers(by_clock)
    assert not world.around.covers(failed)
    assert not world.around.covers(Judged(upstream, judged(FAILED)))


async def test_a_trouble_that_changes_its_face_fills_no_journal(autojump_clock, lines):
    """Dials that are answered by a stranger now and by nobody then are one line in ten seconds, not one each."""
    world = World(UNREACHED)
    for _ in range(30):
        for each in (HTTP, UNREACHED):
            world.lines = (each,)
            world.around.notice()
        await trio.sleep(1)
    assert 2 <= len(lines()) <= 4
    world.around.take(AWAY)
    assert lines()[-1].startswith("no-network")


async def test_of_all_upstreams_it_is_said_when_all_were_tried(autojump_clock, lines):
    """The first dial that fails is no network's fault yet; nor is a clock doubted for one certificate."""
    world = World(HTTP, UNTRIED)
    world.around.notice()
    assert lines() == []
    world.lines = (HTTP, UNREACHED)
    world.around.notice()
    assert len(lines()) == 1


async def test_a_start_without_trouble_is_no_news(autojump_clock, lines):
    """Nothing failed, one stands: that is logged where it was judged."""
    world = World(UNTRIED)
    world.around.notice()
    world.lines = (STANDS,)
    world.around.notice()
    assert lines() == []
    assert world.told == 0


async def test_the_first_network_is_no_change(autojump_clock, lines):
    """At the start the network is told, and nothing has changed."""
    world = World(UNTRIED)
    world.around.take(HOME)
    assert lines() == []
    world.around.take(Change(Kind.NETWORK, "cafe", reachable=True))
    assert lines() == ["another way to the upstreams: connections are made anew"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (Change(Kind.RESUME, "home", reachable=True), "the machine has slept: connections are made anew"),
        (Change(Kind.CLOCK, "home", reachable=True), "the clock was set: what was refused by the earlier time"),
        (AWAY, "no network"),
    ],
)
async def test_each_change_is_a_line(autojump_clock, lines, change, said):
    """A resume, a clock that was set, a network that is gone."""
    world = World(UNTRIED)
    world.around.take(HOME)
    world.around.take(change)
    assert lines()[0].startswith(said)


async def test_a_network_that_flaps_fills_no_journal(autojump_clock, lines):
    """One line in ten seconds, which counts the rest."""
    world = World(STANDS)
    world.around.take(HOME)
    for _ in range(60):
        world.around.take(Change(Kind.NETWORK, "cafe", reachable=True))
        await trio.sleep(0.25)
    said = lines()
    assert len(said) == 2
    assert said[1].endswith("(39 changes before)")


class FakePool:
    """Counts what it is told."""

    def __init__(self):
        self.calls = []

    def moved(self, network):
        self.calls.append(network)

    def clock_set(self):
        self.calls.append("clock")

    def statistics(self):
        return PoolStatistics(())


async def test_every_pool_is_told_and_failures_are_forgotten(autojump_clock):
    """A move goes to the pools of the forward zones, too; what could not be reached before may be asked for again."""
    app = App(Settings(upstreams=()), demands={})
    pools = app._pool, zone = FakePool(), FakePool()
    app._forwarding._pools = [zone]
    forgotten = []
    app._cache = type("Cache", (), {"forget_failures": lambda _: forgotten.append(1)})()
    app.moved(HOME)
    app.moved(Change(Kind.RESUME, "home", reachable=True))
    app.moved(Change(Kind.CLOCK, "home", reachable=True))
    assert [pool.calls for pool in pools] == [["home", "home", "clock"]] * 2
    assert len(forgotten) == 3
    assert app.surroundings.network.key == "home"
    assert app.diagnosis.kind is Trouble.CONNECTING
