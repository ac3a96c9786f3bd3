"""DNS cookies, the server's side (RFC 7873, RFC 9018): what a client gets to show that it can hear us. Pure.

A server cookie is 16 octets as in RFC 9018 s4: version, three reserved octets, a time, and a hash over the client's
cookie, these fields and the client's address. The hash is BLAKE2b with a key (RFC 7693) and not SipHash-2-4: the latter
is for servers that share a secret behind one address, the standard library has none, and RFC 7873 s5.2 leaves the
function to a server that is alone. So the version is one of those for private use. The time counts from when the
secret was made, or by any other monotonic clock, because nobody but us reads it.

Nothing is refused for a bad or missing cookie: on loopback nobody can forge another's address, and elsewhere only those
who are on a list are answered at all.
"""

from hashlib import blake2b
from typing import Final

from stubresolver.wire.codes import CD, OPCODE, QR, RA, RD
from stubresolver.wire.opt import COOKIE, OPT_OCTETS, OPT_START, extended_errors, find_option, opt_record, option

CLIENT_OCTETS: Final = 8  # RFC 7873 s4
_VERSION: Final = b"\xf0\0\0\0"  # 240, and three reserved octets; RFC 9018 s8.2: 240 to 254 are for private use
_HASH_OCTETS: Final = 8
# RFC 9018 s4.3: a cookie is good for an hour, and one that is older than half an hour is replaced.
_RENEWED: Final = 1800


def answering_cookie(cookie: bytes, secret: bytes, address: bytes, seconds: int) -> bytes:
    """The COOKIE option for the reply to a client that sent `cookie`: its own part, and one of ours that is young.

    `address` is the client's in network order; `seconds` is the time, by the clock that belongs to the secret.
    """
    ours, sent = cookie[:CLIENT_OCTETS], cookie[CLIENT_OCTETS:]
    if sent[:4] == _VERSION and seconds - int.from_bytes(sent[4:8]) in range(_RENEWED):
        made = int.from_bytes(sent[4:8])
        if sent == _server_cookie(ours, secret, address, made):
            return option(COOKIE, cookie)
    return option(COOKIE, ours + _server_cookie(ours, secret, address, seconds))


def requested_cookie(wire: bytes) -> bytes | None:
    """The cookie in a message that has no question and asks for nothing else (RFC 7873 s5.4); None if it is none."""
    end = len(wire)
    if end < 12 + OPT_OCTETS or wire[2] & (QR | OPCODE) or wire[4:12] != b"\0\0\0\0\0\0\0\1":
        return None
    start = 12 + OPT_OCTETS
    # EDNS version 0 and options that fill the rest
    if wire[12:15] != OPT_START or wire[18] or int.from_bytes(wire[21:23]) != end - start:
        return None
    if extended_errors(wire, start, end) is None:
        return None
    cookie = find_option(wire, start, end, COOKIE)
    return cookie if cookie is not None and is_well_formed(cookie) else None


def cookie_reply(wire: bytes, options: bytes) -> bytes:
    """The reply to such a message: nothing but the cookie."""
    flags = bytes((QR | wire[2] & RD, RA | wire[3] & CD))
    return wire[:2] + flags + b"\0\0\0\0\0\0\0\1" + opt_record(options)


def is_well_formed(cookie: bytes) -> bool:
    """RFC 7873 s4: a client cookie of 8 octets, alone or before a server cookie of 8 to 32."""
    return len(cookie) == CLIENT_OCTETS or 16 <= len(cookie) <= 40


def _server_cookie(ours: bytes, secret: bytes, address: bytes, seconds: int) -> bytes:
    """RFC 9018 s4: Version, Reserved, Timestamp, Hash."""
    fields = _VERSION + seconds.to_bytes(4)
    return fields + blake2b(ours + fields + address, digest_size=_HASH_OCTETS, key=secret).digest()
