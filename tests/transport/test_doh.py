"""DoH as a machine, against h2's server side joined to it by a fake link."""

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, PingAckReceived, RequestReceived, SettingsAcknowledged, StreamEnded, StreamReset
from h2.settings import SettingCodes, Settings
from hyperframe.frame import ContinuationFrame, DataFrame, GoAwayFrame, HeadersFrame, PushPromiseFrame, SettingsFrame
from hypothesis import given, settings
from hypothesis import strategies as st

from stubresolver.transport import doh
from stubresolver.transport.doh import MAX_BODY, MAX_STREAMS, DohProtocol
from stubresolver.transport.protocol import Answered, Draining, Ended, Failed

DNS = b"application/dns-message"
OK = [(b":status", b"200"), (b"content-type", DNS)]


def message(number: int, text: bytes = b"", size: int = 12) -> bytes:
    return number.to_bytes(2, "big") + bytes(size - 2) + text


class Pair:
    """A client machine and a server machine."""

    def __init__(self, step: int = 1 << 20, **server_settings: int) -> None:
        self.client = DohProtocol("dns.test:8443", "/dns-query")
        self.server = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        values = {SettingCodes[key]: value for key, value in server_settings.items()}
        self.server.local_settings = Settings(client=False, initial_values=values)
        self.server.initiate_connection()
        self.step = step
        self.seen = []
        self.bodies: dict[int, bytes] = {}

    def exchange(self) -> list:
        """Carry octets until both are quiet; what the client said of them."""
        events = []
        while True:
            out = b"".join(self.client.data_to_send())
            for event in self.server.receive_data(out) if out else ():
                self.seen.append(event)
                if isinstance(event, DataReceived):
                    self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
                    self.server.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            back = self.server.data_to_send()
            events += self.deliver(back)
            if not out and not back:
                return events

    def deliver(self, data: bytes) -> list:
        return [
            event
            for at in range(0, len(data), self.step)
            for event in self.client.receive_data(data[at : at + self.step])
        ]

    def answer(self, stream: int, body: bytes, headers=OK) -> None:
        self.server.send_headers(stream, headers)
        self.server.send_data(stream, body, end_stream=True)


@pytest.fixture
def pair():
    pair = Pair()
    assert pair.exchange() == []
    return pair


@pytest.mark.parametrize("step", [1, 10, 1 << 20])
def test_answers_in_any_order_reach_their_query(step):
    """Each answer reaches its query by its stream, and bears the id that the query was given in with."""
    pair = Pair(step)
    tokens = [pair.client.send_query(message(70 + n, b"q%d" % n)) for n in range(3)]
    pair.exchange()
    for token in reversed(tokens):
        pair.answer(token, pair.bodies[token].upper())
    assert pair.exchange() == [
        Answered(token, message(70 + n, b"Q%d" % n)) for n, token in reversed(list(enumerate(tokens)))
    ]


def test_request_is_what_rfc_8484_says(pair):
    """RFC 8484 s4.1: POST, both types application/dns-message, DNS id 0."""
    token = pair.client.send_query(message(0xABCD, b"q"))
    pair.exchange()
    [request] = [event for event in pair.seen if isinstance(event, RequestReceived)]
    assert dict(request.headers) == {
        b":method": b"POST",
        b":scheme": b"https",
        b":authority": b"dns.test:8443",
        b":path": b"/dns-query",
        b"accept": DNS,
        b"content-type": DNS,
        b"content-length": b"13",
    }
    assert pair.bodies[token] == message(0, b"q")
    assert any(isinstance(event, StreamEnded) for event in pair.seen)


def test_interim_answers_and_trailers_are_no_answers(pair):
    """RFC 9113 s8.1: 1xx may come before, trailers after; neither changes the answer."""
    token = pair.client.send_query(message(7))
    pair.exchange()
    pair.server.send_headers(token, [(b":status", b"103")])
    pair.server.send_headers(token, [(b":status", b"200"), (b"content-type", b"Application/DNS-message; x=y")])
    pair.server.send_data(token, message(0, b"a"))
    pair.server.send_headers(token, [(b"x-trailer", b"1")], end_stream=True)
    assert pair.exchange() == [Answered(token, message(7, b"a"))]


