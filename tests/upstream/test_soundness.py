"""What an answer is worth, by its octets."""

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.upstream.soundness import Worth, is_sound, worth
from stubresolver.wire import Query
from stubresolver.wire.edns import upstream_query


def asked(name="www.Example.com.", kind="A"):
    """What goes upstream for a client's query."""
    return upstream_query(Query(dns.message.make_query(name, kind).to_wire()))


QUERY = asked()


def answered(query=QUERY, rcode="NOERROR", codes=(), *, edns=True):
    response = dns.message.make_response(dns.message.from_wire(query))
    response.set_rcode(dns.rcode.from_text(rcode))
    response.use_edns(0 if edns else False, options=[dns.edns.EDEOption(code, "why") for code in codes])
    return response.to_wire()


@pytest.mark.parametrize("rcode", ["NOERROR", "NXDOMAIN"])
@pytest.mark.parametrize("name", [".", "a.", "www.example.com.", "\\000\\000).example.", "x" * 63 + ".example."])
def test_answer_that_speaks_of_the_name_is_sound(name, rcode):
    """Whatever octets are in the name, be they those that an OPT record begins with."""
    query = asked(name)
    assert is_sound(query, answered(query, rcode))
    assert worth(query, answered(query, rcode)) is Worth.SOUND


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "NOTIMP", "FORMERR"])
@pytest.mark.parametrize("edns", [False, True])
def test_failure_may_be_asked_elsewhere(rcode, edns):
    """It speaks of the server."""
    wire = answered(rcode=rcode, edns=edns)
    assert not is_sound(QUERY, wire)
    assert worth(QUERY, wire) is Worth.FAILURE


@pytest.mark.parametrize("code", range(32))
def test_what_dnssec_refutes_is_final(code):
    """RFC 8914 s4.7 to s4.13: every validator finds the same; alone or among other extended errors."""
    expected = Worth.FINAL if 6 <= code <= 12 else Worth.FAILURE
    assert worth(QUERY, answered(rcode="SERVFAIL", codes=[code])) is expected
    assert worth(QUERY, answered(rcode="SERVFAIL", codes=[22, code])) is expected


def test_extended_error_changes_nothing_about_an_answer():
    """RFC 8914 s2 allows them in any response, be its RCODE NOERROR; and an answer is an answer."""
    assert worth(QUERY, answered(codes=[6])) is Worth.SOUND


@pytest.mark.parametrize("other", ["www.example.org.", "example.com.", ".", "www.example.com.example.com."])
def test_answer_to_another_question_is_a_violation(other):
    """Whatever its RCODE says; another type is another question, too."""
    for foreign in (answered(asked(other)), answered(asked(other), "SERVFAIL"), answered(asked(kind="AAAA"))):
        wire = QUERY[:2] + foreign[2:]
        assert not is_sound(QUERY, wire)
        assert worth(QUERY, wire) is Worth.VIOLATION


def test_case_of_the_question_is_nobodys_business():
    """RFC 4343 s3."""
    wire = answered(asked("www.example.com."))
    shouted = wire[:12] + wire[12:].replace(b"example", b"EXAMPLE")
    assert worth(QUERY, shouted) is Worth.SOUND


def test_answer_without_question():
    """A bare header is a failure where it says so, else no answer."""
    header = answered(rcode="SERVFAIL")[:4] + bytes(8)
    assert worth(QUERY, header) is Worth.FAILURE
    header = answered()[:4] + bytes(8)
    assert not is_sound(QUERY, header)
    assert worth(QUERY, header) is Worth.VIOLATION


@given(st.binary(min_size=12, max_size=200))
def test_any_octets_have_a_worth(octets):
    """Nothing raises, and what stands behind the question does not change what the RCODE says."""
    worth(QUERY, octets)
    is_sound(QUERY, octets)
    for rcode in ("SERVFAIL", "NOERROR"):
        wire = answered(rcode=rcode)
        assert worth(QUERY, wire + octets) is worth(QUERY, wire)
        assert worth(QUERY, wire[:30] + octets) in Worth


@given(st.integers(12, 60), st.integers(0, 255))
def test_broken_extended_errors_say_nothing(position, octet):
    """An OPT record that is not whole, or lies about its length, makes no failure final by accident or raises."""
    wire = bytearray(answered(rcode="SERVFAIL", codes=[6]))
    wire[min(position, len(wire) - 1)] = octet
    assert worth(QUERY, bytes(wire)) in {Worth.FINAL, Worth.FAILURE, Worth.VIOLATION}
