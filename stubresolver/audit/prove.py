"""The audit of one SCT, and of several at once: every rule about what an answer means is here, for both APIs.

The order is fixed: a tree head that the log signed; is it fresh; does it agree with the one seen before; is the entry
in it. Nothing is proved in a tree that may be another one than was seen, and no tree head is given out to be remembered
unless it is proved to follow the one before. Asks through `get` alone, knows no clock, and raises nothing because of
what a log answers.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import trio

from stubresolver.audit.asking import NotThere, Trouble
from stubresolver.audit.entry import Entry
from stubresolver.audit.heads import both, contradiction, doubt_clock, freshness, is_due, is_newer, not_yet, overdue
from stubresolver.audit.report import Finding, Get, Kind, Received, Report, bounded, ranked, received
from stubresolver.audit.rfc6962 import Rfc6962
from stubresolver.audit.static_ct import StaticCt
from stubresolver.ct import (
    BadTreeHeadSignature,
    Log,
    LogKind,
    MalformedTreeHead,
    ProofError,
    TreeHead,
    read_tree_head,
    verify_consistency,
    verify_inclusion,
)

_Api = Rfc6962 | StaticCt


async def audit(entries: Sequence[Entry], get: Get, heads: Mapping[bytes, TreeHead], now: datetime) -> list[Report]:
    """Prove each entry; all logs at once, the entries of one log one after the other.

    `heads` are the tree heads seen before, by log id. Within one log each entry is held against what the one before
    it saw, so that a log that shows two faces in one run is caught. The reports stand in the order of the entries.
    """
    reports: dict[Entry, Report] = {}

    async def audit_log(log_id: bytes) -> None:
        seen = heads.get(log_id)
        for entry in dict.fromkeys(entries):
            if entry.log.log_id == log_id:
                reports[entry] = await prove(entry, get, seen, now)
                seen = reports[entry].head or seen

    async with trio.open_nursery() as nursery:
        for log_id in dict.fromkeys(entry.log.log_id for entry in entries):
            nursery.start_soon(audit_log, log_id)
    return doubt_clock([reports[entry] for entry in entries])


async def prove(entry: Entry, get: Get, seen: TreeHead | None, now: datetime) -> Report:
    """Look for proof that the log holds the entry, in a tree that follows the one `seen` before."""
    if problem := _unlisted(entry.log):
        return _report(entry, now, [Finding(Kind.NO_URL, problem)])
    api = _api(entry, get)
    tree, findings = await _tree_head(api, entry.log)
    if tree is None:
        return _report(entry, now, findings)
    timing = freshness(entry.log, tree, now, api.tree_head_url)
    follows, history = await _follow(api, seen, tree)
    index, inclusion = await _include(api, entry, tree)
    findings = [*([timing] if timing else []), *history, inclusion]
    dated = timing is None or timing.kind is not Kind.FUTURE_TREE_HEAD
    head = tree if follows and dated and is_newer(tree, seen) else None
    return _report(entry, now, findings, tree=tree, head=head, index=index)


async def compare(report: Report, get: Get, seen: TreeHead) -> Report:
    """The same report, its `head` held against another one that somebody else has seen in the meantime."""
    head = report.head
    if head is None:
        return report
    follows, history = await _follow(_api(report.entry, get), seen, head)
    found = ranked([*report.findings, *(replace(each, evidence=bounded(each.evidence)) for each in history)])
    return replace(report, findings=found, head=head if follows and is_newer(head, seen) else None)


def _api(entry: Entry, get: Get) -> _Api:
    return Rfc6962(entry, get) if entry.log.kind is LogKind.RFC6962 else StaticCt(entry, get)


def _unlisted(log: Log) -> str:
    """What the list lacks, "" if nothing."""
    if not log.url:
        return "the log list does not say where the log is read"
    if log.kind is LogKind.STATIC_CT and not log.submission_url:
        return "the log list does not have the log's submission prefix, which its checkpoints are named after"
    return ""


def _report(
    entry: Entry,
    now: datetime,
    findings: Iterable[Finding],
    *,
    tree: TreeHead | None = None,
    head: TreeHead | None = None,
    index: int | None = None,
) -> Report:
    kept = ranked(replace(finding, evidence=bounded(finding.evidence)) for finding in findings)
    return Report(entry, kept, tree, head, index, now)


async def _tree_head(api: _Api, log: Log) -> tuple[TreeHead | None, list[Finding]]:
    """What the log serves; None and why where it is nothing that the log signed."""
    try:
        answer = await api.tree_head()
    except Trouble as trouble:
        return None, [Finding(Kind.UNREACHABLE, f"no tree head: {trouble.detail}", trouble.evidence)]
    try:
        return read_tree_head(answer.octets, log), []
    except MalformedTreeHead as error:
        return None, [Finding(Kind.NOT_A_LOG, f"{answer.url}: {error}", (answer,))]
    except BadTreeHeadSignature as error:
        return None, [Finding(Kind.TREE_HEAD_SIGNATURE, f"{answer.url}: {error}", (answer,))]


async def _follow(api: _Api, seen: TreeHead | None, tree: TreeHead) -> tuple[bool, list[Finding]]:
    """Whether `tree` and the tree seen before are proved to be one history, and what there is to say of it."""
    if seen is None:
        return True, []
    url = api.tree_head_url
    if found := contradiction(seen, tree, url):
        return False, [found]
    small, large = sorted((seen, tree), key=lambda item: item.size)
    if small.size in {0, large.size}:  # the roots were compared
        return True, []
    try:
        proof = await api.consistency(small, large)
    except Trouble as trouble:
        return False, [_no_consistency(trouble, seen, tree, url)]
    try:
        verify_consistency(small.size, large.size, small.root, large.root, proof.path)
    except ProofError as error:
        detail = f"the trees of {small.size} and {large.size} leaves are not one history: {error}"
        return False, [Finding(Kind.INCONSISTENT, detail, both(seen, tree, url, *proof.evidence))]
    if tree is small:
        return True, [Finding(Kind.LAGGING, f"an older tree, of {tree.size} leaves where {seen.size} were seen before")]
    return True, []


def _no_consistency(trouble: Trouble, seen: TreeHead, tree: TreeHead, url: str) -> Finding:
    """Two signed trees and no proof that joins them.

    A log that serves the larger tree has the proof, and an honest one shows it: its "no" is an alarm. Where the larger
    one was seen before, a server that lags may not know it yet.
    """
    kind = trouble.kind
    if isinstance(trouble, NotThere) and tree.size < seen.size:
        kind = Kind.UNREACHABLE
    detail = f"a tree head of {tree.size} leaves was served, but no proof that joins it to {seen.size} seen before"
    return Finding(kind, f"{detail}: {trouble.detail}", both(seen, tree, url, *trouble.evidence))


async def _include(api: _Api, entry: Entry, tree: TreeHead) -> tuple[int | None, Finding]:
    """Where the entry is proved to be in `tree`, and the finding."""
    promise = _promise(entry, tree, api.tree_head_url)
    try:
        proof = await api.inclusion(tree)
    except Trouble as trouble:
        return None, _no_inclusion(trouble, entry, tree, promise)
    evidence = (*promise, *proof.evidence)
    try:
        verify_inclusion(proof.leaf, proof.index, tree.size, proof.path, tree.root)
    except ProofError as error:
        detail = f"the proof of leaf {proof.index} does not lead to the signed root of {tree.size} leaves: {error}"
        return None, Finding(Kind.WRONG_ROOT, detail, evidence)
    if proof.leaf != entry.leaf_hash:
        detail = f"leaf {proof.index} is proved to be {proof.leaf.hex()}, promised was {entry.leaf_hash.hex()}"
        return None, Finding(Kind.MISSING_LEAF, detail, evidence)
    return proof.index, Finding(Kind.INCLUDED, f"leaf {proof.index} of {tree.size}")


def _no_inclusion(trouble: Trouble, entry: Entry, tree: TreeHead, promise: tuple[Received, ...]) -> Finding:
    """A signed tree and no proof: missed, not due yet, or only not shown."""
    evidence = (*promise, *trouble.evidence)
    if trouble.kind is Kind.MISSING_LEAF:
        if is_due(entry, tree):
            return Finding(Kind.MISSING_LEAF, f"{overdue(entry, tree)}: {trouble.detail}", evidence)
        return Finding(Kind.TOO_EARLY, not_yet(entry, tree))
    if trouble.kind is Kind.NO_LEAF_INDEX:
        return Finding(trouble.kind, trouble.detail, evidence)
    detail = f"a tree head of {tree.size} leaves was served, but no inclusion proof: {trouble.detail}"
    return Finding(trouble.kind, detail, evidence)


def _promise(entry: Entry, tree: TreeHead, url: str) -> tuple[Received, ...]:
    """What the log signed about this entry: its tree, its SCT, and the leaf that both are about."""
    return (
        received("tree head", url, tree.octets),
        received("SCT", "", entry.serialized),
        received("MerkleTreeLeaf", "", entry.merkle_leaf),
    )
