"""Names that would change with what changes in a message: an answer with one is refused, because it is rendered anew.

TTLs count down in every rendering, and what follows the OPT record is cut off. RFC 1035 s4.1.4: a pointer leads to "a
prior occurrence of the same name".
"""

import struct

import pytest

from stubresolver.errors import MalformedAnswer
from stubresolver.wire.answer import Answer
from stubresolver.wire.edns import upstream_query
from stubresolver.wire.query import Query

QUESTION = b"\1n\3lab\0\0\1\0\1"  # ends at 23
QUERY = Query(b"\x12\x34\1\0\0\1\0\0\0\0\0\0" + QUESTION, tcp=True)
FIELDS = struct.Struct(">HHHIH")
TTL = 12 + len(QUESTION) + 6  # where the first record's TTL stands


def parse(records, counts):
    """The answer with these octets behind the question."""
    head = b"\0\0\x81\x80\0\1" + struct.pack(">3H", *counts)
    return Answer.parse(head + QUESTION + records, upstream_query(QUERY))


def alias(rdata, ttl=300, owner=0xC00C):
    """A CNAME record."""
    return FIELDS.pack(owner, 5, 1, ttl, len(rdata)) + rdata


def address(ttl=300, owner=0xC00C):
    """An A record."""
    return FIELDS.pack(owner, 1, 1, ttl, 4) + bytes((192, 0, 2, 1))


@pytest.mark.parametrize("octet", range(4))
@pytest.mark.parametrize("ttl", [0, 0x01610000, 0x0000C00C, 0x00016100, 0x01C00C00])
def test_pointer_into_a_ttl(octet, ttl):
    """No length, pointer or end of a name is an octet of a TTL, whatever the TTL is now."""
    with pytest.raises(MalformedAnswer):
        parse(address(ttl) + alias(b"\1m" + (0xC000 + TTL + octet).to_bytes(2)), (2, 0, 0))


def test_pointer_into_its_own_ttl():
    """Nor of the TTL of the very record that has the name."""
    with pytest.raises(MalformedAnswer, match="runs through a TTL"):
        parse(alias(b"\1m" + (0xC000 + TTL).to_bytes(2), ttl=0), (1, 0, 0))


def test_name_that_runs_through_a_ttl():
    """Nor where a label before it leads there: the class's octet 1, then the TTL."""
    with pytest.raises(MalformedAnswer, match="runs through a TTL"):
        parse(address(0x00610000) + alias(b"\1m" + (0xC000 + TTL - 1).to_bytes(2)), (2, 0, 0))


def test_label_that_has_a_ttl_in_it():
    """Nor the text of a label: the name would be another one with every second."""
    first = address(int.from_bytes(b"corp"))
    with pytest.raises(MalformedAnswer, match="runs through a TTL"):
        parse(first + alias(b"\1m" + (0xC000 + TTL - 3).to_bytes(2)), (2, 0, 0))


def test_pointer_that_would_become_a_loop():
    """A TTL that is a pointer and counts down would lead to itself one day; a reader would never come back."""
    place = TTL + 2
    with pytest.raises(MalformedAnswer):
        parse(address(0xC000 + place - 1) + address(owner=0xC000 + place), (2, 0, 0))


def test_name_that_reads_on_past_its_pointer():
    """What a pointer leads to ends before the part of the name that has it, not among octets that are cut off."""
    first = address()[:-4] + bytes((4, 1, 2, 3))  # RDATA's first octet, read as the length of a label
    owner = b"\1m" + (0xC000 + TTL + 6).to_bytes(2)
    with pytest.raises(MalformedAnswer, match="expected a name that ends before"):
        parse(first + owner + address()[2:] + bytes(80), (2, 0, 0))


def test_names_of_earlier_records():
    """A pointer into the name in another record's RDATA is what compression is for."""
    first = alias(b"\1m\xc0\x0e")
    target = 0xC000 + TTL + 6
    answer = parse(first + address(owner=target), (2, 0, 0))
    assert list(answer.owners(QUERY)) == [b"\1n\3lab\0", b"\1m\3lab\0"]
    assert not answer.negative


def test_end_of_a_name_in_another_ttl():
    """Every age renders the same names."""
    answer = parse(alias(b"\1m\xc0\x0e", ttl=0x0000C00C) + address(0x00C00C00, owner=0xC000 + TTL + 6), (2, 0, 0))
    whole = answer.render(QUERY, 0)
    for age in (1, 200, 0xC00C, 1 << 30):
        aged = answer.render(QUERY, age)
        assert len(aged) == len(whole)
        assert list(answer.owners(QUERY)) == [b"\1n\3lab\0", b"\1m\3lab\0"]
