"""Choosing, dialling, asking once more: on virtual time, through real TLS in memory."""

from dataclasses import replace

import msgspec
import pytest
import trio
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded
from h2.settings import SettingCodes
from trio.testing import wait_all_tasks_blocked

from stubresolver.errors import (
    ChannelClosed,
    ExchangeTimeout,
    NoUpstream,
    PolicyRefused,
    ProtocolViolation,
    UpstreamError,
)
from stubresolver.upstream import ConnectionLost, DialFailed, Judged, UpstreamOptions, parse_upstream, renew_all
from stubresolver.verify.verdict import Mode
from stubresolver.wire.framing import FrameReader, frame
from tests.upstream.conftest import FakeJudge, FakeRecorder
from tests.upstream.pools import REFUSED, echo, exchanged, hang_up, message, never, running, silent, states

A, B, C = (parse_upstream(f"tls://127.0.0.{n}") for n in (1, 2, 3))
DOH = parse_upstream("https://127.0.0.4:8443/dns-query#dns.test")


async def test_pool_is_warm_before_the_first_query(autojump_clock, internet, demands, allowed):
    """The most preferred upstream is dialled at once, and only that one."""
    async with running(internet, demands, {A: internet.dot(echo), B: internet.dot(echo)}) as pool:
        await wait_all_tasks_blocked()
        assert states(pool) == ["open", "idle"]
        assert pool.events == [Judged(A, allowed)]
        assert await exchanged(pool, message(1)) == message(1)
        assert len(internet.dialled) == 1
        first, second = pool.statistics().upstreams
        assert (first.connections, first.asked, first.answered, first.outstanding) == (1, 1, 1, 0)
        assert (first.upstream, first.verdict, first.tls.version, first.last_error) == (str(A), allowed, "TLSv1.3", "")
        assert (second.connections, second.verdict, second.tls, second.paused_for) == (0, None, None, 0.0)


async def test_one_dial_for_many_askers(autojump_clock, internet, demands):
    """All who ask before a connection stands wait for the same dial."""
    answers = []

    async def ask(pool, number):
        answers.append(await exchanged(pool, message(number)))

    async with running(internet, demands, {A: internet.dot(echo), B: internet.dot(echo)}) as pool:
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(ask, pool, number)
        assert sorted(answers) == [message(number) for number in range(50)]
        assert len(internet.dialled) == 1


async def test_next_upstream_gets_its_turn_after_a_head_start(autojump_clock, internet, demands):
    """RFC 8305 s5: while the first choice has not connected, the next is dialled a little later, and so on."""
    start = trio.current_time()
    async with running(internet, demands, {A: never, B: never, C: internet.dot(echo)}) as pool:
        assert await exchanged(pool, message(1)) == message(1)
        assert trio.current_time() == pytest.approx(start + 0.3)
        assert [time - start for time, _ in internet.dialled] == pytest.approx([0.0, 0.2, 0.3])
        await wait_all_tasks_blocked()
        assert states(pool) == ["idle", "idle", "open"]  # they would be no better: called off, and nobody's fault
        assert not [event for event in pool.events if isinstance(event, DialFailed)]


async def test_refused_connection_gives_way_at_once(autojump_clock, internet, demands):
    """A dial that has failed needs no head start: the next upstream is dialled in the same moment."""
    start = trio.current_time()
    async with running(internet, demands, {A: REFUSED, B: internet.dot(echo)}) as pool:
        assert await exchanged(pool, message(1)) == message(1)
        assert trio.current_time() == start
        [failed, judged] = pool.events
        assert isinstance(failed, DialFailed)
        assert failed.error.summary == f"{A}: connection refused"
        assert isinstance(judged, Judged)
        assert states(pool) == ["paused", "open"]


async def test_better_upstream_is_taken_again(autojump_clock, internet, demands):
    """While a less preferred upstream serves, the preferred one is dialled beside it after its pause."""
    async with running(internet, demands, {A: REFUSED, B: internet.dot(echo)}, order="strict") as pool:
        await exchanged(pool, message(1))
        internet.handlers["127.0.0.1"] = internet.dot(bytes.upper)
        await trio.sleep(31)
        assert await exchanged(pool, message(1, b"a")) == message(1, b"a")  # B answers while A is dialled
        await wait_all_tasks_blocked()
        assert await exchanged(pool, message(1, b"a")) == message(1, b"A")