@pytest.mark.parametrize(
    ("status", "retry"),
    [(b"204", False), (b"302", False), (b"404", False), (b"421", True), (b"429", True), (b"503", True)],
)
def test_other_status_is_a_failure(pair, status, retry):
    """RFC 8484 s4.2.1: no status but 200 brings a DNS answer; redirects are not followed."""
    token = pair.client.send_query(message(7))
    pair.exchange()
    pair.answer(token, message(0), [(b":status", status), (b"content-type", DNS), (b"location", b"https://x.test/")])
    assert pair.exchange() == [Failed(token, f"HTTP status {status.decode()}", retry)]
    assert pair.client.room == MAX_STREAMS


def test_status_that_is_none_is_shown_harmlessly(pair):
    """The reason reaches a terminal by way of `dig` and the log: no control characters, and a bounded length."""
    token = pair.client.send_query(message(1))
    pair.exchange()
    pair.answer(token, message(0), [(b":status", b"\x1b[2J" + b"x" * 100), (b"content-type", DNS)])
    assert pair.exchange() == [Failed(token, "HTTP status b'\\x1b[2Jxxxxxxxxxxxxxxxx'", retry=False)]


@pytest.mark.parametrize("update", [b"\x20", b"\x3f\xe1\x1f"])
@pytest.mark.parametrize(("updates", "lawful"), [(0, True), (2, True), (3, False), (5000, False)])
def test_updates_of_the_header_table_are_two_at_most(update, updates, lawful):
    """RFC 7541 s4.2; each costs as much as a frame, and thousands fit into one."""
    client = DohProtocol("dns.test", "/dns-query")
    token = client.send_query(message(7))
    block = update * updates + b"\x88\x0f\x10\x17application/dns-message"  # :status 200, and a content-type
    head = HeadersFrame(token, data=block, flags=("END_HEADERS",))
    body = DataFrame(token, data=message(0), flags=("END_STREAM",))
    events = client.receive_data(b"".join(each.serialize() for each in (SettingsFrame(0), head, body)))
    if lawful:
        assert events == [Answered(token, message(7))]
    else:
        assert events == [
            Ended("protocol violation: more than 2 updates of the header table's size at once", violation=True)
        ]


def test_what_h2_quotes_is_shown_harmlessly(pair):
    """It says which character of a header it does not like, and quotes the header as it came."""
    token = pair.client.send_query(message(1))
    pair.exchange()
    pair.answer(token, message(0), [(b":status", b"200"), (b"x", b"a\nb" + b"x" * 1000)])
    (ended,) = pair.exchange()
    assert ended.violation
    assert "in header value" in ended.reason
    assert ended.reason.isprintable()
    assert len(ended.reason) < 300


@pytest.mark.parametrize(
    ("headers", "body", "reason"),
    [
        ([(b":status", b"200"), (b"content-type", b"text/html")], message(0), "content type 'text/html'"),
        ([(b":status", b"200")], message(0), "content type ''"),
        (OK, b"short", "5 octets"),
        (OK, b"", "0 octets"),
    ],
)
def test_other_content_is_a_failure(pair, headers, body, reason):
    """An answer is of the right type and at least a DNS header long."""
    token = pair.client.send_query(message(7))
    pair.exchange()
    pair.answer(token, body, headers)
    [failed] = pair.exchange()
    assert isinstance(failed, Failed)
    assert reason in failed.reason
    assert not failed.retry


