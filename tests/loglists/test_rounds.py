"""Update after update with one bad source among two good ones: nothing adds up to what one update would not take."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from stubresolver.errors import SourceRefused
from stubresolver.lab.logs import LabLog
from stubresolver.loglists import Format, merge
from stubresolver.loglists.shrinking import NEVER, counts_until
from tests.loglists.formats import FORMATS, NOW, YEAR, pinned, source

DAY = timedelta(days=1)
NEW = [LabLog("Alder", "Alder 4", interval=YEAR), LabLog("Dogwood", "Dogwood 1")]
MINE = [LabLog("Mallory", "Mallory 1", interval=YEAR), LabLog("Alder", "Alder 9", interval=YEAR)]
LIES = [
    *({"state": state, "since": NOW - 5 * DAY} for state in ("pending", "usable", "retired", "rejected")),
    {"state": "retired", "since": NOW + 30 * DAY},
    *({"operator": name} for name in ("BIRCH", "Cedar LLC", "Mallory")),
    *({"interval": (YEAR[0] + start * DAY, YEAR[1] + end * DAY)} for start, end in ((-9, 9), (9, 0), (400, 400))),
    {"interval": None},
    {"previous_operators": (("Mallory", NOW + DAY),)},
]
TRUTH = [{}] * 25


def good_list(draw, logs):
    """An honest publisher's: it lists the known logs, some have retired, and new ones come and go."""
    listed = list(logs)
    if draw(st.integers(0, 5)) == 0:
        number = draw(st.integers(0, len(logs) - 1))
        listed[number] = replace(listed[number], state="retired", since=NOW - draw(st.integers(-20, 20)) * DAY)
    return listed + draw(st.sampled_from([NEW, NEW, NEW[:1], []]))


def bad_list(draw, logs):
    """Anything: lies about some of the logs, others left out, logs of its own."""
    told = [(log, draw(st.sampled_from([*TRUTH, None, *LIES]))) for log in [*logs, *NEW]]
    listed = [replace(log, **lie) for log, lie in told if lie is not None]
    return listed + draw(st.sampled_from([[], MINE]))


def read(name, octets, current, now):
    try:
        return [source(f"https://{name}.example", octets, current, now=now)]
    except SourceRefused:
        return []


def assert_stated(before, after, honest):
    """Whatever counts for more than before is what a good source says as well, and for no log does nobody vouch."""
    for log_id, log in after.logs.items():
        known = before.logs.get(log_id)
        says = [listed.logs[log_id] for listed in honest if log_id in listed.logs]
        assert known or says
        if known is None or counts_until(log) > counts_until(known):
            assert any(counts_until(other) >= counts_until(log) for other in says)
        if known is None or (log.operator, log.kind, log.previous_operators) != (
            known.operator, known.kind, known.previous_operators,
        ):  # fmt: skip
            assert any((log.operator, log.kind) == (other.operator, other.kind) for other in says)
            assert not log.previous_operators
        intervals = {other.interval for other in says}
        if known is not None and known.interval is not None and log.interval not in {known.interval, *intervals}:
            assert known.interval.start <= log.interval.start < log.interval.end <= known.interval.end


def assert_kept(before, after, honest, bad):
    """What both good sources list as it is, and the bad one does not speak against, is not lost."""
    for log_id, known in before.logs.items():
        said = [listed.logs.get(log_id) for listed in honest]
        lie = bad[0].logs.get(log_id) if bad else None
        if (
            all(other == replace(known, state_since=other.state_since) for other in said if other is not None)
            and None not in said
            and (lie is None or (counts_until(lie) > NEVER and lie.interval == known.interval))
        ):
            assert log_id in after.logs


@settings(max_examples=12, phases=[Phase.explicit, Phase.generate])  # twelve updates take minutes to shrink
@given(data=st.data())
def test_one_bad_source_of_three_gains_nothing_in_many_updates(logs, data):
    """Not by patience either: no log of its own, none that counts again or longer, no operator, no younger date."""
    draw, current = data.draw, pinned(logs, NOW - 7 * DAY)
    newest = current.timestamp
    for days in range(12):
        now = NOW + days * DAY
        honest = []
        for name, behind in (("one", timedelta()), ("two", timedelta(hours=1))):
            at = now - draw(st.integers(0, 3)) * DAY - behind
            honest += read(name, FORMATS["v3"](good_list(draw, logs), at), current, now)
        form = draw(st.sampled_from(sorted(FORMATS)))
        bad = read("bad", FORMATS[form](bad_list(draw, logs), now + draw(st.integers(-2, 1)) * DAY), current, now)
        newest = max([newest, *(listed.timestamp for listed in honest)])
        try:
            merged = merge(current, draw(st.permutations([*honest, *bad])), now=now).log_list
        except SourceRefused:
            continue
        if honest:  # where both are refused, the bad one is alone: tests/loglists/test_attacks.py
            assert_stated(current, merged, honest)
        assert merged.timestamp <= newest
        if len(honest) == 2 and (not bad or bad[0].format is not Format.MOZILLA):
            assert_kept(current, merged, honest, bad)
        current = merged
