"""Answers that are failures, or none at all, while another upstream may have a good one: on virtual time."""

import dns.edns
import dns.message
import dns.rcode
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from stubresolver.errors import ProtocolViolation, UpstreamError
from stubresolver.upstream import parse_upstream
from stubresolver.wire import Query
from stubresolver.wire.edns import upstream_query
from stubresolver.wire.framing import FrameReader, frame
from tests.upstream.pools import REFUSED, exchanged, never, running, states
from tests.upstream.test_pool import doh

A, B, C = (parse_upstream(f"tls://127.0.0.{n}") for n in (1, 2, 3))
DOH = parse_upstream("https://127.0.0.1")
QUERY = upstream_query(Query(dns.message.make_query("example.com", "A").to_wire()))


def says(rcode, *codes, asked=None):
    """What makes such an answer of a query; the queries stand in `asked`."""

    def answer(wire):
        if asked is not None:
            asked.append(wire)
        response = dns.message.make_response(dns.message.from_wire(wire))
        response.set_rcode(dns.rcode.from_text(rcode))
        response.use_edns(0, options=[dns.edns.EDEOption(code, "why") for code in codes])
        return response.to_wire()

    return answer


def lies(wire):
    """The answer to another question, with the right id."""
    return wire[:2] + says("NOERROR")(upstream_query(Query(dns.message.make_query("evil.example", "A").to_wire())))[2:]


async def rcode_of(pool):
    return dns.rcode.to_text(dns.message.from_wire(await exchanged(pool, QUERY)).rcode())


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "NOTIMP", "FORMERR"])
async def test_failure_never_wins_over_a_healthy_upstream(autojump_clock, internet, demands, rcode):
    """Asked once more at another address, which is dialled for it if need be."""
    async with running(internet, demands, {A: internet.dot(says(rcode)), B: internet.dot(says("NOERROR"))}) as pool:
        assert await rcode_of(pool) == "NOERROR"


@pytest.mark.parametrize("rcode", ["NOERROR", "NXDOMAIN"])
async def test_answer_is_asked_nowhere_else(autojump_clock, internet, demands, rcode):
    """NXDOMAIN is an answer."""
    asked = []
    upstreams = {A: internet.dot(says(rcode)), B: internet.dot(says("NOERROR", asked=asked))}
    async with running(internet, demands, upstreams) as pool:
        assert await rcode_of(pool) == rcode
        assert asked == []


async def test_what_dnssec_refutes_is_handed_on_at_once(autojump_clock, internet, demands):
    """Nobody else would say otherwise, and the client reads why."""
    asked = []
    upstreams = {A: internet.dot(says("SERVFAIL", 6)), B: internet.dot(says("NOERROR", asked=asked))}
    async with running(internet, demands, upstreams) as pool:
        response = dns.message.from_wire(await exchanged(pool, QUERY))
        assert response.rcode() == dns.rcode.SERVFAIL
        assert [option.code for option in response.options] == [6]
        assert asked == []


@pytest.mark.parametrize(
    "other", ["SERVFAIL", "never", "refused", "silent", "nobody", "same address", "lies", "hangs up"]
)
async def test_failure_is_handed_on_if_nobody_does_better(autojump_clock, internet, demands, other):
    """With its extended errors, in time, whatever the other one does."""

    async def hang_up(server):
        await server.receive()
        await server.transport.aclose()

    others = {
        "SERVFAIL": {B: internet.dot(says("SERVFAIL"))},
        "never": {B: never},
        "refused": {B: REFUSED},
        "silent": {B: internet.dot(lambda _wire: None)},
        "nobody": {},
        "same address": {DOH: internet.dot(says("NOERROR"))},
        "lies": {B: internet.dot(lies)},
        "hangs up": {B: internet.tls(hang_up)},
    }
    async with running(internet, demands, {A: internet.dot(says("SERVFAIL", 22))} | others[other]) as pool:
        await wait_all_tasks_blocked()
        start = trio.current_time()
        response = dns.message.from_wire(await exchanged(pool, QUERY))
        assert (response.rcode(), [option.code for option in response.options]) == (dns.rcode.SERVFAIL, [22])
        limits = {"silent": 3.8, "never": 1.0}
        assert trio.current_time() <= start + limits.get(other, 0.0) + 1e-6
        assert (len(internet.dialled) == 1) is (other in {"nobody", "same address"})


