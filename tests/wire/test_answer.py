"""Answers, with dnspython as oracle; and what no upstream may send."""

import struct
from ipaddress import ip_address

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stubresolver.errors import MalformedAnswer
from stubresolver.wire.answer import Answer
from stubresolver.wire.edns import upstream_query
from stubresolver.wire.query import Query

SOA = "ns.example. host.example. 1 2 3 4 {minimum}"


def ask(name="www.Example.com", kind="A", *, flags=dns.flags.RD, tcp=False, **edns):
    edns.setdefault("use_edns", 0)
    edns.setdefault("payload", 1232)
    return Query(dns.message.make_query(name, kind, id=0x1234, flags=flags, **edns).to_wire(), tcp=tcp)


def respond(query, *, answer=(), authority=(), additional=(), rcode=0, flags=dns.flags.RA, options=(), edns=True):
    """The wire of a response as an upstream would send it to what we would ask."""
    response = dns.message.make_response(dns.message.from_wire(upstream_query(query)))
    response.flags |= flags
    for section, texts in (
        (response.answer, answer),
        (response.authority, authority),
        (response.additional, additional),
    ):
        section += [dns.rrset.from_text(*text) if isinstance(text, tuple) else text for text in texts]
    if edns:
        response.use_edns(0, options=[*options, dns.edns.GenericOption(12, bytes(200))])
    else:
        response.use_edns(False)
    response.set_rcode(rcode)
    return response.to_wire(max_size=65535, want_shuffle=False)


def parse(query, **response):
    return Answer.parse(respond(query, **response), upstream_query(query), edns=query.has_edns)


A = ("www.example.com.", 300, "IN", "A", "192.0.2.1")


def raw(records, *, counts=(1, 0, 0), flags=0x8180, query=None):
    """A response of hand-made records to the query for www.example.com A."""
    wire = upstream_query(query or ask())
    end = Query(wire).end
    return wire[:2] + struct.pack(">HHHHH", flags, 1, *counts) + wire[12:end] + records


def record(*, owner=b"\xc0\x0c", kind=1, klass=1, ttl=60, rdata=b"\xc0\0\2\1", length=None):
    return owner + struct.pack(">HHIH", kind, klass, ttl, len(rdata) if length is None else length) + rdata


def led_to(rrsets, alias):
    """The RRsets as an answer section: at the question's name, or at the name that its alias leads to."""
    owner = "b.example." if alias else "www.example.com."
    found = [
        dns.rrset.from_rdata_list(owner, rrset.ttl, list(rrset))
        for rrset in rrsets
        if rrset.rdtype not in {dns.rdatatype.CNAME, dns.rdatatype.DNAME}
    ]
    return [dns.rrset.from_text("www.example.com.", 9, "IN", "CNAME", "B.example."), *found] if alias else found


@settings(max_examples=150, deadline=None)
@given(
    st.builds(led_to, st.lists(st.from_type(dns.rrset.RRset), max_size=4), st.booleans()),
    st.lists(st.from_type(dns.rrset.RRset), max_size=2),
    st.lists(st.from_type(dns.rrset.RRset), max_size=2),
    st.booleans(),
    st.integers(0, 100_000),
)
def test_rendering_is_the_same_answer(answer, authority, additional, edns, age):
    """What dnspython writes is parsed, and rendered again it has the same records with TTLs that are older."""
    query = ask(use_edns=0 if edns else False, tcp=True)
    wire = respond(query, answer=answer, authority=authority, additional=additional)
    expected = dns.message.from_wire(wire, one_rr_per_rrset=True)
    parsed = Answer.parse(wire, upstream_query(query), edns=edns)
    loaded = Answer.load(parsed.dump(), query.key)
    assert loaded.dump() == parsed.dump()
    assert (loaded.ttl, loaded.negative, loaded.rcode) == (parsed.ttl, parsed.negative, parsed.rcode)
    rendered = parsed.render(query, age)
    assert loaded.render(query, age) == rendered
    got = dns.message.from_wire(rendered, one_rr_per_rrset=True)
    assert got.id == 0x1234
    assert got.question[0].name.to_wire() == b"\3www\7Example\3com\0"
    assert got.edns == (0 if edns else -1)
    assert got.flags == dns.flags.QR | dns.flags.RD | dns.flags.RA
    assert (got.answer, got.authority, got.additional) == (expected.answer, expected.authority, expected.additional)
    for ours, theirs in zip(
        got.answer + got.authority + got.additional,
        expected.answer + expected.authority + expected.additional,
        strict=True,
    ):
        ttl = theirs.ttl
        if theirs.rdtype == 6 and theirs in expected.authority:
            assert ours.ttl in {max(0, ttl - age), max(0, min(ttl, theirs[0].minimum) - age)}
        else:
            assert ours.ttl == max(0, ttl - age)


