"""The lines of a conversation and the names in it: whatever octets come."""

import contextlib

import dns.name
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.control.names import wire_name
from stubresolver.control.protocol import Request, read_request
from stubresolver.errors import BadInput


def test_requests():
    """A command, and a name where one is needed."""
    assert read_request(b'{"command": "cache.stats"}') == Request(command="cache.stats")
    assert read_request(b'{"command": "cache.show", "name": "a."}') == Request(command="cache.show", name="a.")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"cache.stats",
        b"[]",
        b"{}",
        b'{"command": 1}',
        b'{"command": "x", "more": 1}',
        b"[" * 4000,
        b"\xff",
        b'{"command": "\xf8"}',
    ],
)
def test_no_requests(line):
    """What is none says so."""
    with pytest.raises(BadInput, match="not a request"):
        read_request(line)


@given(st.binary(max_size=100))
def test_any_line(line):
    """Whatever a client sends is a request or `BadInput`."""
    with contextlib.suppress(BadInput):
        read_request(line)


@pytest.mark.parametrize(
    ("text", "wire"),
    [
        (".", b"\0"),
        ("com", b"\3com\0"),
        ("WWW.example.com.", b"\3www\7example\3com\0"),
        (r"a\.b.\065\\", b"\3a.b\2a\\\0"),
        (r"\000\255", b"\2\0\xff\0"),
        ("a" * 63, b"\x3f" + b"a" * 63 + b"\0"),
    ],
)
def test_names(text, wire):
    """Names as zone files have them (RFC 1035 s5.1)."""
    assert wire_name(text) == wire


@pytest.mark.parametrize(
    "text", ["", "..", "a..b", ".a", "a" * 64, "a\\", r"\25", r"\256", "ä", "a." * 128, "\\", r"\9"]
)
def test_no_names(text):
    """What is no name is refused in words."""
    with pytest.raises(BadInput):
        wire_name(text)


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=10))
def test_names_that_were_written_by_others(labels):
    """Every name comes back from the text that dnspython writes for it."""
    name = dns.name.Name([*labels, b""])
    assert wire_name(name.to_text()) == name.to_wire().lower()


@given(st.text(max_size=300))
def test_any_name(text):
    """Whatever text comes is a name or `BadInput`."""
    with contextlib.suppress(BadInput):
        assert len(wire_name(text)) <= 255
