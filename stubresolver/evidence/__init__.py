"""What was judged, kept on the disk: every distinct chain and verdict, bounded, exportable, with what changed.

kept = EvidenceStore(path).record(upstream, presented, verdict)
kept.id, kept.new, kept.events
"""

from stubresolver.evidence.records import Dropped, Event, EventKind, Kept, Pruned, Recalled, Record
from stubresolver.evidence.store import DEFAULT_MAXIMUM_OCTETS, EvidenceStore

__all__ = [
    "DEFAULT_MAXIMUM_OCTETS",
    "Dropped",
    "Event",
    "EventKind",
    "EvidenceStore",
    "Kept",
    "Pruned",
    "Recalled",
    "Record",
]