def test_client_gets_its_own_id_and_case():
    """Id and question octets are the client's; owners that point to the question follow."""
    answer = parse(ask(), answer=[A])
    for spelling in ("WWW.EXAMPLE.COM", "www.example.com", "wWw.eXaMpLe.CoM"):
        rendered = dns.message.from_wire(answer.render(ask(spelling), 0))
        assert str(rendered.question[0].name) == spelling + "."
        assert str(rendered.answer[0].name) == spelling + "."


def test_upstream_opt_is_replaced():
    """Padding and sizes of the upstream's OPT stay between us; extended errors go on to EDNS clients."""
    error = dns.edns.EDEOption(3, "stale")
    rendered = dns.message.from_wire(parse(ask(), answer=[A], options=[error]).render(ask(), 0))
    assert rendered.payload == 1232
    assert [(option.code, option.text) for option in rendered.options] == [(3, "stale")]
    plain = ask(use_edns=False)
    rendered = dns.message.from_wire(parse(plain, answer=[A], options=[error]).render(plain, 0))
    assert rendered.edns == -1
    assert len(rendered.answer) == 1


def test_opt_in_the_middle():
    """Additional records behind the OPT record are left out, those before it stay."""
    before, after = record(owner=b"\2ns\xc0\x10", ttl=5), record(owner=b"\2zz\xc0\x10", ttl=0)
    opt = bytes.fromhex("000029 04d0 00000000 0000")
    wire = raw(record() + before + opt + after, counts=(1, 0, 3))
    answer = Answer.parse(wire, upstream_query(ask()))
    rendered = dns.message.from_wire(answer.render(ask(), 0))
    assert [str(rrset.name) for rrset in rendered.additional] == ["ns.Example.com."]
    assert answer.ttl == 5


def test_upstream_without_edns():
    """An upstream that knows no EDNS is understood; an EDNS client still gets our OPT."""
    assert dns.message.from_wire(parse(ask(), answer=[A], edns=False).render(ask(), 0)).edns == 0


def test_dnssec_ok_is_copied():
    """DO in the reply is the client's DO (RFC 3225 s3)."""
    query = ask(want_dnssec=True)
    assert dns.message.from_wire(parse(query, answer=[A]).render(query, 0)).ednsflags == 0x8000
    assert dns.message.from_wire(parse(ask(), answer=[A]).render(ask(), 0)).ednsflags == 0


@pytest.mark.parametrize(
    ("flags", "want_dnssec", "expected"),
    [
        (dns.flags.RD, False, 0),
        (dns.flags.RD | dns.flags.AD, False, dns.flags.AD),
        (dns.flags.RD, True, dns.flags.AD),
        (dns.flags.RD | dns.flags.CD, False, dns.flags.CD),
        (0, False, 0),
    ],
)
def test_flags(flags, want_dnssec, expected):
    """AD reaches only those who set AD or DO (RFC 6840 s5.8); RD and CD are copied; AA is never set; RA is."""
    query = ask(flags=flags, want_dnssec=want_dnssec)
    answer = parse(query, answer=[A], flags=dns.flags.AD | dns.flags.AA)
    rendered = dns.message.from_wire(answer.render(query, 0))
    assert rendered.flags == dns.flags.QR | dns.flags.RA | expected | flags & dns.flags.RD


def test_lifetime_is_the_smallest_ttl():
    """An answer is kept for the smallest TTL in it."""
    answers = [
        ("www.example.com.", 300, "IN", "CNAME", "b.example.com."),
        ("b.example.com.", 20, "IN", "A", "192.0.2.1"),
    ]
    assert parse(ask(), answer=answers).ttl == 20
    assert not parse(ask(), answer=answers).negative


