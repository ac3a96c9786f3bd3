"""What becomes of a list: widened by a quorum or a voucher, narrowed by one, and never silently."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from stubresolver.ct import LogKind, LogList, LogState, TemporalInterval
from stubresolver.errors import SourceRefused
from stubresolver.lab.logs import LabLog
from stubresolver.loglists import ChangeKind, merge
from tests.loglists.formats import NOW, YEAR, as_apple, as_mozilla, as_v3, pinned, source

DAY = timedelta(days=1)
NEW = LabLog("Birch", "Birch 4", interval=YEAR)
LATER = NOW + timedelta(hours=1)
ONE, TWO, THREE = "https://one.example/a", "https://two.example/b", "https://three.example/c"


def given(current, *lists, shipped=()):
    """Sources of these lists, each from a place of its own."""
    names = (ONE, TWO, THREE)
    return [
        source(name, octets, current, shipped=number in shipped)
        for number, (name, octets) in enumerate(zip(names, lists, strict=False))
    ]


def merged(current, *lists, shipped=(), **arguments):
    return merge(current, given(current, *lists, shipped=shipped), now=LATER, **arguments)


def kinds(result):
    return [change.kind for change in result.changes if change.kind is not ChangeKind.TIMESTAMP]


def changed(logs, log, **changes):
    """The logs with one of them changed; its key stays."""
    return [replace(each, **changes) if each is log else each for each in logs]


def test_a_new_log_needs_a_quorum(logs, current):
    """One source is not enough, two are; three of three are, if three are wanted."""
    alone = merged(current, as_v3([*logs, NEW]), as_apple(logs))
    assert NEW.log_id not in alone.log_list.logs
    assert [str(item) for item in alone.withheld] == [
        f"Birch 4 (Birch) to be added: listed by {ONE}, 2 independent sources are wanted"
    ]
    together = merged(current, as_v3([*logs, NEW]), as_apple([*logs, NEW]))
    assert together.log_list.logs[NEW.log_id].operator == "Birch"
    assert (kinds(together), together.withheld) == ([ChangeKind.ADDED], ())
    assert together.changes[-1].why == f"listed alike by {ONE}, {TWO}"
    assert kinds(merged(current, as_v3([*logs, NEW]), as_apple([*logs, NEW]), quorum=3)) == []
    assert kinds(merged(current, as_v3([*logs, NEW]), quorum=1)) == [ChangeKind.ADDED]


def test_a_new_log_is_taken_whole(logs, current):
    """Kind, interval, URLs and merge delay come with it, from whoever states them; Mozilla states none."""
    new = replace(NEW, kind="static-ct", interval=(YEAR[0], YEAR[0] + 180 * DAY))
    log = merged(current, as_mozilla([*logs, new]), as_v3([*logs, new])).log_list.logs[new.log_id]
    assert (log.kind, log.description, log.state) == (LogKind.STATIC_CT, "Birch 4", LogState.USABLE)
    assert log.interval == TemporalInterval(*new.interval)
    assert (log.url, log.submission_url, log.mmd) == ("https://birch-4.lab/",) * 2 + (timedelta(seconds=60),)


def test_a_new_operator_is_written_as_the_voucher_writes_it(logs, current):
    """Where the list in force has no such operator: the source that is vouched for goes before the others."""
    lists = (as_v3([*logs, replace(NEW, operator="DOGWOOD")]), as_apple([*logs, replace(NEW, operator="Dogwood")]))
    for shipped, name in (((), "DOGWOOD"), ((1,), "Dogwood")):
        assert merged(current, *lists, shipped=shipped).log_list.logs[NEW.log_id].operator == name


def test_a_new_log_takes_what_all_intervals_have_in_common(logs, current):
    """The later start, the earlier end; where nothing is left, the sources do not list it alike."""
    middle = YEAR[0] + 180 * DAY
    for other, wanted in (((middle, YEAR[1] + DAY), (middle, YEAR[1])), ((YEAR[1], YEAR[1] + DAY), None)):
        result = merged(current, as_v3([*logs, NEW]), as_apple([*logs, replace(NEW, interval=other)]))
        if wanted:
            assert result.log_list.logs[NEW.log_id].interval == TemporalInterval(*wanted)
        else:
            assert "nothing in common" in str(result.withheld[0])


def test_a_new_log_is_withheld_if_any_source_is_against(logs, current):
    """Two list it, the third says rejected: it stays away, and the third is named."""
    against = replace(NEW, state="rejected", since=NOW - DAY)
    for shipped in ((), (0,)):
        result = merged(
            current, as_v3([*logs, NEW]), as_apple([*logs, NEW]), as_v3([*logs, against], NOW - DAY), shipped=shipped
        )
        assert NEW.log_id not in result.log_list.logs
        assert f"but {THREE} lists it as rejected 2026-11-01T12:00:00Z" in str(result.withheld[0])


def test_who_lists_a_new_log_as_pending_does_not_list_it(logs, current):
    """A third publisher has not decided yet: that is not against it."""
    pending = replace(NEW, state="pending")
    result = merged(current, as_v3([*logs, NEW]), as_apple([*logs, NEW]), as_v3([*logs, pending], NOW - DAY))
    assert kinds(result) == [ChangeKind.ADDED]


def test_two_who_could_each_carry_it_carry_nothing(logs, current):
    """A voucher says Birch's, a quorum Cedar's: whose it is nobody knows, and nothing is taken."""
    other = replace(NEW, operator="Cedar")
    lists = (as_v3([*logs, NEW]), as_apple([*logs, other]), as_mozilla([*logs, other]))
    result = merged(current, *lists, shipped=(0,))
    assert kinds(result) == []
    assert {item.operator for item in result.withheld} == {"Birch", "Cedar"}
    assert "others that are as many list it in another way" in str(result.withheld[0])


def test_two_who_could_each_change_a_log_change_nothing(logs, current):
    """The same of a known log's operator and of its URL."""
    ours, theirs = changed(logs, logs[0], operator="Birch"), changed(logs, logs[0], operator="Cedar")
    result = merged(current, as_v3(ours), as_apple(theirs), as_mozilla(theirs), shipped=(0,))
    assert (kinds(result), len(result.withheld)) == ([], 2)
    moved = [
        octets.replace(b"https://alder-1.lab/", b"https://%s.lab/" % to)
        for octets, to in ((as_v3(logs), b"x"), (as_apple(logs), b"y"), (as_v3(logs, NOW - DAY), b"y"))
    ]
    assert kinds(merged(current, *moved, shipped=(0,))) == []
    assert kinds(merged(current, *moved)) == [ChangeKind.URL]


