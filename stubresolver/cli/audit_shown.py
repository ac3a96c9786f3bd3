"""An audit as people and machines read it: one table or one JSON object for each certificate."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import click
from rich.console import Console
from rich.text import Text

from stubresolver.audit import Outcome, Report, Skipped
from stubresolver.cli.shown import clean, make_table

_STYLES = {Outcome.PROVED: "green", Outcome.NOTE: "yellow", Outcome.ALARM: "bold red"}
_WORDS = {Outcome.PROVED: "proved", Outcome.NOTE: "note", Outcome.ALARM: "ALARM"}


@dataclass(frozen=True, slots=True)
class Audit:
    """One certificate, who shows it, and what its logs said."""

    shown_by: tuple[str, ...]  # upstreams or a file
    certificate: str  # SHA-256, hex
    verdict: str  # what the policy says of it, in one line
    allowed: bool
    reports: tuple[Report, ...]
    skipped: tuple[Skipped, ...]  # SCTs that nothing can be asked about
    problem: str = ""  # why nothing at all could be asked

    @property
    def outcome(self) -> Outcome:
        """The gravest; a certificate of which nothing was proved is a note."""
        outcomes = {report.outcome for report in self.reports}
        if Outcome.ALARM in outcomes:
            return Outcome.ALARM
        return Outcome.PROVED if outcomes == {Outcome.PROVED} else Outcome.NOTE


def show_audit(console: Console, audit: Audit) -> None:
    """Print one certificate's audit."""
    console.print(clean(", ".join(audit.shown_by), style="bold"), soft_wrap=True)
    console.print(clean(f"  certificate {audit.certificate}", style="dim"), soft_wrap=True)
    word, style = ("ALLOWED", "green") if audit.allowed else ("REFUSED", "bold red")
    console.print(Text.assemble("  ", (word, style), "  ", clean(audit.verdict)), soft_wrap=True)
    if audit.problem:
        console.print(clean(f"  nothing could be asked: {audit.problem}", style="yellow"), soft_wrap=True)
    if audit.reports or audit.skipped:
        console.print(_table(audit))
    for report in audit.reports:
        if report.outcome is not Outcome.PROVED or len(report.findings) > 1:  # a remark beside the proof
            line = Text.assemble((f"  {_WORDS[report.outcome]} ", _STYLES[report.outcome]), clean(_line(report)))
            console.print(line, soft_wrap=True)  # one line, for grep too
    console.print()


def print_audit(audit: Audit) -> None:
    """One JSON object."""
    document = {
        "shown_by": audit.shown_by,
        "certificate": audit.certificate,
        "allowed": audit.allowed,
        "verdict": audit.verdict,
        "outcome": audit.outcome.value,
        "problem": audit.problem,
        "scts": [_jsonable(report) for report in audit.reports],
        "skipped": [{"log_id": each.log_id.hex(), "log": each.log, "reason": each.reason} for each in audit.skipped],
    }
    click.echo(json.dumps(document))


def conclusion(audits: Sequence[Audit]) -> str:
    """How many SCTs came to what, in one line."""
    outcomes = [report.outcome for audit in audits for report in audit.reports]
    proved, notes, alarms = map(outcomes.count, (Outcome.PROVED, Outcome.NOTE, Outcome.ALARM))
    return f"{len(outcomes)} SCTs; proved: {proved}, notes: {notes}, alarms: {alarms}"


def _table(audit: Audit) -> object:
    table = make_table("Proofs", "Log", "Operator", "Tree size", "Outcome", "How")
    for report in audit.reports:
        table.add_row(
            clean(report.log.description),
            clean(report.log.operator),
            "" if report.tree is None else str(report.tree.size),
            clean(_WORDS[report.outcome], style=_STYLES[report.outcome]),
            clean(_how(report)),
        )
    for skipped in audit.skipped:
        name = skipped.log or (f"unknown log {skipped.log_id.hex()[:12]}…" if skipped.log_id else "")
        table.add_row(clean(name), "", "", clean("note", style="yellow"), clean(skipped.reason))
    return table


def _how(report: Report) -> str:
    """What the outcome rests on, short enough for a table."""
    if report.outcome is Outcome.PROVED and report.index is not None:
        return f"{report.kind.value}: leaf {report.index}"
    return report.kind.value


def _line(report: Report) -> str:
    return f"{report.log.description}: {report.kind.value}: {report.detail}"


def _jsonable(report: Report) -> dict[str, object]:
    return {
        "log": report.log.description,
        "operator": report.log.operator,
        "log_id": report.log.log_id.hex(),
        "kind_of_log": report.log.kind.value,
        "url": report.log.url,
        "outcome": report.outcome.value,
        "kind": report.kind.value,
        "detail": report.detail,
        "findings": [{"kind": finding.kind.value, "detail": finding.detail} for finding in report.findings],
        "tree_size": None if report.tree is None else report.tree.size,
        "leaf_index": report.index,
    }
