"""Connections that die, fall silent or are left behind; networks that go and come: on virtual time."""

import random
from dataclasses import replace
from datetime import timedelta

import pytest
import trio
from h2.errors import ErrorCodes
from trio.testing import wait_all_tasks_blocked

from stubresolver.errors import NoUpstream, PolicyRefused, UpstreamError
from stubresolver.upstream import ConnectionLost, parse_upstream
from stubresolver.wire.framing import FrameReader, frame
from tests.upstream.conftest import FakeJudge, FakeRecorder
from tests.upstream.pools import REFUSED, echo, exchanged, message, never, running, silent, states
from tests.upstream.test_pool import answer, doh

A, B, C = (parse_upstream(f"tls://127.0.0.{n}") for n in (1, 2, 3))
DOH = parse_upstream("https://127.0.0.1")
UNREACHABLE = OSError(101, "network is unreachable")
MANY = 100


class Mortal:
    """A DoT server that answers until it is told to hold its answers; the next connection is a good one."""

    def __init__(self):
        self.hold = False
        self.servers = []

    async def serve(self, server):
        self.servers.append(server)
        reader = FrameReader()
        while data := await server.receive():
            for query in reader.feed(data):
                if not (self.hold and server is self.servers[0]):
                    await server.send(frame(query))


async def die(server, how):
    """End a connection in one of the ways in which connections end."""
    if how == "close_notify":
        server.machine.close()
        await server.flush()
    elif how == "garbage":
        await server.transport.send_all(b"\x15\x03\x03\x00\x02\x02\x28")  # a TLS alert that nobody encrypted
    await server.transport.aclose()


@pytest.mark.parametrize("how", ["fin", "close_notify", "garbage"])
@pytest.mark.parametrize("others", [0, 1])
@pytest.mark.parametrize("idle", [False, True])
async def test_hundred_queries_on_a_dying_connection_cost_one_handshake(
    autojump_clock, internet, demands, how, others, idle
):
    """No client sees an error, each query is asked once more, and one dial serves them all."""
    mortal = Mortal()
    upstreams = {A: internet.tls(mortal.serve)} | ({B: internet.dot(echo)} if others else {})
    async with running(internet, demands, upstreams) as pool:
        assert await exchanged(pool, message(1)) == message(1)
        mortal.hold = True
        replies = []
        if idle:
            await die(mortal.servers[0], how)
        for number in range(MANY):
            pool.exchange_soon(message(number), replies.append)
        await wait_all_tasks_blocked()
        if not idle:
            assert replies == []
            await die(mortal.servers[0], how)
        await trio.sleep(0.2)
        assert sorted(replies) == [message(number) for number in range(MANY)]
        assert len(internet.dialled) == 2


async def test_goaway_and_reset_stream_cost_one_handshake(autojump_clock, internet, demands):
    """DoH: the streams that a GOAWAY left out are asked once more, all on one new connection."""
    connections = []

    def behave(connection, stream, body):
        if connection not in connections:
            connections.append(connection)
        if connections.index(connection) == 0:
            if stream == 1:
                answer(connection, stream, body)
            elif stream == 41:
                connection.close_connection(ErrorCodes.NO_ERROR, last_stream_id=1)
        else:
            answer(connection, stream, body)

    async with running(internet, demands, {DOH: doh(internet, behave)}) as pool:
        await exchanged(pool, message(1))
        replies = []
        for number in range(20):
            pool.exchange_soon(message(number), replies.append)
        await trio.sleep(0.5)
        assert sorted(replies) == [message(number) for number in range(20)]
        assert len(internet.dialled) == 2


@pytest.mark.parametrize("others", [0, 1])
async def test_silent_peer_is_left_within_two_seconds(autojump_clock, internet, demands, others):
    """Suspected after a second at most, answered from elsewhere, and nothing is left of the dead connection."""
    mortal = Mortal()
    upstreams = {A: internet.tls(mortal.serve)} | ({B: internet.dot(echo)} if others else {})
    async with running(internet, demands, upstreams) as pool:
        for _ in range(20):
            assert await exchanged(pool, message(1)) == message(1)
        mortal.hold = True
        start = trio.current_time()
        replies = []
        for number in range(MANY):
            pool.exchange_soon(message(number), replies.append)
        await trio.sleep(1.0)
        assert sorted(replies) == [message(number) for number in range(MANY)]
        assert len(internet.dialled) == 2
        assert await exchanged(pool, message(1)) == message(1)
        assert trio.current_time() == start + 1.0
        await trio.sleep(1.0)
        assert pool._lines._holding._held.keys() == {line.channel for line in pool._lines if line.channel}
        assert [line.outstanding for line in pool.statistics().upstreams] == [0] * (1 + others)
        assert states(pool)[0] != "silent"