async def test_all_paused_fails_at_once_with_the_reason(autojump_clock, internet, demands):
    """No hot loop and no waiting: while all upstreams pause, askers hear why."""
    async with running(internet, demands, {A: REFUSED, B: OSError(101, "x")}) as pool:
        with pytest.raises(NoUpstream):  # after a failure or two: that may have been a hiccup
            await exchanged(pool, message(1))
        assert trio.current_time() <= 2.0
        count, start = len(internet.dialled), trio.current_time()
        for _ in range(100):
            with pytest.raises(NoUpstream) as error:
                await exchanged(pool, message(1))
            assert error.value.summary == f"{A}: connection refused (+1 more)"
        assert trio.current_time() == start
        assert len(internet.dialled) == count


async def test_pool_finds_a_network_that_comes_later(autojump_clock, internet, demands):
    """Started before the network: dialled again with growing pauses until a connection stands, without a query."""
    async with running(internet, demands, {A: REFUSED}) as pool:
        await trio.sleep(600)
        assert 20 <= len(internet.dialled) <= 600
        internet.handlers["127.0.0.1"] = internet.dot(echo)
        await trio.sleep(31)
        assert states(pool) == ["open"]


async def test_refusal_is_told_and_not_hammered(autojump_clock, internet, demands, refused):
    """A refused certificate: every asker reads the rule, nothing is written, four dials a minute are the most."""
    demands.judge.verdict = refused
    async with running(internet, demands, {A: internet.dot(echo), B: REFUSED}) as pool:
        for _ in range(100):
            with pytest.raises(PolicyRefused) as error:
                await exchanged(pool, message(1))
            assert error.value.summary == "ct.operators: 1 of 2 (Cloudflare)"
            assert error.value.verdict is refused
        for _ in range(299):
            await trio.sleep(1)
            with pytest.raises(PolicyRefused):
                await exchanged(pool, message(1))
        dials = [time for time, address in internet.dialled if address == "127.0.0.1"]
        assert 10 <= len(dials) <= 20
        assert all(later - earlier >= 60 - 1e-6 for earlier, later in zip(dials, dials[4:], strict=False)), dials
        assert states(pool)[0] == "paused"
        assert Judged(A, refused) in pool.events
        assert pool.statistics().upstreams[0].verdict is refused
    assert sum(len(server.machine.plaintext) for server in internet.servers) == 0


async def test_other_upstream_serves_while_one_is_refused(autojump_clock, internet, demands, allowed, refused):
    """A refusal concerns one upstream only."""

    def judge(presented, _now, _remembered):
        return refused if presented.address == A.address else allowed

    demands.judge.judge = judge
    async with running(internet, demands, {A: internet.dot(echo), B: internet.dot(echo)}) as pool:
        assert await exchanged(pool, message(1)) == message(1)
        assert states(pool) == ["paused", "open"]


async def test_query_is_asked_once_more_when_the_connection_dies(autojump_clock, internet, demands):
    """The idle connection that the server has closed, the restart, the broken line: nobody notices."""
    async with running(internet, demands, {A: internet.tls(hang_up), B: internet.dot(echo)}) as pool:
        assert await exchanged(pool, message(1)) == message(1)
        assert ConnectionLost(A, "the upstream closed the connection") in pool.events
        assert pool.statistics().upstreams[0].last_error == f"{A}: the upstream closed the connection"


async def test_once_more_is_elsewhere_if_possible(autojump_clock, internet, demands):
    """A server that answers once and closes has answered, and is still not the one to ask again."""

    async def answer_one(server):
        for query in FrameReader().feed(await server.receive())[:1]:
            await server.send(frame(query))
        await server.transport.aclose()

    async with running(internet, demands, {A: internet.tls(answer_one), B: internet.dot(echo)}) as pool:
        await wait_all_tasks_blocked()
        answers = []
        for number in range(10):
            pool.exchange_soon(message(number), answers.append)
        await trio.sleep(1)
        assert sorted(answers) == [message(number) for number in range(10)]


