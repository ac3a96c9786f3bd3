"""Names that are answered here."""

import dns.flags
import dns.message
import dns.name
import dns.reversename
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stubresolver.resolve.local import local_reply
from stubresolver.wire.query import Query


def ask(name, kind="A", **edns):
    """The parsed local reply, None where the query goes upstream."""
    edns.setdefault("use_edns", 0)
    reply = local_reply(Query(dns.message.make_query(name, kind, id=9, **edns).to_wire()))
    return None if reply is None else dns.message.from_wire(reply)


@pytest.mark.parametrize("name", ["localhost", "LocalHost", "a.b.localhost"])
@pytest.mark.parametrize(("kind", "address"), [("A", "127.0.0.1"), ("AAAA", "::1")])
def test_localhost(name, kind, address):
    """The name localhost and all below it are the loopback addresses (RFC 6761 s6.3)."""
    reply = ask(name, kind)
    assert reply.id == 9
    assert reply.rcode() == 0
    assert str(reply.question[0].name) == name + "."
    assert str(reply.answer[0].name) == name + "."
    assert [str(rdata) for rdata in reply.answer[0]] == [address]


def test_localhost_has_nothing_else():
    """Other types of localhost are empty, with an SOA record for the cache."""
    reply = ask("a.localhost", "MX")
    assert (reply.rcode(), reply.answer) == (0, [])
    assert str(reply.authority[0].name) == "localhost."


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_loopback_reverse(address):
    """PTR of the loopback addresses is localhost."""
    reply = ask(dns.reversename.from_address(address), "PTR")
    assert [str(rdata) for rdata in reply.answer[0]] == ["localhost."]


def test_other_loopback_reverse():
    """PTR of other names under 127.in-addr.arpa is empty and denies nothing that exists."""
    for name in ("2.0.0.127.in-addr.arpa", "0.127.in-addr.arpa", "127.in-addr.arpa"):
        reply = ask(name, "PTR")
        assert (reply.rcode(), reply.answer) == (0, [])


@pytest.mark.parametrize(
    "name",
    ["invalid", "x.invalid", "x.test", "printer.local", "LOCAL", "abc.onion", "onion", "nas.home.arpa"]
    + [
        dns.reversename.from_address(address).to_text()
        for address in (
            "0.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.1",
            "192.168.1.1",
            "169.254.1.1",
            "100.64.0.1",
            "100.127.255.1",
            "192.0.2.1",
            "198.51.100.1",
            "203.0.113.1",
            "fd00::1",
            "fe80::1",
            "febf::1",
            "2001:db8::1",
        )
    ],
)
def test_absent(name):
    """Names of no global meaning do not exist, with the SOA record of RFC 6303 s3."""
    reply = ask(name, "PTR")
    assert reply.rcode() == 3
    assert reply.answer == []
    (soa,) = reply.authority
    assert soa.ttl == soa[0].minimum == 10800
    assert dns.name.from_text(name).is_subdomain(soa.name)
    assert str(soa[0].rname) == "nobody.invalid."


@pytest.mark.parametrize("name", ["resolver.arpa", "_dns.resolver.arpa", "home.arpa", "10.in-addr.arpa"])
def test_empty(name):
    """A locally served zone's top, and all of resolver.arpa (RFC 9462 s4), exist and are empty."""
    reply = ask(name, "SVCB")
    assert (reply.rcode(), reply.answer) == (0, [])
    assert len(reply.authority) == 1


@pytest.mark.parametrize(
    "name",
    [
        ".",
        "arpa",
        "in-addr.arpa",
        "172.in-addr.arpa",
        "1.15.172.in-addr.arpa",
        "1.32.172.in-addr.arpa",
        "1.63.100.in-addr.arpa",
        "1.128.100.in-addr.arpa",
        "8.8.8.8.in-addr.arpa",
        "110.in-addr.arpa",
        "example.com",
        "mylocalhost",
        "localhost.example.com",
        "local.com",
        "xlocal",
        dns.name.Name([b"x\x05local", b""]),
        dns.name.Name([b"x\x04home\x04arpa", b""]),
    ],
)
def test_goes_upstream(name):
    """Names that only look alike go upstream, also those whose labels hold the octets of a special name."""
    assert ask(name, "PTR") is None


def test_ds_of_a_zone_goes_to_its_parent():
    """DS at the top of a zone belongs to the parent (RFC 4035 s3.1.4.1); below the top it stays here."""
    assert ask("10.in-addr.arpa", "DS") is None
    assert ask("1.10.in-addr.arpa", "DS").rcode() == 3


def test_edns_as_asked():
    """The reply has an OPT record, DO and CD as the query had."""
    assert ask("localhost", use_edns=False).edns == -1
    reply = ask("localhost", want_dnssec=True, flags=dns.flags.RD | dns.flags.CD)
    assert reply.ednsflags == 0x8000
    assert reply.flags & 0xFFF0 == dns.flags.QR | dns.flags.RD | dns.flags.RA | dns.flags.CD


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=4), st.sampled_from(["localhost", "onion", "10.in-addr.arpa"])
)
def test_everything_below(labels, zone):
    """Whatever stands before a special name is answered here, within 512 octets."""
    name = dns.name.Name([*labels, *dns.name.from_text(zone).labels])
    query = Query(dns.message.make_query(name, "TXT", use_edns=0, payload=512).to_wire())
    reply = local_reply(query)
    assert len(reply) <= 512
    assert dns.message.from_wire(reply).question[0].name == name