@pytest.mark.parametrize(
    ("first", "second"), [(A, B), (A, DOH), (DOH, A), (DOH, parse_upstream("https://127.0.0.2"))], ids=str
)
@pytest.mark.parametrize("order", ["latency", "strict"])
@pytest.mark.parametrize("providers", [1, 2])
async def test_peer_that_stays_silent_costs_two_seconds_at_most(
    autojump_clock, internet, demands, first, second, order, providers
):
    """It takes connections and queries, and answers none: the other upstream is asked, of whatever kind it is."""
    asked = []

    def mute(_wire):
        asked.append(trio.current_time())

    other = internet.dot(echo) if second.transport == "tls" else doh(internet, answer)
    dead = internet.dot(mute) if first.transport == "tls" else doh(internet, lambda _h2, _stream, body: mute(body))
    named = {first: "one", second: "two"} if providers == 2 else None
    async with running(internet, demands, {first: dead, second: other}, order=order, providers=named) as pool:
        await wait_all_tasks_blocked()
        start = trio.current_time()
        assert await exchanged(pool, message(1)) == message(1)
        assert trio.current_time() <= start + 2.0
        assert len(asked) <= 2


async def test_who_breaks_the_protocol_is_not_asked_again(autojump_clock, internet, demands):
    """Its next connection stands already when the query is asked once more: of the other upstream all the same."""
    queries = []

    async def flood(server):
        while data := await server.receive():
            queries.extend(FrameReader().feed(data))
            await trio.sleep(0.1)
            await server.send(frame(bytes(3)))

    async with running(internet, demands, {A: internet.tls(flood), B: internet.dot(echo)}, order="strict") as pool:
        await wait_all_tasks_blocked()
        first = pool._lines[0].channel
        pool._lines.dial(pool._lines[1], trio.current_time())
        await wait_all_tasks_blocked()
        replies = []
        pool.exchange_soon(message(1), replies.append)
        pool._lines.dial(pool._lines[0], trio.current_time())  # as at the end of its lifetime
        await trio.sleep(1)
        assert first.violated
        assert replies == [message(1)]
        assert len(queries) == 1


@pytest.mark.parametrize("second", [b"", frame(bytes(3))], ids=["closes", "breaks the protocol"])
async def test_who_dies_twice_is_not_asked_a_third_time(autojump_clock, internet, demands, second):
    """The connection dies, and so does the next one, which stood already: somebody else answers, and no client errs."""
    servers = []

    async def serve(server):
        servers.append(server)
        await server.receive()
        await trio.sleep(0.1)
        if second and len(servers) > 1:
            await server.send(second)
        await server.transport.aclose()

    async with running(internet, demands, {A: internet.tls(serve), B: internet.dot(echo)}, order="strict") as pool:
        await wait_all_tasks_blocked()
        replies = []
        pool.exchange_soon(message(1), replies.append)
        pool._lines.dial(pool._lines[0], trio.current_time())  # as at the end of its lifetime
        await trio.sleep(1)
        assert replies == [message(1)]
        assert len(servers) == 2


@pytest.mark.parametrize("order", ["latency", "strict"])
@pytest.mark.parametrize("providers", [1, 2])
async def test_router_that_has_forgotten_all_connections(autojump_clock, internet, demands, order, providers):
    """Two connections stand and no octet gets through on either: the answers come within two seconds, on a third."""
    mortals = Mortal(), Mortal()
    handlers = {A: internet.tls(mortals[0].serve), B: internet.tls(mortals[1].serve)}
    named = {A: "one", B: "two"} if providers == 2 else None
    async with running(internet, demands, handlers, order=order, providers=named) as pool:
        await wait_all_tasks_blocked()
        pool._lines.dial(pool._lines[1], trio.current_time())
        await wait_all_tasks_blocked()
        assert states(pool) == ["open", "open"]
        for mortal in mortals:
            mortal.hold = True
        replies = []
        for number in range(MANY):
            pool.exchange_soon(message(number), replies.append)
        await trio.sleep(2.0)
        assert sorted(replies) == [message(number) for number in range(MANY)]
        assert len(internet.dialled) <= 4


