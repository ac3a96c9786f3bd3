"""Parsing what a client sent, with dnspython as oracle, and the replies to what is no query."""

import struct
import tracemalloc

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.tsigkeyring
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stubresolver.errors import MalformedQuery
from stubresolver.wire import query as module
from stubresolver.wire.codes import BADVERS, FORMERR, NOTIMP
from stubresolver.wire.query import KEY_DO, KEY_EDNS, Query, malformed_reply

FORWARDED_TYPES = [0, 1, 2, 5, 6, 28, 40, 42, 64, 65, 97, 127, 255, 256, 257, 32769, 65535]
PLAIN = dns.message.make_query("www.example.com", "A", id=0x1234, use_edns=False).to_wire()
EDNS = dns.message.make_query("www.example.com", "A", id=0x1234, use_edns=0, payload=1232).to_wire()
OPT = bytes.fromhex("000029 04d0 00000000 0000")


def question(name=b"\3www\7example\3com\0", kind=1, klass=1):
    return name + struct.pack(">HH", kind, klass)


def message(body=None, flags=0x0100, counts=(1, 0, 0, 0)):
    return struct.pack(">HHHHHH", 0xABCD, flags, *counts) + (question() if body is None else body)


@settings(max_examples=300, deadline=None)
@given(
    name=st.from_type(dns.name.Name),
    kind=st.sampled_from(FORWARDED_TYPES),
    flags=st.sets(st.sampled_from([dns.flags.RD, dns.flags.AD, dns.flags.CD, dns.flags.AA, dns.flags.RA])),
    payload=st.none() | st.integers(0, 65535),
    dnssec_ok=st.booleans(),
    cookie=st.none() | st.binary(min_size=8, max_size=8) | st.binary(min_size=16, max_size=40),
    tcp=st.booleans(),
)
def test_same_facts_as_dnspython(*, name, kind, flags, payload, dnssec_ok, cookie, tcp):
    """Every query that dnspython writes parses to the facts that dnspython was given."""
    made = dns.message.QueryMessage(id=7)
    made.flags = sum(flags)
    made.find_rrset(made.question, name, 1, kind, create=True, force_unique=True)
    if payload is not None:
        options = [] if cookie is None else [dns.edns.GenericOption(10, cookie)]
        made.use_edns(0, 0x8000 if dnssec_ok else 0, payload, options=options)
    wire = made.to_wire()
    query = Query(wire, tcp=tcp)
    expected_bits = sum(
        bit for flag, bit in ((dns.flags.RD, 1), (dns.flags.AD, 0x20), (dns.flags.CD, 0x10)) if flag in flags
    )
    if payload is not None:
        expected_bits |= KEY_EDNS | (KEY_DO if dnssec_ok else 0)
    assert query.wire is wire
    assert wire[12 : query.end] == name.to_wire() + struct.pack(">HH", kind, 1)
    assert query.has_edns is (payload is not None)
    assert query.key == name.to_wire().lower() + struct.pack(">HHB", kind, 1, expected_bits)
    if tcp:
        assert query.size == 65535
    else:
        assert query.size == (512 if payload is None else min(max(payload, 512), 1232))


def test_key_ignores_letter_case_of_the_name_only():
    """Two spellings of a name share a key; HTTPS (0x41) and type 97 (0x61) do not, though they are letters."""
    upper, lower = question(b"\3WWW\0", 65), question(b"\3www\0", 65)
    assert Query(message(upper)).key == Query(message(lower)).key
    assert Query(message(lower)).key != Query(message(question(b"\3www\0", 97))).key


def test_key_ignores_what_is_not_forwarded():
    """Id, AA, RA, Z, RCODE, EDNS payload and options change no answer and so no key."""
    plain = Query(message(question() + OPT, counts=(1, 0, 0, 1))).key
    other = bytes.fromhex("000029 1000 00000001 0005 fde9 0001 ff")
    assert Query(b"zz" + message(question() + other, flags=0x05CF, counts=(1, 0, 0, 1))[2:]).key == plain


