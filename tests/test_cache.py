"""The cache against a naive model, its bounds, and how long failures are kept."""

import tracemalloc

import dns.message
import dns.rrset
import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stubresolver.cache import AnswerCache, CacheOptions
from stubresolver.wire.answer import Answer
from stubresolver.wire.edns import Failure, upstream_query
from stubresolver.wire.query import Query

QUERY = Query(dns.message.make_query("www.example.com", "A", use_edns=0).to_wire())


def answer(ttl=60, *, rcode=0, soa=False):
    """An answer for www.example.com with one address, or a negative one with an SOA record."""
    wire = upstream_query(QUERY)
    response = dns.message.make_response(dns.message.from_wire(wire))
    if soa:
        soa_text = ("example.com.", ttl, "IN", "SOA", f"ns.example. host.example. 1 2 3 4 {ttl}")
        response.authority.append(dns.rrset.from_text(*soa_text))
    elif rcode == 0:
        response.answer.append(dns.rrset.from_text("www.example.com.", ttl, "IN", "A", "192.0.2.1"))
    response.set_rcode(rcode)
    return Answer.parse(response.to_wire(), wire)


def cache(**options):
    return AnswerCache(CacheOptions(**options))


@pytest.mark.parametrize(
    ("item", "options", "seconds"),
    [
        (answer(60), {}, 60),
        (answer(1), {}, 1),
        (answer(100_000), {}, 86_400),
        (answer(100_000), {"max_ttl": 100}, 100),
        (answer(100_000, soa=True), {}, 10_800),
        (answer(100_000, soa=True, rcode=3), {}, 10_800),
        (answer(30, soa=True, rcode=3), {}, 30),
        (answer(rcode=2), {}, 5),
        (answer(rcode=5), {}, 5),
        (answer(rcode=2), {"failure_seconds": 300}, 300),
        (Failure(23, "x"), {}, 1),
        (Failure(23, "x"), {"unreached_seconds": 5}, 5),
    ],
)
def test_lifetime(item, options, seconds):
    """Everything is given out until its end, with its age, and not at its end."""
    kept = cache(**options)
    kept.put(b"key", item, 1000.0)
    assert kept.get(b"key", 1000.0) == (item, 0)
    assert kept.get(b"key", 1000.0 + seconds - 0.01) == (item, int(seconds - 0.01))
    assert kept.get(b"key", 1000.0 + seconds) is None


@pytest.mark.parametrize("item", [answer(0), answer(0, soa=True), answer(rcode=3)])
def test_not_kept(item):
    """TTL 0 and negative answers without an SOA record are not kept, and end what was kept before."""
    kept = cache()
    kept.put(b"key", answer(60), 0.0)
    kept.put(b"key", item, 1.0)
    assert kept.get(b"key", 1.0) is None
    assert (kept.statistics().entries, kept.statistics().octets) == (0, 0)


def test_another_key():
    """A key finds only what was put under it."""
    kept = cache()
    kept.put(b"key", answer(), 0.0)
    assert kept.get(b"kez", 0.0) is None


def lengths(kept, moments):
    """For how long a SERVFAIL that comes at each of the moments is kept."""
    found = []
    for moment in moments:
        kept.put(b"key", answer(rcode=2), moment)
        found.append(next(n for n in range(1000) if kept.get(b"key", moment + n) is None))
    return found


def test_repeated_failure_backs_off():
    """A failure right after a failure is kept twice as long, up to the bound (RFC 9520 s3.2)."""
    assert lengths(cache(), [0, 5, 15, 35, 75, 140]) == [5, 10, 20, 40, 60, 60]


def test_back_off_ends():
    """A failure long after another one, or after an answer, starts anew."""
    assert lengths(cache(), [0, 5, 25, 100]) == [5, 10, 5, 5]
    kept = cache()
    kept.put(b"key", answer(rcode=2), 0.0)
    kept.put(b"key", answer(1), 5.0)
    assert lengths(kept, [6]) == [5]


