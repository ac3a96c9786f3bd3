"""The resolver on virtual time: every query gets exactly one reply, whatever the upstream does."""

import contextlib

import dns.edns
import dns.message
import dns.rrset
import msgspec
import pytest
import trio

from stubresolver.cache import AnswerCache, CacheOptions
from stubresolver.errors import ChannelClosed, NoUpstream, PolicyRefused
from stubresolver.resolve import Resolver, ResolverOptions
from stubresolver.wire.query import Query


def ask(name="www.example.com", *, kind="A", number=1, **edns):
    edns.setdefault("use_edns", 0)
    return Query(dns.message.make_query(name, kind, id=number, **edns).to_wire())


def respond(wire, ttl=60):
    """What an upstream answers: one address."""
    response = dns.message.make_response(dns.message.from_wire(wire))
    response.answer.append(dns.rrset.from_text(response.question[0].name, ttl, "IN", "A", "192.0.2.1"))
    return response.to_wire()


class Upstream:
    """An exchanger that answers after `delay` seconds, or fails as it is told to."""

    def __init__(self, delay=1.0, error=None, ttl=60):
        self.delay, self.error, self.ttl = delay, error, ttl
        self.queries = []
        self.answers = []

    def exchange_soon(self, query, reply):
        self.queries.append(query)
        self.nursery.start_soon(self.answer_late, query, reply)

    async def answer_late(self, query, reply):
        await trio.sleep(self.delay)
        if self.error is not None:
            reply(self.error)
            return
        answer = respond(query, self.ttl)
        self.answers.append(answer)
        reply(answer)


class Script:
    """An exchanger that answers at once with what a function makes of the query."""

    def __init__(self, function):
        self.function = function

    def exchange_soon(self, query, reply):
        reply(self.function(query))


@contextlib.asynccontextmanager
async def running(resolver):
    """A nursery for the exchanger, while a test runs; what is still under way then is cancelled."""
    async with trio.open_nursery() as nursery:
        resolver._exchanger.nursery = nursery
        yield nursery
        nursery.cancel_scope.cancel()


def make(exchanger, **options):
    return Resolver(exchanger, AnswerCache(CacheOptions()), ResolverOptions(**options))


@contextlib.asynccontextmanager
async def with_timer(resolver):
    """As `running`, with the resolver's own task."""
    async with running(resolver) as nursery:
        await nursery.start(resolver.run)
        yield nursery


def codes(reply):
    """The INFO-CODEs of the extended errors."""
    return [int(option.code) for option in dns.message.from_wire(reply).options]


def reason(reply):
    """RCODE, INFO-CODE and text of an error."""
    parsed = dns.message.from_wire(reply)
    (error,) = parsed.options
    return int(parsed.rcode()), int(error.code), error.text


async def test_answer_then_hit(autojump_clock):
    """The first asker waits for the upstream; the next one is answered from the cache, with its own id and an age."""
    upstream = Upstream()
    resolver = make(upstream)
    async with running(resolver):
        first = dns.message.from_wire(await resolver.answer(ask()))
        assert (first.id, first.answer[0].ttl) == (1, 60)
        assert trio.current_time() == pytest.approx(1)
        await trio.sleep(10)
        second = dns.message.from_wire(resolver.answer_nowait(ask("WWW.example.com", number=2), trio.current_time()))
        assert (second.id, str(second.question[0].name), second.answer[0].ttl) == (2, "WWW.example.com.", 50)
        await trio.sleep(50)
        assert resolver.answer_nowait(ask(), trio.current_time()) is None
        assert len(upstream.queries) == 1
        await resolver.stop(0)


async def test_forgotten_is_also_what_is_under_way(autojump_clock):
    """An answer to a query from before `forget` is for who asked then, and for nobody later."""
    upstream = Upstream()
    resolver = make(upstream)
    replies = []
    async with running(resolver):
        resolver.answer_soon(ask(), replies.append)
        await trio.sleep(0.5)
        resolver.forget()
        await trio.sleep(1)
        assert len(replies) == 1
        assert resolver.answer_nowait(ask(), trio.current_time()) is None
        await resolver.answer(ask())
        assert resolver.answer_nowait(ask(), trio.current_time()) is not None
        await resolver.stop(0)


