"""The verdict: allowed only where every demand has passed and nothing failed; JSON in one documented shape."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.ct import SctStatus
from stubresolver.errors import PolicyRefused
from stubresolver.verify import (
    ClockFloor,
    Finding,
    JudgedSct,
    LogListFacts,
    Mode,
    Outcome,
    PathCertificate,
    Proof,
    Remembered,
    Rule,
    Verdict,
    Whose,
)

FINDINGS = st.lists(st.tuples(st.sampled_from(Rule), st.sampled_from(Outcome)), max_size=12)
DEMANDED = st.frozensets(st.sampled_from(Rule))


def verdict(findings=(), demanded=(), scts=(), path=(), log_list=None, mode=Mode.ENFORCE, **more):
    made = tuple(Finding(rule, outcome, "subject", f"detail of {rule}") for rule, outcome in findings)
    at = datetime(2026, 11, 2, 12, tzinfo=UTC)
    return Verdict(at, made, tuple(scts), tuple(path), frozenset(demanded), "digest", log_list, mode, **more)


@given(FINDINGS, DEMANDED)
def test_allowed_is_every_demand_passed_and_nothing_failed(findings, demanded):
    """By its definition, for any findings and demands."""
    expected = (
        len(demanded) > 0
        and all(outcome is not Outcome.FAIL for _, outcome in findings)
        and all((rule, Outcome.PASS) in findings for rule in demanded)
    )
    assert verdict(findings, demanded).allowed is expected


@given(FINDINGS, DEMANDED)
def test_require_raises_exactly_where_it_is_not_allowed(findings, demanded):
    """Enforcement is one method: it raises with the verdict and its one line, or does nothing."""
    judged = verdict(findings, demanded)
    if judged.allowed:
        judged.require()
        return
    with pytest.raises(PolicyRefused) as caught:
        judged.require()
    assert caught.value.verdict is judged
    assert caught.value.summary == judged.summary
    assert any(rule.value in judged.summary for rule in Rule) or not demanded


@given(FINDINGS, DEMANDED)
def test_report_mode_judges_alike_and_connects_loudly(findings, demanded):
    """The same findings, the same `allowed`; only what it does with a refusal differs, and the line says so."""
    enforced, reported = (verdict(findings, demanded, mode=mode) for mode in Mode)
    assert reported.allowed is enforced.allowed is enforced.connects
    assert reported.connects
    reported.require()
    if enforced.allowed:
        assert reported.summary == enforced.summary
    else:
        assert reported.summary == f"REPORT ONLY, would be refused: {enforced.summary}"
    assert reported.to_jsonable() == enforced.to_jsonable() | {"mode": "report"}


@pytest.mark.parametrize("demanded", [(), (Rule.PATH_VALID,), tuple(Rule)])
def test_a_verdict_without_findings_is_refused(demanded):
    """What nobody judged is not allowed."""
    assert not verdict((), demanded).allowed


def test_a_verdict_that_demands_nothing_is_refused():
    """However much has passed: a demand of nothing is an accident."""
    judged = verdict([(rule, Outcome.PASS) for rule in Rule])
    assert not judged.allowed
    assert judged.summary == "policy: not judged"


@pytest.mark.parametrize("missing", Rule)
def test_one_forgotten_rule_refuses(missing):
    """All but one passed, and the one was noted at most."""
    passed = [(rule, Outcome.PASS) for rule in Rule if rule is not missing]
    assert not verdict(passed, tuple(Rule)).allowed
    assert not verdict([*passed, (missing, Outcome.NOTE)], tuple(Rule)).allowed
    assert verdict([*passed, (missing, Outcome.PASS)], tuple(Rule)).allowed
    assert verdict(passed, tuple(Rule)).summary == f"{missing.value}: not judged"


def test_a_failure_outweighs_a_pass_of_the_same_rule():
    """Two findings of one rule: the bad one counts, also where the rule was not demanded."""
    both = [(Rule.PATH_VALID, Outcome.PASS), (Rule.PATH_VALID, Outcome.FAIL)]
    assert not verdict(both, [Rule.PATH_VALID]).allowed
    assert not verdict([(Rule.PATH_VALID, Outcome.PASS), (Rule.CT_LIST_AGE, Outcome.FAIL)], [Rule.PATH_VALID]).allowed


def test_the_summary_names_the_first_reason_and_how_many_more():
    """One line that a person reads in `dig`."""
    failed = [(Rule.PATH_ADDRESS, Outcome.FAIL), (Rule.CT_SCTS, Outcome.FAIL), (Rule.CT_OPERATORS, Outcome.FAIL)]
    assert verdict(failed[:1]).summary == "path.address: detail of path.address"
    assert verdict(failed).summary == "path.address: detail of path.address (+2 more)"


def test_the_summary_of_an_allowed_verdict_names_who_vouches():
    """Valid SCTs and their operators; others are not counted."""
    scts = [
        JudgedSct("a", "Alder 1", "Alder", "", SctStatus.VALID),
        JudgedSct("b", "Birch 1", "Birch", "", SctStatus.VALID),
        JudgedSct("c", "Cedar 1", "Cedar", "", SctStatus.AFTER_RETIREMENT),
    ]
    passed = ([(Rule.PATH_VALID, Outcome.PASS)], [Rule.PATH_VALID])
    assert verdict(*passed, scts).summary == "2 valid SCTs (Alder, Birch)"
    assert verdict(*passed).summary == "path and address valid; no CT demanded"


def test_the_json_has_the_documented_shape():
    """The keys and values that `check --json` promises, in types that JSON has."""
    judged = verdict(
        [(Rule.PATH_VALID, Outcome.PASS)],
        [Rule.PATH_VALID],
        [JudgedSct("id=", "Alder 1", "Alder", "2026-11-01T12:00:00.000Z", SctStatus.VALID)],
        [PathCertificate("CN=x", "aa", "bb", "2026-12-01T00:00:00Z")],
        LogListFacts("1.0", "2026-11-02T00:00:00Z", "cc"),
        proof=Proof.SCT,
        remembered=Remembered(
            ClockFloor(datetime(2026, 11, 2, tzinfo=UTC), Whose.LOG_LIST), datetime(2026, 10, 1, tzinfo=UTC)
        ),
    )
    assert json.loads(json.dumps(judged.to_jsonable())) == {
        "allowed": True,
        "mode": "enforce",
        "at": "2026-11-02T12:00:00Z",
        "findings": [
            {"rule": "path.valid", "outcome": "PASS", "subject": "subject", "detail": "detail of path.valid"},
        ],
        "scts": [
            {
                "log_id": "id=",
                "log": "Alder 1",
                "operator": "Alder",
                "timestamp": "2026-11-01T12:00:00.000Z",
                "status": "VALID",
            }
        ],
        "path": [{"subject": "CN=x", "sha256": "aa", "spki_sha256": "bb", "not_after": "2026-12-01T00:00:00Z"}],
        "demanded": ["path.valid"],
        "policy": "digest",
        "proof": "sct",
        "remembered": {
            "floor": {"moment": "2026-11-02T00:00:00Z", "whose": "log-list"},
            "passed": "2026-10-01T00:00:00Z",
        },
        "log_list": {"version": "1.0", "timestamp": "2026-11-02T00:00:00Z", "digest": "cc"},
    }
    least = verdict().to_jsonable()
    assert (least["log_list"], least["proof"], least["remembered"]) == (None, None, {"floor": None, "passed": None})


def test_the_codes_of_the_rules_are_stable():
    """Policy files, logs, evidence and documentation use them: a changed code is a broken promise."""
    assert [rule.value for rule in Rule] == [
        "clock.floor", "path.valid", "path.second-lock", "path.address", "path.name", "issuer.allowed",
        "issuer.denied", "issuer.pins", "revocation.staple", "tls.version", "tls.group",
        "ct.sct-list", "ct.scts", "ct.operators", "ct.current", "ct.list-age",
    ]  # fmt: skip
    assert [outcome.value for outcome in Outcome] == ["PASS", "FAIL", "NOTE"]
