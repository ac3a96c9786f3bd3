"""`stubresolver portal`: for a few minutes a person's names go to the network's own server, in clear.

The law of this file: only a command over the control socket opens it, which root and the service's own user alone may
give; nothing that is asked by DNS and no file can. It names the servers, and these are the ones that the network's DHCP
gave, or private. It ends by its time, which goes on while the machine sleeps; by command; with the service; with any
change of network, because another network is another promise; and at once when an upstream stands verified, for then
the login is done. All the while the upstreams are asked, over TLS, whether they are there. Start and end are logged.

What goes there: names that the cache has no fresh answer for, that are not answered here and that have no forward zone.
What comes back is believed for five seconds, may be of the private network, and is never a loopback address.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import trio

from stubresolver.cache import Replacement
from stubresolver.control import Command, Request
from stubresolver.control.portal import LONGEST, SHORTEST, PortalPlan, PortalState
from stubresolver.errors import BadInput, UpstreamError
from stubresolver.forward import Leases, Place, find_leases
from stubresolver.forward.ourselves import Listening, is_own
from stubresolver.resolve import Resolver
from stubresolver.upstream.portal import PortalExchanger
from stubresolver.upstream.server import PlainServer
from stubresolver.wire.answer import Answer
from stubresolver.wire.edns import upstream_query_of
from stubresolver.wire.query import Query

# Asked of the upstreams meanwhile: where nobody asks them they have no reason to be dialled soon. ". NS": no name.
_PROBE: Final = upstream_query_of(b"\0\0\2\0\1\1")
_PROBE_SECONDS: Final = 2.0  # about as long as a page takes that says "you are online now"

Reply = Callable[[bytes | UpstreamError], None]

log = logging.getLogger("stubresolver")


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What the portal needs of others, as functions."""

    takes: Callable[[bytes], bool]  # whether a key is for the upstreams, and no zone's
    vet: Callable[[Query, Answer], Replacement | None]
    ask_upstreams: Callable[[bytes, Reply], None]
    standing: Callable[[], str]  # the upstream that answers; "" where none does
    started: Callable[[], object] = lambda: None  # called when one has begun
    told: Callable[[], None] = lambda: None  # called after each change
    wall: Callable[[], int] = lambda: 0  # seconds since 1970


