"""The outcome of a judgement: rules, findings, the verdict.

Judgement returns, enforcement raises: `Verifier.judge()` returns the whole verdict because evidence and the person need
it either way; `Verdict.require()` raises because ignoring it would be wrong. A verdict is allowed only if nothing
failed *and* every demanded rule has passed at least once: a rule that was forgotten refuses.

What was remembered when it was made is part of it, like the time: it can be repeated by nothing else.
"""

import enum
from dataclasses import dataclass
from datetime import datetime

from stubresolver.ct.compliance import Proof
from stubresolver.ct.sct import SctStatus
from stubresolver.errors import PolicyRefused
from stubresolver.verify.remembered import NOTHING_REMEMBERED, Remembered, iso


class Mode(enum.StrEnum):
    """What a refusal does."""

    ENFORCE = "enforce"  # no connection
    REPORT = "report"  # judged, recorded and said aloud, and connected all the same: to try a stricter policy


class Rule(enum.StrEnum):
    """One demand on an upstream. The code is stable: policy files, logs, evidence, extended errors and docs use it."""

    CLOCK_FLOOR = "clock.floor"  # the clock is not behind what is known to have happened
    PATH_VALID = "path.valid"  # RFC 5280 s6: a path to one of the policy's anchors, at the given time
    PATH_SECOND_LOCK = "path.second-lock"  # OpenSSL's own validation with the same anchors agrees
    PATH_ADDRESS = "path.address"  # the dialled address is an iPAddress in the SAN (RFC 5280 s4.2.1.6)
    PATH_NAME = "path.name"  # the authentication name is a dNSName in the SAN (RFC 9525 s6)
    ISSUER_ALLOWED = "issuer.allowed"  # some CA in the path is on the allow-list
    ISSUER_DENIED = "issuer.denied"  # nothing in the path is on the deny-list
    ISSUER_PINS = "issuer.pins"  # some key of the path is pinned
    REVOCATION_STAPLE = "revocation.staple"  # the stapled OCSP response says that the leaf is good
    TLS_VERSION = "tls.version"  # at least the policy's minimum
    TLS_GROUP = "tls.group"  # the key exchange is a hybrid with ML-KEM
    CT_SCT_LIST = "ct.sct-list"  # a well-formed list of SCTs is embedded (RFC 6962 s3.3)
    CT_SCTS = "ct.scts"  # enough valid SCTs from distinct logs
    CT_OPERATORS = "ct.operators"  # from enough operators
    CT_CURRENT = "ct.current"  # enough of them from logs that are qualified, usable or readonly now
    CT_LIST_AGE = "ct.list-age"  # the pinned log list is fresh


class Outcome(enum.StrEnum):
    """How one demand was answered."""

    PASS = "PASS"  # noqa: S105 - an outcome, not a password
    FAIL = "FAIL"
    NOTE = "NOTE"  # worth knowing; neither for nor against


@dataclass(frozen=True, slots=True)
class Finding:
    """One demand, answered: what was looked at, what was got and what was wanted."""

    rule: Rule
    outcome: Outcome
    subject: str  # what was looked at: a certificate's subject, an address, a log
    detail: str  # got and wanted, short enough for an extended error

    def __str__(self) -> str:
        return f"{self.rule}: {self.detail}"


@dataclass(frozen=True, slots=True)
class JudgedSct:
    """One embedded SCT with what became of it."""

    log_id: str  # base64 of SHA-256 over the log's key (RFC 6962 s3.2); "" where it could not be read
    log: str  # the log's description in the pinned list, "" if unknown
    operator: str  # who operated it when the SCT was signed, "" if unknown
    timestamp: str  # ISO 8601 UTC with milliseconds, "" where it could not be read
    status: SctStatus


@dataclass(frozen=True, slots=True)
class PathCertificate:
    """One certificate of the verified path, leaf first."""

    subject: str  # RFC 4514
    sha256: str  # of the certificate, hex
    spki_sha256: str  # of its SubjectPublicKeyInfo, hex
    not_after: str  # ISO 8601 UTC


@dataclass(frozen=True, slots=True)
class LogListFacts:
    """Which pinned list was judged by."""

    version: str
    timestamp: str  # ISO 8601 UTC
    digest: str  # SHA-256 over its octets, hex


