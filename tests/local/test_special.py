"""Special-use names: what each zone answers, why, and which queries are none of ours."""

import dns.flags
import dns.message
import dns.name
import dns.reversename
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stubresolver.errors import BadInput
from stubresolver.local import LocalKnowledge, SpecialNames
from stubresolver.local.names import zone_set
from stubresolver.local.special import DEFAULTS, SWITCHES
from stubresolver.wire.query import Query


@pytest.fixture
def ask(query, read):
    """The parsed local reply, None where the query goes upstream."""

    def ask(name, kind="A", special=None, **edns):
        return read(LocalKnowledge(special=special).reply(query(name, kind, **edns)))

    return ask


@pytest.mark.parametrize("name", ["localhost", "LocalHost", "a.b.localhost"])
@pytest.mark.parametrize(("kind", "address"), [("A", "127.0.0.1"), ("AAAA", "::1")])
def test_localhost(ask, name, kind, address):
    """The name localhost and all below it are the loopback addresses (RFC 6761 s6.3)."""
    reply = ask(name, kind)
    assert reply.id == 9
    assert reply.rcode() == 0
    assert str(reply.question[0].name) == name + "."
    assert str(reply.answer[0].name) == name + "."
    assert [str(rdata) for rdata in reply.answer[0]] == [address]
    assert reply.ede == [(29, "localhost: RFC 6761 s6.3")]


def test_localhost_has_nothing_else(ask):
    """Other types of localhost are empty, with an SOA record for the cache."""
    reply = ask("a.localhost", "MX")
    assert (reply.rcode(), reply.answer) == (0, [])
    assert str(reply.authority[0].name) == "localhost."


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_loopback_reverse(ask, address):
    """PTR of the loopback addresses is localhost."""
    reply = ask(dns.reversename.from_address(address), "PTR")
    assert [str(rdata) for rdata in reply.answer[0]] == ["localhost."]


def test_other_loopback_reverse(ask):
    """PTR of other names under 127.in-addr.arpa is empty and denies nothing that exists."""
    for name in ("2.0.0.127.in-addr.arpa", "0.127.in-addr.arpa", "127.in-addr.arpa"):
        reply = ask(name, "PTR")
        assert (reply.rcode(), reply.answer) == (0, [])


@pytest.mark.parametrize(
    "name",
    ["invalid", "x.invalid", "x.test", "printer.local", "LOCAL", "abc.onion", "onion", "nas.home.arpa", "a.b.alt"]
    + ["_ipps._tcp.default.service.arpa", "x.ipv4only.arpa"]
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
def test_absent(ask, name):
    """Names of no global meaning do not exist, with the SOA record of RFC 6303 s3 and the document that says so."""
    reply = ask(name, "PTR")
    assert reply.rcode() == 3
    assert reply.answer == []
    (soa,) = reply.authority
    assert soa.ttl == soa[0].minimum == 10800
    assert dns.name.from_text(name).is_subdomain(soa.name)
    assert str(soa[0].rname) == "nobody.invalid."
    ((code, text),) = reply.ede
    assert code == 29
    assert ": RFC " in text


@pytest.mark.parametrize(
    "name", ["resolver.arpa", "_dns.resolver.arpa", "home.arpa", "10.in-addr.arpa", "service.arpa", "ipv4only.arpa"]
)
def test_empty(ask, name):
    """A locally served zone's top, and all of resolver.arpa (RFC 9462 s4), exist and are empty."""
    reply = ask(name, "SVCB")
    assert (reply.rcode(), reply.answer) == (0, [])
    assert len(reply.authority) == 1


@pytest.mark.parametrize("name", ["10.in-addr.arpa", "127.in-addr.arpa", "D.F.ip6.arpa", "home.arpa", "ipv4only.arpa"])
def test_top(ask, name):
    """The top of a locally served zone has SOA and NS records (RFC 6303 s3), and is named in the reason."""
    for kind, told in (("SOA", f"{name}. nobody.invalid. 1 3600 1200 604800 10800"), ("NS", f"{name}.")):
        reply = ask(name, kind)
        assert [str(rdata).lower() for rdata in reply.answer[0]] == [told.lower()]
        assert reply.ede[0][1].startswith(f"{name.lower()}: RFC ")
    assert [str(rrset[0].mname) for rrset in ask(f"x.{name}", "SOA").authority] == [f"{name}."]


@pytest.mark.parametrize("name", ["localhost", "test", "resolver.arpa"])
def test_no_top(ask, name):
    """What has nothing but what its document names, or does not exist, is no zone either."""
    assert ask(name, "SOA").answer == ask(name, "NS").answer == []


def test_nat64_discovery(ask):
    """ipv4only.arpa has its two addresses and, without NAT64, no AAAA (RFC 8880 s7.1)."""
    assert sorted(map(str, ask("ipv4only.arpa").answer[0])) == ["192.0.0.170", "192.0.0.171"]
    assert ask("ipv4only.arpa", "AAAA").answer == []


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
        "example",
        "example.com",
        "mylocalhost",
        "localhost.example.com",
        "local.com",
        "xlocal",
        "use-application-dns.net",
        "mask.icloud.com",
        dns.name.Name([b"x\x05local", b""]),
        dns.name.Name([b"x\x04home\x04arpa", b""]),
    ],
)
def test_goes_upstream(ask, name):
    """Names that only look alike go upstream, also those whose labels hold the octets of a special name."""
    assert ask(name, "PTR") is None


