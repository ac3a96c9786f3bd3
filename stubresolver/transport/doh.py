"""DNS over HTTPS (RFC 8484) as a machine on HTTP/2 (RFC 9113). The only door to h2.

Queries in, octets out; octets in, answers out, one stream each. It is a client of exactly one resource, by POST; it
follows no redirect, keeps no cookie, caches nothing (the cache lives elsewhere) and takes no pushed stream.

h2 closes its connection at the first GOAWAY and would then refuse the answers that RFC 9113 s6.8 promises for the older
streams. GOAWAY frames are therefore taken out of the sequence of frames and handled here.

What a peer sends beside answers is put on an account (burden.py), frame by frame, before h2 sees it; beyond its bound
the connection ends. What h2 remembers is bounded here, too: closed streams, header sections, settings.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset
from h2.events import Event as H2Event
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings
from hpack import Decoder, HeaderTuple

from stubresolver.transport.burden import Burden
from stubresolver.transport.protocol import Answered, Draining, Ended, Event, Failed, Token

MAX_BODY = 65535  # RFC 8484 s6: a message in this media type has at most that many octets, as over TCP

# RFC 9113 s6.5.2, on SETTINGS_MAX_CONCURRENT_STREAMS: "It is recommended that this value be no smaller than 100". That
# many may be open before the peer has said its limit, and never more: h2 walks all open streams at each new one.
MAX_STREAMS = 100

MAX_FRAME = 16384  # RFC 9113 s4.2; we announce no larger one
MAX_UNSENT = 8 * 1024 * 1024  # what a peer can make us owe it (acknowledgements); more than 100 of the largest queries
CONNECTION_WINDOW = 8 * 1024 * 1024  # more than 100 of the largest answers; given back when half of it is used
LAST_STREAM = 2**31 - 1  # RFC 9113 s5.1.1

# RFC 9113 s6.5.2, SETTINGS_MAX_HEADER_LIST_SIZE, which counts 32 octets for each field beside its own. Answers of the
# large resolvers have 0.5 to 1.5 KiB; 8 KiB are what nginx and Apache take in a request. One octet on the wire can mean
# a field of any size (RFC 7541), so this is also the bound on what is decoded.
MAX_HEADER_LIST = 8 * 1024

_DNS_HEADER = 12  # RFC 1035 s4.1.1
_FRAME_HEADER = 9  # RFC 9113 s4.1: length (3), type, flags, stream (4)
_DATA, _GOAWAY = 0, 7  # RFC 9113 s6.1, s6.8
_ELSEWHERE = {b"421", b"429"}  # Misdirected Request (RFC 9110 s15.5.20), Too Many Requests (RFC 6585 s4)

# A stream's window holds one octet more than the largest answer: no stream ever needs a larger one, and an answer that
# is too large is seen as such instead of waiting for us.
_SETTINGS = {
    SettingCodes.ENABLE_PUSH: 0,
    SettingCodes.INITIAL_WINDOW_SIZE: MAX_BODY + 1,
    SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEADER_LIST,
}

# What frames cost in units of `Burden`, beside one for each: so many octets of DATA or of others (ten settings fit in)
# are one more, and so many header fields, once they are decoded.
_DATA_UNIT, _OTHER_UNIT, _FIELDS_UNIT = 4096, 64, 4
_GLANCE = 64  # after so many units h2 takes what has come so far: what it decodes is known no later than that

# DATA in pieces of at least so many octets is no burden while somebody waits for it: an answer has at most 128 of them.
_WORTH = 512

# RFC 7541 s4.2: a change of the table's size is told in "at most two dynamic table size updates". One costs 2 µs for an
# octet, and 16,000 of them fit into a frame.
_UPDATES = 2

_QUOTED = 200  # characters of what is wrong, in which a peer's words may be


@dataclass(slots=True)
class _Exchange:
    """One stream that somebody waits for."""

    caller_id: bytes
    unsent: bytes = b""  # of the query, while the peer's flow-control window is shut
    body: list[bytes] = field(default_factory=list)
    size: int = 0


class _Violation(Exception):
    """The peer broke HTTP/2 where h2 does not look."""


class _Connection(H2Connection):
    """h2's, with a shorter memory.

    h2 remembers how 65,536 streams were closed, so as to tell what a late frame on one of them means; that is 6 MiB on
    a busy connection. A thousand are ten times as many as are ever open at once.
    """

    MAX_CLOSED_STREAMS = 1024

    def __init__(self, config: H2Configuration) -> None:
        super().__init__(config=config)
        self.local_settings = Settings(client=True, initial_values=_SETTINGS)
        self.remote_settings = _PeerSettings(client=False)
        self.decoder = self.counter = _Decoder(MAX_HEADER_LIST)


class _Decoder(Decoder):
    """HPACK's (RFC 7541), and a count of what it decoded, be it for a stream that nobody knows any more."""

    def __init__(self, max_header_list_size: int) -> None:
        super().__init__(max_header_list_size)
        self.fields = 0

    def decode(self, data: bytes, raw: bool = False) -> Iterable[HeaderTuple]:
        if _begins_with_updates(data):
            raise _Violation(f"more than {_UPDATES} updates of the header table's size at once")
        fields = list(super().decode(data, raw))
        self.fields += len(fields)
        return fields


