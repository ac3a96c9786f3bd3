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