async def test_who_asks_after_forget_does_not_join_what_is_under_way(autojump_clock):
    """The upstream may be one that is refused by now: its answer is for who asked before."""
    upstream = Upstream()
    resolver = make(upstream)
    replies = []
    async with running(resolver):
        resolver.answer_soon(ask(number=1), replies.append)
        await trio.sleep(0.5)
        resolver.forget()
        resolver.answer_soon(ask(number=2), replies.append)
        resolver.answer_soon(ask(number=3), replies.append)
        assert resolver.statistics().under_way == 2
        await trio.sleep(0.75)
        assert [dns.message.from_wire(reply).id for reply in replies] == [1]
        assert resolver.answer_nowait(ask(), trio.current_time()) is None
        await trio.sleep(0.75)
        assert [dns.message.from_wire(reply).id for reply in replies] == [1, 2, 3]
        assert resolver.answer_nowait(ask(), trio.current_time()) is not None
        assert resolver.statistics().under_way == 0
        await resolver.stop(0)
    assert len(upstream.queries) == 2


@pytest.mark.parametrize("grace", [0.2, 5.0])
async def test_stop_after_forget_answers_all(autojump_clock, grace):
    """What was under way before `forget` is waited for too, and answered where it does not end."""
    resolver = make(Upstream())
    replies = []
    async with running(resolver):
        resolver.answer_soon(ask(number=1), replies.append)
        resolver.forget()
        resolver.answer_soon(ask(number=2), replies.append)
        await resolver.stop(grace)
        assert sorted(dns.message.from_wire(reply).id for reply in replies) == [1, 2]
        await trio.sleep(5)
    codes = {dns.message.from_wire(reply).rcode() for reply in replies}
    assert codes == {dns.rcode.NOERROR if grace == 5.0 else dns.rcode.SERVFAIL}
    assert len(replies) == 2


async def test_two_askers_one_exchange(autojump_clock):
    """All who ask the same while an exchange is under way share it; each gets its own rendering."""
    upstream = Upstream()
    resolver = make(upstream)
    replies = []
    async with running(resolver):
        resolver.answer_soon(ask(number=1), replies.append)
        await trio.sleep(0.5)
        resolver.answer_soon(ask("WWW.EXAMPLE.COM", number=2), replies.append)
        assert resolver.statistics().under_way == 1
        await trio.sleep(1)
        await resolver.stop(0)
    assert len(upstream.queries) == 1
    assert [(r.id, str(r.question[0].name)) for r in map(dns.message.from_wire, replies)] == [
        (1, "www.example.com."),
        (2, "WWW.EXAMPLE.COM."),
    ]
    statistics = resolver.statistics()
    assert (statistics.misses, statistics.coalesced, statistics.failures, statistics.under_way) == (1, 1, 0, 0)


async def test_different_kinds_of_askers_do_not_share(autojump_clock):
    """Askers with another DO, CD or EDNS need another answer and get an exchange of their own."""
    upstream = Upstream()
    resolver = make(upstream)
    async with running(resolver) as nursery:
        for query in (ask(), ask(want_dnssec=True), ask(use_edns=False), ask(flags=0x0110), ask(kind="AAAA")):
            nursery.start_soon(resolver.answer, query)
        await trio.sleep(2)
        await resolver.stop(0)
    assert len(upstream.queries) == 5


