"""Answers that speak of more names than they have octets: what they cost, and where it ends."""

import struct
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.errors import MalformedAnswer
from stubresolver.wire.answer import Answer
from stubresolver.wire.bailiwick import excerpt
from stubresolver.wire.contents import records
from stubresolver.wire.edns import upstream_query
from stubresolver.wire.names import read_name, read_once
from stubresolver.wire.query import Query

QUERY = upstream_query(Query(b"\0\1\1\0\0\1\0\0\0\0\0\0\1x\1a\0\0\1\0\1", tcp=True))
START = 12 + 5 + 4  # behind the question
PARENT = 14  # where "a." stands in it
A, NS, SOA, TXT, OPAQUE = 1, 2, 6, 16, 65280
LARGEST_POINTER = 0x3FFF


class Counted(bytes):
    """Octets that count how often one of them is looked at."""

    looks = 0

    def __getitem__(self, index):
        self.looks += 1
        return super().__getitem__(index)


def pointer(position):
    return struct.pack(">H", 0xC000 | position)


def record(owner, kind, rdata):
    return owner + struct.pack(">HHIH", kind, 1, 60, len(rdata)) + rdata


def message(authority):
    """An answer with these records in its authority section."""
    counts = struct.pack(">3H", 0, len(authority), 0)
    return QUERY[:2] + b"\x81\x80" + QUERY[4:6] + counts + QUERY[12:START] + b"".join(authority)


def lie(kind, rdata, *, depth, distinct):
    """An answer of 65,000 octets: `depth` owners, each a label and a pointer to the one before; then deep ones alone.

    Those are all different, or a few again and again; `rdata` makes the data of a record of a deep name's place.
    """
    found, places, position, above = [], [], START, PARENT
    while len(places) < depth:
        found.append(record(b"\1b" + pointer(above), TXT, b"\0"))
        places.append(position)
        above = position
        position += len(found[-1])
    deep = places[depth // 2 :]
    label = 0
    while position + 60 < 65_000:
        place = deep[label % len(deep)]
        owner = b"\4%04x" % label + pointer(place) if distinct else pointer(place)
        found.append(record(owner, kind, rdata(place)))
        position += len(found[-1])
        label += 1
    return message(found)


LIES = {
    "TXT": (TXT, lambda place: b"\0"),
    "NS": (NS, lambda place: b"\1c" + pointer(place)),
    "SOA": (SOA, lambda place: pointer(place) + b"\1d" + pointer(place) + bytes(20)),
}


@pytest.mark.parametrize("kind", LIES)
def test_names_that_share_their_parts_cost_no_more_than_these(kind):
    """Each part of a name is read once, and each name is held against the zones once."""
    wire = Counted(lie(*LIES[kind], depth=60, distinct=False))
    Answer.parse(bytes(wire), QUERY)
    asked = Counter()

    def believed(name):
        asked[name] += 1
        return len(asked) % 2 == 0

    before = wire.looks
    excerpt(wire, believed)
    assert set(asked.values()) == {1}
    assert wire.looks - before < 3 * len(wire)


def test_more_names_than_anybody_means_are_refused():
    """Written out they would be a megabyte; each would be held against the zones, label by label."""
    wire = lie(*LIES["TXT"], depth=110, distinct=True)
    Answer.parse(wire, QUERY)
    asked = Counter()

    def believed(name):
        asked[name] += 1
        return True

    with pytest.raises(MalformedAnswer, match="names of more than 65535 octets together"):
        excerpt(wire, believed)
    assert sum(map(len, asked)) <= 65_535


def test_as_many_names_as_an_answer_has_room_for_are_fine():
    """Names of an honest length, all different, in as many records as 64 KiB have."""
    lines = [record(b"\4%04x" % number + pointer(PARENT), TXT, b"\0") for number in range(3600)]
    wire = message(lines)
    Answer.parse(wire, QUERY)
    assert len(wire) > 64_000
    part = excerpt(wire, lambda _: True)
    assert (part.whole, len(part.authority)) == (True, 3600)


BLOCK = b"\1" * 250 + b"\0\0"  # a name starts at each octet: of up to 125 labels


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (A, lambda place: b"\1\2\3\4"),
        (NS, lambda place: pointer(place + 1)),
        (SOA, lambda place: pointer(place + 2) + pointer(place + 4) + bytes(20)),
    ],
)
def test_different_names_to_point_to_have_an_end(kind, data):
    """16 KiB of octets in which a name starts everywhere: what is walked to prove them is a few times the message."""
    found = [record(pointer(12), OPAQUE, BLOCK * 64)]
    first, size = START + 12, len(found[0])
    places = [first + offset for offset in range(64 * len(BLOCK) - 8) if offset % len(BLOCK) < 200]
    while size + 60 < 65_000:
        found.append(record(pointer(places[len(found)]), kind, data(places[len(found)])))
        size += len(found[-1])
    wire = Counted(message(found))
    with pytest.raises(MalformedAnswer, match="pointers to names of more than 131072 octets together"):
        Answer.parse(wire, QUERY)
    assert wire.looks < 4 * len(wire)


