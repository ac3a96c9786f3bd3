"""What is wrong with a policy file, and what is risky in it, each with its line, its key and what to do. PURE.

An error makes the file useless: nothing of it is taken over. A warning is a choice that a person may make, and should
know of: `lint` says what it costs.
"""

import enum
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256

from stubresolver.ct.compliance import STALE_AGE, WhenStale
from stubresolver.verify.policy import Revocation
from stubresolver.verify.policy_file import Layer, Tables, contradictions, convert, laid_over, read_tables
from stubresolver.verify.policy_schema import DenyEntry, NamedKey, PolicyTables
from stubresolver.verify.toml_lines import key_lines, line_of
from stubresolver.verify.verdict import Mode
from stubresolver.verify.wording import Fault

_MANY_ISSUERS = 30  # keys; the shipped list, for the CAs of one large resolver, has 18
_LONG_TOLERANCE = 600  # seconds; a clock that is further off is better put right
_OF_NOTHING = sha256(b"").hexdigest()  # what sha256sum prints when the command before it has failed

# Where a number is weaker than Chrome's policy (ct_policy.md, "CT Compliant Certificates"): key, least, what it costs.
_CHROME = (
    ("minimum_scts", 2, "one log alone vouches: whoever controls it can keep a certificate from the public"),
    ("minimum_scts_long", 3, "browsers ask for more where a certificate lives long"),
    ("minimum_operators", 2, "one operator alone vouches: it can sign SCTs and log nothing"),
)


