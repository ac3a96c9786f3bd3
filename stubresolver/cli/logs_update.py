"""`stubresolver logs update`: sources in, the next list out, and nothing changed before a person has said so.

Only composes: `logs_sources` gets the octets, `loglists` checks and merges them, `logs_effects` says what it would mean
for the upstreams, `pinned` puts the result in place.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

import click
from rich.console import Console

from stubresolver.cli.common import config_option, json_option, utc_now
from stubresolver.cli.logs_effects import Effect, find_effects, show_effects
from stubresolver.cli.logs_rollback import AFTERWARDS, DRY_RUN, apply_option
from stubresolver.cli.logs_sources import SHIPPED, Material, gather, load_keys
from stubresolver.cli.logs_tell import show_changes
from stubresolver.cli.shown import clean, make_table
from stubresolver.config import Settings, load_log_list, load_settings
from stubresolver.ct import LogList
from stubresolver.errors import SourceRefused
from stubresolver.loglists import Merged, SigningKey, Source, merge, read_source
from stubresolver.pinned import install

_REFUSED, _UNREACHED, _WITHHELD = 1, 3, 4


@dataclass(slots=True)
class Outcome:
    """What came of an update, step by step."""

    path: Path  # the file that it is about
    current: LogList
    accepted: list[Source] = field(default_factory=list)
    refused: list[Material] = field(default_factory=list)  # each with its problem
    passed_over: list[str] = field(default_factory=list)  # what has nothing to say any more, and why
    merged: Merged | None = None
    problem: str = ""  # why there is no merged list
    effects: list[Effect] = field(default_factory=list)
    applied: bool = False

    @property
    def changes(self) -> bool:
        """True if there is a list that is not the one in force."""
        return self.merged is not None and self.merged.octets != self.current.octets

    @property
    def result(self) -> str:
        """One word for it."""
        if self.merged is None:
            return "refused" if self.refused or self.problem else "unchanged"
        return "applied" if self.applied else "dry-run" if self.changes else "unchanged"

    @property
    def status(self) -> int:
        """The exit status."""
        if not self.accepted and self.refused and not any(each.reached for each in self.refused):
            return _UNREACHED
        if self.problem or any(each.reached for each in self.refused):
            return _REFUSED
        return _WITHHELD if self.merged and self.merged.withheld and not self.changes else 0


@click.command("update", short_help="Merge other lists into the one in force; --yes applies it.")
@click.option(
    "--from", "first", multiple=True, metavar="SOURCE", help="A source. Repeatable; more may follow as arguments."
)
@click.argument("more", nargs=-1, metavar="[SOURCE]...")
@click.option(
    "--key",
    "key_files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A public key that may vouch. Repeatable. Default: [logs] keys.",
)
@click.option("--signature", type=click.Path(path_type=Path), help="The signature of the only source.")
@click.option(
    "--quorum", type=click.IntRange(1, 16), help="Independent sources that must agree. Default: [logs], or 2."
)
@click.option("--force", is_flag=True, help="Take a list that has lost more than a third of the logs that count.")
@click.option(
    "--web-anchors",
    "anchors",
    type=click.Path(path_type=Path),
    help="A PEM file with the trust anchors of the sources' servers, instead of certifi's.",
)
@apply_option
@config_option
@json_option
def update(
    *,
    first: tuple[str, ...],
    more: tuple[str, ...],
    key_files: tuple[Path, ...],
    signature: Path | None,
    quorum: int | None,
    force: bool,
    anchors: Path | None,
    yes: bool,
    config_file: Path | None,
    as_json: bool,
) -> int:
    """Merge lists of CT logs into the one in force; without --yes only show what would change.

    A SOURCE is a file, an https URL, or the word `shipped` (the list of this version, which vouches by itself). It is
    in the v3 schema (times as text or as milliseconds), Apple's JSON or Mozilla's CTKnownLogs.h, of at most 4 MiB. A
    URL has 30 seconds, and its name is resolved by the configured upstreams. Without a SOURCE it is those of [logs] in
    the configuration, which may name keys and a quorum, too.

    A new log, or one that is to count again, is taken if --quorum independent sources list it alike, or one source that
    is signed by a --key. The signature lies beside the list: SOURCE.sig, SOURCE.minisig, or .sig instead of the
    extension. A retirement or removal needs one source. An older list is refused (`shipped` is passed over then), and
    one that has shrunk, and one with a log that must never count. A source that is refused does not vouch; the others
    go on.

    Public lists: Mozilla's (security/ct/CTKnownLogs.h in Firefox's source, MPL 2.0) and Apple's
    (https://valid.apple.com/ct/log_list/current_log_list.json, look for its terms). Google's may not be used to enforce
    CT outside Chrome.

    \b
    Examples:
      stubresolver logs update --from CTKnownLogs.h current_log_list.json
      stubresolver logs update --from https://lists.example/ct.json --key lists-example.pub --yes
      stubresolver logs update --from shipped --yes    after an upgrade

    Exit status: 0 applied, shown, or nothing to change; 1 a source was refused (what the others agree on is applied all
    the same); 2 bad input, or the list cannot be written; 3 no source could be reached; 4 all that is new is withheld,
    because too few sources have it yet.
    """  # noqa: D301 - \b tells click to keep the lines that follow
    now, settings = utc_now(), load_settings(config_file)
    keys = load_keys(key_files or settings.log_keys)
    materials = gather([*first, *more] or list(settings.log_sources), keys, signature, settings, anchors)
    outcome = Outcome(settings.log_list_target, _in_force(settings))
    _listen(outcome, materials, keys, now, force=force)
    if outcome.accepted:
        _merge(outcome, quorum or settings.quorum, now, force=force)
    if outcome.merged is not None and outcome.changes:
        outcome.effects = find_effects(settings, outcome.current, outcome.merged.log_list, now)
        if yes:
            install(outcome.path, outcome.merged.octets, outcome.current.octets)
            outcome.applied = True
    if as_json:
        click.echo(json.dumps(_jsonable(outcome)))
    else:
        _show(Console(highlight=False), outcome)
    return outcome.status


def _in_force(settings: Settings) -> LogList:
    """The list in force; where the configuration names a file that is yet to be made, the shipped one."""
    file = settings.log_list_file
    return load_log_list(None if file is not None and not file.exists() and not file.is_symlink() else file)


def _listen(
    outcome: Outcome, materials: Sequence[Material], keys: Sequence[SigningKey], now: datetime, *, force: bool
) -> None:
    """Check each source; one that is refused keeps its reason."""
    for each in materials:
        if each.problem:
            outcome.refused.append(each)
            continue
        if each.shipped and (shipped := LogList.parse(each.octets)).timestamp < outcome.current.timestamp:
            # no rollback, as of another source: it stands in the configuration for the day after the next upgrade
            dated = f"the list of this version is of {shipped.timestamp:%Y-%m-%d}"
            outcome.passed_over.append(f"{dated}, older than the list in force, and has nothing new")
            continue
        try:
            source = read_source(
                each.name,
                each.origin,
                each.octets,
                signature=each.signature,
                keys=keys,
                current=outcome.current,
                now=now,
                force=force,
                shipped=each.shipped,
            )
        except SourceRefused as error:
            outcome.refused.append(Material(each.name, each.origin, problem=str(error)))
        else:
            outcome.accepted.append(source)


def _merge(outcome: Outcome, quorum: int, now: datetime, *, force: bool) -> None:
    try:
        outcome.merged = merge(outcome.current, outcome.accepted, quorum=quorum, now=now, force=force)
    except SourceRefused as error:
        outcome.problem = str(error)


def _show(console: Console, outcome: Outcome) -> None:
    """The whole update for people, and in the last line what became of it."""
    if outcome.accepted:
        table = make_table("Sources", "Source", "Format", "Dated", "Logs", "Vouched for by")
        for source in outcome.accepted:
            dated = f"{source.timestamp:%Y-%m-%d}" if source.timestamp else "undated"
            texts = (source.name, source.format.value, dated, str(len(source.logs)), source.vouched or "a quorum only")
            table.add_row(*map(clean, texts))
        console.print(table)
    for each in outcome.refused:
        word = "REFUSED" if each.reached else "NOT REACHED"
        console.print(clean(f"{word}  {each.name}: {each.problem}", "bold red"), soft_wrap=True)
    if outcome.problem:
        console.print(clean(f"REFUSED  {outcome.problem}", "bold red"), soft_wrap=True)
    for told in outcome.passed_over:
        console.print(clean(f"{SHIPPED}: {told}", "dim"), soft_wrap=True)
    merged = outcome.merged
    if outcome.result == "unchanged" and merged is None:
        console.print("Nothing to change.")
        return
    if merged is None:
        console.print(clean(f"Nothing was changed: {outcome.path} is as it was."), soft_wrap=True)
        return
    console.print(clean(f"{outcome.path}: changes", "bold"), soft_wrap=True)
    show_changes(console, merged.changes)
    for withheld in merged.withheld:
        console.print(clean(f"  withheld: {withheld}", "yellow"), soft_wrap=True)
    for note in merged.notes:
        console.print(clean(f"  {note}", "dim"), soft_wrap=True)
    show_effects(console, outcome.effects)
    _show_result(console, outcome)


def _show_result(console: Console, outcome: Outcome) -> None:
    match outcome.result:
        case "applied":
            console.print(clean(f"{outcome.path}: written; `stubresolver logs rollback` undoes it"), soft_wrap=True)
            console.print(AFTERWARDS)
        case "dry-run":
            console.print(DRY_RUN)
        case _ if outcome.merged is not None and outcome.merged.withheld:
            console.print("Nothing was changed: all that is new is withheld.")
        case _:
            console.print("Nothing to change.")


def _jsonable(outcome: Outcome) -> dict[str, object]:
    merged = outcome.merged
    return {
        "result": outcome.result,
        "file": str(outcome.path),
        "sources": [
            {
                "source": source.name,
                "origin": source.origin,
                "format": source.format.value,
                "version": source.version,
                "timestamp": source.timestamp.isoformat() if source.timestamp else None,
                "logs": len(source.logs),
                "vouched": source.vouched or None,
            }
            for source in outcome.accepted
        ],
        "refused": [
            {"source": each.name, "problem": each.problem, "reached": each.reached} for each in outcome.refused
        ],
        "passed_over": outcome.passed_over,
        "problem": outcome.problem or None,
        "changes": [{**asdict(change), "text": str(change)} for change in merged.changes] if merged else [],
        "withheld": [{**asdict(each), "text": str(each)} for each in merged.withheld] if merged else [],
        "notes": list(merged.notes) if merged else [],
        "effects": [effect.to_jsonable() for effect in outcome.effects],
    }
