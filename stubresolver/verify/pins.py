"""Pinned keys: some key of the verified path must be one of these, if any are named. PURE.

The idea of RFC 7469 (s2.6: a connection is valid if a key of the path is pinned; s4.3: a backup pin, or the loss of one
key cuts its owner off). Where the allow-list says which CAs may issue, pins may name the upstream's own keys, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stubresolver.verify.certificate import Certificate
from stubresolver.verify.verdict import Finding, Outcome, Rule

MINIMUM_PINS = 2  # RFC 7469 s4.3: one in use and one backup


@dataclass(frozen=True, slots=True)
class PinPolicy:
    """Which keys are pinned, by SPKI SHA-256, with a name for people."""

    keys: Mapping[bytes, str]
    report_only: bool = False  # RFC 7469 s2.1: tell what would fail, refuse nothing

    def __post_init__(self) -> None:
        if len(self.keys) < MINIMUM_PINS:
            raise ValueError(f"{len(self.keys)} pinned keys, expected at least {MINIMUM_PINS}: one is the backup")

    def judge(self, path: Sequence[Certificate], shown: Sequence[Certificate]) -> Finding:
        """The finding on a verified path (leaf first, empty where there is none); `shown` is what was presented."""
        subject = shown[0].subject
        if not path:
            return Finding(Rule.ISSUER_PINS, Outcome.NOTE, subject, "not judged: no valid path")
        for certificate in path:
            if certificate.spki_sha256 in self.keys:
                name = self.keys[certificate.spki_sha256]
                return Finding(Rule.ISSUER_PINS, Outcome.PASS, certificate.subject, f"{name} is pinned")
        problem = f"no key of the path is one of the {len(self.keys)} pinned"
        if self.report_only:
            return Finding(Rule.ISSUER_PINS, Outcome.NOTE, subject, f"would be refused: {problem}")
        return Finding(Rule.ISSUER_PINS, Outcome.FAIL, subject, problem)
