"""Order, networks and refusals as pure values."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from stubresolver.upstream import Transport, Upstream, parse_upstream
from stubresolver.upstream.networks import FIRST, LONGEST, NETWORKS, Networks
from stubresolver.upstream.order import Candidate, grade, is_faster, next_to_dial, places
from stubresolver.upstream.refusals import DIALS, MINUTE, Refusals

CLOUDFLARE = [
    parse_upstream(text)
    for text in (
        "tls://1.1.1.1",
        "tls://1.0.0.1",
        "tls://[2606:4700:4700::1111]",
        "tls://[2606:4700:4700::1001]",
        "https://1.1.1.1",
        "https://1.0.0.1",
        "https://[2606:4700:4700::1111]",
        "https://[2606:4700:4700::1001]",
    )
]
JITTER = 0.0
DOT, DOH = (0, Transport.DOT), (0, Transport.DOH)


def sequence(
    upstreams: list[Upstream], *, strict: bool = False, providers: dict[Upstream, str] | None = None
) -> list[int]:
    """The numbers in which all are dialled where none of them answers."""
    order: list[int] = []
    while True:
        candidates = [
            Candidate(
                place.number,
                grade(place, behind=False, blocked=False, strict=strict),
                upstreams[place.number],
                favourite=False,
                lost=False,
                mute=False,
            )
            for place in places(upstreams, providers or {})
            if place.number not in order
        ]
        number = next_to_dial(candidates, [upstreams[each] for each in order], strict=strict)
        if number is None:
            return order
        order.append(number)


def test_default_upstreams_alternate() -> None:
    """DoT over IPv4, DoT over IPv6, DoH over IPv4, DoH over IPv6; then the same of the second addresses."""
    assert sequence(CLOUDFLARE) == [0, 2, 4, 6, 1, 3, 5, 7]
    assert sequence(CLOUDFLARE, strict=True) == list(range(8))


@given(st.permutations(range(8)), st.booleans())
def test_everybody_has_a_turn_and_early_ones_differ(order: list[int], strict: bool) -> None:
    """However they are written; the first is of the transport that is written first, the second of the other family."""
    upstreams = [CLOUDFLARE[number] for number in order]
    found = sequence(upstreams, strict=strict)
    assert sorted(found) == list(range(8))
    if not strict:
        first, second, third, fourth = (upstreams[number] for number in found[:4])
        assert first.transport == second.transport == upstreams[0].transport
        assert first.address.version != second.address.version
        assert third.transport == fourth.transport != first.transport
        assert third.address.version != fourth.address.version


def test_providers_are_dialled_one_after_the_other() -> None:
    """Nobody of the second before everybody of the first."""
    providers = {upstream: "one" if number % 2 else "two" for number, upstream in enumerate(CLOUDFLARE)}
    assert [number % 2 for number in sequence(CLOUDFLARE, providers=providers)] == [0] * 4 + [1] * 4


@given(st.floats(0.0001, 4), st.floats(0.0001, 4))
def test_change_is_worth_it(candidate: float, current: float) -> None:
    """By 30 per cent and by 10 milliseconds, or not at all; never both ways."""
    assert is_faster(candidate, current) == (candidate < 0.7 * current and current - candidate > 0.010)
    assert not (is_faster(candidate, current) and is_faster(current, candidate))


def test_blocked_transport_is_looked_at_again_later_and_later() -> None:
    """Ten minutes, twenty, forty, then every hour; telling it again meanwhile changes nothing."""
    networks, now, found = Networks(), 0.0, []
    networks.moved("cafe")
    for _ in range(5):
        networks.block(DOT, now)
        networks.block(DOT, now + 1)
        found.append(networks.next_look(now) - now)
        assert networks.blocked(DOT, now)
        assert not networks.blocked(DOH, now)
        now = networks.next_look(now)
        assert not networks.blocked(DOT, now)
    assert found == [FIRST, 2 * FIRST, 4 * FIRST, LONGEST, LONGEST]
    networks.unblock(DOT)
    networks.block(DOT, now)
    assert networks.next_look(now) == now + FIRST


def test_networks_are_told_apart_and_the_oldest_is_forgotten() -> None:
    """Nothing is said of one network in another; of 32 at most; of a nameless one nothing once it is left."""
    networks = Networks()
    networks.block(DOT, 0.0)
    networks.moved("0")
    assert not networks.blocked(DOT, 1.0)
    networks.moved("")
    assert not networks.blocked(DOT, 1.0)
    for number in range(3 * NETWORKS):
        networks.moved(str(number))
        networks.block(DOT, 0.0)
        networks.moved("0")
        assert networks.blocked(DOT, 1.0)  # often visited
    assert len(networks.known()) == NETWORKS
    networks.moved("1")
    assert not networks.blocked(DOT, 1.0)
    assert [here for here, _, _ in networks.known()] == [False] * NETWORKS


@given(st.lists(st.tuples(st.floats(0, 30), st.sampled_from("ab")), max_size=200))
def test_no_minute_has_more_than_four_dials_of_the_refused(steps: list[tuple[float, str]]) -> None:
    """Whoever dials whenever it may, and whatever comes of it, once an address is refused without end."""
    refusals, now = Refusals(), 0.0
    dials: dict[str, list[float]] = {"a": [], "b": []}
    for pause, address in steps:
        now += pause
        if refusals.ready_at(address, now) <= now:
            refusals.begun(address, now)
            refusals.ended(address, now, now, refused=True, jitter=JITTER)
            dials[address].append(now)
    for found in dials.values():
        assert all(later - earlier >= MINUTE - 1e-6 for earlier, later in zip(found, found[DIALS:], strict=False))


@given(st.lists(st.floats(0, 1), max_size=50))
def test_who_is_not_refused_is_not_counted(pauses: list[float]) -> None:
    """An address that cannot be reached is bounded by the back-off alone."""
    refusals, now = Refusals(), 0.0
    for pause in pauses:
        now += pause
        assert refusals.ready_at("a", now) <= now
        refusals.begun("a", now)
        refusals.ended("a", now, now, refused=False, jitter=JITTER)


def test_dials_under_way_count_as_well() -> None:
    """Two pools and two transports that dial one refused address at the same time have four between them."""
    refusals = Refusals()
    for now in (0.0, 0.1, 0.2):
        refusals.begun("a", now)
    refusals.ended("a", 0.0, 0.5, refused=True, jitter=JITTER)
    refusals.begun("a", 20.0)
    assert refusals.ready_at("a", 30.0) == 60.0
    refusals.ended("a", 0.1, 30.0, refused=False, jitter=JITTER)
    assert refusals.ready_at("a", 30.0) <= 30.0
    assert refusals.ready_at("b", 30.0) <= 30.0
    refusals.forget()
    assert refusals.ready_at("a", 31.0) <= 31.0


@given(st.lists(st.floats(0, 1), min_size=30, max_size=30))
def test_dials_of_the_refused_are_spread(jitters: list[float]) -> None:
    """The second at once, for the other transport; then less than a minute goes by without one."""
    refusals, now, dials = Refusals(), 0.0, []
    for jitter in jitters:
        now = max(now, refusals.ready_at("a", now))
        refusals.begun("a", now)
        refusals.ended("a", now, now, refused=True, jitter=jitter)
        dials.append(now)
    assert dials[1] == 0.0
    assert max(later - earlier for earlier, later in pairwise(dials)) <= 52.5 + 1e-6
    assert dials[3] >= 12.5


def test_refusals_keep_the_order_of_time() -> None:
    """The window slides: after it, four more."""
    refusals, now, dials = Refusals(), 0.0, []
    while len(dials) < 40:
        now = max(now + 0.25, refusals.ready_at("a", now))
        refusals.begun("a", now)
        refusals.ended("a", now, now, refused=True, jitter=JITTER)
        dials.append(now)
    assert max(later - earlier for earlier, later in pairwise(dials)) <= MINUTE