def test_a_log_is_not_brought_back_under_other_operators(logs):
    """Two say that it counts again, one of them as another's: not alike."""
    before = pinned(changed(logs, logs[0], state="retired", since=NOW - 60 * DAY), NOW - 7 * DAY)
    result = merged(before, as_v3(logs), as_apple(changed(logs, logs[0], operator="Mallory")))
    assert result.log_list.logs[logs[0].log_id].state is LogState.RETIRED


@pytest.mark.parametrize("state", ["pending", "rejected"])
def test_new_logs_that_nobody_accepted_are_not_added(state, logs, current):
    """Not even by all together; and there is nothing to tell."""
    new = replace(NEW, state=state)
    result = merged(current, as_v3([*logs, new]), as_apple([*logs, new]))
    assert (kinds(result), result.withheld) == ([], ())


def test_a_voucher_needs_no_quorum(logs, current):
    """A vouched source adds alone, also where others are silent."""
    alone = merged(current, as_v3([*logs, NEW]), shipped=(0,))
    assert kinds(alone) == [ChangeKind.ADDED]
    assert alone.changes[-1].why == f"{ONE}, vouched for by shipped"
    assert kinds(merged(current, as_apple(logs), as_v3([*logs, NEW]), shipped=(1,))) == [ChangeKind.ADDED]


