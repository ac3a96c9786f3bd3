"""The service that `stubresolver run` runs."""

import logging
import os
import signal
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import trio

from stubresolver import systemd
from stubresolver.app import App
from stubresolver.audit.background import tell_kept
from stubresolver.cli.ageing import daily, doubt_clock, list_age
from stubresolver.cli.clock import real_clocks
from stubresolver.cli.common import utc_now
from stubresolver.cli.judges import told_upstream
from stubresolver.cli.kept_cache import kept_cache
from stubresolver.cli.status_file import ServiceStatus, remove_status, write_status
from stubresolver.cli.status_told import ServiceFacts, whole_status
from stubresolver.config import Settings
from stubresolver.control import Command, ControlServer, ControlSocket, Request
from stubresolver.control.status import Status
from stubresolver.ct.compliance import Freshness
from stubresolver.demands import build_all_demands
from stubresolver.errors import CannotListen, StubResolverError
from stubresolver.evidence import EvidenceKeeper, EvidenceState, Recorder
from stubresolver.localfiles import LocalFiles
from stubresolver.loglines import report_files, report_forwarding
from stubresolver.netwatch import Change, Kind, watch
from stubresolver.serve import Bound
from stubresolver.trust import Trust, load_trust
from stubresolver.verify import iso

# To know the network before the first dial saves making it twice; the kernel answers within a millisecond.
_LOOK_SECONDS = 0.2

log = logging.getLogger("stubresolver")


