"""The cache as a file: what comes back is what went in; what is no such file is ignored with a reason."""

import contextlib
import hashlib

import dns.message
import dns.rrset
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.cache import AnswerCache, CacheOptions, pack, unpack
from stubresolver.errors import BadInput
from stubresolver.wire.answer import Answer
from stubresolver.wire.edns import Failure, upstream_query
from stubresolver.wire.query import Query

WALL = 1_700_000_000
HEAD = b"stubresolver cache 1\n"


def ask(name, **edns):
    return Query(dns.message.make_query(name, "A", **edns).to_wire())


def filled(queries, ttl=600):
    """A cache with an answer to each of the queries, come at 1,000."""
    kept = AnswerCache(CacheOptions())
    for query in queries:
        wire = upstream_query(query)
        response = dns.message.make_response(dns.message.from_wire(wire))
        response.answer.append(dns.rrset.from_text(response.question[0].name, ttl, "IN", "A", "192.0.2.1"))
        kept.put(query.key, Answer.parse(response.to_wire(), wire, edns=query.has_edns), 1000.0)
    return kept


QUERIES = [ask("a.example", use_edns=0), ask("b.example", use_edns=False), ask("a.example", want_dnssec=True)]
PACKED = pack(filled(QUERIES).kept(1000.0), "demands", 1000.0, WALL)


def file_of(body):
    octets = msgspec.msgpack.encode(body)
    return HEAD + hashlib.blake2b(octets, digest_size=32).digest() + octets


def test_round_trip():
    """Each answer comes back to its key and renders as before, with times by another process's clock."""
    kept = list(unpack(PACKED, "demands", 5.0, WALL + 100))
    assert [(one.key, one.came, one.end) for one in kept] == [(query.key, -95.0, 505.0) for query in QUERIES]
    before = filled(QUERIES)
    for query, one in zip(QUERIES, kept, strict=True):
        assert one.answer.render(query, 100) == before.look(query.key).answer.render(query, 100)


def test_failures_are_not_kept():
    """A failure is over by the time that the file is read."""
    kept = filled([])
    kept.put(QUERIES[0].key, Failure(23, "x"), 1000.0)
    assert list(unpack(pack(kept.kept(1000.0), "", 1000.0, WALL), "", 0.0, WALL)) == []


def test_other_demands():
    """What was trusted under other demands is not trusted now."""
    with pytest.raises(BadInput, match="another policy"):
        unpack(PACKED, "other demands", 0.0, WALL)


def test_text_that_is_none():
    """Demands that are not UTF-8, behind a digest that was made fit: no such file."""
    body = b"\x92\xa7\xe9emands\x90"
    with pytest.raises(BadInput, match="not a cache"):
        unpack(HEAD + hashlib.blake2b(body, digest_size=32).digest() + body, "demands", 0.0, WALL)


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"", "not a cache of this version"),
        (b"stubresolver cache 2\n" + PACKED[len(HEAD) :], "not a cache of this version"),
        (b"SQLite format 3\0" + bytes(100), "not a cache of this version"),
        (HEAD, "damaged"),
        (PACKED[:-1], "damaged"),
        (PACKED + b"\0", "damaged"),
        (PACKED[:-30] + bytes((PACKED[-30] ^ 1,)) + PACKED[-29:], "damaged"),
        (file_of(None), "not a cache: "),
        (file_of(["demands"]), "not a cache: "),
        (file_of(["demands", [[b"key", 1.5, 2, b""]]]), "not a cache: "),
        (file_of(["demands", 1]), "not a cache: "),
        (file_of(["demands", [], "more"]), "not a cache: "),
    ],
)
def test_no_such_file(octets, words):
    """Foreign, damaged and malformed files say what they are."""
    with pytest.raises(BadInput, match=words):
        unpack(octets, "demands", 0.0, WALL)


@pytest.mark.parametrize(
    "record",
    [
        [b"", 1, 2, b""],
        [b"key", 1, 2, b""],
        [QUERIES[0].key, 1, 2, b""],
        [QUERIES[0].key, 1, 2, bytes(10)],
        [QUERIES[0].key, 1, 2, bytes(400)],
        [bytes(300), 1, 2, bytes(400)],
        [QUERIES[1].key, 1, 2, next(filled(QUERIES[:1]).kept(1000.0))[0].dump()[:-1]],
    ],
)
def test_records_that_do_not_prove(record):
    """An entry that is no answer to its key is left out; the others are read."""
    good = [QUERIES[0].key, 1, 2, next(filled(QUERIES[:1]).kept(1000.0))[0].dump()]
    assert [one.key for one in unpack(file_of(["", [record, good]]), "", 0.0, WALL)] == [QUERIES[0].key]


@given(st.binary(max_size=300))
def test_any_octets_behind_a_good_digest(octets):
    """Whoever can write the file can make the digest: nothing but `BadInput` comes of what it holds."""
    digest = hashlib.blake2b(octets, digest_size=32).digest()
    with contextlib.suppress(BadInput):
        list(unpack(HEAD + digest + octets, "", 0.0, WALL))


@given(st.binary(max_size=40), st.integers(), st.integers(), st.binary(max_size=200))
def test_any_record(key, came, end, octets):
    """A record of any content is proved or left out, and its times break nothing when it is restored."""
    kept = AnswerCache(CacheOptions())
    try:
        records = list(unpack(file_of(["", [[key, came % 2**64, end % 2**63, octets]]]), "", 0.0, WALL))
    except BadInput:
        return
    for one in records:
        kept.restore(one.key, one.answer, one.came, one.end, 0.0)


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1))
def test_any_times(came, end):
    """Whatever times the file claims, an answer is given out within its own TTL of when it came, or not at all."""
    answer = next(filled(QUERIES[:1]).kept(1000.0))[0]
    kept = AnswerCache(CacheOptions())
    for one in unpack(file_of(["", [[QUERIES[0].key, came, end, answer.dump()]]]), "", 0.0, WALL):
        if kept.restore(one.key, one.answer, one.came, one.end, 0.0):
            assert -600 - 3 * 86_400 < one.came <= 0
            assert kept.look(QUERIES[0].key).end <= min(one.came + 600, one.end)