def test_one_retirement_is_enough(logs, current):
    """The earliest counts, whoever says it, and each other source may go on listing the log."""
    early, late = NOW - 30 * DAY, NOW - 2 * DAY
    result = merged(
        current,
        as_v3(logs),
        as_apple(changed(logs, logs[0], state="retired", since=late)),
        as_mozilla(changed(logs, logs[0], state="retired", since=early)),
    )
    log = result.log_list.logs[logs[0].log_id]
    assert (log.state, log.state_since) == (LogState.RETIRED, early)
    assert (result.changes[-1].kind, result.changes[-1].why) == (ChangeKind.STATE, f"{THREE} lists it so")
    assert result.withheld == ()  # that others go on listing it widens nothing


def test_a_retirement_in_the_future_is_taken_as_it_is(logs, current):
    """It narrows from then on, and until then the log counts."""
    soon = NOW + 30 * DAY
    log = merged(current, as_v3(logs), as_apple(changed(logs, logs[0], state="retired", since=soon))).log_list.logs[
        logs[0].log_id
    ]
    assert (log.state_since, log.is_current(NOW), log.is_current(soon)) == (soon, True, False)


def test_one_rejection_is_enough(logs, current):
    """Rejected counts for nothing at all, not even for old certificates."""
    result = merged(current, as_v3(logs), as_apple(changed(logs, logs[0], state="rejected")))
    assert result.log_list.logs[logs[0].log_id].state is LogState.REJECTED


def test_a_rejection_is_remembered_while_anyone_lists_it(logs, current):
    """One rejects it, the other has dropped it: it stays as rejected, until nobody names it any more."""
    rejected = as_v3(changed(logs, logs[0], state="rejected"))
    result = merged(current, rejected, as_apple(logs[1:]))
    assert result.log_list.logs[logs[0].log_id].state is LogState.REJECTED
    again = merged(result.log_list, rejected, as_apple(logs[1:]))
    assert kinds(again) == []
    assert kinds(merged(result.log_list, as_apple(logs[1:]))) == [ChangeKind.REMOVED]


def test_one_absence_is_enough_unless_a_quorum_still_lists_it(logs, current):
    """Of two sources one drops it: gone. Of three one: it stays. A voucher alone keeps it."""
    gone = merged(current, as_v3(logs[1:]), as_apple(logs))
    assert logs[0].log_id not in gone.log_list.logs
    assert gone.changes[-1].why == f"only {TWO} still lists it"
    assert kinds(merged(current, as_v3(logs[1:]), as_apple(logs), as_mozilla(logs))) == []
    assert kinds(merged(current, as_v3(logs), as_apple(logs[1:]), shipped=(0,))) == []
    assert kinds(merged(current, as_v3(logs), as_apple(logs[1:]), shipped=(1,))) == [ChangeKind.REMOVED]
    assert kinds(merged(current, as_v3(logs[1:]))) == [ChangeKind.REMOVED]
    assert kinds(merged(current, as_v3(logs))) == []


def test_a_pending_log_is_not_listed(logs, current):
    """Nobody accepted it: for whoever says so of a log that counts, it is absent."""
    result = merged(current, as_v3(changed(logs, logs[0], state="pending")), as_apple(logs))
    assert kinds(result) == [ChangeKind.REMOVED]


@pytest.mark.parametrize("state", ["usable", "retired"])
def test_a_retirement_is_undone_or_put_off_by_a_quorum_only(state, logs):
    """Both ways of widening: it counts again, or up to a later day."""
    old, later = NOW - 60 * DAY, NOW - 10 * DAY
    before = pinned(changed(logs, logs[0], state="retired", since=old), NOW - 7 * DAY)
    wider = changed(logs, logs[0], state=state, since=later)
    narrow = changed(logs, logs[0], state="retired", since=old)
    log_id = logs[0].log_id
    assert merged(before, as_v3(wider)).log_list.logs[log_id] == before.logs[log_id]
    assert merged(before, as_v3(wider), as_v3(narrow, NOW - DAY), shipped=(0,)).log_list.logs[log_id].state_since == old
    assert merged(before, as_v3(wider), as_apple(wider), as_mozilla(narrow)).log_list.logs[log_id].state_since == old
    for result in (merged(before, as_v3(wider), as_apple(wider)), merged(before, as_v3(wider), shipped=(0,))):
        assert (result.log_list.logs[log_id].state, result.log_list.logs[log_id].state_since) == (state, later)
    assert "to be" in str(merged(before, as_v3(wider)).withheld[0])


