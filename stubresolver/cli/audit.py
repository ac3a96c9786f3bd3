"""`stubresolver audit`: ask the logs to prove that they hold the upstreams' certificates."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import click
from rich.console import Console

from stubresolver.app import App
from stubresolver.audit import Entries, Get, Kind, Outcome, Report, read_entries
from stubresolver.audit.keeping import NotKept, audit_and_keep
from stubresolver.cli.audit_alarms import use_alarms
from stubresolver.cli.audit_shown import Audit, conclusion, print_audit, show_audit
from stubresolver.cli.audit_subjects import Subject, from_evidence, from_file, inspect_all
from stubresolver.cli.auditing import one_at_a_time, reader
from stubresolver.cli.common import (
    anchors_option,
    config_option,
    json_option,
    log_list_option,
    open_evidence,
    open_kept_evidence,
    policy_option,
    run_tasks,
    utc_now,
    yes_option,
)
from stubresolver.cli.judges import parse_address
from stubresolver.config import Settings, load_policy, load_settings, web_anchors
from stubresolver.ct import LogList
from stubresolver.demands import build_all_demands
from stubresolver.errors import BadInput
from stubresolver.evidence import EvidenceKeeper, Recorder
from stubresolver.trust import Trust, load_trust
from stubresolver.upstream import parse_upstream
from stubresolver.verify import Verdict, Verifier

_ALARM, _UNREACHED = 1, 3
_SILENT = frozenset({Kind.UNREACHABLE, Kind.NO_URL})  # nothing came from the log


@click.command("audit", short_help="Have the logs prove that they hold the upstreams' certificates.")
@click.option(
    "--upstream", "upstreams", multiple=True, metavar="UPSTREAM", help="Only this one; may be given several times."
)
@click.option("--kept", is_flag=True, help="The newest allowed certificate in the evidence; no upstream is inspected.")
@click.option("--chain", "chain_file", type=click.Path(path_type=Path), help="The chain of a PEM file, leaf first.")
@click.option("--address", help="With --chain: the IP address that the certificate is for.")
@click.option("--alarms", is_flag=True, help="List the alarms that are kept; nobody is asked anything.")
@click.option("--export", "exported", type=click.IntRange(min=1), metavar="NO.", help="Write out one kept alarm whole.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="With --export: where to. Default: stdout.")
@click.option("--force", is_flag=True, help="With --export: overwrite the file.")
@click.option("--dismiss", type=click.IntRange(min=1), metavar="NO.", help="Drop one kept alarm.")
@click.option(
    "--web-anchors",
    "roots_file",
    type=click.Path(path_type=Path),
    help="A PEM file with the trust anchors for the logs' web servers, instead of [audit] anchors or certifi's.",
)
@yes_option
@anchors_option
@log_list_option
@policy_option
@config_option
@json_option
def command(
    *,
    upstreams: tuple[str, ...],
    kept: bool,
    chain_file: Path | None,
    address: str | None,
    alarms: bool,
    exported: int | None,
    output: Path | None,
    force: bool,
    dismiss: int | None,
    roots_file: Path | None,
    yes: bool,
    anchors_file: Path | None,
    log_list_file: Path | None,
    policy_file: Path | None,
    config_file: Path | None,
    as_json: bool,
) -> int:
    """Have the logs prove that they hold the upstreams' certificates.

    An SCT is a log's promise to enter a certificate, where everyone can see it. A proof shows that it did: from the
    certificate's own hash and a few others the root can be computed that the log has signed. And it is checked that the
    tree is the one of last time, grown: a log that shows different people different trees is caught when we compare.

    The logs' hosts are looked up by our own verified upstreams. Asking reveals that somebody here knows the upstream's
    certificate, and everyone who connects to the upstream is shown that; nothing about queries is in it.

    A note says that nothing was proved this time, as where a log does not answer: ask again another day. An alarm says
    that a log broke its promise or contradicted itself. It refuses nothing. It is kept, with what was received, and can
    be shown to others.

    \b
    Examples:
      stubresolver audit              what every configured upstream shows now
      stubresolver audit --chain leaf.pem --address 1.1.1.1
      stubresolver audit --alarms
      stubresolver audit --export 3 -o alarm.json

    Exit status: 0 all proved, or only notes; 1 an alarm (with --alarms: one is kept), or evidence that cannot be read;
    2 bad input; 3 no upstream or no log could be reached, or there was nothing to ask a log about.
    """  # noqa: D301 - \b tells click to keep the lines that follow
    settings = load_settings(config_file).with_trust(policy_file, log_list_file)
    if exported is None and (output is not None or force):
        raise BadInput("--output and --force only with --export")
    if uses := [alarms, exported is not None, dismiss is not None].count(True):
        if uses > 1 or upstreams or kept or chain_file is not None:
            raise BadInput("--alarms, --export and --dismiss are about kept alarms: one of them at a time, no audit")
        with contextlib.closing(open_kept_evidence(settings)) as evidence:
            return use_alarms(evidence, exported, output, dismiss, force=force, yes=yes, as_json=as_json)
    if (chain_file is None) != (address is None):
        raise BadInput("--chain and --address go together: the certificate must be for the address that is dialled")
    if chain_file is not None and (upstreams or kept):
        raise BadInput("--chain audits a file; it does not go with --upstream or --kept")
    if upstreams:
        settings = replace(settings, upstreams=tuple(dict.fromkeys(map(parse_upstream, upstreams))), forward=())
    trust, roots = load_trust(settings, anchors_file), web_anchors(settings, roots_file)
    with contextlib.closing(open_evidence(settings)) as evidence:
        given = None
        if chain_file is not None and address is not None:
            dialled = parse_address(address)
            policy = load_policy(settings.policy_file, anchors_file, settings.profile_at(dialled))
            given = [from_file(chain_file, dialled, Verifier(policy, trust.log_list))]
        elif kept:
            with contextlib.closing(open_kept_evidence(settings)) as looked_into:
                given = from_evidence(looked_into, settings.all_upstreams)
        return run_tasks(_audit, _Asked(settings, trust, evidence, given, roots, as_json=as_json))


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the command line asked for."""

    settings: Settings
    trust: Trust
    evidence: EvidenceKeeper
    given: list[Subject] | None  # None: whatever the upstreams show now
    roots: Path  # of the logs' web servers
    as_json: bool


