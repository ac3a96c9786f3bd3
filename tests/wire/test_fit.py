"""Truncation on whole RRsets, with dnspython as oracle."""

import dns.edns
import dns.flags
import dns.message
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stubresolver.wire.answer import Answer
from stubresolver.wire.edns import upstream_query
from stubresolver.wire.query import Query

SOA = ("example.", "SOA", "ns.example. host.example. 1 2 3 4 60")


def ask(kind="A", *, payload=1232, edns=True, dnssec_ok=False, tcp=False):
    made = dns.message.make_query(
        "www.Example.", kind, id=7, use_edns=0 if edns else False, payload=payload, want_dnssec=dnssec_ok
    )
    return Query(made.to_wire(), tcp=tcp)


def rrset(owner, kind, *rdata):
    return dns.rrset.from_text(owner, 60, "IN", kind, *rdata)


def signature(owner, kind, octets=64):
    return rrset(owner, "RRSIG", f"{kind} 8 2 60 20300101000000 20200101000000 1 example. {'A' * (octets // 3 * 4)}")


def parse(query, answer=(), authority=(), additional=(), options=()):
    response = dns.message.make_response(dns.message.from_wire(upstream_query(query)))
    response.answer += answer
    response.authority += authority
    response.additional += additional
    response.use_edns(0, options=options)
    wire = response.to_wire(max_size=65535, want_shuffle=False)
    return Answer.parse(wire, upstream_query(query), edns=query.has_edns)


def render(answer, query):
    reply = answer.render(query, 0)
    assert len(reply) <= query.size
    return dns.message.from_wire(reply)


def texts(owner, count, octets=200):
    return rrset(owner, "TXT", *(f'"{number:03}{"x" * (octets - 3)}"' for number in range(count)))


@pytest.mark.parametrize("edns", [True, False])
def test_too_large_rrset_is_left_out_whole(edns):
    """RFC 2181 s9: no part of an RRset that does not fit is sent; TC says so; over TCP the same answer comes whole."""
    query = ask("TXT", edns=edns)
    answer = parse(query, [texts("www.example.", 10)])
    small = render(answer, query)
    assert small.flags & dns.flags.TC
    assert (small.answer, small.edns) == ([], 0 if edns else -1)
    whole = render(answer, ask("TXT", edns=edns, tcp=True))
    assert not whole.flags & dns.flags.TC
    assert len(whole.answer[0]) == 10


def test_size_exactly():
    """A reply of exactly the client's size is whole; one octet more is truncated."""
    query = ask("TXT", edns=False)
    overhead = 12 + 17 + 12 + 241 + 1  # header, question, the record's fields, a string, the other string's length
    for octets, truncated in ((512 - overhead, False), (513 - overhead, True)):
        reply = parse(query, [rrset("www.example.", "TXT", f'"{"x" * 240}" "{"y" * octets}"')]).render(query, 0)
        assert bool(reply[2] & 2) is truncated
        assert len(reply) == (29 if truncated else 512)


def test_whole_rrsets_that_fit_are_sent():
    """The alias fits and is sent, its target's RRset does not and is left out, with TC and without the rest."""
    query = ask("TXT", payload=512)
    alias = rrset("www.example.", "CNAME", "b.example.")
    small = render(
        parse(query, [alias, texts("b.example.", 5)], [rrset(*SOA)], [rrset("c.example.", "A", "192.0.2.1")]), query
    )
    assert small.flags & dns.flags.TC
    assert (small.answer, small.authority, small.additional) == ([alias], [], [])


def test_signatures_stay_with_what_they_cover():
    """RFC 4035 s3.1.1: an RRset whose RRSIG does not fit is left out with it."""
    query = ask("A", payload=512, dnssec_ok=True)
    alias, address = rrset("www.example.", "CNAME", "b.example."), rrset("b.example.", "A", "192.0.2.1")
    answer = [alias, signature("www.example.", "CNAME"), address, signature("b.example.", "A", 360)]
    small = render(parse(query, answer), query)
    assert small.flags & dns.flags.TC
    assert small.answer == answer[:2]


def test_additional_section_goes_first_and_without_tc():
    """RFC 2181 s9: extra information that does not fit is left out, and TC is not set for it."""
    query = ask("MX", payload=512)
    answer, authority = rrset("www.example.", "MX", "1 mail.example."), rrset("example.", "NS", "ns.example.")
    extra = [texts("mail.example.", 5)]
    small = render(parse(query, [answer], [authority], extra), query)
    assert not small.flags & dns.flags.TC
    assert (small.answer, small.authority, small.additional, small.edns) == ([answer], [authority], [], 0)