async def test_a_failing_reply_hurts_nobody_else(autojump_clock):
    """A reply that raises is counted; the others are delivered and the resolver lives on."""
    resolver = make(Upstream())
    replies = []

    def fail(_reply):
        raise OSError("no route to host")

    async with running(resolver):
        for reply in (replies.append, fail, replies.append):
            resolver.answer_soon(ask(), reply)
        await trio.sleep(2)
        assert len(replies) == 2
        assert resolver.statistics().undelivered == 1
        assert dns.message.from_wire(await resolver.answer(ask("other.example"))).answer
        await resolver.stop(0)


async def test_an_asker_that_gives_up_cancels_nobody(autojump_clock):
    """The first asker's cancellation leaves the exchange to the others and to the cache."""
    upstream = Upstream()
    resolver = make(upstream)
    async with running(resolver):
        with trio.move_on_after(0.5) as scope:
            await resolver.answer(ask())
        assert scope.cancelled_caught
        assert dns.message.from_wire(await resolver.answer(ask())).answer
        assert (len(upstream.queries), len(upstream.answers)) == (1, 1)
        await resolver.stop(0)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ChannelClosed("tls://192.0.2.1: closed"), (2, 23, "tls://192.0.2.1: closed")),
        (NoUpstream("none of 4 upstreams"), (2, 22, "none of 4 upstreams")),
        (PolicyRefused("ct.operators: 1 of 2 (Cloudflare)", None), (2, 0, "ct.operators: 1 of 2 (Cloudflare)")),
    ],
)
async def test_upstream_errors_are_quoted(autojump_clock, error, expected):
    """An upstream's error becomes SERVFAIL with its own summary, is kept for a second, and then tried again."""
    upstream = Upstream(error=error)
    resolver = make(upstream)
    async with running(resolver):
        assert reason(await resolver.answer(ask())) == expected
        assert reason(resolver.answer_nowait(ask(), trio.current_time())) == expected
        await trio.sleep(1)
        upstream.error = None
        assert dns.message.from_wire(await resolver.answer(ask())).rcode() == 0
        assert resolver.statistics().failures == 1
        await resolver.stop(0)


async def test_error_without_edns(autojump_clock):
    """A client without EDNS gets the bare SERVFAIL."""
    resolver = make(Upstream(error=ChannelClosed("closed")))
    async with running(resolver):
        reply = dns.message.from_wire(await resolver.answer(ask(use_edns=False)))
        assert (reply.rcode(), reply.edns) == (2, -1)
        await resolver.stop(0)


@pytest.mark.parametrize(
    "answer",
    [
        lambda query: b"",
        lambda query: query,
        lambda query: respond(query)[:-1],
        lambda query: b"\1\1" + respond(query)[2:],
        lambda query: respond(query.replace(b"\3www", b"\3xxx")),
    ],
)
async def test_malformed_answers(autojump_clock, answer):
    """An answer that is none becomes SERVFAIL that says so."""
    resolver = make(Script(answer))
    async with running(resolver):
        rcode, code, text = reason(await resolver.answer(ask()))
        assert (rcode, code) == (2, 23)
        assert text.startswith("malformed answer from upstream: ")
        await resolver.stop(0)


async def test_too_many_flights(autojump_clock):
    """One question more than the limit is refused at once; a known one still joins."""
    upstream = Upstream()
    resolver = make(upstream, max_flights=2)
    replies = []
    async with running(resolver):
        for number in range(3):
            resolver.answer_soon(ask(f"{number}.example"), replies.append)
        assert [reason(reply) for reply in replies] == [(2, 0, "too many queries under way")]
        resolver.answer_soon(ask("0.example"), replies.append)
        await trio.sleep(2)
        assert len(replies) == 4
        assert dns.message.from_wire(await resolver.answer(ask("2.example"))).rcode() == 0
        assert len(upstream.queries) == 3
        await resolver.stop(0)


async def test_too_many_askers(autojump_clock):
    """One asker more than the limit of a flight is refused at once, the others are answered."""
    resolver = make(Upstream(), max_askers=3)
    replies = []
    async with running(resolver):
        for _ in range(5):
            resolver.answer_soon(ask(), replies.append)
        assert [reason(reply) for reply in replies] == [(2, 0, "too many queries under way")] * 2
        await trio.sleep(2)
        assert [dns.message.from_wire(reply).rcode() for reply in replies[2:]] == [0, 0, 0]
        assert resolver.statistics().refused == 2
        assert resolver.statistics().queries == 5
        await resolver.stop(0)


