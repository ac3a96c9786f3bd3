"""rtnetlink messages between octets and values: what counts, what does not, and that no octets raise."""

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.netwatch.netlink import (
    DEL_ADDRESS,
    DEL_LINK,
    DEL_ROUTE,
    ERROR,
    NEW_ADDRESS,
    NEW_LINK,
    NEW_ROUTE,
    Message,
    Route,
    interrupts,
    left,
    link_request,
    link_runs,
    messages,
    network_key,
    read_route,
    route_request,
)

SALT = bytes(16)
HERE, ROUTER = ip_address("192.0.2.7").packed, ip_address("192.0.2.1").packed
HOME = Route(3, ROUTER, HERE)


def attribute(kind, value):
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + bytes(-length % 4)


def message(kind, body, sequence=1):
    return struct.pack("=IHHII", 16 + len(body), kind, 0, sequence, 0) + body + bytes(-len(body) % 4)


def route_body(*attributes, family=2, kind=1):
    return struct.pack("=BBBBBBBBI", family, 32, 0, 0, 254, 0, 0, kind, 0) + b"".join(attributes)


def link_body(index=3, flags=0x1 | 0x40):
    return struct.pack("=BxHiII", 0, 1, index, flags, 0)


def address_body(*attributes, family=2):
    return struct.pack("=BBBBI", family, 24, 0, 0, 3) + b"".join(attributes)


def number(value):
    return struct.pack("=I", value)


FULL = route_body(attribute(1, bytes(4)), attribute(4, number(3)), attribute(5, ROUTER), attribute(7, HERE))


def test_a_datagram_of_several_messages():
    """Each message begins at a multiple of four octets."""
    datagram = message(NEW_LINK, b"abc", 1) + message(DEL_ROUTE, b"defgh", 2)
    assert list(messages(datagram)) == [Message(NEW_LINK, 1, b"abc"), Message(DEL_ROUTE, 2, b"defgh")]


@pytest.mark.parametrize("length", [0, 15, 21, 0xFFFFFFFF])
def test_a_message_that_does_not_fit_ends_the_datagram(length):
    """A length below the header's or beyond the datagram's end says nothing of what follows."""
    whole = message(NEW_LINK, b"abcd")
    broken = struct.pack("=I", length) + whole[4:]
    assert list(messages(whole + broken)) == [Message(NEW_LINK, 1, b"abcd")]


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700:4700::1111"])
def test_requests_are_well_formed(address):
    """What is asked has the lengths that the kernel demands, and the address whole."""
    (asked,) = messages(route_request(ip_address(address), 7))
    assert (asked.kind, asked.sequence) == (26, 7)
    assert asked.body[1] == ip_address(address).max_prefixlen
    assert asked.body.endswith(ip_address(address).packed)
    (asked,) = messages(link_request(5, 8))
    assert (asked.kind, asked.sequence, struct.unpack_from("=i", asked.body, 4)) == (18, 8, (5,))


def test_a_route():
    """Interface, gateway and our own address."""
    assert read_route(Message(NEW_ROUTE, 1, FULL)) == HOME


def test_a_route_on_the_link_and_one_by_the_other_family():
    """Without a gateway the address is on the link; an IPv4 route may have an IPv6 router (RFC 8950 s3)."""
    assert read_route(Message(NEW_ROUTE, 1, route_body(attribute(4, number(9))))) == Route(9, b"", b"")
    via = number(10)[:2] + bytes(16)
    found = read_route(Message(NEW_ROUTE, 1, route_body(attribute(4, number(9)), attribute(18, via))))
    assert found == Route(9, via, b"")


@pytest.mark.parametrize("kind", [0, 3, 4, 5, 6, 7, 8, 9, 255])
def test_a_route_that_sends_nothing(kind):
    """Unreachable, blackhole, prohibit and the like are no way to anywhere."""
    assert read_route(Message(NEW_ROUTE, 1, route_body(attribute(4, number(3)), kind=kind))) is None


@pytest.mark.parametrize(
    "answer",
    [
        Message(ERROR, 1, number(0xFFFFFF9B)),
        Message(DEL_ROUTE, 1, FULL),
        Message(NEW_ROUTE, 1, FULL[:11]),
        Message(NEW_ROUTE, 1, FULL[:12]),
        Message(NEW_ROUTE, 1, route_body(attribute(4, b"\3"))),
    ],
)
def test_no_route(answer):
    """An error, another message, one that is cut, one without an interface."""
    assert read_route(answer) is None


