"""Dig and kdig get right answers through the resolver from unbound, knot-resolver and dnsdist, by DoT and by DoH."""

import pytest

from tests.interop.clients import ask, ask_all
from tests.interop.peers import BIG, HUGE

ADDRESSES = [("example.lab", "A", "192.0.2.1"), ("example.lab", "A", "192.0.2.2")]


def quoted(strings):
    return " ".join(f'"{text}"' for text in strings)


@pytest.mark.parametrize(
    "how",
    [
        ["+notcp"],
        ["+tcp"],
        ["+noedns"],
        ["+bufsize=512"],
        ["+dnssec"],
        ["+cookie=0123456789abcdef"],
        ["+subnet=198.51.100.0/24"],
        ["+ednsopt=65001:c0ffee"],
        ["+nsid"],
        ["+cdflag"],
    ],
    ids=" ".join,
)
def test_addresses(resolver, tool, how):
    """However a client asks, it gets both addresses, by the transport that it chose."""
    reply = ask(tool, resolver.port, *how, "example.lab", "A")
    assert (reply.status, sorted(reply.records())) == ("NOERROR", ADDRESSES)
    assert {"qr", "rd", "ra"} <= reply.flags
    assert not {"aa", "tc"} & reply.flags
    assert reply.over_tcp == ("+tcp" in how)
    assert reply.dnssec_ok == ("+dnssec" in how)


@pytest.mark.parametrize(
    ("how", "edns"), [("+noedns", False), ("+bufsize=512", True), ("+dnssec", True), ("+padding=128", True)]
)
@pytest.mark.parametrize("name", ["example.lab", "nowhere.lab", "localhost"])
def test_edns_is_answered_with_edns(resolver, tool, name, how, edns):
    """RFC 6891 s6.1.1: an OPT record in the answer if there was one in the query, and only then."""
    assert ask(tool, resolver.port, how, name, "A").edns == edns


@pytest.mark.parametrize(
    ("name", "kind", "records"),
    [
        ("example.lab", "AAAA", [("example.lab", "AAAA", "2001:db8::1")]),
        ("example.lab", "MX", [("example.lab", "MX", "10 mail.example.lab.")]),
        ("any.wild.lab", "A", [("any.wild.lab", "A", "192.0.2.80")]),
        ("example.lab", "SRV", []),
    ],
)
def test_other_types(resolver, tool, name, kind, records):
    """Each type comes as the upstream has it; none at all is NOERROR without records (RFC 2308 s2.2)."""
    reply = ask(tool, resolver.port, name, kind)
    assert (reply.status, reply.records()) == ("NOERROR", records)


@pytest.mark.parametrize("how", [["+notcp"], ["+tcp"], ["+noedns"], ["+dnssec"]], ids=" ".join)
def test_name_that_does_not_exist(resolver, tool, how):
    """NXDOMAIN keeps its SOA, by which the client caches it (RFC 2308 s3)."""
    reply = ask(tool, resolver.port, *how, "nowhere.lab", "A")
    assert (reply.status, reply.records()) == ("NXDOMAIN", [])
    ((owner, kind, data),) = reply.records("AUTHORITY")
    assert (owner, kind, data.split()[:2]) == ("", "SOA", ["dns.lab.", "people.lab."])


@pytest.mark.parametrize("name", ["ExAmPlE.lAb", "EXAMPLE.LAB", "example.lab"])
def test_letter_case_survives(resolver, tool, name):
    """The question comes back in the letters of the client, which may check them ("0x20" against spoofing)."""
    reply = ask(tool, resolver.port, name, "A")
    assert reply.question == name
    assert {owner for owner, _, _ in reply.records()} == {name}


@pytest.mark.parametrize("how", [[], ["+noedns"], ["+bufsize=4096"]], ids=" ".join)
@pytest.mark.parametrize(("name", "strings"), [("big.lab", BIG), ("huge.lab", HUGE)])
def test_large_answer(resolver, tool, name, strings, how):
    """What does not fit a datagram is truncated; the client asks again by TCP and gets all of it (RFC 7766 s5)."""
    reply = ask(tool, resolver.port, *how, name, "TXT")
    assert reply.over_tcp
    assert reply.records() == [(name, "TXT", quoted(strings))]


def test_truncated_answer(resolver, tool):
    """A client that takes the truncated answer for good sees the TC bit, and no half of an answer."""
    reply = ask(tool, resolver.port, "+ignore", "big.lab", "TXT")
    assert "tc" in reply.flags
    assert (reply.over_tcp, reply.status, reply.records()) == (False, "NOERROR", [])


def test_many_queries_on_one_connection(resolver, tool):
    """A TCP connection that the client keeps open carries one query after another (RFC 7766 s6.2.1)."""
    names = [f"keep{number}.wild.lab" for number in range(8)]
    replies = ask_all(tool, resolver.port, "+tcp", "+keepopen", *names)
    assert [reply.records() for reply in replies] == [[(name, "A", "192.0.2.80")] for name in names]
    assert all(reply.over_tcp for reply in replies)


@pytest.mark.parametrize(
    ("how", "status"),
    [
        (["-c", "CH", "-t", "TXT", "-q", "version.bind"], "NOERROR"),
        (["-c", "CH", "-t", "TXT", "-q", "id.server"], "REFUSED"),
        (["-c", "HS", "example.lab"], "NOTIMP"),
        (["example.lab", "ANY"], "NOERROR"),
        (["+opcode=NOTIFY", "example.lab"], "NOTIMP"),
        (["+opcode=UPDATE", "example.lab"], "NOTIMP"),
        (["+header-only", "+nocookie", "example.lab"], "FORMERR"),
        (["+header-only", "+cookie", "example.lab"], "NOERROR"),  # RFC 7873 s5.4: a question for a cookie
        (["+edns=1", "+noednsnegotiation", "example.lab"], "BADVERS"),
        (["+edns=1", "example.lab"], "NOERROR"),  # dig asks again with the version that BADVERS names
        (["+ednsflags=0x4000", "example.lab"], "NOERROR"),
        (["+tcflag", "+zflag", "example.lab"], "NOERROR"),
        (["+tcp", "+keepalive", "example.lab"], "NOERROR"),
        (["example.lab", "TYPE65400"], "NOERROR"),
        ([r"sp\ ace\000.wild.lab", "A"], "NOERROR"),
        (["localhost", "AAAA"], "NOERROR"),
        (["-x", "192.168.1.1"], "NXDOMAIN"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_unusual_queries(resolver, need, how, status):
    """What few clients ask has an answer too, never silence."""
    need("dig")
    assert ask("dig", resolver.port, *how).status == status
