"""What is demanded of an upstream, as one value. PURE: no file, no network.

A policy can be written down whole (`snapshot`) and read again (`from_snapshot`), so that a judgement can be repeated
years later on another machine; its `digest` names what it demands, and nothing that is only there for people. A demand
that is newer than the first snapshots is left out where it says what was meant before there was a word for it:
snapshots and digests of then stay what they are.
"""

import base64
import binascii
import enum
import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal

import msgspec

from stubresolver.ct import CTPolicy
from stubresolver.ct.compliance import WhenStale
from stubresolver.errors import BadInput
from stubresolver.verify.issuers import Denied, IssuerPolicy
from stubresolver.verify.pins import PinPolicy
from stubresolver.verify.verdict import Mode

TlsVersion = Literal["TLSv1.2", "TLSv1.3"]
_MICROSECOND = timedelta(microseconds=1)
# Of a snapshot, which may come from anywhere: 31 years, so that no sum with a time of this age leaves the calendar.
_Span = Annotated[int, msgspec.Meta(ge=0, le=10**15)]


class Revocation(enum.StrEnum):
    """What a stapled OCSP response (RFC 6066 s8) is asked for."""

    OFF = "off"  # nothing: not even a revoked one refuses
    IF_STAPLED = "if-stapled"  # a valid one decides; none decides nothing
    REQUIRE_STAPLE = "require-staple"  # a valid one that says good


@dataclass(frozen=True, slots=True)
class Policy:
    """The demands of one judgement. Path and address are always demanded; the rest where it is not None or False."""

    anchors: tuple[bytes, ...]  # trust anchors, certificates in DER; at least one
    issuers: IssuerPolicy | None = None
    ct: CTPolicy | None = None
    minimum_tls: TlsVersion = "TLSv1.3"
    address_required: bool = True  # False only in code, to judge a name alone; no file can say so
    mode: Mode = Mode.ENFORCE
    pins: PinPolicy | None = None
    require_post_quantum: bool = False
    revocation: Revocation = Revocation.IF_STAPLED

    def __post_init__(self) -> None:
        if not self.anchors:
            raise ValueError("a policy without trust anchors would refuse everything")

    @property
    def digest(self) -> str:
        """SHA-256 over every demand in one fixed order, hex: two policies with the same digest demand the same.

        The mode is one of the demands, because it decides who is connected to. Names, reasons and the order in which
        things are listed are not.
        """
        demands = _document(self)
        demands["anchors"] = sorted({hashlib.sha256(anchor).hexdigest() for anchor in self.anchors})
        if demands["issuers"] is not None:
            allowed, denied = demands["issuers"]["allowed"], demands["issuers"]["denied"]
            keys = None if allowed is None else sorted(allowed)
            entries = [{**entry, "reason": ""} for entry in denied]
            unique = sorted({msgspec.json.encode(entry, order="sorted").decode() for entry in entries})
            demands["issuers"] = {"allowed": keys, "denied": unique}
        if demands["pins"] is not None:
            demands["pins"] = {**demands["pins"], "keys": sorted(demands["pins"]["keys"])}
        return hashlib.sha256(msgspec.json.encode(demands, order="sorted")).hexdigest()

    def snapshot(self) -> bytes:
        """The whole policy as canonical JSON: with its anchors, names and reasons, nothing left to fetch."""
        return msgspec.json.encode(_document(self), order="sorted")

    @classmethod
    def from_snapshot(cls, octets: bytes) -> "Policy":
        """The policy that `snapshot` wrote, octet for octet; raises `BadInput`."""
        try:
            policy = _policy(msgspec.json.decode(octets, type=_Snapshot))
        except (msgspec.DecodeError, binascii.Error, ValueError, OverflowError, RecursionError) as error:
            raise BadInput(f"not a snapshot of a policy: {error}") from None
        if policy.snapshot() != octets:
            raise BadInput("not a snapshot of a policy: not in the form that this program writes")
        return policy


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    """A part of the snapshot: every field known, and every field there that was always meant to be."""


class _Denied(_Table):
    reason: str
    spki_sha256: str | None
    certificate_sha256: str | None
    issuer_spki_sha256: str | None
    serial: str | None


class _Issuers(_Table):
    allowed: dict[str, str] | None
    denied: list[_Denied]


class _Ct(_Table):
    minimum_scts: int
    minimum_scts_long: int
    long_lifetime_us: _Span
    minimum_operators: int
    minimum_current: int
    future_tolerance_us: _Span
    maximum_listed: int
    when_stale: WhenStale = WhenStale.REPORT  # the age of a list was only noted