REFUSED = {
    "empty": (b"", None),
    "shorter than a header": (PLAIN[:11], None),
    "a response": (message(flags=0x8100), None),
    "a response with another opcode": (message(flags=0xA900), None),
    "header only": (PLAIN[:12], FORMERR),
    "opcode NOTIFY": (message(flags=0x2100), NOTIMP),
    "opcode UPDATE": (message(flags=0x2900), NOTIMP),
    "no question": (message(b"", counts=(0, 0, 0, 0)), FORMERR),
    "two questions": (message(question() * 2, counts=(2, 0, 0, 0)), FORMERR),
    "an answer": (message(question() + b"\0" * 11, counts=(1, 1, 0, 0)), FORMERR),
    "an authority record": (message(question() + b"\0" * 11, counts=(1, 0, 1, 0)), FORMERR),
    "compression pointer to itself": (message(b"\xc0\x0c\0\1\0\1"), FORMERR),
    "compression pointer in the name": (message(b"\3www\xc0\x00\0\1\0\1"), FORMERR),
    "extended label": (message(b"\x41a\0\0\1\0\1"), FORMERR),
    "label of 64": (message(question(b"\x40" + b"a" * 64 + b"\0")), FORMERR),
    "name of 256": (message(question((b"\x3f" + b"a" * 63) * 3 + b"\x3e" + b"a" * 62 + b"\0")), FORMERR),
    "name without end": (message(b"\3www"), FORMERR),
    "no type": (message(b"\3www\0"), FORMERR),
    "half a class": (message(b"\3www\0\0\1\0"), FORMERR),
    "octets behind the question": (message(question() + b"\0"), FORMERR),
    "octets behind OPT": (message(question() + OPT + b"\0", counts=(1, 0, 0, 1)), FORMERR),
    "OPT announced, none there": (message(counts=(1, 0, 0, 1)), FORMERR),
    "OPT cut": (message(question() + OPT[:-1], counts=(1, 0, 0, 1)), FORMERR),
    "OPT not at the root": (message(question() + b"\1a" + OPT, counts=(1, 0, 0, 1)), FORMERR),
    "two OPT": (message(question() + OPT * 2, counts=(1, 0, 0, 2)), FORMERR),
    "another additional record": (message(question() + b"\0\0\1\0\1" + bytes(6), counts=(1, 0, 0, 1)), FORMERR),
    "option longer than OPT": (message(question() + OPT[:-1] + b"\5\0\n\0\2a", counts=(1, 0, 0, 1)), FORMERR),
    "half an option": (message(question() + OPT[:-1] + b"\3\0\n\0", counts=(1, 0, 0, 1)), FORMERR),
    "EDNS version 1": (message(question() + b"\0\0\x29\4\xd0\0\1\0\0\0\0", counts=(1, 0, 0, 1)), BADVERS),
    "class CH": (message(question(kind=16, klass=3)), NOTIMP),
    "class ANY": (message(question(klass=255)), NOTIMP),
    "AXFR": (message(question(kind=252)), NOTIMP),
    "IXFR": (message(question(kind=251)), NOTIMP),
    "NXNAME": (message(question(kind=128)), FORMERR),
    "a cookie of 7 octets": (message(question() + OPT[:-1] + b"\x0b\0\n\0\7" + b"c" * 7, counts=(1, 0, 0, 1)), FORMERR),
    "a cookie of 15 octets": (
        message(question() + OPT[:-1] + b"\x13\0\n\0\x0f" + b"c" * 15, counts=(1, 0, 0, 1)),
        FORMERR,
    ),
    "a cookie of 41 octets": (
        message(question() + OPT[:-1] + b"\x2d\0\n\0\x29" + b"c" * 41, counts=(1, 0, 0, 1)),
        FORMERR,
    ),
    "TKEY": (message(question(kind=249)), NOTIMP),
    "a question for OPT": (message(question(kind=41)), NOTIMP),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    """What is no query that we serve raises with the RCODE that the standards name, or with none for silence."""
    wire, rcode = REFUSED[case]
    with pytest.raises(MalformedQuery) as caught:
        Query(wire)
    assert caught.value.rcode == rcode


def test_facts_of_the_question():
    """Name and type are told in the form that rules compare: wire form, lower case, a number."""
    query = Query(message(question(b"\3WwW\0", 0x4102)))
    assert (query.name, query.type) == (b"\3www\0", 0x4102)


def test_options_of_the_client():
    """An option is found by its code, the first of several; there is none without EDNS."""
    options = b"\0\x0b\0\0" + b"\0\n\0\x08abcdefgh" + b"\0\n\0\x08ijklmnop"
    query = Query(message(question() + OPT[:-1] + bytes((len(options),)) + options, counts=(1, 0, 0, 1)))
    assert (query.option(10), query.option(11), query.option(12)) == (b"abcdefgh", b"", None)
    assert (Query(PLAIN).option(10), Query(EDNS).option(10)) == (None, None)


@pytest.mark.parametrize("option", [b"\0\x0b\0\0", b"\0\n\0\x08abcdefgh"])
def test_query_with_options_of_its_own_is_not_remembered(option):
    """Cookie and keepalive are looked at each time: over UDP and TCP, from each client, they are answered otherwise."""
    module._keys.clear()
    query = Query(message(question() + OPT[:-1] + bytes((len(option),)) + option, counts=(1, 0, 0, 1)))
    query.remember()
    assert not query.is_remembered
    assert module._keys == {}


def test_other_class_if_expected():
    """A listener can read a query of another class; it never becomes one that the resolver is asked."""
    module._keys.clear()
    chaos = message(question(kind=16, klass=3))
    query = Query(chaos, klass=b"\0\3")
    query.remember()
    assert query.key[-3:-1] == b"\0\3"
    for wire, klass in ((chaos, b"\0\1"), (message(), b"\0\3")):
        with pytest.raises(MalformedQuery) as caught:
            Query(wire, klass=klass)
        assert caught.value.rcode == NOTIMP


def test_longest_name():
    """A name of 255 octets is served."""
    name = (b"\x3f" + b"a" * 63) * 3 + b"\x3d" + b"a" * 61 + b"\0"
    assert len(name) == 255
    assert Query(message(question(name))).end == 12 + 255 + 4


def test_signed_query():
    """A TSIG is answered with NOTIMP, with and without EDNS."""
    keyring = dns.tsigkeyring.from_text({"key.example.": "c2VjcmV0c2VjcmV0"})
    for edns in (False, 0):
        made = dns.message.make_query("www.example.com", "A", use_edns=edns)
        made.use_tsig(keyring, fudge=300)
        with pytest.raises(MalformedQuery) as caught:
            Query(made.to_wire())
        assert caught.value.rcode == NOTIMP


def reply_to(wire):
    with pytest.raises(MalformedQuery) as caught:
        Query(wire)
    return malformed_reply(wire, caught.value)


@pytest.mark.parametrize("case", [case for case in REFUSED if REFUSED[case][1] is not None])
def test_malformed_reply(case):
    """The reply is a response with the client's id and opcode and the right RCODE, and no longer than the query."""
    wire, rcode = REFUSED[case]
    reply = reply_to(wire)
    assert reply is not None
    assert len(reply) <= len(wire)
    assert reply[:2] == wire[:2]
    assert reply[2] & 0x80
    assert reply[2] & 0x78 == wire[2] & 0x78
    assert reply[3] & 0x0F == rcode & 0x0F
    if not wire[2] & 0x78:  # dnspython reads other opcodes by other rules
        assert dns.message.from_wire(reply).rcode() == rcode


@pytest.mark.parametrize("case", [case for case in REFUSED if REFUSED[case][1] is None])
def test_silence(case):
    """Responses and scraps are never answered."""
    assert reply_to(REFUSED[case][0]) is None


def test_reply_never_answers_a_response():
    """A response gets no reply, whatever is said to be wrong with it."""
    assert malformed_reply(message(flags=0x8100), MalformedQuery("x", FORMERR)) is None


def test_badvers_says_which_version():
    """BADVERS comes with an OPT record of version 0 and repeats the question (RFC 6891 s6.1.3)."""
    reply = dns.message.from_wire(reply_to(REFUSED["EDNS version 1"][0]))
    assert reply.rcode() == dns.rcode.BADVERS
    assert reply.edns == 0
    assert str(reply.question[0].name) == "www.example.com."


def test_reply_has_opt_if_the_query_had():
    """A query with OPT is answered with OPT, one without is not (RFC 6891 s6.1.1, s7)."""
    assert dns.message.from_wire(reply_to(message(question(kind=252) + OPT, counts=(1, 0, 0, 1)))).edns == 0
    assert dns.message.from_wire(reply_to(message(question(kind=252)))).edns == -1


@pytest.mark.parametrize("dnssec_ok", [True, False])
def test_reply_copies_do(dnssec_ok):
    """RFC 3225 s3, in errors, too."""
    opt = OPT[:7] + (b"\x80" if dnssec_ok else b"\x7f") + OPT[8:]
    for octets in (question(kind=252) + opt, question() + opt[:6] + b"\1" + opt[7:]):
        reply = dns.message.from_wire(reply_to(message(octets, counts=(1, 0, 0, 1))))
        assert bool(reply.ednsflags & dns.flags.DO) is dnssec_ok


def test_reply_has_opt_where_no_question_is():
    """A message of nothing but OPT gets one back; what only looks like it in another place does not."""
    assert dns.message.from_wire(reply_to(message(OPT, counts=(0, 0, 0, 1)))).edns == 0
    for counts in ((0, 1, 0, 0), (2, 0, 0, 1), (0, 0, 0, 2)):
        assert dns.message.from_wire(reply_to(message(OPT, counts=counts))).edns == -1


def check_any(octets):
    try:
        query = Query(octets)
    except MalformedQuery as error:
        reply = malformed_reply(octets, error)
        assert reply is None or (len(reply) <= len(octets) and reply[2] & 0x80)
    else:
        assert 512 <= query.size <= 1232
        dns.message.from_wire(octets)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_octets(octets):
    """Any octets are a query or a `MalformedQuery`, and get a reply that is no longer than they, or none."""
    check_any(octets)


@settings(max_examples=600, deadline=None)
@given(
    st.sampled_from([PLAIN, EDNS, message(question() + bytes.fromhex("000029 1000 00008000 0005 000a 0001 ff"))]),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=4),
    st.integers(0, 60),
    st.binary(max_size=4),
)
def test_mutated(wire, changes, cut, more):
    """A query with changed, missing or additional octets never raises anything but `MalformedQuery`."""
    octets = bytearray(wire)
    for at, value in changes:
        octets[at % len(octets)] = value
    check_any(bytes(octets[: max(0, len(octets) - cut)] if cut < 30 else octets) + more)