@pytest.mark.parametrize(("size", "kind"), [(MAX_BODY, Answered), (MAX_BODY + 1, Failed)])
def test_answer_of_full_size_arrives_and_no_larger_one(pair, size, kind):
    """RFC 8484 s6: 65535 octets at most; a larger answer fails at once and the connection lives on."""
    token = pair.client.send_query(message(7))
    pair.exchange()
    pair.server.send_headers(token, OK)
    for at in range(0, size, 16384):
        pair.server.send_data(token, bytes(min(16384, size - at)), end_stream=at + 16384 >= size)
    [event] = pair.exchange()
    assert isinstance(event, kind)
    assert pair.client.room == MAX_STREAMS


def test_flow_control_window_is_given_back(pair, monkeypatch):
    """A connection answers for ever: what was received is granted again."""
    monkeypatch.setattr(doh, "CONNECTION_WINDOW", 100_000)
    before = pair.server.outbound_flow_control_window
    for _ in range(20):
        token = pair.client.send_query(message(7))
        pair.exchange()
        pair.answer(token, bytes(10_000))
        assert len(pair.exchange()) == 1
    assert pair.server.outbound_flow_control_window > before - 60_000


@pytest.mark.parametrize(("limit", "room"), [(0, 0), (3, 3), (1000, MAX_STREAMS)])
def test_room_is_the_smaller_of_both_limits(limit, room):
    """RFC 9113 s5.1.2: endpoints must not exceed the limit set by their peer; ours holds before and beside it."""
    pair = Pair(MAX_CONCURRENT_STREAMS=limit)
    pair.exchange()
    assert pair.client.room == room
    for _ in range(room):
        pair.client.send_query(message(1))
    assert pair.client.room == 0


def test_forgotten_stream_is_cancelled_and_its_room_is_free(pair):
    """RFC 9113 s7: RST_STREAM with CANCEL, once."""
    token = pair.client.send_query(message(1))
    pair.exchange()
    pair.client.forget(token)
    pair.client.forget(token)
    assert pair.client.room == MAX_STREAMS
    assert pair.exchange() == []
    [reset] = [event for event in pair.seen if isinstance(event, StreamReset)]
    assert (reset.stream_id, reset.error_code) == (token, ErrorCodes.CANCEL)


def test_late_answer_reaches_nobody(pair):
    """An answer that was under way when its query was forgotten hurts nobody either."""
    token = pair.client.send_query(message(1))
    pair.exchange()
    pair.answer(token, message(0))
    late = pair.server.data_to_send()
    pair.client.forget(token)
    assert pair.client.receive_data(late) == []
    again = pair.client.send_query(message(2))
    pair.exchange()
    pair.answer(again, message(0))
    assert pair.exchange() == [Answered(again, message(2))]


@pytest.mark.parametrize(("code", "retry"), [(ErrorCodes.REFUSED_STREAM, True), (ErrorCodes.INTERNAL_ERROR, False)])
def test_stream_reset_fails_one_query(pair, code, retry):
    """RFC 9113 s8.7: only REFUSED_STREAM promises that nothing was processed."""
    first, second = (pair.client.send_query(message(n)) for n in (1, 2))
    pair.exchange()
    pair.server.reset_stream(first, code)
    pair.answer(second, message(0))
    assert pair.exchange() == [
        Failed(first, f"HTTP/2 stream reset: {code.name}", retry),
        Answered(second, message(2)),
    ]


def test_unknown_reset_code_is_shown_as_a_number(pair):
    """RFC 9113 s7: unknown error codes do not trigger special behaviour."""
    token = pair.client.send_query(message(1))
    pair.exchange()
    assert pair.client.receive_data(b"\0\0\4\3\0" + token.to_bytes(4, "big") + b"\0\0\xff\xff") == [
        Failed(token, "HTTP/2 stream reset: code 65535", retry=False)
    ]