@pytest.mark.parametrize(("ttl", "minimum", "expected"), [(900, 60, 60), (30, 60, 30), (0, 60, 0), (900, 0, 0)])
@pytest.mark.parametrize("rcode", [0, 3])
def test_negative_lifetime(ttl, minimum, expected, rcode):
    """NXDOMAIN and NODATA are kept for the smaller of SOA TTL and MINIMUM, and the SOA says so too (RFC 2308 s3)."""
    authority = [("example.com.", ttl, "IN", "SOA", SOA.format(minimum=minimum))]
    answer = parse(ask(), authority=authority, rcode=rcode)
    assert (answer.negative, answer.ttl, answer.rcode) == (True, expected, rcode)
    assert dns.message.from_wire(answer.render(ask(), 0)).authority[0].ttl == expected


def test_negative_without_soa_is_not_kept():
    """NXDOMAIN, NODATA and a CNAME that leads to nothing, without an SOA record, are not kept (RFC 2308 s5)."""
    alias = ("www.example.com.", 300, "IN", "CNAME", "b.example.com.")
    assert parse(ask(), rcode=3).ttl == 0
    assert parse(ask()).ttl == 0
    assert (parse(ask(), answer=[alias]).ttl, parse(ask(), answer=[alias]).negative) == (0, True)
    assert parse(ask(kind="CNAME"), answer=[alias]).ttl == 300
    assert parse(ask(kind="ANY"), answer=[alias]).ttl == 300


def test_alias_to_nothing_is_negative():
    """A CNAME that leads to nothing, with an SOA record, is kept by it."""
    alias = ("www.example.com.", 300, "IN", "CNAME", "b.example.com.")
    answer = parse(
        ask(), answer=[alias], authority=[("example.com.", 50, "IN", "SOA", SOA.format(minimum=40))], rcode=3
    )
    assert (answer.negative, answer.ttl) == (True, 40)


@pytest.mark.parametrize("rcode", [1, 2, 4, 5])
def test_failures_have_no_lifetime(rcode):
    """Of failures the cache decides, not the records in them."""
    answer = parse(ask(), answer=[A], rcode=rcode)
    assert (answer.rcode, answer.ttl) == (rcode, 0)


def test_ttl_with_the_top_bit():
    """A TTL of 2^31 and above is zero, in the lifetime and in the rendering (RFC 2181 s8)."""
    answer = Answer.parse(raw(record(ttl=0x80000001)), upstream_query(ask()))
    assert answer.ttl == 0
    assert dns.message.from_wire(answer.render(ask(), 0)).answer[0].ttl == 0


def test_age_never_goes_below_zero():
    """TTLs end at zero, whatever the age; a younger rendering after an older one is right again."""
    answers = [A, ("www.example.com.", 5, "IN", "TXT", "x")]
    answer = parse(ask(), answer=answers)
    ttls = {age: [r.ttl for r in dns.message.from_wire(answer.render(ask(), age)).answer] for age in (6, 400, 0, 1)}
    assert ttls == {6: [294, 0], 400: [0, 0], 0: [300, 5], 1: [299, 4]}


def signature(*, original=3600, expiration="20300101000000", ttl=300, covered="A"):
    rdata = f"{covered} 8 3 {original} {expiration} 20200101000000 1 example.com. AAAA"
    return ("www.example.com.", ttl, "IN", "RRSIG", rdata)


END_OF_2029 = 1893456000  # 2030-01-01 00:00:00 UTC, the expiration above


@pytest.mark.parametrize(
    ("changes", "wall", "expected"),
    [
        ({}, None, 300),
        ({"original": 120}, None, 120),
        ({"original": 0}, None, 0),
        ({"ttl": 60}, None, 60),
        ({}, END_OF_2029 - 1000, 300),
        ({}, END_OF_2029 - 100, 100),
        ({}, END_OF_2029, 0),
        ({}, END_OF_2029 + 1, 0),
        ({}, 0, 300),  # a machine whose clock was never set
        ({"expiration": "10"}, 0xFFFFFFF0, 26),  # in 2106, when the number starts again at 0
    ],
)
def test_lifetime_of_signatures(changes, wall, expected):
    """An answer is kept for its signatures' original TTL and, with a clock, validity at most (RFC 4035 s5.3.3)."""
    query = ask(want_dnssec=True)
    wire = respond(query, answer=[A, signature(**changes)])
    assert Answer.parse(wire, upstream_query(query), wall=wall).ttl == expected


