"""A detour: for a while a server is asked that nobody has verified, and nothing of what it says outlives the moment."""

import contextlib

import dns.message
import dns.rrset
import pytest
import trio

from stubresolver.cache import AnswerCache, CacheOptions
from stubresolver.errors import NoUpstream
from stubresolver.resolve import Resolver, ResolverOptions
from stubresolver.wire.query import Query

VERIFIED, STRANGER = "192.0.2.1", "10.0.0.1"


def ask(name="www.example.com", kind="A"):
    return Query(dns.message.make_query(name, kind, use_edns=0).to_wire())


def address(reply):
    """The address in a reply and its TTL; None where there is none."""
    answer = dns.message.from_wire(reply).answer
    return (str(answer[0][0]), answer[0].ttl) if answer else None


class Server:
    """Answers with one address after a while, or fails."""

    def __init__(self, says, delay=1.0, error=None):
        self.says, self.delay, self.error = says, delay, error
        self.asked = []

    def exchange_soon(self, query, reply):
        self.asked.append(query)
        self.nursery.start_soon(self._answer, query, reply)

    async def _answer(self, query, reply):
        await trio.sleep(self.delay)
        response = dns.message.make_response(dns.message.from_wire(query))
        response.answer.append(dns.rrset.from_text(response.question[0].name, 60, "IN", "A", self.says))
        reply(self.error or response.to_wire())


class Stranger(Server):
    """A detour for every name but those of one zone; it withholds what it is told to."""

    withheld = None

    def takes(self, key):
        return not key[:-5].endswith(b"\4corp\0")

    def vet(self, query, answer):
        return self.withheld


class Instead:
    """Stands in an answer's place."""

    ttl = 60

    def render(self, query, age):
        return b"withheld"


@contextlib.asynccontextmanager
async def made(upstream=None, stranger=None):
    """A resolver with its upstream and a detour that is not set yet."""
    upstream, stranger = upstream or Server(VERIFIED), stranger or Stranger(STRANGER)
    resolver = Resolver(upstream, AnswerCache(CacheOptions()), ResolverOptions())
    async with trio.open_nursery() as nursery:
        upstream.nursery = stranger.nursery = nursery
        await nursery.start(resolver.run)
        yield resolver, upstream, stranger
        nursery.cancel_scope.cancel()


async def test_nothing_of_a_detour_is_kept(autojump_clock):
    """Its answers live five seconds at most, each asker's question goes out anew, and afterwards it is forgotten."""
    async with made() as (resolver, upstream, stranger):
        resolver.detour(stranger)
        assert address(await resolver.answer(ask())) == (STRANGER, 5)
        assert address(await resolver.answer(ask())) == (STRANGER, 5)
        assert (len(stranger.asked), len(upstream.asked)) == (2, 0)
        resolver.detour(None)
        assert address(await resolver.answer(ask())) == (VERIFIED, 60)
        assert resolver.answer_nowait(ask(), trio.current_time()) is not None
        assert len(stranger.asked) == 2


async def test_what_is_verified_and_fresh_comes_first(autojump_clock):
    """A name whose verified answer has not ended is told to nobody."""
    async with made() as (resolver, _, stranger):
        await resolver.answer(ask())
        resolver.detour(stranger)
        assert address(await resolver.answer(ask())) == (VERIFIED, 60)
        assert stranger.asked == []


async def test_what_has_ended_does_not_come_first(autojump_clock):
    """An old address would keep a person from the login page; it is given where the detour has nothing."""
    async with made() as (resolver, upstream, stranger):
        await resolver.answer(ask())
        await trio.sleep(100)
        upstream.error = NoUpstream("unreachable")
        assert address(await resolver.answer(ask())) == (VERIFIED, 30)  # and is held from now on
        resolver.detour(stranger)
        stranger.delay = 3.0  # longer than a client's patience with an ended answer at hand
        assert address(await resolver.answer(ask())) == (STRANGER, 5)
        stranger.error = NoUpstream("unreachable")
        assert address(await resolver.answer(ask())) == (VERIFIED, 30)
        assert len(stranger.asked) == 2


async def test_nobody_is_told_a_name_without_an_asker(autojump_clock):
    """A popular name that is near its end is not fetched anew from a stranger: nothing of it would be kept."""
    async with made() as (resolver, _, stranger):
        for _ in range(4):
            await resolver.answer(ask())
        resolver.detour(stranger)
        await trio.sleep(56)
        assert address(await resolver.answer(ask())) == (VERIFIED, 4)
        await trio.sleep(1)
        assert stranger.asked == []


async def test_the_same_names_go_where_they_always_go(autojump_clock):
    """What the detour does not take is asked and kept as ever."""
    async with made() as (resolver, _, stranger):
        resolver.detour(stranger)
        assert address(await resolver.answer(ask("www.corp"))) == (VERIFIED, 60)
        assert resolver.answer_nowait(ask("www.corp"), trio.current_time()) is not None
        assert stranger.asked == []


@pytest.mark.parametrize("begins", [True, False])
async def test_flights_are_not_shared_across_its_ends(autojump_clock, begins):
    """Whoever asks after its start is not kept waiting by an upstream that is silent; after its end, not lied to."""
    async with made() as (resolver, upstream, stranger):
        resolver.detour(None if begins else stranger)
        replies = []
        resolver.answer_soon(ask(), replies.append)
        await trio.sleep(0.5)
        resolver.detour(stranger if begins else None)
        resolver.answer_soon(ask(), replies.append)
        await trio.sleep(2)
        first, second = (VERIFIED, STRANGER) if begins else (STRANGER, VERIFIED)
        assert [address(reply)[0] for reply in replies] == [first, second]
        assert (len(upstream.asked), len(stranger.asked)) == (1, 1)
        kept = resolver.answer_nowait(ask(), trio.current_time())
        assert (kept is None) is begins
        await resolver.stop(0)


async def test_its_failures_are_not_kept_either(autojump_clock):
    """The next asker may have more luck."""
    async with made(stranger=Stranger(STRANGER, error=NoUpstream("closed"))) as (resolver, _, stranger):
        resolver.detour(stranger)
        reply = dns.message.from_wire(await resolver.answer(ask()))
        assert (int(reply.rcode()), reply.options[0].text) == (2, "closed")
        stranger.error = None
        assert address(await resolver.answer(ask())) == (STRANGER, 5)


async def test_a_detour_vets_its_own_answers(autojump_clock):
    """What it withholds takes the answer's place, for those who wait."""
    async with made() as (resolver, _, stranger):
        resolver.detour(stranger)
        stranger.withheld = Instead()
        assert await resolver.answer(ask()) == b"withheld"
        stranger.withheld = None
        assert address(await resolver.answer(ask())) == (STRANGER, 5)


async def test_many_askers_one_exchange(autojump_clock):
    """A name goes out once for all who ask for it at once."""
    async with made() as (resolver, _, stranger):
        resolver.detour(stranger)
        replies = []
        for _ in range(3):
            resolver.answer_soon(ask(), replies.append)
        await trio.sleep(2)
        assert [address(reply) for reply in replies] == [(STRANGER, 5)] * 3
        assert len(stranger.asked) == 1
