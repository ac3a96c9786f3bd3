"""The cache against a naive model, its bounds, how long failures are kept, and what is left after an end."""

import tracemalloc
from dataclasses import dataclass

import dns.message
import dns.rrset
import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from stubresolver.cache import AnswerCache, CacheOptions
from stubresolver.cache.answers import RECHECK_SECONDS
from stubresolver.cache.entry import NEVER
from stubresolver.wire.answer import Answer
from stubresolver.wire.edns import Failure, upstream_query
from stubresolver.wire.query import Query

QUERY = Query(dns.message.make_query("www.example.com", "A", use_edns=0).to_wire())
DAY = 86_400


def answer(ttl=60, *, rcode=0, soa=False, addresses=1):
    """An answer for www.example.com with addresses, or a negative one with an SOA record."""
    wire = upstream_query(QUERY)
    response = dns.message.make_response(dns.message.from_wire(wire))
    if soa:
        soa_text = ("example.com.", ttl, "IN", "SOA", f"ns.example. host.example. 1 2 3 4 {ttl}")
        response.authority.append(dns.rrset.from_text(*soa_text))
    elif rcode == 0:
        texts = [f"192.0.2.{number + 1}" for number in range(addresses)]
        response.answer.append(dns.rrset.from_text("www.example.com.", ttl, "IN", "A", *texts))
    response.set_rcode(rcode)
    return Answer.parse(response.to_wire(), wire)


def cache(**options):
    return AnswerCache(CacheOptions(**options))


@dataclass
class Refusal:
    """What stands in the place of an answer that nobody may have."""

    ttl: int

    def render(self, query, age):
        return b""


def found(kept, key, now):
    """What is given out under the key, with its age in whole seconds."""
    entry = kept.get(key, now)
    return None if entry is None else (entry.answer, int(now - entry.came))


@pytest.mark.parametrize(
    ("item", "options", "seconds"),
    [
        (answer(60), {}, 60),
        (answer(1), {}, 1),
        (answer(1), {"min_ttl": 30}, 30),
        (answer(60), {"min_ttl": 30}, 60),
        (answer(60), {"min_ttl": 3600, "max_ttl": 10}, 10),
        (answer(60, soa=True), {"min_ttl": 3600, "max_negative_ttl": 70}, 70),
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
        (Refusal(60), {}, 60),
    ],
)
def test_lifetime(item, options, seconds):
    """Everything is given out until its end, with its age, and not at its end."""
    kept = cache(**options)
    kept.put(b"key", item, 1000.0)
    assert found(kept, b"key", 1000.0) == (item, 0)
    assert found(kept, b"key", 1000.0 + seconds - 0.01) == (item, int(seconds - 0.01))
    assert kept.get(b"key", 1000.0 + seconds) is None


@pytest.mark.parametrize("item", [answer(0), answer(0, soa=True), answer(rcode=3)])
def test_not_kept(item):
    """TTL 0 and negative answers without an SOA record are not kept, whatever the least TTL, and end what was kept."""
    kept = cache(min_ttl=30)
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
    kept = cache(stale=False)
    kept.put(b"key", answer(rcode=2), 0.0)
    kept.put(b"key", answer(1), 5.0)
    assert lengths(kept, [6]) == [5]


def ended(ttl=60, **options):
    """A cache with an answer that came at 0 and has ended at its TTL."""
    kept = cache(**options)
    item = answer(ttl)
    kept.put(b"key", item, 0.0)
    return kept, item


def test_an_ended_answer_falls_back():
    """After its end an answer is no answer, but there where nothing better is, for three days (RFC 8767 s5)."""
    kept, item = ended()
    assert kept.fallback(b"key", 60 + 3 * DAY - 0.01)[0] is item
    assert kept.get(b"key", 60.0) is None
    assert kept.fallback(b"key", 60.0 + 3 * DAY) is None
    assert kept.fallback(b"other", 60.0) is None


