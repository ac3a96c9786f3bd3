"""What an answer section may hold: the question's name and what aliases lead to."""

import itertools

import dns.message
import dns.name
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stubresolver.errors import MalformedAnswer
from stubresolver.wire.answer import Answer
from stubresolver.wire.edns import upstream_query
from stubresolver.wire.query import Query

SOA = "ns.example. host.example. 1 2 3 4 60"


def ask(name="www.example.", kind="A"):
    return Query(dns.message.make_query(name, kind, use_edns=0).to_wire())


def parse(query, answer=(), authority=(), additional=(), rcode=0):
    """The answer that dnspython writes with these records: owner, type and RDATA each."""
    response = dns.message.make_response(dns.message.from_wire(upstream_query(query)))
    for section, texts in (
        (response.answer, answer),
        (response.authority, authority),
        (response.additional, additional),
    ):
        section += [dns.rrset.from_text(owner, 60, "IN", kind, *rdata) for owner, kind, *rdata in texts]
    response.set_rcode(rcode)
    return Answer.parse(response.to_wire(max_size=65535), upstream_query(query), edns=True)


CHAIN = [("www.example.", "CNAME", "b.example."), ("b.example.", "CNAME", "c.other."), ("c.other.", "A", "192.0.2.1")]
REDIRECTED = [("example.", "DNAME", "example.net."), ("www.example.net.", "A", "192.0.2.1")]


@settings(max_examples=12, deadline=None)
@given(st.permutations(CHAIN))
def test_order_of_the_chain_is_free(answer):
    """RFC 1034 s3.7 gives the records of a section no order: the chain is followed through any."""
    parsed = parse(ask(), answer)
    assert (parsed.ttl, parsed.negative) == (60, False)


GOOD = {
    "the name itself": ([("WWW.example.", "A", "192.0.2.1", "192.0.2.2")], "A"),
    "another type at the name": ([("www.example.", "TXT", "x"), ("www.example.", "A", "192.0.2.1")], "A"),
    "an alias in other letters": ([("www.EXAMPLE.", "CNAME", "B.example."), ("b.Example.", "A", "192.0.2.1")], "A"),
    "DNAME without CNAME": (REDIRECTED, "A"),
    "DNAME with its CNAME": ([REDIRECTED[0], ("www.example.", "CNAME", "www.example.net."), REDIRECTED[1]], "A"),
    "DNAME beside other types": ([*REDIRECTED, ("example.", "TXT", "x")], "A"),
    "DNAME after CNAME": (
        [
            ("www.example.", "CNAME", "a.b.net."),
            ("b.net.", "DNAME", "c.org."),
            ("a.b.net.", "CNAME", "a.c.org."),
            ("a.c.org.", "A", "192.0.2.1"),
        ],
        "A",
    ),
    "CNAME asked for": (CHAIN[:1], "CNAME"),
    "DNAME asked for at its owner": ([("www.example.", "DNAME", "example.net.")], "DNAME"),
    "the same CNAME twice": ([CHAIN[0], *CHAIN], "A"),
    "ANY": ([("www.example.", "A", "192.0.2.1"), ("www.example.", "TXT", "x")], "ANY"),
}


@pytest.mark.parametrize("case", GOOD)
def test_answers_that_are_about_the_question(case):
    """Records at the question's name, at those that aliases lead to, and the DNAME that redirects: an answer."""
    answer, kind = GOOD[case]
    parsed = parse(ask(kind=kind), answer)
    assert (parsed.ttl, parsed.negative) == (60, False)


def links(count):
    """A chain of so many aliases, and an address at its end."""
    names = ["www.example.", *(f"n{number}.example." for number in range(count))]
    return [(here, "CNAME", there) for here, there in itertools.pairwise(names)] + [(names[-1], "A", "192.0.2.1")]


BAD = {
    "another name": ([("evil.example.", "A", "192.0.2.1")], "does not lead to"),
    "another name beside the right one": (
        [("www.example.", "A", "192.0.2.1"), ("evil.example.", "A", "192.0.2.2")],
        "does not lead to",
    ),
    "the parent": ([("example.", "A", "192.0.2.1")], "does not lead to"),
    "a name below": ([("a.www.example.", "A", "192.0.2.1")], "does not lead to"),
    "behind the chain's end": ([*CHAIN, ("d.other.", "A", "192.0.2.2")], "does not lead to"),
    "a chain with a gap": ([CHAIN[0], CHAIN[2]], "does not lead to"),
    "an alias of another name": ([*CHAIN, ("x.example.", "CNAME", "y.example.")], "does not lead to"),
    "a DNAME elsewhere": ([*CHAIN, ("example.org.", "DNAME", "y.example.")], "does not lead to"),
    "a DNAME at the name does not redirect it": (
        [("www.example.", "DNAME", "x.net."), ("x.net.", "A", "192.0.2.1")],
        "does not lead to",
    ),
    "a label that only ends like the zone": (
        [("ww.example.", "DNAME", "x.net."), ("x.net.", "A", "192.0.2.1")],
        "does not lead to",
    ),
    "alias to itself": ([("www.example.", "CNAME", "WWW.example.")], "comes back"),
    "a loop of two": ([CHAIN[0], ("b.example.", "CNAME", "www.example.")], "comes back"),
    "a loop that the question leads into": ([*CHAIN[:2], ("c.other.", "CNAME", "b.example.")], "comes back"),
    "DNAME into itself": ([("example.", "DNAME", "a.example.")], "more than 16"),
    "a chain of 17": (links(17), "more than 16"),
    "two aliases": (
        [("www.example.", "CNAME", "b.example."), ("www.example.", "CNAME", "c.example.")],
        "two different",
    ),
    "two redirections": ([("example.", "DNAME", "b.net."), ("example.", "DNAME", "c.net.")], "two different"),
    "alias beside an address": ([CHAIN[0], ("www.example.", "A", "192.0.2.1")], "beside another"),
    "alias beside an address later on": ([*CHAIN[:2], ("b.example.", "A", "192.0.2.1")], "beside another"),
}


