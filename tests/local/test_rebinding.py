"""Rebinding protection: which addresses are not public, and which names may have them."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.local import RebindingGuard, rebinding
from stubresolver.local.names import zone_name, zone_set
from stubresolver.local.rebinding import leads_here, private_range


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("0.0.0.0", "0.0.0.0/8"),  # noqa: S104 - nothing is bound here
        ("10.0.0.1", "10.0.0.0/8"),
        ("100.64.0.0", "100.64.0.0/10"),
        ("100.127.255.255", "100.64.0.0/10"),
        ("127.0.0.1", "127.0.0.0/8"),
        ("127.255.0.1", "127.0.0.0/8"),
        ("169.254.169.254", "169.254.0.0/16"),
        ("172.16.0.1", "172.16.0.0/12"),
        ("172.31.255.255", "172.16.0.0/12"),
        ("192.168.255.255", "192.168.0.0/16"),
        ("::", "::/128"),
        ("::1", "::1/128"),
        ("fc00::1", "fc00::/7"),
        ("fdff::1", "fc00::/7"),
        ("fe80::1", "fe80::/10"),
        ("febf::1", "fe80::/10"),
        ("fec0::1", "fec0::/10"),
        ("::ffff:10.0.0.1", "10.0.0.0/8"),
        ("::ffff:0:192.168.0.1", "192.168.0.0/16"),
        ("::127.0.0.1", "127.0.0.0/8"),
        ("64:ff9b::192.168.1.1", "192.168.0.0/16"),
        ("64:ff9b:1::10.0.0.1", "10.0.0.0/8"),
        ("64:ff9b:1:abcd::10.0.0.1", "10.0.0.0/8"),
        ("2002:c0a8:101::1", "192.168.0.0/16"),
    ],
)
def test_private_addresses(address, network):
    """What reaches this machine or its neighbours, plain or inside an IPv6 address that a translator takes apart."""
    found = private_range(ip_address(address).packed)
    assert found is not None
    assert found.startswith(network + " (")


@pytest.mark.parametrize(
    "address",
    [
        *("1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0"),
        *("169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0"),
        *("192.0.0.170", "224.0.0.1", "255.255.255.255", "2606:4700:4700::1111", "64:ff9b::1.1.1.1"),
        *("2002:101:101::1", "::ffff:1.1.1.1", "fbff::1", "fe00::1", "ff02::1", "64:ff9b::192.0.0.170"),
    ],
)
def test_public_addresses(address):
    """What lies beside the ranges is public; so are the addresses by which NAT64 is discovered (RFC 7050)."""
    assert private_range(ip_address(address).packed) is None


@given(st.ip_addresses(v=4))
def test_embedding_changes_nothing(address: IPv4Address):
    """An IPv4 address is private inside an IPv6 address exactly if it is so itself."""
    plain = private_range(address.packed)
    for prefix in ("::ffff:0:0", "64:ff9b::"):
        embedded = IPv6Address(int(IPv6Address(prefix)) | int(address)).packed
        assert private_range(embedded) == plain


@given(st.binary(max_size=20))
def test_any_octets_are_looked_at(octets):
    """Octets of another length than an address has are no address."""
    found = private_range(octets)
    assert found is None or len(octets) in (4, 16)


def test_first_private_address_decides():
    """One private address among public ones is enough; the names of an allowed zone may have it."""
    guard = RebindingGuard(zone_set(["plex.direct"]))
    addresses = [(1, bytes((1, 1, 1, 1))), (1, bytes((10, 0, 0, 1)))]
    assert guard.vet(zone_name("www.example"), addresses) == "10.0.0.0/8 (private, RFC 1918)"
    assert guard.vet(zone_name("www.example"), addresses[:1]) is None
    assert guard.vet(zone_name("10-0-0-1.abc.plex.direct"), addresses) is None
    assert guard.vet(zone_name("plex.direct.example"), addresses) is not None


@pytest.mark.parametrize(
    ("text", "here"),
    [("127.0.0.53", True), ("::1", True), ("::", True), ("0.0.0.0", True), ("::ffff:127.0.0.1", True),  # noqa: S104
     ("10.0.0.1", False), ("192.168.1.1", False), ("fe80::1", False), ("192.0.2.1", False), ("64:ff9b::7f00:1", True)],
)  # fmt: skip
def test_addresses_of_this_machine(text, here):
    """What reaches this machine itself, by whatever embeds it; a neighbour does not."""
    assert (leads_here(ip_address(text).packed) is not None) is here


def private_slowly(octets):
    """Whether an address is in one of the ranges, itself or by what it embeds, by way of `ipaddress` alone."""
    address = ip_address(octets)
    if any(address in one.network for one in rebinding._RANGES if one.network.version == address.version):
        return True
    embedded = [octets[at : at + 4] for prefix, at in rebinding._EMBEDDED if octets.startswith(prefix)]
    return len(octets) == 16 and any(private_slowly(each) for each in embedded)


def inside(one, rest):
    """An address of a range."""
    packed = one.network.network_address.packed
    return (packed[: one.network.prefixlen // 8] + rest)[: len(packed)]


REST = st.binary(min_size=16, max_size=16)


@given(
    st.one_of(
        st.binary(min_size=4, max_size=4),
        REST,
        st.builds(inside, st.sampled_from(rebinding._RANGES), REST),
        st.builds(lambda each, rest: (each[0] + rest)[:16], st.sampled_from(rebinding._EMBEDDED), REST),
    )
)
def test_the_short_look_finds_what_the_long_one_finds(octets):
    """Nothing that is in a range is let through for its first two octets."""
    assert (private_range(octets) is not None) == private_slowly(octets)
