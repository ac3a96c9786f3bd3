"""DoT as a machine: ids, order, forgetting, violations."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stubresolver.transport.dot import MAX_FORGOTTEN, MAX_OUTSTANDING, DotProtocol
from stubresolver.transport.protocol import Answered, Ended, Late
from stubresolver.wire.framing import FrameReader, frame


def message(number: int, text: bytes = b"", size: int = 12) -> bytes:
    return number.to_bytes(2, "big") + bytes(size - 2) + text


def sent(protocol: DotProtocol) -> list[bytes]:
    return FrameReader().feed(b"".join(protocol.data_to_send()))


def feed(protocol: DotProtocol, data: bytes, step: int) -> list:
    return [event for at in range(0, len(data), step) for event in protocol.receive_data(data[at : at + step])]


@pytest.mark.parametrize("step", [1, 5, 1 << 20])
def test_answers_in_any_order_reach_their_query(step):
    """RFC 7766 s7: answers are matched by id, in any order; each bears the id that its query was given in with."""
    protocol = DotProtocol()
    tokens = [protocol.send_query(message(77, text)) for text in (b"a", b"b", b"c")]
    asked = sent(protocol)
    assert len({wire[:2] for wire in asked}) == 3
    answers = b"".join(frame(wire[:2] + wire[2:].upper()) for wire in reversed(asked))
    events = feed(protocol, answers, step)
    assert events == [
        Answered(token, message(77, text)) for token, text in zip(tokens[::-1], (b"C", b"B", b"A"), strict=True)
    ]


def test_queries_are_gathered():
    """All queries since the last call come out, a piece each; then there is nothing to say."""
    protocol = DotProtocol()
    for text in (b"a", b"b"):
        protocol.send_query(message(1, text))
    assert [wire[12:] for wire in sent(protocol)] == [b"a", b"b"]
    assert protocol.data_to_send() == []


def test_forgotten_id_stays_reserved_until_its_late_answer():
    """A late answer reaches nobody, and the id is not used for another query before it has come."""
    protocol = DotProtocol()
    protocol.forget(protocol.send_query(message(1, b"forgotten")))
    [late] = sent(protocol)
    for _ in range(2 * 65536):  # twice round all ids
        token = protocol.send_query(message(2))
        [wire] = sent(protocol)
        assert wire[:2] != late[:2]
        assert protocol.receive_data(frame(wire)) == [Answered(token, message(2))]
    assert protocol.room == MAX_OUTSTANDING - 1
    assert protocol.receive_data(frame(late)) == [Late()]
    assert protocol.room == MAX_OUTSTANDING


def test_forgetting_what_is_over_changes_nothing():
    """A token names one query for ever, even when its id is another's by now."""
    protocol = DotProtocol()
    old = protocol.send_query(message(1))
    protocol.receive_data(frame(sent(protocol)[0]))
    for _ in range(65536):
        new = protocol.send_query(message(1))
        [wire] = sent(protocol)
        if wire[:2] == b"\0\0":
            break
        protocol.receive_data(frame(wire))
    protocol.forget(old)
    protocol.forget(old)
    assert protocol.receive_data(frame(wire)) == [Answered(new, message(1))]


def test_room_shrinks_with_what_is_owed():
    """Forgotten queries take room too: the peer still owes their answers."""
    protocol = DotProtocol()
    tokens = [protocol.send_query(message(1)) for _ in range(MAX_OUTSTANDING)]
    protocol.forget(tokens[0])
    assert protocol.room == 0


def test_connection_that_keeps_ids_for_nobody_is_worn():
    """A flood of names that nobody answers leaves a half of the room; late answers give it back."""
    protocol = DotProtocol()
    tokens = [protocol.send_query(message(1)) for _ in range(MAX_FORGOTTEN)]
    for token in tokens:
        assert not protocol.worn
        protocol.forget(token)
        protocol.forget(token)
    assert protocol.worn
    assert protocol.room == MAX_OUTSTANDING - MAX_FORGOTTEN
    assert protocol.receive_data(frame(sent(protocol)[0])) == [Late()]
    assert not protocol.worn


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (frame(message(9)), "which no query bears"),
        (frame(b"\0\0" + bytes(9)), "11 octets"),
        (frame(b""), "0 octets"),
    ],
)
def test_violation_ends_the_connection(data, problem):
    """An answer nobody asked for, or no message at all: nothing on this connection can be trusted to be matched."""
    protocol = DotProtocol()
    protocol.send_query(message(1))
    [wire] = sent(protocol)
    [ended] = protocol.receive_data(data)
    assert isinstance(ended, Ended)
    assert ended.violation
    assert problem in ended.reason
    assert protocol.receive_data(frame(wire)) == []
    assert protocol.room == 0


@pytest.mark.parametrize("data", [b"\0", b"\0\0", frame(message(0)), b"\xff\xff" + bytes(100)])
def test_nothing_may_come_that_was_not_asked_for(data):
    """While no answer is owed, the first octet ends the connection: before the first query, and behind an answer."""
    [ended] = DotProtocol().receive_data(data)
    assert isinstance(ended, Ended)
    assert ended.violation
    protocol = DotProtocol()
    token = protocol.send_query(message(1))
    [wire] = sent(protocol)
    answered, ended = protocol.receive_data(frame(wire) + data)
    assert answered == Answered(token, message(1))
    assert isinstance(ended, Ended)


def test_a_forgotten_answer_may_still_come():
    """It is owed, in whatever pieces, although nobody waits; what comes behind it is not."""
    protocol = DotProtocol()
    protocol.forget(protocol.send_query(message(1)))
    [wire] = sent(protocol)
    assert feed(protocol, frame(wire), 1) == [Late()]
    [ended] = protocol.receive_data(b"\0")
    assert ended.reason == "protocol violation: the upstream sends and was not asked"


def test_answers_before_a_violation_count():
    """What was rightly answered before the violation is answered; a second answer to one query is a violation."""
    protocol = DotProtocol()
    token = protocol.send_query(message(5))
    [wire] = sent(protocol)
    first, second = protocol.receive_data(frame(wire) + frame(wire))
    assert first == Answered(token, message(5))
    assert isinstance(second, Ended)


@pytest.mark.parametrize(
    ("before", "reason"),
    [([], ""), ([b"\0"], "the upstream closed the connection within a message"), ([b"\0\x0cabc"], "within a message")],
)
def test_end_of_stream(before, reason):
    """An end between messages is clean; one within a message is not. It is said once."""
    protocol = DotProtocol()
    protocol.send_query(message(1))
    assert [event for data in before for event in protocol.receive_data(data)] == []
    [ended] = protocol.receive_data(b"")
    assert reason in ended.reason
    assert bool(ended.reason) == bool(before)
    assert protocol.receive_data(b"") == []


@settings(max_examples=150, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=6))
def test_any_octets_give_events_and_no_exception(pieces):
    """Whatever arrives: answers to what was asked, at most one end, never an exception."""
    protocol = DotProtocol()
    tokens = {protocol.send_query(message(1)) for _ in range(3)}
    events = [event for piece in pieces for event in protocol.receive_data(piece)]
    assert {event.token for event in events if isinstance(event, Answered)} <= tokens
    assert sum(isinstance(event, Ended) for event in events) <= 1
