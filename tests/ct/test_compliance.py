"""Each SCT its status, then Chrome's counts: boundaries as a table, and what must hold for any set of SCTs."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stubresolver.ct import CTPolicy, LogList, Precertificate, SctStatus, check_sct, count
from stubresolver.lab.logs import LabLog, log_list_json, milliseconds

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
POLICY = CTPolicy()
RETIRED = NOW - 30 * DAY
INTERVAL = (NOW, NOW + 120 * DAY)

ALDER1, ALDER2 = LabLog("Alder", "Alder 1", interval=INTERVAL), LabLog("Alder", "Alder 2")
BIRCH = LabLog("Birch", "Birch 1", "static-ct")
CEDAR = LabLog("Cedar", "Cedar 1", state="retired", since=RETIRED)
ELM = LabLog("Elm", "Elm 1", state="retired", since=NOW + DAY)  # announced
FIR = LabLog("Fir", "Fir 1", state="pending")
GORSE = LabLog("Gorse", "Gorse 1", state="rejected")
HAZEL = LabLog("Hazel", "Hazel 1", state="readonly")
IVY = LabLog("Ivy", "Ivy 1", state="qualified")
SOLD = LabLog("Alder", "Sold 1", previous_operators=(("Birch", NOW - 10 * DAY),))
DRIFTWOOD, MIMIC = LabLog("Driftwood", "Driftwood 1"), LabLog("Mimic", "Mimic 1")
LISTED = (ALDER1, ALDER2, BIRCH, CEDAR, ELM, FIR, GORSE, HAZEL, IVY, SOLD)
LOGS = LogList.parse(log_list_json(LISTED, now=NOW), also_denied={MIMIC.log_id: "its key is published"})


def sct(precertificate, log, at=NOW - DAY, **changes):
    moment = at if isinstance(at, int) else milliseconds(at)
    return log.sign(precertificate.issuer_key_hash, precertificate.tbs, moment, **changes)


def status(precertificate, octets, log_list=LOGS):
    return check_sct(octets, precertificate, log_list, POLICY, NOW).status


def counts(precertificate, scts, log_list=LOGS, policy=POLICY):
    """The whole way from octets to the three counts."""
    return count([check_sct(each, precertificate, log_list, policy, NOW) for each in scts], precertificate, policy, NOW)


def complies(precertificate, scts, log_list=LOGS, policy=POLICY):
    found = counts(precertificate, scts, log_list, policy)
    return (
        len(found.logs) >= found.required
        and len(found.operators) >= policy.minimum_operators
        and len(found.current) >= policy.minimum_current
    )


def lasting(precertificate, lifetime):
    return replace(precertificate, not_after=precertificate.not_before + lifetime)


STATUSES = {
    "usable": (ALDER1, NOW - DAY, SctStatus.VALID),
    "static-ct with its leaf index": (BIRCH, NOW - DAY, SctStatus.VALID),
    "readonly": (HAZEL, NOW - DAY, SctStatus.VALID),
    "qualified": (IVY, NOW - DAY, SctStatus.VALID),
    "pending": (FIR, NOW - DAY, SctStatus.LOG_NOT_ACCEPTED),
    "rejected": (GORSE, NOW - DAY, SctStatus.LOG_NOT_ACCEPTED),
    "on no list": (DRIFTWOOD, NOW - DAY, SctStatus.UNKNOWN_LOG),
    "mimic": (MIMIC, NOW - DAY, SctStatus.DENIED_LOG),
    "299 s ahead": (BIRCH, NOW + 299 * SECOND, SctStatus.VALID),
    "300 s ahead": (BIRCH, NOW + 300 * SECOND, SctStatus.VALID),
    "300 s and 1 ms ahead": (BIRCH, NOW + timedelta(seconds=300, milliseconds=1), SctStatus.IN_FUTURE),
    "301 s ahead": (BIRCH, NOW + 301 * SECOND, SctStatus.IN_FUTURE),
    "at the end of the calendar": (BIRCH, 253_402_300_799_999, SctStatus.IN_FUTURE),
    "beyond the calendar": (BIRCH, 253_402_300_800_000, SctStatus.IN_FUTURE),
    "2^64 - 1": (HAZEL, 2**64 - 1, SctStatus.IN_FUTURE),
    "1970": (BIRCH, 0, SctStatus.VALID),
    "before the retirement": (CEDAR, RETIRED - timedelta(milliseconds=1), SctStatus.VALID),
    "at the retirement": (CEDAR, RETIRED, SctStatus.AFTER_RETIREMENT),
    "after the retirement": (CEDAR, RETIRED + SECOND, SctStatus.AFTER_RETIREMENT),
    "retirement announced": (ELM, NOW, SctStatus.VALID),
}


@pytest.mark.parametrize(("log", "at", "expected"), STATUSES.values(), ids=STATUSES)
def test_the_status_of_an_sct(precertificate, log, at, expected):
    """Who signed, when, and what the list says of the log decide the status of a genuine SCT."""
    assert status(precertificate, sct(precertificate, log, at)) is expected


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        (INTERVAL[0] - SECOND, SctStatus.OUTSIDE_INTERVAL),
        (INTERVAL[0], SctStatus.VALID),
        (INTERVAL[1] - SECOND, SctStatus.VALID),
        (INTERVAL[1], SctStatus.OUTSIDE_INTERVAL),
    ],
)
def test_the_certificate_must_end_inside_the_logs_interval(precertificate, ends, expected):
    """A shard takes certificates whose notAfter is in [start, end)."""
    ending = replace(precertificate, not_after=ends)
    assert status(ending, sct(ending, ALDER1)) is expected


def test_a_log_retired_nobody_knows_when_never_counts(precertificate):
    """A retirement without its time lies after nothing: neither a status nor a count lets such an SCT through."""
    log = replace(LOGS.logs[CEDAR.log_id], state_since=None)
    log_list = replace(LOGS, logs={**LOGS.logs, CEDAR.log_id: log})
    octets = sct(precertificate, CEDAR, 0)
    assert status(precertificate, octets, log_list) is SctStatus.AFTER_RETIREMENT
    passed = [replace(check_sct(octets, precertificate, LOGS, POLICY, NOW), log=log)]
    assert passed[0].status is SctStatus.VALID
    assert count(passed, precertificate, POLICY, NOW).logs == ()


@pytest.mark.parametrize("log", [DRIFTWOOD, ALDER1, CEDAR, FIR])
@pytest.mark.parametrize("at", [NOW - DAY, NOW + DAY])
def test_a_denied_id_is_denied_wherever_it_stands(precertificate, log, at):
    """The deny set comes first: no state, time or signature of such a log is looked at."""
    denying = replace(LOGS, denied={log.log_id: "denied"})
    assert status(precertificate, sct(precertificate, log, at), denying) is SctStatus.DENIED_LOG
    assert status(precertificate, sct(precertificate, log, at, signer=BIRCH.key), denying) is SctStatus.DENIED_LOG


def test_a_placeholder_that_a_list_names_as_retired_is_denied(precertificate):
    """Real lists carry the placeholders as retired; an SCT from before that retirement does not count either."""
    logs = LogList.parse(log_list_json([BIRCH, CEDAR], now=NOW), also_denied={CEDAR.log_id: "placeholder"})
    octets = sct(precertificate, CEDAR, RETIRED - DAY)
    assert status(precertificate, octets) is SctStatus.VALID
    assert status(precertificate, octets, logs) is SctStatus.DENIED_LOG


FORGERIES = {
    "another key": lambda p: sct(p, BIRCH, signer=ALDER1.key),
    "another issuer": lambda p: sct(replace(p, issuer_key_hash=bytes(32)), BIRCH),
    "another certificate": lambda p: sct(replace(p, tbs=p.tbs + b"\0"), BIRCH),
    "nothing signed": lambda p: sct(p, BIRCH)[:-72] + b"\0\0",
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_sct_is_an_invalid_signature(precertificate, forge):
    """What the log did not sign, or signed of something else, is INVALID_SIGNATURE or no SCT."""
    assert status(precertificate, forge(precertificate)) in {SctStatus.INVALID_SIGNATURE, SctStatus.MALFORMED}


@pytest.mark.parametrize(
    ("octets", "expected"),
    [(b"\1" + bytes(60), "UNSUPPORTED_VERSION"), (b"\0" * 20, "MALFORMED"), (b"\0" * 42, "MALFORMED")],
)
def test_octets_that_are_no_v1_sct_have_a_status_too(precertificate, octets, expected):
    """An unknown version and octets that are no SCT are told apart, and neither raises."""
    assert status(precertificate, octets) == expected


@pytest.mark.parametrize("log", [ALDER1, BIRCH], ids=["rfc6962", "static-ct"])
def test_no_single_flipped_bit_leaves_an_sct_valid(precertificate, log):
    """Every bit of a serialized SCT, one after the other: none can be turned without a reason to refuse."""
    octets = sct(precertificate, log)
    assert status(precertificate, octets) is SctStatus.VALID
    seen = set()
    for bit in range(len(octets) * 8):
        turned = bytearray(octets)
        turned[bit // 8] ^= 1 << bit % 8
        found = status(precertificate, bytes(turned))
        assert found is not SctStatus.VALID, bit
        seen.add(found)
    assert seen == {
        SctStatus.UNSUPPORTED_VERSION, SctStatus.UNKNOWN_LOG, SctStatus.INVALID_SIGNATURE, SctStatus.MALFORMED,
    }  # fmt: skip


@given(st.binary(max_size=150).map(lambda data: b"\0" + data))
def test_any_octets_have_a_status_that_is_not_valid(precertificate, octets):
    """No octets make the check raise, and none that no log signed are VALID."""
    assert status(precertificate, octets) is not SctStatus.VALID
    assert status(precertificate, b"\0" + BIRCH.log_id + octets) is not SctStatus.VALID


@pytest.mark.parametrize(
    "moment", [datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)], ids=["last", "first"]
)
def test_the_ends_of_the_calendar_are_times_too(precertificate, moment):
    """A judgement for any time that can be written down has an outcome."""
    found = check_sct(sct(precertificate, BIRCH), precertificate, LOGS, POLICY, moment)
    assert found.status is (SctStatus.VALID if moment > NOW else SctStatus.IN_FUTURE)
    assert len(count([found], precertificate, POLICY, moment).logs) == (moment > NOW)


EXACTLY = timedelta(days=180)


@pytest.mark.parametrize(
    ("lifetime", "required"), [(90 * DAY, 2), (EXACTLY, 2), (EXACTLY + SECOND, 3), (200 * DAY, 3), (-DAY, 2)]
)
def test_more_than_180_days_need_three(precertificate, lifetime, required):
    """ct_policy.md: 2 SCTs up to 180 days, 3 beyond; the lifetime is notAfter - notBefore, to the second."""
    assert counts(lasting(precertificate, lifetime), []).required == required


COUNTS = {
    "two logs of two operators": ([(ALDER1, NOW), (BIRCH, NOW)], 2, {"Alder", "Birch"}, 2),
    "two logs of one operator": ([(ALDER1, NOW), (ALDER2, NOW)], 2, {"Alder"}, 2),
    "the same log twice": ([(ALDER1, NOW), (ALDER1, NOW - DAY)], 1, {"Alder"}, 1),
    "nothing": ([], 0, set(), 0),
    "all static-ct": ([(BIRCH, NOW)], 1, {"Birch"}, 1),
    "one retired after both were signed": ([(ALDER1, RETIRED - DAY), (CEDAR, RETIRED - DAY)], 2, {"Alder", "Cedar"}, 1),
    "one retired before the other log signed": ([(ALDER1, NOW - DAY), (CEDAR, RETIRED - DAY)], 1, {"Alder"}, 1),
    "the earliest SCT decides": (
        [(ALDER1, NOW - DAY), (BIRCH, RETIRED - DAY), (CEDAR, RETIRED - 2 * DAY)], 3, {"Alder", "Birch", "Cedar"}, 2,
    ),
    "the earliest SCT at the retirement": ([(BIRCH, RETIRED), (CEDAR, RETIRED - DAY)], 1, {"Birch"}, 1),
    "only retired": ([(CEDAR, RETIRED - DAY)], 0, set(), 0),
    "retirement announced": ([(ELM, NOW - DAY)], 1, {"Elm"}, 1),
    "never accepted": ([(FIR, NOW), (GORSE, NOW)], 0, set(), 0),
    "unknown and denied": ([(DRIFTWOOD, NOW), (MIMIC, NOW)], 0, set(), 0),
    "readonly and qualified": ([(HAZEL, NOW), (IVY, NOW)], 2, {"Hazel", "Ivy"}, 2),
    "sold before it signed": ([(SOLD, NOW - 9 * DAY), (ALDER1, NOW)], 2, {"Alder"}, 2),
    "sold after it signed": ([(SOLD, NOW - 11 * DAY), (ALDER1, NOW)], 2, {"Birch", "Alder"}, 2),
    "sold on the day": ([(SOLD, NOW - 10 * DAY), (BIRCH, NOW)], 2, {"Alder", "Birch"}, 2),
    "the same log before and after it was sold": (
        [(SOLD, NOW - 11 * DAY), (SOLD, NOW - 9 * DAY)], 1, {"Alder", "Birch"}, 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("signed", "logs", "operators", "current"), COUNTS.values(), ids=COUNTS)
def test_the_counts_of_a_set_of_scts(precertificate, signed, logs, operators, current):
    """Distinct logs, their operators when they signed, and those that are current now."""
    found = counts(precertificate, [sct(precertificate, log, at) for log, at in signed])
    assert (len(found.logs), set(found.operators), len(found.current)) == (logs, operators, current)


def test_an_unknown_version_beside_good_ones_neither_helps_nor_hurts(precertificate):
    """RFC 6962 s3.3: an SCT of a later version is skipped; those beside it still count."""
    good = [sct(precertificate, ALDER1), sct(precertificate, BIRCH)]
    odd = sct(precertificate, HAZEL, version=3)
    assert counts(precertificate, [odd, *good]) == counts(precertificate, good)
    assert not complies(precertificate, [odd, good[0]])


@pytest.mark.parametrize("name", ["minimum_scts", "minimum_scts_long", "minimum_operators", "minimum_current"])
@pytest.mark.parametrize("value", [0, -1])
def test_a_policy_that_demands_nothing_cannot_be_written(name, value):
    """A count of zero would be a pass for everybody."""
    with pytest.raises(ValueError, match="at least one"):
        CTPolicy(**{name: value})


LISTED_OR_NOT = (*LISTED, DRIFTWOOD, MIMIC)
SIGNED = st.lists(st.tuples(st.integers(0, len(LISTED_OR_NOT) - 1), st.integers(-40, 1)), max_size=6)


@pytest.fixture(scope="module")
def stamp(precertificate):
    """An SCT of a log on a day, signed once: signing is the slow part."""
    made = {}

    def stamped(pair):
        if pair not in made:
            made[pair] = sct(precertificate, LISTED_OR_NOT[pair[0]], NOW + pair[1] * DAY)
        return made[pair]

    return stamped


@given(SIGNED, st.randoms(use_true_random=False))
def test_the_order_of_scts_does_not_matter(precertificate, stamp, signed, random):
    """The same SCTs in any order have the same counts."""
    shuffled = list(signed)
    random.shuffle(shuffled)
    found, again = (counts(precertificate, [stamp(pair) for pair in pairs]) for pairs in (signed, shuffled))
    assert (sorted(found.logs), found.operators) == (sorted(again.logs), again.operators)
    assert sorted(found.current) == sorted(again.current)


@given(SIGNED)
def test_taking_an_sct_or_a_log_away_never_turns_refused_into_allowed(precertificate, stamp, signed):
    """Less evidence is never more: not one SCT fewer, not one listed log fewer, makes a certificate comply."""
    scts = [stamp(pair) for pair in signed]
    if complies(precertificate, scts):
        return
    for index in range(len(scts)):
        assert not complies(precertificate, scts[:index] + scts[index + 1 :])
    for log_id in LOGS.logs:
        fewer = replace(LOGS, logs={key: log for key, log in LOGS.logs.items() if key != log_id})
        assert not complies(precertificate, scts, fewer)


@given(SIGNED, st.integers(0, 6))
def test_an_sct_of_an_unknown_log_changes_nothing(precertificate, stamp, signed, place):
    """Whatever nobody knows stands beside the others without weight."""
    scts = [stamp(pair) for pair in signed]
    unknown = stamp((LISTED_OR_NOT.index(DRIFTWOOD), -1))
    assert counts(precertificate, [*scts[:place], unknown, *scts[place:]]) == counts(precertificate, scts)


def _chrome(signed):
    """Chrome's rule for embedded SCTs once more, from the words of ct_policy.md and the facts above only."""
    current = {ALDER1, ALDER2, BIRCH, ELM, HAZEL, IVY, SOLD}
    good = [(log, day) for log, day in signed if log in current and day <= 0]
    issued = min((day for _, day in good), default=99)
    good += [(CEDAR, day) for log, day in signed if log is CEDAR and day < -30 and issued < -30]
    operators = {"Birch" if log is SOLD and day < -10 else log.operator for log, day in good}
    logs = {log.description for log, _ in good}
    return len(logs) >= 2 and len(operators) >= 2 and any(log in current for log, _ in good)


@settings(max_examples=300)
@given(SIGNED)
def test_the_counts_agree_with_chromes_rule_written_out(precertificate, stamp, signed):
    """The same answer as a few plain lines that know only the policy's text."""
    expected = _chrome([(LISTED_OR_NOT[index], day) for index, day in signed])
    assert complies(precertificate, [stamp(pair) for pair in signed]) is expected


def test_a_lab_precertificate_lives_ninety_days(precertificate):
    """The tables above assume a certificate that needs two."""
    assert isinstance(precertificate, Precertificate)
    assert precertificate.not_after - precertificate.not_before == 90 * DAY