def test_signatures_of_a_negative_answer_count():
    """What proves that there is nothing ends its life, too; the TTL of the signature is shown as it came."""
    query = ask(want_dnssec=True)
    soa = ("example.com.", 900, "IN", "SOA", SOA.format(minimum=900))
    proof = ("example.com.", 900, "IN", "RRSIG", *signature(original=30, covered="SOA")[4:])
    answer = parse(query, authority=[soa, proof])
    assert (answer.negative, answer.ttl) == (True, 30)
    assert [rrset.ttl for rrset in dns.message.from_wire(answer.render(query, 10)).authority] == [890, 890]


@pytest.mark.parametrize(("rcode", "code"), [(0, 3), (3, 19)])
def test_stale_rendering(rcode, code):
    """RFC 8767 s4, RFC 8914 s4.4: a TTL of 30 everywhere, a word that it is old, and no AD; the answer stays itself."""
    query = ask(want_dnssec=True)
    answer = parse(
        query,
        answer=[A, signature()],
        authority=[("example.com.", 900, "IN", "SOA", SOA.format(minimum=900))],
        rcode=rcode,
        flags=dns.flags.AD,
        options=[dns.edns.EDEOption(22, "before")],
    )
    before = answer.render(query, 7)
    stale = dns.message.from_wire(answer.render_stale(query))
    assert {rrset.ttl for rrset in stale.answer + stale.authority} == {30}
    assert [(option.code, option.text) for option in stale.options] == [(22, "before"), (code, None)]
    assert stale.flags & 0xFFF0 == dns.flags.QR | dns.flags.RD | dns.flags.RA
    assert (stale.id, stale.rcode(), str(stale.question[0].name)) == (0x1234, rcode, "www.Example.com.")
    assert {rrset.ttl for rrset in dns.message.from_wire(answer.render_stale(query, 1)).answer} == {1}
    assert answer.render(query, 7) == before
    assert dns.message.from_wire(before).flags & dns.flags.AD


def test_stale_rendering_fits_its_client():
    """A stale answer is truncated like any other, and to a client without EDNS it has no words."""
    query = ask(kind="TXT", use_edns=False)
    texts = [("www.example.com.", 60, "IN", "TXT", *(f'"{n}{"x" * 200}"' for n in range(10)))]
    stale = dns.message.from_wire(parse(query, answer=texts).render_stale(query))
    assert stale.flags & dns.flags.TC
    assert (stale.answer, stale.edns) == ([], -1)
    small = dns.message.from_wire(parse(query, answer=[(*texts[0][:3], "TXT", "x")]).render_stale(query))
    assert (small.answer[0].ttl, small.edns) == (30, -1)


def test_rendering_with_the_clients_own_options():
    """The options of one client are in its reply and in nobody else's."""
    query, other = ask(), ask()
    query.extra = bytes.fromhex("fde8 0002 abcd")
    answer = parse(query, answer=[A], options=[dns.edns.EDEOption(3, "stale")])
    for rendered in (answer.render(query, 0), answer.render(query, 5), answer.render_stale(query)):
        assert [option.otype for option in dns.message.from_wire(rendered).options][-1] == 65000
    assert [option.otype for option in dns.message.from_wire(answer.render(other, 0)).options] == [15]


def test_dump_and_load():
    """What was dumped is the same answer again, for its key; under another name it is one of that name."""
    query = ask(want_dnssec=True, flags=dns.flags.RD | dns.flags.CD)
    answer = parse(query, answer=[A, signature()], flags=dns.flags.AD, options=[dns.edns.EDEOption(3, "stale")])
    answer.render(query, 99)
    loaded = Answer.load(answer.dump(), query.key)
    assert loaded.render(query, 7) == answer.render(query, 7)
    assert Answer.load(answer.dump(), query.key, wall=END_OF_2029 - 9).ttl == 9


