"""The portal in virtual time: who may open one and to whom, what goes there meanwhile, and each of its ends."""

import contextlib
import logging
import re

import dns.message
import dns.rrset
import pytest
import trio

from stubresolver import portal as module
from stubresolver.cache import AnswerCache, CacheOptions
from stubresolver.control import Request
from stubresolver.errors import BadInput, NoUpstream
from stubresolver.forward import PortalOptions, parse_places
from stubresolver.local import LocalKnowledge
from stubresolver.portal import Needs, Portal
from stubresolver.resolve import Resolver, ResolverOptions
from stubresolver.upstream import plain
from stubresolver.wire.query import Query

ROUTER = "192.168.1.1"


def ask(name="www.example.com", kind="A"):
    return Query(dns.message.make_query(name, kind, use_edns=0).to_wire())


def answer_with(address, wire, ttl=60):
    response = dns.message.make_response(dns.message.from_wire(wire))
    response.answer.append(dns.rrset.from_text(response.question[0].name, ttl, "IN", "A", address))
    return response.to_wire()


def address(reply):
    """The address in a reply; None where there is none."""
    answer = dns.message.from_wire(reply).answer
    return str(answer[0][0]) if answer else None


async def run_here(function, *arguments, **_):
    """Instead of a thread: virtual time does not wait for one."""
    await trio.lowlevel.checkpoint()
    return function(*arguments)


class Upstreams:
    """Those that are judged: nobody answers, until one does."""

    def __init__(self):
        self.up = False
        self.asked = []

    def exchange_soon(self, query, reply):
        self.asked.append(query)
        reply(answer_with("192.0.2.1", query) if self.up else NoUpstream("unreachable"))


class World:
    """A portal with all that it needs; what a stranger's server is asked, it is asked here."""

    def __init__(self, tmp_path, monkeypatch):
        self.lease = tmp_path / "lease"
        self.lease.write_text(f"nameserver {ROUTER}\nnameserver 9.9.9.9\n")
        self.upstreams, self.cache = Upstreams(), AnswerCache(CacheOptions())
        self.resolver = Resolver(self.upstreams, self.cache, ResolverOptions())
        self.told, self.started, self.clear, self.says = [], [], [], "10.9.9.9"
        self.standing = ""
        known = LocalKnowledge()
        needs = Needs(
            takes=lambda key: not key[:-5].endswith(b"\4corp\0"),
            vet=known.vet_unverified,
            ask_upstreams=self.upstreams.exchange_soon,
            standing=lambda: self.standing,
            started=lambda: self.started.append(True),
            told=lambda: self.told.append(self.portal.state.open),
            wall=lambda: 1_795_000_000,
        )
        self.portal = Portal(parse_places(PortalOptions(servers=(f"dhcp:{self.lease}",))), self.resolver, needs)
        self.command = self.portal.commands
        monkeypatch.setattr(plain, "ask_once", self._ask_once)
        monkeypatch.setattr(module.trio.to_thread, "run_sync", run_here)

    async def _ask_once(self, server, wire, door):
        await trio.lowlevel.checkpoint()
        door.let_out(wire)
        self.clear.append((str(server), wire))
        if self.says is None:
            await trio.sleep_forever()
        return answer_with(self.says, wire)

    async def start(self, seconds=180.0, servers=(ROUTER,)):
        return await self.command["portal.start"](Request(command="portal.start", seconds=seconds, servers=servers))

    async def find(self, *servers):
        return await self.command["portal.find"](Request(command="portal.find", servers=servers))

    async def stop(self):
        return await self.command["portal.stop"](Request(command="portal.stop"))


@pytest.fixture
def world(tmp_path, monkeypatch):
    return World(tmp_path, monkeypatch)


@contextlib.asynccontextmanager
async def running(world):
    async with trio.open_nursery() as nursery:
        await nursery.start(world.resolver.run)
        await nursery.start(world.portal.run)
        yield
        nursery.cancel_scope.cancel()


async def test_names_go_there_for_its_time_alone(autojump_clock, world, caplog):
    """Before and after it a name that nobody can be asked for fails; meanwhile the page's address is found."""
    caplog.set_level(logging.WARNING)
    async with running(world):
        assert address(await world.resolver.answer(ask())) is None
        state = await world.start(60)
        assert (state.open, state.servers, state.source, round(state.left)) == (True, (ROUTER,), str(world.lease), 60)
        world.cache.clear()
        assert address(await world.resolver.answer(ask("login.hotel"))) == "10.9.9.9"
        await trio.sleep(59)
        assert address(await world.resolver.answer(ask())) == "10.9.9.9"
        await trio.sleep(1.5)
        assert address(await world.resolver.answer(ask("late.example"))) is None
    assert [server for server, _ in world.clear] == [f"udp://{ROUTER}"] * 2
    assert world.portal.sent == 2
    state = world.portal.state
    assert (state.open, state.ended, state.queries, state.verified) == (False, "its time is over", 2, False)
    assert world.told == [True, False]
    assert "PORTAL OPEN for 60 s, by a person's command" in caplog.text
    assert f"go to udp://{ROUTER} (of {world.lease}), neither encrypted nor verified" in caplog.text
    assert "PORTAL ENDED: its time is over; queries sent in clear: 2; protection is on" in caplog.text
    assert "hotel" not in caplog.text


