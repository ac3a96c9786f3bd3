"""`stubresolver evidence`: what was judged and kept, to look at, to take along, to thin out."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from stubresolver.cli.common import (
    config_option,
    json_option,
    open_kept_evidence,
    parse_since,
    parse_size,
    utc_now,
)
from stubresolver.cli.files import write_new
from stubresolver.cli.shown import chain_facts, clean, kept_verdict, make_table, show_chain, show_verdict
from stubresolver.config import Settings, load_log_list, load_settings
from stubresolver.errors import BadInput, ConfigError
from stubresolver.evidence import EvidenceStore, Record
from stubresolver.trust import clock_floor
from stubresolver.upstream import parse_upstream
from stubresolver.verify import Outcome, judge_clock

_SHOWN_ID = 12  # hex digits: enough to name one of millions

upstream_option = click.option("--upstream", metavar="UPSTREAM", help="Only those of this upstream.")
since_option = click.option("--since", metavar="TIME", help="Only those since then: ISO 8601 in UTC, or 12h, 7d.")
limit_option = click.option(
    "--limit", type=click.IntRange(min=1, max=1_000_000), default=50, show_default=True, help="How many at most."
)


@click.group("evidence", short_help="Look at what was judged and kept; export it; thin it out.")
def command() -> None:
    """Every distinct chain and verdict that was kept: before a decision takes effect, it is written down.

    A record is named by its id, or by the first 6 or more hex digits of it. Times are UTC.

    \b
    Examples:
      stubresolver evidence list --refused --since 7d
      stubresolver evidence show 3f9a1c
      stubresolver evidence export 3f9a1c -o refused.json
      stubresolver explain refused.json        judge it again, on any machine

    Exit status: 0 done, 1 the evidence cannot be read, 2 bad input.
    """  # noqa: D301 - \b tells click to keep the lines that follow


@command.command("list")
@click.option("--allowed", "outcome", flag_value="allowed", help="Only those that were allowed.")
@click.option("--refused", "outcome", flag_value="refused", help="Only those that were refused, or only reported on.")
@upstream_option
@since_option
@limit_option
@config_option
@json_option
def list_records(
    *,
    outcome: str | None,
    upstream: str | None,
    since: str | None,
    limit: int,
    config_file: Path | None,
    as_json: bool,
) -> None:
    """List judgements, the newest first.

    REPORTED: would have been refused, but the policy is in report mode, so it was connected to.

    Exit status: 0 done, 1 the evidence cannot be read, 2 bad input.
    """
    named = None if upstream is None else str(parse_upstream(upstream))
    moment = None if since is None else parse_since(since, "--since", utc_now())
    allowed = None if outcome is None else outcome == "allowed"
    with _evidence(config_file) as store:
        records = store.records(limit + 1, allowed, named, moment)
        dropped = store.dropped()
    if as_json:
        for record in records[:limit]:
            click.echo(json.dumps(asdict(record)))
        return
    console = Console(highlight=False)
    if not records:
        console.print("nothing kept that matches")
        return
    table = make_table("", "Last seen", "Times", "Id", "Outcome", "Upstream", "Why")
    for record in records[:limit]:
        word, style = outcome_word(record)
        table.add_row(
            clean(record.last_seen[:19].replace("T", " ")),
            str(record.count),
            clean(record.id[:_SHOWN_ID]),
            Text(word, style=style),
            clean(record.upstream),
            clean(record.summary),
        )
    console.print(table)
    if len(records) > limit:
        console.print(f"There are more: --limit says how many are shown (now {limit}).", markup=False)
    if dropped:
        count = sum(each.count for each in dropped)
        console.print(f"{count} more refused ones, each like one that is kept, gave way for want of room.")


@command.command("show")
@click.argument("identity", metavar="ID")
@config_option
@json_option
def show(*, identity: str, config_file: Path | None, as_json: bool) -> None:
    """Show one judgement whole: what was presented, each SCT, each rule.

    Exit status: 0 done, 1 the evidence cannot be read, 2 bad input, such as an id that is not there.
    """
    with _evidence(config_file) as store:
        found = store.find(identity)
        record, exported = store.get(found), store.export(found)
    if as_json:
        verdict = json.loads(exported.verdict)
        facts = asdict(record) | {"chain": chain_facts(exported.presented.chain), "verdict": verdict}
        click.echo(json.dumps(facts))
        return
    console = Console(highlight=False)
    for label, text in (
        ("id", record.id),
        ("first seen", record.first_seen),
        ("last seen", f"{record.last_seen}, {record.count} times"),
        ("policy", kept_verdict(exported).policy),
    ):
        console.print(Text.assemble((f"  {label:<11}", "dim"), clean(text)), soft_wrap=True)
    show_chain(console, exported.presented.chain)
    show_verdict(console, record.upstream, exported.presented, kept_verdict(exported))


@command.command("export", short_help="Write a judgement with all that it takes to repeat it.")
@click.argument("identity", metavar="ID")
@click.option("--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="The file; stdout if none.")
@click.option("--force", is_flag=True, help="Overwrite the file if it is there.")
@config_option
def export(*, identity: str, output: Path | None, force: bool, config_file: Path | None) -> None:
    """Write one judgement into one file, with all that it takes to judge it again.

    The chain in PEM, the verdict, the policy with its anchors and the log list. `stubresolver explain FILE` judges it
    again on any machine, in any year, and gives the same verdict.

    Exit status: 0 done, 1 the evidence cannot be read, 2 bad input, such as an id that is not there or a file that is.
    """
    if force and output is None:
        raise BadInput("--force goes with --output")
    with _evidence(config_file) as store:
        octets = store.export(store.find(identity)).write()
    if output is None:
        click.echo(octets, nl=False)
    else:
        write_new(output, octets, overwrite=force)
        click.echo(f"{output}: {len(octets)} octets", err=True)


@command.command("prune")
@click.option("--before", metavar="TIME", help="Drop what was last seen before then: ISO 8601 in UTC, or an age: 90d.")
@click.option("--keep", metavar="SIZE", help="Drop until the file holds at most so many octets: 500K, 32M.")
@click.option("--future", is_flag=True, help="Drop what is dated after now: the clock was ahead when it was kept.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@config_option
@json_option
def prune(
    *, before: str | None, keep: str | None, future: bool, dry_run: bool, config_file: Path | None, as_json: bool
) -> None:
    """Drop old judgements and give the room back.

    By --keep, allowed ones go first, then refused ones of which there are many alike. By --before, all of that age. The
    newest of each upstream stays, and the newest that was allowed. The file is bounded without this, too.

    By --future, all that is dated after now goes. It is the way out where upstreams were allowed while the clock was
    ahead: now that it is right, `clock.floor` holds those times against it. Look at the clock first: one that is behind
    this release or the log list is wrong now, and nothing is dropped by it.

    Exit status: 0 done, 1 the evidence cannot be read or written, 2 bad input.
    """
    if before is None and keep is None and not future:
        raise BadInput("nothing to go by: --before TIME, --keep SIZE or --future")
    now = utc_now()
    moment = None if before is None else parse_since(before, "--before", now)
    octets = None if keep is None else parse_size(keep, "--keep")
    if future:
        _trust_clock(load_settings(config_file), now)
    with _evidence(config_file) as store:
        pruned = store.prune(keep_octets=octets, before=moment, after=now if future else None, dry_run=dry_run)
    if as_json:
        click.echo(json.dumps({"dry_run": dry_run, **asdict(pruned)}))
        return
    would = "would be " if dry_run else ""
    click.echo(f"{would}dropped: {pruned.allowed} allowed, {pruned.refused} refused; {pruned.octets} octets")


def _trust_clock(settings: Settings, now: datetime) -> None:
    """Raise `BadInput` for a clock that is behind what nobody's evidence says."""
    log_list = None
    with contextlib.suppress(ConfigError):  # a list that does not read says nothing of the time
        log_list = load_log_list(settings.log_list_file)
    finding = judge_clock(clock_floor(log_list, None), now)
    if finding.outcome is not Outcome.PASS:
        raise BadInput(f"{finding.detail}; nothing was dropped: what is dated after such a clock may well be right")