class Service:
    """The resolver with what surrounds it: signals, the service manager, the status file."""

    def __init__(
        self,
        settings: Settings,
        trust: Trust,
        bound: Bound,
        evidence: EvidenceKeeper,
        status: Path,
        *,
        files: LocalFiles,
    ) -> None:
        self._settings = settings
        self._files = files
        self._trust = trust  # in force
        self._bound = bound
        self._evidence = evidence
        self._recorder = Recorder(evidence, self._kept_or_not)
        self._status_file = status
        self._reloads = 0
        demands = build_all_demands(trust, self._recorder)
        self._app = App(settings, demands, files, lambda: int(utc_now().timestamp()), told=self._noticed)
        self._outcome, self._reloaded = "", True  # of the start or of the last reload
        self._app.surroundings.clock = self._doubt_clock()
        self._alarms = tell_kept(evidence.audits())  # of audits, kept until a person dismisses them
        self._looked = trio.Event()  # it is known which network this is, or that nobody can know
        self._standing = trio.Event()  # queries are taken
        self._begun, self._begun_at = utc_now(), 0.0  # by the wall clock, and by the one that counts sleep
        self._kept = kept_cache(settings)

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        self._begun, self._begun_at = utc_now(), trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._obey_signals)
            contain = self._app.containment.run
            nursery.start_soon(contain, "the daily look at list and clock", partial(daily, self._remind))
            nursery.start_soon(contain, "keeping evidence", self._recorder.tend)
            if self._settings.audit.background:
                nursery.start_soon(contain, "the background audit", self._audit)
            if interval := systemd.watchdog_interval():
                nursery.start_soon(systemd.watchdog, interval, _alive)
            await nursery.start(self._take_commands)
            nursery.start_soon(contain, "restoring the cache", self._restore_cache)
            nursery.start_soon(contain, "watching the network", partial(self._watch_surroundings, nursery))
            with trio.move_on_after(_LOOK_SECONDS):
                await self._looked.wait()
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
        self._outcome = f"started: {self._trust}"
        self._tell_status()
        systemd.ready(self._state)
        self._standing.set()

    async def _take_commands(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Answer on the control socket; without one the service is no worse."""
        try:
            with ControlSocket(self._status_file.with_name("control.sock")) as sock:
                task_status.started()  # who connects from now on is answered
                await self._app.containment.run("answering commands", ControlServer(sock, self._commands).run)
        except CannotListen as error:
            log.warning("%s: `stubresolver status`, `portal` and `cache` will not find us", error)
            task_status.started()

    @property
    def _commands(self) -> Mapping[str, Command]:
        """What a person may ask of us."""
        return {**self._app.commands, "status": self._tell_whole_status}

    async def _tell_whole_status(self, _request: Request) -> Status:
        """Everything, for `stubresolver status`."""
        await trio.lowlevel.checkpoint()
        facts = ServiceFacts(
            config=self._settings.source,
            outcome=self._outcome,
            reloaded=self._reloaded,
            started=self._begun,
            uptime=trio.current_time() - self._begun_at,
            listening=tuple(f"{host} port {port}" for host, port in self._places),
            trust=self._trust,
            evidence=self._evidence.state,
            clock=self._clock,
            portal=self._app.portal.text,
            audit_alarms=self._alarms,
            tasks=dict(self._app.containment.problems),
        )
        return whole_status(facts, self._app.figures, utc_now())

    async def _watch_surroundings(self, nursery: trio.Nursery) -> None:
        """Tell the resolver of resumes, other networks and a clock that was set."""

        def changed(change: Change) -> None:
            self._looked.set()
            self._app.moved(change)
            if change.kind is Kind.CLOCK:
                nursery.start_soon(self._look_at_clock)

        def unseen(problem: str) -> None:
            self._looked.set()
            log.warning("%s", problem)

        await watch(changed, [upstream.address for upstream in self._trust.upstreams], real_clocks(), unseen)

    async def _look_at_clock(self) -> None:
        """Doubt the clock, or believe it again."""
        try:
            self._app.surroundings.clock = await trio.to_thread.run_sync(self._doubt_clock)
        except RuntimeError as error:  # no thread can be started
            log.warning("the clock could not be looked at: %s", error)
            return
        self._app.surroundings.notice()
        self._tell_change()

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
        self._tell_change()

    def _noticed(self) -> None:
        """Something else is the matter with the upstreams, or nothing any more."""
        if self._standing.is_set():
            self._tell_change()

    def _kept_or_not(self, _: EvidenceState) -> None:
        """What is judged is kept again, or cannot be any more."""
        if self._standing.is_set():
            self._tell_change()

    def _tell_change(self) -> None:
        """Tell other commands and the service manager that something is not as it was."""
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
            demands = await trio.to_thread.run_sync(build_all_demands, trust, self._recorder)
        except (StubResolverError, OSError, RuntimeError, MemoryError) as error:  # RuntimeError: no thread can start
            problem = str(error) or "not enough memory"
            refused = f"reload refused, the policy and log list from before stay in force: {problem}"
            log.error("%s", refused)  # noqa: TRY400 - a person's slip, no defect
            self._end_reload(refused, reloaded=False)
            return
        changed = not trust.demands_the_same(self._trust)
        await self._app.renew(demands, forget=changed)
        self._trust = trust
        await self._look_at_clock()
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
        self._app.surroundings.clock = await trio.to_thread.run_sync(self._doubt_clock)
        self._warn(self._trust.list_warnings(utc_now()))
        self._alarms = await trio.to_thread.run_sync(tell_kept, self._evidence.audits())
        self._tell_change()

    @property
    def _clock(self) -> str:
        """Why the clock must be wrong."""
        return self._app.surroundings.clock

    def _doubt_clock(self) -> str:
        return doubt_clock(self._trust.log_list, self._evidence, utc_now())

    @property
    def _listening(self) -> str:
        return f"listening on {', '.join(f'{host} port {port}' for host, port in self._places)}"

    @property
    def _places(self) -> list[tuple[str, int]]:
        """Hosts and ports where queries are taken."""
        return [sock.getsockname()[:2] for sock in self._bound.udp]

    @property
    def _aloud(self) -> str:
        """What every status ends with: who is asked whatever the verdict, a list that is old, a clock that is wrong."""
        reporting = ", ".join(map(str, self._trust.reporting))
        days, state = list_age(self._trust.log_list, utc_now())
        return "".join(
            (
                f"; {self._app.portal.text}" if self._app.portal.text else "",
                f"; REPORT MODE for {reporting}" if reporting else "",
                "" if state is Freshness.FRESH else f"; LOG LIST {days} days old ({state})",
                f"; {self._clock}" if self._clock else "",
                f"; {self._trouble}" if self._trouble else "",
                f"; {self._evidence.state}" if str(self._evidence.state) else "",
                f"; FAILING: {self._app.containment}" if self._app.containment.problems else "",
                f"; AUDIT ALARMS kept: {self._alarms}" if self._alarms else "",
            )
        )

    @property
    def _trouble(self) -> str:
        """What is the matter with the upstreams, if it is not the clock alone."""
        noticed = self._app.surroundings.noticed
        return "" if noticed.text == self._clock else noticed.told

    @property
    def _state(self) -> str:
        """For the service manager's status line."""
        return f"{self._listening}{self._aloud}"

    def _tell_trust(self) -> None:
        """Log what is demanded of each upstream, and what a person should know about it."""
        for upstream, demanded in self._trust.upstreams.items():
            log.info("%s: %s", told_upstream(self._settings, upstream), demanded)
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
