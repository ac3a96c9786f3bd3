"""Who may begin an exchange while too much is asked: by values, time is an argument."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.resolve.admission import _CALM, _FOR_ONE, _GIVE_WAY, _GIVEN_A_SECOND, _IN_WINDOW, _WINDOW, Admission


def filled(places, askers):
    """How many places each asker has when all take what they are given, in turn; and the admission."""
    admission, held = Admission(places), dict.fromkeys(askers, 0)
    while True:
        taken = sum(held.values())
        takers = [asker for asker in askers if taken < places and admission.has_share(asker, taken)]
        if not takers:
            return held, admission
        admission.begin(takers[0])
        held[takers[0]] += 1


@pytest.mark.parametrize(("askers", "each"), [([b"a"], 512), ([b"a", b"b"], 256)])
def test_nobody_has_everything(askers, each):
    """Who takes all he is given gets no more than he leaves; a second one gets half of what was left."""
    held, admission = filled(1024, askers)
    assert held[askers[0]] == 512
    assert held[askers[-1]] == (512 if len(askers) == 1 else each)
    assert admission.has_share(b"somebody else", sum(held.values()))


def test_ourselves_have_no_share():
    """This program's own questions are bounded by the places alone."""
    admission = Admission(2)
    admission.begin(b"")
    admission.begin(b"")
    assert admission.has_share(b"", 2)


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.booleans()), max_size=60))
def test_what_ends_is_forgotten(steps):
    """After as many ends as beginnings nothing is kept of any asker, whatever the order."""
    admission, held = Admission(8), []
    for asker, begins in steps:
        if begins:
            admission.begin(asker)
            held.append(asker)
        elif held:
            admission.end(held.pop())
    assert sum(admission._held.values()) == len(held)
    for asker in held:
        admission.end(asker)
    assert admission._held == {}


def test_no_pace_without_a_flood():
    """Where no queue stands, as many exchanges begin at one moment as somebody asks for."""
    admission = Admission(1024)
    assert all(admission.keeps_pace(b"a", 0.0) for _ in range(10_000))


def test_pace_in_a_flood():
    """While a queue stands so many exchanges begin in a window, however many askers ask however often."""
    admission = Admission(1024)
    admission.press(0.0)
    for window in range(5):
        now = 0.001 + window * _WINDOW
        begun = [admission.keeps_pace(str(number).encode(), now) for number in range(1000)]
        assert begun.count(True) == _IN_WINDOW


def test_one_asker_leaves_something_of_the_pace():
    """Who asks without end gets a fifth of the pace, and another who asks after him is not sent away."""
    admission = Admission(1024)
    admission.press(0.0)
    assert [admission.keeps_pace(b"greedy", 0.0) for _ in range(1000)].count(True) == _FOR_ONE
    assert admission.keeps_pace(b"modest", 0.0)
    assert admission.keeps_pace(b"", 0.0)


def test_calm_ends_the_pace():
    """A second after the last who was sent away the pace is no longer kept; each of them prolongs it."""
    admission = Admission(1024)
    admission.press(0.0)
    now = 0.0
    for _ in range(10):
        assert now < admission.flood_ends
        while admission.keeps_pace(b"greedy", now):
            pass
        now += 0.9 * _CALM
    assert now < admission.flood_ends
    assert now + 0.2 * _CALM >= admission.flood_ends
    assert all(admission.keeps_pace(b"greedy", now + 0.2 * _CALM) for _ in range(1000))


def test_askers_of_a_window_are_forgotten_with_it():
    """A flood from ever new sockets leaves no more of them behind than began in one window."""
    admission = Admission(1024)
    for number in range(50_000):
        admission.press(number / 50_000)
        admission.keeps_pace(number.to_bytes(4), number / 50_000)
    assert len(admission._begun) <= _IN_WINDOW


def test_only_the_old_give_way_and_not_all_at_once():
    """An exchange of less than 200 ms keeps its place; older ones leave theirs one after the other."""
    admission = Admission(4)
    assert not admission.gives_way(0.0, _GIVE_WAY - 0.001)
    given_at = [now / 1000 for now in range(1000, 2000) if admission.gives_way(0.0, now / 1000)]
    assert given_at[0] == 1.0
    assert len(given_at) <= _GIVEN_A_SECOND
    assert len(given_at) > _GIVEN_A_SECOND / 2
