"""`stubresolver explain`: judge again what was judged, and show what differs."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from stubresolver.cli.common import (
    config_option,
    find_kept,
    json_option,
    log_list_option,
    policy_option,
    utc_now,
)
from stubresolver.cli.judges import policy_source_of
from stubresolver.cli.shown import clean, kept_verdict, make_table, show_verdict
from stubresolver.config import PolicySource, Settings, load_log_list, load_policy, load_settings
from stubresolver.errors import BadInput
from stubresolver.exported import Exported
from stubresolver.verify import Verdict

_DIFFERS = 1


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which two verdicts on the same chain differ."""

    what: str  # a rule's code, "sct 1", "verdict", "path", "policy" and the like
    before: str
    after: str


@click.command("explain", short_help="Judge again what was kept or exported, then or now; show what differs.")
@click.argument("source", metavar="FILE|ID")
@click.option("--now", "today", is_flag=True, help="Judge at this time, by today's policy and log list.")
@policy_option
@log_list_option
@config_option
@json_option
def command(
    *,
    source: str,
    today: bool,
    policy_file: Path | None,
    log_list_file: Path | None,
    config_file: Path | None,
    as_json: bool,
) -> int:
    """Judge again what an exported FILE, or the record ID of the evidence, holds.

    By default with its own time, policy and log list: the verdict must come out the same, octet for octet. With --now
    as it would be judged today; with --policy or --log-list by those, at its own time. What differs is shown rule by
    rule and SCT by SCT.

    \b
    Examples:
      stubresolver explain refused.json
      stubresolver explain 3f9a1c --now        would it be refused today, too?
      stubresolver explain 3f9a1c --policy stricter.toml

    Exit status: 0 reproduced, or allowed by what you named; 1 not reproduced, or refused; 2 bad input.
    """  # noqa: D301 - \b tells click to keep the lines that follow
    settings = load_settings(config_file)
    exported = _find(source, settings)
    repeated = not (today or policy_file or log_list_file)
    kept, judged = kept_verdict(exported), _judge(exported, settings, policy_file, log_list_file, today=today)
    same = exported.repeats(judged)
    found = [] if repeated and same else differences(kept, judged)
    if repeated and not same and not found:
        found.append(Difference("kept verdict", "contradicts itself, or says more than a verdict does", ""))
    if as_json:
        facts = {
            "source": source,
            "upstream": exported.upstream,
            "reproduced": same if repeated else None,
            "kept": json.loads(exported.verdict),
            "judged": judged.to_jsonable(),
            "differences": [asdict(each) for each in found],
        }
        click.echo(json.dumps(facts))
    else:
        _show(Console(highlight=False), exported, judged, found, repeated=repeated, same=same)
    return 0 if (same if repeated else judged.allowed) else _DIFFERS


def differences(before: Verdict, after: Verdict) -> list[Difference]:
    """Everything in which two verdicts on the same chain differ, the gravest first."""
    told = [
        *_compared("verdict", _word(before), _word(after)),
        *_compared("mode", before.mode.value, after.mode.value),
        *_by_rule(before, after),
        *_by_sct(before, after),
        *_compared("path", _subjects(before), _subjects(after)),
        *_compared("time", _time(before), _time(after)),
        *_compared("policy", before.policy, after.policy),
        *_compared("log list", _listed(before), _listed(after)),
        *_compared("proof", before.proof or "none", after.proof or "none"),
    ]
    if not told and before != after:
        told.append(Difference("details", "", "subjects or dates differ"))
    return told


def _find(source: str, settings: Settings) -> Exported:
    """The exported judgement of a file, or of the evidence; raises `BadInput` where neither is there."""
    path = Path(source)
    try:
        if path.is_file():
            return Exported.read(path.read_bytes())
    except OSError as error:
        raise BadInput(f"{source}: cannot be read: {error.strerror or error}") from None
    except BadInput as error:
        raise BadInput(f"{source}: {error}") from None
    if not source or not set(source.lower()) <= set("0123456789abcdef"):
        raise BadInput(f"{source}: no such file, and no id of a record either: expected 6 hex digits or more")
    return find_kept(settings, source)


