"""Names in a message (RFC 1035 s3.1, s4.1.4): proved, read whole, compared.

`skip_name` proves a name and raises `MalformedAnswer`; the others trust what was proved before or written by ourselves.
A name that is read is in wire form without compression and in lower case: two names are equal if their octets are
(RFC 4343 s3). Lower case is taken of the length octets, too, which stay what they are: the largest is 63, "A" is 65.
"""

from bisect import bisect_right
from collections.abc import Sequence

from stubresolver.errors import MalformedAnswer

POINTER = 0xC0  # RFC 1035 s4.1.4: the first two bits of a pointer's first octet

# Twice as many octets as the largest message has. A pointer reaches 16 KiB far (RFC 1035 s4.1.4), where an honest one
# has some hundred names of some dozen octets to point to, at most; one that lies has 16,000 of 255, and each is walked.
MOST_POINTED_TO = 131_072
# What one pointer on such a walk counts for beside its octets: names of two octets a part, each at the end of the one
# before, cost ten times as much. An honest name has three parts or four.
_A_PART = 16


def skip_name(
    wire: bytes, position: int, base: int = 0, ttls: Sequence[int] = (), proved: dict[int, int] | None = None
) -> int:
    """Where the name at `position` ends in the message; its whole expansion is checked.

    What it proves must stay true of every rendering, in which TTLs are others. `ttls` says where those stand that come
    before the name, in order, counted from `base`. `proved` spares a walk that was made before: what the names before
    this one pointed to, and how many octets it is; the names of a message must be proved in their order. At place 0,
    where no name is, it has the sum of these, and of what their parts cost.
    """
    start = position
    while length := wire[position]:
        if length >= 64:
            target = _target(wire, position, start)
            octets = None if proved is None else proved.get(target)
            if octets is None:
                octets, parts = _prove_expansion(wire, target, start, base, ttls)
                if proved is not None:
                    proved[target] = octets
                    proved[0] = proved.get(0, 0) + octets + _A_PART * parts
                    if proved[0] > MOST_POINTED_TO:
                        raise MalformedAnswer(f"pointers to names of more than {MOST_POINTED_TO} octets together")
            if position - start + octets > 255:
                raise MalformedAnswer("a name of more than 255 octets")  # RFC 1035 s2.3.4
            return position + 2
        position += length + 1
        if position - start > 254:
            raise MalformedAnswer("a name of more than 255 octets")  # RFC 1035 s2.3.4
    return position + 1


def _prove_expansion(wire: bytes, position: int, end: int, base: int, ttls: Sequence[int]) -> tuple[int, int]:
    """Prove what a pointer leads to, which must end before `end`.

    How many octets it is, the root's included, and how many more pointers are on the way.

    What it leads to begins and ends before the part of the name that has the pointer: loops cannot be. No octet in
    there may be one of a TTL.
    """
    octets, start = 1, position
    for parts in range(127):  # a name has at most 127 labels, and each pointer is worth one
        while position < end:
            length = wire[position]
            last = position + length if length < 64 else position
            if last >= base and _moves(position - base, last - base, ttls):
                raise MalformedAnswer(f"a name that runs through a TTL between {position} and {last}")
            if not length and octets <= 255:
                return octets, parts
            if not 0 < length < 64:
                break
            position += length + 1
            octets += length + 1
        else:
            raise MalformedAnswer(f"a compression pointer to {start}, expected a name that ends before {end}")
        if octets > 255:
            raise MalformedAnswer("a name of more than 255 octets")  # RFC 1035 s2.3.4
        position, end = _target(wire, position, start), start
        start = position
    raise MalformedAnswer("a name of more than 127 compression pointers")


def _target(wire: bytes, position: int, start: int) -> int:
    """Where the pointer at `position` leads, in the part of a name that starts at `start`.

    RFC 1035 s4.1.4: a pointer leads to "a prior occurrence of the same name".
    """
    length = wire[position]
    if length < POINTER:
        raise MalformedAnswer(f"a label starts with {length:#x}, expected at most 63 or a pointer")
    target = (length & 0x3F) << 8 | wire[position + 1]
    if not 12 <= target < start:
        raise MalformedAnswer(f"a compression pointer at {position} to {target}, expected 12 to {start - 1}")
    return target


def _moves(first: int, last: int, ttls: Sequence[int]) -> bool:
    """Whether one of the octets from `first` to `last` is one of a TTL."""
    index = bisect_right(ttls, last) - 1
    return index >= 0 and first < ttls[index] + 4


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


def read_once(wire: bytes, position: int, names: dict[int, bytes]) -> bytes:
    """As `read_name`, for many names of one message: `names` are those that were pointed to before, by their place.

    Where one pointer leads to the next, each part is read once: names that share their parts cost no more than these.
    """
    start = position
    while 0 < (length := wire[position]) < POINTER:
        position += length + 1
    if not length:
        return wire[start : position + 1].lower()
    target = (length & 0x3F) << 8 | wire[position + 1]
    rest = names.get(target)
    if rest is None:
        rest = names[target] = read_once(wire, target, names)  # as deep as there are pointers: at most 127
    return wire[start:position].lower() + rest if position > start else rest


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
