"""What the evidence store hands out: values, each a row of the file or the outcome of writing one."""

import enum
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Record:
    """One kept judgement, without its certificates."""

    id: str  # SHA-256 over what was shown and found, but not when; hex
    upstream: str  # as configured: tls://1.1.1.1#one.one.one.one
    allowed: bool
    summary: str
    first_seen: str  # ISO 8601 UTC with milliseconds
    last_seen: str
    count: int  # how often it was judged
    mode: str  # of the policy: "enforce" or "report"


class EventKind(enum.StrEnum):
    """What of an upstream can change while it stays allowed."""

    LEAF_KEY = "leaf-key"  # the key of the server itself; most change it with every certificate
    ISSUER = "issuer"  # the key of the CA that issued the leaf
    ROOT = "root"  # the key of the anchor that the path ends in
    OPERATORS = "operators"  # who runs the logs of its valid SCTs


@dataclass(frozen=True, slots=True)
class Event:
    """An allowed upstream is not what it was when it was last allowed."""

    upstream: str
    kind: EventKind
    before: str  # for people: a subject and the first digits of its key's hash, or names of operators
    after: str
    at: str  # ISO 8601 UTC with milliseconds


@dataclass(frozen=True, slots=True)
class Kept:
    """The outcome of recording one judgement."""

    id: str  # of its record
    new: bool  # False: the same was kept already, only its count, its time and its verdict's details have moved
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Recalled:
    """What of the past a judgement now is told."""

    passed: datetime | None = None  # when this leaf was first allowed by a policy with CT and a list that was fresh
    newest: datetime | None = None  # when any upstream was last allowed


@dataclass(frozen=True, slots=True)
class Dropped:
    """Refused judgements of one kind that were dropped for want of room."""

    upstream: str
    day: str  # on which they were first seen, UTC
    failed: str  # the rules that failed: what makes them alike
    count: int


@dataclass(frozen=True, slots=True)
class Pruned:
    """What pruning took away, or would."""

    allowed: int  # records
    refused: int
    octets: int  # of the file, given back


@dataclass(frozen=True, slots=True)
class EvidenceState:
    """Whether what is judged now is written to the file, and what is not."""

    file: str  # "" where there is no place for one
    kept: bool
    since: str  # ISO 8601 UTC with milliseconds: from when on `kept` has been what it is
    problem: str = ""  # why not, in one line; "" where it is
    unrecorded: int = 0  # judgements that wait in memory to be written
    lost: int = 0  # judgements that had to give way there, or that no file can hold, since the start
    set_aside: tuple[str, ...] = ()  # damaged files that lie beside it

    def __str__(self) -> str:
        """One line where something is wrong, else nothing."""
        if self.kept and not self.lost:
            return ""
        if self.kept:
            return f"EVIDENCE: {self.lost} judgements are lost"
        counts = f"{self.unrecorded} judgements wait in memory, {self.lost} are lost"
        return f"EVIDENCE NOT KEPT since {self.since[:16]}Z ({counts}): {self.problem}"
