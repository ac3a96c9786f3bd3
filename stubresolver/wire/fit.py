"""Making a reply fit its client: the options that are its own, and truncation on whole RRsets.

RFC 2181 s9: "The TC bit should not be set merely because some extra information could have been included, but there was
insufficient room." What is left out, in this order:

1. the additional section, which is extra information, all of it at once, and never with TC;
2. the extended errors, which are words for a person;
3. RRsets of the authority section, from its end on. In a positive answer to a client without DNSSEC they are extra,
   too; a negative one needs its SOA record (RFC 2308 s2), a validator the proofs in it (RFC 4035 s3.1.3): TC;
4. RRsets of the answer section, from its end on: TC.

Only the end of a message can be cut, because names point back into what stands before them. An RRset and the RRSIG
records beside it that cover it go together (RFC 4035 s3.1.1). Pure.
"""

import struct

from stubresolver.wire.codes import RRSIG, TC
from stubresolver.wire.contents import records
from stubresolver.wire.names import read_once
from stubresolver.wire.opt import OPT_OCTETS, with_options, without_options
from stubresolver.wire.query import KEY_DO, Query

_COUNTS = struct.Struct(">3H")


def fit(reply: bytes, query: Query, opt: int, *, positive: bool) -> bytes:
    """A reply with the client's own options, cut to its size; its last `opt` octets are its OPT record, if any.

    `positive` says that the answer section has what was asked for.
    """
    body, record = (reply[:-opt], reply[-opt:]) if opt else (reply, b"")
    if record and query.extra:
        record = with_options(record, query.extra)
    if len(body) + len(record) <= query.size:
        return body + record
    answers, authority, _ = _COUNTS.unpack_from(reply, 6)
    bare = with_options(without_options(record), query.extra) if record else b""
    places = _places(body, query, answers, authority)
    for last in (record, bare):  # without the additional section; and without words
        if places[-1][1:] == (answers, authority) and places[-1][0] + len(last) <= query.size:
            return _cut(body, places[-1], last)
    place = next(place for place in reversed(places) if place[0] + len(bare) <= query.size)
    is_extra = positive and place[1] == answers and not query.key[-1] & KEY_DO
    return _cut(body, place, bare, 0 if is_extra else TC)


def _cut(body: bytes, place: tuple[int, int, int], record: bytes, truncated: int = 0) -> bytes:
    """The reply up to the place, with the OPT record behind it."""
    end, answers, authority = place
    counts = _COUNTS.pack(answers, authority, 1 if record else 0)
    return body[:2] + bytes((body[2] | truncated,)) + body[3:6] + counts + body[12:end] + record


def _places(body: bytes, query: Query, answers: int, authority: int) -> list[tuple[int, int, int]]:
    """Where the reply may be cut, with the counts of the two sections there; nothing beyond the client's size."""
    places = [(query.end, 0, 0)]
    before, end, count = None, query.end, 0
    names: dict[int, bytes] = {}
    for start, kind, rdata, after in records(body, query.end, answers + authority):
        covered = body[rdata] << 8 | body[rdata + 1] if kind == RRSIG else kind
        group = read_once(body, start, names), covered, count < answers
        if group != before and count:
            places.append((end, min(count, answers), max(0, count - answers)))
        before, end, count = group, after, count + 1
        if after + (OPT_OCTETS if query.has_edns else 0) > query.size:
            return places
    places.append((end, answers, authority))
    return places