async def _busy(pool, seconds):
    """Other names are asked and answered all the while."""
    with trio.move_on_after(seconds):
        while True:
            assert await exchanged(pool, message(1)) == message(1)
            await trio.sleep(0.1)


def _loses(asked):
    """The answers of an upstream that loses some queries and answers all others."""

    def answered(wire):
        asked.append(wire[12:])
        return None if wire[12:].startswith(b"lost") else wire

    return answered


@pytest.mark.parametrize("other", [B, DOH], ids=str)
async def test_query_that_is_lost_is_asked_again_elsewhere(autojump_clock, internet, demands, other):
    """Its connection answers all others, and goes on being the one in use; it waits for half of its time."""
    asked = []
    elsewhere = internet.dot(echo) if other is B else doh(internet, answer)
    first = internet.dot(_loses(asked))
    async with running(internet, demands, {A: first, other: elsewhere}, order="strict") as pool:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_busy, pool, 5)
            await trio.sleep(1)
            start = trio.current_time()
            assert await exchanged(pool, message(13, b"lost")) == message(13, b"lost")
            assert start + 1.0 < trio.current_time() <= start + 2.0
        assert asked.count(b"lost") == 1
        assert len(asked) > 40
        assert states(pool)[0] == "open"
        assert len(internet.dialled) == 2
        assert [line.outstanding for line in pool.statistics().upstreams] == [0, 0]


@pytest.mark.parametrize("second", [False, True])
async def test_lost_query_is_not_told_to_another_provider(autojump_clock, internet, demands, second):
    """Where its own provider has nobody else it is waited for as long as it may take, and nobody is dialled for it."""
    handlers = {A: internet.dot(_loses([]))} | ({B: internet.dot(echo)} if second else {})
    async with running(internet, demands, handlers, providers={A: "one", B: "two"}) as pool:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_busy, pool, 5)
            await trio.sleep(1)
            start = trio.current_time()
            with pytest.raises(UpstreamError, match=r"no (upstream answered|answer) within 3\.8 s"):
                await exchanged(pool, message(13, b"lost"))
            assert trio.current_time() == pytest.approx(start + 3.8)
        assert len(internet.dialled) == 1


async def test_hundreds_of_lost_queries_are_not_all_asked_again(autojump_clock, internet, demands):
    """Names that nobody finds in time cost their upstream's neighbour no flood."""
    asked = []
    upstreams = {A: internet.dot(_loses([])), B: internet.dot(_loses(asked))}
    async with running(internet, demands, upstreams, order="strict") as pool:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_busy, pool, 6)
            await trio.sleep(1)
            results = []
            for number in range(1000, 1500):
                pool.exchange_soon(message(number, b"lost"), results.append)
            await trio.sleep(4)
        assert len(results) == 500
        assert 0 < asked.count(b"lost") <= 16 * 8
        assert [line.outstanding for line in pool.statistics().upstreams] == [0, 0]


async def test_slow_peer_is_no_silent_one(autojump_clock, internet, demands):
    """Two seconds for each answer: each is right, and it is not dialled again for each of them."""
    async with running(internet, demands, {A: internet.dot(echo, delay=2.0)}) as pool:
        for number in range(20):
            assert await exchanged(pool, message(number)) == message(number)
        assert len(internet.dialled) <= 4


async def test_slow_peer_gives_way_to_a_fast_one(autojump_clock, internet, demands):
    """Who was raced and lost is not asked first for ever."""
    async with running(internet, demands, {A: internet.dot(echo, delay=2.0), B: internet.dot(echo)}) as pool:
        for number in range(10):
            await exchanged(pool, message(number))
        start = trio.current_time()
        await exchanged(pool, message(1))
        assert trio.current_time() == start
        assert len(internet.dialled) == 2


