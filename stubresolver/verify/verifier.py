"""The judgement: what a peer presented, held against a policy and a pinned log list, at a given time. PURE.

`judge()` looks at everything and returns every finding, in the order clock, path, issuer, revocation, CT, TLS: evidence
and people want the whole picture, and one refused demand is as final as five. Only where the clock must be wrong it
looks at nothing else: every other demand is judged by the time. It reads no clock, no file and no network, so the same
input gives the same verdict on any machine in any year.
"""

import base64
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from stubresolver.ct import (
    CheckedSct,
    Compliance,
    CTPolicy,
    LogList,
    MalformedSctList,
    Precertificate,
    SctStatus,
    check_sct,
    count,
    embedded_list,
)
from stubresolver.ct.compliance import WhenStale
from stubresolver.verify.certificate import Certificate, UnreadableCertificate, printable, read_certificate
from stubresolver.verify.freshness import judge_age, judge_clock
from stubresolver.verify.handshake import judge_handshake
from stubresolver.verify.path import Path, PathVerifier
from stubresolver.verify.policy import Policy, Revocation
from stubresolver.verify.presented import Presented
from stubresolver.verify.remembered import NOTHING_REMEMBERED, Remembered, iso
from stubresolver.verify.revocation import judge_staple
from stubresolver.verify.verdict import Finding, JudgedSct, LogListFacts, Outcome, PathCertificate, Rule, Verdict

MAXIMUM_CHAIN = 10  # certificates; real chains have 2 to 4
MAXIMUM_OCTETS = 100 * 1024  # of a chain; OpenSSL's SSL_MAX_CERT_LIST_DEFAULT: no handshake delivers more