def facts(octets, *, tcp=False):
    """What a query says, or why it is none; remembered if it is one."""
    try:
        query = Query(octets, tcp=tcp)
    except MalformedQuery as error:
        return str(error), error.rcode
    assert query.wire == octets
    query.remember()
    return query.end, query.key, query.has_edns, query.size


@settings(max_examples=400, deadline=None)
@given(
    st.binary(max_size=40) | st.sampled_from([PLAIN, EDNS, EDNS.replace(b"www", b"WwW")]),
    st.tuples(st.integers(0, 60), st.integers(0, 255)),
    st.binary(min_size=2, max_size=2),
)
def test_what_is_remembered_is_what_was_read(octets, change, identifier):
    """The same octets under another id say the same as at the first time, and the same over TCP but for the size."""
    octets = bytearray(octets)
    if change[0] < len(octets):
        octets[change[0]] = change[1]
    module._keys.clear()
    first = facts(bytes(octets))
    assert len(module._keys) == (len(first) == 4)
    again = (identifier + octets[2:])[: len(octets)]
    assert facts(bytes(again)) == first
    over_tcp = facts(bytes(again), tcp=True)
    assert over_tcp[:3] == first[:3]
    assert over_tcp[3:] == ((65535,) if len(first) == 4 else ())
    assert facts(bytes(octets)) == first
    assert len(module._keys) == (len(first) == 4)


def test_what_is_remembered_is_bounded():
    """Whatever is asked, what is remembered of it takes 2.5 MiB at most, and a large query takes nothing."""
    module._keys.clear()
    tracemalloc.start()
    try:
        most = 0
        for number in range(module._REMEMBERED + 500):
            name = (b"\x3f" + b"%063d" % number) * 3 + b"\x3d" + b"x" * 61 + b"\0"
            for octets in (512, 513):
                padding = octets - 12 - len(name) - 4 - len(OPT) - 4
                opt = OPT[:-2] + struct.pack(">HHH", padding + 4, 12, padding) + bytes(padding)
                wire = message(question(name) + opt, counts=(1, 0, 0, 1))
                assert len(wire) == octets
                Query(wire).remember()
                most = max(most, len(module._keys))
        assert tracemalloc.get_traced_memory()[1] < 5 << 19
    finally:
        tracemalloc.stop()
    assert most == module._REMEMBERED
    assert max(map(len, module._keys)) == module._REMEMBERED_OCTETS - 2
    module._keys.clear()


def test_what_was_only_asked_is_not_remembered():
    """A query that nobody calls worth it takes no room."""
    module._keys.clear()
    Query(PLAIN)
    assert module._keys == {}
