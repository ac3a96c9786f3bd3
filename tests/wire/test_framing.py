"""Framing: whole, octet by octet, with octets that follow."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stubresolver.wire.framing import FrameReader, frame

MESSAGES = [[b"a"], [b"one", b"two"], [b""], [b"x" * 65535, b"y"], [b"\0\0", b"", b"\0\1"]]


@pytest.mark.parametrize("messages", MESSAGES)
def test_whole(messages):
    """What was framed comes out as it went in, however many frames arrive at once."""
    reader = FrameReader()
    assert reader.feed(b"".join(map(frame, messages))) == messages
    assert reader.pending == 0


@pytest.mark.parametrize("messages", [m for m in MESSAGES if sum(map(len, m)) < 1000])
def test_octet_by_octet(messages):
    """A message comes out with its last octet, neither before nor after."""
    reader = FrameReader()
    for message in messages:
        framed = frame(message)
        for octet in framed[:-1]:
            assert reader.feed(bytes((octet,))) == []
        assert reader.pending == len(framed) - 1
        assert reader.feed(framed[-1:]) == [message]
        assert reader.pending == 0


def test_following_octets():
    """The beginning of a next frame is kept until the rest of it comes."""
    reader = FrameReader()
    assert reader.feed(frame(b"first") + b"\0") == [b"first"]
    assert reader.pending == 1
    assert reader.feed(b"\6sec") == []
    assert reader.pending == 5
    assert reader.feed(b"ond" + frame(b"third")) == [b"second", b"third"]


def test_nothing_fed():
    """Feeding nothing brings nothing and loses nothing."""
    reader = FrameReader()
    assert reader.feed(b"") == []
    reader.feed(b"\0\2a")
    assert reader.feed(b"") == []
    assert reader.feed(b"b") == [b"ab"]


def test_too_long_for_a_frame():
    """A message of more than 65535 octets has no frame."""
    with pytest.raises(OverflowError):
        frame(bytes(65536))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=6), st.lists(st.integers(1, 9), min_size=1))
def test_any_pieces(messages, sizes):
    """The pieces in which a stream arrives make no difference."""
    stream = b"".join(map(frame, messages))
    reader = FrameReader()
    got = []
    turn = 0
    while stream:
        size = sizes[turn % len(sizes)]
        turn += 1
        got += reader.feed(stream[:size])
        stream = stream[size:]
    assert got == messages
    assert reader.pending == 0