async def test_it_ends_when_an_upstream_stands(autojump_clock, world):
    """The login is done: the next name goes to who was judged, and the upstreams were asked all the while."""
    async with running(world):
        await world.start()
        await trio.sleep(20)
        assert 9 <= len(world.upstreams.asked) <= 12
        world.standing, world.upstreams.up = "tls://192.0.2.53", True
        await trio.sleep(2.5)
        state = world.portal.state
        assert (state.open, state.ended, state.verified) == (False, "tls://192.0.2.53 stands, verified", True)
        assert address(await world.resolver.answer(ask())) == "192.0.2.1"
    assert world.clear == []
    assert all(query[12:17] == b"\0\0\2\0\1" for query in world.upstreams.asked[:-1])  # ". NS", no name


async def test_it_ends_by_command_and_by_others(autojump_clock, world):
    """A person, a change of the network, the service's end: each is told with its reason."""
    async with running(world):
        await world.start()
        assert (await world.stop()).ended == "a person stopped it"
        with pytest.raises(BadInput, match="no portal is open"):
            await world.stop()
        await world.start()
        world.portal.end("the network has changed")
        world.portal.end("a second time")
        assert world.portal.state.ended == "the network has changed"
        await world.start()
    assert (world.portal.state.ended, world.portal.state.opened) == ("the service ends", 3)


async def test_another_network_is_another_promise(autojump_clock, world, monkeypatch):
    """Who has agreed to a router's address and is in another network by the time of the start has not agreed to that.

    A private address is there in every network, and somebody else's.
    """
    async with running(world):
        plan = await world.find()
        world.portal.moved()
        agreed = Request(command="portal.start", seconds=60, servers=plan.servers, network=plan.network)
        with pytest.raises(BadInput, match="the network has changed since the servers were named"):
            await world.command["portal.start"](agreed)

        async def moving(function, *arguments, **_):
            world.portal.moved()
            return await run_here(function, *arguments)

        with monkeypatch.context() as patch:
            patch.setattr(module.trio.to_thread, "run_sync", moving)
            with pytest.raises(BadInput, match="the network has changed since the servers were named"):
                await world.start()
        assert not world.portal.state.open
        assert (await world.start()).open
        world.portal.moved()
        assert world.portal.state.ended == "the network has changed, or may have"
    assert world.clear == []


async def test_it_may_end_before_it_begins(autojump_clock, world, monkeypatch):
    """An upstream that stands at that very moment: nothing goes there, and whoever opened it hears why."""

    async def run(_self, task_status):
        world.portal.end("tls://192.0.2.53 stands, verified", verified=True)
        task_status.started()
        await trio.sleep_forever()

    async with running(world):
        with monkeypatch.context() as patch:
            patch.setattr(module.PortalExchanger, "run", run)
            state = await world.start()
        assert (state.open, state.verified) == (False, True)
        await world.resolver.answer(ask())
        assert (await world.start()).open
    assert world.clear == []


async def test_who_waits_at_its_end_hears_why(autojump_clock, world):
    """A query that is on its way there is answered, and said no more."""
    world.says = None
    replies = []
    async with running(world):
        await world.start()
        world.resolver.answer_soon(ask(), replies.append)
        await trio.sleep(0.2)
        await world.stop()
        await trio.sleep(0.1)
        asked = len(world.clear)
        await trio.sleep(5)
    [reply] = map(dns.message.from_wire, replies)
    assert (int(reply.rcode()), reply.options[0].text) == (2, "the portal has ended: ask again")
    assert len(world.clear) == asked == 1


async def test_one_at_a_time(autojump_clock, world):
    """A second start is refused in words, whoever asks at the same moment; the first one goes on."""
    outcomes = []

    async def start():
        try:
            outcomes.append((await world.start(30)).open)
        except BadInput as error:
            outcomes.append(str(error))

    async with running(world):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(start)
            nursery.start_soon(start)
        opened, refused = sorted(outcomes, key=str)
        assert opened is True
        assert re.fullmatch(r"a portal is open already, for \d+ s more; `stubresolver portal --stop` ends it", refused)
        assert world.portal.state.opened == 1


