"""The OPT record as octets (RFC 6891 s6.1) and the options in it (RFC 6891 s6.1.2, RFC 8914 s2).

Builds and splits; it decides nothing. Owner is always the root, so an OPT record starts with `OPT_START`.
"""

import struct
from typing import Final

from stubresolver.wire.codes import OPT

OPT_START: Final = b"\0" + OPT.to_bytes(2, "big")  # root owner, TYPE 41
OPT_OCTETS: Final = 11  # without options

# The UDP payload that we announce to clients and the most that we send them in a datagram: 1232 octets fit the smallest
# IPv6 MTU of 1280 (RFC 8200 s5) less its headers; the DNS flag day 2020 value, named in RFC 9715 appendix A.
UDP_PAYLOAD: Final = 1232

CLIENT_SUBNET: Final = 8  # RFC 7871 s6
COOKIE: Final = 10  # RFC 7873 s4
KEEPALIVE: Final = 11  # RFC 7828 s3.1
PADDING: Final = 12  # RFC 7830 s3
EXTENDED_ERROR: Final = 15  # RFC 8914 s2

_RECORD = struct.Struct(">3sHBBHH")  # start, payload, extended RCODE, version, flags, RDLENGTH
_OPTION = struct.Struct(">HH")  # OPTION-CODE, OPTION-LENGTH


def opt_record(
    options: bytes = b"", *, dnssec_ok: bool = False, extended_rcode: int = 0, payload: int = UDP_PAYLOAD
) -> bytes:
    """An OPT record of version 0; `extended_rcode` is the upper eight bits of the RCODE (RFC 6891 s6.1.3)."""
    return _RECORD.pack(OPT_START, payload, extended_rcode, 0, 0x8000 if dnssec_ok else 0, len(options)) + options


def option(code: int, data: bytes) -> bytes:
    """One option as it stands in an OPT record's RDATA."""
    return _OPTION.pack(code, len(data)) + data


def with_options(record: bytes, options: bytes) -> bytes:
    """An OPT record with options behind those that it has."""
    length = len(record) - OPT_OCTETS + len(options)
    return record[: OPT_OCTETS - 2] + length.to_bytes(2, "big") + record[OPT_OCTETS:] + options


def without_options(record: bytes) -> bytes:
    """An OPT record without its options."""
    return record[: OPT_OCTETS - 2] + b"\0\0"


def find_option(wire: bytes, start: int, end: int, code: int) -> bytes | None:
    """The data of the first option of that code; None without one. The options fill what is from `start` to `end`."""
    position = start
    while position < end:
        here, length = _OPTION.unpack_from(wire, position)
        if here == code:
            return wire[position + 4 : position + 4 + length]
        position += 4 + length
    return None


def extended_error(info_code: int, text: bytes) -> bytes:
    """An extended error as an option: INFO-CODE, then EXTRA-TEXT in UTF-8 (RFC 8914 s2)."""
    return option(EXTENDED_ERROR, info_code.to_bytes(2, "big") + text)


def extended_errors(wire: bytes, start: int, end: int) -> bytes | None:
    """The extended errors among the options from `start` to `end`, as they stand; None where the options do not fit.

    Each has an INFO-CODE at least; others are left out. EXTRA-TEXT is UTF-8 "intended for human consumption" (RFC 8914
    s2): for octets that are none some clients would refuse the whole message, and characters that steer a terminal are
    for nobody's. Such a text is left out, its code stays.
    """
    found = b""
    position = start
    while position + 4 <= end:
        code, length = _OPTION.unpack_from(wire, position)
        after = position + 4 + length
        if code == EXTENDED_ERROR and length >= 2:
            text = wire[position + 6 : after]
            found += wire[position:after] if _is_readable(text) else option(code, wire[position + 4 : position + 6])
        position = after
    return found if position == end else None


def _is_readable(octets: bytes) -> bool:
    """Whether the octets are text, and nothing but text."""
    try:
        return octets.decode().isprintable()
    except UnicodeDecodeError:
        return False
