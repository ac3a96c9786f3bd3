"""How slowness is learnt: RFC 6298's smoothing, and bounds on what it may lead to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.upstream.answertime import SLOWEST, USUAL, AnswerTime


def after(*samples: float) -> AnswerTime:
    time = AnswerTime()
    for sample in samples:
        time.add(sample)
    return time


def test_first_samples():
    """RFC 6298 s2.2 and s2.3, by hand."""
    assert AnswerTime().smoothed is None
    assert (after(0.8).smoothed, after(0.8).variation) == (0.8, 0.4)
    time = after(0.8, 1.6)
    assert time.smoothed == pytest.approx(0.9)
    assert time.variation == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("samples", "patience"),
    [
        ([], 0.75),
        ([0.02] * 50, 0.75),
        ([0.02] * 50 + [3.0], USUAL),  # one name that the upstream had to look for
        ([2.0] * 50, 2.0),
        ([1.0, 3.0] * 50, SLOWEST),
        ([30.0] * 50, SLOWEST),
    ],
)
def test_patience(samples, patience):
    """A second at most for a peer that is usually fast; what a slow one needs, but never all that a client has."""
    assert after(*samples).patience(0.75) == pytest.approx(patience, rel=0.05)


@given(st.lists(st.floats(0, 1000), max_size=30), st.floats(0.05, 60))
def test_patience_is_bounded(samples, least):
    """Whatever a peer does with its answers: never less than asked for, never more than `SLOWEST` beyond that."""
    assert least <= after(*samples).patience(least) <= max(least, SLOWEST)
