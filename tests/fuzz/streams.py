"""What must hold for streams, whatever their octets and however they are cut: frames, DoT, DoH."""

from zlib import crc32

from stubresolver.transport.doh import MAX_STREAMS, DohProtocol
from stubresolver.transport.dot import DotProtocol
from stubresolver.transport.protocol import Answered, Ended, Event, Failed, QueryProtocol
from stubresolver.wire.framing import FrameReader, frame

_QUERY = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0\7example\3lab\0\0\1\0\1"


def check_framing(octets: bytes) -> None:
    """The same messages whatever the pieces; nothing lost, nothing added (RFC 7766 s8)."""
    reader, cut = FrameReader(), FrameReader()
    whole = reader.feed(octets)
    pieces = [message for piece in _pieces(octets) for message in cut.feed(piece)]
    assert pieces == whole
    assert cut.pending == reader.pending <= 65537
    rebuilt = b"".join(map(frame, whole))
    assert octets.startswith(rebuilt)
    assert len(rebuilt) + reader.pending == len(octets)


def check_dot(octets: bytes) -> None:
    """A DoT server's octets."""
    _check_protocol(DotProtocol(), octets, 1000)


def check_doh(octets: bytes) -> None:
    """A DoH server's octets, after the TLS handshake: HTTP/2 frames."""
    _check_protocol(DohProtocol("dns.lab", "/dns-query"), octets, MAX_STREAMS)


def _check_protocol(protocol: QueryProtocol, octets: bytes, room: int) -> None:
    """No octets raise; each query is told of at most once; after the end there is silence (transport/protocol.py)."""
    waiting = {protocol.send_query(_QUERY) for _ in range(3)}
    protocol.data_to_send()
    ended = False
    for piece in (*_pieces(octets), b""):
        events = protocol.receive_data(piece)
        assert not (ended and events)
        for event in events:
            ended = _check_event(event, waiting) or ended
        assert all(protocol.data_to_send())
        assert protocol.room <= room
    assert ended
    assert protocol.room == 0


def _check_event(event: Event, waiting: set[int]) -> bool:
    """Take a query off those that wait; True at the end."""
    if isinstance(event, (Answered, Failed)):
        waiting.remove(event.token)
    if isinstance(event, Answered):
        assert event.wire[:2] == _QUERY[:2]
        assert 12 <= len(event.wire) <= 65535
    if isinstance(event, Failed):
        assert event.reason.isprintable()
    return isinstance(event, Ended)


def _pieces(octets: bytes) -> list[bytes]:
    """The octets cut into pieces of a size that their digest says, about thirty at most."""
    size = crc32(octets) % 61 + 1 + len(octets) // 32
    return [octets[start : start + size] for start in range(0, len(octets), size)]
