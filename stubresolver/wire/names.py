"""Names in a message (RFC 1035 s3.1, s4.1.4): proved, read whole, compared.

`skip_name` proves a name and raises `MalformedAnswer`; the others trust what was proved before or written by ourselves.
A name that is read is in wire form without compression and in lower case: two names are equal if their octets are
(RFC 4343 s3). Lower case is taken of the length octets, too, which stay what they are: the largest is 63, "A" is 65.
"""

from stubresolver.errors import MalformedAnswer

POINTER = 0xC0  # RFC 1035 s4.1.4: the first two bits of a pointer's first octet


def skip_name(wire: bytes, position: int) -> int:
    """Where the name at `position` ends in the message; its whole expansion is checked.

    RFC 1035 s4.1.4: a pointer leads to "a prior occurrence", so each must lead further back than anything that was
    read for this name: loops cannot be.
    """
    segment, octets, after, pointers = position, 1, 0, 0
    while length := wire[position]:
        if length < 64:
            position += length + 1
            octets += length + 1
            if octets > 255:
                raise MalformedAnswer("a name of more than 255 octets")  # RFC 1035 s2.3.4
            continue
        if length < POINTER:
            raise MalformedAnswer(f"a label starts with {length:#x}, expected at most 63 or a pointer")
        target = (length & 0x3F) << 8 | wire[position + 1]
        if not 12 <= target < segment:
            raise MalformedAnswer(f"a compression pointer at {position} to {target}, expected 12 to {segment - 1}")
        after = after or position + 2
        position = segment = target
        pointers += 1
        if pointers > 127:  # a name has at most 127 labels, and each pointer is worth one
            raise MalformedAnswer("a name of more than 127 compression pointers")
    return after or position + 1


def read_name(wire: bytes, position: int) -> bytes:
    """The name at `position` of a message whose names were proved: whole, in lower case."""
    labels = []
    while length := wire[position]:
        if length >= POINTER:
            position = (length & 0x3F) << 8 | wire[position + 1]
        else:
            labels.append(wire[position : position + length + 1])
            position += length + 1
    return b"".join(labels).lower() + b"\0"


def after_name(wire: bytes, position: int) -> int:
    """Where the proved name at `position` ends, without a look at where its pointer leads."""
    while length := wire[position]:
        if length >= POINTER:
            return position + 2
        position += length + 1
    return position + 1


def is_within(name: bytes, zone: bytes) -> bool:
    """Whether the name is the zone's or below it; both as `read_name` returns them."""
    top = len(name) - len(zone)
    position = 0
    while position < top:
        position += name[position] + 1
    return position == top and name[position:] == zone
