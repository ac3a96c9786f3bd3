"""What must hold for DNS messages, whatever their octets: the checks that replay and fuzzing share.

A check returns nothing; it raises AssertionError where an invariant breaks, and lets through whatever escapes a parser
beside the one exception that the parser documents. dnspython is the second opinion: it is asked about one input in
sixteen, by a digest of the input, because it is a hundred times slower.
"""

from zlib import crc32

import dns.exception
import dns.flags
import dns.message

from stubresolver.errors import MalformedAnswer, MalformedQuery
from stubresolver.local import LocalKnowledge
from stubresolver.serve.front import Front
from stubresolver.serve.options import ListenOptions
from stubresolver.wire.answer import Answer
from stubresolver.wire.bailiwick import excerpt
from stubresolver.wire.cookie import requested_cookie
from stubresolver.wire.edns import error_reply, short_reply, upstream_query
from stubresolver.wire.names import is_within
from stubresolver.wire.own import CLASS_CH
from stubresolver.wire.query import Query, malformed_reply

_CLIENT = b"\x7f\0\0\1"
_NOW = 1000.5
_TEXT = "reason " * 100
_FRONT = Front(ListenOptions(identity="here"))
_KNOWN = LocalKnowledge()
_PLAIN = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0"
_EDNS = b"\x12\x34\x01\0\0\1\0\0\0\0\0\1"
_DO = b"\0\0\x29\x04\xd0\0\0\x80\0\0\0"
_OPT = b"\0\0\x29\x10\0\0\0\0\0\0\0"
_ZONE = b"\3lab\0"
_FALLBACK = b"\7example\3lab\0\0\1\0\1"


def check_query(octets: bytes) -> None:
    """A datagram or a frame is a query, or deserves an error no longer than itself, or silence."""
    for tcp in (False, True):
        try:
            query = Query(octets, tcp=tcp)
        except MalformedQuery as error:
            _check_refusal(octets, error, tcp=tcp)
        else:
            _check_taken(query, tcp=tcp)


def check_answer(octets: bytes) -> None:
    """An upstream's message answers the question that it repeats, or is malformed."""
    question = _question(octets)
    digest = crc32(octets)
    opt = (b"", _OPT, _DO)[digest % 3]
    asking = Query((_EDNS if opt else _PLAIN) + question + opt, tcp=True)
    asked = upstream_query(asking)
    wire = asked[:2] + octets[2:]
    wall = digest if digest & 64 else None
    try:
        answer = Answer.parse(wire, asked, edns=asking.has_edns, wall=wall)
    except MalformedAnswer:
        return
    _check_renderings(answer, asking, question, opt)
    withheld = _KNOWN.vet(asking, answer)
    assert withheld is None or len(withheld.render(asking, 0)) <= asking.size
    assert all(name.endswith(b"\0") and name == name.lower() for name in answer.owners(asking))
    assert all(len(address) in (4, 16) or kind not in (1, 28) for kind, address in answer.addresses())
    again = Answer.load(answer.dump(), asking.key, wall=wall)
    assert again.render(asking, 3) == answer.render(asking, 3)
    assert (again.negative, again.rcode) == (answer.negative, answer.rcode)
    assert again.ttl <= answer.ttl
    _check_excerpt(wire, asked, answer)
    if digest % 16 == 0:
        _compare(wire, answer.render(asking, 0))


def check_kept(octets: bytes) -> None:
    """A kept answer with its key, as a file has them: proved again, or malformed. The first octet is the key's size."""
    size = octets[0] if octets else 0
    key, kept = octets[1 : 1 + size], octets[1 + size :]
    try:
        answer = Answer.load(kept, key)
    except MalformedAnswer:
        return
    assert Answer.load(answer.dump(), key).dump() == answer.dump()


def _check_refusal(octets: bytes, error: MalformedQuery, *, tcp: bool) -> None:
    """RFC 1035 s7.3: nothing to a response; RFC 5358: nothing that is worth being sent to somebody else."""
    reply = malformed_reply(octets, error)
    assert reply is None or len(reply) <= len(octets)
    full = _FRONT.refuse(octets, error, _CLIENT, _NOW, tcp=tcp)
    _FRONT.turn_away(octets)
    for said in (reply, full):
        if said is not None:
            assert said[:2] == octets[:2]
            assert said[2] & 0x80
            assert not octets[2] & 0x80
    if full is None:
        return
    if _is_chaos(octets):
        assert len(full) <= (65535 if tcp else 1232)
    elif requested_cookie(octets) is not None:
        assert len(full) <= len(octets) + 32
    else:
        assert len(full) <= len(octets)
    if crc32(octets) % 16 == 0 and not octets[2] & 0x78:  # dnspython reads what follows an opcode by its own rules
        dns.message.from_wire(full)


