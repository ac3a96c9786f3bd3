"""`stubresolver run`: the service."""

import contextlib
import gc
import logging
import os
import signal
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import click
import trio

from stubresolver import systemd
from stubresolver.app import App, build_all_demands, report_files, report_forwarding
from stubresolver.audit.background import tell_kept
from stubresolver.cli.ageing import daily, doubt_clock, list_age
from stubresolver.cli.clock import BootClock
from stubresolver.cli.common import config_option, log_list_option, open_evidence, policy_option, utc_now
from stubresolver.cli.journal import log_to_stderr
from stubresolver.cli.kept_cache import kept_cache
from stubresolver.cli.status import ServiceStatus, default_status_file, remove_status, status_option, write_status
from stubresolver.config import Settings, load_settings, web_anchors
from stubresolver.control import ControlServer, ControlSocket
from stubresolver.ct.compliance import Freshness
from stubresolver.errors import CannotListen, SelfTestFailed, StubResolverError
from stubresolver.evidence import EvidenceStore
from stubresolver.forward import Forwarding, zone_of
from stubresolver.localfiles import LocalFiles
from stubresolver.selftest import run_selftest
from stubresolver.serve import Bound, bind_all, check_listening, parse_listen_address
from stubresolver.trust import Trust, load_trust
from stubresolver.upstream import Upstream
from stubresolver.verify import iso

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
      stubresolver run --listen 127.0.0.1:5300      no privilege needed
      stubresolver run --check                      exit status 0 if everything reads, 2 if not
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
    with contextlib.closing(_bind(settings)) as bound, contextlib.closing(open_evidence(settings)) as evidence:
        gc.freeze()  # what is loaded now stays: the collector need not look at it again
        service = _Service(settings, trust, bound, evidence, status_file or default_status_file(), files=files)
        trio.run(service.run, clock=BootClock())
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


