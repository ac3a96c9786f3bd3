"""`stubresolver audit --alarms`: the alarms that are kept, one of them written out whole, one of them dismissed."""

import json
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console

from stubresolver.cli.common import confirmed
from stubresolver.cli.files import write_new
from stubresolver.cli.shown import clean, make_table
from stubresolver.evidence import EvidenceStore


def use_alarms(
    evidence: EvidenceStore,
    exported: int | None,
    output: Path | None,
    dismissed: int | None,
    *,
    force: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Export the one, dismiss the other, or list all; the exit status."""
    if exported is not None:
        return _export(evidence, exported, output, force=force)
    if dismissed is not None:
        return _dismiss(evidence, dismissed, yes=yes)
    return _list(evidence, as_json=as_json)


def _list(evidence: EvidenceStore, *, as_json: bool) -> int:
    """Show every alarm that is kept; the exit status is 1 where there is one."""
    alarms = evidence.audits().alarms()
    if as_json:
        for alarm in alarms:
            click.echo(json.dumps(asdict(alarm)))
        return 1 if alarms else 0
    console = Console()
    if not alarms:
        console.print("No alarm is kept.")
        return 0
    table = make_table("Alarms", "No.", "First seen", "Last seen", "Times", "Kind", "Certificate")
    for alarm in alarms:
        texts = (alarm.first_seen[:10], alarm.last_seen[:10], str(alarm.count), alarm.kind, f"{alarm.leaf[:12]}…")
        table.add_row(str(alarm.number), *map(clean, texts))
    console.print(table)
    for alarm in alarms:
        console.print(clean(f"  {alarm.number}: {alarm.detail}"), soft_wrap=True)  # one line, for grep too
    console.print("\nTake one along: stubresolver audit --export NO. -o alarm.json")
    console.print("Drop one: stubresolver audit --dismiss NO.")
    return 1


def _export(evidence: EvidenceStore, number: int, output: Path | None, *, force: bool) -> int:
    """Write one alarm out, octet for octet as it is kept."""
    octets = evidence.audits().received(number)
    if output is None:
        click.echo(octets, nl=False)
        return 0
    write_new(output, octets, overwrite=force)
    click.echo(f"alarm {number}: {len(octets)} octets written to {output}")
    return 0


def _dismiss(evidence: EvidenceStore, number: int, *, yes: bool) -> int:
    """Drop one alarm: the service will not speak of it any more. 1 where the person does not want it."""
    evidence.audits().received(number)  # there is one
    if not confirmed(f"Drop alarm {number} and what was received with it?", yes=yes):
        return 1
    evidence.audits().dismiss(number)
    click.echo(f"alarm {number} dropped")
    return 0
