"""Are the embedded SCTs enough? Each gets a status, then they are counted by Chrome's rules. PURE.

The numbers are those of Chrome's CT policy (GoogleChrome/CertificateTransparency, ct_policy.md, "CT Compliant
Certificates", as of 2026-07-22): at least N distinct logs, N = 2 up to 180 days of lifetime and 3 beyond; two
operators; one log that is qualified, usable or readonly when the certificate is checked. SCTs that do not count never
hurt.

A list of logs ages, too: what it does not know of can neither count nor be distrusted. From which day on it is old is
said here; what an old one does to a verdict is the policy's to say.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from stubresolver.ct.loglist import Log, LogList, LogState
from stubresolver.ct.sct import (
    MalformedSct,
    SctStatus,
    SignedCertificateTimestamp,
    UnsupportedSctVersion,
    is_signed_by,
    parse_sct,
)

# ct_policy.md: Chrome stops judging by a list that is 70 days old, and asks all who enforce CT for a similar limit.
# 45 days: early enough to act, and late enough for somebody who updates every month.
WARN_AGE = timedelta(days=45)
STALE_AGE = timedelta(days=70)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)


class Proof(enum.StrEnum):
    """What shows that a certificate is public. Merkle Tree Certificates carry no SCTs: their kind would stand here."""

    SCT = "sct"  # embedded SCTs, RFC 6962 s3.3


class WhenStale(enum.StrEnum):
    """What is refused while the log list is stale."""

    KNOWN_LEAVES = "known-leaves"  # every leaf that was not allowed while the list was fresh
    REFUSE = "refuse"  # everything
    REPORT = "report"  # nothing, as in browsers


class Freshness(enum.StrEnum):
    """How old a log list is."""

    FRESH = "fresh"
    AGEING = "ageing"  # it still judges, and somebody should update it
    STALE = "stale"  # what it does not know of may matter


def freshness(listed: datetime, now: datetime) -> Freshness:
    """Of a list with this timestamp; one that is younger than the time judged for is fresh."""
    age = now - listed
    if age < WARN_AGE:
        return Freshness.FRESH
    return Freshness.AGEING if age < STALE_AGE else Freshness.STALE


def stale_from(listed: datetime) -> datetime:
    """When a list with this timestamp becomes stale; the calendar's last moment where that lies beyond it."""
    return listed + min(STALE_AGE, _LAST - listed)


@dataclass(frozen=True, slots=True)
class CTPolicy:
    """How many SCTs, from whom. A policy that demands nothing cannot be written: every count is at least one."""

    minimum_scts: int = 2  # lifetime up to `long_lifetime`; ct_policy.md
    minimum_scts_long: int = 3  # lifetime beyond it; ct_policy.md
    long_lifetime: timedelta = timedelta(days=180)  # ct_policy.md
    minimum_operators: int = 2  # ct_policy.md
    minimum_current: int = 1  # SCTs from logs that are qualified, usable or readonly now; ct_policy.md
    future_tolerance: timedelta = timedelta(seconds=300)  # clocks differ; OpenSSL's CT_POLICY_EVAL_CTX default
    maximum_listed: int = 32  # real certificates carry 2 to 6; bounds the signatures that a peer can make us check
    when_stale: WhenStale = WhenStale.KNOWN_LEAVES  # refusing everything cuts a machine off; browsers refuse nothing
    proof: Proof = Proof.SCT

    def __post_init__(self) -> None:
        counts = (self.minimum_scts, self.minimum_scts_long, self.minimum_operators, self.minimum_current)
        if min(counts) < 1:
            raise ValueError(f"a CT policy demands at least one of each, got {counts}")

    def required(self, lifetime: timedelta) -> int:
        """How many distinct logs a certificate of this lifetime (notAfter - notBefore) needs."""
        return self.minimum_scts_long if lifetime > self.long_lifetime else self.minimum_scts