async def test_stop_lets_flights_land(autojump_clock):
    """Within the grace time what is under way ends as usual; what comes anew is refused; then `stop` returns."""
    resolver = make(Upstream())
    replies, late = [], []
    async with running(resolver) as nursery:
        resolver.answer_soon(ask(), replies.append)
        async with trio.open_nursery() as stopping:
            stopping.start_soon(resolver.stop, 3)
            await trio.sleep(0.1)
            resolver.answer_soon(ask("late.example"), late.append)
            assert reason(late[0])[:2] == (2, 14)
        assert dns.message.from_wire(replies[0]).answer
        assert trio.current_time() == pytest.approx(1)
        assert nursery.cancel_scope.cancel_called is False


async def test_stop_starts_nothing_in_the_background(autojump_clock):
    """An answer near its end is still given out, and not fetched anew for a cache that is about to go."""
    upstream = Upstream(delay=0)
    resolver = make(upstream)
    async with running(resolver):
        await resolver.answer(ask())
        await resolver.stop(0)
        await trio.sleep(58)
        for _ in range(3):
            assert resolver.answer_nowait(ask(), trio.current_time())
        await trio.sleep(1)
    assert len(upstream.queries) == 1


async def test_stop_ends_what_does_not_land(autojump_clock):
    """After the grace time whoever still waits gets SERVFAIL, once: an answer that comes later reaches nobody."""
    resolver = make(Upstream(delay=5))
    replies = []
    async with running(resolver):
        for name in ("a.example", "b.example"):
            resolver.answer_soon(ask(name), replies.append)
        await resolver.stop(0.25)
        assert trio.current_time() == pytest.approx(0.25)
        await trio.sleep(10)
    assert [reason(reply)[:2] for reply in replies] == [(2, 14)] * 2
    assert resolver.statistics().under_way == 0


async def test_stopped(autojump_clock):
    """After `stop` a miss is refused at once; local names and the cache are still answered."""
    resolver = make(Upstream())
    await resolver.stop(1)
    assert reason(await resolver.answer(ask()))[:2] == (2, 14)
    assert dns.message.from_wire(await resolver.answer(ask("localhost"))).answer
    statistics = resolver.statistics()
    assert (statistics.queries, statistics.refused, statistics.local) == (2, 1, 1)


def test_options_are_bounded():
    """Options out of range and unknown ones are refused."""
    for wrong in ({"deadline_seconds": 4}, {"max_flights": 0}, {"max_askers": -1}, {"x": 1}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, ResolverOptions)


STALE, SERVFAIL = 3, 2


async def test_who_has_waited_long_enough_gets_what_has_ended(autojump_clock):
    """After 1.8 seconds each asker of a slow flight gets the ended answer; the flight goes on (RFC 8767 s5)."""
    upstream = Upstream()
    resolver = make(upstream)
    async with with_timer(resolver):
        await resolver.answer(ask())
        await trio.sleep(100)
        upstream.delay = 3.0
        start = trio.current_time()
        replies = []
        resolver.answer_soon(ask(number=1), lambda reply: replies.append((trio.current_time() - start, reply)))
        await trio.sleep(1)
        resolver.answer_soon(ask(number=2), lambda reply: replies.append((trio.current_time() - start, reply)))
        await trio.sleep(1)
        assert [time for time, _ in replies] == [pytest.approx(1.8)] * 2
        assert [dns.message.from_wire(reply).id for _, reply in replies] == [1, 2]
        assert [codes(reply) for _, reply in replies] == [[STALE], [STALE]]
        assert resolver.statistics().under_way == 1
        await trio.sleep(1.5)
        fresh = resolver.answer_nowait(ask(), trio.current_time())
        assert (codes(fresh), dns.message.from_wire(fresh).answer[0].ttl) == ([], 60)
        assert resolver.statistics().stale_late == 2
        assert len(replies) == 2


