"""The policy file: octets in, a `PolicyFile` or `ConfigError` out. PURE: no file is opened here.

`read_policy()` reads the administrator's file on top of the shipped one (stubresolver/data/policy.toml, of which
conf/policy.toml is a copy): a key that the file leaves out has the shipped value, so each default stands in one place,
with its reason. `read_layers()` does so with several files, each on top of the one before. Unknown keys, wrong types,
demands of nothing and demands that contradict each other are errors; a policy that does not read is no policy.
"""

import functools
import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

import msgspec

from stubresolver.ct import CTPolicy
from stubresolver.errors import ConfigError
from stubresolver.verify.issuers import Denied, IssuerPolicy
from stubresolver.verify.pins import MINIMUM_PINS, PinPolicy
from stubresolver.verify.policy import Policy, Revocation, TlsVersion
from stubresolver.verify.policy_schema import CtTable, DenyEntry, IssuersTable, PolicyTables
from stubresolver.verify.toml_lines import key_lines, line_of
from stubresolver.verify.verdict import Mode
from stubresolver.verify.wording import Fault, fault, shown

Tables = dict[str, dict[str, Any]]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Layer:
    """A file that is laid over a policy."""

    octets: bytes
    file: str  # as it is named to a person
    beside: frozenset[str] = frozenset()  # keys of it that are somebody else's to read

    def tables(self) -> Tables:
        """What it says of the policy; raises `Fault`."""
        return {key: value for key, value in read_tables(self.octets).items() if key not in self.beside}


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
    anchors_file: str = ""  # the file that says so; "" for the shipped one

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


def read_policy(shipped: bytes, own: bytes | None, file: str) -> PolicyFile:
    """Read a policy: `own` (the octets of `file`, None for none) on top of `shipped`; raises `ConfigError`."""
    return read_layers(Layer(shipped, file), () if own is None else (Layer(own, file),))


def read_layers(shipped: Layer, layers: Sequence[Layer]) -> PolicyFile:
    """Read a policy of several files, each on top of those before it; raises `ConfigError`.

    A key in a file replaces what stood there before, with one exception: `issuers.deny` adds to it, so that a file that
    was written before a CA went wrong does not bring that CA back.
    """
    tables = base = _read(shipped, shipped.tables)
    document, anchors_file = _read(shipped, lambda: _agreeing(base, base)), ""
    for layer in layers:
        own = _read(layer, layer.tables)
        tables = _read(layer, functools.partial(laid_over, tables, own))
        document = _read(layer, functools.partial(_agreeing, tables, base))
        if "source" in own.get("anchors", {}):
            anchors_file = layer.file
    return replace(_policy_file(document), anchors_file=anchors_file)


def read_policy_tables(octets: bytes, file: str) -> Tables:
    """What stands in a policy file, whatever it is; raises `ConfigError`."""
    return _read(Layer(octets, file), lambda: read_tables(octets))


def read_tables(octets: bytes) -> Tables:
    """The tables of a TOML file; raises `Fault` with the parser's line."""
    try:
        return tomllib.loads(octets.decode("utf-8"))
    except UnicodeDecodeError as error:
        before = octets[: error.start].count(b"\n")
        raise Fault("", f"not UTF-8 text (octet {error.start})", "save the file as UTF-8", before + 1) from None
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, and numbers or nesting beyond Python's limits
        known = isinstance(error, tomllib.TOMLDecodeError)
        text = str(error) if known else "a number or a nesting beyond every measure"
        place = re.search(r"\(at line (\d+)", text)
        line = int(place[1]) if place else octets.rstrip().count(b"\n") + 1 if "(at end" in text else None
        twice = "Cannot overwrite" in text or "Cannot declare" in text
        remedy = (
            "it stands there twice: keep one" if twice else 'write [table] above lines of key = value, text in "quotes"'
        )
        raise Fault("", f"not TOML: {text}", remedy, line) from None


def laid_over(base: Tables, own: Tables) -> Tables:
    """The tables of a file on top of the shipped ones; raises `Fault` where one is no table."""
    tables = dict(base)
    for section, values in own.items():
        if section not in base:
            homes = [table for table, known in base.items() if section in known]
            remedy = f"write [{homes[0]}] above it" if homes else f"take it out; the tables are {', '.join(base)}"
            raise Fault(section, "unknown key outside of its table" if homes else "unknown key", remedy)
        if not isinstance(values, dict):
            raise Fault(
                section, f"expected a table [{section}], got {shown(values)}", f"write [{section}] above its keys"
            )
        shipped = base[section]
        tables[section] = {**shipped, **values}
        kept, added = shipped.get("deny"), values.get("deny")
        if isinstance(kept, list) and isinstance(added, list):
            # those of the file first, so that an error names the entry by its place there
            tables[section]["deny"] = added + [entry for entry in kept if entry not in added]
    return tables


def convert(tables: Tables, shipped: Tables) -> PolicyTables:
    """The tables as values of their types; raises `Fault`."""
    try:
        return msgspec.convert(tables, PolicyTables)
    except msgspec.ValidationError as error:
        raise fault(error, tables, PolicyTables, shipped) from None