class Severity(enum.StrEnum):
    """What a problem does."""

    ERROR = "error"  # the file cannot be used
    WARNING = "warning"  # it can, and somebody should know


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to say about a policy file."""

    severity: Severity
    file: str  # as the person named it
    line: int | None  # from 1; None where no line says it
    key: str  # dotted path, "" where the whole file is meant
    text: str  # what was got and what was expected, or what is risky
    remedy: str  # what to write instead, or how to live with it

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.severity}: {f'{self.key}: ' if self.key else ''}{self.text}; {self.remedy}"


def lint(octets: bytes, file: str, shipped: bytes, beside: frozenset[str] = frozenset()) -> list[Problem]:
    """Every error of a policy file; where there is none, every warning. `shipped` is what the file is laid over.

    `beside` are keys of the file that are no policy's, and somebody else's to read.
    """
    base = read_tables(shipped)
    try:
        own = Layer(octets, file, beside).tables()
    except Fault as fault:
        return [Problem(Severity.ERROR, file, fault.line, fault.key, fault.problem, fault.remedy)]
    lines = key_lines(octets.decode())
    severity, faults = Severity.ERROR, list(_errors(own, base))
    if not faults:
        severity, faults = Severity.WARNING, list(_warnings(convert(laid_over(base, own), base), own, base))
    found = [Problem(severity, file, line_of(lines, each.key), each.key, each.problem, each.remedy) for each in faults]
    return sorted(found, key=lambda problem: problem.line or 0)


def _errors(own: Tables, base: Tables) -> Iterator[Fault]:
    """Each key of the file held against its type alone; where all are right, against each other."""
    good = True
    for section, values in own.items():
        whole = section not in base or not isinstance(values, dict)
        for part in [{section: values}] if whole else [{section: {key: values[key]}} for key in values]:
            try:
                convert(laid_over(base, part), base)
            except Fault as fault:
                good = False
                yield fault
    if good:
        yield from contradictions(convert(laid_over(base, own), base))


def _warnings(document: PolicyTables, own: Tables, base: Tables) -> Iterator[Fault]:
    """The choices that cost something, and the entries that are probably not what was meant."""
    if document.policy.mode is Mode.REPORT:
        yield Fault(
            "policy.mode", "nobody is refused: whatever fails is only told", 'write "enforce" when the logs are quiet'
        )
    if document.anchors.source == "system":
        yield Fault(
            "anchors.source",
            "the store of this machine: whoever administers it, and any product that installed a root of its own, can "
            "vouch for an upstream as far as the other rules let them",
            'write "certifi", or the path of a PEM file of your choice',
        )
    if document.tls.minimum_version != "TLSv1.3":
        yield Fault(
            "tls.minimum_version", "TLS 1.2 shows the certificate to whoever listens", 'write "TLSv1.3" if you can'
        )
    yield from _warnings_of_ct(document, own, base)
    yield from _warnings_of_issuers(document, own)
    yield from _warnings_of_pins(document)
    if document.revocation.check is Revocation.OFF:
        yield Fault("revocation.check", "a certificate that its CA calls revoked is accepted", 'write "if-stapled"')
    if document.revocation.check is Revocation.REQUIRE_STAPLE:
        problem = "many CAs have ended their OCSP service: an upstream that changes to one of them is refused"
        yield Fault("revocation.check", problem, 'write "if-stapled" unless your upstream promises a staple')


def _warnings_of_ct(document: PolicyTables, own: Tables, base: Tables) -> Iterator[Fault]:
    table = document.ct
    if not table.required:
        problem = "no public log needs to know the certificate: a CA that errs or is forced can issue one unseen"
        yield Fault("ct.required", problem, "write true, unless the upstream's CA is a private one that logs nothing")
        for key, value in own.get("ct", {}).items():
            if key != "required" and value != base["ct"][key]:
                yield Fault(f"ct.{key}", "means nothing where ct.required = false", "take it out")
        return
    for key, least, cost in _CHROME:
        if getattr(table, key) < least:
            yield Fault(f"ct.{key}", f"{getattr(table, key)} is less than Chrome's {least}: {cost}", f"write {least}")
    if table.long_lifetime_days > 180:
        problem = (
            f"{table.long_lifetime_days} is more than Chrome's 180: fewer certificates need the larger number of SCTs"
        )
        yield Fault("ct.long_lifetime_days", problem, "write 180")
    if table.future_tolerance_seconds > _LONG_TOLERANCE:
        problem = f"SCTs from {table.future_tolerance_seconds} s ahead are believed, more than {_LONG_TOLERANCE}"
        yield Fault("ct.future_tolerance_seconds", problem, "write 300, and let NTP set the clock")
    yield from _warnings_of_age(table.when_stale)


def _warnings_of_age(when_stale: WhenStale) -> Iterator[Fault]:
    """What a stale log list does; the shipped choice lies between the two."""
    known = 'write "known-leaves"'
    if when_stale is WhenStale.REPORT:
        problem = f"a list of {STALE_AGE.days} days and more judges on: a log that was distrusted since counts still"
        yield Fault("ct.when_stale", problem, known)
    if when_stale is WhenStale.REFUSE:
        problem = f"{STALE_AGE.days} days without an update of the log list, and no upstream is used any more"
        yield Fault("ct.when_stale", problem, f"{known}, unless the list is updated by itself")


def _warnings_of_issuers(document: PolicyTables, own: Tables) -> Iterator[Fault]:
    allow = document.issuers.allow
    deny = document.issuers.deny[: len(own.get("issuers", {}).get("deny", []))]  # those of the file stand first
    if len(allow) > _MANY_ISSUERS:
        problem = f"{len(allow)} keys: each can issue for your upstreams, and one is enough to err"
        yield Fault("issuers.allow", problem, "keep the CAs that your upstreams really use")
    denied = {entry.spki_sha256.lower(): entry.reason for entry in document.issuers.deny if entry.spki_sha256}
    for key, entries in (("issuers.allow", allow), ("pins.spki_sha256", document.pins.spki_sha256)):
        for index, entry in enumerate(entries):
            if reason := denied.get(entry.spki_sha256.lower()):
                yield Fault(f"{key}[{index}]", f"denied as well, and the denial wins: {reason}", "take it out here")
        yield from _odd_hashes(
            (f"{key}[{index}].spki_sha256", entry.spki_sha256) for index, entry in enumerate(entries)
        )
        yield from _twice(key, [_key_of(entry) for entry in entries])
    for index, denial in enumerate(deny):
        hashes = {name: getattr(denial, name) for name in ("spki_sha256", "certificate_sha256", "issuer_spki_sha256")}
        yield from _odd_hashes((f"issuers.deny[{index}].{name}", value) for name, value in hashes.items() if value)
        if denial.certificate_sha256:
            yield Fault(
                f"issuers.deny[{index}].certificate_sha256",
                "the holder of a certificate signed with ECDSA can change its hash",
                "deny its serial number: write issuer_spki_sha256 and serial",
            )
    yield from _twice("issuers.deny", [_key_of(entry) for entry in deny])


def _warnings_of_pins(document: PolicyTables) -> Iterator[Fault]:
    pins = {pin.spki_sha256.lower() for pin in document.pins.spki_sha256}
    if not pins:
        if document.pins.report_only:
            yield Fault(
                "pins.report_only", "means nothing without pins", "take it out, or name keys in pins.spki_sha256"
            )
        return
    if not pins & {entry.spki_sha256.lower() for entry in document.issuers.allow}:
        problem = "none of these is the key of an allowed CA: when the upstream takes new keys it is refused"
        yield Fault("pins.spki_sha256", problem, "pin the key of its CA, too, or watch for its announcements")


def _odd_hashes(hashes: Iterable[tuple[str, str]]) -> Iterator[Fault]:
    """Values that are no hash of anything that anybody has."""
    for key, value in hashes:
        if value.lower() == _OF_NOTHING:
            yield Fault(key, "the SHA-256 of no octets: the command that should have fed it failed", "hash it again")
        elif len(set(value.lower())) <= 2:
            yield Fault(key, f'"{value[:8]}…" looks like no hash of a key', "write the hash of the key that you mean")


def _twice(key: str, entries: list[tuple[str | None, ...]]) -> Iterator[Fault]:
    """Entries that say what one before them says."""
    seen: Counter[tuple[str | None, ...]] = Counter()
    for index, entry in enumerate(entries):
        seen[entry] += 1
        if seen[entry] == 2:
            yield Fault(f"{key}[{index}]", f"says the same as {key}[{entries.index(entry)}]", "keep one of them")


def _key_of(entry: NamedKey | DenyEntry) -> tuple[str | None, ...]:
    """What an entry speaks of, whatever it is called."""
    if isinstance(entry, NamedKey):
        return (entry.spki_sha256.lower(),)
    serial = None if entry.serial is None else f"{int(entry.serial, 16):x}"
    hashes = (entry.spki_sha256, entry.certificate_sha256, entry.issuer_spki_sha256)
    return (*(value and value.lower() for value in hashes), serial)
