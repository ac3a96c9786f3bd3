"""Which upstream is dialled, used and left: on virtual time, through real TLS in memory."""

from itertools import pairwise

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from stubresolver.errors import NoUpstream
from stubresolver.upstream import DialFailed, Judged, parse_upstream
from stubresolver.upstream.diagnosis import Diagnosis, Kind
from stubresolver.upstream.networks import FIRST, LONGEST
from tests.upstream.pools import REFUSED, echo, exchanged, message, never, running, states
from tests.upstream.test_pool import answer, doh

DOT4, DOT6 = parse_upstream("tls://127.0.0.1"), parse_upstream("tls://[::1]")
DOH4, DOH6 = parse_upstream("https://127.0.0.1"), parse_upstream("https://[::1]")
ALL = (DOT4, DOT6, DOH4, DOH6)
A, B, C = (parse_upstream(f"tls://127.0.0.{n}") for n in (1, 2, 3))
UNREACHABLE = OSError(101, "network is unreachable")
QUERY = message(7)


def world(internet, *, dot4=None, dot6=None, doh4=None, doh6=None):
    """Four upstreams at two addresses; None: it serves."""
    serve, serve_doh = internet.dot(echo), doh(internet, answer)
    return {DOT4: dot4 or serve, DOT6: dot6 or serve, DOH4: doh4 or serve_doh, DOH6: doh6 or serve_doh}


def serving(pool):
    """Which upstreams have answered anything."""
    return [line.upstream for line in pool.statistics().upstreams if line.answered]


async def first_answer(pool):
    """Seconds until the first query is answered."""
    start = trio.current_time()
    assert await exchanged(pool, QUERY) == QUERY
    return trio.current_time() - start


@pytest.mark.parametrize(
    ("faults", "who", "within"),
    [
        ({}, DOT4, 0.0),
        ({"dot6": UNREACHABLE, "doh6": UNREACHABLE}, DOT4, 0.0),  # IPv4 only
        ({"dot4": UNREACHABLE, "doh4": UNREACHABLE}, DOT6, 0.0),  # IPv6 only
        ({"dot6": never, "doh6": never}, DOT4, 0.0),  # IPv6 goes nowhere
        ({"dot4": never, "doh4": never}, DOT6, 0.2),  # IPv4 goes nowhere
        ({"dot4": never, "dot6": never}, DOH4, 0.3),  # port 853 is dropped
        ({"dot4": REFUSED, "dot6": REFUSED}, DOH4, 0.0),  # port 853 is reset
        ({"dot4": UNREACHABLE, "doh4": UNREACHABLE, "dot6": never}, DOH6, 0.2),  # IPv6 only, and 853 is dropped
        ({"dot6": UNREACHABLE, "doh6": UNREACHABLE, "dot4": never}, DOH4, 0.2),  # IPv4 only, and 853 is dropped
    ],
)
async def test_first_answer_in_half_a_network(autojump_clock, internet, demands, faults, who, within):
    """RFC 8305 s4 and s5: family first, then transport, 200 ms apart and less; who fails at once gives way at once."""
    async with running(internet, demands, world(internet, **faults)) as pool:
        assert await first_answer(pool) <= within + 1e-6
        assert serving(pool) == [str(who)]


async def test_dials_alternate_in_family_and_transport(autojump_clock, internet, demands):
    """DoT over IPv4, DoT over IPv6, DoH over IPv4, DoH over IPv6; later ones after half of the head start."""
    faults = dict.fromkeys(("dot4", "dot6", "doh4"), never)
    async with running(internet, demands, world(internet, **faults)) as pool:
        start = internet.dialled[0][0] if internet.dialled else trio.current_time()
        await first_answer(pool)
        assert [where for _, where in internet.dialled[:4]] == [str(each) for each in ALL]
        assert [time - start for time, _ in internet.dialled[:4]] == pytest.approx([0.0, 0.2, 0.3, 0.4])