async def _audit(asked: _Asked) -> int:
    """Find the certificates, ask every log at once, show what came of it; the exit status."""
    demands = build_all_demands(asked.trust, Recorder(asked.evidence))
    subjects = await inspect_all(demands, as_json=asked.as_json) if asked.given is None else asked.given
    if not subjects:
        return _UNREACHED
    app = App(asked.settings, demands)
    async with app.asking():
        with _progress(reader(app, asked.roots)) as get:
            audits = await _ask(subjects, get, asked.trust.log_list, asked.evidence)
    for each in audits:
        if asked.as_json:
            print_audit(each)
        else:
            show_audit(Console(), each)
    if not asked.as_json:
        click.echo(conclusion(audits))
    return _status(audits)


async def _ask(subjects: Sequence[Subject], get: Get, log_list: LogList, evidence: EvidenceKeeper) -> list[Audit]:
    """Audit each distinct certificate once, all logs at once."""
    grouped: dict[bytes, list[Subject]] = {}
    for subject in subjects:
        grouped.setdefault(subject.leaf, []).append(subject)
    found = {leaf: _entries(leaf, group[0].verdict, log_list) for leaf, group in grouped.items()}
    entries = [entry for each in found.values() for entry in each.entries]
    try:
        reports = await audit_and_keep(evidence.audits(), entries, get, utc_now(), one_at_a_time())
    except NotKept as error:
        click.echo(f"stubresolver: not all of this audit is kept: {error}", err=True)
        reports = list(error.reports)
    return [_collect(leaf, group, found[leaf], reports) for leaf, group in grouped.items()]


def _entries(leaf: bytes, verdict: Verdict, log_list: LogList) -> Entries:
    """What there is to prove; nothing without a verified path, as the SCTs are over the key of the issuer in it."""
    if not verdict.path:
        return Entries((), ())
    issuer = verdict.path[min(1, len(verdict.path) - 1)]
    return read_entries(leaf, bytes.fromhex(issuer.spki_sha256), log_list)


def _collect(leaf: bytes, group: Sequence[Subject], found: Entries, reports: Sequence[Report]) -> Audit:
    """What of all reports is about one certificate."""
    verdict, certificate = group[0].verdict, sha256(leaf).hexdigest()
    problem = "" if verdict.path else "without a verified path nobody knows who issued the certificate"
    if verdict.path and not found.entries:
        problem = "it has no SCT that a log could be asked about"
    return Audit(
        shown_by=tuple(subject.shown_by for subject in group),
        certificate=certificate,
        verdict=verdict.summary,
        allowed=verdict.allowed,
        reports=tuple(report for report in reports if report.entry.certificate == certificate),
        skipped=found.skipped,
        problem=problem,
    )


@contextlib.contextmanager
def _progress(get: Get) -> Iterator[Get]:
    """The same reader, with a line on a terminal that says how far it is."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield get
        return
    asked = answered = 0
    with console.status("asking the logs") as status:

        async def counted(url: str) -> bytes:
            nonlocal asked, answered
            asked += 1
            try:
                return await get(url)
            finally:
                answered += 1
                status.update(f"asking the logs: {answered} of {asked} questions answered")

        yield counted


def _status(audits: Sequence[Audit]) -> int:
    """The gravest outcome as an exit status; where no log has said anything, that nothing was reached."""
    reports = [report for each in audits for report in each.reports]
    if any(report.outcome is Outcome.ALARM for report in reports):
        return _ALARM
    return 0 if any(report.kind not in _SILENT for report in reports) else _UNREACHED