@pytest.mark.parametrize(("options", "seconds"), [({"stale": False}, 60), ({"stale_seconds": 10}, 70)])
def test_how_long_it_falls_back(options, seconds):
    """Without `stale` an answer is of no use from its end on; `stale_seconds` says for how long it is."""
    kept, item = ended(**options)
    assert kept.fallback(b"key", seconds - 0.01)[0] is item
    assert kept.fallback(b"key", float(seconds)) is None


@pytest.mark.parametrize("failure", [answer(rcode=2), answer(rcode=5), Failure(23, "x")])
def test_no_failure_falls_back(failure):
    """A failure is never given out after its end (RFC 8767 s4: stale data is what answered the question once)."""
    kept = cache()
    kept.put(b"key", failure, 0.0)
    assert kept.fallback(b"key", 0.5) is None


@pytest.mark.parametrize(
    ("failure", "retry"),
    [(answer(rcode=2), RECHECK_SECONDS), (Failure(23, "x"), 1), (answer(rcode=5), RECHECK_SECONDS)],
)
def test_a_failure_leaves_the_answer(failure, retry):
    """It takes the place of none that may be used still: it says until when nobody waits, and when to look again."""
    kept, item = ended()
    kept.put(b"key", failure, 100.0)
    assert kept.get(b"key", 100.0) is None
    got, entry = kept.fallback(b"key", 100.0)
    assert (got, entry.hold, entry.retry) == (item, 100 + RECHECK_SECONDS, 100 + retry)
    kept.put(b"key", item, 200.0)
    assert (entry.hold, entry.retry, kept.get(b"key", 200.0)) == (0, 0, entry)


def test_a_failure_before_the_end_leaves_the_answer():
    """What is fetched anew before its end, and fails, stays until its end, with `stale` and without."""
    for options in ({}, {"stale": False}):
        kept, item = ended(**options)
        kept.put(b"key", Failure(23, "x"), 55.0)
        assert found(kept, b"key", 59.0) == (item, 59)


@pytest.mark.parametrize("options", [{"stale": False}, {"stale_seconds": 1}])
def test_a_failure_follows_an_answer_of_no_use(options):
    """Where the answer is over for good, the failure is kept as any."""
    kept, _ = ended(**options)
    failure = answer(rcode=2)
    kept.put(b"key", failure, 100.0)
    assert found(kept, b"key", 104.0) == (failure, 4)


@pytest.mark.parametrize("item", [answer(30, soa=True, rcode=3), answer(30, soa=True), Refusal(30)])
def test_a_denial_replaces_the_answer(item):
    """That a name is gone, or that nobody may have it, is news, and no failure to learn any (RFC 8767 s4)."""
    kept, _ = ended()
    kept.put(b"key", item, 100.0)
    assert found(kept, b"key", 100.0) == (item, 0)


def test_a_refusal_never_falls_back():
    """What stands in the place of an answer is not given out after its end."""
    kept = cache()
    kept.put(b"key", Refusal(30), 0.0)
    assert kept.fallback(b"key", 29.0) is None


@pytest.mark.parametrize(
    ("item", "options", "soon"),
    [
        (answer(100), {}, 90),
        (answer(10), {}, 9),
        (answer(9), {}, NEVER),
        (answer(100, soa=True, rcode=3), {}, 90),
        (answer(100), {"prefetch": False}, NEVER),
        (answer(100), {"max_ttl": 50}, 45),
        (answer(rcode=2), {"failure_seconds": 60}, NEVER),
        (Refusal(60), {}, NEVER),
    ],
)
def test_when_to_fetch_anew(item, options, soon):
    """In the last tenth of its life an answer may be fetched anew, unless that life is under ten seconds."""
    kept = cache(**options)
    kept.put(b"key", item, 0.0)
    assert kept.get(b"key", 0.0).soon == soon


def test_uses_are_counted():
    """Each time it is given out counts; being fetched anew is worth one, because somebody asked again."""
    kept = cache()
    for _ in range(2):
        kept.put(b"key", answer(), 0.0)
    assert [kept.get(b"key", 1.0).uses for _ in range(3)] == [2, 3, 4]