class _PeerSettings(Settings):
    """The peer's settings, of those that there are.

    RFC 9113 s6.5.2: "An endpoint that receives a SETTINGS frame with any unknown or unsupported identifier MUST ignore
    that setting." h2 keeps each of the 65,536 for ever, which is 52 MiB.
    """

    def __setitem__(self, key: SettingCodes | int, value: int) -> None:
        if key in self._known:
            super().__setitem__(key, value)

    _known = frozenset(SettingCodes)


def _begins_with_updates(block: bytes) -> bool:
    """Whether a header block begins with more updates of the dynamic table's size (RFC 7541 s6.3) than are lawful."""
    position = 0
    for _ in range(_UPDATES + 1):
        first = block[position : position + 1]
        if not b"\x20" <= first < b"\x40":
            return False
        position += 1
        if first == b"\x3f":  # RFC 7541 s5.1: the number goes on in octets of which the last is below 128
            while block[position : position + 1] >= b"\x80":
                position += 1
            position += 1
    return True


class DohProtocol:
    """One connection's worth of DoH; implements `QueryProtocol`. A query's token is its stream id."""

    def __init__(self, authority: str, path: str) -> None:
        # Outbound headers are right by construction; inbound ones are validated, and not decoded to text.
        self._h2 = _Connection(
            H2Configuration(header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False)
        )
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(CONNECTION_WINDOW - 65535)
        # RFC 8484 s4.1: POST, and the media type in both Content-Type and Accept.
        self._headers = [
            (b":method", b"POST"),
            (b":scheme", b"https"),
            (b":authority", authority.encode("ascii")),
            (b":path", path.encode("ascii")),
            (b"accept", b"application/dns-message"),
            (b"content-type", b"application/dns-message"),
        ]
        self.worn = False  # never: a stream that was given up is reset and makes room
        self._exchanges: dict[int, _Exchange] = {}
        self._held: set[int] = set()  # streams whose query is not wholly sent
        self._next = 1
        self._burden = Burden()
        self._frames = b""  # the begin of a frame whose rest has not come yet
        self._unsent = b""
        self._used_window = 0
        self._draining = False
        self._ended = False

    @property
    def room(self) -> int:
        """How many more queries may be sent now: by the peer's limit and ours; none after GOAWAY or a shut window."""
        if self._draining or self._ended or self._held or self._next > LAST_STREAM:
            return 0
        # RFC 9113 s5.1.2: "Endpoints MUST NOT exceed the limit set by their peer."
        return min(MAX_STREAMS, self._h2.remote_settings.max_concurrent_streams) - len(self._exchanges)

    def send_query(self, wire: bytes) -> Token:
        """Take one query."""
        stream = self._next
        self._next += 2
        self._burden.asked()
        # RFC 8484 s4.1: "DoH clients ... SHOULD use a DNS ID of 0 in every DNS request".
        self._exchanges[stream] = _Exchange(wire[:2], b"\0\0" + wire[2:])
        self._h2.send_headers(stream, [*self._headers, (b"content-length", b"%d" % len(wire))])
        self._send_body(stream)
        return Token(stream)

    def receive_data(self, data: bytes) -> list[Event]:
        """Take octets from the peer (b"" for the end of the stream) and say what they mean. Never raises."""
        events: list[Event] = []
        if self._ended:
            return events
        if not data:
            self._ended = True
            return [Ended("the upstream closed the connection within a frame" if self._frames else "")]
        try:
            self._receive_frames(self._frames + data if self._frames else data, events)
            for stream in list(self._held):
                self._send_body(stream)
            self._give_window_back()
        except _Violation as violation:
            return self._end(events, str(violation))
        except Exception as error:  # noqa: BLE001 - whatever h2 makes of a peer's octets, it is the peer's fault
            return self._end(events, str(error) or type(error).__name__)
        self._unsent += self._h2.data_to_send()
        if len(self._unsent) > MAX_UNSENT:
            return self._end(events, f"more than {MAX_UNSENT} octets of acknowledgements are waiting to be read")
        if self._next > LAST_STREAM and not self._draining:
            self._draining = True
            events.append(Draining())
        return events

    def data_to_send(self) -> list[bytes]:
        """Everything that is to be written now, in one piece."""
        data = self._unsent + self._h2.data_to_send()
        self._unsent = b""
        return [data] if data else []

    def forget(self, token: Token) -> None:
        """Nobody waits for this answer any more; the stream is cancelled (RFC 9113 s7) and its room is free again."""
        if self._exchanges.pop(token, None) is not None:
            self._cancel(token)

    def _receive_frames(self, data: bytes, events: list[Event]) -> None:
        """Give h2 all whole frames except GOAWAY, and keep what is left; count what each costs before it does."""
        burden = self._burden
        glance = burden.units + _GLANCE
        start = at = 0
        while len(data) - at >= _FRAME_HEADER:
            length = int.from_bytes(data[at : at + 3], "big")
            if length > MAX_FRAME:
                raise _Violation(f"got a frame of {length} octets, expected at most {MAX_FRAME}")
            end = at + _FRAME_HEADER + length
            if end > len(data):
                break
            kind = data[at + 3]
            burden.units += 1 + length // (_OTHER_UNIT if kind != _DATA else _DATA_UNIT)
            if kind == _GOAWAY:
                self._receive_h2(data[start:at], events)
                self._receive_goaway(data[at + _FRAME_HEADER : end], events)
                start = end
            at = end
            if burden.units > glance:
                self._receive_h2(data[start:at], events)
                glance = burden.units + _GLANCE
                start = at
        self._receive_h2(data[start:at], events)
        self._frames = data[at:]

    def _receive_h2(self, data: bytes, events: list[Event]) -> None:
        for event in self._h2.receive_data(data) if data else ():
            self._receive_event(event, events)
        self._burden.units += self._h2.counter.fields // _FIELDS_UNIT
        self._h2.counter.fields %= _FIELDS_UNIT
        if self._burden.too_much:
            raise _Violation("the upstream sends and does not answer: too many frames that bring nothing")

    def _receive_event(self, event: H2Event, events: list[Event]) -> None:
        """What h2 made of a frame. Interim answers, trailers, settings and pings need nothing from us."""
        if isinstance(event, DataReceived):
            self._used_window += event.flow_controlled_length or 0
            self._receive_body(event.stream_id or 0, event.data or b"", events)
        elif isinstance(event, StreamEnded):
            self._receive_end(event.stream_id, events)
        elif isinstance(event, ResponseReceived):
            self._receive_response(event.stream_id or 0, dict(event.headers or ()), events)
        elif isinstance(event, StreamReset):
            self._receive_reset(event.stream_id or 0, event.error_code, events)

    def _receive_response(self, stream: int, headers: dict[bytes, bytes], events: list[Event]) -> None:
        if stream not in self._exchanges:
            return
        status = headers.get(b":status", b"")
        kind = headers.get(b"content-type", b"")
        if status != b"200":
            # RFC 8484 s4.2.1: a status outside 2xx brings no DNS answer; 5xx and two others promise none was tried.
            retry = status.startswith(b"5") or status in _ELSEWHERE
            # RFC 9110 s15: "a three-digit integer code"; anything else is shown so that it cannot steer a terminal
            shown = status.decode() if status.isdigit() and len(status) == 3 else repr(status[:20])
            self._fail(stream, f"HTTP status {shown}", events, retry=retry)
        elif kind.partition(b";")[0].strip().lower() != b"application/dns-message":
            shown = kind[:60].decode("ascii", "backslashreplace")
            self._fail(stream, f"got content type {shown!r}, expected application/dns-message", events)

    def _receive_body(self, stream: int, data: bytes, events: list[Event]) -> None:
        exchange = self._exchanges.get(stream)
        if exchange is None:
            return
        if len(data) >= _WORTH:
            self._burden.units -= 1 + len(data) // _DATA_UNIT
        exchange.size += len(data)
        if exchange.size > MAX_BODY:
            self._fail(stream, f"got an answer of more than {MAX_BODY} octets", events)
        else:
            exchange.body.append(data)

    def _receive_end(self, stream: int, events: list[Event]) -> None:
        exchange = self._exchanges.get(stream)
        if exchange is None:
            return
        if exchange.size < _DNS_HEADER:
            self._fail(stream, f"got an answer of {exchange.size} octets, expected at least {_DNS_HEADER}", events)
            return
        del self._exchanges[stream]
        if stream in self._held:
            self._cancel(stream)
        events.append(Answered(Token(stream), exchange.caller_id + b"".join(exchange.body)[2:]))

    def _receive_reset(self, stream: int, code: ErrorCodes | int | None, events: list[Event]) -> None:
        if self._exchanges.pop(stream, None) is None:
            return
        self._held.discard(stream)
        name = code.name if isinstance(code, ErrorCodes) else f"code {code}"
        # RFC 9113 s8.7: REFUSED_STREAM says "that the stream is being closed prior to any processing having occurred".
        events.append(Failed(Token(stream), f"HTTP/2 stream reset: {name}", retry=code == ErrorCodes.REFUSED_STREAM))

    def _receive_goaway(self, payload: bytes, events: list[Event]) -> None:
        """RFC 9113 s6.8: streams above the last one "might be retried on another connection"; take no new ones."""
        if len(payload) < 8:
            raise _Violation(f"got a GOAWAY frame of {len(payload)} octets, expected at least 8")
        last = int.from_bytes(payload[:4], "big") & LAST_STREAM
        code = int.from_bytes(payload[4:8], "big")
        if not self._draining:  # said first: what fails by it is not to be asked here again
            self._draining = True
            events.append(Draining())
        for stream in [stream for stream in self._exchanges if stream > last]:
            self._fail(stream, f"HTTP/2 GOAWAY (code {code})", events, retry=True)

    def _send_body(self, stream: int) -> None:
        """Send what the peer's windows allow of a query; the rest follows when they open (RFC 9113 s5.2)."""
        exchange = self._exchanges[stream]
        while exchange.unsent:
            size = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)
            if size <= 0:
                self._held.add(stream)
                return
            piece, exchange.unsent = exchange.unsent[:size], exchange.unsent[size:]
            self._h2.send_data(stream, piece, end_stream=not exchange.unsent)
        self._held.discard(stream)

    def _give_window_back(self) -> None:
        if self._used_window > CONNECTION_WINDOW // 2:
            self._h2.increment_flow_control_window(self._used_window)
            self._used_window = 0

    def _fail(self, stream: int, reason: str, events: list[Event], *, retry: bool = False) -> None:
        del self._exchanges[stream]
        self._cancel(stream)
        events.append(Failed(Token(stream), reason, retry))

    def _cancel(self, stream: int) -> None:
        self._held.discard(stream)
        try:
            self._h2.reset_stream(stream, ErrorCodes.CANCEL)
        except H2Error:
            return  # the stream is closed already

    def _end(self, events: list[Event], problem: str) -> list[Event]:
        self._ended = True
        # h2 quotes what it was sent, as it came
        shown = "".join(letter if letter.isprintable() else "?" for letter in problem[:_QUOTED])
        events.append(Ended(f"protocol violation: {shown}", violation=True))
        return events
