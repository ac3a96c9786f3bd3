"""Joins the rooms: settings in, a running resolver out. The only place that knows both wings.

`App` holds references and the tree of tasks, nothing else: the pool with its connections, the resolver with its
flights, the listeners. Whatever goes wrong with one peer or client is a reply or a log line where it happens; what
arrives here is a defect and ends the process, which the service manager starts again.
"""

import logging
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from ipaddress import IPv4Address, IPv6Address

import trio

from stubresolver.cache import AnswerCache, pack, unpack
from stubresolver.config import Settings
from stubresolver.contained import Containment
from stubresolver.control import CacheCommands, Command
from stubresolver.errors import MalformedAnswer, MalformedQuery, UpstreamError
from stubresolver.forward import Forwarding, ForwardZone
from stubresolver.local import LocalKnowledge, SpecialNames
from stubresolver.local.replies import Withheld
from stubresolver.localfiles import LocalFiles
from stubresolver.loglines import EventLog, report_files, report_forwarding
from stubresolver.netwatch import Change, Kind
from stubresolver.portal import Needs, Portal
from stubresolver.recent import RecentRefusals
from stubresolver.resolve import Resolver
from stubresolver.resolve.routes import Routes
from stubresolver.serve import Front, TcpServer, UdpServer
from stubresolver.statuspage import Figures
from stubresolver.surroundings import Surroundings
from stubresolver.upstream import (
    Demands,
    Judged,
    Pool,
    PoolEvent,
    PoolStatistics,
    Refusals,
    Upstream,
    renew_all,
)
from stubresolver.upstream.clear import SENT
from stubresolver.upstream.diagnosis import Diagnosis
from stubresolver.wire import Query, UpstreamForm
from stubresolver.wire.addresses import address_query, addresses_in
from stubresolver.wire.answer import Answer
from stubresolver.wire.codes import AAAA, A

# How long queries under way get to end after SIGTERM: a query's own deadline (4 s) and a little; our unit waits 15 s.
GRACE = 5.0
_ROOT = b"\0"
_RESTORED_AT_ONCE = 50  # answers; about a millisecond
WRITE_GRACE = 2.0  # for clients to take the answers that they are owed over TCP; on loopback they do at once

log = logging.getLogger("stubresolver")


