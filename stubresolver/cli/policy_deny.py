"""`stubresolver policy deny`: a certificate, or a key, that is refused whoever else vouches for it."""

import contextlib
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from stubresolver.cli.common import config_option, open_kept_evidence, yes_option
from stubresolver.cli.policy_change import Change, Target, changed, open_target, target_option, write_change
from stubresolver.cli.toml_edit import Entry, inline_table
from stubresolver.config import PolicySource, Settings, load_settings, read_file
from stubresolver.errors import BadInput, EvidenceError
from stubresolver.verify import Denied, Policy, UnreadableCertificate, certificates_from_pem
from stubresolver.verify.certificate import Certificate, read_certificate
from stubresolver.verify.path import PathVerifier

_MAXIMUM_PATH = 10  # certificates, as in the judgement

# What an entry of each kind means, for whoever has to decide.
_MEANS = {
    "serial": "This one certificate of this issuer, whatever its encoding. Others of the same key are not denied.",
    "key": "Every certificate of this key, and every path that it stands in.",
    "certificate": "These very octets; the holder of an ECDSA-signed certificate can change them: prefer --by serial.",
}


@click.command("deny", short_help="Put a certificate on the deny-list.")
@click.option(
    "--chain",
    "chain_file",
    type=click.Path(path_type=Path),
    required=True,
    help="A PEM file with the chain, leaf first.",
)
@click.option("--reason", required=True, help="Why, for whoever reads the refusal.")
@click.option(
    "--by",
    type=click.Choice(["serial", "key", "certificate"]),
    default="serial",
    show_default=True,
    help="What to deny it by: its serial number and its issuer's key, its own key, or its hash.",
)
@click.option(
    "--at",
    "place",
    type=click.Choice(["leaf", "issuer", "root"]),
    default="leaf",
    show_default=True,
    help="Which certificate of the chain.",
)
@target_option
@config_option
@yes_option
def deny(
    *,
    chain_file: Path,
    reason: str,
    by: str,
    place: str,
    policy_file: Path | None,
    config_file: Path | None,
    yes: bool,
) -> int:
    """Put a certificate on the deny-list of the policy file: it is refused whoever else vouches for it.

    Shows what would be denied, asks, and writes the file whole; the file before stays beside it as FILE~. What is on
    the list already is not added again. The service takes it over on `stubresolver reload`.

    \b
    Examples:
      stubresolver policy deny --chain bad.pem --reason 'revoked on 2026-11-20: key compromise'
      stubresolver policy deny --chain bad.pem --at issuer --by key --reason 'this CA issued without permission'

    Exit status: 0 denied (or was before), 1 not changed because you said no, 2 bad input.
    """  # noqa: D301 - \b tells click to keep the lines that follow
    if not reason.strip() or not reason.isprintable():
        raise BadInput(f"--reason {reason!r}: expected one line of text, for whoever reads the refusal")
    settings = load_settings(config_file)
    target = open_target(policy_file, PolicySource(settings.policy_file))
    found = _climb(_read_chain(chain_file), target.policy)
    certificate, issuer = _pick(found, place, str(chain_file))
    entry = _deny_entry(certificate, issuer, by, reason)
    console = Console(highlight=False)
    _show_certificate(console, certificate)
    if known := _denies(target.policy, entry, certificate):
        console.print(Text(f"denied already: {known.reason}"))
        return 0
    change = changed(target, "deny", [entry])
    console.print(Text(_MEANS[by]))
    console.print(Text(inline_table(entry), style="dim"), soft_wrap=True)
    _tell_consequences(console, settings, target, change)
    return write_change(console, settings, target, change, "Deny it?", yes=yes)


def _read_chain(path: Path) -> list[Certificate]:
    try:
        return [read_certificate(der) for der in certificates_from_pem(read_file(path, ""))]
    except UnreadableCertificate as error:
        raise BadInput(f"{path}: {error}") from None


