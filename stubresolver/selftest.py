"""The self-test at start: each known-good judgement must be allowed, each known-bad one refused, by its own rules.

The files ship inside the package, made by tools/make_selftest.py from a lab world at a fixed time; each carries its own
time, policy and log list, so that neither the clock nor the administrator's policy has a part in it. What is tested is
this installation: the interpreter, the libraries that verify signatures and paths, and our own judgement on top.
"""

import importlib.resources
from dataclasses import dataclass
from importlib.resources.abc import Traversable

from stubresolver.errors import BadInput, PolicyRefused, SelfTestFailed
from stubresolver.exported import Exported
from stubresolver.verify import Rule, Verdict


@dataclass(frozen=True, slots=True)
class Case:
    """One known judgement."""

    file: str  # in stubresolver/data
    shown: str  # what was presented, for people
    failing: frozenset[Rule]  # exactly the rules that must fail; none: it must be allowed


CASES = (
    Case("selftest_good.json", "a good certificate", frozenset()),
    Case("selftest_known.json", "a known certificate under a log list that is stale", frozenset()),
    Case(
        "selftest_no_scts.json",
        "a certificate without SCTs",
        frozenset({Rule.CT_SCT_LIST, Rule.CT_SCTS, Rule.CT_OPERATORS, Rule.CT_CURRENT}),
    ),
    Case("selftest_issuer.json", "a certificate of an issuer that is not allowed", frozenset({Rule.ISSUER_ALLOWED})),
    Case("selftest_address.json", "a certificate for another address", frozenset({Rule.PATH_ADDRESS})),
    Case("selftest_stale.json", "an unknown certificate under a log list that is stale", frozenset({Rule.CT_LIST_AGE})),
    Case("selftest_clock.json", "a certificate at a time that has passed already", frozenset({Rule.CLOCK_FLOOR})),
)


def run_selftest(folder: Traversable | None = None) -> None:
    """Judge the known files, by default those of the package; raises `SelfTestFailed` with what went wrong."""
    data = importlib.resources.files("stubresolver").joinpath("data") if folder is None else folder
    for case in CASES:
        try:
            verdict = Exported.read(data.joinpath(case.file).read_bytes()).judge()
        except OSError as error:
            raise SelfTestFailed(f"{case.file} cannot be read: {error.strerror or error}") from None
        except BadInput as error:
            raise SelfTestFailed(f"{case.file}: {error}") from None
        _hold(case, verdict)


def _hold(case: Case, verdict: Verdict) -> None:
    """The verdict and its enforcement must be what the case says; raises `SelfTestFailed`."""
    try:
        verdict.require()
        refused = False
    except PolicyRefused:
        refused = True
    if not case.failing:
        if refused or not verdict.allowed:
            raise SelfTestFailed(f"{case.shown} was refused ({case.file}): {verdict.summary}")
        return
    if not refused or verdict.allowed or verdict.connects:
        raise SelfTestFailed(f"{case.shown} was ALLOWED ({case.file}): nothing that this program allows may be trusted")
    failing = {finding.rule for finding in verdict.failures}
    if failing != case.failing:
        wanted, got = (", ".join(sorted(rules)) or "none" for rules in (case.failing, failing))
        raise SelfTestFailed(f"{case.shown} was refused for other reasons ({case.file}): by {got}, expected {wanted}")
