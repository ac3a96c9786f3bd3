"""Server cookies: whose they are, how long they last, and what is no request for one."""

import dns.edns
import dns.message
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stubresolver.wire.cookie import answering_cookie, cookie_reply, is_well_formed, requested_cookie

SECRET, ADDRESS = b"s" * 32, bytes((192, 0, 2, 1))
CLIENT = b"abcdefgh"


def answer(cookie, *, secret=SECRET, address=ADDRESS, seconds=5000):
    """The data of the option that answers the cookie."""
    option = answering_cookie(cookie, secret, address, seconds)
    assert option[:4] == b"\0\n\0\x18"
    return option[4:]


def test_layout():
    """RFC 9018 s4: the client's cookie as it came, version, three zero octets, the time, and eight octets of hash."""
    cookie = answer(CLIENT)
    assert cookie[:16] == CLIENT + b"\xf0\0\0\0" + (5000).to_bytes(4)
    assert len(cookie) == 24


@pytest.mark.parametrize(
    ("later", "same"), [(0, True), (1, True), (1799, True), (1800, False), (9999, False), (-1, False)]
)
def test_young_cookie_is_kept_and_an_old_one_replaced(later, same):
    """RFC 9018 s4.3: a good cookie comes back as it is for half an hour; one of the future was not made by us."""
    cookie = answer(CLIENT)
    assert (answer(cookie, seconds=5000 + later) == cookie) is same


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=8, max_size=32), st.binary(min_size=8, max_size=8), st.integers(0, 2**32 - 1))
def test_any_other_cookie_gets_a_fresh_one(sent, client, seconds):
    """RFC 7873 s5.2.3: a server cookie that is not ours is answered with ours, as if none had been sent."""
    assert answer(client + sent, seconds=seconds) == answer(client, seconds=seconds)


@pytest.mark.parametrize(
    "change", [{"secret": b"t" * 32}, {"address": bytes((192, 0, 2, 2))}, {"address": bytes(16)}, {"seconds": 5001}]
)
def test_cookie_depends_on_everything(change):
    """Another secret, client address or time makes another cookie; so does another client cookie."""
    assert answer(CLIENT, **change)[8:] != answer(CLIENT)[8:]
    assert answer(b"ABCDEFGH")[8:] != answer(CLIENT)[8:]
    if "seconds" not in change:
        assert answer(answer(CLIENT), **change) != answer(CLIENT)


@pytest.mark.parametrize("octets", range(45))
def test_lengths(octets):
    """RFC 7873 s4: 8 octets, or 16 to 40."""
    assert is_well_formed(bytes(octets)) is (octets == 8 or 16 <= octets <= 40)


OPTION = b"\0\n\0\x08" + CLIENT
OPT = b"\0\0\x29\x04\xd0\0\0\0\0"


def request(options=OPTION, *, opt=OPT, flags=b"\1\0", counts=b"\0\0\0\0\0\0\0\1", rest=b""):
    return b"\x12\x34" + flags + counts + opt + len(options).to_bytes(2) + options + rest


def test_request_without_a_question():
    """RFC 7873 s5.4: a message with a COOKIE option and no question is answered with a cookie and nothing else."""
    wire = request()
    assert requested_cookie(wire) == CLIENT
    reply = dns.message.from_wire(cookie_reply(wire, answering_cookie(CLIENT, SECRET, ADDRESS, 5000)))
    assert (reply.id, reply.rcode(), reply.question, reply.answer) == (0x1234, 0, [], [])
    assert reply.flags == dns.flags.QR | dns.flags.RD | dns.flags.RA
    assert [option.otype for option in reply.options] == [10]
    assert requested_cookie(request(b"\0\x0b\0\0" + OPTION)) == CLIENT


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        request()[:-1],
        request()[:22],
        request(flags=b"\x81\0"),
        request(flags=b"\x29\0"),
        request(counts=b"\0\1\0\0\0\0\0\1"),
        request(counts=b"\0\0\0\0\0\0\0\2"),
        request(rest=b"\0"),
        request(opt=b"\0\0\x29\x04\xd0\0\1\0\0"),
        request(opt=b"\1a\0\x29\x04\xd0\0\0\0\0"),
        request(b""),
        request(b"\0\n\0\x07" + CLIENT[:7]),
        request(b"\0\n\0\x08" + CLIENT[:7]),
        request(b"\0\x0b\0\0"),
    ],
)
def test_no_request(wire):
    """A response, another opcode, another version, a question, or no well-formed cookie: that is no such message."""
    assert requested_cookie(wire) is None
