"""DoT and DoH machines of the lab: honest by default, misbehaving as told, never raising."""

import base64

import dns.message
import h2.config
import h2.connection
import h2.errors
import h2.events
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stubresolver.lab.conversations import Behaviour, Desk, DotConversation, Tally
from stubresolver.lab.doh import DohConversation
from stubresolver.lab.zone import LabZone

ZONE = LabZone()
NAMES = ["example.lab", "mail.example.lab", "dns.lab"]


def desk(**behaviour):
    return Desk(ZONE.answer, Behaviour(**behaviour), Tally())


def query(name, number=0, rdtype="A"):
    return dns.message.make_query(name, rdtype, id=number).to_wire()


def frame(wire):
    return len(wire).to_bytes(2, "big") + wire


def frames(data):
    found = []
    while len(data) >= 2 and len(data) >= 2 + int.from_bytes(data[:2], "big"):
        end = 2 + int.from_bytes(data[:2], "big")
        found.append(data[2:end])
        data = data[end:]
    return found, data


ASKED = [query(name, number) for number, name in enumerate(NAMES, 1)]
STREAM = b"".join(map(frame, ASKED))
ANSWERS = [ZONE.answer(wire) for wire in ASKED]


@pytest.mark.parametrize("size", [1, 3, len(STREAM)])
def test_dot_answers_however_the_octets_come(size):
    """Framing does not depend on how the stream is cut."""
    conversation, reply = DotConversation(desk()), b""
    for start in range(0, len(STREAM), size):
        reply += conversation.receive_data(STREAM[start : start + size])
    assert frames(reply) == (ANSWERS, b"")
    assert not conversation.ended


@pytest.mark.parametrize(
    ("behaviour", "expected", "ended"),
    [
        ({"silent": True}, [], False),
        ({"reorder": 3}, ANSWERS[::-1], False),
        ({"reorder": 4}, [], False),
        ({"close_after": 2}, ANSWERS[:1], True),
        ({"close_after": 4}, ANSWERS, False),
    ],
)
def test_dot_misbehaves_as_told(behaviour, expected, ended):
    """Each behaviour departs in what it names and in nothing else."""
    conversation = DotConversation(desk(**behaviour))
    assert frames(conversation.receive_data(STREAM)) == (expected, b"")
    assert (conversation.ended, conversation.cut) == (ended, False)


def test_dot_cuts_in_the_middle_of_a_frame():
    """A cut leaves the front half of a frame and no close_notify."""
    conversation = DotConversation(desk(cut_after=2))
    whole, rest = frames(conversation.receive_data(STREAM))
    assert whole == ANSWERS[:1]
    assert 0 < len(rest) < len(frame(ANSWERS[1]))
    assert frame(ANSWERS[1]).startswith(rest)
    assert (conversation.ended, conversation.cut) == (True, True)


def test_wrong_question_differs_in_the_question_alone():
    """The id is right, the question is another one."""
    (reply,), _ = frames(DotConversation(desk(wrong_question=True)).receive_data(frame(ASKED[0])))
    asked, got = dns.message.from_wire(ASKED[0]), dns.message.from_wire(reply)
    assert asked.id == got.id
    assert asked.question != got.question


def test_queries_are_counted():
    """The tally counts queries that were taken, answered or not."""
    behind = desk(silent=True)
    DotConversation(behind).receive_data(STREAM)
    assert behind.tally.queries == 3


@given(st.binary(max_size=300))
def test_dot_never_raises(junk):
    """Whatever a client sends has an outcome."""
    conversation = DotConversation(desk())
    assert frames(conversation.receive_data(junk))[1] == b""


class Client:
    """An h2 client joined to a conversation, each passing its octets to the other until both are silent."""

    def __init__(self, conversation):
        self.conversation = conversation
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.http.initiate_connection()
        self.events = []

    def ask(self, wire, *, more=False):
        headers = {":method": "POST", ":path": "/dns-query", "content-type": "application/dns-message"}
        return self.request(wire, headers, more=more)

    def request(self, body, headers, *, more=False):
        stream = self.http.get_next_available_stream_id()
        fixed = {":scheme": "https", ":authority": "127.0.0.1"}
        ordered = sorted((headers | fixed).items(), key=lambda item: not item[0].startswith(":"))
        self.http.send_headers(stream, ordered, end_stream=not body)
        if body:
            self.http.send_data(stream, body, end_stream=not more)
        return stream

    def run(self):
        while data := self.http.data_to_send():
            for event in self.http.receive_data(self.conversation.receive_data(data)):
                self.events.append(event)
                if isinstance(event, h2.events.DataReceived):
                    self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        return self

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    def status(self, stream):
        (response,) = (event for event in self.of(h2.events.ResponseReceived) if event.stream_id == stream)
        return int(dict(response.headers)[":status"])

    def body(self, stream):
        return b"".join(event.data for event in self.of(h2.events.DataReceived) if event.stream_id == stream)

    def finished(self):
        return [event.stream_id for event in self.of(h2.events.StreamEnded)]


def doh(**behaviour):
    return Client(DohConversation(desk(**behaviour), "/dns-query"))


def test_doh_answers_post_and_get():
    """RFC 8484 s4.1: both methods, the same answer, the media type on it."""
    client = doh()
    posted = client.ask(ASKED[0])
    text = base64.urlsafe_b64encode(ASKED[1]).rstrip(b"=").decode()
    got = client.request(b"", {":method": "GET", ":path": f"/dns-query?dns={text}"})
    client.run()
    assert [client.body(posted), client.body(got)] == ANSWERS[:2]
    for event in client.of(h2.events.ResponseReceived):
        assert dict(event.headers)["content-type"] == "application/dns-message"
    assert client.finished() == [posted, got]


