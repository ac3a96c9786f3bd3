"""Knowledge: what goes before what, and what takes the place of an upstream's answer."""

import dns.message
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stubresolver.errors import MalformedQuery
from stubresolver.local import (
    BlockLists,
    ListFile,
    LocalCounts,
    LocalKnowledge,
    RebindingGuard,
    SpecialNames,
    StaticRecords,
    parse_hosts,
)
from stubresolver.local.names import zone_set
from stubresolver.localfiles import parse_records
from stubresolver.wire.answer import Answer
from stubresolver.wire.query import Query

SECRET = b"secret"


def block(*lines: str) -> BlockLists:
    content = ListFile("ads.txt", SECRET)
    content.feed("\n".join(lines).encode())
    content.close()
    return BlockLists.build([(content, "nxdomain")], [], SECRET)


@pytest.fixture
def vet(query, answer, read):
    """What takes the place of an answer with these lines, read; None where it stands."""

    def vet(known, name, *lines, kind="A"):
        asked = query(name, kind)
        octets, sent = answer(asked, *lines)
        found = known.vet(asked, Answer.parse(octets, sent))
        return None if found is None else read(found.render(asked, 0))

    return vet


def test_order(query, read):
    """Records, hosts, special names, exceptions, lists; then the upstream."""
    known = LocalKnowledge(
        records=StaticRecords(parse_records("a.test. A 10.0.0.1")),
        hosts=parse_hosts(b"10.0.0.2 a.test b.test c.example", "hosts"),
        blocks=block("test", "example", "@@||free.example^"),
    )

    def said(name):
        reply = read(known.reply(query(name)))
        return reply and (str(reply.answer[0][0]) if reply.answer else reply.ede[0][0])

    expected = {"a.test": "10.0.0.1", "b.test": "10.0.0.2", "c.test": 29, "c.example": "10.0.0.2", "d.example": 17}
    assert {name: said(name) for name in expected} == expected
    assert said("free.example") is None
    assert said("example.com") is None


def test_private_address_of_a_public_name_is_withheld(vet):
    """The whole answer gives way to NODATA with extended error 15, which names the range."""
    known = LocalKnowledge(guard=RebindingGuard())
    reply = vet(known, "evil.example", "evil.example. 60 IN A 1.1.1.1", "evil.example. 60 IN A 192.168.1.1")
    assert (reply.rcode(), reply.answer) == (0, [])
    assert str(reply.authority[0].name) == "evil.example."
    ((code, text),) = reply.ede
    assert code == 15
    assert "192.168.0.0/16 (private, RFC 1918) for a public name" in text


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("AAAA", "x.example. 60 IN AAAA ::ffff:127.0.0.1"),
        ("AAAA", "x.example. 60 IN AAAA fd00::1"),
        ("HTTPS", "x.example. 60 IN HTTPS 1 . alpn=h2 ipv4hint=1.1.1.1,10.0.0.1"),
        ("HTTPS", "x.example. 60 IN HTTPS 1 . ipv6hint=fe80::1"),
        ("SVCB", "x.example. 60 IN SVCB 1 y.example. port=53 ipv4hint=127.0.0.1"),
    ],
)
def test_every_way_to_an_address_is_looked_at(vet, kind, line):
    """AAAA records and the hints of HTTPS and SVCB records (RFC 9460 s7.3) lead to an address as A does."""
    assert vet(LocalKnowledge(guard=RebindingGuard()), "x.example", line, kind=kind).ede[0][0] == 15


@pytest.mark.parametrize(
    ("name", "kind", "line"),
    [
        ("x.example", "A", "x.example. 60 IN A 1.1.1.1"),
        ("x.example", "TXT", "x.example. 60 IN TXT 10.0.0.1"),
        ("1.1.1.1.in-addr.arpa", "PTR", "1.1.1.1.in-addr.arpa. 60 IN PTR x.example."),
        ("x.example", "HTTPS", "x.example. 60 IN HTTPS 1 . ipv4hint=1.1.1.1"),
        ("x.example", "HTTPS", "x.example. 60 IN HTTPS 0 y.example."),
        ("a.plex.direct", "A", "a.plex.direct. 60 IN A 192.168.1.1"),
    ],
)
def test_other_answers_stand(vet, name, kind, line):
    """Public addresses, other types and names of an allowed zone are as the upstream said."""
    assert vet(LocalKnowledge(guard=RebindingGuard(zone_set(["plex.direct"]))), name, line, kind=kind) is None


def test_without_a_guard_private_addresses_stand(vet):
    """Protection is an option."""
    assert vet(LocalKnowledge(), "x.example", "x.example. 60 IN A 10.0.0.1") is None


