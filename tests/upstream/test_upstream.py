"""Upstreams as people write them."""

from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stubresolver.errors import BadInput
from stubresolver.upstream.upstream import Transport, Upstream, parse_upstream

DOT, DOH = Transport.DOT, Transport.DOH


@pytest.mark.parametrize(
    ("text", "upstream"),
    [
        ("tls://1.1.1.1", Upstream(DOT, ip_address("1.1.1.1"), 853, None, "")),
        ("tls://1.1.1.1:8853#One.One.One.One.", Upstream(DOT, ip_address("1.1.1.1"), 8853, "one.one.one.one", "")),
        (
            "tls://[2606:4700:4700::1111]#one.one.one.one",
            Upstream(DOT, ip_address("2606:4700:4700::1111"), 853, "one.one.one.one", ""),
        ),
        ("https://1.1.1.1", Upstream(DOH, ip_address("1.1.1.1"), 443, None, "/dns-query")),
        (
            "https://[::1]:8443/x/y#cloudflare-dns.com",
            Upstream(DOH, ip_address("::1"), 8443, "cloudflare-dns.com", "/x/y"),
        ),
        ("tls://[::ffff:1.0.0.1]", Upstream(DOT, ip_address("1.0.0.1"), 853, None, "")),
        ("  TLS://1.1.1.1  ", Upstream(DOT, ip_address("1.1.1.1"), 853, None, "")),
    ],
)
def test_upstream_is_read_and_written_alike(text, upstream):
    """What a person writes becomes one value, and that value's text reads as the same value."""
    assert parse_upstream(text) == upstream
    assert parse_upstream(str(upstream)) == upstream


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "scheme"),
        ("1.1.1.1", "scheme"),
        ("udp://1.1.1.1", "scheme 'udp'"),
        ("http://1.1.1.1/dns-query", "scheme 'http'"),
        ("tls://", "not an IP address"),
        ("tls://one.one.one.one", "not an IP address"),
        ("tls://localhost", "not an IP address"),
        ("tls://1.1.1", "not an IP address"),
        ("tls://1.1.1.1.1", "not an IP address"),
        ("tls://0x7f000001", "not an IP address"),
        ("tls://016843009", "not an IP address"),
        ("tls://01.1.1.1", "not an IP address"),
        ("tls://[fe80::1%eth0]", "zone identifiers"),
        ("tls://1.1.1.1:0", "port 0"),
        ("tls://1.1.1.1:65536", "out of range"),
        ("tls://1.1.1.1:-1", "expected tls://"),
        ("tls://1.1.1.1:x", "expected tls://"),
        ("tls://[::1", "expected tls://"),
        ("tls://2606:4700::1", "an IPv6 address stands in brackets"),
        ("tls://::1", "an IPv6 address stands in brackets"),
        ("tls://user@1.1.1.1", "user names"),
        ("tls://user:secret@1.1.1.1", "user names"),
        ("https://1.1.1.1/dns-query?a=b", "query strings"),
        ("tls://1.1.1.1/path", "DoT has no path"),
        ("tls://1.1.1.1#", "not a host name"),
        ("tls://1.1.1.1#-bad.test", "not a host name"),
        ("tls://1.1.1.1#a..b", "not a host name"),
        ("tls://1.1.1.1#1.0.0.1", "not a host name"),
        ("tls://1.1.1.1#*.test", "not a host name"),
        ("tls://1.1.1.1#a b", "not a host name"),
        ("tls://1.1.1.1#one.one\n.test", "control character"),
        ("tls://1.1.1.1\t#one.one.test", "control character"),
        ("tls://1.1.1.1#" + "a" * 64 + ".test", "not a host name"),
        ("tls://1.1.1.1#" + "a." * 127 + "aa", "not a host name"),
        ("tls://1.1.1.1#müller.test", "not a host name"),
    ],
)
def test_what_cannot_be_dialled_is_refused_with_the_reason(text, problem):
    """The message names what was got and what was expected; a '#' promises a name."""
    if problem is None:
        assert parse_upstream(text).name is None
        return
    with pytest.raises(BadInput, match=r".+") as refused:
        parse_upstream(text)
    assert problem in str(refused.value)
    assert "expected" in str(refused.value) or "host name" in str(refused.value)


_HOSTILE = st.text(st.sampled_from(list("tlshp:/[]#@?%.0123456789abcdefé \n\0\r\t-_\\")), max_size=60)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=80), _HOSTILE.map("tls://".__add__), _HOSTILE.map("https://1.1.1.1".__add__)))
def test_any_text_gives_an_upstream_or_our_error(text):
    """Whatever is written, the outcome is a value that can be sent on the wire, or `BadInput`."""
    try:
        upstream = parse_upstream(text)
    except BadInput:
        return
    assert parse_upstream(str(upstream)) == upstream
    assert 0 < upstream.port < 65536
    assert upstream.name is None or upstream.name.isascii()


@pytest.mark.parametrize("path", ["/dns query", "/dns-qu\u00e9ry", "/\0"])
def test_path_is_what_a_request_can_carry(path):
    """A path that HTTP cannot carry is refused where it is written, not where it is sent."""
    with pytest.raises(BadInput):
        parse_upstream(f"https://1.1.1.1{path}")