def test_what_cannot_be_loaded():
    """Every octet is proved as an upstream's would be: cut, changed or under another key it is `MalformedAnswer`."""
    query = ask()
    dump = parse(query, answer=[A, ("www.example.com.", 5, "IN", "TXT", "x")]).dump()
    assert Answer.load(dump, query.key).ttl == 5
    for octets, key in (
        (b"", query.key),
        (dump[:-1], query.key),
        (dump + b"\0", query.key),
        (b"\0" + dump[1:], query.key),  # no response
        (dump, b""),
        (dump, b"\1"),
        (dump, b"\0"),
        (dump, query.key[:-1]),
        (dump, query.key[1:]),
        (dump, query.key.upper()),
        (dump, b"\3aaa" * 63 + query.key),
        (dump, query.key[:-5] + b"\0\xfb\0\1" + query.key[-1:]),  # IXFR
        (dump, query.key[:-5] + b"\0\1\0\3" + query.key[-1:]),  # class CH
    ):
        with pytest.raises(MalformedAnswer):
            Answer.load(octets, key)


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_any_dump(data):
    """Any octets under any key are an answer that renders or `MalformedAnswer`."""
    query = ask()
    dump = bytearray(parse(query, answer=[A]).dump())
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=3)):
        dump[at % len(dump)] = value
    key = data.draw(st.sampled_from([query.key]) | st.binary(max_size=30))
    octets = data.draw(st.sampled_from([bytes(dump)]) | st.binary(max_size=60))
    try:
        answer = Answer.load(octets, key)
    except MalformedAnswer:
        return
    assert answer.octets > len(octets)
    assert Answer.load(answer.dump(), key).dump() == answer.dump()


def test_addresses():
    """A, AAAA and the address hints of HTTPS and SVCB, in every section."""
    answers = [
        ("www.example.com.", 9, "IN", "A", "192.0.2.1", "192.0.2.2"),
        ("www.example.com.", 9, "IN", "AAAA", "2001:db8::1"),
        ("www.example.com.", 9, "IN", "HTTPS", "1 . alpn=h2 ipv4hint=10.0.0.1,10.0.0.2 ipv6hint=fd00::1"),
        ("www.example.com.", 9, "IN", "SVCB", "1 svc.example.net. port=53 ipv4hint=10.0.0.3"),
        ("www.example.com.", 9, "IN", "TXT", "x"),
    ]
    answer = parse(ask(kind="ANY"), answer=answers, additional=[("ns.example.com.", 9, "IN", "A", "192.0.2.9")])
    assert [str(ip_address(octets)) for _, octets in answer.addresses()] == [
        "192.0.2.1", "192.0.2.2", "2001:db8::1", "10.0.0.1", "10.0.0.2", "fd00::1", "10.0.0.3", "192.0.2.9",
    ]  # fmt: skip
    assert [kind for kind, _ in answer.addresses()] == [1, 1, 28, 1, 1, 28, 1, 1]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40))
def test_hints_of_any_rdata(rdata):
    """Whatever an HTTPS record holds, its hints are addresses or none."""
    query = ask(kind="HTTPS")
    answer = Answer.parse(raw(record(kind=65, rdata=rdata), query=query), upstream_query(query))
    assert all(len(octets) == {1: 4, 28: 16}[kind] for kind, octets in answer.addresses())


def test_hints_that_do_not_hold_together():
    """A hint that is cut, by its record or within an address, is not taken for one."""
    query = ask(kind="HTTPS")
    head = b"\0\1\0"
    for rdata, expected in (
        (head + b"\0\4\0\4abcd", [b"abcd"]),
        (head + b"\0\4\0\6abcdef", [b"abcd"]),
        (head + b"\0\4\0\5abcd", []),
        (head + b"\0\7\0\4abcd", []),
        (head + b"\0\4\0", []),
        (b"\0\1\3ab", []),
        (b"", []),
    ):
        answer = Answer.parse(raw(record(kind=65, rdata=rdata), query=query), upstream_query(query))
        assert [octets for _, octets in answer.addresses()] == expected


def test_owners():
    """The question's name, and those that aliases lead to, whole and in lower case, once each; no others."""
    answers = [
        ("www.example.com.", 9, "IN", "CNAME", "CDN.Example.net."),
        ("cdn.example.net.", 9, "IN", "CNAME", "tracker.example."),
        ("tracker.example.", 9, "IN", "A", "192.0.2.1", "192.0.2.2"),
    ]
    answer = parse(ask(), answer=answers, additional=[("ns.example.com.", 9, "IN", "A", "192.0.2.9")])
    names = ["www.example.com.", "cdn.example.net.", "tracker.example."]
    assert list(answer.owners(ask("WWW.example.COM"))) == [dns.name.from_text(name).to_wire() for name in names]
    redirected = parse(ask(), answer=[("com.", 9, "IN", "DNAME", "Net.")])
    assert list(redirected.owners(ask())) == [b"\3com\0", b"\3net\0"]


