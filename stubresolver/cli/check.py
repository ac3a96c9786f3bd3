"""`stubresolver check`: dial and judge without asking anything, or judge a chain from a file."""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import trio
from rich.console import Console

from stubresolver.cli.common import (
    anchors_option,
    config_option,
    json_option,
    log_list_option,
    open_evidence,
    parse_time,
    policy_option,
    run_tasks,
    utc_now,
)
from stubresolver.cli.judges import asking, parse_address, provider_option, told_upstream
from stubresolver.cli.shown import show_verdict
from stubresolver.config import Settings, load_log_list, load_policy_file, load_settings
from stubresolver.demands import build_all_demands
from stubresolver.errors import BadInput, UpstreamError
from stubresolver.evidence import Recorder
from stubresolver.trust import clock_floor, load_trust
from stubresolver.upstream import Demands, Upstream, inspect, parse_upstream
from stubresolver.verify import (
    NOTHING_REMEMBERED,
    Presented,
    Remembered,
    UnreadableCertificate,
    Verdict,
    Verifier,
    certificates_from_pem,
)

_REFUSED, _UNREACHED = 1, 3


@click.command("check", short_help="Judge upstreams, or a chain from a file; no query is sent.")
@click.argument("upstreams", nargs=-1, metavar="[UPSTREAM]...")
@click.option(
    "--chain", "chain_file", type=click.Path(path_type=Path), help="A PEM file, leaf first: judge it offline."
)
@click.option("--address", help="With --chain: the IP address that was dialled.")
@click.option("--name", help="With --chain: the authentication name.")
@click.option("--at", "at", metavar="TIME", help="With --chain: the time to judge for, ISO 8601 in UTC. Default: now.")
@provider_option
@anchors_option
@log_list_option
@policy_option
@config_option
@json_option
def command(
    *,
    upstreams: tuple[str, ...],
    providers: tuple[str, ...],
    chain_file: Path | None,
    address: str | None,
    name: str | None,
    at: str | None,
    anchors_file: Path | None,
    log_list_file: Path | None,
    policy_file: Path | None,
    config_file: Path | None,
    as_json: bool,
) -> int:
    """Judge upstreams by the policy. No query is sent.

    Without arguments every configured upstream is dialled. With --chain a certificate chain from a file is judged
    offline, as if it had been shown at --address, by the demands of the provider that has this address, if one has.

    \b
    Examples:
      stubresolver check
      stubresolver check --provider quad9
      stubresolver check tls://1.1.1.1#one.one.one.one
      stubresolver check --chain chain.pem --address 1.1.1.1 --at 2026-01-31T00:00:00Z --json

    Exit status: 0 all allowed, 1 one refused, 2 bad input, 3 one could not be reached (and none refused).
    """  # noqa: D301 - \b tells click to keep the lines that follow
    settings = load_settings(config_file).with_trust(policy_file, log_list_file)
    settings = asking(settings, tuple(map(parse_upstream, upstreams)), providers)
    if chain_file is not None:
        if upstreams:
            raise BadInput("--chain judges a file; it does not go with upstreams to dial")
        return _check_chain(settings, anchors_file, _Offline(chain_file, address, name, at), as_json=as_json)
    stray = [option for option, value in (("--address", address), ("--name", name), ("--at", at)) if value is not None]
    if stray:
        raise BadInput(f"{' and '.join(stray)} only with --chain; an upstream names its own address, now")
    trust = load_trust(settings, anchors_file)
    for warning in trust.warnings(utc_now()):
        click.echo(f"stubresolver: {warning}", err=True)
    with contextlib.closing(open_evidence(settings)) as evidence:
        return run_tasks(_check_upstreams, settings, build_all_demands(trust, Recorder(evidence)), as_json)


@dataclass(frozen=True, slots=True)
class _Offline:
    """A chain from a file, and as what it is judged."""

    chain_file: Path
    address: str | None
    name: str | None
    at: str | None


