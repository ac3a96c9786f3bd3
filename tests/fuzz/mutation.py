"""Mutations of octets: the same from the same seed, on every machine.

Each takes octets and gives octets; what a parser makes of them is not known here. Half of the steps know what binary
formats are made of: lengths, counts, pointers, pieces that stand twice.
"""

from collections.abc import Iterator, Sequence
from random import Random

# What parsers have stumbled over: the ends of ranges, a DNS label's and a pointer's first octet, DER's long lengths.
_OCTETS = bytes((0, 1, 2, 11, 12, 13, 41, 63, 64, 65, 127, 128, 129, 191, 192, 193, 250, 255))
_PIECES = (
    b"\xc0\x0c",  # a pointer to the question's name
    b"\xc0\x00",
    b"\xff\xff",
    b"\x00\x00",
    b"\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00",  # an OPT record
    b"\x00\x0f\x00\x02\x00\x16",  # an extended error
    b"\x7f\xff\xff\xff",
    b"\x80\x00\x00\x00",
    b"\x30\x80",  # DER: indefinite length
    b"\x84\xff\xff\xff\xff",
    b"\n",
    b"\r",
    b" ",
    b"#",
    b"\xe2\x80\x94 ",  # the dash of a signed note
    b"||",
    b"{",
    b"[",
    b'"',
    b"-1",
    b"1e999",
)
_LONGEST = 8192  # octets of a mutation: more would only be more of the same


def mutations(seeds: Sequence[bytes], seed: int, number: int) -> Iterator[bytes]:
    """So many mutations of the seeds, each of one to six steps."""
    rng = Random(seed)  # noqa: S311 - repeatable on purpose
    random = rng.random
    count = len(seeds)
    for _ in range(number):
        octets = bytearray(seeds[int(random() * count)])
        for _ in range(1 + int(random() * random() * 6)):
            _STEPS[int(random() * len(_STEPS))](octets, random, seeds)
        yield bytes(octets[:_LONGEST])


def _flip(octets, random, seeds):
    """Another bit."""
    if octets:
        octets[int(random() * len(octets))] ^= 1 << int(random() * 8)


def _set(octets, random, seeds):
    """An octet that is an end of a range."""
    if octets:
        octets[int(random() * len(octets))] = _OCTETS[int(random() * len(_OCTETS))]


def _nudge(octets, random, seeds):
    """A number that is one off, as lengths and counts are."""
    if octets:
        place = int(random() * len(octets))
        octets[place] = octets[place] + (1 if random() < 0.5 else -1) & 0xFF


def _head(octets, random, seeds):
    """One of the first twelve octets: flags and counts of a message, type and length of others."""
    if octets:
        octets[int(random() * min(12, len(octets)))] = int(random() * 256)


def _cut(octets, random, seeds):
    """The end is missing."""
    del octets[int(random() * (len(octets) + 1)) :]


def _remove(octets, random, seeds):
    """A piece is missing."""
    start = int(random() * (len(octets) + 1))
    del octets[start : start + 1 + int(random() * 16)]


def _repeat(octets, random, seeds):
    """A piece stands twice."""
    start = int(random() * (len(octets) + 1))
    octets[start:start] = octets[start : start + 1 + int(random() * 64)]


def _insert(octets, random, seeds):
    """A piece of a dictionary."""
    start = int(random() * (len(octets) + 1))
    octets[start:start] = _PIECES[int(random() * len(_PIECES))]


def _write(octets, random, seeds):
    """A piece of a dictionary in the place of what was there."""
    piece = _PIECES[int(random() * len(_PIECES))]
    start = int(random() * (len(octets) + 1))
    octets[start : start + len(piece)] = piece


def _splice(octets, random, seeds):
    """The end of another seed."""
    other = seeds[int(random() * len(seeds))]
    octets[int(random() * (len(octets) + 1)) :] = other[int(random() * (len(other) + 1)) :]


_STEPS = (_flip, _flip, _set, _set, _nudge, _nudge, _head, _cut, _remove, _repeat, _insert, _write, _splice)
