"""What every dial to an upstream needs, made from what is demanded of it: TLS context, judge, evidence."""

import logging

from stubresolver.evidence import Recalled, Recorder
from stubresolver.transport import TLSContext
from stubresolver.trust import Trust, clock_floor
from stubresolver.upstream import Demands, Upstream
from stubresolver.verify import Mode, Presented, Remembered, Verdict, Verifier

log = logging.getLogger("stubresolver")


class _Recorder:
    """What a dial asks of the evidence, by what it judges by."""

    def __init__(self, evidence: Recorder | None, verifier: Verifier) -> None:
        self._evidence = evidence
        self._policy = verifier.policy.snapshot()
        self._log_list = verifier.log_list

    async def recall(self, leaf_sha256: str) -> Remembered:
        # without evidence there is nothing to remember but what ships and what is pinned
        recalled = Recalled() if self._evidence is None else await self._evidence.recall(leaf_sha256)
        return Remembered(clock_floor(self._log_list, recalled.newest), recalled.passed)

    async def record(self, upstream: str, presented: Presented, verdict: Verdict) -> None:
        if self._evidence is None:
            return
        for kept in await self._evidence.record(upstream, presented, verdict, self._policy):
            for event in kept.events:
                log.warning("%s: %s changed: %s -> %s", event.upstream, event.kind, event.before, event.after)


def build_demands(verifier: Verifier, evidence: Recorder | None) -> Demands:
    """What `dial` needs: a TLS context with the policy's own anchors, the judge, and where evidence is kept."""
    return _demands(verifier, evidence, "")


def build_all_demands(trust: Trust, evidence: Recorder | None) -> dict[Upstream, Demands]:
    """What `dial` needs of each upstream; those with the same policy share it."""
    built = {
        demanded: _demands(demanded.verifier, evidence, str(demanded))
        for demanded in dict.fromkeys(trust.upstreams.values())
    }
    return {upstream: built[demanded] for upstream, demanded in trust.upstreams.items()}


def _demands(verifier: Verifier, evidence: Recorder | None, shown: str) -> Demands:
    """As above. A policy that only reports is to tell of an old TLS version, so every version is spoken under it."""
    report = verifier.policy.mode is Mode.REPORT
    context = TLSContext(verifier.policy.anchors, "TLSv1.2" if report else verifier.policy.minimum_tls)
    if evidence is not None:
        evidence.keep_demands(verifier.policy, verifier.log_list)
    return Demands(context, verifier, _Recorder(evidence, verifier), policy=shown)