@pytest.mark.parametrize(
    ("dnssec_ok", "positive", "truncated"), [(False, True, False), (True, True, True), (False, False, True)]
)
def test_authority_section_is_extra_in_a_plain_positive_answer(dnssec_ok, positive, truncated):
    """Proofs for a validator and the SOA record of a negative answer are needed: TC; the rest is not."""
    query = ask(payload=512, dnssec_ok=dnssec_ok)
    answer = [rrset("www.example.", "A", "192.0.2.1")] if positive else []
    authority = [rrset("example.", "NS", "ns.example."), texts("z.example.", 3), rrset(*SOA)]
    small = render(parse(query, answer, authority), query)
    assert bool(small.flags & dns.flags.TC) is truncated
    assert (small.answer, small.authority) == (answer, authority[:1])


def test_alias_to_nothing_needs_its_soa():
    """A chain whose SOA record does not fit is truncated, or a client could not tell it from a whole answer."""
    query = ask(payload=512)
    alias = rrset("www.example.", "CNAME", "b.example.")
    small = render(parse(query, [alias], [texts("z.example.", 3), rrset(*SOA)]), query)
    assert small.flags & dns.flags.TC
    assert (small.answer, small.authority) == ([alias], [])


def test_words_go_before_records():
    """Extended errors that leave no room for the answer are left out, without TC."""
    query = ask("TXT", payload=512)
    answer = parse(query, [texts("www.example.", 2)], options=[dns.edns.EDEOption(3, "x" * 300)])
    small = render(answer, query)
    assert not small.flags & dns.flags.TC
    assert (len(small.answer[0]), small.options) == (2, ())


def test_words_stay_where_there_is_room():
    """Leaving out the additional section can be enough to keep the extended errors."""
    query = ask("TXT", payload=512)
    answer = parse(
        query,
        [texts("www.example.", 1)],
        additional=[texts("mail.example.", 2)],
        options=[dns.edns.EDEOption(3, "why")],
    )
    small = render(answer, query)
    assert [option.text for option in small.options] == ["why"]
    assert (len(small.answer), small.additional) == (1, [])


def test_the_clients_own_options_stay():
    """Whatever is left out, the cookie of the client is not."""
    query = ask("TXT", payload=512)
    query.extra = bytes.fromhex("fde8 0002 abcd")
    for count in (1, 2, 10):
        small = render(parse(query, [texts("www.example.", count)], options=[dns.edns.EDEOption(3, "x" * 30)]), query)
        assert small.options[-1].otype == 65000
        assert bool(small.flags & dns.flags.TC) is (count == 10)


_rrsets = st.lists(
    st.builds(
        lambda kind, count, octets: rrset(
            "www.example.", kind, *(rf"\# {octets} {n:02x}{'00' * (octets - 1)}" for n in range(count))
        ),
        st.integers(300, 310).map("TYPE{}".format),
        st.integers(1, 4),
        st.integers(1, 260),
    ),
    max_size=5,
    unique_by=lambda made: made.rdtype,
)


@settings(max_examples=100, deadline=None)
@given(_rrsets, _rrsets, _rrsets, st.integers(0, 1300), st.booleans(), st.booleans(), st.binary(max_size=40))
def test_any_cut_is_a_prefix_of_whole_rrsets(answer, authority, additional, payload, edns, dnssec_ok, extra):
    """Whatever the size: whole RRsets in their order, the most that fit, TC exactly if a needed one is missing."""
    query = ask("TYPE300", payload=payload, edns=edns, dnssec_ok=edns and dnssec_ok)
    query.extra = b"\xfd\xe8" + len(extra).to_bytes(2) + extra if edns and extra else b""
    got = render(parse(query, answer, authority, additional), query)
    assert got.answer == answer[: len(got.answer)]
    assert got.authority == authority[: len(got.authority)]
    assert got.additional in ([], additional)
    whole = got.answer == answer and got.authority == authority
    positive = any(made.rdtype == 300 for made in answer)
    extra_authority = positive and not (edns and dnssec_ok) and got.answer == answer
    assert bool(got.flags & dns.flags.TC) is not (whole or extra_authority)
    assert not got.authority or got.answer == answer
    assert not got.additional or whole
    missing = (answer + authority)[len(got.answer) + len(got.authority) :]
    if missing:
        got.flags |= dns.flags.TC
        section = got.answer if len(got.answer) < len(answer) else got.authority
        section.append(missing[0])
        assert len(got.to_wire(max_size=65535, want_shuffle=False)) > query.size
    elif additional and not got.additional:
        got.additional += additional
        assert len(got.to_wire(max_size=65535, want_shuffle=False)) > query.size
