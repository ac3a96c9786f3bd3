"""What the listeners answer by themselves: a table of junk, and whatever can be made of real messages."""

import struct

import dns.message
import dns.rcode
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stubresolver.errors import MalformedQuery
from stubresolver.serve.front import Front
from stubresolver.serve.options import ListenOptions
from stubresolver.wire.query import Query

NAME = b"\3www\7example\3com\0"
OPT = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"
HERE = bytes((127, 0, 0, 1))
FRONT = Front(ListenOptions())


def query(name=NAME, kind=1, klass=1, *, flags=0x0100, counts=(1, 0, 0, 0), rest=b""):
    return struct.pack(">6H", 0xABCD, flags, *counts) + name + struct.pack(">HH", kind, klass) + rest


def edns(*options, version=0, **fields):
    """A query with an OPT record and these options, each a code and its data."""
    data = b"".join(struct.pack(">HH", code, len(value)) + value for code, value in options)
    opt = b"\0\0\x29\x04\xd0\0" + bytes((version, 0, 0)) + struct.pack(">H", len(data)) + data
    return query(counts=(1, 0, 0, 1), rest=opt, **fields)


def listen(octets, *, tcp=False):
    """What a listener does with octets: the reply, None for silence, or the query that it hands on."""
    try:
        parsed = Query(octets, tcp=tcp)
    except MalformedQuery as error:
        return FRONT.refuse(octets, error, HERE, 100.0, tcp=tcp)
    return FRONT.greet(parsed, HERE, 100.0, tcp=tcp) or parsed


