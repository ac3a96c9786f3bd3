"""Plain servers as a person writes them: what is read, and what is refused with its reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.errors import BadInput
from stubresolver.upstream.server import leased_server, parse_server, private_server


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("udp://10.0.0.53", "udp://10.0.0.53"),
        ("udp://10.0.0.53:53/", "udp://10.0.0.53"),
        ("tcp://192.168.1.1:5353", "tcp://192.168.1.1:5353"),
        ("udp://172.16.0.1", "udp://172.16.0.1"),
        ("udp://172.31.255.255", "udp://172.31.255.255"),
        ("udp://127.0.0.53", "udp://127.0.0.53"),
        ("udp://169.254.1.1", "udp://169.254.1.1"),
        ("udp://100.64.0.1", "udp://100.64.0.1"),
        ("udp://100.100.100.100", "udp://100.100.100.100"),
        ("udp://[fd00::53]", "udp://[fd00::53]"),
        ("udp://[::1]:5300", "udp://[::1]:5300"),
        ("udp://[fe80::1%eth0]", "udp://[fe80::1%eth0]"),
        ("udp://[::ffff:10.0.0.1]", "udp://10.0.0.1"),
    ],
)
def test_private_server_is_read(text, shown):
    """What is written back is what was meant, and reads as the same."""
    assert str(parse_server(text)) == shown
    assert parse_server(shown) == parse_server(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("udp://9.9.9.9", "9.9.9.9 is no address of a private network"),
        ("udp://9.9.9.9", "tls://9.9.9.9#NAME"),
        ("tcp://172.32.0.1", "no address of a private network"),
        ("udp://100.128.0.1", "no address of a private network"),
        ("udp://0.0.0.0", "no address of a private network"),
        ("udp://[2001:db8::1]", "no address of a private network"),
        ("udp://[::ffff:9.9.9.9]", "9.9.9.9 is no address of a private network"),
        ("udp://[64:ff9b::a00:1]", "no address of a private network"),
        ("udp://[::]", "no address of a private network"),
        ("udp://[ff02::fb]", "no address of a private network"),
        ("udp://[fe80::1]", "needs its interface, as in fe80::1%eth0"),
        ("udp://[fd00::1%eth0]", "is not link local and has no interface"),
        ("udp://10.0.0.1:0", "0 is no port"),
        ("udp://10.0.0.1:65536", "65536 is no port"),
        ("udp://10.0.0.1#name", "expected udp://IP"),
        ("udp://10.0.0.1/path", "expected udp://IP"),
        ("udp://10.0.0.256", "is no IP address"),
        ("udp://fd00::1", "an IPv6 address in brackets"),
        ("udp://dns.corp.example", "expected udp://IP"),
        ("udp://10.0.0.1\n", "expected udp://IP"),
        ("sctp://10.0.0.1", "expected udp://IP"),
        ("", "expected udp://IP"),
    ],
)
def test_everything_else_is_refused_with_its_reason(text, words):
    """A public address above all: nobody there may be asked without encryption."""
    with pytest.raises(BadInput) as caught:
        parse_server(text)
    assert words in str(caught.value)


@given(st.text(max_size=40) | st.from_regex(r"(udp|tcp)://\[?[0-9a-f:.%]*\]?(:[0-9]*)?"))
def test_any_text_is_a_private_server_or_refused(text):
    """Nothing else comes of any text."""
    try:
        server = parse_server(text)
    except BadInput:
        return
    assert server.address.is_private or server.address.is_link_local or str(server.address).startswith("100.")
    assert private_server(str(server.address), server.port, tcp=server.tcp) == server


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("192.168.1.1", "udp://192.168.1.1"),
        ("8.8.8.8", "udp://8.8.8.8"),
        ("2001:db8::1", "udp://[2001:db8::1]"),
        ("fe80::1%eth0", "udp://[fe80::1%eth0]"),
        ("::ffff:192.168.1.1", "udp://192.168.1.1"),
    ],
)
def test_leased_servers(text, shown):
    """What a network's DHCP gave may be public."""
    assert str(leased_server(text)) == shown


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1", "127.0.0.53", "::1", "::ffff:127.0.0.1", "0.0.0.1", "0.1.2.3", "::", "224.0.0.251", "ff02::fb",
        "255.255.255.255", "240.0.0.1",
    ],
)  # fmt: skip
def test_leased_servers_are_other_machines(text):
    """Neither this machine nor many at once, however it is written."""
    with pytest.raises(BadInput, match="cannot be the address of another machine"):
        leased_server(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "dns.example", "1.2.3", "192.168.1.1:53", "fe80::1", "2001:db8::1%eth0", "fe80::1%eth0\0\0",
        "fe80::1%\x1b[2J", "fe80::1%\udcff", "fe80::1%longer-than-names-are",
    ],
)  # fmt: skip
def test_what_cannot_be_a_leased_server(text):
    """What is no address, or lacks its interface, is refused in printable words; a file may end in zeros."""
    with pytest.raises(BadInput) as caught:
        leased_server(text)
    assert str(caught.value).isprintable()