class App:
    """A resolver with its upstreams: built from values, run once."""

    def __init__(
        self,
        settings: Settings,
        demands: Mapping[Upstream, Demands],
        files: LocalFiles | None = None,
        wall: Callable[[], int] | None = None,
        *,
        told: Callable[[], None] = lambda: None,
    ) -> None:
        """`demands` names the upstreams, the most preferred one first; `files` have been read.

        `wall` gives seconds since 1970, by which signatures in answers end. `told` is called when `surroundings` have
        another diagnosis.
        """
        self._settings = settings
        self._files = files
        self.recent_refusals = RecentRefusals()
        self._events = EventLog()
        special = SpecialNames(forwarded=settings.forwarded)
        self._known = LocalKnowledge(special=special) if files is None else files.knowledge
        refusals = Refusals()  # an address may be an upstream of several pools
        self._forwarding = Forwarding(settings.forward, demands, settings.upstream, self._report, refusals)
        elsewhere = {upstream for zone in settings.forward for upstream in zone.upstreams}
        default = {upstream: demanded for upstream, demanded in demands.items() if upstream not in elsewhere}
        self._pool = Pool(
            default,
            settings.upstream,
            self._report,
            providers=settings.providers,
            explain=self._explain,
            refusals=refusals,
        )
        form = UpstreamForm(client_subnet=settings.resolver.client_subnet != "none").query_of
        self._routes = Routes(self._pool, self._forwarding.routes, self._answer_here, form)
        self._cache = AnswerCache(settings.cache)
        exchanger = self._routes if settings.forward else self._pool  # without zones no query looks for one
        self.surroundings = Surroundings(
            self._pool.statistics,
            emergency=settings.local.emergency,
            elsewhere=lambda name: self._routes.of_name(name) is not None,
            told=told,
        )
        last_resort = self.surroundings.last_resort
        self._resolver = Resolver(exchanger, self._cache, settings.resolver, self._known, wall, last_resort=last_resort)
        self.portal = Portal(
            settings.portal,
            self._resolver,
            Needs(
                takes=lambda key: self._routes.of_key(key) is None,
                vet=self._vet_unverified,
                ask_upstreams=self._pool.exchange_soon,
                standing=self._standing,
                started=self._cache.forget_failures,
                told=told,
                wall=wall or (lambda: 0),
            ),
        )
        self._sent_before = SENT.queries
        self._udp: list[UdpServer] = []
        self._tcp: list[TcpServer] = []
        self.containment = Containment(told)
        self._stopping = trio.Event()

    async def serve(
        self, udp: Sequence[socket.socket], tcp: Sequence[socket.socket], started: Callable[[], None]
    ) -> None:
        """Answer on bound sockets until `stop`; `started` is called when queries are taken."""
        own = {sock.getsockname()[:2] for sock in (*udp, *tcp)}
        self._forwarding.avoid(own)
        self.portal.avoid(own)
        async with trio.open_nursery() as nursery:
            await nursery.start(self._run_upstreams)
            await nursery.start(self._resolver.run)
            front = Front(self._settings.listen)
            self._udp = [UdpServer(sock, self._resolver, front) for sock in udp]
            self._tcp = [TcpServer(tcp, self._resolver, self._settings.listen, front)]
            listeners: list[UdpServer | TcpServer] = [*self._udp, *self._tcp]
            async with trio.open_nursery() as listening:
                for listener in listeners:
                    await listening.start(listener.serve)
                contain = self.containment.run
                if self._files is not None:
                    nursery.start_soon(contain, "watching the local files", partial(self._files.watch, self._learn))
                watching = partial(self._forwarding.watch, self._ask_others)
                nursery.start_soon(contain, "watching the zones' files", watching)
                await nursery.start(self.portal.run)
                started()
                await self._stopping.wait()
                self.portal.end("the service ends")
                for listener in listeners:
                    listener.stop()
                await self._resolver.stop(GRACE)
                # Every answer is there by now; those over TCP have still to be written.
                listening.cancel_scope.deadline = trio.current_time() + WRITE_GRACE
            nursery.cancel_scope.cancel()

    async def ask(self, query: Query) -> tuple[bytes, PoolStatistics]:
        """One answer without listeners, and what is known of the upstreams afterwards."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._run_upstreams)
            answer = await self._resolver.answer(query)
            statistics = PoolStatistics((*self._pool.statistics().upstreams, *self._forwarding.statistics()))
            nursery.cancel_scope.cancel()
        return answer, statistics

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        """Run the upstreams without listeners, for a command that has several questions."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._run_upstreams)
            yield
            nursery.cancel_scope.cancel()

    async def addresses(self, name: str) -> Sequence[IPv4Address | IPv6Address]:
        """The addresses of a name that the program itself needs, IPv4 first; while `serve` or `asking` runs.

        Raises `UpstreamError` where neither kind could be learnt.
        """
        if self.portal.text:
            raise UpstreamError(f"{name} is asked of nobody now: a portal is open, and that is for a person's names")
        found: dict[int, list[IPv4Address | IPv6Address]] = {}
        problems: list[str] = []

        async def learn(kind: int) -> None:
            try:
                query = address_query(name, kind)
                found[kind] = addresses_in(await self._resolver.answer(query), query)
            except (MalformedQuery, MalformedAnswer) as error:
                problems.append(str(error))

        async with trio.open_nursery() as nursery:
            for kind in (A, AAAA):
                nursery.start_soon(learn, kind)
        if not found:
            raise UpstreamError(problems[0])
        return [address for kind in (A, AAAA) for address in found.get(kind, [])]

    async def renew(self, demands: Mapping[Upstream, Demands], *, forget: bool) -> None:
        """Judge the same upstreams by other demands from now on; what stands and falls short of them is used no more.

        `forget` the answers from before, too, where the demands are not the same as before.
        """
        await renew_all([self._pool, *self._forwarding.pools], demands)
        if forget:
            self._resolver.forget()

    def moved(self, change: Change) -> None:
        """The machine has slept, is in another network, or its clock was set."""
        if change.kind is not Kind.CLOCK:
            self.portal.moved()
            self._leave_plain_servers()
        self.surroundings.take(change)
        for pool in (self._pool, *self._forwarding.pools):
            if change.kind is Kind.CLOCK:
                pool.clock_set()
            else:
                pool.moved(change.network)
        self._cache.forget_failures()

    def _leave_plain_servers(self) -> None:
        """What a plain server has answered was that network's; at its address another one answers in the next."""
        is_clear = self._forwarding.is_clear
        if any(map(is_clear, self._forwarding.routes)):
            keys = [key for key in self._cache.every_key() if is_clear(self._routes.of_key(key))]
            self._resolver.forget_within(_ROOT, keys)

    @property
    def diagnosis(self) -> Diagnosis:
        """What is the matter with the upstreams for most names."""
        return self.surroundings.diagnosis

    def _explain(self) -> Diagnosis:
        """What lies behind it when no upstream can be used."""
        return self.surroundings.explain()

    def _report(self, event: PoolEvent, zone: ForwardZone | None = None) -> None:
        """Something has happened to an upstream, be it one for a zone alone."""
        if zone is not None or not self.surroundings.covers(event):
            self._events.report(event, zone)
        self.recent_refusals.take(event)
        if zone is None:
            if isinstance(event, Judged) and event.verdict.connects and not event.again:
                self.portal.end(f"{event.upstream} stands, verified", verified=True)
            self.surroundings.notice()
        if isinstance(event, Judged) and event.verdict.connects and not event.again:
            pools = (self._pool, *self._forwarding.pools)
            if any([upstream for upstream, _ in pool.standing] == [event.upstream] for pool in pools):
                self._cache.forget_failures()  # nothing stood before: what was asked meanwhile is asked anew

    def _standing(self) -> str:
        """The upstream that is asked now; "" where none can be."""
        return next((line.upstream for line in self._pool.statistics().upstreams if line.state == "open"), "")

    async def _run_upstreams(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the connections to all upstreams until cancelled."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._pool.run)
            await nursery.start(self._forwarding.run)
            task_status.started()

    def _answer_here(self, query: Query) -> bytes | None:
        """The reply to a query that goes to nobody, by what is known now."""
        return self._known.reply(query)

    def _vet_unverified(self, query: Query, answer: Answer) -> Withheld | None:
        """What takes the place of an answer by a captive portal's server, by what is known now."""
        return self._known.vet_unverified(query, answer)

    def _ask_others(self, zone: ForwardZone) -> None:
        """A zone has other servers: what the earlier ones said is forgotten, and nothing under way is kept."""
        keys = [key for key in self._cache.every_key() if self._routes.of_key(key) is not None]
        self._resolver.forget_within(_ROOT, keys)
        report_forwarding(self._forwarding, zone)

    def _learn(self, knowledge: LocalKnowledge) -> None:
        """A file of local knowledge has changed: what it says now is in force, and every answer forgotten."""
        self._known = knowledge
        self._resolver.know(knowledge)
        if self._files is not None:
            report_files(self._files)

    @property
    def figures(self) -> Figures:
        """What it knows of itself now."""
        return Figures(
            pool=self._pool.statistics(),
            diagnosis=self.diagnosis,
            zones=self._forwarding.by_zone(),
            udp=tuple(each.statistics() for each in self._udp),
            tcp=tuple(each.statistics() for each in self._tcp),
            resolver=self._resolver.statistics(),
            counters=CacheCommands(self._cache, self._resolver).statistics(),
            clear=SENT.queries - self._sent_before,
            portal_sent=self.portal.sent,
            portal=self.portal.state,
            refusals=self.recent_refusals(),
        )

    @property
    def forwarding(self) -> Forwarding:
        """The servers of the forward zones."""
        return self._forwarding

    @property
    def commands(self) -> Mapping[str, Command]:
        """What a person may ask of it while it runs, by name."""
        return {**CacheCommands(self._cache, self._resolver).commands, **self.portal.commands}

    def pack_cache(self, demands: str, wall: float) -> bytes:
        """What the cache holds, as a file; `demands` stands for what the upstreams were judged by.

        Without the forward zones' answers: they belong to the network that this machine is in now.
        """
        now = trio.current_time()
        kept = ((answer, entry) for answer, entry in self._cache.kept(now) if self._routes.of_key(entry.key) is None)
        return pack(kept, demands, now, wall)

    async def restore_cache(self, octets: bytes, demands: str, wall: float) -> int:
        """Give the cache what such a file holds, a little at a time; how many answers that were.

        Raises `BadInput` for what is no such file, or one of other demands.
        """
        now, forgotten, restored = trio.current_time(), self._resolver.forgotten, 0
        for number, kept in enumerate(unpack(octets, demands, now, wall)):
            if number % _RESTORED_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
            if self._resolver.forgotten > forgotten:
                break  # other demands are in force by now
            if self._routes.of_key(kept.key) is None:
                restored += self._resolver.restore(kept, now)
        return restored

    def stop(self) -> None:
        """Let `serve` finish what is in flight and return."""
        self._stopping.set()