@pytest.mark.parametrize("failures", [1, 2])
async def test_server_that_is_started_anew_costs_no_client_an_error(autojump_clock, internet, demands, failures):
    """The only upstream resets the first attempts after its connection died: who asks waits for the next one."""
    mortal = Mortal()
    async with running(internet, demands, {A: internet.tls(mortal.serve)}) as pool:
        await exchanged(pool, message(1))
        good, attempts = internet.handlers["127.0.0.1"], []

        async def restarting(transport):
            attempts.append(trio.current_time())
            if len(attempts) <= failures:
                await transport.aclose()
            else:
                await good(transport)

        internet.handlers["127.0.0.1"] = restarting
        mortal.hold = True
        replies = []
        for number in range(20):
            pool.exchange_soon(message(number), replies.append)
        await wait_all_tasks_blocked()
        start = trio.current_time()
        await mortal.servers[0].transport.aclose()
        await trio.sleep(1.1)
        assert sorted(replies) == [message(number) for number in range(20)]
        assert len(attempts) == failures + 1
        assert attempts[-1] <= start + 1.0


async def test_move_abandons_everything_and_answers_at_once(autojump_clock, internet, demands):
    """Queries in flight are asked again on the new connection; nothing is said on the old one, nothing reported."""
    mortal = Mortal()
    async with running(internet, demands, {A: internet.tls(mortal.serve)}) as pool:
        assert await exchanged(pool, message(1)) == message(1)
        mortal.hold = True
        replies = []
        for number in range(MANY):
            pool.exchange_soon(message(number), replies.append)
        await wait_all_tasks_blocked()
        start = trio.current_time()
        pool.moved("elsewhere")
        await wait_all_tasks_blocked()
        assert not internet.servers[0].machine.over  # no close_notify was written to a dead peer
        assert await exchanged(pool, message(1)) == message(1)
        assert trio.current_time() <= start + 0.1
        await wait_all_tasks_blocked()
        assert sorted(replies) == [message(number) for number in range(MANY)]
        assert len(internet.dialled) == 2
        assert not [event for event in pool.events if isinstance(event, ConnectionLost)]


@pytest.mark.parametrize("same", [False, True])
async def test_burst_of_moves_costs_one_handshake(autojump_clock, internet, demands, same):
    """A move is told in several words, of one network or of several; no query counts as asked by them."""
    mortal = Mortal()
    async with running(internet, demands, {A: internet.tls(mortal.serve)}) as pool:
        assert await exchanged(pool, message(1)) == message(1)
        mortal.hold = True
        replies = []
        pool.exchange_soon(message(1), replies.append)
        await wait_all_tasks_blocked()
        for number in range(20):
            pool.moved("new" if same else f"{number}")
            await trio.sleep(0.01)
        await trio.sleep(0.2)
        assert replies == [message(1)]
        assert len(internet.dialled) == 2


async def test_second_word_of_a_move_disturbs_nobody(autojump_clock, internet, demands):
    """Timer and netlink tell the same within a second: the connection of after the move stays."""
    async with running(internet, demands, {A: internet.dot(echo)}) as pool:
        await exchanged(pool, message(1))
        pool.moved("new")
        await exchanged(pool, message(1))
        await trio.sleep(0.5)
        pool.moved("new")
        await exchanged(pool, message(1))
        assert len(internet.dialled) == 2
        await trio.sleep(10)
        pool.moved("new")  # another one, to where we are: cable out, cable in
        await exchanged(pool, message(1))
        assert len(internet.dialled) == 3


async def test_move_during_a_move_keeps_the_queries(autojump_clock, internet, demands):
    """However often the machine moves within a query's time, it is answered as soon as it stays."""
    mortal = Mortal()
    async with running(internet, demands, {A: internet.tls(mortal.serve)}) as pool:
        await exchanged(pool, message(1))
        mortal.hold = True
        replies = []
        pool.exchange_soon(message(1), replies.append)
        await wait_all_tasks_blocked()
        internet.delays["127.0.0.1"] = 0.4
        for number in range(6):
            pool.moved(f"{number}")
            await trio.sleep(0.5 if number % 2 else 0.3)
        await trio.sleep(0.5)
        assert replies == [message(1)]