class _Service:
    """The resolver with what surrounds it: signals, the service manager, the status file."""

    def __init__(
        self,
        settings: Settings,
        trust: Trust,
        bound: Bound,
        evidence: EvidenceStore,
        status: Path,
        *,
        files: LocalFiles,
    ) -> None:
        self._settings = settings
        self._files = files
        self._trust = trust  # in force
        self._bound = bound
        self._evidence = evidence
        self._status_file = status
        self._reloads = 0
        self._app = App(settings, build_all_demands(trust, evidence), files, lambda: int(utc_now().timestamp()))
        self._outcome, self._reloaded = "", True  # of the start or of the last reload
        self._clock = self._doubt_clock()
        self._alarms = 0  # of audits, kept until a person dismisses them
        self._standing = trio.Event()  # queries are taken
        self._kept = kept_cache(settings)

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._obey_signals)
            nursery.start_soon(daily, self._remind)
            if self._settings.audit.background:
                nursery.start_soon(self._audit)
            if interval := systemd.watchdog_interval():
                nursery.start_soon(systemd.watchdog, interval, _alive)
            await nursery.start(self._take_commands)
            nursery.start_soon(self._restore_cache)
            await self._app.serve(self._bound.udp, self._bound.tcp, self._started)
            nursery.cancel_scope.cancel()
        if self._kept is not None:
            self._kept.write(self._app, self._trust)
        remove_status(self._status_file, os.getpid())
        log.info("stopped")

    def _started(self) -> None:
        log.info("%s; %d upstreams; %s", self._listening, len(self._settings.upstreams), self._trust)
        self._tell_trust()
        report_files(self._files)
        report_forwarding(self._app.forwarding)
        self._alarms = tell_kept(self._evidence.audits())
        self._outcome = f"started: {self._trust}"
        self._tell_status()
        systemd.ready(self._state)
        self._standing.set()

    async def _take_commands(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Answer on the control socket; without one the service is no worse."""
        try:
            with ControlSocket(self._status_file.with_name("control.sock")) as sock:
                await ControlServer(sock, self._app.commands).run(task_status=task_status)
        except CannotListen as error:
            log.warning("%s: `stubresolver cache` will not find us", error)
            task_status.started()

    async def _restore_cache(self) -> None:
        """Read what an earlier start has kept, beside the first queries."""
        if self._kept is not None:
            await self._standing.wait()
            await self._kept.restore(self._app, self._trust)

    async def _audit(self) -> None:
        """Ask the logs about the upstreams' certificates, beside the queries."""
        # here, for the memory of a service that does not
        from stubresolver.cli.auditing import audit_in_background  # noqa: PLC0415

        await self._standing.wait()
        anchors = self._settings.audit_anchors
        await audit_in_background(self._app, self._evidence, lambda: self._trust.log_list, anchors, self._alarmed)

    def _alarmed(self, alarms: int) -> None:
        self._alarms = alarms
        self._tell_status()
        systemd.notify(f"STATUS={self._state}")

    async def _obey_signals(self) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async for number in signals:
                if number == signal.SIGHUP:
                    systemd.reloading()
                    await self._reload()
                    systemd.ready(self._state)
                    continue
                log.info("%s: finishing what is in flight", signal.Signals(number).name)
                systemd.stopping("finishing what is in flight")
                self._app.stop()

    async def _reload(self) -> None:
        """Put policies and log list as they are now in force; with an error in any of them the old ones stay."""
        try:
            trust = await trio.to_thread.run_sync(load_trust, self._settings)
            demands = await trio.to_thread.run_sync(build_all_demands, trust, self._evidence)
        except StubResolverError as error:
            refused = f"reload refused, the policy and log list from before stay in force: {error}"
            log.error("%s", refused)  # noqa: TRY400 - a person's slip, no defect
            self._end_reload(refused, reloaded=False)
            return
        changed = not trust.demands_the_same(self._trust)
        await self._app.renew(demands, forget=changed)
        self._trust = trust
        self._clock = await trio.to_thread.run_sync(self._doubt_clock)
        reloaded = f"reloaded: {trust}{'' if changed else '; the same demands as before'}"
        log.info("%s", reloaded)
        self._tell_trust()
        self._end_reload(reloaded, reloaded=True)

    def _end_reload(self, outcome: str, *, reloaded: bool) -> None:
        """Tell what came of it; not before it has ended, because somebody may wait for the number."""
        self._reloads += 1
        self._outcome, self._reloaded = outcome, reloaded
        self._tell_status()

    async def _remind(self) -> None:
        """Once a day: say again what the time has made worse, and how old the log list is."""
        self._clock = await trio.to_thread.run_sync(self._doubt_clock)
        self._warn(self._trust.list_warnings(utc_now()))
        self._alarms = await trio.to_thread.run_sync(tell_kept, self._evidence.audits())
        self._tell_status()
        systemd.notify(f"STATUS={self._state}")

    def _doubt_clock(self) -> str:
        return doubt_clock(self._trust.log_list, self._evidence, utc_now())

    @property
    def _listening(self) -> str:
        names = (sock.getsockname() for sock in self._bound.udp)
        return f"listening on {', '.join(f'{name[0]} port {name[1]}' for name in names)}"

    @property
    def _aloud(self) -> str:
        """What every status ends with: who is asked whatever the verdict, a list that is old, a clock that is wrong."""
        reporting = ", ".join(map(str, self._trust.reporting))
        days, state = list_age(self._trust.log_list, utc_now())
        return "".join(
            (
                f"; REPORT MODE for {reporting}" if reporting else "",
                "" if state is Freshness.FRESH else f"; LOG LIST {days} days old ({state})",
                f"; {self._clock}" if self._clock else "",
                f"; AUDIT ALARMS kept: {self._alarms}" if self._alarms else "",
            )
        )

    @property
    def _state(self) -> str:
        """For the service manager's status line."""
        return f"{self._listening}{self._aloud}"

    def _tell_trust(self) -> None:
        """Log what is demanded of each upstream, and what a person should know about it."""
        for upstream, demanded in self._trust.upstreams.items():
            log.info("%s: %s", _told(self._settings, upstream), demanded)
        self._warn(self._trust.warnings(utc_now()))

    def _warn(self, warnings: tuple[str, ...]) -> None:
        """Log these warnings, and what speaks against the clock, which is worse."""
        for warning in warnings:
            log.warning("%s", warning)
        if self._clock:
            log.error("%s", self._clock)

    def _tell_status(self) -> None:
        """Write the status file; without one the service is no worse."""
        days, state = list_age(self._trust.log_list, utc_now())
        status = ServiceStatus(
            pid=os.getpid(),
            config=self._settings.source,
            reloads=self._reloads,
            reloaded=self._reloaded,
            outcome=f"{self._outcome}{self._aloud}",
            log_list_timestamp=iso(self._trust.log_list.timestamp),
            log_list_age_days=days,
            log_list_state=state.value,
            audit_alarms=self._alarms,
        )
        try:
            write_status(self._status_file, status)
        except OSError as error:
            problem = error.strerror or error
            log.warning(
                "%s: cannot be written (%s): `stubresolver reload` will not find us", self._status_file, problem
            )


async def _alive() -> bool:
    """The watchdog's probe: that it is called says that the loop turns."""
    await trio.lowlevel.checkpoint()
    return True


def _told(settings: Settings, upstream: Upstream) -> str:
    """An upstream, with the zones that it is asked for where these are not all."""
    zone = zone_of(settings.forward, upstream)
    return str(upstream) if zone is None else f"forward {zone}: {upstream}"


def _show_settings(settings: Settings, trust: Trust, files: LocalFiles) -> None:
    """What `--check` found to be in force."""
    click.echo(f"configuration: {settings.source}")
    click.echo(f"listen: {', '.join(str(address) for address in settings.addresses)}")
    for upstream, demanded in trust.upstreams.items():
        click.echo(f"upstream: {_told(settings, upstream)}: {demanded}")
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
