"""Back-off as a pure value."""

from hypothesis import given
from hypothesis import strategies as st

from stubresolver.upstream.health import Health

FRESH = Health(first=0.25, longest=30.0)


def test_fresh_upstream_may_be_dialled():
    """Nothing is known against it."""
    assert FRESH.ready_at <= 0.0


def test_pause_grows_to_the_longest_and_success_forgets():
    """With the greatest jitter the pause doubles from 0.25 s to 30 s."""
    health, pauses = FRESH, []
    for _ in range(10):
        health = health.failed(100.0, 1.0)
        pauses.append(health.ready_at - 100.0)
    assert pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert health.succeeded() == FRESH


def test_only_who_could_not_be_reached_may_be_dialled_by_demand():
    """A connection that brought nothing, or a refusal, is no sign of a network that may be back at any moment."""
    assert FRESH.failed(0.0, 0.5, unreached=True).unreached
    assert not FRESH.failed(0.0, 0.5, unreached=True).failed(1.0, 0.5).unreached
    assert not FRESH.failed(0.0, 0.5, unreached=True).succeeded().unreached


@given(
    st.floats(0, 1e9), st.lists(st.floats(0, 1), min_size=1, max_size=2000), st.floats(0.05, 60), st.floats(0.05, 3600)
)
def test_pause_is_never_hot_and_never_longer_than_the_longest(now, jitters, first, longest):
    """Whatever the jitter and however often it failed, the pause lies between the two bounds."""
    health = Health(first, longest)
    for jitter in jitters:
        health = health.failed(now, jitter)
        pause = health.ready_at - now
        assert min(first, longest) - 1e-6 <= pause <= longest + 1e-6
    assert health.failures == len(jitters)