async def test_dials_that_would_be_no_better_are_called_off(autojump_clock, internet, demands):
    """The first that stands is used; a dial of its like ends without a word, one of a better transport goes on."""
    faults = {"dot4": never, "dot6": never, "doh4": never}
    async with running(internet, demands, world(internet, **faults)) as pool:
        await first_answer(pool)
        await wait_all_tasks_blocked()
        assert states(pool) == ["dialling", "dialling", "idle", "open"]
        assert not [event for event in pool.events if isinstance(event, DialFailed)]


async def test_better_transport_takes_over_when_it_stands(autojump_clock, internet, demands):
    """DoH answered first because DoT was slow to connect; from then on DoT is asked, and nobody has waited for it."""
    async with running(internet, demands, world(internet)) as pool:
        await wait_all_tasks_blocked()
        pool.moved("elsewhere")
        internet.delays = {str(DOT4): 0.7, str(DOT6): 0.7}
        assert await first_answer(pool) <= 0.56
        assert serving(pool) == [str(DOH4)]
        await trio.sleep(1)
        assert await first_answer(pool) == 0.0
        assert serving(pool) == [str(DOT4), str(DOH4)]


async def test_like_is_not_left_for_like(autojump_clock, internet, demands):
    """When the upstream in use dies another of its kind takes over, by one handshake; nobody goes back for nothing."""
    async with running(internet, demands, {A: internet.dot(echo), B: internet.dot(echo)}) as pool:
        await first_answer(pool)
        await internet.servers[0].transport.aclose()
        for _ in range(20):
            await first_answer(pool)
            await trio.sleep(10)
        assert len(internet.dialled) == 2


async def test_strict_is_exactly_as_written(autojump_clock, internet, demands):
    """DoH first if it is written first; back to the first as soon as it stands again; nothing is learnt."""
    upstreams = {DOH6: REFUSED, DOT4: internet.dot(echo), DOH4: doh(internet, answer)}
    async with running(internet, demands, upstreams, order="strict") as pool:
        await first_answer(pool)
        assert serving(pool) == [str(DOT4)]
        internet.handlers[str(DOH6)] = internet.handlers["::1"] = doh(internet, answer)
        await trio.sleep(31)
        await first_answer(pool)
        await wait_all_tasks_blocked()
        await first_answer(pool)
        assert serving(pool) == [str(DOH6), str(DOT4)]


@pytest.mark.parametrize("how", [never, REFUSED])
async def test_blocked_port_is_remembered_on_its_network_and_tried_again(autojump_clock, internet, demands, how):
    """Ten minutes, then twice as long, up to an hour; elsewhere at once; back there it is still known."""
    async with running(internet, demands, world(internet, dot4=how, dot6=how)) as pool:
        pool.moved("cafe")
        for _ in range(10):
            await first_answer(pool)
            await trio.sleep(1)
        [blocked] = pool.statistics().blocked
        assert (blocked.transport, blocked.here) == ("tls", True)
        began = trio.current_time()
        for _ in range(5 * 60):
            await first_answer(pool)
            await trio.sleep(60)
        probes = [time - began for time, where in internet.dialled if where == str(DOT4) and time > began]
        gaps = [later - earlier for earlier, later in pairwise(probes) if later - earlier > 60]
        assert probes[0] == pytest.approx(FIRST, abs=61)
        assert gaps[0] == pytest.approx(2 * FIRST, abs=61)
        assert max(gaps) == pytest.approx(LONGEST, abs=61)
        assert len(probes) <= 12
        for where in (DOT4, DOT6):
            internet.handlers[str(where)] = internet.dot(echo)
        pool.moved("home")
        await trio.sleep(1)
        before = len(internet.dialled)
        await first_answer(pool)
        assert internet.dialled[-1][1] == str(DOT4)
        assert len(internet.dialled) == before
        pool.moved("cafe")
        await first_answer(pool)
        assert internet.dialled[-1][1] == str(DOH4)


async def test_one_address_without_dot_is_no_blocked_port(autojump_clock, internet, demands):
    """Where DoT stands at another address the network lets it through."""
    async with running(internet, demands, world(internet, dot4=REFUSED)) as pool:
        for _ in range(10):
            await first_answer(pool)
            await trio.sleep(1)
        assert pool.statistics().blocked == ()
        assert serving(pool) == [str(DOT6)]


