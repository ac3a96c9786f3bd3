"""Differences in words, and lists as octets: deterministic, and read back as they were written."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from stubresolver.ct import LogList, LogState, TemporalInterval
from stubresolver.lab.logs import LabLog
from stubresolver.loglists import ChangeKind, diff, write_list
from stubresolver.loglists.shrinking import FOREVER
from stubresolver.loglists.spelling import normal
from tests.loglists.formats import NOW, YEAR, pinned

DAY = timedelta(days=1)
LOG = LabLog("Alder", "Alder 1", interval=YEAR)
OTHER = LabLog("Birch", "Birch 1", "static-ct")
BEFORE = pinned([LOG, OTHER])


def said(*logs, at=NOW):
    return [str(change) for change in diff(BEFORE, pinned(logs, at))]


def test_two_equal_lists_do_not_differ():
    """Whatever octets they are written in."""
    assert said(OTHER, LOG) == []


def test_each_difference_has_its_line():
    """What, of which log and operator, before and after: the whole of what a person needs to decide."""
    assert said(LOG, OTHER, at=NOW + DAY) == ["the list: timestamp 2026-11-02T12:00:00Z -> 2026-11-03T12:00:00Z"]
    assert said(LOG) == ["removed Birch 1 (Birch): was static-ct, usable 2020-01-01T00:00:00Z"]
    assert said(LOG, OTHER, LabLog("Cedar", "Cedar 1", interval=YEAR)) == [
        "added Cedar 1 (Cedar): rfc6962, usable 2020-01-01T00:00:00Z, 2026-01-01T00:00:00Z to 2027-01-01T00:00:00Z"
    ]
    assert said(replace(LOG, state="retired", since=NOW), OTHER) == [
        "Alder 1 (Alder): state usable 2020-01-01T00:00:00Z -> retired 2026-11-02T12:00:00Z"
    ]
    assert said(replace(LOG, operator="Ash"), OTHER) == ["Alder 1 (Ash): operator Alder -> Ash"]
    assert said(replace(LOG, previous_operators=(("Ash", NOW),)), OTHER) == [
        "Alder 1 (Alder): previous operators none -> Ash until 2026-11-02T12:00:00Z"
    ]
    assert said(replace(LOG, interval=None), OTHER) == [
        "Alder 1 (Alder): interval 2026-01-01T00:00:00Z to 2027-01-01T00:00:00Z -> none"
    ]


def test_every_field_of_a_log_is_compared():
    """Also those that judge nothing: the kind, the URLs, the merge delay, the name."""
    kinds = {change.kind for change in diff(BEFORE, pinned([replace(LOG, kind="static-ct", description="A"), OTHER]))}
    assert kinds == {ChangeKind.KIND, ChangeKind.URL, ChangeKind.MMD, ChangeKind.DESCRIPTION}


def test_a_list_reads_back_as_it_was_written():
    """Every field, both kinds of log; the same logs in another order are the same octets."""
    logs = [
        replace(log, url="https://a.lab/x/", mmd=timedelta(seconds=60), previous_operators=(("Ash", NOW),))
        for log in BEFORE.logs.values()
    ]
    octets = write_list("2", NOW, logs)
    found = LogList.parse(octets)
    assert (found.version, found.timestamp) == ("2", NOW)
    for log in logs:
        read = found.logs[log.log_id]
        assert (read, read.url, read.submission_url, read.mmd) == (log, log.url, log.submission_url, log.mmd)
    assert write_list("2", NOW, reversed(logs)) == octets
    assert octets.endswith(b"}\n")


def test_a_state_of_no_date_is_written_as_of_ever():
    """The schema wants a time: 1970 makes a retirement of no date what it is."""
    log = replace(BEFORE.logs[LOG.log_id], state=LogState.RETIRED, state_since=None)
    found = LogList.parse(write_list("2", NOW, [log, BEFORE.logs[OTHER.log_id]])).logs[LOG.log_id]
    assert found.state is LogState.RETIRED
    assert found.state_since.timestamp() == 0


@given(
    start=st.datetimes(max_value=FOREVER.replace(tzinfo=None) - DAY).map(
        lambda moment: moment.replace(tzinfo=NOW.tzinfo)
    ),
    state=st.sampled_from(LogState),
    name=st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda text: text.isprintable() and text.strip()),
)
def test_any_log_reads_back(start, state, name):
    """Times to the microsecond, any state, any name that can be printed."""
    log = replace(
        BEFORE.logs[LOG.log_id],
        state=state,
        state_since=start,
        operator=name,
        interval=TemporalInterval(start, start + timedelta(microseconds=1)),
    )
    assert LogList.parse(write_list("2", NOW, [log, BEFORE.logs[OTHER.log_id]])).logs[LOG.log_id] == log


@given(st.lists(st.sampled_from("abcxyzABCXYZ019"), min_size=1), st.data())
def test_only_letters_and_digits_tell_names_apart(letters, data):
    """Signs and spaces anywhere between them, and the case, change nothing; one letter more does."""
    signs = st.sampled_from(["", " ", "'", "-", ".", ", "])
    other = "".join(data.draw(signs) + letter.swapcase() for letter in letters)
    assert normal(other) == normal("".join(letters))
    assert normal(other + "k") != normal(other)
