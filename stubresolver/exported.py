"""One kept judgement as one file: everything that it takes to judge again, on another machine, in another year. PURE.

The file is JSON in one form: what was presented, the verdict, when, and the policy and the log list that it was judged
by. What was remembered then is told by the verdict, as the time is; one that tells nothing remembered nothing. Each
part stands beside its SHA-256, so that damage and careless editing are noticed and the part is named. That is no
signature: who can write the file can write its digests too, and only judging it again says what it is worth.
"""

import base64
import hashlib
import textwrap
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import msgspec

from stubresolver.ct import LogList
from stubresolver.errors import BadInput
from stubresolver.verify import NOTHING_REMEMBERED, Policy, Presented, Remembered, TlsFacts, Verdict, Verifier

FORMAT = "stubresolver-evidence-1"
_PARTS = ("upstream", "presented", "at", "verdict", "policy", "log_list")
_LATER = frozenset({"proof", "remembered"})  # what verdicts tell since later; those from before have neither
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"  # RFC 7468 s5


@dataclass(frozen=True, slots=True)
class Exported:
    """A judgement with all that went into it."""

    upstream: str  # as configured: tls://1.1.1.1#one.one.one.one
    presented: Presented
    verdict: bytes  # as `encode_verdict` writes it
    at: datetime  # the time that was judged for, UTC
    policy: bytes  # `Policy.snapshot()`
    log_list: bytes | None  # the octets of the pinned list; None where the verdict names none

    @classmethod
    def read(cls, octets: bytes) -> "Exported":
        """Read a file that `write` wrote; raises `BadInput` on anything that is broken or does not fit together."""
        try:
            parts = msgspec.json.decode(octets)
            _check_digests(parts)
            document = msgspec.convert(parts, _Document)
            exported = _exported(document)
        except (msgspec.DecodeError, ValueError, OverflowError, RecursionError) as error:
            raise BadInput(f"not an exported judgement: {error}") from None
        _check_facts(exported, document.verdict)
        # one value, one form: nothing stands in the file that reading would pass over
        if exported._document() != parts:  # noqa: SLF001 - of this class
            raise BadInput("not an exported judgement: not in the form that this program writes")
        return exported

    def write(self) -> bytes:
        """The file: UTF-8, keys sorted, the same octets for the same value."""
        return msgspec.json.format(msgspec.json.encode(self._document(), order="sorted"), indent=1) + b"\n"

    def judge(
        self, now: datetime | None = None, policy: Policy | None = None, log_list: LogList | None = None
    ) -> Verdict:
        """Judge again: at its own time, by its own policy and list, or by those that are given.

        What was remembered is its own always: it is of the leaf, and of a past that stays the past.
        Raises `BadInput` where the policy or the list cannot be used, or a policy demands CT and there is no list.
        """
        demands = Policy.from_snapshot(self.policy) if policy is None else policy
        pinned = LogList.parse(self.log_list) if log_list is None and self.log_list is not None else log_list
        try:
            verifier = Verifier(demands, pinned)
        except ValueError as error:
            raise BadInput(f"the exported judgement cannot be judged again: {error}") from None
        return verifier.judge(self.presented, self.at if now is None else now, self.remembered)

    @property
    def reproduces(self) -> bool:
        """True if judging it again by its own time, policy and list gives its verdict, octet for octet."""
        return self.repeats(self.judge())

    def repeats(self, verdict: Verdict) -> bool:
        """True if this is its verdict, octet for octet, in the form that verdicts had when it was kept."""
        told, kept = verdict.to_jsonable(), msgspec.json.decode(self.verdict)
        if not _LATER & set(kept):
            told = {name: value for name, value in told.items() if name not in _LATER}
        return msgspec.json.encode(told, order="sorted") == self.verdict

    @property
    def remembered(self) -> Remembered:
        """What was remembered when it was judged; raises `BadInput`."""
        try:
            return msgspec.json.decode(self.verdict, type=_Memory).remembered
        except (msgspec.DecodeError, ValueError) as error:
            raise BadInput(f"the exported judgement holds no verdict: {error}") from None

    def _document(self) -> dict[str, Any]:
        """Everything as JSON values."""
        presented = self.presented
        parts: dict[str, Any] = {
            "upstream": self.upstream,
            "presented": {
                "address": None if presented.address is None else str(presented.address),
                "name": presented.name,
                "chain": [_pem(der) for der in presented.chain],
                "tls": None if presented.tls is None else msgspec.to_builtins(presented.tls),
                "staple": _base64(presented.staple),
            },
            "at": self.at.isoformat().replace("+00:00", "Z"),
            "verdict": msgspec.json.decode(self.verdict),
            "policy": msgspec.json.decode(self.policy),
            "log_list": _base64(self.log_list),
        }
        return {"format": FORMAT, **parts, "sha256": {name: _digest(parts[name]) for name in _PARTS}}


