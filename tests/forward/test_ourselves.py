"""Our own listeners are known as what they are, under whatever address."""

import pytest

from stubresolver.forward.ourselves import is_own
from stubresolver.upstream.server import parse_server


@pytest.mark.parametrize(
    ("server", "listening", "own"),
    [
        ("udp://127.0.0.1:5300", [("127.0.0.1", 5300)], True),
        ("tcp://127.0.0.1:5300", [("127.0.0.1", 5300)], True),
        ("udp://127.0.0.1:5301", [("127.0.0.1", 5300)], False),
        ("udp://127.0.0.53", [("127.0.0.1", 53)], False),
        ("udp://127.0.0.53", [("0.0.0.0", 53)], True),  # noqa: S104
        ("udp://[::1]", [("0.0.0.0", 53)], False),  # noqa: S104
        ("udp://[::1]", [("::", 53)], True),
        ("udp://127.0.0.1", [("::", 53)], True),  # such a socket takes both families, unless it is told not to
        ("udp://[::1]", [("::1", 53)], True),
        ("udp://10.255.255.254", [("0.0.0.0", 53)], False),  # noqa: S104
    ],
)
def test_own_listener_is_known(server, listening, own):
    """Whoever has us ask ourselves is found out, also where we listen on every address."""
    assert is_own(parse_server(server), listening) == own