async def test_nobody_waits_for_a_flight_that_is_overdue(autojump_clock):
    """Who asks when others have given up waiting gets the ended answer at once, and starts nothing."""
    upstream = Upstream()
    resolver = make(upstream)
    async with with_timer(resolver):
        await resolver.answer(ask())
        await trio.sleep(100)
        upstream.delay = 10.0
        await resolver.answer(ask())
        assert codes(resolver.answer_nowait(ask(), trio.current_time())) == [STALE]
        assert (len(upstream.queries), resolver.statistics().stale) == (2, 1)


async def test_a_question_without_an_ended_answer_waits(autojump_clock):
    """Where nothing is kept there is nothing to give: the asker waits for the flight."""
    resolver = make(Upstream(delay=3.0))
    async with with_timer(resolver):
        await resolver.answer(ask())
        assert trio.current_time() == pytest.approx(3)


async def test_each_flight_has_its_own_time(autojump_clock):
    """Flights that begin one after the other end the patience of their askers one after the other."""
    upstream = Upstream()
    resolver = make(upstream)
    names = [f"{number}.example" for number in range(5)]
    async with with_timer(resolver) as nursery:
        for name in names:
            await resolver.answer(ask(name))
        await trio.sleep(100)
        upstream.delay, ends = 60.0, []

        async def wait(name):
            start = trio.current_time()
            await resolver.answer(ask(name))
            ends.append((name, trio.current_time() - start))

        for name in names:
            nursery.start_soon(wait, name)
            await trio.sleep(0.7)
        await trio.sleep(3)
        assert ends == [(name, pytest.approx(1.8)) for name in names]


async def test_a_failure_gives_what_has_ended_at_once(autojump_clock):
    """A flight that fails, or that finds no place, gives its askers the ended answer and not the failure."""
    upstream = Upstream(delay=0.1)
    resolver = make(upstream, max_flights=1)
    async with with_timer(resolver):
        await resolver.answer(ask())
        await trio.sleep(100)
        upstream.error = ChannelClosed("closed")
        start = trio.current_time()
        assert codes(await resolver.answer(ask())) == [STALE]
        assert trio.current_time() - start == pytest.approx(0.1)
        await trio.sleep(40)
        resolver.answer_soon(ask("other.example"), lambda _: None)
        assert codes(await resolver.answer(ask())) == [STALE]
        assert resolver.statistics().refused == 1
        await resolver.stop(5)
        assert codes(await resolver.answer(ask())) == [STALE]


async def test_after_forget_nothing_falls_back(autojump_clock):
    """What was trusted once is not given for want of something better either, not even to who waits already."""
    upstream = Upstream()
    resolver = make(upstream)
    async with with_timer(resolver):
        await resolver.answer(ask())
        await trio.sleep(100)
        upstream.error, upstream.delay = ChannelClosed("closed"), 3.0
        replies = []
        resolver.answer_soon(ask(), replies.append)
        resolver.forget()
        await trio.sleep(2)
        assert replies == []
        await trio.sleep(2)
        assert [reason(reply)[:2] for reply in replies] == [(SERVFAIL, 23)]


async def test_background_flights_leave_room(autojump_clock):
    """Flights that nobody waits for take no more than half of the places."""
    upstream = Upstream()
    resolver = make(upstream, max_flights=4)
    names = [f"{number}.example" for number in range(4)]
    async with with_timer(resolver):
        for name in names:
            await resolver.answer(ask(name))
        await trio.sleep(54.5)
        upstream.delay = 1.0
        for name in reversed(names):
            for _ in range(2):
                assert resolver.answer_nowait(ask(name), trio.current_time()) is not None
        statistics = resolver.statistics()
        assert (statistics.background, statistics.under_way, statistics.misses) == (2, 2, 4)
        await resolver.stop(5)
        assert resolver.statistics().background == 2


