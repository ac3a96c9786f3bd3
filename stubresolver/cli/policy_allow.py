"""`stubresolver policy allow`: an issuer that was refused, looked at and put on the allow-list."""

import contextlib
import tomllib
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from stubresolver.cli.common import config_option, find_kept, yes_option
from stubresolver.cli.judges import policy_source_of
from stubresolver.cli.policy_change import changed, details, open_target, target_option, write_change
from stubresolver.cli.shown import clean, make_table, verdict_line
from stubresolver.cli.toml_edit import Entry
from stubresolver.config import load_settings
from stubresolver.errors import BadInput
from stubresolver.exported import Exported
from stubresolver.verify import Outcome, PathCertificate, Policy, Rule, UnreadableCertificate, Verdict
from stubresolver.verify.certificate import Certificate, read_certificate


@click.command("allow", short_help="Put an issuer that was refused on the allow-list.")
@click.option("--from-evidence", "identity", metavar="ID", required=True, help="The record of a refused upstream.")
@click.option(
    "--at",
    "place",
    type=click.Choice(["issuer", "root"]),
    default="issuer",
    show_default=True,
    help="Whose key: the CA that issued the certificate, or the root, as in the shipped list.",
)
@target_option
@config_option
@yes_option
def allow(*, identity: str, place: str, policy_file: Path | None, config_file: Path | None, yes: bool) -> int:
    """Put the issuer that was refused in a record of the evidence on the allow-list of the policy file.

    Shows who that is, who stands above it and what the record would be judged then, asks, and writes the file whole;
    the file before stays beside it as FILE~. The issuer may then issue for every upstream that the file judges.

    \b
    Examples:
      stubresolver evidence list --refused
      stubresolver policy allow --from-evidence 3f9a1c

    Exit status: 0 allowed (or was before), 1 not changed because you said no, 2 bad input.
    """  # noqa: D301 - \b tells click to keep the lines that follow
    settings = load_settings(config_file)
    exported = find_kept(settings, identity)
    target = open_target(policy_file, policy_source_of(settings, exported.upstream))
    verdict = exported.judge(policy=target.policy)
    console = Console(highlight=False)
    console.print(
        Text.assemble(clean(exported.upstream, "bold"), f", judged for {verdict.at:%Y-%m-%d %H:%M:%S}Z by this policy:")
    )
    console.print(verdict_line(verdict))
    if passed := details(verdict, Rule.ISSUER_ALLOWED, Outcome.PASS):
        console.print(Text(f"its issuer is allowed already: {passed[0]}"))
        return 0
    authority = _refused_authority(verdict, place)
    _show_authorities(console, verdict, authority, (*exported.presented.chain, *target.policy.anchors))
    entries: list[Entry] = [{"name": authority.subject, "spki_sha256": authority.spki_sha256}]
    if not _has_allow_list(target.octets):
        known = _allowed(target.policy)
        console.print(
            f"{target.path} has no allow-list of its own, and one would take the place of the one in force: its "
            f"{len(known)} keys are written into it, too.",
            markup=False,
        )
        entries = [*known, *entries]
    change = changed(target, "allow", entries)
    _tell_outcome(console, exported, change.policy)
    return write_change(console, settings, target, change, "Allow it?", yes=yes)


def _refused_authority(verdict: Verdict, place: str) -> PathCertificate:
    """The CA of the verified path to allow; raises `BadInput` where allowing it would not help."""
    if len(verdict.path) < 2:
        reason = next(iter(details(verdict, Rule.PATH_VALID, Outcome.FAIL)), "the path has no CA")
        raise BadInput(f"there is no valid path, and no issuer to allow: {reason}")
    if denied := details(verdict, Rule.ISSUER_DENIED, Outcome.FAIL):
        raise BadInput(f"on the deny-list, which outweighs the allow-list: {denied[0]}")
    return verdict.path[1 if place == "issuer" else -1]


def _has_allow_list(octets: bytes | None) -> bool:
    return octets is not None and "allow" in tomllib.loads(octets.decode()).get("issuers", {})


def _allowed(policy: Policy) -> list[Entry]:
    """The allow-list in force, as a file has it."""
    allowed = policy.issuers.allowed if policy.issuers is not None else None
    return [{"name": name, "spki_sha256": key.hex()} for key, name in (allowed or {}).items()]


def _tell_outcome(console: Console, exported: Exported, policy: Policy) -> None:
    """What the record would be judged by the changed policy."""
    verdict = exported.judge(policy=policy)
    console.print(Text("With it, the same judgement would be:"))
    console.print(verdict_line(verdict))
    if not verdict.connects:
        console.print(Text("Allowing the issuer alone does not suffice.", style="yellow"))


def _show_authorities(console: Console, verdict: Verdict, chosen: PathCertificate, known: tuple[bytes, ...]) -> None:
    """The CAs of the verified path, from the issuer up, and which of them would be allowed."""
    starts = {found.sha256: found.not_before for found in _readable(known)}
    table = make_table("Who issued it, and who stands above", "", "CA", "Valid", "Key (SPKI SHA-256)")
    for certificate in verdict.path[1:]:
        since = f"{starts[certificate.sha256]:%Y-%m-%d}" if certificate.sha256 in starts else "?"
        mark = Text("to allow", style="bold") if certificate is chosen else Text()
        valid = f"{since} to {certificate.not_after[:10]}"
        table.add_row(mark, clean(certificate.subject), valid, certificate.spki_sha256)
    console.print(table)


def _readable(known: tuple[bytes, ...]) -> list[Certificate]:
    """Those of some certificates that can be read: a peer may show anything beside its chain."""
    found = []
    for der in known:
        with contextlib.suppress(UnreadableCertificate):
            found.append(read_certificate(der))
    return found