def contradictions(document: PolicyTables) -> Iterator[Fault]:
    """Demands that cannot be meant together, and entries that do not say one thing."""
    yield from _contradictions_of_ct(document.ct)
    if document.tls.require_post_quantum and document.tls.minimum_version != "TLSv1.3":
        problem = (
            f'"{document.tls.minimum_version}" contradicts tls.require_post_quantum: hybrids with ML-KEM need TLSv1.3'
        )
        yield Fault(
            "tls.minimum_version", problem, 'write minimum_version = "TLSv1.3", or require_post_quantum = false'
        )
    bad = False
    for index, entry in enumerate(document.issuers.deny):
        try:
            _denied(entry)
        except ValueError as error:
            bad = True
            yield Fault(f"issuers.deny[{index}]", str(error), "keep one of the three in this entry, and only that")
    denied = set() if bad else {entry.spki_sha256 for entry in _issuers(document.issuers).denied}
    for key, entries in (("issuers.allow", document.issuers.allow), ("pins.spki_sha256", document.pins.spki_sha256)):
        if entries and all(bytes.fromhex(entry.spki_sha256) in denied for entry in entries):
            yield Fault(key, "every key here is on the deny-list, which would refuse everything", "name another key")
    pins = {pin.spki_sha256.lower() for pin in document.pins.spki_sha256}
    if 0 < len(pins) < MINIMUM_PINS:
        problem = f"got {len(pins)} pinned key, expected at least {MINIMUM_PINS} different ones: one is the backup"
        yield Fault(
            "pins.spki_sha256", problem, "add the key that takes over when this one is lost, or pin nothing: []"
        )


def _read(layer: Layer, step: Callable[[], _T]) -> _T:
    """One step of reading a layer, its fault told with file, key and line: raises `ConfigError`."""
    try:
        return step()
    except Fault as problem:
        line = problem.line
        if problem.key and not line:  # without a key the text may be no TOML, and has no lines to look for
            line = line_of(key_lines(layer.octets.decode()), problem.key)
        where = f"line {line}: " if line else ""
        raise ConfigError(layer.file, problem.key, f"{where}{problem.problem}; {problem.remedy}") from None


def _agreeing(tables: Tables, shipped: Tables) -> PolicyTables:
    """The tables as values that can be meant together; raises `Fault` for the first thing that is wrong."""
    document = convert(tables, shipped)
    for problem in contradictions(document):
        raise problem  # the first; `lint` tells all
    return document


def _contradictions_of_ct(table: CtTable) -> Iterator[Fault]:
    if table.minimum_scts_long < table.minimum_scts:
        yield Fault(
            "ct.minimum_scts_long",
            f"got {table.minimum_scts_long}, expected at least ct.minimum_scts ({table.minimum_scts}): "
            "a longer life never needs fewer SCTs",
            f"write minimum_scts_long = {table.minimum_scts}",
        )
    for key, value in (("minimum_operators", table.minimum_operators), ("minimum_current", table.minimum_current)):
        if value > table.minimum_scts:
            problem = f"got {value}, expected at most ct.minimum_scts ({table.minimum_scts})"
            yield Fault(f"ct.{key}", problem, f"write {key} = {table.minimum_scts}, or minimum_scts = {value} too")


def _policy_file(document: PolicyTables) -> PolicyFile:
    """The values of a document without contradictions."""
    ct, pins = document.ct, document.pins
    return PolicyFile(
        anchors=document.anchors.source,
        issuers=_issuers(document.issuers),
        ct=CTPolicy(
            minimum_scts=ct.minimum_scts,
            minimum_scts_long=ct.minimum_scts_long,
            long_lifetime=timedelta(days=ct.long_lifetime_days),
            minimum_operators=ct.minimum_operators,
            minimum_current=ct.minimum_current,
            future_tolerance=timedelta(seconds=ct.future_tolerance_seconds),
            when_stale=ct.when_stale,
            proof=ct.proof,
        )
        if ct.required
        else None,
        minimum_tls=document.tls.minimum_version,
        mode=document.policy.mode,
        pins=PinPolicy({bytes.fromhex(pin.spki_sha256): pin.name for pin in pins.spki_sha256}, pins.report_only)
        if pins.spki_sha256
        else None,
        require_post_quantum=document.tls.require_post_quantum,
        revocation=document.revocation.check,
    )


def _issuers(table: IssuersTable) -> IssuerPolicy:
    allowed = {bytes.fromhex(entry.spki_sha256): entry.name for entry in table.allow}
    return IssuerPolicy(allowed, tuple(_denied(entry) for entry in table.deny))


def _denied(entry: DenyEntry) -> Denied:
    """One entry of the deny-list; raises ValueError where it names nothing, or more than one thing."""
    return Denied(
        reason=entry.reason,
        spki_sha256=_octets(entry.spki_sha256),
        certificate_sha256=_octets(entry.certificate_sha256),
        issuer_spki_sha256=_octets(entry.issuer_spki_sha256),
        serial=None if entry.serial is None else int(entry.serial, 16),
    )


def _octets(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)