def encode_verdict(verdict: Verdict) -> bytes:
    """The verdict as JSON in one form: what evidence keeps, and what a second judgement is held against."""
    return msgspec.json.encode(verdict.to_jsonable(), order="sorted")


class _Strict(msgspec.Struct, forbid_unknown_fields=True):
    """A part of the file: every field known, every field there."""


class _Presented(_Strict):
    address: str | None
    name: str | None
    chain: list[str]
    tls: TlsFacts | None
    staple: str | None


class _Document(_Strict):
    format: str
    upstream: str
    presented: _Presented
    at: str
    verdict: dict[str, Any]
    policy: dict[str, Any]
    log_list: str | None
    sha256: dict[str, str]


class _LogListFacts(msgspec.Struct):
    digest: str


class _Memory(msgspec.Struct):
    """What of a verdict goes into it again."""

    remembered: Remembered = NOTHING_REMEMBERED


class _VerdictFacts(msgspec.Struct):
    """What of a verdict must agree with the rest of the file."""

    allowed: bool
    at: str
    policy: str
    log_list: _LogListFacts | None


def _check_digests(parts: Any) -> None:
    """Hold each part against its digest; raises `BadInput` that names the first that does not match."""
    if not isinstance(parts, dict) or parts.get("format") != FORMAT or not isinstance(parts.get("sha256"), dict):
        raise BadInput(f"not an exported judgement: expected an object with format {FORMAT!r} and digests")
    for name in _PARTS:
        if name not in parts or parts["sha256"].get(name) != _digest(parts[name]):
            raise BadInput(f"the exported judgement was changed or damaged: {name!r} does not match its digest")


def _exported(document: _Document) -> Exported:
    """The value of a document; raises ValueError."""
    shown = document.presented
    at = datetime.fromisoformat(document.at)
    if at.utcoffset() is None:
        raise ValueError(f"the time {document.at!r} names no time zone")
    at = at.astimezone(UTC)  # OverflowError where UTC has no such time
    return Exported(
        upstream=document.upstream,
        presented=Presented(
            address=None if shown.address is None else ip_address(shown.address),
            name=shown.name,
            chain=tuple(_der(text) for text in shown.chain),
            tls=shown.tls,
            staple=_octets(shown.staple),
        ),
        verdict=msgspec.json.encode(document.verdict, order="sorted"),
        at=at,
        policy=msgspec.json.encode(document.policy, order="sorted"),
        log_list=_octets(document.log_list),
    )


def _check_facts(exported: Exported, verdict: dict[str, Any]) -> None:
    """The verdict must be of this time, this policy and this list; raises `BadInput`."""
    try:
        facts = msgspec.convert(verdict, _VerdictFacts)
        agrees = datetime.fromisoformat(facts.at) == exported.at
    except ValueError as error:  # msgspec's ValidationError is one
        raise BadInput(f"the exported judgement holds no verdict: {error}") from None
    _ = exported.remembered  # raises
    if not agrees:
        raise BadInput(f"the exported judgement contradicts itself: its verdict is of {facts.at}")
    if Policy.from_snapshot(exported.policy).digest != facts.policy:
        raise BadInput(f"the exported judgement contradicts itself: its verdict is by another policy, {facts.policy}")
    held = None if exported.log_list is None else hashlib.sha256(exported.log_list).hexdigest()
    named = None if facts.log_list is None else facts.log_list.digest
    if held != named:
        raise BadInput(f"the exported judgement contradicts itself: its verdict is by another log list, {named}")


def _digest(part: Any) -> str:
    """SHA-256 over a part as JSON without spaces, keys sorted, hex."""
    return hashlib.sha256(msgspec.json.encode(part, order="sorted")).hexdigest()


def _pem(der: bytes) -> str:
    """RFC 7468 s2: lines of 64 characters. Also of octets that are no certificate: what was shown is kept as it was."""
    return "\n".join([_BEGIN, *textwrap.wrap(base64.b64encode(der).decode(), 64), _END, ""])


def _der(text: str) -> bytes:
    """The octets of one PEM text; raises ValueError. That it is in `_pem`'s form is seen when it is written again."""
    lines = text.split("\n")
    if len(lines) < 3 or (lines[0], *lines[-2:]) != (_BEGIN, _END, ""):
        raise ValueError("expected each certificate of the chain in PEM")
    return base64.b64decode("".join(lines[1:-2]), validate=True)


def _base64(octets: bytes | None) -> str | None:
    return None if octets is None else base64.b64encode(octets).decode()


def _octets(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text, validate=True)
