"""What an audit says of one SCT: findings, each of a named kind, and the octets that show it. No I/O in here.

A kind is an alarm, a note or a remark by this file's tables and nowhere else. An alarm means that a log broke its
promise or contradicted itself; a note, that nothing was proved this time; a remark stands beside a proof and decides
nothing.
"""

import enum
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from stubresolver.audit.entry import Entry
from stubresolver.ct import Log, TreeHead

Get = Callable[[str], Awaitable[bytes]]  # an https URL to the octets there; raises `errors.FetchFailed`
MAXIMUM_ANSWER = 128 * 1024  # octets of one answer: what a checkpoint may have (ct/tree_head.py), the longest there is
MAXIMUM_EVIDENCE = 40 * 1024  # octets of one finding: in JSON, as base64, still below 64 KiB


class Outcome(enum.StrEnum):
    """What came of the audit of one SCT."""

    PROVED = "proved"  # the entry is in a tree that the log signed, and that begins with the tree seen before
    NOTE = "note"  # nothing was proved and nothing disproved
    ALARM = "alarm"  # the log broke its promise, or contradicted itself


class Kind(enum.StrEnum):
    """What was found."""

    INCLUDED = "included"
    # alarms
    TREE_HEAD_SIGNATURE = "tree-head-signature"  # served in the log's name, not signed by it
    SPLIT_VIEW = "split-view"  # two roots for one size, both signed
    INCONSISTENT = "inconsistent"  # the log cannot show that its larger tree begins with its smaller one
    ROLLBACK = "rollback"  # a later timestamp and a smaller tree
    MISSING_LEAF = "missing-leaf"  # promised and due, and not in the tree
    WRONG_ROOT = "wrong-root"  # the inclusion proof does not lead to the signed root
    MALFORMED_ANSWER = "malformed-answer"  # a tree head that the log signed, and then no proof in form
    MISSING_TILE = "missing-tile"  # a part of the tree that the signed tree head covers, and for a day it was not there
    STALE_TREE_HEAD = "stale-tree-head"  # older than the log may let it become
    FUTURE_TREE_HEAD = "future-tree-head"  # signed for a time that has not come
    # notes
    UNREACHABLE = "unreachable"  # no answer, or none now
    NOT_A_LOG = "not-a-log"  # an answer that is no tree head at all
    NO_URL = "no-url"  # the list does not say where the log is read
    TOO_EARLY = "too-early"  # not in the tree, and not due in it either
    TILE_NOT_THERE = "tile-not-there"  # the same, found now: an alarm when it lasts (audit/keeping.py)
    NO_LEAF_INDEX = "no-leaf-index"  # a static-ct log's SCT that does not say where to look
    CLOCK = "clock"  # logs of several operators date their tree heads alike, and the clock here otherwise
    # remarks
    LAGGING = "lagging"  # an older tree than the one seen before, and a part of it
    FROZEN = "frozen"  # an old tree head of a log that need not make new ones
    FORGOTTEN = "forgotten"  # what was remembered of the log is damaged: nothing was compared


_ALARMS = frozenset(
    {
        Kind.TREE_HEAD_SIGNATURE,
        Kind.SPLIT_VIEW,
        Kind.INCONSISTENT,
        Kind.ROLLBACK,
        Kind.MISSING_LEAF,
        Kind.WRONG_ROOT,
        Kind.MALFORMED_ANSWER,
        Kind.MISSING_TILE,
        Kind.STALE_TREE_HEAD,
        Kind.FUTURE_TREE_HEAD,
    }
)
_REMARKS = frozenset({Kind.LAGGING, Kind.FROZEN, Kind.FORGOTTEN})


@dataclass(frozen=True, slots=True)
class Received:
    """One thing that was received, as it came."""

    what: str  # "tree head", "tree head seen before", "inclusion proof", "SCT", ...
    url: str  # "" where it did not come from the log's server now
    octets: bytes  # cut where a finding would be too large
    size: int  # how many octets there were


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found."""

    kind: Kind
    detail: str  # for people: what was got and what was expected
    evidence: tuple[Received, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """What this finding alone makes of the audit."""
        if self.kind in _ALARMS:
            return Outcome.ALARM
        return Outcome.PROVED if self.kind is Kind.INCLUDED else Outcome.NOTE


@dataclass(frozen=True, slots=True)
class Report:
    """What came of one SCT."""

    entry: Entry
    findings: tuple[Finding, ...]  # at least one; the one that decides is first
    tree: TreeHead | None  # what the log serves, its signature verified
    head: TreeHead | None  # to be remembered from now on; None: nothing newer is proved to follow the one seen before
    index: int | None  # where in `tree` the entry was proved to be
    at: datetime

    @property
    def log(self) -> Log:
        """The log that was asked."""
        return self.entry.log

    @property
    def outcome(self) -> Outcome:
        """Proved only where nothing stands against it: an inclusion in a tree that may be another one is none."""
        return self.findings[0].outcome

    @property
    def kind(self) -> Kind:
        """The kind of the finding that decides."""
        return self.findings[0].kind

    @property
    def detail(self) -> str:
        """All findings in one line."""
        return "; ".join(finding.detail for finding in self.findings)


def ranked(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Alarms first, then notes that keep a proof from counting, then the proof, then remarks."""
    return tuple(sorted(findings, key=_rank))


def received(what: str, url: str, octets: bytes) -> Received:
    """Something received, whole."""
    return Received(what, url, octets, len(octets))


def bounded(evidence: Iterable[Received]) -> tuple[Received, ...]:
    """The evidence of one finding within `MAXIMUM_EVIDENCE`: whoever convicts best comes first and is cut last."""
    left = MAXIMUM_EVIDENCE
    kept = []
    for item in evidence:
        kept.append(Received(item.what, item.url, item.octets[:left], item.size))
        left -= len(kept[-1].octets)
    return tuple(kept)


def _rank(finding: Finding) -> int:
    if finding.kind in _ALARMS:
        return 0
    if finding.kind is Kind.INCLUDED:
        return 2
    return 3 if finding.kind in _REMARKS else 1