@dataclass(frozen=True, slots=True)
class Precertificate:
    """What the logs signed: the certificate without its SCTs, and who issued it."""

    tbs: bytes  # TBSCertificate in DER without the SCT list extension
    issuer_key_hash: bytes  # SHA-256 of the verified issuer's SubjectPublicKeyInfo
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class CheckedSct:
    """One embedded SCT and its status; `sct` is None where it could not be read, `log` where it is unknown."""

    status: SctStatus
    sct: SignedCertificateTimestamp | None = None
    log: Log | None = None

    @property
    def time(self) -> datetime | None:
        """The SCT's timestamp, None where there is none or it lies beyond the calendar."""
        if self.sct is None:
            return None
        try:
            return _EPOCH + timedelta(milliseconds=self.sct.timestamp)
        except OverflowError:
            return None

    @property
    def operator(self) -> str:
        """Who operated the log when it signed, "" where the log is unknown."""
        return self.log.operator_at(self.time or _LAST) if self.log else ""


@dataclass(frozen=True, slots=True)
class Compliance:
    """The counts that a policy is held against; each names the logs or operators that make it up."""

    required: int  # distinct logs wanted
    logs: tuple[str, ...]  # distinct logs with an SCT that counts
    operators: tuple[str, ...]  # their operators, at the time of signing
    current: tuple[str, ...]  # those of `logs` that are qualified, usable or readonly now


def check_sct(
    octets: bytes, precertificate: Precertificate, log_list: LogList, policy: CTPolicy, now: datetime
) -> CheckedSct:
    """Give one SerializedSCT its status. The cheap reasons come first, the signature last; never raises."""
    try:
        sct = parse_sct(octets)
    except UnsupportedSctVersion:
        return CheckedSct(SctStatus.UNSUPPORTED_VERSION)
    except MalformedSct:
        return CheckedSct(SctStatus.MALFORMED)
    log = log_list.logs.get(sct.log_id)
    if sct.log_id in log_list.denied:
        return CheckedSct(SctStatus.DENIED_LOG, sct, log)
    if log is None:
        return CheckedSct(SctStatus.UNKNOWN_LOG, sct)
    checked = CheckedSct(SctStatus.VALID, sct, log)
    if not is_signed_by(sct, log.key, precertificate.issuer_key_hash, precertificate.tbs):
        return CheckedSct(SctStatus.INVALID_SIGNATURE, sct, log)
    if log.state in {LogState.PENDING, LogState.REJECTED}:
        return CheckedSct(SctStatus.LOG_NOT_ACCEPTED, sct, log)
    if checked.time is None or checked.time - now > policy.future_tolerance:
        return CheckedSct(SctStatus.IN_FUTURE, sct, log)
    # ct_policy.md: an SCT of a retired log counts only if it was signed before the retirement
    if log.is_retired(now) and (log.state_since is None or checked.time >= log.state_since):
        return CheckedSct(SctStatus.AFTER_RETIREMENT, sct, log)
    if log.interval is not None and precertificate.not_after not in log.interval:
        return CheckedSct(SctStatus.OUTSIDE_INTERVAL, sct, log)
    return checked


def count(checked: Sequence[CheckedSct], precertificate: Precertificate, policy: CTPolicy, now: datetime) -> Compliance:
    """Count the SCTs that matter; the order in which they are listed does not.

    ct_policy.md, "Important Notes": the certificate counts as issued at its earliest SCT from a log that is not
    retired; an SCT of a retired log counts only if that too lies before the retirement.
    """
    valid = [item for item in checked if item.status is SctStatus.VALID]
    issued = min((_time(item) for item in valid if _log(item).is_current(now)), default=_LAST)
    counted = [item for item in sorted(valid, key=_time) if _counts(_log(item), issued, now)]
    logs = {_log(item).log_id: _log(item) for item in counted}  # "the same log twice counts once"
    return Compliance(
        required=policy.required(precertificate.not_after - precertificate.not_before),
        logs=tuple(log.description for log in logs.values()),
        operators=tuple(sorted({item.operator for item in counted})),
        current=tuple(log.description for log in logs.values() if log.is_current(now)),
    )


def _counts(log: Log, issued: datetime, now: datetime) -> bool:
    """True if a valid SCT of this log counts for a certificate issued at that time."""
    return log.is_current(now) or (log.state_since is not None and issued < log.state_since)


def _time(item: CheckedSct) -> datetime:
    return item.time or _LAST


def _log(item: CheckedSct) -> Log:
    """The log of an SCT that has one: every valid SCT does."""
    if item.log is None:
        raise TypeError("a valid SCT without a log")
    return item.log
