"""The resolver while too much is asked, on virtual time: who is sent away, who gives way, what is left afterwards."""

import dns.message
import pytest
import trio

from stubresolver.cache import AnswerCache, CacheOptions
from stubresolver.resolve import Resolver, ResolverOptions
from stubresolver.wire.query import Query
from tests.resolve.test_resolver import Script, Upstream, ask, codes, make, reason, respond, running

FLOODED = (2, 0, "overloaded: more new names are asked for than can be fetched")
CROWDED = (2, 0, "too many queries under way")


class Silent:
    """An exchanger that keeps every question and answers when told."""

    def __init__(self):
        self.asked = []

    def exchange_soon(self, query, reply):
        self.asked.append((query, reply))

    def answer(self, number):
        query, reply = self.asked[number]
        reply(respond(query))


def come(resolver, replies, name, asker, number=1):
    """A listener's client asks: what it is told at once, or None."""
    query = ask(name, number=number)
    refusal = resolver.shed(query, trio.current_time(), asker)
    if refusal is None:
        resolver.answer_soon(query, replies.append, asker)
    return refusal


async def test_greedy_asker_leaves_half(autojump_clock):
    """One socket that asks for many names takes half of the places; others find one, and their answers come."""
    upstream, replies = Silent(), []
    resolver = make(upstream, max_flights=8)
    told = [come(resolver, replies, f"n{number}.example.com", b"greedy") for number in range(8)]
    assert [reply is None for reply in told] == [True] * 4 + [False] * 4
    assert reason(told[-1]) == CROWDED
    assert come(resolver, replies, "www.example.com", b"modest") is None
    upstream.answer(4)
    assert dns.message.from_wire(replies[0]).answer
    assert (resolver.statistics().shed, resolver.statistics().refused) == (4, 4)


async def test_never_answered_names_give_way(autojump_clock):
    """When every place is taken by names that nobody answers, a new one gets the oldest's after 200 ms."""
    upstream, replies = Silent(), []
    resolver = make(upstream, max_flights=4)
    for number in range(4):
        assert come(resolver, replies, f"n{number}.example.com", bytes((number,)), number) is None
    assert reason(come(resolver, [], "www.example.com", b"modest")) == CROWDED
    await trio.sleep(0.25)
    heard = []
    assert come(resolver, heard, "www.example.com", b"modest") is None
    assert [(dns.message.from_wire(reply).id, reason(reply)) for reply in replies] == [(0, CROWDED)]
    upstream.answer(4)
    assert dns.message.from_wire(heard[0]).answer
    statistics = resolver.statistics()
    assert (statistics.given_way, statistics.under_way, statistics.waiting) == (1, 3, 3)


async def test_late_answer_of_who_gave_way_reaches_nobody(autojump_clock):
    """Who gave way was answered; what comes for it afterwards is neither sent nor kept."""
    upstream, replies = Silent(), []
    resolver = make(upstream, max_flights=1)
    come(resolver, replies, "slow.example.com", b"a")
    await trio.sleep(0.25)
    come(resolver, replies, "www.example.com", b"b")
    upstream.answer(0)
    assert len(replies) == 1
    assert resolver.answer_nowait(ask("slow.example.com"), trio.current_time()) is None
    upstream.answer(1)
    assert len(replies) == 2
    assert resolver.statistics().under_way == 0


async def test_greedy_asker_gives_way_to_himself(autojump_clock):
    """Who has his whole share and asks on takes the place of his own oldest question, of nobody else's."""
    upstream, replies = Silent(), []
    resolver = make(upstream, max_flights=8)
    come(resolver, replies, "first.example.com", b"modest")
    while come(resolver, replies, f"n{len(upstream.asked)}.example.com", b"greedy") is None:
        pass
    await trio.sleep(0.25)
    assert reason(come(resolver, replies, "more.example.com", b"greedy")) == CROWDED
    upstream.answer(0)
    assert come(resolver, replies, "first-again.example.com", b"greedy") is None


async def test_flood_is_paced_and_cached_answers_are_not(autojump_clock):
    """In a flood a few new names are fetched and the others hear why not, at once; what is in the cache is given."""
    resolver = make(Script(respond))
    assert come(resolver, [], "www.example.com", b"a") is None
    resolver.press(trio.current_time())
    told = [come(resolver, [], f"n{number}.example.com", number.to_bytes(2)) for number in range(300)]
    sent_away = [reply for reply in told if reply is not None]
    assert 250 < len(sent_away) < 300
    assert reason(sent_away[0]) == FLOODED
    assert resolver.answer_nowait(ask(), trio.current_time()) is not None
    assert resolver.statistics().flooded
    await trio.sleep(1.01)
    assert not resolver.statistics().flooded
    assert all(come(resolver, [], f"m{number}.example.com", b"a") is None for number in range(100))


