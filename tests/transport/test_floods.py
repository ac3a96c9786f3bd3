"""What a peer may send beside answers: bounded in work and memory, for each kind of flood; the honest never notice."""

import tracemalloc

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived
from hypothesis import given, settings
from hypothesis import strategies as st

from stubresolver.transport.burden import PER_QUERY, SAVED, UNASKED, Burden
from stubresolver.transport.doh import MAX_HEADER_LIST, MAX_STREAMS, DohProtocol
from stubresolver.transport.protocol import Answered, Draining, Ended, Failed
from stubresolver.transport.tls import BARREN_LIMIT, Closed, DataReceived, TLSContext
from tests.transport.floods import DATA, FLOODS, HEADERS, OK, PING, SAYS_NOTHING, SETTINGS, TLS_FLOODS, frame
from tests.transport.peers import TlsServer

READ = 8 * 1024  # as much as one read of a connection brings


def asked(queries: int = 1) -> DohProtocol:
    """A client with queries under way, the first one's answer begun."""
    client = DohProtocol("dns.test", "/dns-query")
    for _ in range(queries):
        client.send_query(bytes(40))
    client.data_to_send()
    assert client.receive_data(frame(SETTINGS) + frame(HEADERS, OK, flags=4, stream=1)) == []
    return client


@pytest.mark.parametrize(("unit", "reason"), FLOODS.values(), ids=FLOODS)
def test_flood_is_cut(unit, reason):
    """After so much work the connection ends, with its reason, as the peer's fault; what it costs us to say is bounded.

    The work is counted: no kind of frame gets more than its units, and a unit is some 10 µs.
    """
    client = asked(2)
    events, sent, owed = [], 0, 0
    while not any(isinstance(event, Ended) for event in events):
        events += client.receive_data(unit * 10)
        sent += 10
        owed += len(b"".join(client.data_to_send()))
        assert sent <= UNASKED + 2 * PER_QUERY + 10
    assert events[-1].violation
    assert reason in events[-1].reason
    assert all(isinstance(event, Ended | Failed | Draining) for event in events)
    assert owed <= 20 * sent
    assert client.receive_data(unit) == []


