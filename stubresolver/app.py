"""Joins the rooms: settings in, a running resolver out. The only place that knows both wings.

`App` holds references and the tree of tasks, nothing else: the pool with its connections, the resolver with its
flights, the listeners. Whatever goes wrong with one peer or client is a reply or a log line where it happens; what
arrives here is a defect and ends the process, which the service manager starts again.
"""

import logging
import socket
from collections.abc import Callable, Sequence

import trio

from stubresolver.cache import AnswerCache
from stubresolver.config import Settings
from stubresolver.evidence import EvidenceStore
from stubresolver.resolve import Resolver
from stubresolver.serve import TcpServer, UdpServer
from stubresolver.transport import TLSContext
from stubresolver.upstream import (
    ConnectionLost,
    Demands,
    DialFailed,
    Judged,
    Pool,
    PoolEvent,
    PoolStatistics,
)
from stubresolver.verify import Presented, Verdict, Verifier
from stubresolver.wire import Query

# How long queries under way get to end after SIGTERM: a query's own deadline (4 s) and a little; systemd waits 90 s.
GRACE = 5.0
WRITE_GRACE = 2.0  # for clients to take the answers that they are owed over TCP; on loopback they do at once

log = logging.getLogger("stubresolver")


class App:
    """A resolver with its upstreams: built from values, run once."""

    def __init__(self, settings: Settings, demands: Demands) -> None:
        self._settings = settings
        self._pool = Pool(settings.upstreams, demands, settings.upstream, report_event)
        self._resolver = Resolver(self._pool, AnswerCache(settings.cache), settings.resolver)
        self._stopping = trio.Event()

    async def serve(
        self, udp: Sequence[socket.socket], tcp: Sequence[socket.socket], started: Callable[[], None]
    ) -> None:
        """Answer on bound sockets until `stop`; `started` is called when queries are taken."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._pool.run)
            listeners: list[UdpServer | TcpServer] = [UdpServer(sock, self._resolver) for sock in udp]
            listeners.append(TcpServer(tcp, self._resolver, self._settings.listen))
            async with trio.open_nursery() as listening:
                for listener in listeners:
                    await listening.start(listener.serve)
                started()
                await self._stopping.wait()
                for listener in listeners:
                    listener.stop()
                await self._resolver.stop(GRACE)
                # Every answer is there by now; those over TCP have still to be written.
                listening.cancel_scope.deadline = trio.current_time() + WRITE_GRACE
            nursery.cancel_scope.cancel()

    async def ask(self, query: Query) -> tuple[bytes, PoolStatistics]:
        """One answer without listeners, and what is known of the upstreams afterwards."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._pool.run)
            answer = await self._resolver.answer(query)
            statistics = self._pool.statistics()
            nursery.cancel_scope.cancel()
        return answer, statistics

    def renew(self, demands: Demands) -> None:
        """Judge by other demands from now on; neither a connection nor an answer from before is used again."""
        self._pool.renew(demands)
        self._resolver.forget()

    def stop(self) -> None:
        """Let `serve` finish what is in flight and return."""
        self._stopping.set()


class _Recorder:
    """The evidence store off the event loop: a disk that is slow to sync delays one dial and no query."""

    def __init__(self, store: EvidenceStore | None) -> None:
        self._store = store

    async def record(self, upstream: str, presented: Presented, verdict: Verdict) -> None:
        if self._store is not None:
            await trio.to_thread.run_sync(self._store.record, upstream, presented, verdict)


def build_demands(verifier: Verifier, evidence: EvidenceStore | None) -> Demands:
    """What `dial` needs: a TLS context with the policy's own anchors, the judge, and where evidence is kept."""
    context = TLSContext(verifier.policy.anchors, verifier.policy.minimum_tls)
    if evidence is not None:
        evidence.keep_demands(verifier.policy, verifier.log_list)
    return Demands(context, verifier, _Recorder(evidence))


def report_event(event: PoolEvent) -> None:
    """One log line for each judgement, failed dial and lost connection; never a name that a client asked for."""
    match event:
        case Judged(upstream, verdict) if verdict.allowed:
            log.info("%s: allowed: %s", upstream, verdict.summary)
        case Judged(upstream, verdict):
            log.error("%s: REFUSED, no query was sent: %s", upstream, verdict.summary)
        case DialFailed(upstream, error):
            log.warning("%s", error.summary if str(upstream) in error.summary else f"{upstream}: {error.summary}")
        case ConnectionLost(upstream, reason):
            log.info("%s: connection lost: %s", upstream, reason)
