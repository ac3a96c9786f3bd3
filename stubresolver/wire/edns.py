"""What we say ourselves: the query that goes upstream, and short replies with extended errors.

Upstream goes the question in lower case, the RD, AD, CD and DO bits, and an OPT record of our own with nothing but
padding. Of the client nothing else leaves this machine: not its id, its letter case, its options, its cookie, nor its
address. The only client subnet (RFC 7871) that can be sent is the empty one, 0.0.0.0/0, which asks the upstream not to
tell the client's either.
"""

import struct
from dataclasses import dataclass
from typing import Final

from stubresolver.wire.codes import AD, CD, QR, RA, RD, SERVFAIL
from stubresolver.wire.fit import fit
from stubresolver.wire.opt import CLIENT_SUBNET, OPT_OCTETS, PADDING, extended_error, opt_record, option
from stubresolver.wire.query import KEY_DO, Query

# RFC 8467 s4.1: "Clients SHOULD pad queries to the closest multiple of 128 octets."
_BLOCK = 128

# RFC 6891 s6.2.5: "A good compromise may be the use of an EDNS maximum payload size of 4096 octets as a starting
# point." Our transports are streams, so nothing is ever fragmented; a front end may ask its own server by UDP with it.
_PAYLOAD = 4096

_COUNTS = struct.Struct(">4H")  # RFC 1035 s4.1.1


def _query_header(bits: int) -> bytes:
    """The header for the key's bits: id 0 (RFC 8484 s4.1; DoT puts its own), one question, one OPT record."""
    return bytes((0, 0, bits & RD, bits & (AD | CD), 0, 1, 0, 0, 0, 0, 0, 1))


_HEADERS = tuple(_query_header(bits) for bits in range(256))

# RFC 7871 s7.1.2: "A SOURCE PREFIX-LENGTH value of 0 means that the Recursive Resolver MUST NOT add the client's
# address information to its queries." FAMILY 1, because some servers ignore the option if it is neither 1 nor 2.
_NO_SUBNET = option(CLIENT_SUBNET, b"\0\1\0\0")


class UpstreamForm:
    """How queries go upstream: everything around the question, made once, so that a miss costs two concatenations."""

    __slots__ = ("_opts", "_opts_do", "_unpadded")

    def __init__(self, *, client_subnet: bool = False) -> None:
        """`client_subnet` sends the empty one, 0.0.0.0/0."""
        options = _NO_SUBNET if client_subnet else b""
        self._opts, self._opts_do = (
            # RFC 7830 s3: the padding octets "SHOULD be set to 0x00".
            tuple(
                opt_record(options + option(PADDING, bytes(padding)), dnssec_ok=dnssec_ok, payload=_PAYLOAD)
                for padding in range(_BLOCK)
            )
            for dnssec_ok in (False, True)
        )
        self._unpadded = 12 + len(self._opts[0])  # the header, and OPT with its options but for the padding's octets

    def query(self, query: Query) -> bytes:
        """The query that is sent on; the same octets for every client that asks the same."""
        return self.query_of(query.key)

    def query_of(self, key: bytes) -> bytes:
        """The query that is sent on for a query of that key."""
        question, bits = key[:-1], key[-1]
        opts = self._opts_do if bits & KEY_DO else self._opts
        return _HEADERS[bits] + question + opts[-(self._unpadded + len(question)) % _BLOCK]


_DEFAULT_FORM: Final = UpstreamForm()
upstream_query: Final = _DEFAULT_FORM.query
upstream_query_of: Final = _DEFAULT_FORM.query_of


def short_reply(
    query: Query,
    rcode: int,
    *,
    answers: int = 0,
    authority: int = 0,
    records: bytes = b"",
    options: bytes = b"",
) -> bytes:
    """A reply of our own: the client's id and question, the given records, an OPT record if the client sent one.

    `options` go into that OPT record, say an extended error. What is larger than the client's size is cut to it.
    RFC 4035 s3.2.2: CD is copied; AD is clear, for nothing here was validated. RFC 3225 s3: DO is copied.
    """
    wire = query.wire
    bits = query.key[-1]
    flags = bytes((QR | bits & RD, RA | bits & CD | rcode))
    counts = _COUNTS.pack(1, answers, authority, 1 if query.has_edns else 0)
    opt = opt_record(options, dnssec_ok=bool(bits & KEY_DO)) if query.has_edns else b""
    reply = wire[:2] + flags + counts + wire[12 : query.end] + records + opt
    if query.extra or len(reply) > query.size:
        return fit(reply, query, len(opt), positive=answers > 0)
    return reply


def error_reply(query: Query, rcode: int, info_code: int, text: str) -> bytes:
    """An error with its reason: an extended error (RFC 8914) for clients that speak EDNS, the bare RCODE for others.

    The text is cut, at the end of a character, to what fits the client's size; what is in it of a peer's words steers
    no terminal.
    """
    if not query.has_edns:
        return short_reply(query, rcode)
    if not text.isprintable():
        text = "".join(letter if letter.isprintable() else "?" for letter in text)
    room = query.size - query.end - OPT_OCTETS - len(query.extra) - 6  # the option's code, length and INFO-CODE
    octets = text.encode("utf-8", "replace")[:room].decode("utf-8", "ignore").encode()
    return short_reply(query, rcode, options=extended_error(info_code, octets))


@dataclass(frozen=True, slots=True)
class Failure:
    """An exchange that brought no answer, as a value that is rendered and kept as an answer is."""

    info_code: int  # RFC 8914 s4
    text: str  # one line for a person

    def render(self, query: Query, age: int) -> bytes:  # noqa: ARG002 - the same shape as Answer.render
        """The reply to one client."""
        return error_reply(query, SERVFAIL, self.info_code, self.text)
