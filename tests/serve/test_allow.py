"""Who is answered, with ipaddress as oracle."""

from ipaddress import IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stubresolver.errors import BadInput
from stubresolver.serve import check_listening, parse_listen_address
from stubresolver.serve.allow import AllowList

_four = st.ip_addresses(v=4) | st.sampled_from(["10.0.0.0", "10.0.0.255", "10.0.1.0", "9.255.255.255"]).map(ip_address)
_six = st.ip_addresses(v=6) | st.sampled_from(
    ["fd00::", "fd00::ffff", "fe00::", "::1", "::2", "::ffff:10.0.0.0", "::ffff:10.0.0.255", "::ffff:127.0.0.1"]
).map(ip_address)


def _network(address, length):
    return str(ip_network((address, min(length, address.max_prefixlen)), strict=False))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.builds(_network, _four | _six, st.integers(0, 128)), max_size=4), _four | _six)
def test_same_as_ipaddress(networks, address):
    """An address is allowed exactly if it is loopback or in a network, whichever way IPv4 is written."""
    mapped = IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed) if address.version == 4 else address
    spellings = {4: mapped.ipv4_mapped, 6: mapped}
    expected = (mapped.ipv4_mapped or mapped).is_loopback or any(
        spellings[network.version] is not None and spellings[network.version] in network
        for network in map(ip_network, networks)
        if mapped.ipv4_mapped is None or network.version == 4 or network.prefixlen >= 96
    )
    assert (mapped.packed in AllowList(networks)) is expected
    assert (address.packed in AllowList(networks)) is expected


def test_mapped_addresses_are_those_of_ipv4():
    """A client that reaches an IPv6 socket by IPv4 is judged by its IPv4 address (RFC 4291 s2.5.5.2)."""
    allowed = AllowList(["10.0.0.0/8"])
    assert IPv6Address("::ffff:10.1.2.3").packed in allowed
    assert IPv6Address("::ffff:127.0.0.1").packed in allowed
    assert IPv6Address("::ffff:11.1.2.3").packed not in allowed
    assert IPv6Address("::10.1.2.3").packed not in allowed


def test_mapped_networks_are_those_of_ipv4():
    """A network of such addresses is what it says, however its clients come; all of IPv6 is none of IPv4."""
    allowed = AllowList(["::ffff:10.0.0.0/104"])
    assert ip_address("10.1.2.3").packed in allowed
    assert IPv6Address("::ffff:10.1.2.3").packed in allowed
    assert ip_address("11.1.2.3").packed not in allowed
    assert ip_address("fd00::1").packed not in allowed
    assert IPv6Address("::ffff:10.1.2.3").packed not in AllowList(["::/0"])


def test_nobody_but_loopback_without_a_list():
    """An empty list lets this machine in and nobody else."""
    allowed = AllowList([])
    assert ip_address("127.8.9.1").packed in allowed
    assert ip_address("::1").packed in allowed
    assert ip_address("192.168.1.1").packed not in allowed
    assert ip_address("fe80::1").packed not in allowed


@pytest.mark.parametrize("text", ["", "10.0.0.1/8", "host", "10.0.0.0/8/8", "fd00::/200"])
def test_what_is_no_network(text):
    """The error quotes what was got and says what was expected."""
    with pytest.raises(BadInput, match="expected a network such as"):
        AllowList([text])


def test_exposed_listener():
    """An address beyond loopback needs a list; loopback addresses need none."""
    inside, outside = parse_listen_address("127.0.0.9"), parse_listen_address("192.168.1.5")
    check_listening([inside], [])
    check_listening([inside, outside], ["192.168.1.0/24"])
    with pytest.raises(BadInput, match=r'192\.168\.1\.5:53 can be reached.*`allow = \["192\.168\.1\.0/24"\]`'):
        check_listening([inside, outside], [])
