"""What every dial to an upstream needs, made from what is demanded of it: TLS context, judge, evidence."""

import logging

import trio

from stubresolver.evidence import EvidenceStore, Recalled
from stubresolver.transport import TLSContext
from stubresolver.trust import Trust, clock_floor
from stubresolver.upstream import Demands, Upstream
from stubresolver.verify import Mode, Presented, Remembered, Verdict, Verifier

log = logging.getLogger("stubresolver")


class _Recorder:
    """The evidence store off the event loop: a disk that is slow to sync delays one dial and no query."""

    def __init__(self, store: EvidenceStore | None, turn: trio.CapacityLimiter, verifier: Verifier) -> None:
        """`verifier` says what is judged by; `turn` is shared by all who record into the store."""
        self._store = store
        self._turn = turn
        self._policy = verifier.policy.snapshot()
        self._log_list = verifier.log_list

    async def recall(self, leaf_sha256: str) -> Remembered:
        recalled = Recalled()  # without a store there is nothing to remember but what ships and what is pinned
        if self._store is not None:
            recalled = await trio.to_thread.run_sync(self._store.recall, leaf_sha256, limiter=self._turn)
        return Remembered(clock_floor(self._log_list, recalled.newest), recalled.passed)

    async def record(self, upstream: str, presented: Presented, verdict: Verdict) -> None:
        if self._store is None:
            return
        kept = await trio.to_thread.run_sync(
            self._store.record, upstream, presented, verdict, self._policy, limiter=self._turn
        )
        for event in kept.events:
            log.warning("%s: %s changed: %s -> %s", event.upstream, event.kind, event.before, event.after)


def build_demands(verifier: Verifier, evidence: EvidenceStore | None) -> Demands:
    """What `dial` needs: a TLS context with the policy's own anchors, the judge, and where evidence is kept."""
    return _demands(verifier, evidence, _turn(), "")


def build_all_demands(trust: Trust, evidence: EvidenceStore | None) -> dict[Upstream, Demands]:
    """What `dial` needs of each upstream; those with the same policy share it."""
    turn = _turn()
    built = {
        demanded: _demands(demanded.verifier, evidence, turn, str(demanded))
        for demanded in dict.fromkeys(trust.upstreams.values())
    }
    return {upstream: built[demanded] for upstream, demanded in trust.upstreams.items()}


def _turn() -> trio.CapacityLimiter:
    """One thread at a time, as the store has one connection: waiting for it in a thread could not be cancelled."""
    return trio.CapacityLimiter(1)


def _demands(verifier: Verifier, evidence: EvidenceStore | None, turn: trio.CapacityLimiter, shown: str) -> Demands:
    """As above. A policy that only reports is to tell of an old TLS version, so every version is spoken under it."""
    report = verifier.policy.mode is Mode.REPORT
    context = TLSContext(verifier.policy.anchors, "TLSv1.2" if report else verifier.policy.minimum_tls)
    if evidence is not None:
        evidence.keep_demands(verifier.policy, verifier.log_list)
    return Demands(context, verifier, _Recorder(evidence, turn, verifier), policy=shown)
