"""The table of exchanges: every flight leaves its place once, whatever happens to it."""

from hypothesis import given
from hypothesis import strategies as st

from stubresolver.resolve.flight import Flight
from stubresolver.resolve.flights import Flights
from stubresolver.wire.query import Query
from tests.resolve.test_resolver import ask

QUERIES = [Query(ask(f"n{number}.example.com").wire) for number in range(12)]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("come"), st.integers(0, 11), st.sampled_from([b"", b"a", b"b"])),
        st.tuples(st.just("land"), st.integers(0, 30), st.none()),
        st.tuples(st.just("overtake"), st.integers(0, 11), st.none()),
        st.tuples(st.just("wait"), st.integers(1, 400), st.none()),
    ),
    max_size=80,
)


@given(STEPS)
def test_each_leaves_once_and_nothing_is_left(steps):
    """Landed, given way or drained: each flight ends exactly once, places are never exceeded, and shares return."""
    ended, made, now = [], [], 0.0
    flights = Flights(4, ended.append)
    for step, number, asker in steps:
        if step == "come":
            query = QUERIES[number]
            if query.key not in flights.joinable and flights.find_place(asker, now):
                made.append(Flight(query, b"", [], lambda *_: None, asker=asker, begun=now))
                flights.add(made[-1])
        elif step == "land" and made:
            flight = made[number % len(made)]
            if flights.landed(flight) is not None:
                ended.append(flight)
        elif step == "overtake":
            flights.overtake(lambda key, chosen=QUERIES[number].key: key == chosen)
        else:
            now += number / 1000
        assert len(flights.joinable) <= 4
        assert len(flights) == len(made) - len(ended)
    ended += flights.drain()
    assert sorted(map(id, ended)) == sorted(map(id, made))
    assert flights.admission._held == {}


def test_what_was_overtaken_is_not_kept():
    """What comes of a flight from before `forget` is for those who wait for it; of one that has gone, for nobody."""
    flights = Flights(4, lambda _: None)
    before, after = (Flight(QUERIES[0], b"", [], lambda *_: None) for _ in range(2))
    flights.add(before)
    flights.overtake()
    flights.add(after)
    assert flights.landed(before) is False
    assert flights.landed(before) is None
    assert flights.landed(after) is True
    assert len(flights) == 0