async def test_refused_certificate_is_no_blocked_port(autojump_clock, internet, demands, allowed, refused):
    """Who shows a wrong certificate on one port is told as such; DoT is not put aside for ten minutes."""

    def judge(presented, _now, _remembered):
        return allowed if presented.tls.alpn == "h2" else refused

    demands.judge.judge = judge
    async with running(internet, demands, world(internet)) as pool:
        await first_answer(pool)
        await trio.sleep(5)
        await first_answer(pool)
        assert pool.statistics().blocked == ()
        assert Judged(DOT4, refused) in pool.events
        assert serving(pool) == [str(DOH4)]


async def test_second_provider_is_asked_only_while_the_first_is_out(autojump_clock, internet, demands):
    """No query to the second while the first works, none to it again once the first is back."""
    providers = {A: "one", B: "two"}
    async with running(internet, demands, {A: internet.dot(echo), B: internet.dot(echo)}, providers=providers) as pool:
        for _ in range(100):
            await first_answer(pool)
        assert serving(pool) == [str(A)]
        internet.handlers["127.0.0.1"] = REFUSED
        await internet.servers[0].transport.aclose()
        await first_answer(pool)
        asked = pool.statistics().upstreams[1].answered
        assert asked == 1
        internet.handlers["127.0.0.1"] = internet.dot(echo)
        await trio.sleep(31)
        await first_answer(pool)  # while the first is dialled
        await wait_all_tasks_blocked()
        for _ in range(100):
            await first_answer(pool)
        assert pool.statistics().upstreams[1].answered == 2
        assert [line.provider for line in pool.statistics().upstreams] == ["one", "two"]


@pytest.mark.parametrize("order", ["latency", "strict"])
async def test_slow_handshake_does_not_send_a_query_to_the_second_provider(autojump_clock, internet, demands, order):
    """The first provider takes 0.9 s to connect; who was faster is not told of the name."""
    providers = {A: "one", B: "one", C: "two"}
    upstreams = dict.fromkeys((A, B, C), internet.dot(echo))
    internet.delays = {"127.0.0.1": 0.9, "127.0.0.2": 0.9}
    async with running(internet, demands, upstreams, providers=providers, order=order) as pool:
        await first_answer(pool)
        assert serving(pool) == [str(A)]
        assert len(internet.dialled) == 2


async def test_second_provider_takes_over_when_the_first_says_nothing(autojump_clock, internet, demands):
    """A second for all of the first provider's upstreams together, not for each."""
    providers = {A: "one", B: "one", C: "two"}
    upstreams = {A: never, B: never, C: internet.dot(echo)}
    async with running(internet, demands, upstreams, providers=providers) as pool:
        assert await first_answer(pool) == pytest.approx(1.0)
        assert serving(pool) == [str(C)]


async def test_first_provider_is_looked_for_at_once_when_the_network_is_back(autojump_clock, internet, demands):
    """After an outage the second provider may stand first; then the first is dialled at once, not after its pause."""
    providers = {A: "one", B: "two"}
    async with running(internet, demands, {A: UNREACHABLE, B: UNREACHABLE}, providers=providers) as pool:
        for _ in range(600):
            with pytest.raises(NoUpstream):
                await exchanged(pool, QUERY)
            await trio.sleep(0.5)
        internet.handlers = dict.fromkeys(("127.0.0.1", "127.0.0.2"), internet.dot(echo))
        for _ in range(3):
            await trio.sleep(0.5)
            await first_answer(pool)
        asked = pool.statistics().upstreams[1].answered
        assert asked <= 2
        for _ in range(20):
            await first_answer(pool)
        assert pool.statistics().upstreams[1].answered == asked


async def test_providers_stand_in_the_order_in_which_they_are_named(autojump_clock, internet, demands):
    """An upstream of the first provider goes before one of the second, wherever it is written."""
    providers = {A: "one", B: "two", C: "one"}
    upstreams = {A: REFUSED, B: internet.dot(echo), C: internet.dot(echo)}
    async with running(internet, demands, upstreams, providers=providers) as pool:
        await first_answer(pool)
        assert serving(pool) == [str(C)]


