"""What a server of some zones is believed: records of these, and how parts of answers are put together."""

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.errors import MalformedAnswer
from stubresolver.local.names import zone_in, zone_name, zone_set
from stubresolver.wire.answer import Answer
from stubresolver.wire.bailiwick import excerpt
from stubresolver.wire.edns import upstream_query
from stubresolver.wire.query import Query

ZONES = zone_set(["corp.example", "10.in-addr.arpa"])
SOA = "corp.example. 300 IN SOA ns.corp.example. h.corp.example. 1 2 3 4 60"


def believed(name):
    return zone_in(name, ZONES) is not None


def asked(name, kind="A", **flags):
    """The query as it goes out."""
    return upstream_query(Query(dns.message.make_query(name, kind, **{"use_edns": 0, **flags}).to_wire(), tcp=True))


def answer(query, *, answers=(), authority=(), additional=(), rcode=0, flags="QR RD RA"):
    """An upstream's answer with these records."""
    message = dns.message.make_response(dns.message.from_wire(query))
    message.flags = dns.flags.from_text(flags)
    message.set_rcode(rcode)
    for section, texts in ((message.answer, answers), (message.authority, authority), (message.additional, additional)):
        for text in texts:
            owner, ttl, klass, kind, rdata = text.split(" ", 4)
            section.append(dns.rrset.from_text(owner, int(ttl), klass, kind, rdata))
    wire = message.to_wire(max_size=65535)
    Answer.parse(wire, query)
    return wire


def shown(wire, section="answer"):
    return [line for rrset in getattr(dns.message.from_wire(wire), section) for line in rrset.to_text().split("\n")]


def test_answer_within_the_zones_is_whole():
    """Nothing is left out of what a server may say, so the octets may stay as they came."""
    query = asked("www.corp.example")
    wire = answer(
        query,
        answers=["www.corp.example. 60 IN CNAME web.corp.example.", "web.corp.example. 60 IN A 10.0.0.1"],
        authority=["corp.example. 60 IN NS ns.corp.example."],
        additional=["ns.corp.example. 60 IN A 10.0.0.2"],
    )
    part = excerpt(wire, believed)
    assert (part.whole, part.onward) == (True, None)
    assert dns.message.from_wire(part.message(query)) == dns.message.from_wire(wire)


def test_chain_is_cut_where_it_leaves_the_zones():
    """What follows the alias is another's to say, also where it leads back."""
    query = asked("www.corp.example")
    wire = answer(
        query,
        answers=[
            "www.corp.example. 60 IN CNAME in.corp.example.",
            "in.corp.example. 60 IN CNAME www.bank.test.",
            "www.bank.test. 60 IN CNAME out.corp.example.",
            "out.corp.example. 60 IN A 10.6.6.6",
        ],
    )
    part = excerpt(wire, believed)
    assert part.onward == zone_name("www.bank.test")
    assert shown(part.message(query)) == [
        "www.corp.example. 60 IN CNAME in.corp.example.",
        "in.corp.example. 60 IN CNAME www.bank.test.",
    ]


def test_alias_without_its_target_leads_on():
    """An authoritative server says no more than the alias."""
    wire = answer(asked("www.corp.example"), answers=["www.corp.example. 60 IN CNAME cdn.test."])
    assert excerpt(wire, believed).onward == zone_name("cdn.test")


@pytest.mark.parametrize("kind", ["CNAME", "RRSIG", "NSEC", "ANY"])
def test_what_stands_beside_an_alias_is_not_looked_for_elsewhere(kind):
    """Who asks for the alias itself has the answer (RFC 1034 s3.6.2, RFC 4035 s2.5)."""
    wire = answer(asked("www.corp.example", kind), answers=["www.corp.example. 60 IN CNAME cdn.test."])
    part = excerpt(wire, believed)
    assert (part.whole, part.onward) == (True, None)


def test_records_elsewhere_are_left_out():
    """No record about a stranger's name is handed on, in whatever section."""
    query = asked("corp.example", "MX")
    wire = answer(
        query,
        answers=["corp.example. 60 IN MX 10 mail.test.", "corp.example. 60 IN MX 20 mail.corp.example."],
        authority=["test. 60 IN NS evil.test.", "corp.example. 60 IN NS ns.corp.example."],
        additional=["mail.test. 60 IN A 6.6.6.6", "mail.corp.example. 60 IN A 10.0.0.3"],
    )
    part = excerpt(wire, believed)
    message = part.message(query)
    assert not part.whole
    assert shown(message) == ["corp.example. 60 IN MX 10 mail.test.", "corp.example. 60 IN MX 20 mail.corp.example."]
    assert shown(message, "authority") == ["corp.example. 60 IN NS ns.corp.example."]
    assert shown(message, "additional") == ["mail.corp.example. 60 IN A 10.0.0.3"]
    assert dns.message.from_wire(message).edns == 0