def _check_taken(query: Query, *, tcp: bool) -> None:
    """A query has one key, one form upstream, and replies that fit."""
    upstream = upstream_query(query)
    assert len(upstream) % 128 == 0
    assert Query(upstream).key[:-1] == query.key[:-1]
    assert query.key[:-1].lower()[: len(query.name)] == query.name
    own = _FRONT.greet(query, _CLIENT, _NOW, tcp=tcp)
    replies = [own, _KNOWN.reply(query), error_reply(query, 2, 22, _TEXT), short_reply(query, 5)]
    for reply in replies:
        if reply is not None:
            assert len(reply) <= query.size
            assert reply[:2] == query.wire[:2]
            assert reply[12 : query.end] == query.wire[12 : query.end]
    denied = _FRONT.turn_away(query.wire)
    assert denied is None or len(denied) <= len(query.wire)
    if not query.extra:
        query.remember()
        assert Query(query.wire, tcp=tcp).key == query.key
    if crc32(query.wire) % 16 == 0:
        for reply in replies:
            assert reply is None or dns.message.from_wire(reply).flags & dns.flags.QR
        _compare_question(query)


def _check_renderings(answer: Answer, asking: Query, question: bytes, opt: bytes) -> None:
    """Every client gets what fits it; what is whole has no TC bit, and what has none is whole (RFC 2181 s9)."""
    whole = answer.render(asking, 0)
    assert len(whole) <= 65535
    assert not whole[2] & 2
    size = b"\2\0" if opt else b""
    small = Query((_EDNS if opt else _PLAIN) + question + opt[:3] + size + opt[5:])
    for age in (0, 7, 1 << 31):
        reply = answer.render(small, age)
        assert len(reply) <= small.size
        assert reply[2] & 2 or reply[6:8] == whole[6:8]
    for query in (asking, small):
        stale = answer.render_stale(query)
        assert len(stale) <= query.size
        assert stale[12 : query.end] == query.wire[12 : query.end]


def _check_excerpt(wire: bytes, asked: bytes, answer: Answer) -> None:
    """What a zone's server is believed is an answer again, and says nothing about other names."""
    asking = Query(asked, tcp=True)
    part = excerpt(wire, lambda name: is_within(name, _ZONE), 60)
    if part.whole or not is_within(asking.name, _ZONE):  # a zone's server is asked for the zone's names
        return
    try:
        again = Answer.parse(part.message(asked), asked)
        Answer.parse(part.followed_by(part).message(asked), asked)
    except MalformedAnswer as error:
        raise AssertionError(f"an excerpt that is malformed: {error}") from error
    before = set(answer.owners(asking))
    assert set(again.owners(asking)) <= before
    assert again.ttl <= max(answer.ttl, 60)


def _compare(upstream: bytes, ours: bytes) -> None:
    """The second opinion reads the same answer from both, where it reads the upstream's at all."""
    try:
        theirs = dns.message.from_wire(upstream)
    except (dns.exception.DNSException, ValueError):
        return
    read = dns.message.from_wire(ours)
    assert read.question == theirs.question
    assert read.rcode() == theirs.rcode()
    assert _records(read.answer) == _records(theirs.answer)
    assert _records(read.authority) == _records(theirs.authority)
    assert _records(read.additional) <= _records(theirs.additional)


def _compare_question(query: Query) -> None:
    try:
        theirs = dns.message.from_wire(query.wire)
    except (dns.exception.DNSException, ValueError):
        return
    assert theirs.question[0].name.canonicalize().to_wire() == query.name
    assert theirs.question[0].rdtype == query.type


def _records(section: list) -> set:
    return {(rrset.name, rrset.rdtype, rdata) for rrset in section for rdata in rrset}


def _question(octets: bytes) -> bytes:
    """The question of a message, in lower case as it goes upstream, if it has one that can be asked."""
    end = 12
    while end < len(octets) and 0 < octets[end] < 64:
        end += octets[end] + 1
    question = octets[12 : end + 1].lower() + octets[end + 1 : end + 5]
    try:
        Query(_PLAIN + question)
    except MalformedQuery:
        return _FALLBACK
    return question


def _is_chaos(octets: bytes) -> bool:
    try:
        Query(octets, klass=CLASS_CH)
    except MalformedQuery:
        return False
    return True
