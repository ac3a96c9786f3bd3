"""Who decides which provider is asked: the person who named them, and nobody who owns a domain. On virtual time."""

import itertools

import dns.message
import dns.rcode
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from stubresolver.upstream import parse_upstream
from stubresolver.wire import Query
from stubresolver.wire.edns import upstream_query
from stubresolver.wire.framing import FrameReader, frame
from tests.upstream.pools import REFUSED, echo, exchanged, message, running, silent

ONE = tuple(parse_upstream(f"tls://127.0.0.{number}") for number in (1, 2, 3, 4))
TWO = parse_upstream("tls://127.0.0.5")
QUERY = upstream_query(Query(dns.message.make_query("example.com", "A").to_wire()))


BROKEN = upstream_query(Query(dns.message.make_query("broken.example", "A").to_wire()))


def answer(wire, rcode):
    response = dns.message.make_response(dns.message.from_wire(wire))
    response.set_rcode(rcode)
    return response.to_wire()


IDLE_SECONDS = 10.0  # after which a server closes, as public resolvers do


def serving(internet, reply):
    """A DoT server that closes what is idle."""

    async def serve(server):
        reader = FrameReader()
        while True:
            data = b""
            with trio.move_on_after(IDLE_SECONDS):
                data = await server.receive()
            if not data:
                break
            for query in reader.feed(data):
                await server.send(frame(reply(query)))
        await server.transport.aclose()

    return internet.tls(serve)


async def test_a_domain_does_not_choose_the_provider(autojump_clock, internet, demands):
    """Its servers fail whoever asks first for a name, and answer the second: each upstream loses to the next, in a row.

    All of the provider are behind then; it is asked all the same, because it answers.
    """
    turns, asked = itertools.count(), []

    def fails_the_first(wire):
        return answer(wire, dns.rcode.NOERROR if next(turns) % 2 else dns.rcode.SERVFAIL)

    def other(wire):
        asked.append(wire)
        return answer(wire, dns.rcode.NOERROR)

    upstreams = {**dict.fromkeys(ONE, serving(internet, fails_the_first)), TWO: serving(internet, other)}
    providers = {**dict.fromkeys(ONE, "one"), TWO: "two"}
    async with running(internet, demands, upstreams, providers=providers) as pool:
        for _ in range(15):
            for _ in range(6):
                assert dns.message.from_wire(await exchanged(pool, QUERY)).rcode() == dns.rcode.NOERROR
            await trio.sleep(IDLE_SECONDS + 2)
    assert asked == []


@pytest.mark.parametrize("order", ["latency", "strict"])
async def test_second_provider_is_left_as_soon_as_the_first_stands(autojump_clock, internet, demands, order):
    """Or the first name after each idle moment, in which the first has closed, would go to the second for ever."""
    asked = []
    upstreams = {ONE[0]: REFUSED, TWO: internet.dot(lambda wire: asked.append(wire) or wire)}
    providers = {ONE[0]: "one", TWO: "two"}
    async with running(internet, demands, upstreams, providers=providers, order=order) as pool:
        await exchanged(pool, message(1))
        internet.handlers["127.0.0.1"] = serving(internet, echo)
        for number in range(10):
            await trio.sleep(IDLE_SECONDS + 2)
            await exchanged(pool, message(number))
    assert len(asked) == 2  # the one while the first was out, and the one that found it back


async def test_a_name_that_fails_brings_no_others_to_the_second_provider(autojump_clock, internet, demands):
    """The second is asked for that name, where the first has one address; what is asked after an idle moment is not."""
    asked = []

    def two(wire):
        asked.append(wire)
        return answer(wire, dns.rcode.NOERROR)

    def one(wire):
        return answer(wire, dns.rcode.SERVFAIL) if b"broken" in wire else answer(wire, dns.rcode.NOERROR)

    upstreams = {ONE[0]: serving(internet, one), TWO: internet.dot(two)}
    async with running(internet, demands, upstreams, providers={ONE[0]: "one", TWO: "two"}) as pool:
        await exchanged(pool, BROKEN)
        assert len(asked) == 1
        for _ in range(3):
            await trio.sleep(IDLE_SECONDS + 2)
            await exchanged(pool, QUERY)
    assert len(asked) == 1


