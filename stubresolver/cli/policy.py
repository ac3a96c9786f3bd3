"""`stubresolver policy`: what is demanded, where it is said, whether a file says it well; and how to change it."""

import json
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from stubresolver.cli.common import config_option, json_option, policy_file_of, policy_option
from stubresolver.cli.policy_allow import allow
from stubresolver.cli.policy_deny import deny
from stubresolver.cli.shown import make_table
from stubresolver.config import LoadedPolicy, load_policy, load_policy_file, load_settings, read_file, read_shipped
from stubresolver.errors import ConfigError
from stubresolver.verify import Mode, Problem, Severity, key_lines, line_of, lint

_SHIPPED = "shipped"
_BAD = 2


@dataclass(frozen=True, slots=True)
class Value:
    """One effective value, or one entry of a list."""

    key: str  # dotted path, with the entry's place in its list
    value: Any  # as TOML has it
    source: str  # "shipped", or FILE:LINE


@click.group("policy", short_help="What is demanded and where that is said; check a policy file; deny, allow.")
def command() -> None:
    """The policy: what is demanded of an upstream before one octet of a query is sent to it.

    A policy file is laid over the shipped policy: it needs only what differs. docs/policy.md explains each rule.

    \b
    Examples:
      stubresolver policy show                            every value in force, and where it comes from
      stubresolver policy lint mine.toml                  errors and risky choices, each with its line
      stubresolver policy deny --chain bad.pem --reason 'key published on 2026-11-20'
      stubresolver policy allow --from-evidence 3f9a1c    allow the issuer that was refused, after a look at it

    Exit status: 0 done, 1 not changed, 2 bad input or an error in a policy file.
    """  # noqa: D301 - \b tells click to keep the lines that follow


command.add_command(deny)
command.add_command(allow)


@command.command("show")
@policy_option
@config_option
@json_option
def show(*, policy_file: Path | None, config_file: Path | None, as_json: bool) -> None:
    """Show every effective value and where it comes from, for each policy that an upstream is judged by.

    Exit status: 0 done, 2 an error in the configuration or in a policy file.
    """
    settings = load_settings(config_file)
    judged: dict[Path | None, list[str]] = {}
    if policy_file is not None:
        judged[policy_file] = []
    for upstream in () if policy_file is not None else map(str, settings.all_upstreams):
        judged.setdefault(policy_file_of(settings, upstream), []).append(upstream)
    console = Console(highlight=False)
    for file, upstreams in judged.items():
        loaded = load_policy_file(file)
        policy = loaded.policy
        values = effective(read_file(file, "trust.policy") if file else b"", str(file))
        if as_json:
            facts = {
                "policy": policy.digest,
                "file": str(file) if file else None,
                "upstreams": upstreams,
                "mode": policy.mode.value,
                "anchors": {"source": loaded.anchors, "certificates": len(policy.anchors)},
                "values": [asdict(value) for value in values],
            }
            click.echo(json.dumps(facts, ensure_ascii=False))
        else:
            _show(console, file, loaded, upstreams, values, everybody=len(judged) == 1)


@command.command("lint")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def lint_file(*, file: Path, as_json: bool) -> int:
    """Say what is wrong with a policy FILE, or risky in it: each with its line, its key and what to do.

    Exit status: 0 no errors (there may be warnings), 2 an error: such a file is not taken over.
    """
    octets = read_file(file, "")
    problems = lint(octets, str(file), read_shipped("policy.toml"))
    bad = any(problem.severity is Severity.ERROR for problem in problems)
    if not bad and (missing := _anchors_problem(file, octets)):
        problems, bad = [missing, *problems], True
    for problem in problems:
        click.echo(json.dumps(asdict(problem), ensure_ascii=False) if as_json else str(problem))
    if not problems and not as_json:
        click.echo(f"{file}: no errors, no warnings")
    return _BAD if bad else 0


def effective(own: bytes, name: str) -> list[Value]:
    """Every value of a policy that reads, in the order of the shipped file; `own` is the file `name` on top of it."""
    text = own.decode()
    lines, tables = key_lines(text), tomllib.loads(text)
    values = []
    for section, shipped in tomllib.loads(read_shipped("policy.toml").decode()).items():
        for key, default in shipped.items():
            path, given = f"{section}.{key}", key in tables.get(section, {})
            value = tables[section][key] if given else default
            if isinstance(value, list) and value:
                values += [
                    Value(
                        f"{path}[{index}]", entry, f"{name}:{line_of(lines, f'{path}[{index}]')}" if given else _SHIPPED
                    )
                    for index, entry in enumerate(value)
                ]
            else:
                values.append(Value(path, value, f"{name}:{line_of(lines, path)}" if given else _SHIPPED))
            if given and path == "issuers.deny":  # the shipped ones stay, whatever a file says
                added = [entry for entry in default if entry not in value]
                start = len(value)
                values += [Value(f"{path}[{start + index}]", entry, _SHIPPED) for index, entry in enumerate(added)]
    return values


def _anchors_problem(file: Path, octets: bytes) -> Problem | None:
    """What is wrong with where the anchors of an otherwise good file come from."""
    try:
        load_policy(file)
    except ConfigError as error:
        line = line_of(key_lines(octets.decode()), error.key)
        remedy = 'name a PEM file that is there, counted from the folder of this one, or write "certifi"'
        return Problem(Severity.ERROR, str(file), line, error.key, error.problem, remedy)
    return None


def _show(
    console: Console,
    file: Path | None,
    loaded: LoadedPolicy,
    upstreams: list[str],
    values: list[Value],
    *,
    everybody: bool,
) -> None:
    """One policy for people."""
    policy = loaded.policy
    title = f"{file}, on top of the shipped policy" if file else "the shipped policy"
    console.print(Text(title, style="bold"), soft_wrap=True)
    judged = "all upstreams" if everybody and upstreams else ", ".join(upstreams) or "nobody: it was only named here"
    for label, text in (
        ("judges", judged),
        ("digest", policy.digest),
        ("anchors", f"{len(policy.anchors)} certificates ({loaded.anchors})"),
        ("ct", "demanded" if policy.ct is not None else "off"),
    ):
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
    return "dim" if value.source == _SHIPPED else ""
