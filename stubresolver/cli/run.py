"""`stubresolver run`: the service."""

import contextlib
import gc
import logging
import signal
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import click
import trio

from stubresolver import systemd
from stubresolver.app import App, build_demands
from stubresolver.cli.common import config_option, log_list_option, open_evidence, policy_option
from stubresolver.cli.logs import log_to_stderr
from stubresolver.config import Settings, load_log_list, load_policy, load_settings
from stubresolver.errors import StubResolverError
from stubresolver.evidence import EvidenceStore
from stubresolver.serve import Bound, bind_all, parse_listen_address
from stubresolver.verify import Verifier

log = logging.getLogger("stubresolver")


@click.command("run")
@click.option(
    "--listen",
    "listen",
    multiple=True,
    metavar="ADDR:PORT",
    help="Listen here instead, UDP and TCP, such as 127.0.0.1:5300. May be given several times.",
)
@click.option(
    "--check", "check_only", is_flag=True, help="Read every file, say what is wrong or what is in force, exit."
)
@policy_option
@log_list_option
@config_option
def command(
    *,
    listen: tuple[str, ...],
    check_only: bool,
    policy_file: Path | None,
    log_list_file: Path | None,
    config_file: Path | None,
) -> int:
    """Serve DNS on 127.0.0.1:53 and [::1]:53 from verified upstreams.

    Needs no configuration. Sockets that systemd passes (stubresolver.socket) take the place of the listen addresses.
    SIGTERM ends it after the queries under way; SIGHUP reads policy and log list again. Log lines go to stderr; no
    name that is asked for is ever logged.

    \b
    Examples:
      stubresolver run --listen 127.0.0.1:5300      no privilege needed
      stubresolver run --check                      exit status 0 if everything reads, 2 if not
    """  # noqa: D301 - \b tells click to keep the lines that follow
    settings = load_settings(config_file)
    settings = replace(
        settings,
        addresses=tuple(dict.fromkeys(map(parse_listen_address, listen))) or settings.addresses,
        policy_file=policy_file or settings.policy_file,
        log_list_file=log_list_file or settings.log_list_file,
    )
    verifier = _load_verifier(settings)
    if check_only:
        _show_settings(settings, verifier)
        return 0
    log_to_stderr()
    with contextlib.closing(_bind(settings)) as bound, contextlib.closing(open_evidence(settings)) as evidence:
        gc.freeze()  # what is loaded now stays: the collector need not look at it again
        app = App(settings, build_demands(verifier, evidence))
        trio.run(_serve, app, bound, settings, evidence, _trust(verifier))
    return 0


def _bind(settings: Settings) -> Bound:
    """The sockets that systemd passed, or else those of the listen addresses; with warnings."""
    inherited = systemd.take_sockets()
    bound = bind_all(settings.addresses) if inherited is None else Bound(inherited.udp, inherited.tcp, ())
    for problem in bound.left_out:
        log.warning("%s", problem)
    for sock in bound.udp:
        host = sock.getsockname()[0]
        if not ip_address(host).is_loopback:
            log.warning("%s can be reached by other machines; without a firewall this is an open resolver", host)
    return bound


async def _serve(app: App, bound: Bound, settings: Settings, evidence: EvidenceStore, in_force: str) -> None:
    """Serve until SIGTERM or SIGINT, read policy and log list again on SIGHUP, tell the service manager how it goes."""
    addresses = ", ".join(f"{sock.getsockname()[0]} port {sock.getsockname()[1]}" for sock in bound.udp)
    listening = f"listening on {addresses}"

    def started() -> None:
        log.info("%s; %d upstreams; %s", listening, len(settings.upstreams), in_force)
        systemd.ready(listening)

    async def obey_signals() -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async for number in signals:
                if number == signal.SIGHUP:
                    systemd.reloading()
                    await _reload(app, settings, evidence)
                    systemd.ready(listening)
                    continue
                log.info("%s: finishing what is in flight", signal.Signals(number).name)
                systemd.stopping("finishing what is in flight")
                app.stop()

    async def alive() -> bool:
        await trio.lowlevel.checkpoint()
        return True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(obey_signals)
        if interval := systemd.watchdog_interval():
            nursery.start_soon(systemd.watchdog, interval, alive)
        await app.serve(bound.udp, bound.tcp, started)
        nursery.cancel_scope.cancel()
    log.info("stopped")


async def _reload(app: App, settings: Settings, evidence: EvidenceStore) -> None:
    """Put the policy and the log list as they are now in force; with an error in them the old ones stay."""
    try:
        verifier = await trio.to_thread.run_sync(_load_verifier, settings)
    except StubResolverError as error:
        log.error("reload refused, the policy and log list from before stay in force: %s", error)  # noqa: TRY400
        return
    app.renew(build_demands(verifier, evidence))
    log.info("reloaded: %s", _trust(verifier))


def _load_verifier(settings: Settings) -> Verifier:
    return Verifier(load_policy(settings.policy_file), load_log_list(settings.log_list_file))


def _trust(verifier: Verifier) -> str:
    """Which demands are in force, in one line."""
    policy, log_list = verifier.policy, verifier.log_list
    listed = (
        f"log list {log_list.version} of {log_list.timestamp:%Y-%m-%d}, {len(log_list.logs)} logs" if log_list else ""
    )
    return f"policy {policy.digest[:12]} with {len(policy.anchors)} anchors; {listed}"


def _show_settings(settings: Settings, verifier: Verifier) -> None:
    """What `--check` found to be in force."""
    click.echo(f"configuration: {settings.source}")
    click.echo(f"listen: {', '.join(str(address) for address in settings.addresses)}")
    for upstream in settings.upstreams:
        click.echo(f"upstream: {upstream}")
    click.echo(f"policy: {settings.policy_file or 'shipped'} ({_trust(verifier)})")
    click.echo("everything reads")
