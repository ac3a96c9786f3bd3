"""What the service answers to `stubresolver status`: its own part, and that of the resolver."""

import os
from dataclasses import dataclass, field
from datetime import datetime

from stubresolver import __version__
from stubresolver.cli.ageing import list_age
from stubresolver.control.status import ShownClock, ShownLogList, Status
from stubresolver.evidence import EvidenceState
from stubresolver.statuspage import (
    Doubts,
    Figures,
    problems,
    shown_blocked,
    shown_clear,
    shown_clients,
    shown_diagnosis,
    shown_evidence,
    shown_refusals,
    shown_upstream,
    shown_zones,
)
from stubresolver.trust import Trust
from stubresolver.verify import iso


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFacts:
    """What the service knows beside the resolver."""

    config: str
    outcome: str  # of the start, or of the last reload
    reloaded: bool  # whether that put its files in force
    started: datetime
    uptime: float  # seconds, suspended ones too
    listening: tuple[str, ...]
    trust: Trust
    evidence: EvidenceState
    clock: str  # why it must be wrong
    portal: str  # one line while one is open
    audit_alarms: int
    tasks: dict[str, str] = field(default_factory=dict)


def whole_status(facts: ServiceFacts, figures: Figures, now: datetime) -> Status:
    """Everything, as of now."""
    days, state = list_age(facts.trust.log_list, now)
    reporting = tuple(map(str, facts.trust.reporting))
    upstreams, clear = tuple(map(shown_upstream, figures.pool.upstreams)), shown_clear(figures)
    doubts = Doubts(
        clock=facts.clock,
        log_list=state.value,
        log_list_days=days,
        evidence=str(facts.evidence),
        audit_alarms=facts.audit_alarms,
        report_mode=reporting,
        reload="" if facts.reloaded else facts.outcome,
        portal=facts.portal,
        tasks=facts.tasks,
    )
    return Status(
        version=__version__,
        pid=os.getpid(),
        started=iso(facts.started),
        uptime=facts.uptime,
        config=facts.config,
        outcome=facts.outcome,
        problems=problems(upstreams, figures.diagnosis, clear, doubts),
        diagnosis=shown_diagnosis(figures.diagnosis),
        clear=clear,
        portal=figures.portal,
        upstreams=upstreams,
        blocked=shown_blocked(figures.pool),
        zones=shown_zones(figures),
        clients=shown_clients(figures, facts.listening),
        counters=figures.counters,
        clock=ShownClock(now=iso(now), problem=facts.clock),
        log_list=ShownLogList(timestamp=iso(facts.trust.log_list.timestamp), age_days=days, state=state.value),
        evidence=shown_evidence(facts.evidence),
        audit_alarms=facts.audit_alarms,
        report_mode=reporting,
        refusals=shown_refusals(figures.refusals),
        tasks=facts.tasks,
    )