@pytest.mark.parametrize("step", [1, 1 << 20])
def test_goaway_spares_the_older_streams(step):
    """RFC 9113 s6.8: streams above the last one may be asked again elsewhere; those below are still answered."""
    pair = Pair(step)
    first, second = (pair.client.send_query(message(n)) for n in (1, 2))
    pair.exchange()
    assert pair.deliver(GoAwayFrame(0, last_stream_id=first, error_code=0).serialize()) == [
        Draining(),
        Failed(second, "HTTP/2 GOAWAY (code 0)", retry=True),
    ]
    assert pair.client.room == 0
    pair.answer(first, message(0))
    assert pair.deliver(pair.server.data_to_send()) == [Answered(first, message(1))]
    assert pair.deliver(GoAwayFrame(0, last_stream_id=first, error_code=0).serialize()) == []
    assert pair.client.receive_data(b"") == [Ended("")]


def test_goaway_between_other_frames(pair):
    """Frames before and after a GOAWAY in one piece of octets are handled in their order."""
    first, second = (pair.client.send_query(message(n)) for n in (1, 2))
    pair.exchange()
    pair.answer(first, message(0))
    before = pair.server.data_to_send()
    pair.answer(second, message(0))
    after = pair.server.data_to_send()
    goaway = GoAwayFrame(0, last_stream_id=second, error_code=0).serialize()
    assert pair.client.receive_data(before + goaway + after) == [
        Answered(first, message(1)),
        Draining(),
        Answered(second, message(2)),
    ]


def test_stream_numbers_run_out(pair, monkeypatch):
    """RFC 9113 s5.1.1: a client whose stream numbers are used up opens a new connection."""
    monkeypatch.setattr(doh, "LAST_STREAM", 3)
    tokens = [pair.client.send_query(message(n)) for n in (1, 2)]
    assert pair.client.room == 0
    pair.exchange()
    for token in tokens:
        pair.answer(token, message(0))
    assert pair.exchange() == [Answered(tokens[0], message(1)), Answered(tokens[1], message(2)), Draining()]


def test_query_waits_for_the_peers_window():
    """RFC 9113 s5.2: no more octets than the peer's window allows; the rest follows, and nothing new meanwhile."""
    pair = Pair(INITIAL_WINDOW_SIZE=10)
    pair.exchange()
    token = pair.client.send_query(message(9, b"x" * 100))
    out = b"".join(pair.client.data_to_send())
    [data] = [event for event in pair.server.receive_data(out) if isinstance(event, DataReceived)]
    assert len(data.data) == 10
    assert pair.client.room == 0
    pair.server.increment_flow_control_window(200, token)
    pair.exchange()
    assert pair.bodies[token] == message(0, b"x" * 100)[10:]
    assert pair.client.room == MAX_STREAMS - 1
    pair.answer(token, message(0))
    assert pair.exchange() == [Answered(token, message(9))]


def test_early_answer_to_a_query_that_is_not_wholly_sent():
    """RFC 9113 s8.1: a server may answer before the request has ended; then the stream is cancelled."""
    pair = Pair(INITIAL_WINDOW_SIZE=10)
    pair.exchange()
    token = pair.client.send_query(message(9, b"x" * 100))
    pair.server.receive_data(b"".join(pair.client.data_to_send()))
    pair.answer(token, message(0))
    assert pair.client.receive_data(pair.server.data_to_send()) == [Answered(token, message(9))]
    assert pair.client.room == MAX_STREAMS


def test_forgotten_query_no_longer_waits_for_the_window():
    """Forgetting a query that waits for the peer's window opens the way for others."""
    pair = Pair(INITIAL_WINDOW_SIZE=0)
    pair.exchange()
    token = pair.client.send_query(message(9))
    assert pair.client.room == 0
    pair.client.forget(token)
    assert pair.client.room == MAX_STREAMS
    assert pair.exchange() == []


def test_settings_and_pings_are_acknowledged(pair):
    """RFC 9113 s6.5.3 and s6.7."""
    pair.server.ping(b"12345678")
    assert pair.exchange() == []
    assert any(isinstance(event, PingAckReceived) for event in pair.seen)
    assert any(isinstance(event, SettingsAcknowledged) for event in pair.seen)


