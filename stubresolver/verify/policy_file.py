"""The policy file: octets in, a `PolicyFile` or `ConfigError` out. PURE: no file is opened here.

`read_policy()` reads the administrator's file on top of the shipped one (stubresolver/data/policy.toml, of which
conf/policy.toml is a copy): a key that the file leaves out has the shipped value, so each default stands in one place,
with its reason. Unknown keys, wrong types and demands of nothing are errors; a policy that does not read is no policy.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

import msgspec

from stubresolver.ct import CTPolicy
from stubresolver.errors import ConfigError
from stubresolver.verify.issuers import Denied, IssuerPolicy
from stubresolver.verify.pins import PinPolicy
from stubresolver.verify.policy import Policy, Revocation, TlsVersion
from stubresolver.verify.verdict import Mode

_Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-fA-F]{64}\Z", description="SHA-256, 64 hex digits")]
_Count = Annotated[int, msgspec.Meta(ge=1, le=16)]
_FIELD = re.compile(r"Object (?:contains )?(unknown|missing required) field `(.*?)`(?: - at `\$(.*)`)?\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A policy as its file says it; the anchors still have to be fetched from where it points."""

    anchors: str  # "certifi", "system" or the path of a PEM file
    issuers: IssuerPolicy
    ct: CTPolicy | None
    minimum_tls: TlsVersion
    mode: Mode
    pins: PinPolicy | None
    require_post_quantum: bool
    revocation: Revocation

    def with_anchors(self, anchors: Sequence[bytes]) -> Policy:
        """The policy with its anchors at hand."""
        return Policy(
            anchors=tuple(anchors),
            issuers=self.issuers,
            ct=self.ct,
            minimum_tls=self.minimum_tls,
            mode=self.mode,
            pins=self.pins,
            require_post_quantum=self.require_post_quantum,
            revocation=self.revocation,
        )