@pytest.mark.parametrize(("flags", "runs"), [(0x41, True), (0x1, False), (0x40, False), (0x10043, True), (0, False)])
def test_a_link_runs_if_it_is_up_and_has_a_carrier(flags, runs):
    """IFF_UP and IFF_RUNNING, both."""
    assert link_runs(Message(NEW_LINK, 1, link_body(flags=flags))) is runs


def test_interruptions():
    """A carrier that was lost, a link or an address that was taken away, where they were in use."""
    lost = Message(NEW_LINK, 0, link_body(3, 0x1))
    assert interrupts(lost, (None, HOME))
    assert interrupts(Message(DEL_LINK, 0, link_body(3)), (HOME,))
    assert interrupts(Message(DEL_ADDRESS, 0, address_body(attribute(2, HERE))), (HOME,))
    assert interrupts(Message(DEL_ADDRESS, 0, address_body(attribute(1, HERE), attribute(2, HERE))), (HOME,))


def test_what_interrupts_nothing():
    """Another link, a link that runs, an address that comes or that nobody uses: a container, a renewed lifetime."""
    assert not interrupts(Message(NEW_LINK, 0, link_body(4, 0x1)), (HOME,))
    assert not interrupts(Message(NEW_LINK, 0, link_body(3)), (HOME,))
    assert not interrupts(Message(NEW_ADDRESS, 0, address_body(attribute(2, HERE))), (HOME,))
    assert not interrupts(Message(DEL_ADDRESS, 0, address_body(attribute(2, ROUTER))), (HOME,))
    assert not interrupts(Message(DEL_ROUTE, 0, FULL), (HOME,))
    assert not interrupts(Message(NEW_LINK, 0, link_body(3, 0)), (None,))


def test_the_key_of_a_network():
    """Interface, router, our IPv4 address and the IPv6 prefix make another network; a temporary address does not."""
    six = Route(3, ip_address("fe80::1").packed, ip_address("2001:db8::1:2:3:4").packed)
    temporary = Route(3, six.gateway, ip_address("2001:db8::9:9:9:9").packed)
    assert network_key((temporary,), SALT) == network_key((six,), SALT)
    assert not left((HOME, six), (HOME, temporary))
    others = [
        (Route(4, ROUTER, HERE), None),
        (Route(3, HERE, HERE), None),
        (Route(3, ROUTER, ROUTER), None),
        (None, Route(3, six.gateway, ip_address("2001:db8:0:1::1").packed)),
        (None, six),
        (HOME, HOME),
    ]
    keys = {network_key(other, SALT) for other in [*others, (HOME, None)]}
    assert len(keys) == len(others) + 1
    assert all(left((HOME, six), other) for other in others)


def test_ipv6_that_comes_a_second_later_is_no_other_network():
    """One more way leaves what stands alone, and the network's key is what it was; one way less does not."""
    six = Route(3, ip_address("fe80::1").packed, ip_address("2001:db8::1:2:3:4").packed)
    assert not left((HOME, None), (HOME, six))
    assert network_key((HOME, None), SALT) == network_key((HOME, six), SALT)
    assert left((HOME, six), (HOME, None))
    assert left((HOME, six), (None, six))
    assert left((None, None), (None, six))
    assert not left((None, None), (None, None))
    assert not left((HOME, six), (HOME, six))


def test_no_network_has_no_key():
    """Where nothing can be reached the key is empty."""
    assert network_key((), SALT) == ""
    assert network_key((None, None), SALT) == ""


def test_the_key_says_nothing_of_the_network():
    """Another process has another salt, so that the key of a network in a log is nobody's address."""
    assert network_key((HOME,), SALT) != network_key((HOME,), bytes(15) + b"\1")
    assert HERE.hex() not in network_key((HOME,), SALT)


@given(st.binary(max_size=300))
def test_no_octets_raise(octets):
    """Whatever a datagram holds is read without raising."""
    for each in messages(octets):
        read_route(each)
        link_runs(each)
        interrupts(each, (HOME, None))


@given(st.sampled_from([NEW_ROUTE, NEW_LINK, DEL_LINK, DEL_ADDRESS, ERROR]), st.binary(max_size=120))
def test_no_body_raises(kind, body):
    """Whatever a message of a known kind holds is read without raising."""
    (each,) = messages(message(kind, body))
    assert each.body == body
    assert read_route(each) is None or kind == NEW_ROUTE
    assert link_runs(each) in (True, False)
    assert interrupts(each, (HOME,)) in (True, False)