def test_acknowledgements_are_bounded(pair, monkeypatch):
    """A peer that makes us owe it more and more, and reads nothing, is cut off."""
    monkeypatch.setattr(doh, "MAX_UNSENT", 1000)
    ping = b"\0\0\x08\6\0\0\0\0\0" + bytes(8)
    events = [event for _ in range(100) for event in pair.client.receive_data(ping)]
    [ended] = events
    assert "acknowledgements" in ended.reason


@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(100), "frame of"),
        (b"\0\x40\1\0\0\0\0\0\1", "frame of 16385 octets, expected at most 16384"),
        (b"\0\0\4\7\0\0\0\0\0" + bytes(4), "GOAWAY frame of 4 octets"),
        (b"\0\0\1\0\0\0\0\0\0x", "protocol violation"),
        (
            PushPromiseFrame(1, promised_stream_id=2, data=b"\x82", flags=["END_HEADERS"]).serialize(),
            "protocol violation",
        ),
        (b"\0\0\4\1\4\0\0\0\1\xff\xff\xff\xff", "protocol violation"),
    ],
)
def test_violation_ends_the_connection(pair, octets, problem):
    """What is not HTTP/2 ends the connection with what was wrong; afterwards nothing means anything."""
    pair.client.send_query(message(1))
    pair.exchange()
    events = pair.client.receive_data(octets)
    assert isinstance(events[-1], Ended)
    assert problem in events[-1].reason
    assert pair.client.receive_data(b"") == []
    assert pair.client.room == 0


def test_continuation_flood_ends_the_connection(pair):
    """Header sections without end are cut off (RFC 9113 s10.5.1)."""
    token = pair.client.send_query(message(1))
    pair.exchange()
    events = pair.client.receive_data(HeadersFrame(token, data=b"\x88").serialize())
    count = 0
    while not events:
        count += 1
        events = pair.client.receive_data(ContinuationFrame(token, data=b"").serialize())
    assert isinstance(events[-1], Ended)
    assert count < 100


@pytest.mark.parametrize(
    ("before", "reason"), [([], ""), ([b"\0\0"], "the upstream closed the connection within a frame")]
)
def test_end_of_stream(pair, before, reason):
    """An end between frames is clean; one within a frame is not."""
    assert [event for data in before for event in pair.client.receive_data(data)] == []
    assert pair.client.receive_data(b"") == [Ended(reason)]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.binary(max_size=80), max_size=6))
def test_any_octets_give_events_and_no_exception(pieces):
    """Whatever arrives, nothing is raised and the connection ends at most once."""
    client = DohProtocol("1.1.1.1", "/dns-query")
    client.send_query(message(1))
    events = [event for piece in pieces for event in client.receive_data(piece)]
    assert sum(isinstance(event, Ended) for event in events) <= 1


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_altered_answer_gives_events_and_no_exception(data):
    """One octet changed anywhere in a server's octets: events, no exception, and no answer to another query."""
    pair = Pair()
    tokens = {pair.client.send_query(message(n)) for n in (1, 2)}
    pair.server.receive_data(b"".join(pair.client.data_to_send()))
    for token in sorted(tokens):
        pair.answer(token, message(0, b"a"))
    octets = bytearray(pair.server.data_to_send())
    octets[data.draw(st.integers(0, len(octets) - 1))] ^= data.draw(st.integers(1, 255))
    events = pair.client.receive_data(bytes(octets))
    assert {event.token for event in events if isinstance(event, Answered | Failed)} <= tokens
    pair.client.data_to_send()


def test_memory_of_closed_streams_is_bounded(pair):
    """However long a connection lives, what h2 keeps of its past does not grow beyond a thousand streams."""
    for number in range(1200):
        token = pair.client.send_query(message(number))
        pair.exchange()
        pair.answer(token, message(0))
        pair.exchange()
    assert len(pair.client._h2._closed_streams) <= 1024