FAR = b"\xc0\x0c"
END = 12 + 21  # where the records start
LONG = b"".join(b"\x3f" + b"a" * 63 for _ in range(4))
MALFORMED = {
    "empty": b"",
    "header only": raw(b"")[:12],
    "another id": b"\0\1" + raw(record())[2:],
    "a query": raw(record(), flags=0x0100),
    "another opcode": raw(record(), flags=0xA180),
    "truncated": raw(record(), flags=0x8380),
    "no question": raw(record())[:4] + b"\0\0" + raw(record())[6:],
    "another name": raw(record()).replace(b"\3www", b"\3wwx"),
    "another type": raw(record())[: END - 3] + b"\x1c" + raw(record())[END - 2 :],
    "another class": raw(record())[: END - 1] + b"\3" + raw(record())[END:],
    "count too large": raw(record(), counts=(2, 0, 0)),
    "count much too large": raw(record(), counts=(65535, 65535, 65535)),
    "count too small": raw(record() * 2),
    "octets behind the end": raw(record() + b"\0"),
    "pointer to itself": raw(record(owner=bytes((0xC0, END)))),
    "pointer forward": raw(record(owner=bytes((0xC0, END + 2)))),
    "pointer beyond the end": raw(record(owner=b"\xff\xff")),
    "pointer into the header": raw(record(owner=b"\xc0\x00")),
    "half a pointer": raw(b"\xc0"),
    "pointer loop of two": raw(
        record(kind=5, rdata=bytes((0xC0, END + 14))) + record(owner=bytes((0xC0, END + 12))), counts=(2, 0, 0)
    ),
    "label over its own pointer": raw(record(owner=b"\1a" + bytes((0xC0, END)))),
    "label type 01": raw(record(owner=b"\x41" + b"a" * 65 + b"\0")),
    "label type 10": raw(record(owner=b"\x81" + b"a" * 65 + b"\0")),
    "name over 255": raw(record(owner=LONG + b"\0")),
    "name over 255 by its pointer": raw(
        record() + record(owner=LONG[:192] + b"\x30" + b"b" * 48 + b"\xc0\x0c"), counts=(1, 0, 1)
    ),
    "name without end": raw(b"\3www"),
    "no fields": raw(b"\xc0\x0c"),
    "half the fields": raw(record()[:9]),
    "rdata cut": raw(record()[:-1]),
    "rdata of a large length": raw(record(length=65535)),
    "A of 5 octets": raw(record(rdata=bytes(5))),
    "A of 3 octets": raw(record(rdata=bytes(3))),
    "AAAA of 4 octets": raw(record(kind=28, rdata=bytes(4))),
    "class CH": raw(record(klass=3)),
    "CNAME with more behind the name": raw(record(kind=5, rdata=b"\1a\0\0")),
    "CNAME that runs out of its rdata": raw(record(kind=5, rdata=b"\1a") + b"\0"),
    "empty CNAME": raw(record(kind=5, rdata=b"")),
    "CNAME that points to itself": raw(record(kind=5, rdata=bytes((0xC0, END + 12)))),
    "MX without a name": raw(record(kind=15, rdata=b"\0\1")),
    "RRSIG too short": raw(record() + record(kind=46, rdata=bytes(18)), counts=(2, 0, 0)),
    "SOA too short": raw(record(kind=6, rdata=b"\0\0" + bytes(19)), counts=(0, 1, 0)),
    "SOA too long": raw(record(kind=6, rdata=b"\0\0" + bytes(21)), counts=(0, 1, 0)),
    "two OPT": raw(bytes.fromhex("00002904d0000000000000") * 2, counts=(0, 0, 2)),
    "OPT among the answers": raw(bytes.fromhex("00002904d0000000000000")),
    "OPT in the authority section": raw(bytes.fromhex("00002904d0000000000000"), counts=(0, 1, 0)),
    "OPT with an owner": raw(b"\1a" + bytes.fromhex("00002904d0000000000000"), counts=(0, 0, 1)),
    "OPT owned by the question": raw(FAR + bytes.fromhex("002904d0000000000000"), counts=(0, 0, 1)),
    "OPT with half an option": raw(bytes.fromhex("00002904d0000000000003000f00"), counts=(0, 0, 1)),
    "OPT with an option too long": raw(bytes.fromhex("00002904d0000000000006000f00030000"), counts=(0, 0, 1)),
    "OPT cut": raw(bytes.fromhex("00002904d0000000000006000f0002"), counts=(0, 0, 1)),
    "BADVERS": raw(bytes.fromhex("00002904d0010000000000"), counts=(0, 0, 1)),
}


