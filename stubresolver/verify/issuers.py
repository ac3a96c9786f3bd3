"""Who may issue for our upstreams, and who may not. PURE.

Certificate Transparency makes a wrong certificate visible; it does not stop it. The issuer list does: a CA that was
never meant to issue for the upstream is refused even if a store trusts it and every log has seen the certificate (the
Fina case of 2024-2025).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from stubresolver.verify.certificate import Certificate
from stubresolver.verify.verdict import Finding, Outcome, Rule


@dataclass(frozen=True, slots=True)
class Denied:
    """One entry of the deny-list: a key, a certificate, or one serial number of an issuer's key."""

    reason: str
    spki_sha256: bytes | None = None
    # The holder of a certificate with an ECDSA signature (r, s) can also show it with (r, -s), which has another hash:
    # to deny a certificate for good, name its serial number or its key.
    certificate_sha256: bytes | None = None
    issuer_spki_sha256: bytes | None = None  # together with `serial`
    serial: int | None = None

    def __post_init__(self) -> None:
        by_serial = (self.issuer_spki_sha256 is not None, self.serial is not None)
        ways = [self.spki_sha256 is not None, self.certificate_sha256 is not None, all(by_serial)]
        if sum(ways) != 1 or any(by_serial) != all(by_serial):
            raise ValueError("a denied entry names a key, a certificate, or an issuer's key and a serial number")

    def matches(self, certificate: Certificate, issuer: Certificate | None) -> bool:
        """True if this entry speaks of `certificate`, which `issuer` signed."""
        if self.spki_sha256 is not None:
            return certificate.spki_sha256 == self.spki_sha256
        if self.certificate_sha256 is not None:
            return certificate.sha256 == self.certificate_sha256.hex()
        return (
            issuer is not None and issuer.spki_sha256 == self.issuer_spki_sha256 and certificate.serial == self.serial
        )


@dataclass(frozen=True, slots=True)
class IssuerPolicy:
    """Which CAs are trusted to issue for the upstreams; keys by SPKI SHA-256, with a name for people."""

    allowed: Mapping[bytes, str] | None  # None: any CA that leads to an anchor
    denied: tuple[Denied, ...] = ()

    def __post_init__(self) -> None:
        if self.allowed is not None and not self.allowed:
            raise ValueError("an empty allow-list would refuse every issuer")

    def judge(self, path: Sequence[Certificate], shown: Sequence[Certificate]) -> Iterable[Finding]:
        """Findings on a verified path (leaf first), or, where it is empty, on what was shown instead."""
        if self.allowed is not None:
            yield self._judge_allowed(self.allowed, path, shown)
        chain = path or shown
        hits = [
            (certificate, entry)
            for index, certificate in enumerate(chain)
            for entry in self.denied
            if entry.matches(certificate, chain[min(index + 1, len(chain) - 1)])
        ]
        for certificate, entry in hits:
            yield Finding(Rule.ISSUER_DENIED, Outcome.FAIL, certificate.subject, f"denied: {entry.reason}")
        if not hits and path:
            detail = f"nothing on the deny-list ({len(self.denied)})"
            yield Finding(Rule.ISSUER_DENIED, Outcome.PASS, path[0].subject, detail)
        elif not hits:
            yield Finding(Rule.ISSUER_DENIED, Outcome.NOTE, shown[0].subject, "not judged: no valid path")

    @staticmethod
    def _judge_allowed(
        allowed: Mapping[bytes, str], path: Sequence[Certificate], shown: Sequence[Certificate]
    ) -> Finding:
        """Pass if a CA of the verified path is on the allow-list; the leaf's own key is no CA."""
        for certificate in path[1:]:
            if certificate.spki_sha256 in allowed:
                name = allowed[certificate.spki_sha256]
                return Finding(Rule.ISSUER_ALLOWED, Outcome.PASS, certificate.subject, f"{name} is on the allow-list")
        issuer = (path or shown)[0].issuer if path or shown else ""
        if not path:
            return Finding(Rule.ISSUER_ALLOWED, Outcome.NOTE, issuer, "not judged: no valid path")
        return Finding(
            Rule.ISSUER_ALLOWED, Outcome.FAIL, issuer, f"{issuer} is not on the allow-list, nor is any CA above it"
        )