async def test_failure_is_not_asked_of_another_provider_while_the_own_has_somebody(autojump_clock, internet, demands):
    """A broken name is no reason to tell the second provider of it."""
    asked = []
    upstreams = {
        A: internet.dot(says("SERVFAIL")),
        B: internet.dot(says("NOERROR", asked=asked)),
        C: internet.dot(says("SERVFAIL")),
    }
    async with running(internet, demands, upstreams, providers={A: "one", B: "two", C: "one"}) as pool:
        assert await rcode_of(pool) == "SERVFAIL"
        assert asked == []
    async with running(internet, demands, upstreams, providers={A: "one", B: "two", C: "two"}) as pool:
        assert await rcode_of(pool) == "NOERROR"
        assert len(asked) == 1


async def test_who_is_outdone_again_and_again_is_put_behind(autojump_clock, internet, demands):
    """After three in a row the other one is asked first, for five minutes; then it has its chance again."""
    asked = []
    upstreams = {A: internet.dot(says("SERVFAIL", asked=asked)), B: internet.dot(says("NOERROR"))}
    async with running(internet, demands, upstreams) as pool:
        for _ in range(50):
            assert await rcode_of(pool) == "NOERROR"
        assert len(asked) == 3
        assert [line.behind for line in pool.statistics().upstreams] == [True, False]
        await trio.sleep(301)
        internet.handlers["127.0.0.1"] = internet.dot(says("NOERROR"))
        await rcode_of(pool)
        assert [line.behind for line in pool.statistics().upstreams] == [False, False]


async def test_name_that_fails_everywhere_puts_nobody_behind(autojump_clock, internet, demands):
    """A zone that is broken is no upstream's fault."""
    upstreams = {A: internet.dot(says("SERVFAIL")), B: internet.dot(says("SERVFAIL"))}
    async with running(internet, demands, upstreams) as pool:
        for _ in range(20):
            assert await rcode_of(pool) == "SERVFAIL"
        assert [line.behind for line in pool.statistics().upstreams] == [False, False]
        assert len(internet.dialled) == 2


async def test_failures_among_good_answers_put_nobody_behind(autojump_clock, internet, demands):
    """Only what comes in a row counts."""
    turns = []

    def often(wire):
        turns.append(wire)
        return says("SERVFAIL" if len(turns) % 3 else "NOERROR")(wire)

    async with running(internet, demands, {A: internet.dot(often), B: internet.dot(says("NOERROR"))}) as pool:
        for _ in range(60):
            assert await rcode_of(pool) == "NOERROR"
        assert len(turns) == 60


async def test_strict_order_puts_nobody_behind(autojump_clock, internet, demands):
    """As written: the failure is asked elsewhere, and the next query goes to the first again."""
    asked = []
    upstreams = {A: internet.dot(says("SERVFAIL", asked=asked)), B: internet.dot(says("NOERROR"))}
    async with running(internet, demands, upstreams, order="strict") as pool:
        for _ in range(10):
            assert await rcode_of(pool) == "NOERROR"
        assert len(asked) == 10


async def test_answer_to_another_question_is_asked_elsewhere(autojump_clock, internet, demands):
    """It reaches nobody; after three in a row the connection is given up, and the upstream pauses."""
    async with running(internet, demands, {A: internet.dot(lies), B: internet.dot(says("NOERROR"))}) as pool:
        for _ in range(10):
            assert await rcode_of(pool) == "NOERROR"
        first = pool.statistics().upstreams[0]
        assert first.last_error == f"{A}: got the answer to another question"
        assert first.asked == 3
        await trio.sleep(1)
        assert internet.servers[0].machine.over