class Portal:
    """Opens and ends it; at most one at a time, while `run` is running."""

    def __init__(self, places: Sequence[Place], resolver: Resolver, needs: Needs) -> None:
        self._places = places
        self._resolver = resolver
        self._needs = needs
        self._listening: Listening = ()
        self._nursery: trio.Nursery | None = None
        self._session: _Session | None = None
        self._last = PortalState(open=False)
        self._opened = 0
        self._sent = 0  # by those that have ended
        self._networks = 0  # how often it was another one, or may have been

    def avoid(self, listening: Listening) -> None:
        """Never ask our own listeners, by their hosts and ports."""
        self._listening = listening

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Be ready to open one, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._nursery = None
                self.end("the service ends")

    @property
    def commands(self) -> Mapping[str, Command]:
        """By their names."""
        return {
            "portal.find": self._find,
            "portal.start": self._start,
            "portal.stop": self._stop,
            "portal.show": self._show,
        }

    @property
    def state(self) -> PortalState:
        """What goes where now."""
        return self._last if self._session is None else self._session.state(self._opened)

    @property
    def text(self) -> str:
        """One line while one is open, else ""."""
        session = self._session
        if session is None:
            return ""
        return f"PORTAL OPEN for {session.seconds:g} s: names go in clear to {', '.join(session.servers)}"

    @property
    def sent(self) -> int:
        """How many queries went out in clear since the start."""
        return self._sent + (0 if self._session is None else self._session.exchanger.sent)

    def end(self, why: str, *, verified: bool = False) -> None:
        """Nothing goes there any more, also of what is under way; without one that is open, nothing happens."""
        session, self._session = self._session, None
        if session is None:
            return
        session.exchanger.close()
        self._resolver.detour(None)
        self._sent += session.exchanger.sent
        self._last = session.ended(why, self._opened, verified=verified)
        session.scope.cancel()
        log.warning("PORTAL ENDED: %s; queries sent in clear: %d; protection is on", why, self._last.queries)
        self._needs.told()

    def moved(self) -> None:
        """The machine is in another network, or may be: what a person has agreed to was about the one before."""
        self._networks += 1
        self.end("the network has changed, or may have")

    async def _find(self, request: Request) -> PortalPlan:
        """Who would be asked: whom the person names, or whom the network does."""
        self._refuse()
        network = self._networks
        leases = await self._leases()
        servers = tuple(map(leases.choose, request.servers))
        if not servers and leases.found:
            servers = leases.found[0].servers
        if not servers:
            raise BadInput(
                "no server of this network was found; --server names one, such as the router's address. Looked at: "
                + "; ".join(leases.looked)
            )
        return PortalPlan(
            servers=tuple(str(server.address) for server in servers),
            source=leases.source(servers),
            looked=leases.looked,
            network=network,
        )

    async def _start(self, request: Request) -> PortalState:
        """Open one; the servers are named, because a person has agreed to these and to no others."""
        if not SHORTEST <= request.seconds <= LONGEST:
            raise BadInput(f"a portal for {request.seconds:g} s: expected {SHORTEST:g} s to {LONGEST:g} s")
        if not request.servers:
            raise BadInput("a portal to nobody: expected the servers that the person has agreed to")
        network = self._networks if request.network is None else request.network
        leases = await self._leases()
        servers = tuple(map(leases.choose, request.servers))
        for server in servers:
            if is_own(server, self._listening):
                raise BadInput(f"{server.address} is this resolver itself")
        self._refuse()  # after the last wait: nothing comes between this and the start
        if network != self._networks:
            raise BadInput("the network has changed since the servers were named: look at them, and say so again")
        if self._nursery is None:
            raise BadInput("the service is about to stop")
        session = _Session(servers, leases.source(servers), request.seconds, self._needs)
        self._session, self._opened = session, self._opened + 1
        log.warning(
            "PORTAL OPEN for %g s, by a person's command: names that are not in the cache go to %s%s, "
            "neither encrypted nor verified",
            request.seconds,
            ", ".join(map(str, servers)),
            f" (of {session.source})" if session.source else "",
        )
        self._nursery.start_soon(self._hold, session)
        await session.begun.wait()
        self._needs.started()
        self._needs.told()
        return self.state

    async def _stop(self, _request: Request) -> PortalState:
        await trio.lowlevel.checkpoint()
        if self._session is None:
            raise BadInput("no portal is open")
        self.end("a person stopped it")
        return self.state

    async def _show(self, _request: Request) -> PortalState:
        await trio.lowlevel.checkpoint()
        return self.state

    def _refuse(self) -> None:
        """Raise `BadInput` where there is no reason to open one."""
        if not self._places:
            raise BadInput("`servers` in [portal] of the configuration is empty: here nobody opens a portal")
        if self._session is not None:
            left = self._session.left
            raise BadInput(f"a portal is open already, for {left:.0f} s more; `stubresolver portal --stop` ends it")
        if standing := self._needs.standing():
            raise BadInput(f"{standing} stands, verified: names are resolved, and no portal is in the way")

    async def _leases(self) -> Leases:
        now = datetime.fromtimestamp(self._needs.wall(), UTC)
        try:
            return await trio.to_thread.run_sync(
                find_leases, self._places, self._listening, now, abandon_on_cancel=True
            )
        except RuntimeError as error:  # no thread can be started
            raise BadInput(f"the files of the DHCP clients cannot be read now: {error}") from None

    async def _hold(self, session: "_Session") -> None:
        """Carry the queries until the end, whatever ends it, be it before it has begun."""
        try:
            with session.scope:
                await self._carry(session)
        finally:
            session.begun.set()

    async def _carry(self, session: "_Session") -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(session.exchanger.run)
            if self._session is session:
                self._resolver.detour(session)
                session.begun.set()
                nursery.start_soon(self._probe, session)
                await trio.sleep_until(session.exchanger.until)
            if self._session is session:
                self.end("its time is over")

    async def _probe(self, session: "_Session") -> None:
        """See whether an upstream is there, again and again."""

        def arrived(result: bytes | UpstreamError) -> None:
            if isinstance(result, bytes) and self._session is session:
                self.end(f"{self._needs.standing() or 'an upstream'} stands, verified", verified=True)

        while True:
            self._needs.ask_upstreams(_PROBE, arrived)
            await trio.sleep(_PROBE_SECONDS)


class _Session:
    """One that is open: a detour of the resolver."""

    def __init__(self, servers: Sequence[PlainServer], source: str, seconds: float, needs: Needs) -> None:
        self.source = source
        self.scope = trio.CancelScope()
        self.begun = trio.Event()  # queries go there, or it is over already
        self.exchanger = PortalExchanger(servers, trio.current_time() + seconds)
        self._until = self.exchanger.until
        self.servers = tuple(str(server.address) for server in servers)
        self.seconds = seconds
        self.takes = needs.takes
        self.vet = needs.vet
        self.exchange_soon = self.exchanger.exchange_soon

    @property
    def left(self) -> float:
        """Seconds until its end."""
        return max(0.0, self._until - trio.current_time())

    def state(self, opened: int) -> PortalState:
        """While it is open."""
        return PortalState(
            open=True,
            servers=self.servers,
            source=self.source,
            seconds=self.seconds,
            left=self.left,
            queries=self.exchanger.sent,
            opened=opened,
        )

    def ended(self, why: str, opened: int, *, verified: bool) -> PortalState:
        """Afterwards."""
        return PortalState(
            open=False,
            servers=self.servers,
            source=self.source,
            seconds=self.seconds,
            queries=self.exchanger.sent,
            ended=why,
            verified=verified,
            opened=opened,
        )