def _climb(chain: list[Certificate], policy: Policy) -> list[Certificate]:
    """The leaf, who signed it, who signed that, among file and anchors; by the signatures, not by the file's order."""
    paths = PathVerifier(policy.anchors)
    found = [chain[0]]
    while len(found) < _MAXIMUM_PATH:
        issuer = paths.issuer_of(found[-1], chain)
        if issuer is None or issuer in found:
            break
        found.append(issuer)
    return found


def _pick(found: list[Certificate], place: str, name: str) -> tuple[Certificate, Certificate | None]:
    """The certificate at a place of the path, and its issuer (itself for a root), None where that is not known."""
    index = {"leaf": 0, "issuer": 1, "root": len(found) - 1}[place]
    top = found[-1]
    complete = PathVerifier([top.der]).issuer_of(top, [top]) is not None  # it signed itself
    if index >= len(found) or (place == "root" and not complete):
        raise BadInput(
            f"{name}: the {place} of {found[0].subject} is not known: {top.issuer}, which issued {top.subject}, is "
            "neither in the file nor a trust anchor of the policy"
        )
    if index + 1 < len(found):
        return found[index], found[index + 1]
    return found[index], found[index] if complete else None


def _deny_entry(certificate: Certificate, issuer: Certificate | None, by: str, reason: str) -> Entry:
    """The entry that denies a certificate; raises `BadInput` where it cannot be denied in this way."""
    if by == "key":
        return {"reason": reason, "spki_sha256": certificate.spki_sha256.hex()}
    if by == "certificate":
        return {"reason": reason, "certificate_sha256": certificate.sha256}
    if issuer is None:
        raise BadInput(
            f"whose key signed {certificate.subject} is not known: {certificate.issuer} is neither in the file nor a "
            "trust anchor of the policy. Add its certificate to the file, or use --by key"
        )
    if certificate.serial < 0:
        raise BadInput(f"the serial number of {certificate.subject} is negative; use --by key")
    return {"reason": reason, "issuer_spki_sha256": issuer.spki_sha256.hex(), "serial": f"{certificate.serial:x}"}


def _denies(policy: Policy, entry: Entry, certificate: Certificate) -> Denied | None:
    """The entry of the policy that says what `entry` says, or denies the certificate's key and so says more."""
    if policy.issuers is None:
        return None
    for known in policy.issuers.denied:
        by_key = known.spki_sha256 == certificate.spki_sha256
        by_hash = known.certificate_sha256 is not None and known.certificate_sha256.hex() == entry.get(
            "certificate_sha256"
        )
        by_serial = (
            known.issuer_spki_sha256 is not None
            and known.issuer_spki_sha256.hex() == entry.get("issuer_spki_sha256")
            and known.serial == certificate.serial
        )
        if by_key or by_hash or by_serial:
            return known
    return None


def _tell_consequences(console: Console, settings: Settings, target: Target, change: Change) -> None:
    """Whom the change would cut off, as far as evidence knows the upstreams."""
    try:
        store = open_kept_evidence(settings)
    except EvidenceError:
        return
    with contextlib.closing(store):
        for upstream in map(str, settings.all_upstreams):
            for record in store.records(1, allowed=True, upstream=upstream):
                exported = store.export(record.id)
                if exported.judge(policy=target.policy).allowed and not exported.judge(policy=change.policy).allowed:
                    note = f"{upstream} was last allowed with a certificate that this denies: it would be refused."
                    console.print(Text(note, style="bold yellow"), soft_wrap=True)


def _show_certificate(console: Console, certificate: Certificate) -> None:
    for label, text in (
        ("subject", certificate.subject),
        ("issuer", certificate.issuer),
        ("serial", f"{certificate.serial:x}"),
        ("valid", f"{certificate.not_before:%Y-%m-%d} to {certificate.not_after:%Y-%m-%d}"),
        ("key", certificate.spki_sha256.hex()),
        ("sha256", certificate.sha256),
    ):
        console.print(Text.assemble((f"  {label:<9}", "dim"), text), soft_wrap=True)