def test_doh_long_answer_passes_the_windows():
    """Two answers of 60 kB are more than the connection's first window (RFC 9113 s6.9.2) and arrive whole."""
    client = doh()
    wire = query("huge.lab", rdtype="TXT")
    streams = [client.ask(wire), client.ask(wire)]
    client.run()
    assert [client.body(stream) for stream in streams] == [ZONE.answer(wire)] * 2


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (ASKED[0], {":method": "PUT", ":path": "/dns-query"}, 405),
        (ASKED[0], {":method": "POST", ":path": "/dns-query", "content-type": "text/plain"}, 415),
        (ASKED[0], {":method": "POST", ":path": "/dns-query"}, 415),
        (ASKED[0], {":method": "POST", ":path": "/", "content-type": "application/dns-message"}, 404),
        (b"short", {":method": "POST", ":path": "/dns-query", "content-type": "application/dns-message"}, 400),
        (b"", {":method": "GET", ":path": "/dns-query?dns=****"}, 400),
        (b"", {":method": "GET", ":path": "/dns-query?dns=%C3%A9"}, 400),
        (b"", {":method": "GET", ":path": "/dns-query"}, 400),
    ],
)
def test_doh_answers_a_wrong_request_with_its_status(body, headers, status):
    """A request that is no DoH gets HTTP's word for it, and the connection lives on."""
    client = doh()
    client.run()
    wrong = client.request(body, headers)
    right = client.ask(ASKED[0])
    client.run()
    assert client.status(wrong) == status
    assert client.body(right) == ANSWERS[0]


def test_doh_takes_no_endless_body():
    """A body that no DNS message can have is read to its end, not kept, and refused."""
    client = doh()
    client.run()
    stream = client.ask(ASKED[0], more=True)
    for _ in range(20):
        client.run()
        client.http.send_data(stream, bytes(16384))
    client.http.end_stream(stream)
    client.run()
    assert client.status(stream) == 400


def test_doh_reorders():
    """The last query is answered first, each on its own stream."""
    client = doh(reorder=3)
    streams = [client.ask(wire) for wire in ASKED]
    client.run()
    assert client.finished() == streams[::-1]
    assert [client.body(stream) for stream in streams] == ANSWERS


def test_doh_refuses_streams():
    """REFUSED_STREAM for as many as told, then answers (RFC 9113 s8.7)."""
    client = doh(refuse_first=2)
    streams = [client.ask(wire) for wire in ASKED]
    client.run()
    resets = client.of(h2.events.StreamReset)
    assert [(event.stream_id, event.error_code) for event in resets] == [
        (stream, h2.errors.ErrorCodes.REFUSED_STREAM) for stream in streams[:2]
    ]
    assert client.finished() == streams[2:]


def test_doh_says_goaway():
    """GOAWAY names the last stream that is processed; that one is answered, later ones are not."""
    behind = desk(goaway_after=2)
    client = Client(DohConversation(behind, "/dns-query"))
    streams = [client.ask(wire) for wire in ASKED]
    client.run()
    (goaway,) = client.of(h2.events.ConnectionTerminated)
    assert (goaway.last_stream_id, goaway.error_code) == (streams[1], 0)
    assert client.finished() == streams[:2]
    assert behind.tally.queries == 2


def test_doh_status_as_told():
    """A server in trouble says so on every stream."""
    client = doh(http_status=500)
    stream = client.ask(ASKED[0])
    client.run()
    assert (client.status(stream), client.body(stream)) == (500, b"")


def test_doh_cuts_in_the_middle_of_a_body():
    """The response promises more octets than come."""
    client = doh(cut_after=1)
    stream = client.ask(ASKED[0])
    client.run()
    assert client.status(stream) == 200
    assert 0 < len(client.body(stream)) < len(ANSWERS[0])
    assert client.finished() == []
    assert (client.conversation.ended, client.conversation.cut) == (True, True)


def test_doh_closes_as_told():
    """The query that closes the connection gets no answer."""
    client = doh(close_after=2)
    streams = [client.ask(wire) for wire in ASKED]
    client.run()
    assert client.finished() == streams[:1]
    assert (client.conversation.ended, client.conversation.cut) == (True, False)


def test_doh_ends_with_the_clients_goaway():
    """A client that says GOAWAY has nothing more to ask."""
    client = doh()
    client.run()
    client.http.close_connection()
    client.run()
    assert (client.conversation.ended, client.conversation.cut) == (True, False)


def test_doh_survives_a_stream_that_the_client_resets():
    """A client that loses interest in one answer still gets the others."""
    client = doh(reorder=2)
    first = client.ask(ASKED[0])
    client.run()
    client.http.reset_stream(first, h2.errors.ErrorCodes.CANCEL)
    client.run()
    second = client.ask(ASKED[1])
    client.run()
    assert client.body(second) == ANSWERS[1]
    assert not client.conversation.ended


@settings(max_examples=60)
@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 255), st.booleans())
def test_doh_never_raises(junk, position, octet, prefaced):
    """Junk, junk after a good start, and a good conversation with one octet changed all have an outcome."""
    client = doh()
    client.ask(ASKED[0])
    client.ask(ASKED[1])
    data = bytearray(client.http.data_to_send())
    data[position % len(data)] = octet
    conversation = DohConversation(desk(), "/dns-query")
    conversation.receive_data(bytes(data) if prefaced else junk)
    conversation.receive_data(junk)
    assert isinstance(conversation.receive_data(b""), bytes)
