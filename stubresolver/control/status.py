"""What `stubresolver status` tells: the JSON of the control command `status`, field by field.

Ages and times to come are in seconds, moments in ISO 8601 UTC; None, or "", is what is not known or is not there. A
field stays what it is; new ones may come. No name that was asked for is ever in it.
"""

import msgspec

from stubresolver.control.commands import ShownStatistics
from stubresolver.control.portal import PortalState


class ShownProblem(msgspec.Struct, frozen=True, kw_only=True):
    """Something is wrong: what, and what a person can do about it."""

    what: str
    remedy: str = ""


class ShownDiagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """What is the matter with the upstreams for most names."""

    kind: str  # of upstream.diagnosis: fine, connecting, no-network, captive-portal and so on
    text: str = ""
    way_out: str = ""


class ShownTls(msgspec.Struct, frozen=True, kw_only=True):
    """The connection in use (RFC 8446)."""

    version: str
    group: str | None  # of the key exchange, where OpenSSL can tell
    cipher: str
    alpn: str | None


class ShownLeaf(msgspec.Struct, frozen=True, kw_only=True):
    """The upstream's certificate, as it was last verified."""

    subject: str
    issuer: str
    not_after: str


class ShownSct(msgspec.Struct, frozen=True, kw_only=True):
    """One embedded SCT (RFC 6962)."""

    log: str
    operator: str
    timestamp: str
    status: str  # "VALID", or what is wrong with it


class ShownVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """The last judgement."""

    at: str
    allowed: bool
    summary: str
    failed: tuple[str, ...] = ()  # each rule that refused, with what was found
    leaf: ShownLeaf | None = None  # None where no path was found
    scts: tuple[ShownSct, ...] = ()


class ShownUpstream(msgspec.Struct, frozen=True, kw_only=True):
    """One upstream, or one plain server of a zone."""

    upstream: str
    provider: str
    transport: str  # "tls" (DoT), "https" (DoH); "" for plain DNS
    policy: str  # what is demanded of it, in a few words
    state: str  # "open", "silent", "dialling", "paused", "idle"; "plain" for plain DNS
    state_for: float
    tls: ShownTls | None = None
    verdict: ShownVerdict | None = None
    asked: int = 0
    answered: int = 0
    outstanding: int = 0
    dials: int = 0
    connections: int = 0  # verified so far
    refusals: int = 0
    would_refuse: int = 0  # judgements that refused and connected all the same (report mode)
    failures_in_row: int = 0
    next_dial: float = 0.0  # seconds of back-off that are left
    last_error: str = ""
    last_error_kind: str = ""
    last_error_age: float | None = None
    handshake_seconds: float | None = None  # smoothed
    answer_seconds: float | None = None  # smoothed
    behind: bool = False  # asked after the others for a while, because its answers were failures


class ShownBlocked(msgspec.Struct, frozen=True, kw_only=True):
    """On one network connections of this transport fail, while those of the other come about."""

    provider: str
    transport: str
    here: bool
    again_in: float


class ShownZone(msgspec.Struct, frozen=True, kw_only=True):
    """A forward zone, and whom its names are asked of."""

    zones: str
    clear: bool  # plain DNS: neither encrypted nor verified
    sent_in_clear: int
    servers: tuple[ShownUpstream, ...]


class ShownClock(msgspec.Struct, frozen=True, kw_only=True):
    """The clock."""

    now: str
    problem: str = ""  # why it must be wrong


class ShownLogList(msgspec.Struct, frozen=True, kw_only=True):
    """The log list in force."""

    timestamp: str
    age_days: int
    state: str  # "fresh", "ageing", "stale"


class ShownEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """Whether what is judged is kept."""

    file: str
    kept: bool
    since: str
    problem: str = ""
    unrecorded: int = 0  # judgements that wait in memory
    lost: int = 0  # that had to give way there
    set_aside: tuple[str, ...] = ()  # damaged files


class ShownRefusal(msgspec.Struct, frozen=True, kw_only=True):
    """One of the last judgements that refused."""

    at: str
    upstream: str
    reason: str


class ShownClear(msgspec.Struct, frozen=True, kw_only=True):
    """Queries that were written to the network in clear, counted where they are written."""

    queries: int  # all of them
    zones: int  # of these: for forward zones with plain servers
    portal: int  # of these: to a captive portal's server, by a person's command


class ShownClients(msgspec.Struct, frozen=True, kw_only=True):
    """The listeners."""

    listening: tuple[str, ...]
    udp_received: int = 0
    udp_malformed: int = 0
    udp_denied: int = 0  # of clients that may not ask
    udp_dropped: int = 0  # by the kernel, its queue being full
    tcp_open: int = 0
    tcp_places: int = 0
    tcp_accepted: int = 0
    tcp_refused: int = 0
    tcp_denied: int = 0
    tcp_gave_way: int = 0  # idle or slow ones, to newcomers
    shed: int = 0  # queries that were refused because too much was asked
    given_way: int = 0  # exchanges that lost their places to newer ones
    waiting: int = 0  # askers now
    flooded: bool = False  # new names are fetched at a pace now


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Everything."""

    version: str
    pid: int
    started: str
    uptime: float
    config: str
    outcome: str  # of the start, or of the last reload
    problems: tuple[ShownProblem, ...]  # none: all is well
    diagnosis: ShownDiagnosis
    clear: ShownClear
    portal: PortalState
    upstreams: tuple[ShownUpstream, ...]
    blocked: tuple[ShownBlocked, ...]
    zones: tuple[ShownZone, ...]
    clients: ShownClients
    counters: ShownStatistics
    clock: ShownClock
    log_list: ShownLogList
    evidence: ShownEvidence
    audit_alarms: int
    report_mode: tuple[str, ...]  # upstreams that are asked whatever the verdict
    refusals: tuple[ShownRefusal, ...]  # the newest last
    tasks: dict[str, str] = {}  # what failed beside DNS, and was begun again: by its name, why