async def test_query_is_asked_exactly_once_more(autojump_clock, internet, demands):
    """Two connections that die under a query are enough; the third is not tried for it."""
    asked = []

    def dying(name):
        async def serve(server):
            await server.receive()
            asked.append(name)
            await server.transport.aclose()

        return internet.tls(serve)

    async with running(internet, demands, {A: dying("A"), B: dying("B"), C: dying("C")}) as pool:
        with pytest.raises(ChannelClosed):
            await exchanged(pool, message(1))
    assert asked == ["A", "B"]


async def test_server_that_never_answers_is_not_hammered(autojump_clock, internet, demands):
    """A server that takes connections and drops them at the first query pauses like one that cannot be dialled."""
    async with running(internet, demands, {A: internet.tls(hang_up)}) as pool:
        for _ in range(50):
            with pytest.raises((ChannelClosed, NoUpstream)):
                await exchanged(pool, message(1))
            await wait_all_tasks_blocked()
        assert len(internet.dialled) <= 3


async def test_idle_close_by_the_server_is_invisible(autojump_clock, internet, demands):
    """A server that closes idle connections is dialled again when there is a query, not before; no pause."""

    async def serve(server):
        reader = FrameReader()
        with trio.move_on_after(10):
            while data := await server.receive():
                for query in reader.feed(data):
                    await server.send(frame(query))
        server.machine.close()
        await server.flush()
        await server.transport.aclose()

    async with running(internet, demands, {A: internet.tls(serve)}) as pool:
        for _ in range(5):
            assert await exchanged(pool, message(1)) == message(1)
            await trio.sleep(1000)
        assert len(internet.dialled) == 5
        assert states(pool) == ["idle"]


async def test_silent_connection_is_raced(autojump_clock, internet, demands):
    """The line went dead without a word: after 0.75 s the query is asked on a new connection too."""
    connections = []

    async def serve(server):
        connections.append(server)
        number, reader = len(connections), FrameReader()
        while data := await server.receive():
            for query in reader.feed(data):
                if number > 1:
                    await server.send(frame(query))

    async with running(internet, demands, {A: internet.tls(serve)}) as pool:
        await wait_all_tasks_blocked()
        start = trio.current_time()
        assert await exchanged(pool, message(1)) == message(1)
        assert trio.current_time() == start + 0.75
        assert await exchanged(pool, message(2)) == message(2)
        assert trio.current_time() == start + 0.75
        await wait_all_tasks_blocked()
        assert connections[0].machine.over  # the dead one was closed, and nothing is under way on it
        assert [line.outstanding for line in pool.statistics().upstreams] == [0]


async def test_server_that_stays_silent_slows_few_queries(autojump_clock, internet, demands):
    """One that shakes hands and answers nothing is tried again with growing pauses, and not at every query's cost."""
    async with running(internet, demands, {A: internet.dot(silent), B: internet.dot(echo)}) as pool:
        slow = 0
        for number in range(300):
            start = trio.current_time()
            assert await exchanged(pool, message(number)) == message(number)
            slow += trio.current_time() > start
            await trio.sleep(1)
        assert slow <= 40
        assert pool.statistics().upstreams[0].last_error == f"{A}: it takes queries and answers none"


async def test_only_server_that_stays_silent_is_told(autojump_clock, internet, demands):
    """Where there is no other upstream, who asks reads what is wrong with this one."""
    async with running(internet, demands, {A: internet.dot(silent)}) as pool:
        told = []
        for number in range(20):
            with pytest.raises(UpstreamError) as caught:
                await exchanged(pool, message(number))
            told.append(caught.value.summary)
        assert f"{A}: it takes queries and answers none" in told
        assert not [text for text in told if str(A) not in text and "no upstream answered" not in text]


async def test_slow_answer_wins_over_a_dead_alternative(autojump_clock, internet, demands):
    """A channel that was silent because the answer took long still answers, also if elsewhere there is nothing."""
    async with running(internet, demands, {A: internet.dot(echo, delay=2.0)}) as pool:
        await wait_all_tasks_blocked()
        internet.handlers["127.0.0.1"] = REFUSED
        start = trio.current_time()
        assert await exchanged(pool, message(1)) == message(1)
        assert trio.current_time() == start + 2.0
        assert states(pool) == ["open"]


async def test_race_that_nobody_wins_says_why(autojump_clock, internet, demands):
    """Silent here and refused there: the reason is the one that a person can act on."""
    async with running(internet, demands, {A: internet.dot(silent)}) as pool:
        await wait_all_tasks_blocked()
        internet.handlers["127.0.0.1"] = REFUSED
        start = trio.current_time()
        with pytest.raises((NoUpstream, ExchangeTimeout)):
            await exchanged(pool, message(1))
        assert trio.current_time() == start + 3.8


