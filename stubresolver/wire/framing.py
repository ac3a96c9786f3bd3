"""Two-octet length framing of DNS messages on a stream (RFC 1035 s4.2.2, RFC 7766 s8, RFC 7858 s3.3).

Octets in, whole messages out. This file does not look inside a message: an empty one is handed on like any other, and
whoever parses it says what is wrong with it.
"""


def frame(wire: bytes) -> bytes:
    """The message with its length before it, ready for one write.

    RFC 7766 s8: "DNS clients and servers SHOULD pass the two-octet length field, and the message described by that
    length field, to the TCP layer at the same time".
    """
    return len(wire).to_bytes(2, "big") + wire


class FrameReader:
    """Cuts a stream into messages; keeps at most one incomplete frame (65537 octets) between two feedings."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    @property
    def pending(self) -> int:
        """How many octets of an incomplete frame are held; 0 between frames."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[bytes]:
        """Take octets as they arrived, in whatever pieces, and return the messages that are now complete."""
        octets = self._rest + data if self._rest else data
        total = len(octets)
        messages = []
        start = 0
        while total - start >= 2:
            end = start + 2 + (octets[start] << 8 | octets[start + 1])
            if end > total:
                break
            messages.append(octets[start + 2 : end])
            start = end
        self._rest = octets[start:]
        return messages
