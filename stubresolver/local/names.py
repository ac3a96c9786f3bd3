"""Host names between text and wire format (RFC 1035 s3.1), and the walk up their labels.

Everything here is lower case (RFC 4343 s3). Text is ASCII: an internationalised name is written as it stands in the
DNS (xn--...), because which A-label a U-label has depends on the edition of IDNA that one asks.
"""

import re
from collections.abc import Collection, Iterable
from typing import Final

from stubresolver.errors import BadInput

# RFC 1123 s2.1 with the underscore, which names of services have (RFC 8552); one dot may end it.
HOST_NAME: Final = re.compile(rb"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*", re.ASCII)

_LENGTHS: Final = tuple(bytes((length,)) for length in range(64))  # RFC 1035 s2.3.4: labels of 63 octets or less
_LONGEST: Final = 255  # RFC 1035 s2.3.4, in wire format


def to_wire(name: bytes) -> bytes | None:
    """A name that `HOST_NAME` matches in wire format, None where a label or the whole is too long."""
    try:
        wire = b"".join([_LENGTHS[len(label)] + label for label in name.split(b".")]) + b"\0"
    except IndexError:
        return None
    return wire if len(wire) <= _LONGEST else None


def host_name(text: bytes) -> bytes | None:
    """A host name as a person writes it in wire format, None where it is none."""
    name = text.lower().removesuffix(b".")
    return to_wire(name) if HOST_NAME.fullmatch(name) else None


def zone_name(text: str) -> bytes:
    """The zone that a configuration names in wire format; raises `BadInput`."""
    wire = host_name(text.encode("utf-8", "replace"))
    if wire is None:
        raise BadInput(f"{text!r} is no name: expected ASCII labels of 1 to 63 of a-z, 0-9, '-', '_' with dots between")
    return wire


def zone_in(name: bytes, zones: Collection[bytes]) -> bytes | None:
    """The longest of the zones that the name is or is below, None where it is in none."""
    if not zones:
        return None
    position = 0
    while length := name[position]:
        if name[position:] in zones:
            return name[position:]
        position += length + 1
    return None


def zone_set(zones: Iterable[str]) -> frozenset[bytes]:
    """The zones that a configuration names; raises `BadInput`."""
    return frozenset(zone_name(zone) for zone in zones)