def _judge(
    exported: Exported, settings: Settings, policy_file: Path | None, log_list_file: Path | None, *, today: bool
) -> Verdict:
    """The second judgement: by its own demands but for those that were named."""
    policy = log_list = None
    if policy_file or today:
        source = PolicySource(policy_file) if policy_file else policy_source_of(settings, exported.upstream)
        policy = load_policy(source.file, profile=source.profile)
    if log_list_file or today:
        log_list = load_log_list(log_list_file or settings.log_list_file)
    elif policy is not None and policy.ct is not None and exported.log_list is None:
        raise BadInput("it was judged without a log list, and this policy demands CT: name one with --log-list")
    return exported.judge(utc_now() if today else None, policy, log_list)


def _show(
    console: Console, exported: Exported, judged: Verdict, found: Sequence[Difference], *, repeated: bool, same: bool
) -> None:
    """The second verdict whole, then what differs, then the line that says it all."""
    title = f"{exported.upstream}, judged again as of {judged.at:%Y-%m-%d %H:%M:%S}Z"
    show_verdict(console, title, exported.presented, judged)
    console.print()
    if found:
        table = make_table("What differs", "What", "Then", "Now" if not repeated else "Again")
        for each in found:
            table.add_row(clean(each.what), clean(each.before), clean(each.after))
        console.print(table)
    if repeated:
        word, style = ("reproduced, octet for octet", "green") if same else ("NOT REPRODUCED", "bold red")
        console.print(Text(word, style=style))
    elif not found:
        console.print(Text("nothing differs", style="green"))


def _by_rule(before: Verdict, after: Verdict) -> Iterable[Difference]:
    """Rule by rule, in the order of judgement; a rule may have several findings."""

    def findings(verdict: Verdict, rule: str) -> str:
        found = [f"{each.outcome} {each.detail}" for each in verdict.findings if each.rule == rule]
        demand = "demanded" if any(each == rule for each in verdict.demanded) else "not demanded"
        return "; ".join(found) or f"not judged ({demand})"

    rules = [finding.rule for verdict in (after, before) for finding in verdict.findings]
    for rule in dict.fromkeys([*rules, *sorted(before.demanded ^ after.demanded)]):
        yield from _compared(rule.value, findings(before, rule), findings(after, rule))


def _by_sct(before: Verdict, after: Verdict) -> Iterable[Difference]:
    """SCT by SCT; both verdicts are on the same certificate, so the same number means the same SCT."""

    def told(verdict: Verdict, number: int) -> str:
        if number >= len(verdict.scts):
            return "not judged"
        sct = verdict.scts[number]
        return f"{sct.status} {sct.log or sct.log_id[:12] or 'unreadable'}" + (
            f" ({sct.operator})" * bool(sct.operator)
        )

    for number in range(max(len(before.scts), len(after.scts))):
        yield from _compared(f"SCT {number + 1}", told(before, number), told(after, number))


def _compared(what: str, before: str, after: str) -> list[Difference]:
    return [] if before == after else [Difference(what, before, after)]


def _word(verdict: Verdict) -> str:
    return f"{'ALLOWED' if verdict.allowed else 'REFUSED'}  {verdict.summary}"


def _subjects(verdict: Verdict) -> str:
    return " < ".join(f"{each.subject} ({each.spki_sha256[:16]})" for each in verdict.path) or "none"


def _listed(verdict: Verdict) -> str:
    listed = verdict.log_list
    return f"{listed.version} of {listed.timestamp[:10]} ({listed.digest[:16]})" if listed else "none"


def _time(verdict: Verdict) -> str:
    return verdict.at.isoformat().replace("+00:00", "Z")
