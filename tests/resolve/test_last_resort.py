"""The last resort: a few names that are answered when no upstream can be asked, and never while one can be."""

import dns.message
import trio

from stubresolver.cache import AnswerCache, CacheOptions
from stubresolver.errors import NoUpstream
from stubresolver.resolve import Resolver, ResolverOptions
from stubresolver.wire.edns import short_reply
from stubresolver.wire.query import Query
from tests.resolve.test_resolver import Script, Upstream, ask, respond, running

CLOCK = b"\x05clock\x04test\x04name\0"


class World:
    """A last resort for one name, which may be in force or not."""

    def __init__(self) -> None:
        self.dark = True
        self.asked: list[bytes] = []

    def reply(self, query: Query) -> bytes | None:
        self.asked.append(query.name)
        return short_reply(query, 0, options=b"\0\x0f\0\2\0\x1d") if self.dark and query.name == CLOCK else None


def make(exchanger, world):
    return Resolver(exchanger, AnswerCache(CacheOptions()), ResolverOptions(), last_resort=world.reply)


def name_query(number=1):
    return ask("clock.test.name", number=number)


async def test_who_waited_for_a_flight_that_fails_gets_it(autojump_clock):
    """A flight that fails, with nothing stale kept, ends in the last resort's reply and in no SERVFAIL."""
    world = World()
    world.dark = False
    resolver = make(Upstream(error=NoUpstream("dark")), world)
    replies: list[bytes] = []
    async with running(resolver):
        resolver.answer_soon(name_query(), replies.append)
        resolver.answer_soon(name_query(2), replies.append)
        world.dark = True
        await trio.sleep(2)
    assert [dns.message.from_wire(reply).rcode() for reply in replies] == [0, 0]
    assert [dns.message.from_wire(reply).id for reply in replies] == [1, 2]
    assert resolver.statistics().emergency == 2
    assert resolver.statistics().failures == 1


async def test_afterwards_it_comes_at_once_and_the_upstream_is_tried_beside(autojump_clock):
    """While the last resort has a reply nobody waits for it, no failure is kept, and each query tries an upstream."""
    upstream = Upstream(error=NoUpstream("dark"))
    resolver = make(upstream, World())
    async with running(resolver):
        for number in range(1, 4):
            reply = resolver.answer_nowait(name_query(number), trio.current_time())
            assert reply is not None
            assert dns.message.from_wire(reply).id == number
            await trio.sleep(2)
    assert len(upstream.queries) == 3
    statistics = resolver.statistics()
    assert (statistics.emergency, statistics.local, statistics.background, statistics.queries) == (3, 3, 3, 3)


async def test_an_upstream_that_answers_ends_it(autojump_clock):
    """What an upstream answers takes the place of the last resort, at once and from the cache."""
    world = World()
    upstream = Upstream()
    resolver = make(upstream, world)
    async with running(resolver):
        assert resolver.answer_nowait(name_query(), trio.current_time()) is not None
        await trio.sleep(2)
        reply = dns.message.from_wire(resolver.answer_nowait(name_query(), trio.current_time()))
    assert [str(rdata) for rdata in reply.answer[0]] == ["192.0.2.1"]


async def test_other_names_fail_as_before(autojump_clock):
    """Whoever has no reply of the last resort hears the failure, and it is kept for a moment (RFC 9520)."""
    upstream = Upstream(error=NoUpstream("dark"))
    resolver = make(upstream, World())
    async with running(resolver):
        assert dns.message.from_wire(await resolver.answer(ask())).rcode() == 2
        assert dns.message.from_wire(await resolver.answer(ask())).rcode() == 2
    assert len(upstream.queries) == 1
    assert resolver.statistics().emergency == 0


async def test_a_stale_answer_is_better(autojump_clock):
    """An answer that an upstream once gave is given before the last resort's (RFC 8767 s4)."""
    world = World()
    world.dark = False
    upstream = Upstream(delay=0.0)
    resolver = make(upstream, world)
    async with running(resolver):
        await resolver.answer(name_query())
        await trio.sleep(100)
        upstream.error, world.dark = NoUpstream("dark"), True
        reply = dns.message.from_wire(await resolver.answer(name_query()))
    assert [str(rdata) for rdata in reply.answer[0]] == ["192.0.2.1"]
    assert resolver.statistics().emergency == 0


async def test_a_cached_answer_never_asks_it():
    """The path of a cached answer does not know the last resort."""
    world = World()
    resolver = make(Script(respond), world)
    world.dark = False
    await resolver.answer(name_query())
    world.asked.clear()
    world.dark = True
    assert resolver.answer_nowait(name_query(), trio.current_time()) is not None
    assert world.asked == []