class Verifier:
    """Judges peers by one policy and one pinned log list; a value in all but the cost of making it."""

    def __init__(self, policy: Policy, log_list: LogList | None = None) -> None:
        """Take the demands; raises ValueError where CT is demanded without a list or an anchor cannot be read."""
        if policy.ct is not None and log_list is None:
            raise ValueError("a policy that demands CT needs a log list")
        self.policy = policy
        self.log_list = log_list
        self._paths = PathVerifier(policy.anchors)
        self._digest = policy.digest

    def judge(self, presented: Presented, now: datetime, remembered: Remembered = NOTHING_REMEMBERED) -> Verdict:
        """The verdict on `presented` at `now` (aware, or ValueError). Never raises because of what was presented.

        `remembered` is what a live caller knows beside it; what is judged for another time remembers nothing.
        """
        if now.tzinfo is None:
            raise ValueError(f"the time {now} names no time zone: it could be meant in any")
        now = now.astimezone(UTC)
        findings = [] if remembered.floor is None else [judge_clock(remembered.floor, now)]
        checked: list[CheckedSct] = []
        path = Path((), ())
        if all(finding.outcome is Outcome.PASS for finding in findings):
            found, checked, path = self._look(presented, now, remembered)
            findings += found
        return Verdict(
            at=now,
            findings=tuple(findings),
            scts=tuple(_judged(item) for item in checked),
            path=tuple(_path_certificate(certificate) for certificate in path.certificates),
            demanded=self._demanded(presented, remembered),
            policy=self._digest,
            log_list=_facts(self.log_list),
            mode=self.policy.mode,
            proof=self.policy.ct.proof if self.policy.ct is not None else None,
            remembered=remembered,
            unvouched=path.unvouched,
        )

    def _look(
        self, presented: Presented, now: datetime, remembered: Remembered
    ) -> tuple[list[Finding], list[CheckedSct], Path]:
        """Everything that is judged by the time: the findings, each SCT, the verified path."""
        findings: list[Finding] = []
        checked: list[CheckedSct] = []
        validated = Path((), ())
        try:
            chain = _read_chain(presented.chain)
        except UnreadableCertificate as error:
            findings.append(Finding(Rule.PATH_VALID, Outcome.FAIL, "chain", str(error)))
        else:
            leaf, intermediates = chain[0], chain[1:]
            validated = self._paths.judge(leaf, intermediates, presented.address, presented.name, now)
            path = validated.certificates
            findings += validated.findings
            if self.policy.issuers is not None:
                findings += self.policy.issuers.judge(path, chain)
            if self.policy.pins is not None:
                findings.append(self.policy.pins.judge(path, chain))
            findings.append(judge_staple(presented, leaf, path, self.policy.revocation, now))
            if self.policy.ct is not None and self.log_list is not None:
                issuer = path[min(1, len(path) - 1)] if path else self._paths.issuer_of(leaf, intermediates)
                checked, found_ct = _judge_ct(leaf, issuer, self.policy.ct, self.log_list, now)
                age = judge_age(self.log_list, self.policy.ct.when_stale, remembered.passed, now)
                findings += [*found_ct, age]
        return [*findings, *judge_handshake(presented.tls, self.policy)], checked, validated

    def _demanded(self, presented: Presented, remembered: Remembered) -> frozenset[Rule]:
        """Every rule that must have passed; a rule that nobody judged then refuses."""
        rules = {Rule.PATH_VALID} if remembered.floor is None else {Rule.PATH_VALID, Rule.CLOCK_FLOOR}
        if self.policy.address_required or presented.address is not None:
            rules.add(Rule.PATH_ADDRESS)
        # A path alone says nothing about whom we reached: without an address the name is demanded, given or not.
        if presented.name is not None or Rule.PATH_ADDRESS not in rules:
            rules.add(Rule.PATH_NAME)
        if self.policy.issuers is not None:
            rules.add(Rule.ISSUER_DENIED)
            if self.policy.issuers.allowed is not None:
                rules.add(Rule.ISSUER_ALLOWED)
        rules |= _demanded_of_ct(self.policy.ct)
        if self.policy.pins is not None and not self.policy.pins.report_only:
            rules.add(Rule.ISSUER_PINS)
        if self.policy.revocation is Revocation.REQUIRE_STAPLE:
            rules.add(Rule.REVOCATION_STAPLE)
        if presented.tls is not None:
            rules |= {Rule.TLS_VERSION, Rule.PATH_SECOND_LOCK}
            if self.policy.require_post_quantum:
                rules.add(Rule.TLS_GROUP)
        return frozenset(rules)


def _demanded_of_ct(policy: CTPolicy | None) -> frozenset[Rule]:
    """The rules of CT that must have passed."""
    if policy is None:
        return frozenset()
    counted = frozenset({Rule.CT_SCT_LIST, Rule.CT_SCTS, Rule.CT_OPERATORS, Rule.CT_CURRENT})
    return counted if policy.when_stale is WhenStale.REPORT else counted | {Rule.CT_LIST_AGE}


def _read_chain(chain: Sequence[bytes]) -> list[Certificate]:
    """The certificates presented; raises `UnreadableCertificate` where none, too many, or one that cannot be read."""
    if not 1 <= len(chain) <= MAXIMUM_CHAIN:
        raise UnreadableCertificate(f"{len(chain)} certificates presented, expected 1 to {MAXIMUM_CHAIN}")
    octets = sum(len(der) for der in chain)
    if octets > MAXIMUM_OCTETS:
        raise UnreadableCertificate(f"a chain of {octets} octets, expected at most {MAXIMUM_OCTETS}")
    certificates = []
    for number, der in enumerate(chain, start=1):
        try:
            certificates.append(read_certificate(der))
        except UnreadableCertificate as error:
            raise UnreadableCertificate(f"certificate {number} of {len(chain)} cannot be read: {error}") from None
    return certificates