def test_least_recently_used_goes_first():
    """Where room is wanting, what was not asked for the longest goes."""
    one = cache()
    one.put(b"a", answer(), 0.0)
    size = one.statistics().octets
    kept = cache(max_octets=3 * size)
    for key in (b"a", b"b", b"c"):
        kept.put(key, answer(), 0.0)
    kept.get(b"a", 1.0)
    kept.put(b"d", answer(), 1.0)
    assert [key for key in (b"a", b"b", b"c", b"d") if kept.get(key, 1.0)] == [b"a", b"c", b"d"]
    statistics = kept.statistics()
    assert (statistics.entries, statistics.insertions, statistics.evictions) == (3, 4, 1)
    assert statistics.octets <= statistics.max_octets


def test_no_room_at_all():
    """A cache without room keeps nothing and works."""
    kept = cache(max_octets=0)
    kept.put(b"key", answer(), 0.0)
    assert kept.get(b"key", 0.0) is None
    assert kept.statistics().octets == 0


def test_estimate_is_about_what_python_takes():
    """The octets counted are those allocated, within a quarter, with the last rendering counted in."""
    query = upstream_query(QUERY)
    response = dns.message.make_response(dns.message.from_wire(query))
    response.answer.append(dns.rrset.from_text("www.example.com.", 300, "IN", "A", "192.0.2.1", "192.0.2.2"))
    wire = response.to_wire()
    kept = cache(max_octets=1 << 30)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(3000):
            item = Answer.parse(wire, query)
            item.render(QUERY, 5)
            kept.put(QUERY.key + number.to_bytes(4, "big"), item, number / 7)
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 0.75 < kept.statistics().octets / taken < 1.25


@pytest.mark.parametrize(
    "wrong", [{"max_octets": -1}, {"max_ttl": 700_000}, {"failure_seconds": 0.5}, {"failure_seconds": 301}, {"x": 1}]
)
def test_options_are_bounded(wrong):
    """Options out of their standards' range, and unknown ones, are refused."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, CacheOptions)


KEYS = st.sampled_from([b"a", b"b", b"c", b"d"])
SIZE = 3 * 700


class CacheMachine(RuleBasedStateMachine):
    """The cache beside a dictionary that forgets nothing: it may know less, and never anything else."""

    def __init__(self):
        super().__init__()
        self.now = 100.0
        self.cache = cache(max_octets=SIZE)
        self.model = {}

    @rule(key=KEYS, ttl=st.integers(0, 10))
    def put_answer(self, key, ttl):
        """An answer comes."""
        item = answer(ttl)
        self.cache.put(key, item, self.now)
        self.model[key] = (item, self.now, self.now + ttl)

    @rule(key=KEYS)
    def put_failure(self, key):
        """An exchange fails."""
        item = Failure(23, "x")
        self.cache.put(key, item, self.now)
        self.model[key] = (item, self.now, self.now + 1)

    @rule(seconds=st.floats(0, 6))
    def time_passes(self, seconds):
        """Time passes."""
        self.now += seconds

    @rule(key=KEYS)
    def ask(self, key):
        """What is given out is the last that was put, before its end, with its age."""
        got = self.cache.get(key, self.now)
        if got is not None:
            item, came, end = self.model[key]
            assert got == (item, int(self.now - came))
            assert self.now < end

    @precondition(lambda self: self.model)
    @rule()
    def ask_for_the_newest(self):
        """What was put last is not evicted: it is found until its end."""
        key, (_, came, end) = max(self.model.items(), key=lambda one: one[1][1])
        newest = [one for one in self.model.values() if one[1] == came]
        if len(newest) == 1 and self.now < end:
            assert self.cache.get(key, self.now) is not None

    @invariant()
    def bounded(self):
        """The bound holds at any time."""
        assert 0 <= self.cache.statistics().octets <= SIZE


TestCacheMachine = CacheMachine.TestCase
TestCacheMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