def test_dates_that_differ_are_not_alike(logs):
    """Two sources put a retirement off, to different days: neither is carried."""
    before = pinned(changed(logs, logs[0], state="retired", since=NOW - 60 * DAY), NOW - 7 * DAY)
    result = merged(
        before,
        as_v3(changed(logs, logs[0], state="retired", since=NOW - 9 * DAY)),
        as_apple(changed(logs, logs[0], state="retired", since=NOW - 8 * DAY)),
    )
    assert result.log_list.logs[logs[0].log_id].state_since == NOW - 60 * DAY
    assert len(result.withheld) == 2


def test_an_interval_is_narrowed_by_one_and_widened_by_a_quorum(logs, current):
    """Narrower: what all have in common. Wider: only what all who state one state alike, and enough of them."""
    log_id = logs[0].log_id
    narrow = changed(logs, logs[0], interval=(YEAR[0] + DAY, YEAR[1]))
    wide = changed(logs, logs[0], interval=(YEAR[0] - DAY, YEAR[1]))
    shifted = changed(logs, logs[0], interval=(YEAR[0] + DAY, YEAR[1] + DAY))

    def interval(*lists, **arguments):
        found = merged(current, *lists, **arguments).log_list.logs[log_id].interval
        return ((found.start - YEAR[0]).days, (found.end - YEAR[1]).days)

    assert interval(as_v3(narrow), as_apple(logs)) == (1, 0)
    assert interval(as_v3(wide), as_apple(logs)) == (0, 0)
    assert interval(as_v3(wide), as_mozilla(logs)) == (0, 0)
    assert interval(as_v3(wide), as_apple(wide)) == (-1, 0)
    assert interval(as_v3(wide), shipped=(0,)) == (-1, 0)
    assert interval(as_v3(shifted), as_apple(logs)) == (1, 0)
    assert interval(as_v3(shifted), as_apple(shifted)) == (1, 1)
    assert interval(as_v3(wide), as_apple(wide), as_v3(narrow, NOW - DAY)) == (1, 0)
    unlimited = changed(logs, logs[0], interval=None)
    assert interval(as_v3(unlimited), as_apple(logs)) == (0, 0)
    assert merged(current, as_v3(unlimited), as_apple(unlimited)).log_list.logs[log_id].interval is None
    assert "to take certificates of any time" in str(merged(current, as_v3(unlimited)).withheld[0])


def test_who_stands_in_the_way_of_a_quorum_is_named(logs, current):
    """Two list it alike, and two are wanted: the reason is another one."""
    before = pinned(changed(logs, logs[0], state="retired", since=NOW - 60 * DAY), NOW - 7 * DAY)
    result = merged(before, as_v3(logs), as_apple(changed(logs, logs[0], operator="Mallory")))
    assert [str(item).partition(", but ")[2] for item in result.withheld if "usable" in item.wanted] == [
        "not all as Alder's"
    ]
    wide = changed(logs, logs[0], interval=(YEAR[0] - DAY, YEAR[1]))
    (item,) = merged(current, as_v3(wide), as_apple(wide), as_v3(logs, NOW - DAY)).withheld
    assert str(item).endswith(f"listed by {ONE}, {TWO}, but another interval is listed by {THREE}")
    ours, theirs = changed(logs, logs[0], operator="Birch"), changed(logs, logs[0], operator="Cedar")
    result = merged(current, as_v3(ours), as_apple(theirs), as_mozilla(theirs), shipped=(0,))
    assert {item.against for item in result.withheld} == {("others that are as many list it in another way",)}


def test_an_interval_that_has_nothing_in_common_removes_the_log(logs, current):
    """One may narrow it to nothing; that is a removal, and called one."""
    elsewhere = changed(logs, logs[0], interval=(YEAR[1], YEAR[1] + DAY))
    result = merged(current, as_v3(elsewhere), as_apple(logs))
    assert [(change.kind, change.why) for change in result.changes][-1] == (
        ChangeKind.REMOVED, "the sources' intervals leave it nothing in common",
    )  # fmt: skip