async def test_move_ends_the_pauses(autojump_clock, internet, demands):
    """After an outage of minutes nobody waits for a back-off of the old network."""
    async with running(internet, demands, {A: REFUSED, B: UNREACHABLE}) as pool:
        await trio.sleep(600)
        internet.handlers["127.0.0.1"] = internet.dot(echo)
        start = trio.current_time()
        pool.moved("elsewhere")
        assert await exchanged(pool, message(1)) == message(1)
        assert trio.current_time() <= start + 0.1


async def test_move_to_another_network_sets_the_refused_free(autojump_clock, internet, demands, allowed, refused):
    """The portal's certificate was refused four times; at home the first answer comes at once."""
    demands.judge.verdict = refused
    async with running(internet, demands, {A: internet.dot(echo)}) as pool:
        pool.moved("portal")
        await trio.sleep(100)
        dials = len(internet.dialled)
        demands.judge.verdict = allowed
        start = trio.current_time()
        pool.moved("home")
        assert await exchanged(pool, message(1)) == message(1)
        assert trio.current_time() <= start + 0.1
        assert len(internet.dialled) == dials + 1


async def test_flapping_link_is_no_licence_to_dial_the_refused(autojump_clock, internet, demands, refused):
    """Who can make the network change, and shows certificates that are refused, is not dialled each time."""
    demands.judge.verdict = refused
    async with running(internet, demands, {A: internet.dot(echo)}) as pool:
        for number in range(240):
            pool.moved(f"{number}")
            await trio.sleep(0.25)
        assert len(internet.dialled) <= 7 * 5  # four each time that they were set free, ten seconds apart


async def test_before_it_runs_a_move_is_only_noted(autojump_clock, internet, demands):
    """The watch may tell the first network before the pool runs."""
    async with running(internet, demands, {A: internet.dot(echo)}) as pool:
        await exchanged(pool, message(1))
    pool.moved("later")
    pool.clock_set()
    assert pool._lines._ranking.network == "later"
    assert len(internet.dialled) == 1


async def test_clock_that_was_set_ends_the_refusals(autojump_clock, internet, demands, allowed, refused):
    """NTP has set the clock: what was refused by it is dialled at once, and what stands and passes is not touched."""
    demands.judge.verdict = refused
    async with running(internet, demands, {A: internet.dot(echo), B: UNREACHABLE}) as pool:
        await trio.sleep(100)
        demands.judge.verdict = allowed
        pool.clock_set()
        start = trio.current_time()
        assert await exchanged(pool, message(1)) == message(1)
        assert trio.current_time() == start
        pool.clock_set()
        await wait_all_tasks_blocked()
        assert states(pool)[0] == "open"
        assert [where for _, where in internet.dialled].count("127.0.0.1") <= 10


async def test_what_a_wrong_clock_allowed_is_judged_by_the_right_one(autojump_clock, internet, demands, refused):
    """A certificate that has ended looks good to a clock that is behind; its connection does not outlive that."""
    async with running(internet, demands, {A: internet.dot(echo)}) as pool:
        assert await exchanged(pool, message(1)) == message(1)
        demands.judge.verdict = refused
        pool.clock_set()
        await wait_all_tasks_blocked()
        assert pool.standing == []
        with pytest.raises(PolicyRefused):
            await exchanged(pool, message(1))
        assert internet.servers[0].machine.over


async def test_a_dial_that_was_begun_by_a_wrong_clock_is_begun_anew(autojump_clock, internet, demands):
    """The time is read once for handshake, judgement and evidence."""
    times = [demands.clock()]
    told = replace(demands, clock=lambda: times[-1])
    async with running(internet, told, {A: internet.dot(echo)}) as pool:
        while not internet.servers:
            await trio.lowlevel.checkpoint()
        assert states(pool) == ["dialling"]
        times.append(times[0] + timedelta(hours=1))
        pool.clock_set()
        assert await exchanged(pool, message(1)) == message(1)
        assert demands.judge.shown[-1][1] == times[-1]
        assert len(internet.dialled) == 2


async def test_other_demands_go_before_another_clock(autojump_clock, internet, demands, allowed, refused):
    """What was judged by demands that a reload has overtaken counts for nothing."""

    class Slow(FakeRecorder):
        """A recorder whose disk takes its time."""

        async def record(self, *_):
            await trio.sleep(0.5)

    slow = replace(demands, recorder=Slow(), judge=FakeJudge(allowed))
    async with running(internet, {A: slow}, {A: internet.dot(echo)}) as pool:
        await exchanged(pool, message(1))
        slow.judge.verdict = refused
        pool.clock_set()
        await wait_all_tasks_blocked()
        await pool.renew({A: demands})
        await trio.sleep(1)
        assert len(pool.standing) == 1
        assert await exchanged(pool, message(1)) == message(1)