@pytest.mark.parametrize("zone", ["10.in-addr.arpa", "home.arpa", "service.arpa", "resolver.arpa"])
def test_ds_of_a_zone_goes_to_its_parent(ask, zone):
    """DS at the top of a zone belongs to the parent (RFC 4035 s3.1.4.1); below the top it stays here."""
    assert ask(zone, "DS") is None
    assert ask("1." + zone, "DS") is not None


def test_edns_as_asked(ask):
    """The reply has an OPT record, DO and CD as the query had; without one no extended error either."""
    assert ask("localhost", use_edns=False).edns == -1
    reply = ask("localhost", want_dnssec=True, flags=dns.flags.RD | dns.flags.CD)
    assert reply.ednsflags == 0x8000
    assert reply.flags & 0xFFF0 == dns.flags.QR | dns.flags.RD | dns.flags.RA | dns.flags.CD


@pytest.mark.parametrize("switch", sorted({switch.name for switch in SWITCHES}))
def test_each_switch_turns_its_zones(ask, switch):
    """Every zone has a switch, which turns it and no other zone on or off."""
    special = SpecialNames({switch: not DEFAULTS[switch]})
    for entry in SWITCHES:
        for zone in entry.zones:
            expected = entry.default ^ (entry.name == switch)
            assert (ask(zone, "TXT", special) is not None) == expected, zone


def test_canary_is_absent_where_it_is_asked_for(ask):
    """The names by which programs are told to leave the system's resolver in place say that somebody filters here."""
    special = SpecialNames({"use-application-dns.net": True, "mask.icloud.com": True})
    for name in ("use-application-dns.net", "mask.icloud.com", "mask-h2.icloud.com"):
        reply = ask(name, "A", special)
        assert reply.rcode() == 3
        assert [code for code, _ in reply.ede] == [17]
    assert ask("icloud.com", "A", special) is None


def test_unknown_switch_is_an_error():
    """A slip in a name is told with the names that there are."""
    with pytest.raises(BadInput, match="'onoin' is no special name, expected one of localhost, "):
        SpecialNames({"onoin": False})


def test_forwarded_zone_takes_precedence(ask):
    """A zone with its own server is not answered by rule: whole, or a part of a special one."""
    special = SpecialNames(forwarded=zone_set(["home.arpa", "1.10.in-addr.arpa", "arpa.test"]))
    assert ask("nas.home.arpa", "A", special) is None
    assert ask("5.1.10.in-addr.arpa", "PTR", special) is None
    assert ask("5.2.10.in-addr.arpa", "PTR", special).rcode() == 3
    assert ask("x.test", "A", special).rcode() == 3


def test_localhost_is_forwarded_to_nobody(ask):
    """RFC 6761 s6.3, also where the zone above the reverse names of loopback has its own server."""
    special = SpecialNames(forwarded=zone_set(["arpa", "in-addr.arpa", "ip6.arpa"]))
    assert str(ask("1.0.0.127.in-addr.arpa", "PTR", special).answer[0][0]) == "localhost."
    assert ask("9.9.9.127.in-addr.arpa", "PTR", special).rcode() == 0
    assert ask("5.0.0.10.in-addr.arpa", "PTR", special) is None


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=4),
    st.sampled_from(["localhost", "onion", "10.in-addr.arpa", "mask-h2.icloud.com"]),
)
def test_everything_below(labels, zone):
    """Whatever stands before a special name is answered here, within 512 octets."""
    name = dns.name.Name([*labels, *dns.name.from_text(zone).labels])
    query = Query(dns.message.make_query(name, "TXT", use_edns=0, payload=512).to_wire())
    special = SpecialNames({"mask.icloud.com": True})
    reply = LocalKnowledge(special=special).reply(query)
    assert len(reply) <= 512
    message = dns.message.from_wire(reply)
    assert message.question[0].name == name
    assert len(message.authority) == 1