def test_operator_history_and_kind_change_by_a_quorum_only(logs, current):
    """Each decides how many operators a certificate's SCTs are from, or how they are read."""
    handed_over = ("Alder", NOW - 90 * DAY)
    cases = (
        {"operator": "Cedar", "previous_operators": (handed_over,)},
        {"previous_operators": (("Birch", NOW - DAY),)},
        {"kind": "static-ct"},
    )
    for changes in cases:
        other = changed(logs, logs[0], **changes)
        assert merged(current, as_v3(other), as_apple(logs)).log_list.logs == current.logs
        assert merged(current, as_v3(other)).withheld
        log = merged(current, as_v3(other), as_v3(other, NOW - DAY)).log_list.logs[logs[0].log_id]
        for name, value in changes.items():
            assert getattr(log, name) == value


def test_a_source_that_states_no_history_leaves_the_known_one(logs):
    """Mozilla and Apple name the operator of today only; that says nothing of the one before."""
    previous = (("Ash", NOW - 90 * DAY),)
    before = pinned(changed(logs, logs[0], previous_operators=previous), NOW - 7 * DAY)
    result = merged(before, as_mozilla(logs), as_apple(logs))
    assert result.log_list.logs[logs[0].log_id].previous_operators == previous
    assert result.withheld == ()
    assert merged(before, as_v3(logs)).withheld  # in v3, no history is a statement
    other_kind = changed(logs, logs[0], kind="static-ct")
    log = merged(before, as_mozilla(other_kind), as_apple(other_kind)).log_list.logs[logs[0].log_id]
    assert (log.kind, log.previous_operators) == (LogKind.STATIC_CT, previous)


def test_what_judges_nothing_is_filled_in_by_one_and_changed_by_a_quorum(logs, current):
    """URLs: where none is known, one will do; a known one is changed as everything else."""
    bare = LogList.parse(current.octets.replace(b"https://alder-1.lab/", b""))
    log_id = logs[0].log_id
    assert merged(bare, as_v3(logs)).log_list.logs[log_id].url == "https://alder-1.lab/"
    moved = as_v3(logs).replace(b"https://alder-1.lab/", b"https://elsewhere.lab/")
    assert merged(current, moved).log_list.logs[log_id].url == "https://alder-1.lab/"
    assert merged(bare, moved, as_apple(logs)).log_list.logs[log_id].url == ""
    both = merged(current, moved, as_apple(logs).replace(b"https://alder-1.lab/", b"https://elsewhere.lab/"))
    assert [str(change) for change in both.changes if change.kind is ChangeKind.URL] == [
        "Alder 1 (Alder): url https://alder-1.lab/ -> https://elsewhere.lab/"
    ]


def test_between_states_that_count_the_state_follows_a_quorum(logs, current):
    """Qualified, usable and readonly judge alike; Mozilla has one word for them and so no say."""
    readonly = changed(logs, logs[0], state="readonly", since=NOW - DAY)
    log_id = logs[0].log_id
    assert merged(current, as_v3(readonly), as_mozilla(logs)).log_list.logs[log_id].state is LogState.USABLE
    result = merged(current, as_v3(readonly), as_apple(readonly))
    assert result.log_list.logs[log_id].state is LogState.READONLY


def test_a_list_is_as_fresh_as_its_witnesses(logs, current):
    """The second newest of two, the newest that is vouched for, and never before the list in force."""

    def date(*dates, **arguments):
        lists = [
            as_v3([replace(log, since=log.since + number * DAY) for log in logs], at) for number, at in enumerate(dates)
        ]
        return merged(current, *lists, **arguments).log_list.timestamp

    assert date(NOW) == current.timestamp
    assert date(NOW, NOW - 2 * DAY) == NOW - 2 * DAY
    assert date(NOW, NOW - DAY, NOW - 2 * DAY) == NOW - DAY
    assert date(NOW, NOW - DAY, NOW - 2 * DAY, quorum=3) == NOW - 2 * DAY
    assert date(NOW, NOW - DAY, shipped=(0,)) == NOW
    assert date(NOW, NOW - DAY, NOW - 2 * DAY, shipped=(2,)) == NOW - DAY