@pytest.mark.parametrize("fault", [UNREACHABLE, REFUSED, None])
async def test_network_that_comes_back_without_a_word_is_found_in_a_second(autojump_clock, internet, demands, fault):
    """The router's own line was out, no event tells: while clients ask, who cannot be reached is dialled again."""
    upstreams = dict.fromkeys((A, B, C), fault or internet.dot(echo))
    if fault is None:  # every SYN is lost; after half a second there is another one, see test_tcp
        internet.delays = dict.fromkeys(("127.0.0.1", "127.0.0.2", "127.0.0.3"), 1e9)
    async with running(internet, demands, upstreams, connect_timeout=0.5) as pool:
        for _ in range(600):
            start = trio.current_time()
            with pytest.raises(UpstreamError):
                await exchanged(pool, message(1))
            assert trio.current_time() <= start + 3.8
            await trio.sleep(max(0.0, start + 0.1 - trio.current_time()))
        dials = [time for time, _ in internet.dialled]
        assert len([time for time in dials if time > dials[-1] - 10]) <= 3 * 10 + 1
        internet.delays = {}
        for where in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
            internet.handlers[where] = internet.dot(echo)
        back = trio.current_time()
        while True:
            try:
                await exchanged(pool, message(1))
                break
            except UpstreamError:
                await trio.sleep(0.1)
        assert trio.current_time() <= back + 1.0


async def test_demand_dials_twice_a_second_however_many_ask(autojump_clock, internet, demands):
    """A flood in an outage is no flood of dials."""
    async with running(internet, demands, {A: UNREACHABLE, B: UNREACHABLE}) as pool:
        await trio.sleep(300)
        before, replies = len(internet.dialled), []
        for _ in range(100):
            for number in range(20):
                pool.exchange_soon(message(number), replies.append)
            await trio.sleep(0.1)
        assert len(internet.dialled) - before <= 2 * 10 + 4
        assert all(isinstance(reply, NoUpstream) for reply in replies)


async def test_nobody_waits_long_in_an_outage(autojump_clock, internet, demands):
    """Where everything has failed already, who asks hears why within two seconds, though dials are under way."""
    async with running(internet, demands, {A: never, B: never}) as pool:
        await trio.sleep(60)
        start = trio.current_time()
        with pytest.raises(NoUpstream, match="no TLS handshake"):
            await exchanged(pool, message(1))
        assert trio.current_time() <= start + 2.0


async def test_refused_upstream_is_not_dialled_by_demand(autojump_clock, internet, demands, refused):
    """Clients that keep asking make no dial of who is refused; the pause grows, and DoT and DoH count as one."""
    demands.judge.verdict = refused
    upstreams = {A: internet.dot(echo), DOH: internet.dot(echo)}
    async with running(internet, demands, upstreams) as pool:
        start = trio.current_time()
        while trio.current_time() < start + 300:
            with pytest.raises(PolicyRefused, match=r"ct\.operators"):
                await exchanged(pool, message(1))
            await trio.sleep(0.1)
        dials = sorted(time for time, _ in internet.dialled)
        assert all(later - earlier >= 60 - 1e-6 for earlier, later in zip(dials, dials[4:], strict=False))
        assert len(dials) >= 10
        figures = pool.statistics().upstreams
        assert sum(line.dials for line in figures) == sum(line.refusals for line in figures) == len(dials)
        assert {line.last_error_kind for line in figures} == {"PolicyRefused"}


async def test_refused_and_unreachable_together(autojump_clock, internet, demands, refused):
    """Who asks reads of the refusal; who could not be reached is dialled all the same, and serves when it can be."""
    strict = replace(demands, judge=FakeJudge(refused))
    async with running(internet, {A: strict, B: demands}, {A: internet.dot(echo), B: UNREACHABLE}) as pool:
        for _ in range(50):
            with pytest.raises(PolicyRefused):
                await exchanged(pool, message(1))
            await trio.sleep(1)
        internet.handlers["127.0.0.2"] = internet.dot(echo)
        assert await exchanged(pool, message(1)) == message(1)