@pytest.mark.parametrize("unit", [unit for unit, _ in FLOODS.values()], ids=FLOODS)
def test_flood_in_one_piece_is_cut_within_it(unit):
    """Octets that came in one read are not all worked off before anybody looks at the account."""
    client = asked(2)
    events = []
    while not any(isinstance(event, Ended) for event in events):
        events = client.receive_data(unit * (READ // len(unit) + 1))
    assert client._burden.units <= UNASKED + 1000


@pytest.mark.parametrize("piece", [bytes(1), bytes(511)])
def test_answer_in_tiny_pieces_is_cut(piece):
    """A body that comes octet by octet is a flood, too; it ends with its query, long before the body does."""
    client = asked()
    events = [event for _ in range(3000) for event in client.receive_data(frame(DATA, piece, stream=1))]
    assert events
    assert any(isinstance(event, Failed | Ended) for event in events)


def test_late_answers_are_on_the_account_too():
    """Header sections on a stream that was given up are decoded all the same, and so counted."""
    client = asked(2)
    client.forget(3)
    events, sent = [], 0
    while not events:
        events = client.receive_data(frame(HEADERS, b"\x88" + b"\x90" * 100, flags=4, stream=3))
        sent += 1
    assert SAYS_NOTHING in events[-1].reason
    assert sent < UNASKED // 25 + PER_QUERY
    assert client._h2.decoder.fields < 4


class Honest:
    """A server that says as much beside its answers as any is known to."""

    def __init__(self) -> None:
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self.h2.initiate_connection()

    def answer(self, client: DohProtocol, size: int) -> list:
        """Take what the client says; ping, and answer each request in pieces of a KiB with many long fields."""
        fields = [(b":status", b"200"), (b"content-type", b"application/dns-message")]
        fields += [(b"x-field-%d" % number, b"v" * 60) for number in range(18)]
        for event in self.h2.receive_data(b"".join(client.data_to_send())):
            if isinstance(event, RequestReceived):
                self.h2.ping(bytes(8))
                self.h2.update_settings({3: 100})
                self.h2.increment_flow_control_window(100)
                self.h2.send_headers(event.stream_id, fields)
                for at in range(0, size, 1024):
                    self.h2.send_data(event.stream_id, bytes(min(1024, size - at)), end_stream=at + 1024 >= size)
        return client.receive_data(self.h2.data_to_send())


def test_honest_server_is_never_cut():
    """Long answers in small pieces, wordy fields, a PING, SETTINGS and WINDOW_UPDATE with each: nothing adds up."""
    client, server = DohProtocol("dns.test", "/dns-query"), Honest()
    for number in range(300):
        token = client.send_query(bytes(40))
        [answer] = server.answer(client, 40_000 if number % 10 == 0 else 300)
        assert isinstance(answer, Answered)
        assert answer.token == token
    assert client._burden.units < 0


def test_all_answers_at_once_are_no_flood():
    """A hundred answers of 16 KiB, piece by piece and all at the same time."""
    client, server = DohProtocol("dns.test", "/dns-query"), Honest()
    for _ in range(MAX_STREAMS):
        client.send_query(bytes(40))
    assert len(server.answer(client, 16_000)) == MAX_STREAMS


def test_idle_connection_with_keepalive_pings_lives():
    """Two hours, the longest that a connection lives, of a PING every five seconds, and not one query."""
    client = DohProtocol("dns.test", "/dns-query")
    assert client.receive_data(frame(SETTINGS)) == []
    for _ in range(2 * 3600 // 5):
        assert client.receive_data(frame(PING, bytes(8))) == []
        assert client.data_to_send()


@given(st.lists(st.one_of(st.just("asked"), st.integers(0, 500)), max_size=60))
def test_good_behaviour_buys_no_flood(steps):
    """However many queries were asked before, what a peer may send unasked is bounded from any moment on."""
    burden = Burden()
    for step in steps:
        if step == "asked":
            burden.asked()
        else:
            burden.units += step
        assert burden.units >= -SAVED
    allowed = UNASKED + SAVED
    burden.units += allowed + 1
    assert burden.too_much


def test_settings_that_are_unknown_are_not_kept():
    """RFC 9113 s6.5.2: they must be ignored. h2 would keep all 65,536, which is 52 MiB."""
    client = asked()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for first in range(0x10, 0x1000, 2000):
        values = b"".join(number.to_bytes(2) + bytes(4) for number in range(first, first + 2000))
        assert client.receive_data(frame(SETTINGS, values)) == []
        client.data_to_send()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 100_000


def test_settings_that_are_known_count():
    """What the peer says of itself still holds."""
    client = asked()
    assert client.receive_data(frame(SETTINGS, b"\0\3\0\0\0\5")) == []
    assert client.room == 4


def test_header_list_of_honest_size_is_read():
    """RFC 9113 s6.5.2: the limit is told to the peer, and what keeps to it is taken."""
    client = asked(2)
    server = H2Connection(H2Configuration(client_side=False, header_encoding=None))
    server.initiate_connection()
    fresh = DohProtocol("dns.test", "/dns-query")
    server.receive_data(b"".join(fresh.data_to_send()))
    assert server.remote_settings.max_header_list_size == MAX_HEADER_LIST
    assert client.receive_data(frame(HEADERS, OK + b"\x40\1a\x7f\x81\x3a" + b"b" * 7552, flags=4, stream=3)) == []


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.binary(max_size=40), st.integers(0, 255), st.integers(0, 5))))
def test_any_frames_end_within_the_bound(frames):
    """Whatever frames come, again and again: no exception, and an end before the bound is far behind."""
    client = asked(2)
    octets = b"".join(frame(kind, load, flags=flags, stream=stream) for kind, load, flags, stream in frames) * 300
    events = [event for at in range(0, len(octets), 16384) for event in client.receive_data(octets[at : at + 16384])]
    assert sum(isinstance(event, Ended) for event in events) <= 1
    assert client._burden.units <= UNASKED + 300


@pytest.mark.parametrize(("make", "reason"), TLS_FLOODS.values(), ids=TLS_FLOODS)
@pytest.mark.parametrize("size", [1000, 65536])
def test_tls_flood_is_cut(authority, credential, now, make, reason, size):
    """Records that bring no plaintext, or hardly any: the connection ends within a bound of octets."""
    client, forger = forged(authority, credential, now)
    octets = b"".join(make(forger, number) for number in range(8000))
    events, sent = [], 0
    while not any(isinstance(event, Closed) for event in events):
        events += client.receive_data(octets[sent : sent + size])
        sent += size
    assert not events[-1].clean
    assert reason in events[-1].reason
    assert events[-1].violation == (reason == SAYS_NOTHING)
    assert sent <= 2 * BARREN_LIMIT
    assert client.receive_data(octets[:size]) == []


@pytest.mark.parametrize("size", [20, 100, 16000])
def test_plaintext_is_no_flood(authority, credential, now, size):
    """Records of an honest size may come for ever, a ticket or a KeyUpdate among them now and then."""
    client, forger = forged(authority, credential, now)
    octets = 0
    for number in range(1000):
        extra = forger.key_update() if number % 50 == 0 else b""
        events = client.receive_data(extra + forger.record(bytes(size)))
        assert all(isinstance(event, DataReceived) for event in events)
        octets += sum(len(event.data) for event in events)
    assert octets == 1000 * size


def forged(authority, credential, now):
    """A client after its handshake, and who makes its server's records from then on."""
    server = TlsServer(credential, [b"dot"])
    client = TLSContext([authority.anchor]).client("dns.test", [b"dot"], now)
    server.receive(client.data_to_send())
    client.receive_data(server.data_to_send())
    server.receive(client.data_to_send())
    tail, forger = server.forger()
    client.receive_data(tail)
    return client, forger