async def ask_for(pool, seconds, step=5.0):
    """A query each few seconds."""
    for _ in range(int(seconds / step)):
        await first_answer(pool)
        await trio.sleep(step)


@pytest.mark.parametrize(("near", "far", "changes"), [(0.005, 0.050, True), (0.04, 0.05, False), (0.001, 0.010, False)])
async def test_faster_upstream_comes_into_favour(autojump_clock, internet, demands, near, far, changes):
    """Like for like, once in ten minutes; only if it is worth it: by 30 per cent and by 10 milliseconds."""
    upstreams = {A: internet.dot(echo, delay=far), B: internet.dot(echo, delay=near)}
    async with running(internet, demands, upstreams) as pool:
        await ask_for(pool, 500)
        assert len(internet.dialled) == 1
        await ask_for(pool, 200)
        first, second = pool.statistics().upstreams
        assert (first.probe_seconds, second.probe_seconds) == (pytest.approx(far), pytest.approx(near))
        before = second.answered
        await ask_for(pool, 100)
        assert (pool.statistics().upstreams[1].answered > before) is changes
        assert len(internet.dialled) == 2


async def test_nobody_is_compared_across_providers_or_without_need(autojump_clock, internet, demands):
    """Another provider is not told that this machine exists; nor is anybody while nobody asks."""
    upstreams = {A: internet.dot(echo, delay=0.05), B: internet.dot(echo)}
    async with running(internet, demands, upstreams, providers={A: "one", B: "two"}) as pool:
        await ask_for(pool, 3000, 60.0)
        assert {where for _, where in internet.dialled} == {"127.0.0.1"}
    async with running(internet, demands, upstreams) as pool:
        await trio.sleep(3000)
        assert states(pool) == ["open", "idle"]


async def test_what_is_measured_is_no_query_of_anybody(autojump_clock, internet, demands):
    """The root's name servers are asked for, and nothing that a client asked."""
    asked = []

    def note(wire):
        asked.append(wire)
        return wire

    async with running(internet, demands, {A: internet.dot(note), B: internet.dot(note)}) as pool:
        await ask_for(pool, 650)
        probes = [wire[12:17] for wire in asked if wire[2:] != QUERY[2:]]
        assert probes == [b"\0\0\2\0\1"] * 6


async def test_comparing_with_who_cannot_be_reached_changes_nothing(autojump_clock, internet, demands):
    """The candidate fails, or is silent: nobody has waited for it."""
    for candidate in (REFUSED, never, internet.dot(lambda _wire: None)):
        async with running(internet, demands, {A: internet.dot(echo, delay=0.05), B: candidate}) as pool:
            for _ in range(140):
                start = trio.current_time()
                assert await exchanged(pool, QUERY) == QUERY
                assert trio.current_time() == pytest.approx(start + 0.05)
                await trio.sleep(5)
            assert serving(pool) == [str(A)]


async def test_explanation_stands_before_the_reason(autojump_clock, internet, demands):
    """What lies behind it comes first, the way out last, and only while nothing stands."""
    texts = [("no network", "connect")]
    async with running(internet, demands, {A: REFUSED}, explain=lambda: Diagnosis(Kind.UNREACHABLE, *texts[0])) as pool:
        with pytest.raises(NoUpstream) as error:
            await exchanged(pool, QUERY)
        assert error.value.summary == str(error.value) == f"no network: {A}: connection refused; connect"
        texts[0] = ("", "")
        with pytest.raises(NoUpstream) as error:
            await exchanged(pool, QUERY)
        assert error.value.summary == f"{A}: connection refused"


@pytest.mark.parametrize("refused", [[A], [A, B]])
async def test_explanation_that_holds_the_reason_is_enough(autojump_clock, internet, demands, refused):
    """Nothing is said twice, however many others failed, too."""
    text = f"nothing can be used: {A}: connection refused"
    async with running(
        internet, demands, dict.fromkeys(refused, REFUSED), explain=lambda: Diagnosis(Kind.UNREACHABLE, text)
    ) as pool:
        with pytest.raises(NoUpstream) as error:
            await exchanged(pool, QUERY)
    assert error.value.summary == text