def test_names_of_many_parts_have_an_end_sooner():
    """Each name ends where the one before begins, 120 times in a row: two octets a part, and every part is a look."""
    found, places, position = [], [PARENT], START
    while position < LARGEST_POINTER - 12:
        above = places[-1] if len(places) % 120 else PARENT
        found.append(record(pointer(12), NS, b"\1b" + pointer(above)))
        places.append(position + 12)
        position += len(found[-1])
    wire = Counted(message(found))
    with pytest.raises(MalformedAnswer, match="pointers to names of more than 131072 octets together"):
        Answer.parse(wire, QUERY)
    assert wire.looks < 4 * len(wire)


def test_as_many_names_to_point_to_as_there_is_room_for_are_fine():
    """An honest answer of 64 KiB: servers of different names in a deep zone, each with its address."""
    zone = b"".join(b"\1%x" % (number % 16) for number in range(32)) + b"\3ip6\4arpa\0"
    query = upstream_query(Query(b"\0\1\1\0\0\1\0\0\0\0\0\0" + zone + b"\0\2\0\1", tcp=True))
    end = 12 + len(zone) + 4
    servers, addresses, position = [], [], end
    for number in range(1500):
        servers.append(record(pointer(12), NS, b"\6ns%04x" % number + pointer(12)))
        if position < LARGEST_POINTER - 12:
            addresses.append(record(pointer(position + 12), A, b"\1\2\3\4"))
        position += len(servers[-1])
    counts = struct.pack(">3H", len(servers), 0, len(addresses))
    wire = query[:2] + b"\x81\x80" + query[4:6] + counts + query[12:end] + b"".join((*servers, *addresses))
    assert len(addresses) > 700
    Answer.parse(wire, query)
    assert excerpt(wire, lambda _: True).whole


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.sampled_from([b"\1b", b"\3XyZ", b""])), max_size=30))
def test_names_read_by_their_parts_are_what_they_are(parts):
    """Whatever points to what, in whatever order they are read: the same as each name by itself."""
    places, authority, position = [12, PARENT], [], START
    for number, ends, label in parts:
        owner = label + (b"\0" if ends else pointer(places[number % len(places)])) if label else pointer(places[-1])
        authority.append(record(owner, TXT, b"\0"))
        places.append(position)
        position += len(authority[-1])
    wire = message(authority)
    try:
        Answer.parse(wire, QUERY)
    except MalformedAnswer:
        return
    names = {}
    starts = [start for start, *_ in records(wire, START, len(authority))]
    assert [read_once(wire, start, names) for start in starts] == [read_name(wire, start) for start in starts]
    names = {}
    assert [read_once(wire, start, names) for start in reversed(starts)] == [
        read_name(wire, start) for start in reversed(starts)
    ]
