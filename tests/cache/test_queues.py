"""Who goes when room is wanting: against a naive model, and under a scan of random names."""

import random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stubresolver.cache import AnswerCache, CacheOptions
from stubresolver.cache.entry import Entry
from stubresolver.cache.queues import Queues
from stubresolver.wire.edns import Failure

FAILURE = Failure(23, "x")
SIZE = Entry(b"0000", FAILURE).octets


def entry(number):
    return Entry(number.to_bytes(4, "big"), FAILURE)


class Naive:
    """S3-FIFO in the words of its paper, on lists; `room` is in entries, all of one size."""

    def __init__(self, room):
        self.room, self.small, self.main, self.gone = room, [], [], set()

    def ask(self, key):
        """Returns whether it was there."""
        for one in self.small + self.main:
            if one[0] == key:
                one[1] += 1
                return True
        (self.main if key in self.gone else self.small).append([key, 0])
        while len(self.small) + len(self.main) > self.room:
            self.evict(key)
        return False

    def evict(self, spare):
        """One leaves, or moves."""
        for queue in (self.small, self.main) if len(self.small) * 10 > self.room else (self.main, self.small):
            if queue and queue[0][0] != spare:
                break
        one = queue.pop(0)
        if one[0] == spare and queue:
            self.main.append(one)
        elif queue is self.main and one[1]:
            self.main.append([one[0], min(one[1], 3) - 1])
        elif queue is self.small and one[1] >= 2:
            self.main.append([one[0], 0])
        elif queue is self.small:
            self.gone.add(one[0])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 40), max_size=300), st.integers(3, 20))
def test_as_in_the_paper(asked, room):
    """Every question is a hit or a miss as in a naive S3-FIFO; only the prints of those gone may be overwritten."""
    naive, queues, entries = Naive(room), Queues(room * SIZE), {}
    queues._prints, queues._mask = type(queues._prints)("I", bytes(4 << 16)), (1 << 16) - 1
    assume(len({queues._print(entry(number))[0] for number in asked}) == len(set(asked)))  # hashes differ at each start
    for number in asked:
        one = entries.get(number)
        assert (one is not None) is naive.ask(number)
        if one is not None:
            one.uses += 1
            continue
        one = entries[number] = entry(number)
        queues.add(one)
        while queues.octets > room * SIZE:
            del entries[int.from_bytes(queues.leave(one).key, "big")]
        assert queues.octets == len(entries) * SIZE


def chance(seed):
    return random.Random(seed)  # noqa: S311 - the same each time, on purpose


def full():
    return AnswerCache(CacheOptions(max_octets=2000 * SIZE))


def hot_rate(kept, rng, *, random_names, hot=1000):
    """How many of the questions for hot names are hits, while so many random names are asked for each of them."""
    hits, turns = 0, 10_000
    for turn in range(-turns // 2, turns):
        key = b"hot" + rng.randrange(hot).to_bytes(4, "big")
        if kept.get(key, 0.0) is None:
            kept.put(key, FAILURE, 0.0)
        else:
            hits += turn >= 0
        for _ in range(random_names):
            kept.put(rng.randbytes(12), FAILURE, 0.0)
    return hits / turns


def test_a_scan_pushes_out_nothing_that_is_used():
    """1,000 names that are asked for, ten random ones for each question, room for 2,000: the hot ones stay."""
    kept, rng = full(), chance(1)
    assert hot_rate(kept, rng, random_names=0) > 0.99
    assert hot_rate(kept, rng, random_names=10) > 0.99


def test_a_scan_without_pause_pushes_out_nothing_that_was_used():
    """What was asked for before it survives a scan of ten times the room in which nobody asks for it."""
    kept, rng = full(), chance(1)
    hot_rate(kept, rng, random_names=1)
    for _ in range(20_000):
        kept.put(rng.randbytes(12), FAILURE, 0.0)
    there = sum(kept.get(b"hot" + number.to_bytes(4, "big"), 0.0) is not None for number in range(1000))
    assert there > 990


def test_hot_names_find_their_way_in_during_a_scan():
    """Names that begin to be asked for while a scan goes on are kept, too: a ghost brings them into the main queue."""
    kept, rng = full(), chance(1)
    for _ in range(5000):
        kept.put(rng.randbytes(12), FAILURE, 0.0)
    assert hot_rate(kept, rng, random_names=10, hot=500) > 0.9


def test_an_eviction_looks_at_few():
    """Where everything was asked for, somebody goes all the same, after a bounded number of second chances."""
    queues = Queues(10_000 * SIZE)
    entries = [entry(number) for number in range(5000)]
    for one in entries:
        queues.add(one)
        one.uses = 3
    newest = entry(9999)
    queues.add(newest)
    gone = queues.leave(newest)
    assert gone is not newest
    assert sum(one.uses == 3 for one in entries) >= 5000 - 65
    assert queues.octets == 5000 * SIZE


@pytest.mark.parametrize("room", [0, 1, SIZE - 1])
def test_no_room(room):
    """Where nothing has room, the newest itself goes."""
    queues = Queues(room)
    one = entry(1)
    queues.add(one)
    assert queues.leave(one) is one
    assert queues.octets == 0


def test_what_was_popular_once_goes():
    """A thousand questions of long ago spare an entry three rounds of the main queue, and no more."""
    queues, old = Queues(10 * SIZE), entry(0)
    queues._append(old, main=True)
    old.uses = 1000
    assert [queues._is_spared(old, entry(1)) for _ in range(5)] == [True, True, True, False, False]
