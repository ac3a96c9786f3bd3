"""The tables and keys of a policy file: type, bounds, and the words for them. PURE.

Only the shape stands here; the defaults are the shipped file's, and what contradicts what is `policy_file`'s to say.
"""

from typing import Annotated, Any

import msgspec

from stubresolver.ct.compliance import Proof, WhenStale
from stubresolver.verify.policy import Revocation, TlsVersion
from stubresolver.verify.verdict import Mode


def _expects(description: str, remedy: str = "", **bounds: Any) -> msgspec.Meta:
    """The bounds of a field, and the words for them; where no remedy is given, it is to write the shipped value."""
    return msgspec.Meta(description=description, extra={"remedy": remedy} if remedy else None, **bounds)


_HASH_REMEDY = "`openssl x509 -in FILE -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum` prints it"
_Sha256 = Annotated[str, _expects("64 hex digits: a SHA-256", _HASH_REMEDY, pattern=r"^[0-9a-fA-F]{64}\Z")]
_CertificateSha256 = Annotated[
    str,
    _expects(
        "64 hex digits: a SHA-256",
        "`openssl x509 -in FILE -outform DER | sha256sum` prints it",
        pattern=r"^[0-9a-fA-F]{64}\Z",
    ),
]
_Serial = Annotated[
    str,
    _expects(
        "1 to 40 hex digits in quotes",
        "`openssl x509 -in FILE -noout -serial` prints it",
        pattern=r"^[0-9a-fA-F]{1,40}\Z",
    ),
]
_Count = Annotated[int, _expects("a whole number from 1 to 16", ge=1, le=16)]
_Truth = Annotated[bool, _expects("true or false, without quotes")]


class _Strict(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A table of the file: every key known, every key there."""


class ModeTable(_Strict, frozen=True):
    """`[policy]`: how this policy is applied."""

    mode: Annotated[Mode, _expects('"enforce" or "report"')]


class AnchorsTable(_Strict, frozen=True):
    """`[anchors]`: whose roots a path may end in."""

    source: Annotated[str, _expects('"certifi", "system", or the path of a PEM file', min_length=1)]


class TlsTable(_Strict, frozen=True):
    """`[tls]`: what the handshake must reach."""

    minimum_version: Annotated[TlsVersion, _expects('"TLSv1.3" or "TLSv1.2"')]
    require_post_quantum: _Truth


class CtTable(_Strict, frozen=True):
    """`[ct]`: how many SCTs, from whom, and by how old a list."""

    required: _Truth
    proof: Annotated[Proof, _expects('"sct"')]
    minimum_scts: _Count
    minimum_scts_long: _Count
    long_lifetime_days: Annotated[int, _expects("a whole number from 1 to 398", ge=1, le=398)]
    minimum_operators: _Count
    minimum_current: _Count
    future_tolerance_seconds: Annotated[int, _expects("a whole number from 0 to 3600", ge=0, le=3600)]
    when_stale: Annotated[WhenStale, _expects('"known-leaves", "refuse" or "report"')]


class NamedKey(_Strict, frozen=True):
    """An entry of `issuers.allow` or `pins.spki_sha256`."""

    name: Annotated[str, _expects("text", 'write whose key it is: name = "Example Root CA"', min_length=1)]
    spki_sha256: _Sha256


class DenyEntry(_Strict, frozen=True):
    """An entry of `issuers.deny`."""

    reason: Annotated[str, _expects("text", 'write why, for whoever reads the refusal: reason = "..."', min_length=1)]
    spki_sha256: _Sha256 | None = None
    certificate_sha256: _CertificateSha256 | None = None
    issuer_spki_sha256: _Sha256 | None = None
    serial: _Serial | None = None


class IssuersTable(_Strict, frozen=True):
    """`[issuers]`: who may issue, and who may not."""

    allow: Annotated[
        list[NamedKey],
        _expects(
            "a list with at least one entry { name, spki_sha256 }",
            "leave the key out for the shipped list, or list the CAs that may issue for your upstreams",
            min_length=1,
        ),
    ]
    deny: Annotated[
        list[DenyEntry],
        _expects(
            "a list of entries { reason, spki_sha256 }",
            'write deny = [{ reason = "...", spki_sha256 = "..." }]; docs/policy.md has the other ways to deny',
        ),
    ]


class PinsTable(_Strict, frozen=True):
    """`[pins]`: keys of which one must be there."""

    spki_sha256: Annotated[
        list[NamedKey],
        _expects(
            "a list of entries { name, spki_sha256 }",
            'write spki_sha256 = [{ name = "...", spki_sha256 = "..." }, ...]',
        ),
    ]
    report_only: _Truth


class RevocationTable(_Strict, frozen=True):
    """`[revocation]`: what a staple is asked for."""

    check: Annotated[Revocation, _expects('"off", "if-stapled" or "require-staple"')]


class PolicyTables(_Strict, frozen=True):
    """The whole file."""

    policy: ModeTable
    anchors: AnchorsTable
    tls: TlsTable
    ct: CtTable
    issuers: IssuersTable
    pins: PinsTable
    revocation: RevocationTable