@pytest.mark.parametrize("handler", ["never", "silent"])
async def test_no_exchange_waits_longer_than_its_time(autojump_clock, internet, demands, handler):
    """Whatever the upstreams do or do not, 3.8 seconds are the end."""
    upstreams = {each: never if handler == "never" else internet.dot(silent) for each in (A, B, C)}
    async with running(internet, demands, upstreams) as pool:
        start = trio.current_time()
        with pytest.raises(ExchangeTimeout, match=r"within 3\.8 s"):
            await exchanged(pool, message(1))
        assert trio.current_time() == start + 3.8


async def test_unanswered_query_leaves_nothing(autojump_clock, internet, demands):
    """When its time is over, whatever was begun for a query (exchange, race, dial) is given up."""
    async with running(internet, demands, {A: internet.dot(silent), B: internet.dot(silent)}) as pool:
        with pytest.raises(ExchangeTimeout):
            await exchanged(pool, message(1))
        await wait_all_tasks_blocked()
        assert [line.outstanding for line in pool.statistics().upstreams] == [0, 0]


async def test_reply_comes_once_also_at_the_end(autojump_clock, internet, demands):
    """A pool that is cancelled answers who still waits: on a connection, in a race, and while dialling."""
    replies = []
    async with running(internet, demands, {A: internet.dot(silent), B: never}) as pool:
        for number in range(3):
            pool.exchange_soon(message(number), replies.append)
        await trio.sleep(1.0)  # silent: the race with B is on
        pool.exchange_soon(message(9), replies.append)
        assert replies == []
    assert len(replies) == 4
    assert all(isinstance(reply, UpstreamError) for reply in replies)


async def test_connection_that_falls_short_is_retired(autojump_clock, internet, demands, allowed, refused):
    """After a reload nothing is asked on what the new demands refuse; what is under way there still ends."""
    async with running(internet, demands, {A: internet.dot(echo, delay=0.5)}) as pool:
        await wait_all_tasks_blocked()
        replies = []
        pool.exchange_soon(message(1), replies.append)
        await wait_all_tasks_blocked()  # it is written
        await pool.renew({A: replace(demands, judge=FakeJudge(refused))})
        with pytest.raises(PolicyRefused, match=r"ct\.operators"):
            await exchanged(pool, message(2))
        await trio.sleep(1)
        assert replies == [message(1)]
        assert pool.events[:3] == [Judged(A, allowed), Judged(A, refused, again=True), Judged(A, refused)]
        assert set(map(repr, pool.events[3:])) <= {repr(Judged(A, refused))}
        assert [len(server.machine.plaintext) for server in internet.servers[1:]] == [0] * (len(internet.servers) - 1)
        await pool.renew({A: replace(demands, judge=FakeJudge(allowed))})
        assert await exchanged(pool, message(3)) == message(3)


@pytest.mark.parametrize("other", [False, True])
async def test_no_query_is_written_after_the_refusal(autojump_clock, internet, demands, allowed, refused, other):
    """One that was asked, but not written, when the new demands take effect goes elsewhere, or is told why not."""
    upstreams = {A: internet.dot(echo)} | ({B: internet.dot(echo)} if other else {})
    async with running(internet, demands, upstreams) as pool:
        await wait_all_tasks_blocked()
        replies = []

        class Asks(FakeRecorder):
            """A recorder at whose end somebody asks."""

            async def record(self, *_):
                await trio.lowlevel.checkpoint()
                if not replies and not internet.dialled[1:]:
                    pool.exchange_soon(message(1), replies.append)

        strict = replace(demands, judge=FakeJudge(refused), recorder=Asks())
        await pool.renew({A: strict} | ({B: demands} if other else {}))
        await trio.sleep(1)
        assert len(internet.servers[0].machine.plaintext) == 0
        [reply] = replies
        if other:
            assert reply == message(1)
        else:
            assert isinstance(reply, PolicyRefused)