@dataclass(frozen=True, slots=True)
class Unvouched:
    """What a chain says of itself that leads to no anchor: for the words of a diagnosis, never for a decision."""

    issuer: str  # of the last certificate presented, RFC 4514
    named: bool  # the leaf is for the address or the name that was dialled
    ended: bool  # its signatures lead to an anchor, but something in it had ended at the time judged for
    early: bool  # ... or was not valid yet


@dataclass(frozen=True, slots=True)
class Verdict:
    """The whole outcome of one judgement; the same input gives the same verdict, octet for octet in its JSON."""

    at: datetime  # the time judged for, UTC
    findings: tuple[Finding, ...]
    scts: tuple[JudgedSct, ...]
    path: tuple[PathCertificate, ...]  # the verified path, leaf first; empty where there is none
    demanded: frozenset[Rule]  # each must have passed at least once
    policy: str  # the policy's digest
    log_list: LogListFacts | None  # None where the policy demands no CT and no list was given
    mode: Mode = Mode.ENFORCE  # the policy's
    proof: Proof | None = None  # what had to show that the certificate is public; None where the policy demands no CT
    remembered: Remembered = NOTHING_REMEMBERED  # what the judge was told beside what was shown
    unvouched: Unvouched | None = None  # where no path is valid; no part of the JSON

    @property
    def allowed(self) -> bool:
        """True if nothing failed and each demanded rule has passed; a verdict that demands nothing allows nothing."""
        passed = {finding.rule for finding in self.findings if finding.outcome is Outcome.PASS}
        return bool(self.demanded) and not self.failures and self.demanded <= passed

    @property
    def connects(self) -> bool:
        """True if the upstream is used: allowed, or only reported on."""
        return self.allowed or self.mode is Mode.REPORT

    @property
    def failures(self) -> tuple[Finding, ...]:
        """The findings that refuse, in the order of judgement."""
        return tuple(finding for finding in self.findings if finding.outcome is Outcome.FAIL)

    @property
    def summary(self) -> str:
        """One line for logs and extended errors: why it is refused, or by whom the upstream is vouched for."""
        if not self.allowed:
            loudly = "REPORT ONLY, would be refused: " if self.mode is Mode.REPORT else ""
            return f"{loudly}{self._reason}"
        valid = [sct for sct in self.scts if sct.status is SctStatus.VALID]
        operators = ", ".join(sorted({sct.operator for sct in valid}))
        return f"{len(valid)} valid SCTs ({operators})" if valid else "path and address valid; no CT demanded"

    @property
    def _reason(self) -> str:
        """The first reason of a refusal, and how many more."""
        if self.failures:
            more = f" (+{len(self.failures) - 1} more)" if len(self.failures) > 1 else ""
            return f"{self.failures[0]}{more}"
        passed = {finding.rule for finding in self.findings if finding.outcome is Outcome.PASS}
        return f"{min(self.demanded - passed, default='policy')}: not judged"

    def require(self) -> None:
        """Raise `PolicyRefused` unless allowed or only reported on."""
        if not self.connects:
            raise PolicyRefused(self.summary, self)

    def to_jsonable(self) -> dict[str, object]:
        """The verdict as JSON values, in the shape that `check --json` documents."""
        return {
            "allowed": self.allowed,
            "mode": self.mode.value,
            "at": iso(self.at),
            "findings": [
                {"rule": f.rule.value, "outcome": f.outcome.value, "subject": f.subject, "detail": f.detail}
                for f in self.findings
            ],
            "scts": [
                {
                    "log_id": s.log_id,
                    "log": s.log,
                    "operator": s.operator,
                    "timestamp": s.timestamp,
                    "status": s.status.value,
                }
                for s in self.scts
            ],
            "path": [
                {"subject": c.subject, "sha256": c.sha256, "spki_sha256": c.spki_sha256, "not_after": c.not_after}
                for c in self.path
            ],
            "demanded": sorted(rule.value for rule in self.demanded),
            "policy": self.policy,
            "proof": None if self.proof is None else self.proof.value,
            "remembered": self.remembered.to_jsonable(),
            "log_list": None
            if self.log_list is None
            else {
                "version": self.log_list.version,
                "timestamp": self.log_list.timestamp,
                "digest": self.log_list.digest,
            },
        }
