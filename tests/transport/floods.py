"""What a hostile peer sends again and again: HTTP/2 frames, TLS records; and the words that its connection ends by."""

from collections.abc import Callable

from stubresolver.transport.doh import MAX_FRAME
from tests.transport.records import ALERT, HANDSHAKE, USER_CANCELED, Forger, ticket

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
SAYS_NOTHING = "the upstream sends and does not answer"
OK = b"\x88\x40\x0ccontent-type\x17application/dns-message"  # RFC 7541: :status 200, a literal field
INTERIM = b"\x08\x03103"  # :status 103


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    """RFC 9113 s4.1."""
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


# Name: what is sent again and again, and what the client says in the end.
FLOODS: dict[str, tuple[bytes, str]] = {
    "ping": (frame(PING, bytes(8)), SAYS_NOTHING),
    "ping that answers none": (frame(PING, bytes(8), flags=1), SAYS_NOTHING),
    "settings": (frame(SETTINGS, b"\0\1\0\0\x10\0"), SAYS_NOTHING),
    "settings that are none": (frame(SETTINGS), SAYS_NOTHING),
    "settings without end": (frame(SETTINGS, b"\0\1\0\0\x10\0" * 2700), SAYS_NOTHING),
    "window update": (frame(WINDOW_UPDATE, b"\0\0\0\1"), SAYS_NOTHING),
    "window update of a stream": (frame(WINDOW_UPDATE, b"\0\0\0\1", stream=1), SAYS_NOTHING),
    "priority": (frame(PRIORITY, b"\0\0\0\0\1", stream=1), SAYS_NOTHING),
    "priority of nothing": (frame(PRIORITY, b"\0\0\0\0\1", stream=9999), SAYS_NOTHING),
    "reset": (frame(RST_STREAM, bytes(4), stream=1), SAYS_NOTHING),
    "unknown frame": (frame(0xBB, b"x" * 100), SAYS_NOTHING),
    "unknown large frame": (frame(0xBB, b"x" * MAX_FRAME), SAYS_NOTHING),
    "empty data": (frame(DATA, stream=1), SAYS_NOTHING),
    "padding": (frame(DATA, b"\x0f" + bytes(15), flags=8, stream=1), SAYS_NOTHING),
    "goaway": (frame(GOAWAY, b"\x7f\xff\xff\xff" + bytes(4)), SAYS_NOTHING),
    "interim response": (frame(HEADERS, INTERIM, flags=4, stream=3), SAYS_NOTHING),
    "interim response of many fields": (frame(HEADERS, INTERIM + b"\x90" * 100, flags=4, stream=3), SAYS_NOTHING),
    "compressed-header bomb": (
        frame(HEADERS, INTERIM + b"\x40\1a\x7f\xa1\x1e" + b"b" * 4000 + b"\xbe" * 4000, flags=4, stream=3),
        "header list larger than",
    ),
    "huge field": (frame(HEADERS, b"\x40\1a\x7f\x81\x7c" + b"b" * 16000, flags=4, stream=3), "header list larger than"),
    "continuation": (frame(CONTINUATION, stream=3), "protocol violation"),
    "push": (frame(PUSH, b"\0\0\0\2\x82", flags=4, stream=3), "protocol violation"),
}


# Name: what a TLS 1.3 server sends again and again, and what is said in the end.
TLS_FLOODS: dict[str, tuple[Callable[[Forger, int], bytes], str]] = {
    "key update": (lambda forger, _number: forger.key_update(), SAYS_NOTHING),
    "key update and an octet": (lambda forger, _number: forger.key_update() + forger.record(b"x"), SAYS_NOTHING),
    "ticket": (lambda forger, number: forger.record(ticket(number), HANDSHAKE), SAYS_NOTHING),
    "record of one octet": (lambda forger, _number: forger.record(b"x"), SAYS_NOTHING),
    "padding": (lambda forger, _number: forger.record(b"x", padding=1000), SAYS_NOTHING),
    "empty record": (lambda forger, _number: forger.record(b""), "record"),
    "warning": (lambda forger, _number: forger.record(USER_CANCELED, ALERT), "too many warn alerts"),
    "message without end": (lambda forger, _number: forger.record(b"\4\xff\xff\xff" + bytes(9000), HANDSHAKE), "size"),
    "question for a certificate": (lambda forger, _number: forger.record(b"\x0d\0\0\3\0\0\0", HANDSHAKE), "unexpected"),
}
