"""The lab's logs put to the test, for `stubresolver lab`: honest ones prove what they promised, deceits are named."""

import json
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import click
import trio
from rich.console import Console
from rich.text import Text

from stubresolver.app import App
from stubresolver.audit import Outcome, Report, read_entries
from stubresolver.audit.keeping import audit_and_keep
from stubresolver.cli.auditing import one_at_a_time, reader
from stubresolver.cli.common import utc_now
from stubresolver.cli.shown import clean
from stubresolver.evidence import EvidenceKeeper
from stubresolver.lab.archive import HOST, Archive
from stubresolver.lab.trials import Reader, Trial, hold, trials
from stubresolver.lab.world import World

_LOGGED = timedelta(days=-2)  # longer ago than any maximum merge delay
_SILENCE = 0.2  # seconds to wait for the log that never answers; the others get what a real one gets
_MARKS = {
    Outcome.PROVED: ("  PROVED   ", "bold green"),
    Outcome.NOTE: ("  NOTE     ", "bold yellow"),
    Outcome.ALARM: ("  ALARM    ", "bold red"),
}


@dataclass(frozen=True, slots=True)
class _Held:
    """What came of one trial."""

    trial: Trial
    report: Report

    @property
    def expected(self) -> bool:
        """True if the audit named what the log did."""
        return self.trial.is_met_by(self.report)


async def show_audits(
    console: Console, world: World, app: App, evidence: EvidenceKeeper, folder: Path, *, as_json: bool
) -> bool:
    """Audit honest logs and dishonest ones over the running resolver; True if each is called what it is."""
    anchors = folder / "anchors.pem"
    anchors.write_bytes(world.anchors_pem)
    archive = Archive(world.issue(names=[HOST], addresses=()), utc_now)
    asking = Reader(evidence.audits(), reader(app, anchors), one_at_a_time())
    impatient = replace(asking, get=reader(app, anchors, _SILENCE))
    async with trio.open_nursery() as nursery:
        world.log_host = await nursery.start(archive.serve)
        console.print("\n[bold]Logs[/]: an SCT is a promise to log; here the logs are asked to prove that they kept it")
        proved, seconds = await _audit_three(world, archive, asking)
        held = []
        for number, trial in enumerate(trials(), 1):
            by = impatient if trial.name == "silence" else asking
            held.append(_Held(trial, await hold(trial, number, world, archive, by)))
        nursery.cancel_scope.cancel()
    if as_json:
        _print(held, proved=proved, seconds=seconds)
    _show(console, held)
    console.print(f"\nOne audit of three SCTs took {seconds * 1000:.0f} ms.", highlight=False)
    return proved and all(each.expected for each in held)


async def _audit_three(world: World, archive: Archive, asking: Reader) -> tuple[bool, float]:
    """One certificate with three SCTs, by logs of both kinds: whether all are proved, and in how many seconds."""
    logs = (world.alder1, world.alder2, world.birch1)
    archive.join(logs)
    leaf = world.issue(logs, stamped=_LOGGED, starts=_LOGGED).chain[0]
    begun = trio.current_time()
    entries = read_entries(leaf, bytes.fromhex(world.lab.intermediate_spki_sha256), world.log_list).entries
    reports = await audit_and_keep(asking.audits, entries, asking.get, utc_now(), asking.in_thread)
    proved = [report.outcome is Outcome.PROVED for report in reports]
    return proved == [True] * len(logs), trio.current_time() - begun


def _show(console: Console, held: list[_Held]) -> None:
    """One line for each story: what both kinds of log came to."""
    for story in dict.fromkeys(each.trial.name for each in held):
        told = [each for each in held if each.trial.name == story]
        deceit = told[0].trial.deceit
        mark = _MARKS[told[0].report.outcome]
        if not all(each.expected for each in told):
            mark = ("  UNEXPECTED  ", "bold yellow")
        kinds = ", ".join(dict.fromkeys(each.report.kind.value for each in told))
        title = "Honest logs" if deceit is None else deceit.title
        text = "Both kinds, RFC 6962 and static-ct, keep what they promise." if deceit is None else deceit.story
        console.print(Text.assemble(mark, (f"{title}. ", "bold"), text, f"  ({kinds})"), soft_wrap=True)
        for each in told:
            if not each.expected:
                console.print(clean(f"           {each.trial.kind}: {each.report.detail}", style="yellow"))


def _print(held: list[_Held], *, proved: bool, seconds: float) -> None:
    """One JSON object for each trial, and one for the audit of three."""
    click.echo(json.dumps({"audit": "three SCTs", "proved": proved, "seconds": round(seconds, 3)}))
    for each in held:
        outcome, kind = each.trial.expected
        document = {
            "log": each.trial.name,
            "kind": each.trial.kind,
            "outcome": each.report.outcome.value,
            "finding": each.report.kind.value,
            "expected": [outcome, kind],
            "as_expected": each.expected,
            "detail": each.report.detail,
        }
        click.echo(json.dumps(document))