async def test_connection_that_passes_stays(autojump_clock, internet, demands, recorder, allowed):
    """What the new demands allow is not dialled again; its new verdict is recorded and takes the old one's place."""
    async with running(internet, demands, {A: internet.dot(echo)}) as pool:
        await wait_all_tasks_blocked()
        other = replace(allowed, policy="another")
        judge = FakeJudge(other)
        await pool.renew({A: replace(demands, judge=judge, policy="stricter")})
        assert await exchanged(pool, message(1)) == message(1)
        assert len(internet.dialled) == 1
        assert pool.events == [Judged(A, allowed), Judged(A, other, again=True)]
        [known] = pool.statistics().upstreams
        assert (known.verdict, known.policy, known.connections) == (other, "stricter", 1)
        [(first, was), (second, now)] = [(presented, verdict) for _, presented, verdict in recorder.records]
        assert (first, was, now) == (second, allowed, other)
        assert [presented for presented, _ in judge.shown] == [first]


async def test_demands_change_for_all_upstreams_at_one_moment(autojump_clock, internet, demands, allowed, refused):
    """While connections are judged again, the old demands hold everywhere; after that, the new ones."""
    seen = []

    class Slow(FakeRecorder):
        """A recorder that takes its time."""

        async def record(self, *_):
            seen.append({line.policy for line in pool.statistics().upstreams})
            assert await exchanged(pool, message(1)) == message(1)
            await trio.sleep(1)

    async with running(
        internet, replace(demands, policy="old"), {A: internet.dot(echo), B: internet.dot(echo)}
    ) as pool:
        await wait_all_tasks_blocked()
        pool._lines.dial(pool._lines[1], trio.current_time())
        await wait_all_tasks_blocked()
        assert states(pool) == ["open", "open"]
        slow = replace(demands, judge=FakeJudge(allowed), recorder=Slow(), policy="new")
        await pool.renew({A: replace(slow, judge=FakeJudge(refused)), B: slow})
        assert seen == [{"old"}, {"old"}]
        assert {line.policy for line in pool.statistics().upstreams} == {"new"}
        assert pool._lines[1].usable
        assert not pool._lines[0].usable


async def test_reload_does_not_wait_for_a_pause(autojump_clock, internet, demands, allowed, refused):
    """Who mends a policy is served at once, however often it is reloaded, and by one dial."""
    async with running(internet, replace(demands, judge=FakeJudge(refused)), {A: internet.dot(echo)}) as pool:
        await wait_all_tasks_blocked()
        start = trio.current_time()
        for _ in range(20):
            await pool.renew({A: demands})
        await wait_all_tasks_blocked()
        assert states(pool) == ["open"]
        assert trio.current_time() == start
        assert len(internet.dialled) == 2


async def test_reloads_leave_no_tasks_behind(autojump_clock, internet, demands, refused):
    """However often it is reloaded while nobody can be asked, one task waits for that to change."""
    strict = replace(demands, judge=FakeJudge(refused))
    async with running(internet, strict, {A: internet.dot(echo)}) as pool:
        await wait_all_tasks_blocked()
        for _ in range(20):
            await pool.renew({A: strict})
            await wait_all_tasks_blocked()
        assert not pool._lines.nursery.child_tasks


async def test_each_upstream_has_its_own_demands(autojump_clock, internet, demands, allowed, refused):
    """What one upstream need not show is demanded of the other all the same."""
    demanded = {A: replace(demands, judge=FakeJudge(refused), policy="strict"), B: replace(demands, policy="ct: off")}
    async with running(internet, demanded, {A: internet.dot(echo), B: internet.dot(echo)}) as pool:
        assert await exchanged(pool, message(1)) == message(1)
        assert [len(server.machine.plaintext) > 0 for server in internet.servers] == [False, True]
        first, second = pool.statistics().upstreams
        assert (first.policy, first.verdict, first.asked, first.would_refuse) == ("strict", refused, 0, 0)
        assert (second.policy, second.verdict, second.asked, second.would_refuse) == ("ct: off", allowed, 1, 0)


async def test_report_mode_connects_and_counts(autojump_clock, internet, demands, refused):
    """A refusal that is only reported is told as a refusal, counted, and asked all the same."""
    reported = replace(refused, mode=Mode.REPORT)
    async with running(internet, replace(demands, judge=FakeJudge(reported)), {A: internet.dot(echo)}) as pool:
        assert await exchanged(pool, message(1)) == message(1)
        assert pool.events == [Judged(A, reported)]
        await pool.renew({A: replace(demands, judge=FakeJudge(reported))})
        assert pool.events[1:] == [Judged(A, reported, again=True)]
        [known] = pool.statistics().upstreams
        assert (known.would_refuse, known.state) == (2, "open")
        await pool.renew({A: replace(demands, judge=FakeJudge(refused))})
        assert states(pool) != ["open"]