@command.command("events")
@upstream_option
@since_option
@limit_option
@config_option
@json_option
def events(*, upstream: str | None, since: str | None, limit: int, config_file: Path | None, as_json: bool) -> None:
    """List what changed of the upstreams, the newest first.

    A change is noted when an upstream is allowed with another key, issuer, root, or set of log operators than when it
    was allowed last. A new key with every certificate is usual; a new issuer or root is worth a look.

    Exit status: 0 done, 1 the evidence cannot be read, 2 bad input.
    """
    named = None if upstream is None else str(parse_upstream(upstream))
    moment = None if since is None else parse_since(since, "--since", utc_now())
    with _evidence(config_file) as store:
        found = store.events(limit, named, moment)
    if as_json:
        for event in found:
            click.echo(json.dumps(asdict(event)))
        return
    console = Console(highlight=False)
    if not found:
        console.print("no changes are kept that match")
        return
    table = make_table("", "When", "Upstream", "What", "Before", "After")
    for event in found:
        texts = (event.at[:19].replace("T", " "), event.upstream, event.kind, event.before, event.after)
        table.add_row(*map(clean, texts))
    console.print(table)


def outcome_word(record: Record) -> tuple[str, str]:
    """What became of a judgement, in one word, and its style."""
    if record.allowed:
        return "ALLOWED", "green"
    return ("REPORTED", "yellow") if record.mode == "report" else ("REFUSED", "bold red")


@contextlib.contextmanager
def _evidence(config_file: Path | None) -> Iterator[EvidenceStore]:
    """The store of the configuration, closed in the end."""
    with contextlib.closing(open_kept_evidence(load_settings(config_file))) as store:
        yield store
