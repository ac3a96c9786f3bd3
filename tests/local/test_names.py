"""Host names between text and wire format."""

import dns.name
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.errors import BadInput
from stubresolver.local.names import host_name, zone_in, zone_name, zone_set

LABEL = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=63)


@given(st.lists(LABEL, min_size=1, max_size=8))
def test_names_are_as_dnspython_writes_them(labels):
    """A host name is lowered and given its labels' lengths; one that is too long is none."""
    text = ".".join(labels)
    try:
        expected = dns.name.from_text(text).to_wire()
    except dns.name.NameTooLong:
        expected = None
    assert host_name(text.encode()) == expected
    assert host_name(text.upper().encode() + b".") == expected


@given(st.binary(max_size=300))
def test_any_octets_are_a_name_or_none(octets):
    """Whatever the octets, there is a well-formed name of at most 255 octets or None."""
    wire = host_name(octets)
    assert wire is None or (len(wire) <= 255 and dns.name.from_wire(wire, 0)[1] == len(wire))


@pytest.mark.parametrize(
    "text", ["", ".", "a..b", ".a", "a b", "a" * 64, "bücher.example", "a/b", "*.a", ".".join(["a" * 50] * 6)]
)
def test_what_is_no_zone_is_an_error(text):
    """A zone of the configuration that is no name is told with what was got."""
    with pytest.raises(BadInput, match="expected ASCII labels"):
        zone_name(text)


def test_longest_zone_is_found():
    """A name is in a zone by whole labels, and in the longest one."""
    zones = zone_set(["example", "a.example", "Corp.Example."])
    assert zone_in(zone_name("x.a.example"), zones) == zone_name("a.example")
    assert zone_in(zone_name("a.example"), zones) == zone_name("a.example")
    assert zone_in(zone_name("xa.example"), zones) == zone_name("example")
    assert zone_in(zone_name("example.com"), zones) is None
    assert zone_in(b"\0", zones) is None
    assert zone_in(zone_name("a"), ()) is None