@pytest.mark.parametrize("then", ["allowed", "refused"])
async def test_dial_that_a_reload_overtakes_is_made_again(autojump_clock, internet, demands, allowed, refused, then):
    """A judgement by demands that are no longer in force takes no effect, whichever way it went."""
    first, second = (refused, allowed) if then == "allowed" else (allowed, refused)
    pools = []

    class Overtaken(FakeRecorder):
        """A recorder in the middle of which the demands are renewed."""

        async def record(self, *_):
            await pools[0].renew({A: replace(demands, judge=FakeJudge(second))})
            await trio.lowlevel.checkpoint()

    begun = replace(demands, judge=FakeJudge(first), recorder=Overtaken())
    async with running(internet, begun, {A: internet.dot(echo)}) as pool:
        pools.append(pool)
        if second is allowed:
            assert await exchanged(pool, message(1)) == message(1)
        else:
            with pytest.raises(PolicyRefused):
                await exchanged(pool, message(1))
        assert pool.events == [Judged(A, second)]


async def test_old_connection_is_replaced(autojump_clock, internet, demands, allowed):
    """After its lifetime a connection is judged anew: a new one takes over, the old one is closed, nobody waits."""
    async with running(internet, demands, {A: internet.dot(echo)}, lifetime=60.0) as pool:
        await wait_all_tasks_blocked()
        await trio.sleep(61)
        start = trio.current_time()
        assert await exchanged(pool, message(1)) == message(1)
        assert trio.current_time() == start
        await wait_all_tasks_blocked()
        assert len(internet.dialled) == 2
        assert internet.servers[0].machine.over
        assert pool.events == [Judged(A, allowed)] * 2
        assert await exchanged(pool, message(1)) == message(1)
        assert len(internet.dialled) == 2


async def test_refusal_at_renewal_closes_the_old_connection(autojump_clock, internet, demands, refused):
    """What was allowed an hour ago and is refused now is used no more."""
    async with running(internet, demands, {A: internet.dot(echo)}, lifetime=60.0) as pool:
        await wait_all_tasks_blocked()
        demands.judge.verdict = refused
        await trio.sleep(61)
        await exchanged(pool, message(1))
        await wait_all_tasks_blocked()
        assert internet.servers[0].machine.over
        with pytest.raises(PolicyRefused):
            await exchanged(pool, message(1))


@pytest.mark.parametrize("why", ["reload", "judged anew"])
async def test_queue_of_a_refused_connection_is_not_sent(autojump_clock, internet, demands, refused, why):
    """A query that waits for room when its upstream is refused never goes there."""
    async with running(internet, demands, {A: internet.dot(echo, delay=0.001)}, lifetime=60.0) as pool:
        await wait_all_tasks_blocked()
        if why == "judged anew":
            await trio.sleep(61)
        replies = []
        for number in range(1100):
            pool._lines[0].channel.ask(message(number), lambda exchange: replies.append(exchange.result))
        await wait_all_tasks_blocked()
        if why == "reload":
            await pool.renew({A: replace(demands, judge=FakeJudge(refused))})
        else:
            demands.judge.verdict = refused
            pool._lines.dial(pool._lines[0], trio.current_time())
        await trio.sleep(3)
        assert len(internet.servers[0].machine.plaintext) == 1000 * len(frame(message(0)))
        assert sum(isinstance(reply, ChannelClosed) for reply in replies) == 100
        assert len(replies) == 1100


async def test_no_verdict_lasts_for_ever(autojump_clock, internet, demands, refused):
    """An idle connection whose verdict is too old takes no query, not even one."""
    async with running(internet, demands, {A: internet.dot(echo)}, lifetime=60.0) as pool:
        await wait_all_tasks_blocked()
        demands.judge.verdict = refused
        await trio.sleep(121)
        with pytest.raises(PolicyRefused):
            await exchanged(pool, message(1))
        assert [len(server.machine.plaintext) for server in internet.servers] == [0, 0]