ON = "handed on"
LONGEST = (b"\x3f" + b"a" * 63) * 3 + b"\x3d" + b"a" * 61 + b"\0"
COOKIE = b"\0\n\0\x08abcdefgh"
TABLE = {
    # the header
    "nothing": (b"", None),
    "one octet": (b"\0", None),
    "eleven octets": (query()[:11], None),
    "twelve zero octets": (bytes(12), "FORMERR"),
    "twelve octets of ones": (b"\xff" * 12, None),
    "a header that announces a question": (query()[:12], "FORMERR"),
    "a response": (query(flags=0x8100), None),
    "a response with an error": (query(flags=0x8182), None),
    "a response with records": (query(flags=0x8180, counts=(1, 1, 0, 0), rest=bytes(11)), None),
    "a response to NOTIFY": (query(flags=0xA100), None),
    "a response of class CHAOS": (query(klass=3, flags=0x8100), None),
    "a response with a cookie alone": (query(b"", flags=0x8100, counts=(0, 0, 0, 1))[:12] + OPT, None),
    "a response that is cut": (query(flags=0x8100)[:14], None),
    "opcode IQUERY": (query(flags=0x0900), "NOTIMP"),
    "opcode STATUS": (query(flags=0x1100), "NOTIMP"),
    "opcode 3": (query(flags=0x1900), "NOTIMP"),
    "opcode NOTIFY": (query(flags=0x2100), "NOTIMP"),
    "opcode UPDATE": (query(flags=0x2900), "NOTIMP"),
    "opcode DSO": (query(flags=0x3100, counts=(0, 0, 0, 0))[:12], "NOTIMP"),
    "opcode 15": (query(flags=0x7900), "NOTIMP"),
    "all other flags": (query(flags=0x07FF), ON),
    "no flags": (query(flags=0), ON),
    # the counts
    "no question": (query(counts=(0, 0, 0, 0)), "FORMERR"),
    "no question, no octets behind it": (query(counts=(0, 0, 0, 0))[:12], "FORMERR"),
    "two questions": (query(counts=(2, 0, 0, 0), rest=NAME + b"\0\1\0\1"), "FORMERR"),
    "65535 questions": (query(counts=(65535, 0, 0, 0)), "FORMERR"),
    "65535 of everything": (query(counts=(65535,) * 4), "FORMERR"),
    "an answer": (query(counts=(1, 1, 0, 0), rest=bytes(11)), "FORMERR"),
    "an authority record": (query(counts=(1, 0, 1, 0), rest=bytes(11)), "FORMERR"),
    "65535 additional records": (query(counts=(1, 0, 0, 65535), rest=OPT), "FORMERR"),
    # the question
    "a name without end": (query()[:20], "FORMERR"),
    "a name and no type": (query()[:-4], "FORMERR"),
    "half a type": (query()[:-3], "FORMERR"),
    "no class": (query()[:-2], "FORMERR"),
    "half a class": (query()[:-1], "FORMERR"),
    "a pointer to itself": (query(b"\xc0\x0c"), "FORMERR"),
    "a pointer into the header": (query(b"\xc0\x00"), "FORMERR"),
    "a pointer beyond the end": (query(b"\xff\xff"), "FORMERR"),
    "a pointer behind a label": (query(b"\3www\xc0\x0c"), "FORMERR"),
    "label type 01": (query(b"\x41a\0"), "FORMERR"),
    "label type 10": (query(b"\x81a\0"), "FORMERR"),
    "a label of 64": (query(b"\x40" + b"a" * 64 + b"\0"), "FORMERR"),
    "a name of 255": (query(LONGEST), ON),
    "a name of 256": (query(b"\x3f" + b"a" * 63 + LONGEST[64:-63] + b"\x3e" + b"a" * 62 + b"\0"), "FORMERR"),
    "a name of 1000 octets": (query(b"\1a" * 500 + b"\0"), "FORMERR"),
    "the root": (query(b"\0"), ON),
    "zero octets in a label": (query(b"\3\0\0\0\0"), ON),
    "dots and spaces in a label": (query(b"\4. .\x80\0"), ON),
    "type 0": (query(kind=0), ON),
    "type 65535": (query(kind=65535), ON),
    "type OPT": (query(kind=41), "NOTIMP"),
    "type NXNAME": (query(kind=128), "FORMERR"),
    "type TKEY": (query(kind=249), "NOTIMP"),
    "type TSIG": (query(kind=250), "NOTIMP"),
    "type IXFR": (query(kind=251), "NOTIMP"),
    "type AXFR": (query(kind=252), "NOTIMP"),
    "type MAILA": (query(kind=254), "NOTIMP"),
    "type ANY": (query(kind=255), "NOERROR"),
    "class 0": (query(klass=0), "NOTIMP"),
    "class CHAOS": (query(klass=3), "REFUSED"),
    "class CHAOS, transfer": (query(kind=252, klass=3), "NOTIMP"),
    "class CHAOS, version": (query(b"\7version\4bind\0", kind=16, klass=3), "NOERROR"),
    "class CHAOS, identity": (query(b"\2id\6server\0", kind=16, klass=3), "REFUSED"),
    "class HESIOD": (query(klass=4), "NOTIMP"),
    "class NONE": (query(klass=254), "NOTIMP"),
    "class ANY": (query(klass=255), "NOTIMP"),
    # what follows it
    "one octet more": (query(rest=b"\0"), "FORMERR"),
    "OPT that is not counted": (query(rest=OPT), "FORMERR"),
    "OPT that is counted and not there": (query(counts=(1, 0, 0, 1)), "FORMERR"),
    "OPT, cut": (query(counts=(1, 0, 0, 1), rest=OPT[:-1]), "FORMERR"),
    "OPT and an octet more": (query(counts=(1, 0, 0, 1), rest=OPT + b"\0"), "FORMERR"),
    "OPT twice": (query(counts=(1, 0, 0, 2), rest=OPT * 2), "FORMERR"),
    "OPT not at the root": (query(counts=(1, 0, 0, 1), rest=b"\1a" + OPT), "FORMERR"),
    "OPT owned by a pointer": (query(counts=(1, 0, 0, 1), rest=b"\xc0\x0c" + OPT[1:]), "FORMERR"),
    "an address beside it": (query(counts=(1, 0, 0, 1), rest=b"\0\0\1\0\1" + bytes(6)), "FORMERR"),
    "TSIG": (query(counts=(1, 0, 0, 1), rest=b"\0\0\xfa\0\xff" + bytes(6)), "NOTIMP"),
    "OPT and TSIG": (query(counts=(1, 0, 0, 2), rest=OPT + b"\0\0\xfa\0\xff" + bytes(6)), "NOTIMP"),
    "SIG(0)": (query(counts=(1, 0, 0, 1), rest=b"\0\0\x18\0\xff" + bytes(6)), "NOTIMP"),
    "EDNS version 1": (edns(version=1), "BADVERS"),
    "EDNS version 255": (edns(version=255), "BADVERS"),
    "EDNS version 1 and a cookie": (edns((10, b"abcdefgh"), version=1), "BADVERS"),
    "EDNS version 1 and AXFR": (edns(version=1, kind=252), "NOTIMP"),
    "half an option": (query(counts=(1, 0, 0, 1), rest=OPT[:-1] + b"\3\0\n\0"), "FORMERR"),
    "an option longer than OPT": (query(counts=(1, 0, 0, 1), rest=OPT[:-1] + b"\5\0\n\0\2a"), "FORMERR"),
    "unknown options": (edns((65001, b"x"), (65002, b"")), ON),
    "NSID": (edns((3, b"")), ON),
    "padding": (edns((12, bytes(100))), ON),
    "client subnet that is no address": (edns((8, b"\xff")), ON),
    "keepalive with a time": (edns((11, b"\0\1")), ON),
    "a cookie": (edns((10, b"abcdefgh")), ON),
    "a cookie with a server's part": (edns((10, b"x" * 40)), ON),
    "an empty cookie": (edns((10, b"")), "FORMERR"),
    "a cookie of 7": (edns((10, b"x" * 7)), "FORMERR"),
    "a cookie of 9": (edns((10, b"x" * 9)), "FORMERR"),
    "a cookie of 15": (edns((10, b"x" * 15)), "FORMERR"),
    "a cookie of 41": (edns((10, b"x" * 41)), "FORMERR"),
    "a good cookie and a bad one": (edns((10, b"x" * 8), (10, b"")), ON),
    "a cookie alone": (query(counts=(0, 0, 0, 1))[:12] + OPT[:-1] + b"\x0c" + COOKIE, "NOERROR"),
    "OPT alone": (query(counts=(0, 0, 0, 1))[:12] + OPT, "FORMERR"),
}  # fmt: skip


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("case", TABLE)
def test_table(case, tcp):
    """Each kind of octets gets its answer, its error or silence, over UDP and TCP alike."""
    octets, expected = TABLE[case]
    reply = listen(octets, tcp=tcp)
    if expected is ON:
        assert isinstance(reply, Query)
    elif expected is None:
        assert reply is None
    else:
        assert (reply[:2], reply[2] & 0xF8) == (octets[:2], 0x80 | octets[2] & 0x78)
        if reply[2] & 0x78 in (0, 0x10, 0x20):  # the others dnspython reads by other rules
            assert dns.rcode.to_text(dns.message.from_wire(reply).rcode()) == expected
        assert reply[3] & 0x0F == dns.rcode.from_text(expected) & 0x0F


