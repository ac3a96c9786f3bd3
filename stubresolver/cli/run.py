"""`stubresolver run`: the service."""

import contextlib
import gc
import logging
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import click
import trio

from stubresolver import systemd
from stubresolver.cli.clock import BootClock
from stubresolver.cli.common import config_option, log_list_option, open_evidence, policy_option, utc_now
from stubresolver.cli.descriptors import share_descriptors
from stubresolver.cli.journal import log_to_stderr
from stubresolver.cli.judges import told_upstream
from stubresolver.cli.service import Service
from stubresolver.cli.status_file import default_status_file, status_option
from stubresolver.config import Settings, load_settings, web_anchors
from stubresolver.errors import SelfTestFailed
from stubresolver.forward import Forwarding
from stubresolver.localfiles import LocalFiles
from stubresolver.selftest import run_selftest
from stubresolver.serve import Bound, bind_all, check_listening, parse_listen_address
from stubresolver.trust import Trust, load_trust

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
@status_option
@config_option
def command(
    *,
    listen: tuple[str, ...],
    check_only: bool,
    policy_file: Path | None,
    log_list_file: Path | None,
    status_file: Path | None,
    config_file: Path | None,
) -> int:
    """Serve DNS on 127.0.0.1:53 and [::1]:53 from verified upstreams.

    Needs no configuration. Sockets that systemd passes (stubresolver.socket) take the place of the listen addresses.
    SIGTERM ends it after the queries under way; SIGHUP, or `stubresolver reload`, reads policies and log list again.
    Log lines go to stderr; no name that is asked for is ever logged.

    \b
    Examples:
      stubresolver run --listen 127.0.0.1:5300    no privilege needed
      stubresolver run --check                    exit status 0 or 2
    """  # noqa: D301 - \b tells click to keep the lines that follow
    settings = load_settings(config_file)
    settings = replace(
        settings,
        addresses=tuple(dict.fromkeys(map(parse_listen_address, listen))) or settings.addresses,
    ).with_trust(policy_file, log_list_file)
    check_listening(settings.addresses, settings.listen.allow)
    trust = load_trust(settings)
    if settings.audit.background or settings.audit_anchors:
        settings = replace(settings, audit_anchors=web_anchors(settings))
    _test_judgement()
    files = LocalFiles(
        settings.local,
        settings.source,
        forwarded=settings.forwarded,
        private=settings.private_zones,
        report=partial(log.warning, "%s"),
    )
    files.read()
    if check_only:
        _show_settings(settings, trust, files)
        return 0
    log_to_stderr()
    shared = share_descriptors(settings)
    if shared.warning:
        log.warning("%s", shared.warning)
    settings = shared.settings
    report = partial(log.error, "%s")
    with contextlib.closing(_bind(settings)) as bound, contextlib.closing(open_evidence(settings, report)) as evidence:
        gc.freeze()  # what is loaded now stays: the collector need not look at it again
        service = Service(settings, trust, bound, evidence, status_file or default_status_file(), files=files)
        trio.run(service.run, clock=BootClock(), restrict_keyboard_interrupt_to_checkpoints=True)
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
            answered = ", ".join(settings.listen.allow) or "nobody else: `allow` in [listen] names none"
            log.warning("%s can be reached by other machines; beside loopback it answers %s", host, answered)
    return bound


def _test_judgement() -> None:
    """Raise `SelfTestFailed` if this installation does not judge as it must."""
    try:
        run_selftest()
    except SelfTestFailed as error:
        raise SelfTestFailed(f"the self-test failed, so nothing is served: {error}; install it anew") from None


def _show_settings(settings: Settings, trust: Trust, files: LocalFiles) -> None:
    """What `--check` found to be in force."""
    click.echo(f"configuration: {settings.source}")
    click.echo(f"listen: {', '.join(str(address) for address in settings.addresses)}")
    for upstream, demanded in trust.upstreams.items():
        click.echo(f"upstream: {told_upstream(settings, upstream)}: {demanded}")
    click.echo(f"in force: {trust}")
    for warning in trust.warnings(utc_now()):
        click.echo(f"warning: {warning}")
    plain = Forwarding([zone for zone in settings.forward if not zone.upstreams], {})
    for line in plain.lines():
        click.echo(line)
    for problem in plain.problems():
        click.echo(f"warning: {problem}")
    click.echo(f"known here: {files}")
    for problem in files.problems:
        click.echo(f"warning: {problem}")
    click.echo("everything reads")