def _check_chain(settings: Settings, anchors_file: Path | None, given: _Offline, *, as_json: bool) -> int:
    """Judge a PEM file."""
    chain_file, address, name, at = given.chain_file, given.address, given.name, given.at
    if address is None:
        raise BadInput("--chain needs --address: the certificate must be for the IP address that is dialled")
    dialled = parse_address(address)
    try:
        chain = certificates_from_pem(chain_file.read_bytes())
    except OSError as error:
        raise BadInput(f"{chain_file}: cannot be read: {error.strerror or error}") from None
    except UnreadableCertificate as error:
        raise BadInput(f"{chain_file}: {error}") from None
    if name is not None and not name.rstrip("."):  # `--name "$NAME"` of a script must not demand less unnoticed
        raise BadInput(f"--name {name!r} is no name; leave it out to demand the address alone")
    loaded = load_policy_file(settings.policy_file, anchors_file, settings.profile_at(dialled))
    verifier = Verifier(loaded.policy, load_log_list(settings.log_list_file))
    presented = Presented(dialled, None if name is None else name.rstrip(".").lower(), chain)
    # a time that a person names is no clock that could be wrong
    remembered = Remembered(clock_floor(verifier.log_list, None)) if at is None else NOTHING_REMEMBERED
    verdict = verifier.judge(presented, utc_now() if at is None else parse_time(at), remembered)
    if as_json:
        click.echo(json.dumps(verdict.to_jsonable(), ensure_ascii=False))
    else:
        console = Console()
        show_verdict(console, f"{chain_file} for {dialled}" + (f" ({name})" if name else ""), presented, verdict)
        console.print(f"judged by {loaded.source}", style="dim", markup=False, highlight=False, soft_wrap=True)
    return 0 if verdict.allowed else _REFUSED


async def _check_upstreams(settings: Settings, demands: Mapping[Upstream, Demands], as_json: bool) -> int:
    """Dial all at once, show them in their order; the gravest outcome is the exit status."""
    outcomes: dict[Upstream, tuple[Presented, Verdict] | UpstreamError] = {}

    async def look(upstream: Upstream) -> None:
        try:
            outcomes[upstream] = await inspect(upstream, demands[upstream])
        except UpstreamError as error:
            outcomes[upstream] = error

    async with trio.open_nursery() as nursery:
        for upstream in demands:
            nursery.start_soon(look, upstream)
    console = Console()
    for upstream, demanded in demands.items():
        if as_json:
            facts = {
                "upstream": str(upstream),
                "provider": settings.providers.get(upstream),
                "demands": demanded.policy,
                **_jsonable(outcomes[upstream]),
            }
            click.echo(json.dumps(facts, ensure_ascii=False))
        else:
            _show(console, told_upstream(settings, upstream), demanded.policy, outcomes[upstream])
    found = outcomes.values()
    if any(isinstance(outcome, tuple) and not outcome[1].allowed for outcome in found):
        return _REFUSED
    return _UNREACHED if any(isinstance(outcome, UpstreamError) for outcome in found) else 0


def _jsonable(outcome: tuple[Presented, Verdict] | UpstreamError) -> dict[str, Any]:
    """What came of a dial for machines."""
    return {"error": outcome.summary} if isinstance(outcome, UpstreamError) else outcome[1].to_jsonable()


def _show(console: Console, upstream: str, policy: str, outcome: tuple[Presented, Verdict] | UpstreamError) -> None:
    """One upstream's outcome, and by which policy, for people."""
    if isinstance(outcome, UpstreamError):
        console.print(upstream, style="bold", markup=False, highlight=False)
        console.print(f"NOT REACHED  {outcome.summary}\n", style="yellow", markup=False, highlight=False)
        return
    show_verdict(console, upstream, *outcome)
    console.print(f"judged by {policy}\n", style="dim", markup=False, highlight=False, soft_wrap=True)