def test_table_is_long():
    """Sixty kinds at least."""
    assert len(TABLE) >= 60


def test_what_is_handed_on_has_the_clients_own_options():
    """A cookie over both, keepalive over TCP only, and nothing for options that are ignored."""
    asked = edns((3, b""), (10, b"abcdefgh"), (11, b""))
    assert [option[0] for option in options(listen(asked).extra)] == [10]
    assert [option[0] for option in options(listen(asked, tcp=True).extra)] == [10, 11]
    assert options(listen(edns((11, b"")), tcp=True).extra) == [(11, b"\0\x64")]  # 10 s
    for none in (query(), edns(), edns((3, b""), (12, b"\0")), edns((8, b"\0\1\0\0"))):
        assert listen(none).extra == listen(none, tcp=True).extra == b""


def options(octets):
    """The options in the octets."""
    found = []
    while octets:
        code, length = struct.unpack_from(">HH", octets)
        found.append((code, octets[4 : 4 + length]))
        octets = octets[4 + length :]
    return found


def test_own_answers_have_the_cookie_too():
    """RFC 7873 s5.2: every reply to a client with a cookie has one, also where the listener itself replies."""
    for asked in (
        edns((10, b"abcdefgh"), kind=255),
        edns((10, b"abcdefgh"), name=b"\7version\4bind\0", kind=16, klass=3),
        edns((10, b"abcdefgh"), klass=3),
    ):
        assert [option.otype for option in dns.message.from_wire(listen(asked)).options if option.otype == 10] == [10]


