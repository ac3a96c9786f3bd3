"""What `policy deny` and `policy allow` share: one entry more in a policy file, shown first, written whole.

The file is edited as text, so that its comments stay, and read again before it takes the old one's place: a change that
would leave a file with an error is not made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from stubresolver.cli.common import confirmed
from stubresolver.cli.files import read_if_there, replace_file
from stubresolver.cli.judges import files_of, policy_source_of
from stubresolver.cli.toml_edit import Entry, append_entries
from stubresolver.config import (
    PROFILE_KEYS,
    SHIPPED,
    PolicySource,
    Settings,
    is_profile,
    load_policy,
    parse_profile,
    policy_layers,
    read_shipped,
)
from stubresolver.errors import BadInput
from stubresolver.verify import Layer, Outcome, Policy, Rule, Severity, Verdict, lint, read_layers

_UNCHANGED = 1
_HEADER = "# A policy of stubresolver, laid over the shipped one. `stubresolver policy show` tells what is in force.\n"

target_option = click.option(
    "--policy",
    "policy_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The policy file to change, instead of the configuration's. Made if it is not there.",
)


@dataclass(frozen=True, slots=True)
class Target:
    """The policy file to change."""

    path: Path
    octets: bytes | None  # None: there is no such file yet
    policy: Policy  # what it says now
    below: tuple[Layer, ...] = ()  # what it is laid over, beside the shipped policy

    @property
    def beside(self) -> frozenset[str]:
        """The keys of it that are no policy's."""
        return PROFILE_KEYS if self.octets is not None and is_profile(self.octets) else frozenset()


@dataclass(frozen=True, slots=True)
class Change:
    """The file as it would be."""

    octets: bytes
    policy: Policy


def open_target(named: Path | None, configured: PolicySource) -> Target:
    """The file to change and what it says now; a file with an error is not changed: raises `ConfigError`.

    Of the files that are configured it is the topmost: what it does not say, and only that, another one says.
    """
    path = named
    below: tuple[Layer, ...] = ()
    if path is None and configured.profile is not None:
        path, below = configured.profile.path, policy_layers(configured.file)
        if path is None:
            raise BadInput(
                f"{configured.profile} is not changed: copy it from conf/ beside your configuration, and name the copy "
                "in `providers`"
            )
    path = path or configured.file
    if path is None:
        raise BadInput(
            "no policy file to change: the shipped policy is in force. Name one with --policy FILE, and in "
            "[trust] policy of the configuration"
        )
    try:
        octets = read_if_there(path)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror or error}") from None
    if octets is None:
        if named is None:
            raise BadInput(f"{path}: not there, although the configuration names it; --policy {path} makes it anew")
        return Target(path, None, load_policy(None))
    if is_profile(octets):
        beneath = configured.file if below else None
        return Target(path, octets, load_policy(beneath, profile=parse_profile(octets, str(path), path)), below)
    return Target(path, octets, load_policy(path))


def changed(target: Target, key: str, entries: Sequence[Entry]) -> Change:
    """The file with the entries in `issuers.KEY`, read again; raises `BadInput` where that would not be right."""
    text = _HEADER if target.octets is None else target.octets.decode()
    name, shipped, beside = str(target.path), read_shipped("policy.toml"), target.beside
    try:
        octets = append_entries(text, "issuers", key, entries).encode()
    except (BadInput, UnicodeEncodeError) as error:
        raise BadInput(f"{name}: {error}") from None
    errors = [problem for problem in lint(octets, name, shipped, beside) if problem.severity is Severity.ERROR]
    if errors:
        raise BadInput(f"nothing was changed, the file would be wrong: {errors[0]}")
    policy = read_layers(Layer(shipped, SHIPPED), (*target.below, Layer(octets, name, beside)))
    return Change(octets, policy.with_anchors(target.policy.anchors))


def write_change(
    console: Console, settings: Settings, target: Target, change: Change, question: str, *, yes: bool
) -> int:
    """Ask, write, and say how it takes effect."""
    if not confirmed(f"{question} ({target.path})", yes=yes):
        console.print("nothing was changed")
        return _UNCHANGED
    replace_file(target.path, target.octets, change.octets)
    before = "made" if target.octets is None else f"written; the file before is {target.path}~"
    console.print(Text(f"{target.path}: {before}"), soft_wrap=True)
    judged = [each for each in map(str, settings.all_upstreams) if _judges(target.path, settings, each)]
    others = [each for each in map(str, settings.all_upstreams) if each not in judged]
    if not judged:
        note = (
            f"No upstream is judged by this file: name it in [trust] policy of the configuration ({settings.source})."
        )
        console.print(Text(note, style="yellow"), soft_wrap=True)
        return 0
    if others:
        note = f"Judged by another file, and not changed: {', '.join(others)}"
        console.print(Text(note, style="yellow"), soft_wrap=True)
    console.print("A service that runs takes it over on `stubresolver reload`.", markup=False)
    return 0


def details(verdict: Verdict, rule: Rule, outcome: Outcome) -> list[str]:
    """What a verdict found of one rule, with one outcome."""
    return [finding.detail for finding in verdict.findings if finding.rule is rule and finding.outcome is outcome]


def _judges(file: Path, settings: Settings, upstream: str) -> bool:
    return file.resolve() in {each.resolve() for each in files_of(policy_source_of(settings, upstream))}
