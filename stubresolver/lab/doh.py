"""A DoH server's conversation (RFC 8484) on HTTP/2 (RFC 9113). No socket, no TLS, no clock; see conversations.py.

POST and GET of one path; whatever else is asked gets the status that HTTP has for it.
"""

import base64
import binascii
from dataclasses import dataclass
from urllib.parse import parse_qs

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
from hyperframe.frame import GoAwayFrame

from stubresolver.lab.conversations import Desk

DNS_MESSAGE = "application/dns-message"  # RFC 8484 s6
_HEADER = 12  # octets of the header that every DNS message has, RFC 1035 s4.1.1
_LONGEST = 65535  # octets of a DNS message, RFC 1035 s4.2.2


class DohConversation:
    """Queries on streams of their own, answered on the same ones as far as flow control lets through."""

    def __init__(self, desk: Desk, path: str) -> None:
        self.ended = False
        self.cut = False
        self._desk = desk
        self._path = path
        self._http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self._http.initiate_connection()
        self._requests: dict[int, _Request] = {}  # those still being received, by stream
        self._unsent: dict[int, bytes] = {}  # what flow control has not let through, by stream
        self._last_stream: int | None = None  # that our GOAWAY names: later streams are not processed
        self._goaway_sent = False

    def receive_data(self, data: bytes) -> bytes:
        """Take plaintext and give HTTP/2 frames."""
        try:
            for event in self._http.receive_data(data):
                if not self.ended:
                    self._handle(event)
            for stream in tuple(self._unsent):
                self._flush(stream)
        except (h2.exceptions.ProtocolError, UnicodeDecodeError):
            self.ended = True
        return self._http.data_to_send() + self._goaway()

    def _handle(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived():
                # RFC 9113 s6.8: "After sending a GOAWAY frame, the sender can discard frames for streams initiated by
                # the receiver with identifiers higher than the identified last stream."
                if self._last_stream is None:
                    self._requests[event.stream_id] = _Request({str(n): str(v) for n, v in event.headers})
            case h2.events.DataReceived():
                self._http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if request := self._requests.get(event.stream_id):
                    request.body += event.data[: _LONGEST + 1 - len(request.body)]
            case h2.events.StreamEnded():
                if request := self._requests.pop(event.stream_id, None):
                    self._respond(event.stream_id, request.query(self._path))
            case h2.events.StreamReset():
                self._requests.pop(event.stream_id, None)
                self._unsent.pop(event.stream_id, None)
            case h2.events.ConnectionTerminated():
                self.ended = True
            case _:
                pass

    def _respond(self, stream: int, query: bytes | int) -> None:
        """Answer a request that is complete: its query, or the status that it deserves instead."""
        if isinstance(query, int):
            self._send(stream, query, b"")
            return
        behaviour = self._desk.behaviour
        for ticket, answer in self._desk.take(stream, query):
            if self._desk.taken <= behaviour.refuse_first:
                self._http.reset_stream(ticket, h2.errors.ErrorCodes.REFUSED_STREAM)
            elif self._desk.cuts:
                self._send(ticket, 200, answer[: len(answer) // 2], claimed=len(answer))
            else:
                self._send(ticket, behaviour.http_status, answer if behaviour.http_status == 200 else b"")
        self.cut = self._desk.cuts
        self.ended = self._desk.closes or self._desk.cuts
        if self._desk.taken == behaviour.goaway_after:
            self._last_stream = stream

    def _send(self, stream: int, status: int, body: bytes, *, claimed: int | None = None) -> None:
        """A response; where it claims more octets than `body` has, the stream stays open."""
        headers = [(":status", str(status)), ("content-length", str(len(body) if claimed is None else claimed))]
        if status == 200:
            headers.append(("content-type", DNS_MESSAGE))
        try:
            self._http.send_headers(stream, headers)
        except h2.exceptions.ProtocolError:  # the client has closed the stream
            return
        if claimed is None:
            self._unsent[stream] = body
            self._flush(stream)
        else:
            self._http.send_data(stream, body)

    def _flush(self, stream: int) -> None:
        """Send as much of a body as the client's windows let through (RFC 9113 s5.2)."""
        body = self._unsent.pop(stream)
        while room := min(self._http.local_flow_control_window(stream), self._http.max_outbound_frame_size):
            piece, body = body[:room], body[room:]
            self._http.send_data(stream, piece, end_stream=not body)
            if not body:
                return
        self._unsent[stream] = body

    def _goaway(self) -> bytes:
        """Our GOAWAY, once. Not by h2, which would take it for the end of the answers that are still under way."""
        if self._last_stream is None or self._goaway_sent:
            return b""
        self._goaway_sent = True
        return bytes(GoAwayFrame(0, last_stream_id=self._last_stream).serialize())


@dataclass(slots=True)
class _Request:
    """One HTTP request while it comes in."""

    headers: dict[str, str]
    body: bytes = b""

    def query(self, path: str) -> bytes | int:
        """The DNS query that was asked of `path`, or the HTTP status of what is wrong with the request."""
        target, _, parameters = self.headers.get(":path", "").partition("?")
        method = self.headers.get(":method")
        if target != path:
            return 404
        if method == "POST":
            if self.headers.get("content-type") != DNS_MESSAGE:
                return 415
            query = self.body
        elif method == "GET":
            # RFC 8484 s6: "When using the GET method, the data payload for this media type MUST be encoded with
            # base64url and then provided as a variable named "dns"", without padding characters.
            text = "".join(parse_qs(parameters).get("dns", []))
            try:
                query = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            except (binascii.Error, ValueError):
                return 400
        else:
            return 405
        return query if _HEADER <= len(query) <= _LONGEST else 400
