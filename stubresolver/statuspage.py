"""From what each room knows to what `stubresolver status` tells. Values in, values out.

Decides one thing: what counts as wrong, in which order it is told, and what a person can do about it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from stubresolver.control import ShownStatistics
from stubresolver.control.portal import PortalState
from stubresolver.control.status import (
    ShownBlocked,
    ShownClear,
    ShownClients,
    ShownDiagnosis,
    ShownEvidence,
    ShownLeaf,
    ShownProblem,
    ShownRefusal,
    ShownSct,
    ShownTls,
    ShownUpstream,
    ShownVerdict,
    ShownZone,
)
from stubresolver.evidence import EvidenceState
from stubresolver.forward import ZoneStatistics
from stubresolver.recent import Refusal
from stubresolver.resolve import ResolverStatistics
from stubresolver.serve import TcpStatistics, UdpStatistics
from stubresolver.upstream import PoolStatistics, UpstreamStatistics
from stubresolver.upstream.diagnosis import Diagnosis, Kind
from stubresolver.verify import TlsFacts, Verdict, iso

_SET_CLOCK: Final = "set the clock, such as with `timedatectl set-ntp true`; it goes on by itself"
_WAIT: Final = "below stands what each of them says; it goes on by itself"


@dataclass(frozen=True, slots=True)
class Doubts:
    """What the service knows against itself, beside the upstreams."""

    clock: str  # why it must be wrong; "" for nothing
    log_list: str  # "stale" and the like
    log_list_days: int
    evidence: str
    audit_alarms: int
    report_mode: tuple[str, ...]
    reload: str  # why the last one changed nothing; ""
    portal: str  # one line while one is open
    tasks: Mapping[str, str] = field(default_factory=dict)  # what failed beside DNS: by its name, why


@dataclass(frozen=True, slots=True)
class Figures:
    """What the running resolver knows of itself."""

    pool: PoolStatistics
    diagnosis: Diagnosis
    zones: tuple[ZoneStatistics, ...]
    udp: tuple[UdpStatistics, ...]
    tcp: tuple[TcpStatistics, ...]
    resolver: ResolverStatistics
    counters: ShownStatistics
    clear: int  # queries that were written in clear
    portal_sent: int  # of these
    portal: PortalState
    refusals: tuple[Refusal, ...]


def shown_clear(figures: Figures) -> ShownClear:
    """What went out in clear, and for whom."""
    return ShownClear(
        queries=figures.clear, zones=sum(zone.sent_in_clear for zone in figures.zones), portal=figures.portal_sent
    )


def shown_zones(figures: Figures) -> tuple[ShownZone, ...]:
    """The forward zones."""
    return tuple(
        ShownZone(
            zones=str(each.zone),
            clear=each.clear,
            sent_in_clear=each.sent_in_clear,
            servers=tuple(map(shown_upstream, each.servers)),
        )
        for each in figures.zones
    )


def shown_clients(figures: Figures, listening: tuple[str, ...]) -> ShownClients:
    """The listeners."""
    return ShownClients(
        listening=listening,
        udp_received=sum(each.received for each in figures.udp),
        udp_malformed=sum(each.malformed for each in figures.udp),
        udp_denied=sum(each.denied for each in figures.udp),
        udp_dropped=sum(each.dropped for each in figures.udp),
        tcp_open=sum(each.open for each in figures.tcp),
        tcp_places=sum(each.places for each in figures.tcp),
        tcp_accepted=sum(each.accepted for each in figures.tcp),
        tcp_refused=sum(each.refused for each in figures.tcp),
        tcp_denied=sum(each.denied for each in figures.tcp),
        tcp_gave_way=sum(each.evicted + each.gave_way for each in figures.tcp),
        shed=figures.resolver.shed,
        given_way=figures.resolver.given_way,
        waiting=figures.resolver.waiting,
        flooded=figures.resolver.flooded,
    )


def shown_upstream(line: UpstreamStatistics) -> ShownUpstream:
    """One upstream."""
    return ShownUpstream(
        upstream=line.upstream,
        provider=line.provider,
        transport=line.transport,
        policy=line.policy,
        state=line.state,
        state_for=line.state_for,
        tls=None if line.tls is None else _shown_tls(line.tls),
        verdict=None if line.verdict is None else _shown_verdict(line.verdict),
        asked=line.asked,
        answered=line.answered,
        outstanding=line.outstanding,
        dials=line.dials,
        connections=line.connections,
        refusals=line.refusals,
        would_refuse=line.would_refuse,
        failures_in_row=line.failures_in_row,
        next_dial=line.paused_for,
        last_error=line.last_error,
        last_error_kind=line.last_error_kind,
        last_error_age=line.last_error_age,
        handshake_seconds=line.handshake_seconds,
        answer_seconds=line.answer_seconds,
        behind=line.behind,
    )


def shown_blocked(pool: PoolStatistics) -> tuple[ShownBlocked, ...]:
    """What is remembered of networks."""
    return tuple(
        ShownBlocked(provider=each.provider, transport=each.transport, here=each.here, again_in=each.again_in)
        for each in pool.blocked
    )


def shown_diagnosis(diagnosis: Diagnosis) -> ShownDiagnosis:
    """What is the matter."""
    return ShownDiagnosis(kind=diagnosis.kind.value, text=diagnosis.text, way_out=diagnosis.way_out)


def shown_evidence(state: EvidenceState) -> ShownEvidence:
    """Whether it is kept."""
    return ShownEvidence(
        file=state.file,
        kept=state.kept,
        since=state.since,
        problem=state.problem,
        unrecorded=state.unrecorded,
        lost=state.lost,
        set_aside=state.set_aside,
    )


def shown_refusals(refusals: tuple[Refusal, ...]) -> tuple[ShownRefusal, ...]:
    """The last ones."""
    return tuple(ShownRefusal(at=iso(each.at), upstream=each.upstream, reason=each.reason) for each in refusals)


def problems(
    upstreams: tuple[ShownUpstream, ...], diagnosis: Diagnosis, clear: ShownClear, doubts: Doubts
) -> tuple[ShownProblem, ...]:
    """What is wrong, the worst first."""
    return tuple(
        ShownProblem(what=what, remedy=remedy) for what, remedy in _problems(upstreams, diagnosis, clear, doubts)
    )


def _problems(
    upstreams: tuple[ShownUpstream, ...], diagnosis: Diagnosis, clear: ShownClear, doubts: Doubts
) -> Iterator[tuple[str, str]]:
    unexplained = clear.queries - clear.zones - clear.portal
    if unexplained:
        yield f"{unexplained} queries were sent in clear that no zone and no portal accounts for", "report this defect"
    if doubts.portal:
        yield doubts.portal, "sudo stubresolver portal --stop ends it at once"
    stands = _stands(upstreams)
    if not stands:
        reason = diagnosis.text or "no upstream has been verified yet"
        if diagnosis.kind is Kind.REFUSED:
            reason += next(
                (f": {each.verdict.summary}" for each in upstreams if each.verdict and not each.verdict.allowed), ""
            )
        remedy = _SET_CLOCK if diagnosis.kind is Kind.CLOCK_WRONG else diagnosis.way_out or _WAIT
        yield f"no upstream can be asked: {reason}", remedy
    if doubts.clock and (stands or doubts.clock not in diagnosis.text):
        yield doubts.clock, _SET_CLOCK
    yield from _doubted(doubts)


def _doubted(doubts: Doubts) -> Iterator[tuple[str, str]]:
    """What else the service knows against itself."""
    if doubts.report_mode:
        whom = ", ".join(doubts.report_mode)
        yield f"REPORT MODE for {whom}: asked whatever the verdict", 'set mode = "enforce" in the policy'
    if doubts.audit_alarms:
        yield f"{doubts.audit_alarms} audit alarms are kept", "stubresolver audit --alarms"
    if doubts.log_list == "stale":
        yield f"the log list is {doubts.log_list_days} days old: stale", "stubresolver logs update"
    if doubts.evidence:
        yield doubts.evidence, "see the disk and the file; what can be asked is asked all the same"
    for name, problem in doubts.tasks.items():
        yield f"{name} has failed and is begun again: {problem}", "see the service's log"
    if doubts.reload:
        yield doubts.reload, "mend the file that is named, then: stubresolver reload"


def _stands(upstreams: tuple[ShownUpstream, ...]) -> bool:
    """Whether a connection stands, or was verified and has ended without any failure since: it is made anew."""
    return any(each.state == "open" or (each.connections and not each.failures_in_row) for each in upstreams)


def _shown_tls(tls: TlsFacts) -> ShownTls:
    return ShownTls(version=tls.version, group=tls.group, cipher=tls.cipher, alpn=tls.alpn)


def _shown_verdict(verdict: Verdict) -> ShownVerdict:
    """The last judgement; the issuer is the next certificate of the path."""
    path = verdict.path
    leaf = None
    if path:
        issuer = path[1].subject if len(path) > 1 else ""
        leaf = ShownLeaf(subject=path[0].subject, issuer=issuer, not_after=path[0].not_after)
    return ShownVerdict(
        at=iso(verdict.at),
        allowed=verdict.allowed,
        summary=verdict.summary,
        failed=tuple(map(str, verdict.failures)),
        leaf=leaf,
        scts=tuple(
            ShownSct(log=sct.log or sct.log_id, operator=sct.operator, timestamp=sct.timestamp, status=sct.status.value)
            for sct in verdict.scts
        ),
    )
