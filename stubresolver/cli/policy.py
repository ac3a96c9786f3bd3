"""`stubresolver policy`: what is demanded, where it is said, whether a file says it well; and how to change it."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from stubresolver.cli.common import config_option, json_option, policy_option
from stubresolver.cli.judges import policy_source_of
from stubresolver.cli.policy_allow import allow
from stubresolver.cli.policy_deny import deny
from stubresolver.cli.policy_values import FROM_SHIPPED, Value, effective
from stubresolver.cli.shown import make_table
from stubresolver.config import (
    PROFILE_KEYS,
    LoadedPolicy,
    PolicySource,
    is_profile,
    load_policy_file,
    load_settings,
    parse_profile,
    policy_layers,
    read_file,
    read_shipped,
)
from stubresolver.errors import ConfigError
from stubresolver.verify import Mode, Problem, Severity, key_lines, line_of, lint

_BAD = 2


@click.group("policy", short_help="What is demanded and where that is said; check a policy file; deny, allow.")
def command() -> None:
    """The policy: what is demanded of an upstream before one octet of a query is sent to it.

    A policy file is laid over the shipped policy: it needs only what differs. docs/policy.md explains each rule.

    \b
    Examples:
      stubresolver policy show
      stubresolver policy lint mine.toml
      stubresolver policy deny --chain bad.pem --reason 'its key was published'
      stubresolver policy allow --from-evidence 3f9a1c

    Exit status: 0 done, 1 not changed, 2 bad input or an error in a policy file.
    """  # noqa: D301 - \b tells click to keep the lines that follow


command.add_command(deny)
command.add_command(allow)


@command.command("show", short_help="Every value in force, and where it comes from.")
@policy_option
@config_option
@json_option
def show(*, policy_file: Path | None, config_file: Path | None, as_json: bool) -> None:
    """Show every effective value and where it comes from, for each policy that an upstream is judged by.

    Exit status: 0 done, 2 an error in the configuration or in a policy file.
    """
    settings = load_settings(config_file)
    judged: dict[PolicySource, list[str]] = {}
    if policy_file is not None:
        judged[PolicySource(policy_file)] = []
    for upstream in () if policy_file is not None else map(str, settings.all_upstreams):
        judged.setdefault(policy_source_of(settings, upstream), []).append(upstream)
    console = Console(highlight=False)
    for source, upstreams in judged.items():
        loaded = load_policy_file(source.file, profile=source.profile)
        values = effective(policy_layers(source.file, source.profile))
        if as_json:
            click.echo(json.dumps(_jsonable(source, loaded, upstreams, values), ensure_ascii=False))
        else:
            told = "all upstreams" if upstreams and len(judged) == 1 else ", ".join(upstreams)
            _show(console, source, loaded, told or "nobody: it was only named here", values)


@command.command("lint", short_help="What is wrong with a policy file, or risky in it.")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def lint_file(*, file: Path, as_json: bool) -> int:
    """Say what is wrong with a policy FILE, or risky in it: each with its line, its key and what to do.

    Exit status: 0 no errors (there may be warnings), 2 an error: such a file is not taken over.
    """
    octets = read_file(file, "")
    beside = PROFILE_KEYS if is_profile(octets) else frozenset()
    problems = lint(octets, str(file), read_shipped("policy.toml"), beside)
    bad = any(problem.severity is Severity.ERROR for problem in problems)
    if not bad and (other := _problem_beside(file, octets)):
        problems, bad = [other, *problems], True
    for problem in problems:
        click.echo(json.dumps(asdict(problem), ensure_ascii=False) if as_json else str(problem))
    if not problems and not as_json:
        click.echo(f"{file}: no errors, no warnings")
    return _BAD if bad else 0


def _problem_beside(file: Path, octets: bytes) -> Problem | None:
    """What is wrong with a file whose policy is good: with its provider's upstreams, or with where its anchors are."""
    remedy = "write it as in conf/quad9.toml"
    try:
        profile = parse_profile(octets, str(file), file) if is_profile(octets) else None
        remedy = 'name a PEM file that is there, counted from the folder of this one, or write "certifi"'
        load_policy_file(None if profile else file, profile=profile)
    except ConfigError as error:
        line = line_of(key_lines(octets.decode()), error.key)
        return Problem(Severity.ERROR, str(file), line, error.key, error.problem, remedy)
    return None


def _jsonable(
    source: PolicySource, loaded: LoadedPolicy, upstreams: Sequence[str], values: Sequence[Value]
) -> dict[str, Any]:
    """One policy for machines."""
    return {
        "policy": loaded.policy.digest,
        "file": str(source.file) if source.file else None,
        "provider": source.profile.name if source.profile else None,
        "provider_file": str(source.profile) if source.profile else None,
        "upstreams": upstreams,
        "mode": loaded.policy.mode.value,
        "anchors": {"source": loaded.anchors, "certificates": len(loaded.policy.anchors)},
        "values": [asdict(value) for value in values],
    }


def _show(console: Console, source: PolicySource, loaded: LoadedPolicy, judged: str, values: Sequence[Value]) -> None:
    """One policy for people."""
    policy = loaded.policy
    layered = source != PolicySource()
    title = f"{loaded.source}, on top of the shipped policy" if layered else "the shipped policy"
    console.print(Text(title, style="bold"), soft_wrap=True)
    for label, text in (
        ("whose", source.profile.name if source.profile else ""),
        ("judges", judged),
        ("digest", policy.digest),
        ("anchors", f"{len(policy.anchors)} certificates ({loaded.anchors})"),
        ("ct", "demanded" if policy.ct is not None else "off"),
    ):
        if text:
            console.print(Text.assemble((f"  {label:<8}", "dim"), text), soft_wrap=True)
    if loaded.warning:
        console.print(Text(f"  {loaded.warning}", style="yellow"), soft_wrap=True)
    if policy.mode is Mode.REPORT:
        console.print(Text("  REPORT MODE: whatever fails is only told, nobody is refused", style="bold yellow"))
    table = make_table("", "Key", "Value", "From")
    for value in values:
        table.add_row(Text(value.key), Text(_told(value.value)), Text(value.source, style=_style(value)))
    console.print(table)


def _told(value: Any) -> str:
    """A value on one line: an entry of a list by its name and what it speaks of."""
    if not isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    words = [str(value.get("name") or value.get("reason"))]
    for key, label in (
        ("spki_sha256", "key"),
        ("certificate_sha256", "certificate"),
        ("serial", "serial"),
        ("issuer_spki_sha256", "of the issuer's key"),
    ):
        if key in value:
            words.append(f"{label} {value[key] if key == 'serial' else value[key][:16] + '…'}")
    return "  ".join(words)


def _style(value: Value) -> str:
    return "dim" if value.source == FROM_SHIPPED else ""
