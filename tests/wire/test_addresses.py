"""addresses: what is asked for a name, and what of the answer counts; dnspython is the oracle."""

from ipaddress import ip_address

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.errors import MalformedAnswer, MalformedQuery
from stubresolver.wire import Answer, Failure, upstream_query
from stubresolver.wire.addresses import address_query, addresses_in
from stubresolver.wire.codes import AAAA, A

NAME = "www.Example.com"


def reply(kind: int, *records: tuple[str, int, str, str, str], rcode: int = 0, error: str = "") -> tuple[bytes, object]:
    """What the resolver gives back where an upstream answers with these records."""
    query = address_query(NAME, kind)
    asked = upstream_query(query)
    response = dns.message.make_response(dns.message.from_wire(asked))
    response.flags |= dns.flags.RA
    response.answer += [dns.rrset.from_text(*record) for record in records]
    response.set_rcode(rcode)
    if error:
        response.use_edns(0, options=[dns.edns.EDEOption(23, error)])
    return Answer.parse(response.to_wire(), asked).render(query, 0), query


def test_the_query_is_for_the_name() -> None:
    """One question of class IN, recursion desired, with EDNS so that reasons can come back."""
    message = dns.message.from_wire(address_query(NAME, AAAA).wire)
    assert [question.to_text() for question in message.question] == [f"{NAME}. IN AAAA"]
    assert message.flags == dns.flags.RD
    assert message.edns == 0


@pytest.mark.parametrize("name", ["", ".", "a..b", "a" * 64 + ".example", ".example", "example..", "a." * 127 + "bc"])
def test_what_is_no_host_name_is_not_asked(name) -> None:
    """RFC 1035 s2.3.4: labels of 1 to 63 octets, names of at most 255."""
    with pytest.raises(MalformedQuery):
        address_query(name, A)


def test_addresses_of_both_kinds_are_read_behind_an_alias() -> None:
    """An upstream follows the alias; every address in the answer section is one of the name."""
    alias = (f"{NAME}.", 60, "IN", "CNAME", "cdn.example.net.")
    found = addresses_in(*reply(A, alias, ("cdn.example.net.", 60, "IN", "A", "192.0.2.1"),
                                ("cdn.example.net.", 60, "IN", "A", "192.0.2.2")))  # fmt: skip
    assert found == [ip_address("192.0.2.1"), ip_address("192.0.2.2")]
    found = addresses_in(*reply(AAAA, alias, ("cdn.example.net.", 60, "IN", "AAAA", "2001:db8::1")))
    assert found == [ip_address("2001:db8::1")]


def test_a_name_without_addresses_has_none() -> None:
    """An empty answer is no failure."""
    assert addresses_in(*reply(A)) == []


def test_a_failure_is_told_with_its_reason() -> None:
    """NXDOMAIN, a refusal of our own and one of the upstream are told apart."""
    with pytest.raises(MalformedAnswer, match="the name does not exist"):
        addresses_in(*reply(A, rcode=dns.rcode.NXDOMAIN))
    with pytest.raises(MalformedAnswer, match="RCODE 5"):
        addresses_in(*reply(A, rcode=dns.rcode.REFUSED))
    with pytest.raises(MalformedAnswer, match="no upstream has an answer: DNSSEC bogus"):
        addresses_in(*reply(A, rcode=dns.rcode.SERVFAIL, error="DNSSEC bogus"))
    query = address_query(NAME, A)
    with pytest.raises(MalformedAnswer, match=r"no upstream has an answer: ct\.scts: 0 of 2"):
        addresses_in(Failure(0, "ct.scts: 0 of 2").render(query, 0), query)


@given(st.data())
def test_any_reply_is_read_or_refused(data) -> None:
    """Whatever is cut off or changed in a reply: addresses, or the one error."""
    octets, query = reply(A, (f"{NAME}.", 60, "IN", "A", "192.0.2.1"))
    start = data.draw(st.integers(0, len(octets)))
    changed = octets[:start] + data.draw(st.binary(max_size=20)) + octets[start + data.draw(st.integers(0, 8)) :]
    try:
        found = addresses_in(changed, query)
    except MalformedAnswer:
        return
    assert all(address.version in {4, 6} for address in found)