def test_cookie_comes_back_the_same():
    """A client that sends our cookie gets it again, from the same service; another service makes its own."""
    (first,) = options(listen(edns((10, b"abcdefgh"))).extra)
    assert options(listen(edns(first)).extra) == [first]
    other = Query(edns(first))
    Front(ListenOptions()).greet(other, HERE, 100.0)
    assert options(other.extra) != [first]


def test_version_and_identity_are_configured():
    """The version is this program's; the identity is what the options say."""
    front = Front(ListenOptions(identity="kitchen"))
    for name, text in ((b"\7version\4bind\0", b"stubresolver "), (b"\2id\6server\0", b"kitchen")):
        asked = query(name, kind=16, klass=3)
        with pytest.raises(MalformedQuery) as caught:
            Query(asked)
        assert text in front.refuse(asked, caught.value, HERE, 0.0)


@pytest.mark.parametrize("case", TABLE)
def test_turned_away(case):
    """Who may not ask hears REFUSED if it is a query, else nothing, and never more octets than it sent."""
    octets, expected = TABLE[case]
    reply = FRONT.turn_away(octets)
    assert reply is None or (len(reply) <= len(octets) and reply[3] & 0x0F == 5)
    assert (reply is not None) is (expected is ON or case == "type ANY")


def test_turned_away_with_the_reason():
    """Where the client's padding leaves room, it is told why (RFC 8914 s4.19)."""
    refusal = dns.message.from_wire(FRONT.turn_away(edns((12, bytes(100)))))
    assert [option.code for option in refusal.options] == [18]
    assert dns.message.from_wire(FRONT.turn_away(edns())).options == ()


def check(octets, *, tcp):
    """The law for any octets."""
    reply = listen(octets, tcp=tcp)
    if isinstance(reply, Query) or reply is None:
        return
    assert len(octets) >= 12
    assert not octets[2] & 0x80
    assert (reply[:2], reply[2] & 0xF8) == (octets[:2], 0x80 | octets[2] & 0x78)
    if len(reply) > len(octets):  # only a right answer, or a reason to a right query, may be longer
        kind = octets[4:12]
        assert kind in (b"\0\1\0\0\0\0\0\0", b"\0\1\0\0\0\0\0\1", b"\0\0\0\0\0\0\0\1")
        assert len(reply) <= len(octets) + 90
        assert reply[3] & 0x0F in (0, 5)


_CASES = [octets for octets, _ in TABLE.values()]


@settings(max_examples=250, deadline=None)
@given(
    st.sampled_from(_CASES),
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), max_size=4),
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 12), st.binary(max_size=6)), max_size=2),
    st.booleans(),
)
def test_mutated(octets, changes, splices, tcp):
    """Real messages with octets changed, taken out and put in: nothing is raised, nothing is amplified."""
    mutated = bytearray(octets)
    for at, value in changes:
        if mutated:
            mutated[at % len(mutated)] = value
    for at, length, more in splices:
        start = at % (len(mutated) + 1)
        mutated[start : start + length] = more
    check(bytes(mutated), tcp=tcp)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=80), st.booleans())
def test_any_octets(octets, tcp):
    """Any octets at all, and behind a plausible header: the same law."""
    check(octets, tcp=tcp)
    check(query()[:12] + octets, tcp=tcp)
    check(query(counts=(0, 0, 0, 1))[:12] + octets, tcp=tcp)
    FRONT.turn_away(octets)
