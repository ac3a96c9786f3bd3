"""One word for each client."""

from ipaddress import ip_address

import pytest

from stubresolver.serve.asker import asker_of


def asker(address, port):
    return asker_of(ip_address(address).packed, port)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_on_this_machine_each_socket_counts(address):
    """On loopback all programs have one address, so their ports tell them apart."""
    assert asker(address, 1000) != asker(address, 1001)
    assert asker(address, 1000) == asker(address, 1000)


@pytest.mark.parametrize("address", ["192.168.1.7", "::ffff:192.168.1.7", "2001:db8::7"])
def test_another_machine_counts_once(address):
    """A machine elsewhere is one asker, however many ports it asks from."""
    assert asker(address, 1000) == asker(address, 1001)


def test_an_ipv6_machine_is_its_network():
    """RFC 4291 s2.5.4: the last 64 bits are the machine's own choice, so they make no other asker of it."""
    assert asker("2001:db8::7", 1) == asker("2001:db8::ffff:8", 1)
    assert asker("2001:db8::7", 1) != asker("2001:db8:0:1::7", 1)


def test_one_machine_by_both_kinds_of_socket():
    """RFC 4291 s2.5.5.2: an IPv4 client is the same one on a socket for both families."""
    assert asker("::ffff:192.168.1.7", 5) == asker("192.168.1.7", 5)