async def test_upstream_cannot_dodge_a_new_judgement(autojump_clock, internet, demands):
    """A connection beside which no new one can be had is used for twice its lifetime and no longer."""
    async with running(internet, demands, {A: internet.dot(echo)}, lifetime=60.0) as pool:
        await wait_all_tasks_blocked()
        internet.handlers[str(A.address)] = REFUSED
        while trio.current_time() < 119:
            assert await exchanged(pool, message(1)) == message(1)
            await trio.sleep(1)
        await trio.sleep(2)
        with pytest.raises(NoUpstream):
            await exchanged(pool, message(1))


async def test_full_connection_gives_way(autojump_clock, internet, demands):
    """Where the preferred connection has no room, another open one is asked; else the query waits its turn."""
    async with running(internet, demands, {A: internet.dot(silent), B: internet.dot(echo)}) as pool:
        await wait_all_tasks_blocked()
        first = pool._lines[0].channel
        exchanges = [first.ask(message(1)) for _ in range(1000)]
        assert not first.room
        assert pool._lines.choose() is first  # nothing else is open: it waits there
        pool._lines.dial(pool._lines[1], trio.current_time())
        await wait_all_tasks_blocked()
        assert await exchanged(pool, message(2)) == message(2)
        assert pool.statistics().upstreams[1].answered == 1
        for exchange in exchanges:
            first.give_up(exchange)


async def test_without_upstreams(autojump_clock, internet, demands):
    """No upstream is no crash."""
    async with running(internet, demands, {}) as pool:
        with pytest.raises(NoUpstream, match="no upstream is configured"):
            await exchanged(pool, message(1))
        assert pool.statistics().upstreams == ()


async def test_stopped_pool_takes_no_queries(autojump_clock, internet, demands):
    """Cancelling `run` closes every connection politely, wakes who waits, and starts nothing new."""
    errors = []

    async def ask():
        try:
            await exchanged(pool, message(1))
        except NoUpstream as error:
            errors.append(error.summary)

    async with trio.open_nursery() as askers:
        async with running(internet, demands, {A: internet.dot(silent)}) as pool:
            askers.start_soon(ask)
            await wait_all_tasks_blocked()
        await ask()
        await wait_all_tasks_blocked()
        assert errors == ["shutting down", "shutting down"]
    assert internet.servers[0].machine.over
    assert len(internet.dialled) == 1


def doh(internet, behave):
    """A DoH server; `behave(h2, stream, body)` answers each query."""

    async def serve(server):
        connection = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        connection.initiate_connection()
        await server.flush()
        bodies = {}
        while data := await server.receive():
            for event in connection.receive_data(data):
                if isinstance(event, RequestReceived):
                    bodies[event.stream_id] = b""
                    server.authority = dict(event.headers)[b":authority"]
                elif isinstance(event, DataReceived):
                    bodies[event.stream_id] += event.data
                elif isinstance(event, StreamEnded):
                    behave(connection, event.stream_id, bodies.pop(event.stream_id))
            await server.send(connection.data_to_send())

    return internet.tls(serve)


def answer(connection, stream, body):
    connection.send_headers(stream, [(b":status", b"200"), (b"content-type", b"application/dns-message")])
    connection.send_data(stream, body, end_stream=True)


async def test_doh_upstream(autojump_clock, internet, demands):
    """DoH upstreams are asked through the same pool; the authority is the name and the port."""
    async with running(internet, demands, {DOH: doh(internet, answer)}) as pool:
        assert await exchanged(pool, message(77, b"x")) == message(77, b"x")
        assert internet.servers[0].authority == b"dns.test:8443"
        assert pool.statistics().upstreams[0].tls.alpn == "h2"


@pytest.mark.parametrize("text", ["https://127.0.0.4", "https://[::1]"])
async def test_doh_authority_without_a_name(autojump_clock, internet, demands, text):
    """RFC 9110 s4.2.2: without a name the address is the host, IPv6 in brackets; port 443 goes without saying."""
    upstream = parse_upstream(text)
    async with running(internet, demands, {upstream: doh(internet, answer)}) as pool:
        assert await exchanged(pool, message(1)) == message(1)
        assert internet.servers[0].authority == text.removeprefix("https://").encode()