class _Strict(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A table of the file: every key known, every key there."""


class _Mode(_Strict, frozen=True):
    mode: Mode


class _Anchors(_Strict, frozen=True):
    source: Annotated[str, msgspec.Meta(min_length=1)]


class _Named(_Strict, frozen=True):
    name: Annotated[str, msgspec.Meta(min_length=1)]
    spki_sha256: _Sha256


class _Deny(_Strict, frozen=True):
    reason: Annotated[str, msgspec.Meta(min_length=1)]
    spki_sha256: _Sha256 | None = None
    certificate_sha256: _Sha256 | None = None
    issuer_spki_sha256: _Sha256 | None = None
    serial: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-fA-F]{1,40}\Z", description="hex digits")] | None = None


class _Issuers(_Strict, frozen=True):
    allow: Annotated[list[_Named], msgspec.Meta(min_length=1)]
    deny: list[_Deny]


class _Ct(_Strict, frozen=True):
    required: bool
    minimum_scts: _Count
    minimum_scts_long: _Count
    long_lifetime_days: Annotated[int, msgspec.Meta(ge=1, le=398)]
    minimum_operators: _Count
    minimum_current: _Count
    future_tolerance_seconds: Annotated[int, msgspec.Meta(ge=0, le=3600)]


class _Tls(_Strict, frozen=True):
    minimum_version: TlsVersion
    require_post_quantum: bool


class _Pins(_Strict, frozen=True):
    spki_sha256: list[_Named]
    report_only: bool


class _Revocation(_Strict, frozen=True):
    check: Revocation


class _File(_Strict, frozen=True):
    anchors: _Anchors
    issuers: _Issuers
    ct: _Ct
    tls: _Tls
    policy: _Mode
    pins: _Pins
    revocation: _Revocation


def read_policy(shipped: bytes, own: bytes | None, file: str) -> PolicyFile:
    """Read a policy: `own` (the octets of `file`, None for none) on top of `shipped`; raises `ConfigError`.

    A key in `own` replaces the shipped one, with one exception: `issuers.deny` adds to it, so that a file that was
    written before a CA went wrong does not bring that CA back.
    """
    tables = _tables(shipped, "the shipped policy")
    for section, values in (_tables(own, file) if own is not None else {}).items():
        if not isinstance(values, dict):
            raise ConfigError(file, section, f"expected a table [{section}], got {type(values).__name__}")
        base = tables.get(section, {})
        tables[section] = {**base, **values}
        kept, added = base.get("deny"), values.get("deny")
        if isinstance(kept, list) and isinstance(added, list):
            # those of `file` first, so that an error names the entry by its place there
            tables[section]["deny"] = added + [entry for entry in kept if entry not in added]
    try:
        document = msgspec.convert(tables, _File)
    except msgspec.ValidationError as error:
        raise config_error(file, error) from None
    return PolicyFile(
        anchors=document.anchors.source,
        issuers=_issuers(document.issuers, file),
        ct=_ct(document.ct, file) if document.ct.required else None,
        minimum_tls=document.tls.minimum_version,
        mode=document.policy.mode,
        pins=_pins(document.pins, file),
        require_post_quantum=document.tls.require_post_quantum,
        revocation=document.revocation.check,
    )


def config_error(file: str, error: msgspec.ValidationError) -> ConfigError:
    """Turn msgspec's "Expected `int`, got `str` - at `$.ct.minimum_scts`" into file, key and problem.

    Where a key is unknown or missing, msgspec's path ends at its table and the text names it: the key is both.
    """
    text = str(error)
    if field := _FIELD.match(text):
        kind, name, table = field.groups()
        problem = "missing key" if kind == "missing required" else "unknown key"
        return ConfigError(file, f"{table or ''}.{name}".strip("."), problem)
    problem, _, where = text.rpartition(" - at `$")
    return ConfigError(file, where.strip(".`"), problem) if problem else ConfigError(file, "", text)


def _tables(octets: bytes, file: str) -> dict[str, dict[str, object]]:
    """The tables of a TOML file; raises `ConfigError` with the parser's line and column."""
    try:
        return tomllib.loads(octets.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(file, "", f"not UTF-8 text (octet {error.start})") from None
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, and numbers or nesting beyond Python's limits
        raise ConfigError(file, "", f"not TOML: {error}") from None


def _issuers(table: _Issuers, file: str) -> IssuerPolicy:
    denied = []
    for index, entry in enumerate(table.deny):
        try:
            denied.append(
                Denied(
                    reason=entry.reason,
                    spki_sha256=_octets(entry.spki_sha256),
                    certificate_sha256=_octets(entry.certificate_sha256),
                    issuer_spki_sha256=_octets(entry.issuer_spki_sha256),
                    serial=None if entry.serial is None else int(entry.serial, 16),
                )
            )
        except ValueError as error:
            raise ConfigError(file, f"issuers.deny[{index}]", str(error)) from None
    allowed: Mapping[bytes, str] = {bytes.fromhex(entry.spki_sha256): entry.name for entry in table.allow}
    return IssuerPolicy(allowed, tuple(denied))


def _octets(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)


def _pins(table: _Pins, file: str) -> PinPolicy | None:
    if not table.spki_sha256:
        return None
    try:
        return PinPolicy({bytes.fromhex(pin.spki_sha256): pin.name for pin in table.spki_sha256}, table.report_only)
    except ValueError as error:
        raise ConfigError(file, "pins.spki_sha256", str(error)) from None


def _ct(table: _Ct, file: str) -> CTPolicy:
    if table.minimum_scts_long < table.minimum_scts:
        raise ConfigError(
            file,
            "ct.minimum_scts_long",
            f"got {table.minimum_scts_long}, expected at least ct.minimum_scts ({table.minimum_scts}): "
            "a longer life never needs fewer SCTs",
        )
    for key, value in (("minimum_operators", table.minimum_operators), ("minimum_current", table.minimum_current)):
        if value > table.minimum_scts:
            raise ConfigError(
                file, f"ct.{key}", f"got {value}, expected at most ct.minimum_scts ({table.minimum_scts})"
            )
    return CTPolicy(
        minimum_scts=table.minimum_scts,
        minimum_scts_long=table.minimum_scts_long,
        long_lifetime=timedelta(days=table.long_lifetime_days),
        minimum_operators=table.minimum_operators,
        minimum_current=table.minimum_current,
        future_tolerance=timedelta(seconds=table.future_tolerance_seconds),
    )