@pytest.mark.parametrize("case", BAD)
def test_answers_that_are_not(case):
    """What the question does not lead to, what comes back to itself or has no end is refused, in words."""
    answer, words = BAD[case]
    with pytest.raises(MalformedAnswer, match=words):
        parse(ask(), answer)


@pytest.mark.parametrize("records", [BAD["alias to itself"][0], BAD["a loop of two"][0]], ids=["itself", "a loop"])
def test_alias_that_is_asked_for_itself(records):
    """RFC 1034 s3.6.2: a question of type CNAME is answered with the alias, wherever that leads."""
    answer = parse(ask(kind="CNAME"), records)
    assert (answer.negative, answer.ttl) == (False, 60)


def test_the_longest_chain():
    """A chain of 16 aliases is followed."""
    assert parse(ask(), links(16)).ttl == 60


@pytest.mark.parametrize(
    ("owner", "rcode", "expected"),
    [
        ("www.example.", 0, 60),
        ("example.", 0, 60),
        ("EXAMPLE.", 3, 60),
        (".", 3, 60),
        ("other.", 0, 0),
        ("a.www.example.", 3, 0),
        ("ww.example.", 0, 0),
        ("xample.", 3, 0),
    ],
)
def test_negative_answer_is_kept_by_its_own_zone_only(owner, rcode, expected):
    """An SOA record of a zone that the name is not in gives a negative answer no life (RFC 2308 s3, s5)."""
    parsed = parse(ask(), authority=[(owner, "SOA", SOA)], rcode=rcode)
    assert (parsed.negative, parsed.ttl) == (True, expected)


@pytest.mark.parametrize(("owner", "expected"), [("other.", 60), ("example.", 0)])
def test_alias_to_nothing_is_kept_by_the_zone_at_its_end(owner, expected):
    """The name that does not exist is the one at the end of the chain, and so is its zone (RFC 2308 s2.1)."""
    parsed = parse(ask(), CHAIN[:2], [(owner, "SOA", SOA)], rcode=3)
    assert (parsed.negative, parsed.ttl) == (True, expected)


def test_address_at_the_redirecting_name_is_no_answer():
    """An address of a DNAME's owner is not one of the name below it."""
    answer = [("example.", "DNAME", "example.net."), ("example.", "A", "192.0.2.1")]
    assert parse(ask(), answer, [("net.", "SOA", SOA)]).negative


def test_other_sections_answer_nothing():
    """Records out of bailiwick in the authority and additional sections make no answer positive."""
    stray = [("www.example.", "A", "192.0.2.1"), ("evil.test.", "A", "192.0.2.2")]
    parsed = parse(ask(), [], [("example.", "SOA", SOA), *stray], stray)
    assert parsed.negative


_names = st.sampled_from(["www.example.", "a.example.", "b.example.", "example.", "x.a.example.", "net.", "a.net."])
_records = st.lists(
    st.tuples(_names, st.sampled_from(["CNAME", "DNAME"]), _names)
    | st.tuples(_names, st.just("A"), st.just("192.0.2.1")),
    max_size=5,
)


def naive(records):
    """The names that the question leads to, one step at a time; None where the section must be refused."""
    for owner, kind, rdata in records:
        rivals = [other for other in records if other[0] == owner and other != (owner, kind, rdata)]
        if kind == "CNAME" and rivals:
            return None
        if kind == "DNAME" and any(other[1] == "DNAME" for other in rivals):
            return None
    names, redirecting = ["www.example."], set()
    while True:
        target = None
        for owner, kind, rdata in records:
            if kind == "CNAME" and owner == names[-1]:
                target = rdata
        if target is None:
            above = [r for r in records if r[1] == "DNAME" and names[-1].endswith("." + r[0])]
            if above:
                owner, _, rdata = max(above, key=lambda record: len(record[0]))
                target = names[-1].removesuffix(owner) + rdata
        if target is None:
            break
        if target in names or len(names) > 16:
            return None
        names.append(target)
    for name in names:
        redirecting |= {owner for owner, kind, _ in records if kind == "DNAME" and name.endswith("." + owner)}
    if any(owner not in names and owner not in redirecting for owner, *_ in records):
        return None
    return any(kind == "A" and owner in names for owner, kind, _ in records)


@settings(max_examples=200, deadline=None)
@given(_records)
def test_same_as_a_naive_walk(records):
    """Any small section is judged as by a walk that takes one step at a time over text."""
    expected = naive(records)
    if expected is None:
        with pytest.raises(MalformedAnswer):
            parse(ask(), records)
    else:
        assert parse(ask(), records).negative is not expected
