"""The lab's zone, read back by dnspython; junk in, no exception out."""

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stubresolver.lab.zone import LabZone

ZONE = LabZone()


def ask(name, rdtype="A", **options):
    query = dns.message.make_query(name, rdtype, **options)
    response = dns.message.from_wire(ZONE.answer(query.to_wire()))
    assert query.is_response(response)
    assert response.flags & dns.flags.RA
    return response


@pytest.mark.parametrize(
    ("name", "rdtype", "texts"),
    [
        ("example.lab", "A", {"192.0.2.1", "192.0.2.2"}),
        ("EXAMPLE.lab", "AAAA", {"2001:db8::1"}),
        ("example.lab", "MX", {"10 mail.example.lab."}),
        ("dns.lab", "AAAA", {"::1"}),
        ("anything.wild.lab", "A", {"192.0.2.80"}),
        ("a.b.wild.lab", "A", {"192.0.2.80"}),
        (".", "NS", {"dns.lab."}),
    ],
)
def test_name_that_exists_is_answered(name, rdtype, texts):
    """Records of the zone, and of its wildcard, come back under the name that was asked for."""
    response = ask(name, rdtype)
    (rrset,) = response.answer
    assert response.rcode() == dns.rcode.NOERROR
    assert {item.to_text() for item in rrset} == texts
    assert rrset.name == response.question[0].name


def test_alias_is_followed():
    """RFC 1034 s4.3.2: a CNAME is answered together with what it leads to, unless it is what was asked for."""
    response = ask("www.example.lab")
    assert [rrset.rdtype for rrset in response.answer] == [dns.rdatatype.CNAME, dns.rdatatype.A]
    assert [rrset.rdtype for rrset in ask("www.example.lab", "CNAME").answer] == [dns.rdatatype.CNAME]


def test_alias_to_nothing_has_soa():
    """RFC 2308 s2.2: an alias whose target lacks the type is answered with the alias and the SOA."""
    response = ask("www.example.lab", "SRV")
    assert [rrset.rdtype for rrset in response.answer + response.authority] == [dns.rdatatype.CNAME, dns.rdatatype.SOA]


@pytest.mark.parametrize(
    ("name", "rdtype", "rcode"),
    [
        ("nowhere.lab", "A", dns.rcode.NXDOMAIN),
        ("example.com", "A", dns.rcode.NXDOMAIN),
        ("lab", "A", dns.rcode.NOERROR),
        ("wild.lab", "A", dns.rcode.NOERROR),
        ("example.lab", "SRV", dns.rcode.NOERROR),
        ("x.wild.lab", "AAAA", dns.rcode.NOERROR),
        ("example.lab", "ANY", dns.rcode.NOERROR),
    ],
)
def test_negative_answer_has_soa(name, rdtype, rcode):
    """RFC 2308 s3: NXDOMAIN where nothing exists, NODATA where something does, the SOA with both."""
    response = ask(name, rdtype)
    assert (response.rcode(), response.answer) == (rcode, [])
    assert [rrset.rdtype for rrset in response.authority] == [dns.rdatatype.SOA]


@pytest.mark.parametrize(("name", "size"), [("big.lab", 16 * 249), ("huge.lab", 240 * 249)])
def test_long_answer_is_whole(name, size):
    """The servers speak over streams: an answer is never truncated here, only by the resolver for its clients."""
    response = ask(name, "TXT")
    assert not response.flags & dns.flags.TC
    assert sum(len(b"".join(item.strings)) for item in response.answer[0]) == size


@pytest.mark.parametrize(("name", "rdtype"), [("example.lab", "A"), ("big.lab", "TXT")])
def test_same_query_same_answer(name, rdtype):
    """Records keep the order of the zone."""
    wire = dns.message.make_query(name, rdtype).to_wire()
    assert len({ZONE.answer(wire) for _ in range(20)}) == 1


def test_edns_only_where_it_was_asked_for():
    """RFC 6891 s6.1.1: an OPT answers an OPT; the DO bit is copied (RFC 3225 s3)."""
    assert ask("example.lab", use_edns=False).edns == -1
    assert not ask("example.lab", use_edns=0).ednsflags & dns.flags.DO
    assert ask("example.lab", want_dnssec=True).ednsflags & dns.flags.DO


def test_padded_query_gets_padded_answer():
    """RFC 8467 s4.1: the answer is a multiple of 468 octets where the query was padded."""
    query = dns.message.make_query("example.lab", "A", use_edns=0, pad=128)
    assert len(ZONE.answer(query.to_wire())) == 468


def test_later_edns_version_is_refused():
    """RFC 6891 s6.1.3: BADVERS to a version that is not spoken."""
    assert ask("example.lab", use_edns=1).rcode() == dns.rcode.BADVERS


def test_other_class_is_refused():
    """The zone is of class IN."""
    assert ask("example.lab", rdclass="CH").rcode() == dns.rcode.REFUSED


@pytest.mark.parametrize("opcode", [dns.opcode.NOTIFY, dns.opcode.UPDATE, dns.opcode.STATUS])
def test_other_opcode_is_not_implemented(opcode):
    """Only queries are answered, and the reply bears the opcode that came."""
    query = dns.message.make_query("example.lab", "A", use_edns=False)
    query.set_opcode(opcode)
    response = dns.message.from_wire(ZONE.answer(query.to_wire()))
    assert (response.rcode(), response.opcode(), response.id) == (dns.rcode.NOTIMP, opcode, query.id)


def test_response_is_not_answered():
    """A response begets no response, or two servers would talk for ever."""
    query = dns.message.make_query("example.lab", "A")
    query.flags |= dns.flags.QR
    assert ZONE.answer(query.to_wire()) is None


@given(st.binary(max_size=80), st.integers(0, 60), st.integers(0, 255))
@example(b"", 0, 0)
@example(bytes(12), 0, 0)
def test_junk_never_raises(junk, position, octet):
    """Any octets, and any query with one octet changed and something behind it, get an answer or silence."""
    query = bytearray(dns.message.make_query("example.lab", "A", use_edns=0, pad=64, id=7).to_wire())
    query[position] = octet
    for wire in (junk, bytes(query), bytes(query) + junk, bytes(query[:position]) + junk):
        answer = ZONE.answer(wire)
        assert answer is None or (answer[:2] == wire[:2] and answer[2] & 0x80)
        assert answer is not None or len(wire) < 12 or wire[2] & 0x80