async def test_who_is_sent_away_gets_an_old_answer_if_there_is_one(autojump_clock):
    """RFC 8767: a name whose answer has ended is answered with it, not refused; after the flood it is fetched anew."""
    resolver = make(Script(lambda wire: respond(wire, ttl=5)))
    come(resolver, [], "www.example.com", b"a")
    await trio.sleep(6)
    resolver.press(trio.current_time())
    for number in range(100):
        come(resolver, [], f"n{number}.example.com", number.to_bytes(2))
    stale = come(resolver, [], "www.example.com", b"b")
    assert codes(stale) == [3]
    assert dns.message.from_wire(stale).answer[0].ttl == 30
    await trio.sleep(1.1)
    replies = []
    assert resolver.answer_nowait(ask(), trio.current_time()) is None
    assert come(resolver, replies, "www.example.com", b"b") is None
    assert codes(replies[0]) == []


async def test_who_asks_the_same_joins_in_a_flood(autojump_clock):
    """A name that is being fetched already costs no place, so who asks for it waits with the others."""
    upstream, replies = Silent(), []
    resolver = make(upstream)
    come(resolver, replies, "www.example.com", b"a")
    resolver.press(trio.current_time())
    for number in range(100):
        come(resolver, [], f"n{number}.example.com", number.to_bytes(2))
    assert come(resolver, replies, "www.example.com", b"b") is None
    upstream.answer(0)
    assert len(replies) == 2


async def test_askers_are_bounded_in_all(autojump_clock):
    """However many ask for however few names, no more wait than eight for each place."""
    upstream, replies = Silent(), []
    resolver = make(upstream, max_flights=2, max_askers=256)
    told = [come(resolver, replies, "www.example.com", b"a", number) for number in range(100)]
    assert resolver.statistics().waiting == 16
    assert len([reply for reply in told if reply is not None]) == 84
    upstream.answer(0)
    assert len(replies) == 16
    assert resolver.statistics().waiting == 0


async def test_who_finds_a_name_crowded_hears_so_at_once(autojump_clock):
    """A thousand questions for one slow name cost no place in a queue and no datagram of their own: they are shed."""
    upstream, replies = Silent(), []
    resolver = make(upstream, max_askers=4)
    told = [come(resolver, replies, "slow.example.com", b"a", number) for number in range(1000)]
    assert [reply is None for reply in told] == [True] * 4 + [False] * 996
    assert reason(told[4]) == CROWDED
    assert replies == []
    upstream.answer(0)
    assert [dns.message.from_wire(reply).id for reply in replies] == [0, 1, 2, 3]
    statistics = resolver.statistics()
    assert (statistics.queries, statistics.misses, statistics.coalesced, statistics.shed) == (1000, 1, 3, 996)


async def test_a_waiting_question_keeps_no_padding(autojump_clock):
    """Of a question with 60,000 octets of padding the question waits, and is answered."""
    upstream, replies = Silent(), []
    resolver = make(upstream)
    query = Query(
        dns.message.make_query("www.example.com", "A", id=1, use_edns=0, pad=60_000).to_wire(max_size=65_535), tcp=True
    )
    assert len(query.wire) == 60_000
    resolver.answer_soon(query, replies.append)
    assert len(query.wire) < 60
    upstream.answer(0)
    reply = dns.message.from_wire(replies[0])
    assert (reply.id, str(reply.question[0].name), reply.edns) == (1, "www.example.com.", 0)


@pytest.mark.parametrize("floods", [1, 3])
async def test_nothing_is_left_after_a_flood(autojump_clock, floods):
    """When floods are over no flight, asker or share is left, and the next name is fetched as ever."""
    upstream = Upstream(delay=0.05)
    resolver = Resolver(upstream, AnswerCache(CacheOptions()), ResolverOptions(max_flights=64))
    replies = []
    async with running(resolver):
        for flood in range(floods):
            for number in range(500):
                if number % 10 == 0:
                    resolver.press(trio.current_time())
                refusal = come(resolver, replies, f"n{flood}-{number}.example.com", (number % 7).to_bytes(2))
                replies += [] if refusal is None else [refusal]
                if number % 25 == 0:
                    await trio.sleep(0.01)
            await trio.sleep(2)
        assert len(replies) == 500 * floods
        statistics = resolver.statistics()
        assert (statistics.under_way, statistics.waiting, statistics.flooded) == (0, 0, False)
        assert resolver._flights.admission._held == {}
        assert dns.message.from_wire(await resolver.answer(ask("after.example.com"))).answer