def _judge_ct(
    leaf: Certificate, issuer: Certificate | None, policy: CTPolicy, log_list: LogList, now: datetime
) -> tuple[list[CheckedSct], list[Finding]]:
    """Each embedded SCT checked, and the findings on the list of them and on the counts."""
    checked: list[CheckedSct] = []
    precertificate = Precertificate(b"", b"", leaf.not_before, leaf.not_after)
    listed = Finding(Rule.CT_SCT_LIST, Outcome.FAIL, leaf.subject, "no embedded SCTs")
    try:
        scts = embedded_list(leaf.der)
        if scts is not None and len(scts) > policy.maximum_listed:
            problem = f"{len(scts)} embedded SCTs, at most {policy.maximum_listed} are looked at"
            listed = Finding(Rule.CT_SCT_LIST, Outcome.FAIL, leaf.subject, problem)
        elif scts is not None and issuer is None:
            problem = "the certificate that issued the leaf was not presented"
            listed = Finding(Rule.CT_SCT_LIST, Outcome.FAIL, leaf.subject, problem)
        elif scts is not None and issuer is not None:
            tbs = leaf.parsed.tbs_precertificate_bytes
            precertificate = Precertificate(tbs, issuer.spki_sha256, leaf.not_before, leaf.not_after)
            checked = [check_sct(octets, precertificate, log_list, policy, now) for octets in scts]
            listed = Finding(Rule.CT_SCT_LIST, Outcome.PASS, leaf.subject, f"{len(scts)} embedded SCTs")
    except MalformedSctList as error:
        listed = Finding(Rule.CT_SCT_LIST, Outcome.FAIL, leaf.subject, f"malformed SCT list: {error}")
    except ValueError as error:  # tbs_precertificate_bytes, of a certificate that was read before
        listed = Finding(Rule.CT_SCT_LIST, Outcome.FAIL, leaf.subject, printable(str(error)))
    compliance = count(checked, precertificate, policy, now)
    counts = _count_findings(compliance, policy, leaf.subject, _uncounted(checked))
    return checked, [listed, *counts]


def _count_findings(compliance: Compliance, policy: CTPolicy, subject: str, uncounted: str) -> Iterable[Finding]:
    """The three counts of Chrome's policy: "2 of 2 (names)"; of the SCTs also why others do not count."""
    for rule, counted, wanted in (
        (Rule.CT_SCTS, compliance.logs, compliance.required),
        (Rule.CT_OPERATORS, compliance.operators, policy.minimum_operators),
        (Rule.CT_CURRENT, compliance.current, policy.minimum_current),
    ):
        outcome = Outcome.PASS if len(counted) >= wanted else Outcome.FAIL
        names = f" ({', '.join(counted)})" if counted else ""
        why = f"; {uncounted}" if uncounted and rule is Rule.CT_SCTS else ""
        yield Finding(rule, outcome, subject, f"{len(counted)} of {wanted}{names}{why}")


def _uncounted(checked: Sequence[CheckedSct]) -> str:
    """The SCTs that are not valid, each with its log and reason: "Birch 1 INVALID_SIGNATURE"."""
    bad = [item for item in checked if item.status is not SctStatus.VALID]
    shown = [f"{item.log.description if item.log else 'SCT'} {item.status}" for item in bad[:4]]
    return ", ".join([*shown, f"{len(bad) - 4} more"] if len(bad) > 4 else shown)


def _judged(item: CheckedSct) -> JudgedSct:
    time = item.time
    return JudgedSct(
        log_id=base64.b64encode(item.sct.log_id).decode() if item.sct else "",
        log=item.log.description if item.log else "",
        operator=item.operator,
        timestamp=time.isoformat(timespec="milliseconds").replace("+00:00", "Z") if time else "",
        status=item.status,
    )


def _path_certificate(certificate: Certificate) -> PathCertificate:
    return PathCertificate(
        subject=certificate.subject,
        sha256=certificate.sha256,
        spki_sha256=certificate.spki_sha256.hex(),
        not_after=iso(certificate.not_after),
    )


def _facts(log_list: LogList | None) -> LogListFacts | None:
    if log_list is None:
        return None
    return LogListFacts(log_list.version, iso(log_list.timestamp), log_list.digest)
