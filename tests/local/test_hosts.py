"""Hosts files: what a line gives, what a name without a record of a type answers, what is told and skipped."""

from ipaddress import ip_address

import dns.name
import dns.reversename
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stubresolver.local import LocalKnowledge, merge_hosts, parse_hosts
from stubresolver.local.hosts import address_of
from stubresolver.local.names import zone_name
from stubresolver.wire.query import Query

FILE = b"""\
127.0.0.1\tlocalhost
127.0.1.1  box.lan Box   # this machine
10.0.0.5 nas nas.lan
fd00::5 nas
::1 localhost ip6-localhost ip6-loopback
10.0.0.5 files
"""


@pytest.fixture
def ask(query, read):
    """The reply by a hosts file of this text."""

    def ask(text, name, kind="A"):
        return read(LocalKnowledge(hosts=parse_hosts(text, "hosts")).reply(query(name, kind)))

    return ask


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("box.lan", "A", ["127.0.1.1"]),
        ("BOX", "A", ["127.0.1.1"]),
        ("nas", "A", ["10.0.0.5"]),
        ("nas", "AAAA", ["fd00::5"]),
        ("files", "A", ["10.0.0.5"]),
        ("ip6-loopback", "AAAA", ["::1"]),
    ],
)
def test_each_name_of_a_line_has_its_address(ask, name, kind, expected):
    """Canonical names and aliases, in any case, have the addresses of their lines, for a minute."""
    reply = ask(FILE, name, kind)
    assert [str(rdata) for rdata in reply.answer[0]] == expected
    assert reply.answer[0].ttl == 60
    assert reply.ede == []


@pytest.mark.parametrize("kind", ["AAAA", "MX", "HTTPS", "TXT"])
def test_name_without_a_record_of_that_type_is_empty(ask, kind):
    """A name of a hosts file is answered here whole: other types are NODATA with an SOA record, never upstream's."""
    reply = ask(FILE, "nas.lan", kind)
    assert (reply.rcode(), reply.answer) == (0, [])
    assert str(reply.authority[0].name) == "nas.lan."
    assert reply.authority[0][0].minimum == 60


def test_names_around_a_name_go_upstream(ask):
    """Neither what is above a name nor what is below it is known here."""
    assert ask(FILE, "lan") is None
    assert ask(FILE, "x.nas") is None


@pytest.mark.parametrize(("address", "name"), [("10.0.0.5", "nas."), ("fd00::5", "nas."), ("127.0.1.1", "box.lan.")])
def test_address_has_the_first_name_of_its_first_line(ask, address, name):
    """PTR of an address is the canonical name; other types of it are empty."""
    reverse = dns.reversename.from_address(address)
    assert [str(rdata) for rdata in ask(FILE, reverse, "PTR").answer[0]] == [name]
    assert ask(FILE, reverse, "A").answer == []


def test_localhost_is_loopback_whatever_the_file_says(ask):
    """RFC 6761 s6.3 leaves a file no say about localhost; nor about the names of the loopback addresses."""
    text = b"192.168.7.7 localhost x.localhost other\n::1 evil.example\n"
    assert [str(rdata) for rdata in ask(text, "localhost").answer[0]] == ["127.0.0.1"]
    assert [str(rdata) for rdata in ask(text, "x.localhost").answer[0]] == ["127.0.0.1"]
    assert [str(rdata) for rdata in ask(text, "other").answer[0]] == ["192.168.7.7"]
    assert [str(rdata) for rdata in ask(text, dns.reversename.from_address("::1"), "PTR").answer[0]] == ["localhost."]


