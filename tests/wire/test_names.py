"""Names that point to names: each is walked once, and what was found holds for all that point there."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.errors import MalformedAnswer
from stubresolver.wire.answer import Answer
from stubresolver.wire.contents import owners
from stubresolver.wire.edns import upstream_query
from stubresolver.wire.names import after_name, read_name, read_once, skip_name
from stubresolver.wire.query import Query

QUERY = Query(b"\0\1\1\0\0\1\0\0\0\0\0\0\1n\0\0\2\0\1", tcp=True)
FIELDS = struct.Struct(">HHHIH")
TO_QUESTION = 0xC00C


class Counted(bytes):
    """Octets that count how often one of them is looked at."""

    looks = 0

    def __getitem__(self, index):
        self.looks += 1
        return super().__getitem__(index)


def record(owner, kind, rdata):
    return FIELDS.pack(owner, kind, 1, 60, len(rdata)) + rdata


def chained(position, labels):
    """So many labels, each one a name that points to the one before; and the pointer to the last."""
    octets, pointer = b"\1x\0", 0xC000 + position
    for _ in range(labels - 1):
        following = 0xC000 + position + len(octets)
        octets += b"\1x" + pointer.to_bytes(2)
        pointer = following
    return octets, pointer.to_bytes(2)


@pytest.mark.parametrize(("kind", "before"), [(2, b""), (15, b"\0\1"), (33, bytes(6))])
@pytest.mark.parametrize("section", [0, 1, 2])
def test_many_long_names_take_little(kind, before, section):
    """64 KiB of the longest names, each as many pointers as there can be, are proved in a few looks a record."""
    octets, pointer = chained(QUERY.end + 12, 126)
    first = record(TO_QUESTION, 16, octets)
    one = record(int.from_bytes(pointer) if section else TO_QUESTION, kind, before + pointer)
    count = (65_000 - len(first)) // len(one)
    counts = [1, 0, 0]
    counts[section] += count
    wire = Counted(b"\0\0\x81\x80\0\1" + struct.pack(">3H", *counts) + QUERY.wire[12:] + first + one * count)
    Answer.parse(wire, upstream_query(QUERY))
    assert wire.looks < 20 * count + 2_000


@pytest.mark.parametrize("label", [b"", b"\1y"])
def test_many_equal_aliases_take_little(label):
    """64 KiB of one alias, said again and again: where it leads is read once."""
    octets, pointer = chained(QUERY.end + 30, 125)
    first = record(TO_QUESTION, 46, bytes(18) + octets)
    one = record(TO_QUESTION, 5, label + pointer)
    count = (65_000 - len(first)) // len(one)
    wire = Counted(b"\0\0\x81\x80\0\1" + struct.pack(">3H", count + 1, 0, 0) + QUERY.wire[12:] + first + one * count)
    answer = Answer.parse(wire, upstream_query(QUERY))
    assert wire.looks < 30 * count + 2_000
    message = Counted(wire)
    target = label + b"\1x" * 125 + b"\0"
    assert list(owners(message, QUERY.end, count + 1)) == list(answer.owners(QUERY)) == [b"\1n\0", target]
    assert message.looks < 30 * count + 2_000


@pytest.mark.parametrize(("labels", "fits"), [(0, True), (1, True), (2, False), (60, False)])
def test_length_counts_for_each_name_that_points_there(labels, fits):
    """RFC 1035 s2.3.4: 255 octets are the most for each name, also where what it points to was proved before."""
    octets, pointer = chained(12, 126)  # 253 octets
    wire = bytes(12) + octets + pointer + b"\1y" * labels + pointer
    start, proved = 12 + len(octets), {}
    assert skip_name(wire, start, proved=proved) == start + 2
    assert proved.pop(0) > 253  # its parts count, too
    assert proved == {int.from_bytes(pointer) & 0x3FFF: 253}
    if fits:
        assert skip_name(wire, start + 2, proved=proved) == len(wire)
    else:
        with pytest.raises(MalformedAnswer, match="more than 255 octets"):
            skip_name(wire, start + 2, proved=proved)


@given(
    st.lists(
        st.tuples(st.lists(st.integers(1, 63), max_size=4), st.integers(0, 40), st.booleans()), min_size=1, max_size=9
    )
)
def test_what_was_proved_before_changes_no_verdict(parts):
    """Names of a message in their order: with and without memory of those before, the same is proved and read."""
    wire, starts = bytes(12), []
    for labels, target, ends in parts:
        starts.append(len(wire))
        wire += b"".join(bytes((length,)) + b"z" * length for length in labels)
        places = [*starts, *range(12, len(wire), 3)]
        wire += b"\0" if ends else (0xC000 + places[target % len(places)]).to_bytes(2)
    proved: dict[int, int] = {}
    names: dict[int, bytes] = {}
    for start in starts:
        outcomes = []
        for memory in (None, proved):
            try:
                outcomes.append(skip_name(wire, start, proved=memory))
            except (MalformedAnswer, IndexError) as error:
                outcomes.append(type(error))
        assert outcomes[0] == outcomes[1]
        if isinstance(outcomes[0], int):
            assert outcomes[0] == after_name(wire, start)
            assert read_once(wire, start, names) == read_name(wire, start)
            assert len(read_name(wire, start)) <= 255