def test_forgetting():
    """What is discarded or cleared is gone, with its octets; what is not there can be discarded."""
    kept = cache()
    for key in (b"a", b"b", b"c"):
        kept.put(key, answer(), 0.0)
    kept.discard(b"b")
    kept.discard(b"b")
    assert kept.every_key() == [b"a", b"c"]
    assert (kept.look(b"b"), kept.look(b"a").uses) == (None, 0)
    kept.clear()
    assert (kept.statistics().entries, kept.statistics().octets) == (0, 0)


@pytest.mark.parametrize(
    ("came", "end", "now", "given"),
    [
        (-50, 10, 0, 9.9),
        (-50, 1000, 0, 9.9),  # its own TTL counts
        (-200, -140, 0, None),  # ended, and a fallback
        (0, 60, 0, 59.9),
    ],
)
def test_restored(came, end, now, given):
    """An answer of an earlier process is kept with its times, and for no longer than it says itself."""
    kept = cache()
    item = answer(60)
    assert kept.restore(b"key", item, came, end, now)
    assert kept.fallback(b"key", now)[0] is item
    assert (kept.get(b"key", now) is not None) is (given is not None)
    if given is not None:
        assert kept.get(b"key", given) is not None
        assert kept.get(b"key", given + 0.2) is None


@pytest.mark.parametrize(
    ("item", "came", "end"),
    [
        (answer(60), 1, 61),  # from the future
        (answer(60), -60 - 3 * DAY, -3 * DAY),  # too old
        (answer(60), -10, -10),
        (answer(60), -10, -20),
        (answer(0), -10, 10),
        (answer(rcode=2), -1, 4),
    ],
)
def test_not_restored(item, came, end):
    """What is of no use any more, or never was, is not kept."""
    kept = cache()
    assert not kept.restore(b"key", item, came, end, 0)
    assert kept.every_key() == []


def test_what_was_fetched_meanwhile_is_not_restored():
    """An answer of an earlier process never takes the place of a newer one."""
    kept, item = ended()
    assert not kept.restore(b"key", answer(60), -10, 50, 0)
    assert kept.look(b"key").answer is item


def test_what_is_worth_keeping():
    """Answers that may be used, now or later; no failures."""
    kept, item = ended()
    kept.put(b"failure", Failure(23, "x"), 0.0)
    kept.put(b"servfail", answer(rcode=2), 0.0)
    kept.put(b"refusal", Refusal(60), 0.0)
    assert [(one, entry.key) for one, entry in kept.kept(100.0)] == [(item, b"key")]
    assert list(kept.kept(60 + 3 * DAY)) == []


def test_no_room_at_all():
    """A cache without room keeps nothing and works."""
    kept = cache(max_octets=0)
    kept.put(b"key", answer(), 0.0)
    assert kept.get(b"key", 0.0) is None
    assert kept.statistics().octets == 0


@pytest.mark.parametrize(("entries", "addresses"), [(2000, 1), (3000, 1), (3000, 4)])
def test_estimate_is_what_python_takes(entries, addresses):
    """The octets counted are those allocated, within a tenth, with the last rendering counted in."""
    query = upstream_query(QUERY)
    response = dns.message.make_response(dns.message.from_wire(query))
    texts = [f"192.0.2.{number}" for number in range(addresses)]
    response.answer.append(dns.rrset.from_text("www.example.com.", 300, "IN", "A", *texts))
    wire = response.to_wire()
    kept = cache(max_octets=1 << 30)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(entries):
            item = Answer.parse(wire, query)
            item.render(QUERY, 5)
            kept.put(QUERY.key + number.to_bytes(4, "big"), item, number / 7)
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 0.9 < kept.statistics().octets / taken < 1.1