class _Pins(_Table):
    keys: dict[str, str]
    report_only: bool


class _Snapshot(_Table):
    version: Literal[1]
    anchors: list[str]
    issuers: _Issuers | None
    ct: _Ct | None
    minimum_tls: TlsVersion
    address_required: bool
    mode: Mode
    pins: _Pins | None
    require_post_quantum: bool
    revocation: Revocation


def _document(policy: Policy) -> dict[str, Any]:
    """Everything of a policy as JSON values."""
    issuers, ct, pins = policy.issuers, policy.ct, policy.pins
    return {
        "version": 1,
        "anchors": [base64.b64encode(anchor).decode() for anchor in policy.anchors],
        "issuers": None
        if issuers is None
        else {
            "allowed": None if issuers.allowed is None else {key.hex(): name for key, name in issuers.allowed.items()},
            "denied": [
                {
                    "reason": entry.reason,
                    "spki_sha256": _hex(entry.spki_sha256),
                    "certificate_sha256": _hex(entry.certificate_sha256),
                    "issuer_spki_sha256": _hex(entry.issuer_spki_sha256),
                    "serial": None if entry.serial is None else f"{entry.serial:x}",
                }
                for entry in issuers.denied
            ],
        },
        "ct": None if ct is None else _ct_document(ct),
        "minimum_tls": policy.minimum_tls,
        "address_required": policy.address_required,
        "mode": policy.mode.value,
        "pins": None
        if pins is None
        else {"keys": {key.hex(): name for key, name in pins.keys.items()}, "report_only": pins.report_only},
        "require_post_quantum": policy.require_post_quantum,
        "revocation": policy.revocation.value,
    }


def _ct_document(ct: CTPolicy) -> dict[str, Any]:
    """The demands of CT; those that came later only where they say something else than what was meant before.

    The kind of proof is not among them yet: there is only the one that always was.
    """
    return {
        "minimum_scts": ct.minimum_scts,
        "minimum_scts_long": ct.minimum_scts_long,
        "long_lifetime_us": ct.long_lifetime // _MICROSECOND,
        "minimum_operators": ct.minimum_operators,
        "minimum_current": ct.minimum_current,
        "future_tolerance_us": ct.future_tolerance // _MICROSECOND,
        "maximum_listed": ct.maximum_listed,
        **({} if ct.when_stale is WhenStale.REPORT else {"when_stale": ct.when_stale.value}),
    }


def _policy(snapshot: _Snapshot) -> Policy:
    """The policy of a snapshot; raises ValueError."""
    issuers, ct, pins = snapshot.issuers, snapshot.ct, snapshot.pins
    return Policy(
        anchors=tuple(base64.b64decode(anchor, validate=True) for anchor in snapshot.anchors),
        issuers=None
        if issuers is None
        else IssuerPolicy(
            None if issuers.allowed is None else _keys(issuers.allowed), tuple(_denied(each) for each in issuers.denied)
        ),
        ct=None
        if ct is None
        else CTPolicy(
            minimum_scts=ct.minimum_scts,
            minimum_scts_long=ct.minimum_scts_long,
            long_lifetime=ct.long_lifetime_us * _MICROSECOND,
            minimum_operators=ct.minimum_operators,
            minimum_current=ct.minimum_current,
            future_tolerance=ct.future_tolerance_us * _MICROSECOND,
            maximum_listed=ct.maximum_listed,
            when_stale=ct.when_stale,
        ),
        minimum_tls=snapshot.minimum_tls,
        address_required=snapshot.address_required,
        mode=snapshot.mode,
        pins=None if pins is None else PinPolicy(_keys(pins.keys), pins.report_only),
        require_post_quantum=snapshot.require_post_quantum,
        revocation=snapshot.revocation,
    )


def _denied(entry: _Denied) -> Denied:
    return Denied(
        reason=entry.reason,
        spki_sha256=_octets(entry.spki_sha256),
        certificate_sha256=_octets(entry.certificate_sha256),
        issuer_spki_sha256=_octets(entry.issuer_spki_sha256),
        serial=None if entry.serial is None else int(entry.serial, 16),
    )


def _keys(table: dict[str, str]) -> dict[bytes, str]:
    return {bytes.fromhex(key): name for key, name in table.items()}


def _hex(octets: bytes | None) -> str | None:
    return None if octets is None else octets.hex()


def _octets(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)
