"""The age of the log list and the clock: what is said, from which second on, and of which of the two."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.ct import CTPolicy
from stubresolver.verify import (
    NOTHING_REMEMBERED,
    ClockFloor,
    Outcome,
    Remembered,
    Rule,
    Verifier,
    WhenStale,
    Whose,
    highest,
    judge_clock,
)
from stubresolver.verify.freshness import judge_age

DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
ENDS = [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
MOMENTS = st.one_of(st.sampled_from(ENDS), st.datetimes(timezones=st.just(UTC)))
SEEN = datetime(2026, 11, 3, tzinfo=UTC)
UNSEEN = "a certificate that was not seen before it became stale"
UPDATE = "update it: stubresolver logs update"


@pytest.mark.parametrize(
    ("when", "age", "passed", "outcome", "detail"),
    [
        ("known-leaves", -DAY, None, "PASS", "dated 1 days after the time of judgement"),
        ("known-leaves", 0 * DAY, None, "PASS", "0 days old: fresh"),
        ("known-leaves", 45 * DAY - SECOND, None, "PASS", "44 days old: fresh"),
        ("known-leaves", 45 * DAY, None, "PASS",
         "45 days old: update it: what was not seen before is refused from 2027-01-11 on"),
        ("known-leaves", 70 * DAY - SECOND, None, "PASS",
         "69 days old: update it: what was not seen before is refused from 2027-01-11 on"),
        ("known-leaves", 70 * DAY, None, "FAIL",
         f"the log list is 70 days old, and {UNSEEN} is refused; {UPDATE}"),
        ("known-leaves", 70 * DAY, SEEN, "PASS",
         f"70 days old: stale, {UPDATE}; this certificate passed on 2026-11-03 00:00Z"),
        ("refuse", 45 * DAY, SEEN, "PASS", "45 days old: update it: everything is refused from 2027-01-11 on"),
        ("refuse", 70 * DAY, SEEN, "FAIL",
         "the log list is 70 days old, and the policy refuses everything then; " + UPDATE),
        ("report", -DAY, None, "NOTE", "dated 1 days after the time of judgement"),
        ("report", 44 * DAY, None, "NOTE", "44 days old: fresh"),
        ("report", 45 * DAY, None, "NOTE", "45 days old: stale, update it"),
        ("report", 400 * DAY, SEEN, "NOTE", "400 days old: stale, update it"),
    ],
)  # fmt: skip
def test_the_age_is_told_in_plain_words(world, now, when, age, passed, outcome, detail):
    """What is refused, from when on, and what to do; a policy that reports has the words of kept judgements."""
    found = judge_age(world.log_list, WhenStale(when), passed, now + age)
    assert (found.rule, found.outcome.value, found.detail) == (Rule.CT_LIST_AGE, outcome, detail)


@given(MOMENTS, MOMENTS, st.none() | MOMENTS, st.sampled_from(WhenStale))
def test_any_times_are_judged(world, listed, at, passed, when):
    """However far apart they are: an age of 70 days or more, and nothing else, is stale; knowing a leaf never hurts."""
    aged = replace(world.log_list, timestamp=listed)
    found = judge_age(aged, when, passed, at)
    if when is WhenStale.REPORT:
        assert found.outcome is Outcome.NOTE
    elif at - listed < 70 * DAY:
        assert found.outcome is Outcome.PASS
    elif when is WhenStale.REFUSE or passed is None or passed - listed >= 70 * DAY:
        assert found.outcome is Outcome.FAIL
    else:
        assert found.outcome is Outcome.PASS


@given(MOMENTS, MOMENTS, st.sampled_from(Whose))
def test_a_clock_is_wrong_where_it_is_a_day_behind(moment, at, whose):
    """Whatever shows it, and at any time that there is."""
    outcome = judge_clock(ClockFloor(moment, whose), at).outcome
    assert outcome is (Outcome.FAIL if moment - at > DAY else Outcome.PASS)


@pytest.mark.parametrize(
    ("whose", "says", "way_out"),
    [
        (Whose.RELEASE, "this release of stubresolver was made on", ""),
        (Whose.LOG_LIST, "the pinned log list is of", ", or the list is dated wrongly"),
        (Whose.EVIDENCE, "an upstream was allowed on", "; if it was ahead then: stubresolver evidence prune --future"),
    ],
)
def test_a_wrong_clock_is_the_only_finding(verifier, presented, now, whose, says, way_out):
    """It is said that it is the clock, by what that is known, and how to get out; no word on the certificate."""
    early = now - 2500 * DAY
    verdict = verifier.judge(presented, early, Remembered(ClockFloor(now, whose)))
    [finding] = verdict.findings
    assert (
        str(finding)
        == verdict.summary
        == (
            f"clock.floor: the clock says 2019-12-29 12:00Z, but {says} 2026-11-02 12:00Z: "
            f"the clock is wrong, set it (timedatectl){way_out}"
        )
    )
    assert (verdict.scts, verdict.path, verdict.allowed, verdict.connects) == ((), (), False, False)
    assert not verifier.judge(presented, early).allowed  # without a floor the certificate is to blame


def test_the_clock_is_demanded_only_of_who_remembers(verifier, presented, now):
    """A judgement of the past has no floor; one with a floor has to have passed it."""
    past, live = (verifier.judge(presented, now, each) for each in (
        NOTHING_REMEMBERED, Remembered(ClockFloor(now, Whose.RELEASE))
    ))  # fmt: skip
    assert live.demanded - past.demanded == {Rule.CLOCK_FLOOR}
    assert [finding for finding in live.findings if finding not in past.findings] == [live.findings[0]]
    assert live.findings[0].detail == "not behind: this release of stubresolver was made on 2026-11-02 12:00Z"
    assert live.allowed
    assert past.allowed


@pytest.mark.parametrize("when", WhenStale)
def test_age_is_demanded_unless_it_is_only_reported(world, presented, now, when):
    """A judge that forgot the age would refuse."""
    verdict = Verifier(replace(world.policy, ct=CTPolicy(when_stale=when)), world.log_list).judge(presented, now)
    assert verdict.allowed
    assert (Rule.CT_LIST_AGE in verdict.demanded) == (when is not WhenStale.REPORT)


def test_without_ct_there_is_no_age(world, presented, now):
    """Where no SCTs are asked for, a list of any age refuses nothing, and no proof is named."""
    verdict = Verifier(replace(world.policy, ct=None), world.log_list).judge(presented, now + 80 * DAY)
    assert verdict.allowed
    assert verdict.proof is None
    assert Rule.CT_LIST_AGE not in {finding.rule for finding in verdict.findings}


def test_the_highest_floor_counts(now):
    """Of what is known to have happened, the latest; of equals the first."""
    floors = [ClockFloor(now - DAY, Whose.RELEASE), ClockFloor(now, Whose.LOG_LIST), ClockFloor(now, Whose.EVIDENCE)]
    assert highest(floors).whose is Whose.LOG_LIST


def test_a_time_without_a_zone_cannot_be_remembered(now):
    """It could be meant in any: an error where it is made, not where it is compared."""
    with pytest.raises(ValueError, match="names no time zone"):
        ClockFloor(now.replace(tzinfo=None), Whose.RELEASE)
    with pytest.raises(ValueError, match="names no time zone"):
        Remembered(passed=now.replace(tzinfo=None))