@pytest.mark.parametrize("text", ["closed", "tls://192.0.2.1#dns.example: REFUSED: " + "no SCT of a known log; " * 20])
def test_estimate_of_failures_is_what_python_takes(text):
    """The text of a failure takes room, too: names that nobody can look up may be many, and reasons long."""
    kept = cache(max_octets=1 << 30)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(3000):
            kept.put(QUERY.key + number.to_bytes(4, "big"), Failure(23, text + str(number)), number / 7)
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 0.9 < kept.statistics().octets / taken < 1.1


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_octets": -1},
        {"max_ttl": 700_000},
        {"min_ttl": 3601},
        {"stale_seconds": 0},
        {"failure_seconds": 0.5},
        {"failure_seconds": 301},
        {"x": 1},
    ],
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
        self.cache = cache(max_octets=SIZE, stale_seconds=5)
        self.model = {}  # what was put last
        self.answers = {}  # the last that was no failure

    def put(self, key, item, seconds):
        """What was put last does not go, if it has room at all."""
        self.cache.put(key, item, self.now)
        self.model[key] = (item, self.now, self.now + seconds)
        if seconds and getattr(item, "octets", 0) < SIZE - 400:
            assert found(self.cache, key, self.now) == (item, 0)

    @rule(key=KEYS, ttl=st.integers(0, 10), addresses=st.integers(1, 20))
    def put_answer(self, key, ttl, addresses):
        """An answer comes; those without TTL end what was there."""
        item = answer(ttl, addresses=addresses)
        self.put(key, item, ttl)
        self.answers[key] = self.model[key]

    @rule(key=KEYS)
    def put_refusal(self, key):
        """An answer comes that nobody may have."""
        self.put(key, Refusal(3), 3)
        self.answers.pop(key, None)

    @rule(key=KEYS)
    def put_failure(self, key):
        """An exchange fails: an answer that may be used still stays where it is, if it has not gone to make room."""
        usable = key in self.answers and self.now < self.answers[key][2] + 5 and self.cache.look(key) is not None
        item = Failure(23, "x")
        if usable and self.cache.look(key).answer is self.answers[key][0]:
            self.cache.put(key, item, self.now)
            assert self.cache.look(key).answer is self.answers[key][0]
        else:
            self.put(key, item, 1)

    @rule(key=KEYS)
    def discard(self, key):
        """Somebody has it forgotten."""
        self.cache.discard(key)
        self.model.pop(key, None)
        self.answers.pop(key, None)

    @rule(seconds=st.floats(0, 6))
    def time_passes(self, seconds):
        """Time passes."""
        self.now += seconds

    @rule(key=KEYS)
    def ask(self, key):
        """What is given out is the last that was put, before its end, with its age."""
        got = found(self.cache, key, self.now)
        if got is not None:
            item, came, end = self.model[key]
            assert got == (item, int(self.now - came))
            assert self.now < end

    @rule(key=KEYS)
    def ask_for_less(self, key):
        """What is given out for want of something better is the last answer, within its time."""
        got = self.cache.fallback(key, self.now)
        if got is not None:
            item, _, end = self.answers[key]
            assert got[0] is item
            assert self.now < end + 5

    @invariant()
    def bounded(self):
        """The bound holds at any time, and what is counted is the sum of what is there."""
        statistics = self.cache.statistics()
        assert 0 <= statistics.octets <= SIZE
        assert statistics.octets == sum(self.cache.look(key).octets for key in self.cache.every_key())


TestCacheMachine = CacheMachine.TestCase
TestCacheMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_what_could_not_be_reached_is_forgotten():
    """Our own failures go, an upstream's stay, and an answer that has ended is looked for again at once."""
    kept = cache(unreached_seconds=5)
    kept.put(b"unreached", Failure(22, "nobody"), 0)
    kept.put(b"servfail", answer(rcode=2), 0)
    kept.put(b"good", answer(), 0)
    kept.put(b"stale", answer(ttl=1), 0)
    kept.put(b"stale", Failure(22, "nobody"), 2)
    stale = kept.look(b"stale")
    assert stale.retry == 7
    assert kept.forget_failures() == 1
    assert kept.get(b"unreached", 0) is None
    assert kept.get(b"servfail", 0) is not None
    assert kept.get(b"good", 0) is not None
    assert kept.fallback(b"stale", 3) is not None
    assert (stale.retry, stale.hold) == (0.0, 2 + RECHECK_SECONDS)
    assert kept.statistics().entries == 3
    assert kept.forget_failures() == 0