class Withheld:
    """What takes the place of an answer."""

    ttl = 60

    def render(self, query, age):
        return b"withheld %d" % age


class Knowing:
    """Local knowledge that withholds every answer, or answers some name."""

    def __init__(self, *, withhold=False, name=None):
        self.withhold, self.name = withhold, name
        self.vetted = []

    def reply(self, query):
        return b"known" if self.name is not None and query.name == self.name else None

    def vet(self, query, answer):
        self.vetted.append((query, answer))
        return Withheld() if self.withhold else None


async def test_what_is_known_here(autojump_clock):
    """It is asked after the cache; another knowledge forgets what was answered under the earlier one."""
    upstream = Upstream()
    resolver = Resolver(upstream, AnswerCache(CacheOptions()), ResolverOptions(), Knowing())
    async with running(resolver):
        await resolver.answer(ask())
        resolver.know(Knowing(name=ask().name))
        assert await resolver.answer(ask()) == b"known"
        assert resolver.statistics().local == 1


async def test_what_was_known_before(autojump_clock):
    """To be told the same knowledge once more forgets nothing."""
    upstream, knowing = Upstream(), Knowing()
    resolver = Resolver(upstream, AnswerCache(CacheOptions()), ResolverOptions(), knowing)
    async with running(resolver):
        await resolver.answer(ask())
        resolver.know(knowing)
        await resolver.answer(ask())
    assert len(upstream.queries) == 1


async def test_a_withheld_answer(autojump_clock):
    """What takes an answer's place is given to all who wait and kept; nobody gets the answer, now or later."""
    upstream = Upstream()
    knowing = Knowing()
    resolver = Resolver(upstream, AnswerCache(CacheOptions()), ResolverOptions(), knowing)
    replies = []
    async with with_timer(resolver):
        await resolver.answer(ask())
        await trio.sleep(100)
        knowing.withhold = True
        for _ in range(2):
            resolver.answer_soon(ask(), replies.append)
        await trio.sleep(2)
        assert replies == [b"withheld 0"] * 2
        assert (len(knowing.vetted), len(upstream.queries)) == (2, 2)
        await trio.sleep(20)
        assert resolver.answer_nowait(ask(), trio.current_time()) == b"withheld 21"
        await trio.sleep(100)
        upstream.error = ChannelClosed("closed")
        assert reason(await resolver.answer(ask()))[:2] == (SERVFAIL, 23)
        assert resolver.statistics().failures == 1


@pytest.mark.parametrize("rcode", [0, 2, 3, 5, 6, 11])
async def test_every_answer_is_vetted(autojump_clock, rcode):
    """Records that nobody may have do not pass because of the RCODE that they come with."""
    knowing = Knowing(withhold=True)
    upstream = Script(lambda wire: wire[:2] + bytes((0x81, 0x80 | rcode)) + respond(wire)[4:])
    resolver = Resolver(upstream, AnswerCache(CacheOptions()), ResolverOptions(), knowing)
    async with running(resolver):
        assert await resolver.answer(ask()) == b"withheld 0"


async def test_failures_are_not_vetted(autojump_clock):
    """Only what an upstream says about a name is looked at."""
    knowing = Knowing(withhold=True)
    resolver = Resolver(Upstream(error=ChannelClosed("x")), AnswerCache(CacheOptions()), ResolverOptions(), knowing)
    async with running(resolver):
        assert reason(await resolver.answer(ask()))[0] == SERVFAIL
    assert knowing.vetted == []