def test_proof_of_an_absence_may_be_of_a_zone_above():
    """The SOA record that dates an absence (RFC 2308 s3) is its zone's, which may begin above the one forwarded."""
    query = asked("x.corp.example")
    wire = answer(query, authority=[SOA.replace("corp.example. 300", "example. 300")], rcode=dns.rcode.NXDOMAIN)
    assert excerpt(wire, believed).whole


@pytest.mark.parametrize(("ttl", "capped"), [(10, 10), (60, 60), (61, 60), (0x7FFFFFFF, 60), (0x80000000, 0x80000000)])
def test_ttl_is_capped(ttl, capped):
    """No record lives longer than the zone's cap; one beyond 2^31 means zero (RFC 2181 s8) and stays so."""
    query = asked("a.corp.example")
    wire = bytearray(answer(query, answers=["a.corp.example. 7 IN A 10.0.0.1"]))
    wire[wire.index(b"\0\0\0\7") : wire.index(b"\0\0\0\7") + 4] = ttl.to_bytes(4)
    part = excerpt(bytes(wire), believed, 60)
    assert part.whole == (ttl == capped)
    assert part.answers[0][1][4:8] == capped.to_bytes(4)


def test_absence_is_capped_by_its_soa():
    """A negative answer is kept no longer than the cap, either (RFC 2308 s5)."""
    query = asked("x.corp.example")
    wire = answer(query, authority=[SOA], rcode=dns.rcode.NXDOMAIN)
    assert Answer.parse(wire, query).ttl == 60
    assert Answer.parse(excerpt(wire, believed, 5).message(query), query).ttl == 5


def test_parts_are_put_together():
    """The zone's aliases, then what was said elsewhere: its code, its proofs; authentic only if both are."""
    query = asked("www.corp.example", want_dnssec=True)
    first = answer(query, answers=["www.corp.example. 60 IN CNAME cdn.test."], flags="QR RD RA AD")
    further = asked("cdn.test", want_dnssec=True)
    for flags, rcode in (("QR RD RA AD", 0), ("QR RD RA", 3)):
        rest = answer(further, authority=["test. 60 IN SOA a.test. b.test. 1 2 3 4 60"], flags=flags, rcode=rcode)
        whole = excerpt(first, believed).followed_by(excerpt(rest, lambda _: True)).message(query)
        parsed = dns.message.from_wire(whole)
        assert (parsed.rcode(), bool(parsed.flags & dns.flags.AD)) == (rcode, flags.endswith("AD"))
        assert shown(whole) == ["www.corp.example. 60 IN CNAME cdn.test."]
        assert Answer.parse(whole, query).ttl == 60


def test_every_name_in_a_record_is_written_out():
    """Compression pointers lead nowhere in another message (RFC 1035 s4.1.4)."""
    query = asked("corp.example", "ANY")
    lines = [
        "corp.example. 60 IN NS ns.corp.example.",
        SOA,
        "corp.example. 60 IN MX 10 mx.corp.example.",
        "corp.example. 60 IN SRV 1 2 3 srv.corp.example.",
        "corp.example. 60 IN PTR ptr.corp.example.",
        'corp.example. 60 IN TXT "text"',
        "corp.example. 60 IN TYPE65280 \\# 2 c00c",
    ]
    wire = answer(query, answers=lines, additional=["a.test. 60 IN A 192.0.2.1"])
    assert sorted(shown(excerpt(wire, believed).message(query))) == sorted(lines)


def test_message_that_grows_too_large_is_refused():
    """Written out, names take more room than a message has (RFC 1035 s4.2.2)."""
    label = "a" * 60
    owner = f"{label}.{label}.{label}.corp.example."
    query = asked(owner, "MX")
    lines = [f"{owner} 60 IN MX {number} m.{owner}" for number in range(600)]
    wire = answer(query, answers=lines, additional=["a.test. 60 IN A 192.0.2.1"])
    with pytest.raises(MalformedAnswer, match="octets when put together, expected at most 65535"):
        excerpt(wire, believed).message(query)


@given(octets=st.binary(max_size=60), place=st.integers(12, 400), value=st.integers(0, 255))
def test_whatever_parses_can_be_taken_apart(octets, place, value):
    """Of octets that `Answer.parse` has proved, the excerpt makes a message that it proves, too."""
    query = asked("www.corp.example")
    lines = [
        "www.corp.example. 60 IN CNAME web.corp.example.",
        "web.corp.example. 60 IN CNAME out.test.",
        "out.test. 60 IN A 192.0.2.1",
    ]
    wire = bytearray(answer(query, answers=lines, authority=[SOA], additional=["out.test. 60 IN AAAA ::1"]))
    wire[place % len(wire)] = value
    wire = bytes(wire) if len(octets) % 2 else bytes(wire[: -len(octets)]) + octets
    try:
        Answer.parse(wire, query)
    except MalformedAnswer:
        return
    part = excerpt(wire, believed)
    if part.onward is None:
        Answer.parse(part.message(query), query)
