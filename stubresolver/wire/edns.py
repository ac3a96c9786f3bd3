"""What we say ourselves: the query that goes upstream, and short replies with extended errors.

Upstream goes the question in lower case, the RD, AD, CD and DO bits, and an OPT record of our own with nothing but
padding. Of the client nothing else leaves this machine: not its id, its letter case, its options, its cookie, nor its
address (a client subnet, RFC 7871, is never sent).
"""

from dataclasses import dataclass

from stubresolver.wire.codes import AD, CD, QR, RA, RD, SERVFAIL, TC
from stubresolver.wire.opt import OPT_OCTETS, PADDING, extended_error, opt_record, option
from stubresolver.wire.query import KEY_DO, Query

# RFC 8467 s4.1: "Clients SHOULD pad queries to the closest multiple of 128 octets."
_BLOCK = 128

# RFC 6891 s6.2.5: "A good compromise may be the use of an EDNS maximum payload size of 4096 octets as a starting
# point." Our transports are streams, so nothing is ever fragmented; a front end may ask its own server by UDP with it.
_PAYLOAD = 4096


def _query_header(bits: int) -> bytes:
    """The header for the key's bits: id 0 (RFC 8484 s4.1; DoT puts its own), one question, one OPT record."""
    return bytes((0, 0, bits & RD, bits & (AD | CD), 0, 1, 0, 0, 0, 0, 0, 1))


def _query_opt(padding: int, *, dnssec_ok: bool) -> bytes:
    """An OPT record with that many octets of padding, which "SHOULD be set to 0x00" (RFC 7830 s3)."""
    return opt_record(option(PADDING, bytes(padding)), dnssec_ok=dnssec_ok, payload=_PAYLOAD)


# Everything around the question, made once: a miss costs two look-ups and two concatenations.
_HEADERS = tuple(_query_header(bits) for bits in range(256))
_OPTS = tuple(_query_opt(padding, dnssec_ok=False) for padding in range(_BLOCK))
_OPTS_DO = tuple(_query_opt(padding, dnssec_ok=True) for padding in range(_BLOCK))
_UNPADDED = 12 + OPT_OCTETS + 4  # header, OPT record, the padding option's own header


def upstream_query(query: Query) -> bytes:
    """The query that is sent on; the same octets for every client that asks the same."""
    question = query.key[:-1]
    bits = query.key[-1]
    opts = _OPTS_DO if bits & KEY_DO else _OPTS
    return _HEADERS[bits] + question + opts[-(_UNPADDED + len(question)) % _BLOCK]


def short_reply(
    query: Query,
    rcode: int,
    *,
    answers: int = 0,
    authority: int = 0,
    records: bytes = b"",
    options: bytes = b"",
    truncated: bool = False,
) -> bytes:
    """A reply of our own: the client's id and question, the given records, an OPT record if the client sent one.

    RFC 4035 s3.2.2: CD is copied; AD is clear, for nothing here was validated. RFC 3225 s3: DO is copied.
    """
    wire = query.wire
    bits = query.key[-1]
    flags = bytes((QR | (TC if truncated else 0) | bits & RD, RA | bits & CD | rcode))
    counts = bytes((0, 1, 0, answers, 0, authority, 0, 1 if query.has_edns else 0))
    opt = opt_record(options, dnssec_ok=bool(bits & KEY_DO)) if query.has_edns else b""
    return wire[:2] + flags + counts + wire[12 : query.end] + records + opt


def error_reply(query: Query, rcode: int, info_code: int, text: str) -> bytes:
    """An error with its reason: an extended error (RFC 8914) for clients that speak EDNS, the bare RCODE for others.

    The text is cut, at the end of a character, to what fits the client's size.
    """
    if not query.has_edns:
        return short_reply(query, rcode)
    room = query.size - query.end - OPT_OCTETS - 6  # the option's code, length and INFO-CODE
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