@pytest.mark.parametrize(
    ("seconds", "servers", "words"),
    [
        (0.5, (ROUTER,), "expected 1 s to 600 s"),
        (601, (ROUTER,), "expected 1 s to 600 s"),
        (float("nan"), (ROUTER,), "expected 1 s to 600 s"),
        (float("inf"), (ROUTER,), "expected 1 s to 600 s"),
        (60, (), "a portal to nobody"),
        (60, ("8.8.8.8",), "neither private nor given by this network's DHCP"),
        (60, ("127.0.0.1",), "cannot be the address of another machine"),
        (60, (ROUTER, "::1"), "cannot be the address of another machine"),
        (60, ("192.168.1.7",), "is this resolver itself"),
        (60, ("name.example",), "is no IP address"),
    ],
)
async def test_what_is_refused(autojump_clock, world, seconds, servers, words):
    """Other times, and other servers than the network's own and private ones; nothing has begun then."""
    world.portal.avoid({("192.168.1.7", 53)})
    async with running(world):
        with pytest.raises(BadInput, match=words):
            await world.start(seconds, servers)
        assert (world.portal.state.open, world.started) == (False, [])
        await world.resolver.answer(ask())
    assert world.clear == []


async def test_a_public_server_counts_where_the_network_gave_it(autojump_clock, world):
    """DHCP may name a public one; a person may not."""
    async with running(world):
        assert (await world.start(60, ("9.9.9.9",))).servers == ("9.9.9.9",)
        await world.resolver.answer(ask())
    assert [server for server, _ in world.clear] == ["udp://9.9.9.9"]


async def test_nothing_to_log_in_to(autojump_clock, world):
    """While an upstream stands there is no reason to tell anybody anything."""
    world.standing = "tls://192.0.2.53"
    async with running(world):
        for command in (world.start, world.find):
            with pytest.raises(BadInput, match=r"tls://192\.0\.2\.53 stands, verified: names are resolved"):
                await command()


async def test_find_tells_who_would_see_the_names(autojump_clock, world):
    """The network's servers with their file; what a person names instead; or where was looked in vain."""
    async with running(world):
        plan = await world.find()
        assert (plan.servers, plan.source) == ((ROUTER, "9.9.9.9"), str(world.lease))
        plan = await world.find("10.0.0.1")
        assert (plan.servers, plan.source) == (("10.0.0.1",), "")
        world.lease.write_text("nameserver 127.0.0.1\n")
        with pytest.raises(BadInput, match=f"--server names one.*Looked at: {world.lease}: names no server"):
            await world.find()


async def test_a_person_may_forbid_it(autojump_clock, world):
    """Without places nobody opens one, whatever server is named."""
    portal = Portal((), world.resolver, world.portal._needs)
    with pytest.raises(BadInput, match="here nobody opens a portal"):
        await portal.commands["portal.find"](Request(command="portal.find"))
    with pytest.raises(BadInput, match="here nobody opens a portal"):
        await portal.commands["portal.start"](Request(command="portal.start", seconds=60, servers=(ROUTER,)))


async def test_a_zone_has_its_own_servers(autojump_clock, world):
    """The company's names are told to no hotel."""
    async with running(world):
        await world.start()
        assert address(await world.resolver.answer(ask("www.corp"))) is None
    assert world.clear == []


@pytest.mark.parametrize(
    ("says", "given"), [("10.1.1.1", "10.1.1.1"), ("127.0.0.1", None), ("0.0.0.1", None), ("192.0.2.9", "192.0.2.9")]
)
async def test_what_its_answers_may_be(autojump_clock, world, says, given):
    """The page may be of the private network; this machine's own services are nobody's page. Neither is kept."""
    world.says = says
    async with running(world):
        await world.start()
        reply = await world.resolver.answer(ask())
        assert address(reply) == given
        parsed = dns.message.from_wire(reply)
        assert all(rrset.ttl <= 5 for rrset in (*parsed.answer, *parsed.authority))
        assert world.resolver.answer_nowait(ask(), trio.current_time()) is None


async def test_without_the_service_there_is_none(autojump_clock, world):
    """Before `run`, and after its end."""
    with pytest.raises(BadInput, match="about to stop"):
        await world.start()


async def test_threads_may_be_short(autojump_clock, world, monkeypatch):
    """Then it says so."""

    async def no_thread(*_, **__):
        await trio.lowlevel.checkpoint()
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(module.trio.to_thread, "run_sync", no_thread)
    async with running(world):
        with pytest.raises(BadInput, match="can't start new thread"):
            await world.start()