async def test_server_that_answers_nothing_is_not_dialled_by_demand(autojump_clock, internet, demands):
    """It can be reached, and that is all: it pauses like one that is refused, however many ask."""
    async with running(internet, demands, {A: internet.dot(silent)}) as pool:
        for _ in range(100):
            with pytest.raises(UpstreamError):
                await exchanged(pool, message(1))
            await trio.sleep(0.5)
        assert len(internet.dialled) <= 25


async def test_pool_warms_up_again_after_an_outage_without_queries(autojump_clock, internet, demands):
    """Who has been told that nothing stands need not ask again: a connection stands as soon as one can be had."""
    mortal = Mortal()
    async with running(internet, demands, {A: internet.tls(mortal.serve)}) as pool:
        await exchanged(pool, message(1))
        internet.handlers["127.0.0.1"] = UNREACHABLE
        await mortal.servers[0].transport.aclose()
        with pytest.raises(NoUpstream):
            await exchanged(pool, message(1))
        await trio.sleep(300)
        internet.handlers["127.0.0.1"] = internet.dot(echo)
        await trio.sleep(31)
        assert states(pool) == ["open"]


async def test_statistics_tell_since_when_and_why(autojump_clock, internet, demands):
    """Ages, counts and kinds, for a person who asks what is wrong."""
    async with running(internet, demands, {A: UNREACHABLE, DOH: internet.dot(echo)}) as pool:
        await trio.sleep(0.1)
        first, _ = pool.statistics().upstreams
        assert (first.address, first.transport, first.provider) == ("127.0.0.1", "tls", "")
        assert (first.last_error_kind, first.failures_in_row) == ("ConnectFailed", first.dials)
        assert first.last_error == f"{A}: network is unreachable"
        assert first.last_error_age == pytest.approx(0.1)
        assert 0 < first.paused_for <= 30


@pytest.mark.parametrize("seed", range(8))
async def test_random_faults_leave_nothing_behind(autojump_clock, internet, demands, allowed, refused, seed):
    """Whatever happens in whatever order: each query gets one reply in time, and is answered once all is well."""
    chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    mortals = []

    def fresh():
        mortal = Mortal()
        mortals.append(mortal)
        return internet.tls(mortal.serve)

    async with running(internet, demands, {A: fresh(), B: fresh(), C: fresh()}) as pool:
        asked, replies = 0, []
        for step in range(200):
            for _ in range(chance.randrange(4)):
                asked += 1
                began = trio.current_time()
                pool.exchange_soon(
                    message(asked), lambda reply, began=began: replies.append((trio.current_time() - began, reply))
                )
            where = chance.choice(["127.0.0.1", "127.0.0.2", "127.0.0.3"])
            fault = chance.randrange(8)
            if fault == 0:
                internet.handlers[where] = chance.choice([REFUSED, UNREACHABLE, never])
            elif fault == 1:
                internet.handlers[where] = chance.choice([fresh(), internet.dot(silent), internet.dot(echo, delay=1.0)])
            elif fault == 2 and internet.servers:
                await chance.choice(internet.servers).transport.aclose()
            elif fault == 3:
                chance.choice(mortals).hold ^= True
            elif fault == 4:
                pool.moved(f"{step % 3}")
            elif fault == 5:
                await pool.renew(dict.fromkeys((A, B, C), demands))
            elif fault == 6:
                demands.judge.verdict = chance.choice([allowed, allowed, refused])
            await trio.sleep(chance.choice([0.0, 0.01, 0.3, 1.0]))
        demands.judge.verdict = allowed
        for where in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
            internet.handlers[where] = internet.dot(echo)
        await trio.sleep(10)
        assert len(replies) == asked
        assert max(seconds for seconds, _ in replies) <= 3.8 + 1e-6
        pool.moved("home")
        for number in range(10):
            assert await exchanged(pool, message(number)) == message(number)
        await trio.sleep(10)
        assert [line.outstanding for line in pool.statistics().upstreams] == [0, 0, 0]
        held = sum(line.channel is not None for line in pool._lines)
        assert len(pool._lines._holding._held) == held