@pytest.mark.parametrize(
    ("name", "left"),
    [
        (b"\3www\7example\3com\0", {"example.com", "wwwexample.com", "www.example.net", "x"}),
        (b"\7example\3com\0", {"wwwexample.com", "www.example.net", "x"}),
        (b"\0", set()),
        (
            b"\5other\0",
            {"www.example.com", "a.www.example.com", "example.com", "wwwexample.com", "www.example.net", "x"},
        ),
    ],
)
async def test_forgetting_a_name(autojump_clock, name, left):
    """A name and those below it are forgotten, whatever was asked about them; what is under way is not kept."""
    odd = r"x\007example.com"  # two labels, the first of which ends like a label and its length
    names = ["www.example.com", "a.www.example.com", "example.com", "wwwexample.com", "www.example.net", "x", odd]
    left = left | {odd} if left else left
    cache = AnswerCache(CacheOptions())
    upstream = Upstream()
    resolver = Resolver(upstream, cache, ResolverOptions())
    async with running(resolver):
        for one in names:
            await resolver.answer(ask(one))
        for one in names:
            resolver.answer_soon(ask(one, want_dnssec=True), lambda _: None)
        assert resolver.forget_within(name, [*cache.every_key(), b"gone\0aaaaa"]) == len(names) - len(left)
        await trio.sleep(2)
        for dnssec in (False, True):
            assert {one for one in names if cache.look(ask(one, want_dnssec=dnssec).key)} == left


def signed(wire, expires):
    """An address for a day, and a signature over it that ends sooner."""
    response = dns.message.make_response(dns.message.from_wire(wire))
    name = response.question[0].name
    response.answer.append(dns.rrset.from_text(name, 86400, "IN", "A", "192.0.2.1"))
    rrsig = f"A 13 3 86400 {expires} 20200101000000 1 example.com. AAAA"
    response.answer.append(dns.rrset.from_text(name, 86400, "IN", "RRSIG", rrsig))
    return response.to_wire()


@pytest.mark.parametrize(("later", "exchanges"), [(8, 1), (10, 2)])
async def test_an_answer_ends_with_its_signature(autojump_clock, later, exchanges):
    """RFC 4035 s5.3.3: what is signed is kept no longer than its signature is valid, by the wall clock."""
    queries = []
    expires = "20260101000010"  # ten seconds after the time that the clock shows

    def answer(wire):
        queries.append(wire)
        return signed(wire, expires)

    wall = 1767225600  # 2026-01-01 00:00:00Z
    resolver = Resolver(Script(answer), AnswerCache(CacheOptions()), ResolverOptions(), wall=lambda: wall)
    await resolver.answer(ask(want_dnssec=True))
    await trio.sleep(later)
    await resolver.answer(ask(want_dnssec=True))
    assert len(queries) == exchanges


@pytest.mark.parametrize(("option", "prefixes"), [("none", []), ("0.0.0.0/0", [("0.0.0.0", 0, 0)])])  # noqa: S104 - no listener
async def test_of_the_clients_network_nothing_is_sent_but_that_nothing_is(autojump_clock, option, prefixes):
    """RFC 7871 s7.1.2: the empty subnet, where it is configured; never the client's own, even if it sent one."""
    queries = []

    def answer(wire):
        queries.append(dns.message.from_wire(wire))
        return respond(wire)

    own = dns.edns.ECSOption("198.51.100.7", 24)
    await make(Script(answer), client_subnet=option).answer(ask(options=[own]))
    [asked] = queries
    found = [each for each in asked.options if isinstance(each, dns.edns.ECSOption)]
    assert [(each.address, each.srclen, each.scopelen) for each in found] == prefixes
    assert len(asked.to_wire()) % 128 == 0


async def test_no_client_is_told_a_longer_life_than_the_answer_has_here(autojump_clock):
    """`max_ttl` is a cap on what is told, too: a client that keeps it for a year keeps what we forgot long ago."""
    resolver = make(Script(lambda wire: respond(wire, ttl=2**31 - 1)))
    for later, left in ((0, 86400), (100, 86300)):
        await trio.sleep(later)
        [rrset] = dns.message.from_wire(await resolver.answer(ask())).answer
        assert rrset.ttl == left