async def test_refused_stream_is_asked_once_more(autojump_clock, internet, demands):
    """REFUSED_STREAM: asked elsewhere; where there is no elsewhere, once more on the same connection."""
    refusals = [True]

    def refuse_once(connection, stream, body):
        if refusals:
            refusals.pop()
            connection.reset_stream(stream, ErrorCodes.REFUSED_STREAM)
        else:
            answer(connection, stream, body)

    async with running(internet, demands, {DOH: doh(internet, refuse_once)}) as pool:
        assert await exchanged(pool, message(1)) == message(1)
        assert len(internet.dialled) == 1


async def test_who_takes_no_queries_is_not_dialled_for_each(autojump_clock, internet, demands):
    """SETTINGS_MAX_CONCURRENT_STREAMS 0, and every stream refused: a connection stands each time, and is of no use."""

    def close_the_door(connection, stream, _body):
        connection.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 0})
        connection.reset_stream(stream, ErrorCodes.REFUSED_STREAM)

    async with running(internet, demands, {DOH: doh(internet, close_the_door)}) as pool:
        for number in range(100):
            with pytest.raises(UpstreamError):
                await exchanged(pool, message(number))
            await trio.sleep(0.1)
        assert len(internet.dialled) < 10


async def test_failure_of_the_peer_is_asked_elsewhere(autojump_clock, internet, demands):
    """An HTTP status that says no is no answer for the client while another upstream has one; else it is told."""

    def forbid(connection, stream, _body):
        connection.send_headers(stream, [(b":status", b"403")], end_stream=True)

    async with running(internet, demands, {DOH: doh(internet, forbid), A: internet.dot(echo)}) as pool:
        assert await exchanged(pool, message(1)) == message(1)
    async with running(internet, demands, {DOH: doh(internet, forbid)}) as pool:
        with pytest.raises(ProtocolViolation, match="HTTP status 403"):
            await exchanged(pool, message(1))


def test_options_have_bounds():
    """Every default lies within its own bounds; zero, endless and unknown values do not."""
    builtins = msgspec.to_builtins(UpstreamOptions())
    assert msgspec.convert(builtins, UpstreamOptions) == UpstreamOptions()
    for name in builtins:
        for value in (0, -1, float("inf"), float("nan"), 1e9, "1"):
            with pytest.raises(msgspec.ValidationError):
                msgspec.convert(builtins | {name: value}, UpstreamOptions)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"unknown": 1.0}, UpstreamOptions)


async def test_no_peer_puts_off_what_refuses_it(autojump_clock, internet, demands, refused):
    """One that closes again and again, and is dialled again, has a new connection whenever the last one was judged."""

    async def short(server):
        with trio.move_on_after(0.04):
            while data := await server.receive():
                await server.send(data)
        await server.transport.aclose()

    class Slow(FakeRecorder):
        """A recorder whose disk takes its time."""

        async def record(self, *_):
            await trio.sleep(0.05)

    async with running(internet, demands, {A: internet.tls(short), B: internet.tls(short)}) as pool:

        async def ask():
            while True:
                await exchanged(pool, message(1))
                await trio.sleep(0.01)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(0.1)
            began = trio.current_time()
            await pool.renew(dict.fromkeys((A, B), replace(demands, judge=FakeJudge(refused), recorder=Slow())))
            nursery.cancel_scope.cancel()
        assert trio.current_time() - began < 0.5
        assert pool.standing == []
        with pytest.raises(PolicyRefused):
            await exchanged(pool, message(1))


async def test_several_pools_change_at_one_moment(autojump_clock, internet, demands, allowed, refused):
    """While the connections of one pool are judged again the other's demands are still the old ones, too."""
    async with (
        running(internet, demands, {A: internet.dot(echo)}) as first,
        running(internet, demands, {B: internet.dot(echo)}) as second,
    ):
        await wait_all_tasks_blocked()
        seen = []

        class Looks(FakeRecorder):
            """A recorder that looks at both pools when it is told of a judgement."""

            async def record(self, *_):
                await trio.lowlevel.checkpoint()
                seen.append([pool.statistics().upstreams[0].verdict for pool in (first, second)])

        stricter = replace(demands, judge=FakeJudge(refused), recorder=Looks())
        await renew_all([first, second], {A: stricter, B: stricter})
        assert seen[:2] == [[allowed, allowed]] * 2
        assert first.standing == second.standing == []