def test_alias_to_an_allowed_zone_is_not_allowed(vet):
    """The name that was asked decides: anybody can point an alias at a zone that may have private addresses."""
    lines = ("evil.example. 60 IN CNAME a.plex.direct.", "a.plex.direct. 60 IN A 192.168.1.1")
    assert vet(LocalKnowledge(guard=RebindingGuard(zone_set(["plex.direct"]))), "evil.example", *lines) is not None


@pytest.mark.parametrize("section", ["authority", "additional"])
def test_rebinding_beside_the_answer(query, answer, section):
    """A private address beside the records that were asked for is one that a client may use (RFC 9460 s5)."""
    asked = query("www.example", "HTTPS")
    octets, sent = answer(asked, "www.example. 60 IN HTTPS 1 svc.example.")
    message = dns.message.from_wire(octets)
    getattr(message, section).append(dns.rrset.from_text("svc.example.", 60, "IN", "A", "192.168.1.1"))
    assert LocalKnowledge(guard=RebindingGuard()).vet(asked, Answer.parse(octets, sent)) is None
    assert LocalKnowledge(guard=RebindingGuard()).vet(asked, Answer.parse(message.to_wire(), sent)) is not None


def test_rebinding_is_counted_and_told_without_a_name(vet):
    """The 1st, 2nd, 4th, ... time is told: range and number, and nothing of the question."""
    told, counts = [], LocalCounts()
    known = LocalKnowledge(guard=RebindingGuard(), counts=counts, report=told.append)
    for _ in range(9):
        vet(known, "secret.example", "secret.example. 60 IN A 10.0.0.1")
    assert list(counts.rebinding.values()) == [9]
    assert [line.rsplit(" ", 3)[1] for line in told] == ["1", "2", "4", "8"]
    assert not any("secret" in line for line in told)


CLOAKED = ("www.shop.example. 60 IN CNAME t.ads.example.", "t.ads.example. 60 IN A 1.1.1.1")


def test_alias_that_leads_to_a_blocked_name_is_blocked(vet):
    """A tracker behind an alias of the site's own is answered as the tracker would be."""
    counts = LocalCounts()
    reply = vet(LocalKnowledge(blocks=block("ads.example"), counts=counts), "www.shop.example", *CLOAKED)
    assert reply.rcode() == 3
    assert reply.ede == [(17, "on the block list ads.txt")]
    assert str(reply.authority[0].name) == "www.shop.example."
    assert counts.blocked == 1


def test_alias_is_left_alone_where_the_person_says_so(vet):
    """By option, or by an exception for the name that was asked or for the one that it leads to."""
    assert vet(LocalKnowledge(blocks=block("ads.example"), block_aliases=False), "www.shop.example", *CLOAKED) is None
    for freed in ("shop.example", "t.ads.example"):
        known = LocalKnowledge(blocks=block("ads.example", f"@@||{freed}^"))
        assert vet(known, "www.shop.example", *CLOAKED) is None
    assert vet(LocalKnowledge(blocks=block("other.example")), "www.shop.example", *CLOAKED) is None


def test_withheld_answer_grows_old(query, answer, read):
    """Kept for a while, it is rendered with what is left of its minute."""
    asked = query("x.example")
    octets, sent = answer(asked, "x.example. 60 IN A 10.0.0.1")
    found = LocalKnowledge(guard=RebindingGuard()).vet(asked, Answer.parse(octets, sent))
    assert [read(found.render(asked, age)).authority[0].ttl for age in (0, 59, 61)] == [60, 1, 0]
    assert found.ttl == 60


def test_withheld_answer_without_edns(query, answer, read):
    """A client without EDNS gets the same answer without its reason."""
    asked = query("x.example", use_edns=False)
    octets, sent = answer(asked, "x.example. 60 IN A 10.0.0.1")
    found = LocalKnowledge(guard=RebindingGuard()).vet(asked, Answer.parse(octets, sent, edns=False))
    reply = read(found.render(asked, 0))
    assert (reply.rcode(), reply.answer, reply.edns) == (0, [], -1)


KNOWN = LocalKnowledge(
    special=SpecialNames({"mask.icloud.com": True}),
    records=StaticRecords(parse_records("a.b. A 10.0.0.1\nc.b. CNAME a.b.\nx. TXT y")),
    hosts=parse_hosts(b"10.0.0.2 b\n::5 a.c", "hosts"),
    blocks=block("c", "||b.a^", "@@||a.b.a^"),
    guard=RebindingGuard(),
)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80), st.lists(st.sampled_from([b"a", b"b", b"c", b"x", b"localhost", b"arpa"]), max_size=4))
def test_reply_never_raises(octets, labels):
    """Whatever a client asks, there is a reply that dnspython reads, or none."""
    name = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    kind = octets[:2].ljust(2, b"\1")
    try:
        query = Query(b"\0\1\1\0\0\1\0\0\0\0\0\0" + name + kind + b"\0\1")
    except MalformedQuery:
        return
    reply = KNOWN.reply(query)
    assert reply is None or dns.message.from_wire(reply).id == 1
