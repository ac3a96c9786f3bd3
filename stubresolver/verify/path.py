"""Path, address and name: RFC 5280 s6 path validation and RFC 9525 matching at a given time. PURE.

The judge is `cryptography`'s verifier (web PKI profile) with the policy's anchors and nothing else. It decides path and
subject in one go and stops at the first fault; so that a person reads *which* demand failed, a refusal is looked at
once more with a subject that the leaf itself names. That second look only explains: a pass of `path.address` or
`path.name` needs the verifier's own yes to exactly that address or name.

The verifier searches among the certificates from which an anchor can be reached (`anchored`), and not at all where the
leaf is none of them: else anyone who can open a port could keep it busy for half a second.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.verification import PolicyBuilder, Store

from stubresolver.verify.anchored import anchored
from stubresolver.verify.certificate import Certificate, alternative_names, printable, read_certificate
from stubresolver.verify.verdict import Finding, Outcome, Rule, Unvouched


@dataclass(frozen=True, slots=True)
class Path:
    """What path validation found."""

    certificates: tuple[Certificate, ...]  # leaf first, anchor last; empty where no path is valid
    findings: tuple[Finding, ...]
    unvouched: Unvouched | None = None  # where no path is valid


class PathVerifier:
    """Validates paths to a fixed set of trust anchors."""

    def __init__(self, anchors: Sequence[bytes]) -> None:
        """Read `anchors` (certificates in DER, at least one); raises ValueError."""
        self._anchors = [read_certificate(der) for der in anchors]
        self._anchors_by_parsed = {anchor.parsed: anchor for anchor in self._anchors}  # hashing them is slow: once
        self._store = Store([anchor.parsed for anchor in self._anchors])
        self._anchor_subjects = {anchor.parsed.subject.public_bytes() for anchor in self._anchors}

    def judge(
        self,
        leaf: Certificate,
        intermediates: Sequence[Certificate],
        address: IPv4Address | IPv6Address | None,
        name: str | None,
        now: datetime,
    ) -> Path:
        """Look for a path and hold address and name (those given) against the leaf."""
        findings: list[Finding] = []
        path: tuple[Certificate, ...] = ()
        problem = "neither an address nor a name to look for"
        reachable = anchored((leaf, *intermediates), self._anchors)
        among = reachable[1:] if reachable[:1] == [leaf] else None
        if address is not None:
            mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
            wanted = mapped or address  # ::ffff:192.0.2.1 is 192.0.2.1, RFC 4291 s2.5.5.2
            found, problem = self._validate(leaf, among, wanted, now)
            path = path or found
            findings.append(_subject_finding(Rule.PATH_ADDRESS, leaf, str(wanted), matched=bool(found)))
        if name is not None:
            found, problem = self._validate(leaf, among, name, now)
            path = path or found
            # RFC 1123 s2.1: dotted decimal is an address, never a name; a dNSName that spells one vouches for nothing
            matched = bool(found) and not _spells_address(name)
            findings.append(_subject_finding(Rule.PATH_NAME, leaf, printable(name), matched=matched))
        if not path:
            # A search that the verifier gave up is not repeated: it costs 0.15 s, and any CA can make it happen.
            for subject in () if among is None or "fatal error" in problem else _own_subjects(leaf):
                path, problem = self._validate(leaf, among, subject, now)
                if path:
                    break
            else:
                findings = [_unjudged(finding) for finding in findings]
        if path:
            valid = Finding(Rule.PATH_VALID, Outcome.PASS, leaf.subject, f"anchored in {path[-1].subject}")
            return Path(path, (valid, *findings))
        why = self._explain(leaf, intermediates, problem, now)
        valid = Finding(Rule.PATH_VALID, Outcome.FAIL, leaf.subject, why)
        return Path(
            (), (valid, *findings), _unvouched((leaf, *intermediates), address, name, None if among is None else now)
        )

    def issuer_of(self, leaf: Certificate, intermediates: Sequence[Certificate]) -> Certificate | None:
        """The certificate whose key signed `leaf`, among those presented and the anchors; None if it is not there.

        For reading the SCTs of a certificate whose path is refused; such a verdict can never be allowed.
        """
        for candidate in (*intermediates, *self._anchors):
            try:
                leaf.parsed.verify_directly_issued_by(candidate.parsed)
            except Exception:  # noqa: BLE001, S112 - any fault means: not this one
                continue
            return candidate
        return None

    def _validate(
        self,
        leaf: Certificate,
        intermediates: Sequence[Certificate] | None,
        subject: IPv4Address | IPv6Address | str,
        now: datetime,
    ) -> tuple[tuple[Certificate, ...], str]:
        """The path on which the leaf may speak for `subject`, or no path and the verifier's reason.

        `intermediates` are those that lead to an anchor, None where the leaf itself does not.
        """
        if problem := _weak_key(leaf):
            return (), problem
        if intermediates is None:
            return (), f"no signature leads from it to one of the {len(self._anchors)} trust anchors"
        try:
            wanted = x509.DNSName(subject) if isinstance(subject, str) else x509.IPAddress(subject)
            builder = PolicyBuilder().store(self._store).time(now.astimezone(UTC).replace(tzinfo=None))
            verifier = builder.build_server_verifier(wanted)
            found = verifier.verify(leaf.parsed, [certificate.parsed for certificate in intermediates])
        except Exception as error:  # noqa: BLE001 - hostile octets: whatever the library raises is a refusal
            return (), str(error)
        known = self._anchors_by_parsed | {certificate.parsed: certificate for certificate in (leaf, *intermediates)}
        return tuple(known[certificate] for certificate in found), ""

    def _explain(self, leaf: Certificate, intermediates: Sequence[Certificate], problem: str, now: datetime) -> str:
        """Why there is no path, in the words of someone who has to act on it."""
        for certificate in (leaf, *intermediates):
            if now > certificate.not_after:
                return f"expired on {certificate.not_after:%Y-%m-%d %H:%M:%S}Z: {certificate.subject}"
            if now < certificate.not_before:
                return f"not valid before {certificate.not_before:%Y-%m-%d %H:%M:%S}Z: {certificate.subject}"
        presented = (leaf, *intermediates)
        if not any(certificate.parsed.issuer.public_bytes() in self._anchor_subjects for certificate in presented):
            return f"issued by {presented[-1].issuer}, which is not among the {len(self._anchors)} trust anchors"
        return printable(problem.partition(" (encountered")[0].removeprefix("validation failed: "))


def _weak_key(leaf: Certificate) -> str:
    """What is wrong with the leaf's key, "" if nothing. The verifier looks at the keys of CAs only.

    CA/Browser Forum Baseline Requirements s6.1.5: RSA of "at least 2048 bits" that is "evenly divisible by 8", or a
    point on "the NIST P-256, NIST P-384 or NIST P-521 elliptic curve".
    """
    try:
        key = leaf.parsed.public_key()
    except Exception as error:  # noqa: BLE001 - hostile octets: a key that cannot be read is as good as none
        return f"its key cannot be read: {error}"
    if isinstance(key, rsa.RSAPublicKey):
        good, shown = key.key_size >= 2048 and key.key_size % 8 == 0, f"RSA of {key.key_size} bits"
    elif isinstance(key, ec.EllipticCurvePublicKey):
        good, shown = key.curve.name in {"secp256r1", "secp384r1", "secp521r1"}, key.curve.name
    else:
        good, shown = False, type(key).__name__.removesuffix("PublicKey")
    return "" if good else f"its key is {shown}; expected RSA of at least 2048 bits, P-256, P-384 or P-521"


def _subject_finding(rule: Rule, leaf: Certificate, wanted: str, *, matched: bool) -> Finding:
    """Whether the leaf is for `wanted`; where not, for whom it is."""
    if matched:
        return Finding(rule, Outcome.PASS, leaf.subject, f"{wanted} is in the SAN")
    addresses, names = alternative_names(leaf.der)
    carried = [str(item) for item in (addresses if rule is Rule.PATH_ADDRESS else names)]
    kind = "addresses" if rule is Rule.PATH_ADDRESS else "names"
    shown = printable(", ".join(carried[:6])) + (f" and {len(carried) - 6} more" if len(carried) > 6 else "")
    return Finding(rule, Outcome.FAIL, leaf.subject, f"{wanted} is not in the SAN ({kind}: {shown or 'none'})")


def _spells_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _own_subjects(leaf: Certificate) -> Iterator[IPv4Address | IPv6Address | str]:
    """A few subjects that the leaf's own SAN names, to ask for a path that does not hang on whom we dialled."""
    addresses, names = alternative_names(leaf.der)
    yield from addresses[:2]
    for name in names[:2]:
        yield name.replace("*", "any", 1)


def _unvouched(
    presented: Sequence[Certificate], address: IPv4Address | IPv6Address | None, name: str | None, now: datetime | None
) -> Unvouched:
    """What the chain says of itself; `now` where signatures lead from it to an anchor."""
    addresses, names = alternative_names(presented[0].der)
    return Unvouched(
        issuer=presented[-1].issuer,
        named=address in addresses or (name is not None and name.lower() in {each.lower() for each in names}),
        ended=now is not None and any(now > certificate.not_after for certificate in presented),
        early=now is not None and any(now < certificate.not_before for certificate in presented),
    )


def _unjudged(finding: Finding) -> Finding:
    """Address and name cannot pass without a path; the reason that matters is then the path's."""
    return Finding(finding.rule, Outcome.NOTE, finding.subject, "not judged: no valid path")
