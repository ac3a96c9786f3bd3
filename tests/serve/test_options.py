"""The listeners' options."""

import msgspec
import pytest

from stubresolver.serve import ListenOptions, parse_listen_address


def test_defaults_listen_on_loopback_only():
    """Without configuration nobody but this machine is served."""
    addresses = [parse_listen_address(text) for text in ListenOptions().addresses]
    assert [str(address) for address in addresses] == ["127.0.0.1:53", "[::1]:53"]
    assert all(address.is_loopback for address in addresses)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("addresses", []),
        ("tcp_idle_seconds", 0.5),
        ("tcp_idle_seconds", 301),
        ("tcp_clients", 0),
        ("tcp_clients", 4097),
        ("tcp_queries", 0),
        ("tcp_queries", True),
        ("tcp_querys", 5),
    ],
)
def test_out_of_range_and_unknown_keys_are_refused(key, value):
    """An option out of its range, of the wrong type or unknown is refused, not guessed."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({key: value}, ListenOptions)


@pytest.mark.parametrize(
    ("address", "example"),
    [
        ("0.0.0.0:53", "192.168.1.0/24"),
        ("[::]:53", "fd00::/8"),
        ("192.168.7.1", "192.168.7.0/24"),
        ("fd12:3456::1", "fd12:3456::/64"),
    ],
)
def test_listening_beyond_loopback_needs_an_allow_list(address, example):
    """RFC 5358 s4: where other machines can ask, the configuration says which may; the error names the way out."""
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert({"addresses": ["127.0.0.1:53", address]}, ListenOptions)
    assert "can be reached by other machines" in str(caught.value)
    assert f'allow = ["{example}"]' in str(caught.value)
    msgspec.convert({"addresses": [address], "allow": [example]}, ListenOptions)


@pytest.mark.parametrize("network", ["", "localhost", "192.168.1.1/24", "10.0.0.0/33", "fd00::/129", "0.0.0.0/0/0"])
def test_what_is_no_network_is_refused(network):
    """A network with host bits, or none at all, is refused with what was expected, on loopback too."""
    with pytest.raises(msgspec.ValidationError, match=r"expected a network such as 192\.168\.1\.0/24"):
        msgspec.convert({"allow": [network]}, ListenOptions)


def test_what_is_no_address_is_not_judged_here():
    """An address that cannot be read is told by its place in the list, by who reads the list."""
    assert ListenOptions(addresses=("localhost",)).allow == ()
