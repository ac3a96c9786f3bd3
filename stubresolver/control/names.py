"""Domain names as a person writes them in ASCII (RFC 1035 s5.1), to wire form. Pure."""

import re

from stubresolver.errors import BadInput

_PIECE = re.compile(rb"\\([0-9]{3})|\\([^0-9])|([^\\])", re.DOTALL)  # \DDD is an octet, \X that character


def wire_name(text: str) -> bytes:
    """The name in wire form and in lower case; raises `BadInput`. "." is the root, a dot at the end may be left out."""
    labels, label = [], bytearray()
    octets = text.encode("ascii", "replace") if text.isascii() else b""
    if not octets:
        raise BadInput(f"{text!r} is not a domain name in ASCII")
    position = 0
    while position < len(octets) and octets != b".":
        piece = _PIECE.match(octets, position)
        if piece is None or (piece[1] and int(piece[1]) > 255):
            raise BadInput(f"{text!r}: expected three digits up to 255, or a character, after a backslash")
        position = piece.end()
        if piece[3] == b".":
            labels.append(bytes(label))
            label.clear()
        else:
            label += bytes((int(piece[1]),)) if piece[1] else piece[2] or piece[3]
    if label:
        labels.append(bytes(label))
    if not all(1 <= len(one) <= 63 for one in labels):
        raise BadInput(f"{text!r} is not a domain name: expected labels of 1 to 63 octets")
    name = b"".join(bytes((len(one),)) + one for one in labels) + b"\0"
    if len(name) > 255:
        raise BadInput(f"{text!r} is not a domain name: {len(name)} octets, expected at most 255")
    return name.lower()