@pytest.mark.parametrize("status", [b"404", b"403", b"200"])
async def test_connection_that_gives_nothing_but_failures_is_given_up(autojump_clock, internet, demands, status):
    """HTTP says no, or what it gives is no DNS: another upstream takes over, and stays."""

    def refuse(connection, stream, _body):
        connection.send_headers(stream, [(b":status", status), (b"content-type", b"text/html")], end_stream=True)

    async with running(internet, demands, {DOH: doh(internet, refuse), B: internet.dot(says("NOERROR"))}) as pool:
        for _ in range(30):
            assert await rcode_of(pool) == "NOERROR"
        first, second = pool.statistics().upstreams
        assert (first.asked, second.answered) == (3, 30)
        assert first.last_error_kind == "ProtocolViolation"
        assert states(pool)[1] == "open"


async def test_only_upstream_that_gives_nothing_is_told_and_not_hammered(autojump_clock, internet, demands):
    """Each asker reads what it does; it is dialled with growing pauses however many ask."""
    async with running(internet, demands, {A: internet.dot(lies)}) as pool:
        for _ in range(200):
            with pytest.raises(UpstreamError, match="another question"):
                await exchanged(pool, QUERY)
            await trio.sleep(0.25)
        assert len(internet.dialled) <= 15


async def test_who_gives_a_useless_opinion_and_closes_is_not_dialled_for_each_query(autojump_clock, internet, demands):
    """Each of two is asked what the other one had no good answer to: its own then count against it, too."""

    async def lie_and_close(server):
        reader = FrameReader()
        while data := await server.receive():
            for query in reader.feed(data):
                await server.send(frame(lies(query)))
                await trio.aclose_forcefully(server.transport)

    async with running(internet, demands, {A: internet.tls(lie_and_close), B: internet.tls(lie_and_close)}) as pool:
        for _ in range(100):
            with pytest.raises(UpstreamError):
                await exchanged(pool, QUERY)
            await trio.sleep(0.1)
        assert len(internet.dialled) < 25


async def test_failures_of_a_few_names_give_no_connection_up(autojump_clock, internet, demands):
    """One good answer between them and the connection stays."""
    turns = []

    def often(wire):
        turns.append(wire)
        return says("NOERROR")(wire) if len(turns) % 3 == 0 else lies(wire)

    async with running(internet, demands, {A: internet.dot(often)}) as pool:
        for turn in range(1, 60):
            if turn % 3 == 0:
                assert await rcode_of(pool) == "NOERROR"
            else:
                with pytest.raises(ProtocolViolation):
                    await exchanged(pool, QUERY)
        assert len(internet.dialled) == 1


async def test_failure_does_not_end_a_race(autojump_clock, internet, demands):
    """The silent one has the answer a little later, the one that was raced against it only a failure."""
    upstreams = {A: internet.dot(says("NOERROR"), delay=2.0), B: internet.dot(says("SERVFAIL"))}
    async with running(internet, demands, upstreams) as pool:
        await wait_all_tasks_blocked()
        start = trio.current_time()
        assert await rcode_of(pool) == "NOERROR"
        assert trio.current_time() == start + 2.0


async def test_failure_in_a_race_is_better_than_nothing(autojump_clock, internet, demands):
    """If the silent one stays silent, the failure with its reasons is handed on when the time is over."""
    upstreams = {A: internet.dot(lambda _wire: None), B: internet.dot(says("SERVFAIL", 22))}
    async with running(internet, demands, upstreams) as pool:
        await wait_all_tasks_blocked()
        start = trio.current_time()
        assert await rcode_of(pool) == "SERVFAIL"
        assert trio.current_time() <= start + 3.8