def test_file_goes_before_special_names(ask):
    """Who writes a special name into the file means it."""
    assert [str(rdata) for rdata in ask(b"10.0.0.9 printer.local", "printer.local").answer[0]] == ["10.0.0.9"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"10.0.0.256 a", "'10.0.0.256' is no IP address"),
        (b"10.0.0 a", "'10.0.0' is no IP address"),
        (b"010.0.0.1 a", "'010.0.0.1' is no IP address"),
        (b"fe80::1%eth0 a", "'fe80::1%eth0' is no IP address that a record can hold"),
        (b"fe80::g a", "no IP address"),
        (b"nas 10.0.0.1", "'nas' is no IP address"),
        (b"10.0.0.1", "an address without a name"),
        ("10.0.0.1 bücher.lan".encode(), "is no host name"),
        (b"10.0.0.1 " + b"a" * 64, "is no host name"),
        (b"10.0.0.1 " + b".".join([b"a" * 60] * 5), "is no host name"),
        (b"10.0.0.1 a..b", "'a..b' is no host name"),
        (b"\x7fELF\x02\x01 \x00\xff", "is no IP address"),
    ],
)
def test_bad_line_is_told_and_skipped(line, words):
    """A line that cannot be used is named with file and number; the others hold."""
    hosts = parse_hosts(b"10.0.0.1 before\n" + line + b"\n10.0.0.1 after\n", "/etc/hosts")
    (problem,) = hosts.problems
    assert problem.startswith("/etc/hosts:2: ")
    assert words in problem
    assert {zone_name("before"), zone_name("after")} == set(hosts.addresses)


def test_many_bad_lines_are_counted():
    """A file that is none is told in a few lines, not in as many as it has."""
    hosts = parse_hosts(b"x\n" * 5000, "hosts")
    assert len(hosts.problems) == 21
    assert hosts.problems[-1] == "hosts: 4980 more lines like these"


def test_files_add_up():
    """A name has the addresses of all files, each once; an address the name of the first."""
    merged = merge_hosts([parse_hosts(b"10.0.0.1 a b\n", "one"), parse_hosts(b"10.0.0.2 a\n10.0.0.1 c a\nx y", "two")])
    assert merged.addresses[zone_name("a")] == (bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2)))
    assert merged.names[bytes((10, 0, 0, 1))] == zone_name("a")
    assert len(merged.problems) == 1


def test_name_with_many_addresses_is_whole_over_tcp(query, read):
    """More records than a datagram holds are truncated there, whole RRsets or nothing, and complete over TCP."""
    text = b"".join(b"10.0.%d.%d many\n" % divmod(number, 256) for number in range(1000))
    known = LocalKnowledge(hosts=parse_hosts(text, "hosts"))
    asked = query("many")
    assert len(known.reply(asked)) <= 1232
    assert len(read(known.reply(Query(asked.wire, tcp=True))).answer[0]) == 1000


def test_addresses_of_a_name_are_bounded():
    """A file of a million addresses for one name costs no more than its lines, and is told."""
    text = b"".join(b"10.%d.%d.%d many\n" % (number >> 16, number >> 8 & 255, number & 255) for number in range(20_000))
    hosts = parse_hosts(text, "hosts")
    assert len(hosts.addresses[zone_name("many")]) == 1000
    assert "'many' has 1,000 addresses already" in hosts.problems[0]


@settings(deadline=None)
@given(st.ip_addresses())
def test_every_address_is_found_by_its_reverse_name(address):
    """The reverse name of any address leads back to it."""
    assert address_of(zone_name(address.reverse_pointer)) == address.packed


@given(st.lists(st.binary(max_size=20), max_size=40), st.sampled_from(["in-addr.arpa", "ip6.arpa", "arpa"]))
def test_no_other_name_is_an_address(labels, zone):
    """Whatever the labels, there is one address or none."""
    try:
        name = dns.name.Name([*filter(None, labels), *dns.name.from_text(zone).labels])
    except dns.name.NameTooLong:
        return
    address = address_of(name.to_wire().lower())
    if address is not None:
        assert zone_name(ip_address(address).reverse_pointer) == name.to_wire().lower()


@settings(max_examples=300)
@given(st.binary(max_size=400))
def test_any_octets_are_a_hosts_file(octets):
    """No file raises, whatever is in it, and every problem is one line of text."""
    hosts = parse_hosts(octets, "f")
    assert all(problem.isprintable() for problem in hosts.problems)
    assert all(len(address) in (4, 16) for found in hosts.addresses.values() for address in found)