async def test_a_first_provider_that_stands_and_says_nothing_costs_no_connection_of_the_second(
    autojump_clock, internet, demands
):
    """It takes connections and queries and answers none: the second serves on, and is dialled once."""
    upstreams = {ONE[0]: internet.dot(silent), TWO: internet.dot(echo)}
    async with running(internet, demands, upstreams, providers={ONE[0]: "one", TWO: "two"}) as pool:
        for number in range(100):
            assert await exchanged(pool, message(number)) == message(number)
            await trio.sleep(0.5)
    assert [where for _, where in internet.dialled].count("127.0.0.5") == 1
    assert [where for _, where in internet.dialled].count("127.0.0.1") > 3


@pytest.mark.parametrize("handshake", [0.0, 0.05, 0.2])
@pytest.mark.parametrize("every", [0.2, 0.7])
async def test_a_silent_first_provider_costs_nobody_an_answer(autojump_clock, internet, demands, handshake, every):
    """Whoever dials it in the moment in which another query is to go to the second makes that one wait, and no more."""
    talks = [True]
    first, second = internet.dot(lambda wire: wire if talks[0] else None), internet.dot(echo)
    took = []

    async def ask(pool):
        began = trio.current_time()
        assert await exchanged(pool, message(1)) == message(1)
        took.append(trio.current_time() - began)

    providers = {ONE[0]: "one", TWO: "two"}
    async with running(internet, demands, {ONE[0]: first, TWO: second}, providers=providers) as pool:
        internet.delays[str(ONE[0].address)] = handshake
        await ask(pool)
        talks[0] = False
        async with trio.open_nursery() as nursery:
            for _ in range(int(8 / every)):
                nursery.start_soon(ask, pool)
                await trio.sleep(every)
        assert max(took) < 2


async def test_what_the_second_provider_was_asked_is_answered(autojump_clock, internet, demands):
    """The first stands again while the second still owes an answer: it comes, and by one query alone."""
    upstreams = {ONE[0]: REFUSED, TWO: internet.dot(echo, delay=0.5)}
    async with running(internet, demands, upstreams, providers={ONE[0]: "one", TWO: "two"}) as pool:
        await exchanged(pool, message(1))
        internet.handlers["127.0.0.1"] = internet.dot(echo)
        await trio.sleep(12)
        assert await exchanged(pool, message(2)) == message(2)  # asked of the second, while the first is dialled
        await wait_all_tasks_blocked()
        assert [line.asked for line in pool.statistics().upstreams] == [0, 2]
        assert await exchanged(pool, message(3)) == message(3)
        assert [line.asked for line in pool.statistics().upstreams] == [1, 2]


async def test_who_asks_much_does_not_choose_the_provider(autojump_clock, internet, demands):
    """A connection that owes as much as it may is waited for; the next provider's, which stands, is not asked."""

    def one(wire):
        return answer(wire, dns.rcode.SERVFAIL) if b"broken" in wire else wire

    asked = []
    upstreams = {ONE[0]: internet.dot(one), TWO: internet.dot(lambda wire: asked.append(wire) or wire)}
    async with running(internet, demands, upstreams, providers={ONE[0]: "one", TWO: "two"}) as pool:
        await exchanged(pool, BROKEN)  # of an only address: the second may know better, and stands from now on
        assert len(asked) == 1
        arrived = []
        for number in range(1500):
            pool.exchange_soon(message(number), arrived.append)
        await trio.sleep(3)
    assert len(arrived) == 1500
    assert len(asked) == 1