def test_the_raw_response_is_well_formed():
    """The response that the malformed ones are made from is itself accepted, so each fails for its own fault."""
    assert Answer.parse(raw(record()), upstream_query(ask())).ttl == 60
    long = record() + record(owner=LONG[:192] + b"\x28" + b"b" * 40 + FAR)
    assert Answer.parse(raw(long, counts=(1, 0, 1)), upstream_query(ask())).ttl == 60


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed(case):
    """A response that is not a whole, well-formed answer to the query is refused."""
    with pytest.raises(MalformedAnswer):
        Answer.parse(MALFORMED[case], upstream_query(ask()))


def test_letter_case_of_the_question_is_free():
    """An upstream may change the case of the name; an octet of the type is not a letter (RFC 4343 s3)."""
    query = ask(kind="TYPE65")
    wire = raw(record(kind=65, rdata=b"\0\1\0"), query=query)
    shouted = wire[:12] + wire[12 : END - 4].upper() + wire[END - 4 :]
    assert Answer.parse(shouted, upstream_query(query)).ttl == 60
    with pytest.raises(MalformedAnswer):
        Answer.parse(wire[: END - 3] + b"a" + wire[END - 2 :], upstream_query(query))


def test_chain_of_pointers_is_bounded():
    """A message full of pointers to pointers is refused and not followed for ever."""
    chain = b"".join(struct.pack(">H", 0xC000 | max(12, END + 12 + 2 * n - 2)) for n in range(1000))
    first = record(kind=65280, rdata=chain)
    last = record(owner=struct.pack(">H", 0xC000 | END + 12 + 2 * 999))
    with pytest.raises(MalformedAnswer, match="127 compression pointers"):
        Answer.parse(raw(first + last, counts=(2, 0, 0)), upstream_query(ask()))


BASE = [
    respond(
        ask(),
        answer=[("www.example.com.", 9, "IN", "CNAME", "b.example.com."), ("b.example.com.", 9, "IN", "A", "1.2.3.4")],
    ),
    respond(ask(), authority=[("example.com.", 9, "IN", "SOA", SOA.format(minimum=3))], rcode=3),
    respond(ask(), answer=[A], options=[dns.edns.EDEOption(3, "stale")]),
]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(BASE),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4),
    st.integers(0, 800),
    st.binary(max_size=3),
)
def test_mutated(wire, changes, cut, more):
    """A changed, cut or prolonged answer is refused or renders within the client's size; nothing else is raised."""
    octets = bytearray(wire)
    for at, value in changes:
        octets[at % len(octets)] = value
    try:
        answer = Answer.parse(bytes(octets[: len(octets) if cut > 400 else cut]) + more, upstream_query(ask()))
    except MalformedAnswer:
        return
    query = ask()
    for age in (0, 7):
        rendered = answer.render(query, age)
        assert len(rendered) <= query.size
        assert rendered[:2] == query.wire[:2]
        assert rendered[12 : query.end] == query.wire[12 : query.end]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80))
def test_any_octets_behind_the_question(octets):
    """Any records are an answer or a `MalformedAnswer`."""
    for counts in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)):
        try:
            answer = Answer.parse(raw(octets, counts=counts), upstream_query(ask()))
        except MalformedAnswer:
            continue
        assert answer.render(ask(), 1)


def test_any_short_octets():
    """Every beginning of an answer is refused."""
    for cut in range(len(BASE[0])):
        with pytest.raises(MalformedAnswer):
            Answer.parse(BASE[0][:cut], upstream_query(ask()))