def test_a_list_is_never_dated_ahead_of_the_clock(logs, current):
    """Else the clock would be found wrong by the list, until it catches up."""
    ahead = merged(current, as_v3(logs, LATER + timedelta(hours=20)), shipped=(0,))
    assert ahead.log_list.timestamp == LATER
    ahead = merged(current, as_v3(logs, LATER + timedelta(hours=20)), as_v3(logs, LATER + timedelta(hours=10)))
    assert ahead.log_list.timestamp == LATER


def test_why_a_list_does_not_get_younger_is_said(logs, current):
    """A person who updates every day must not find the list stale after 70 of them without a word."""
    note = next(note for note in merged(current, as_v3(logs)).notes if "stays" in note)
    assert note == (
        f"the list's date stays 2026-10-26: newer is only what {ONE} says, and 2 independent sources are wanted, "
        "or one that is signed by a configured key"
    )
    assert not any("stays" in note for note in merged(current, as_v3(logs), shipped=(0,)).notes)
    assert any("not dated" in note for note in merged(current, as_apple(logs)).notes)


def test_nothing_new_leaves_the_list_as_it_is(logs, current):
    """The octets, too: no file is written for nothing."""
    result = merged(current, as_v3(logs, current.timestamp))
    assert (result.octets, result.log_list, result.changes) == (current.octets, current, ())


def test_merging_the_same_again_changes_nothing(logs, current):
    """An update is idempotent."""
    lists = (as_v3([*logs, NEW]), as_apple([*logs[1:], NEW]))
    once = merged(current, *lists)
    assert kinds(once)
    again = merged(once.log_list, *lists)
    assert (again.octets, again.changes) == (once.octets, ())


def test_the_result_reads_back_as_what_it_is(logs, current):
    """Its octets are a v3 list for any reader."""
    result = merged(current, as_v3([*logs, NEW]), as_apple([*logs, NEW]))
    assert LogList.parse(result.octets) == result.log_list


def test_a_result_that_lost_more_than_a_third_is_refused(logs, current):
    """Each source holds enough, what they have in common does not. Force takes it, unless nothing is left."""
    lists = (as_v3(logs[2:]), as_apple(logs[:-2]))
    with pytest.raises(SourceRefused, match="cannot be used: shrunk: 5 of the 9 logs that count today"):
        merged(current, *lists)
    assert len(merged(current, *lists, force=True).log_list.logs) == 5
    small = pinned(logs[:2], NOW - DAY)
    sources = [source(ONE, as_v3(logs[:1]), small, force=True), source(TWO, as_apple(logs[1:2]), small, force=True)]
    with pytest.raises(SourceRefused, match="cannot be used: the list has no qualified, usable or readonly log"):
        merge(small, sources, now=LATER, force=True)


def test_logs_that_are_over_go_without_a_word_of_shrinking(logs):
    """Six logs of last year and three of this one: the six go."""
    over = (datetime(2025, 1, 1, tzinfo=UTC), YEAR[0])
    before = pinned([replace(log, interval=over) for log in logs[:6]] + logs[6:], NOW - DAY)
    assert kinds(merged(before, as_v3(logs[6:]), as_apple(logs[6:]))) == [ChangeKind.REMOVED] * 6


def test_what_the_policy_denies_is_never_added(logs):
    """The deny set of the list in force, the policy's part of it included; who lists such a log is told."""
    before = pinned(logs, NOW - DAY, {NEW.log_id: "we saw it lie"})
    result = merged(before, as_v3([*logs, NEW]), as_apple([*logs, NEW]), shipped=(0,))
    assert NEW.log_id not in result.log_list.logs
    assert result.log_list.denied == before.denied
    assert str(result.withheld[0]).endswith(f"listed by {ONE}, {TWO}, but it is denied: we saw it lie")


def test_without_a_source_there_is_no_update(current):
    """All were refused: that is no reason to remove anything."""
    with pytest.raises(SourceRefused, match="no source is left"):
        merge(current, [], now=NOW)


def test_a_quorum_of_nobody_is_a_mistake(current):
    """It would believe anything."""
    with pytest.raises(ValueError, match="expected at least 1"):
        merge(current, [], quorum=0, now=NOW)
