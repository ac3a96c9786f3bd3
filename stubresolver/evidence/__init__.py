"""What was judged, kept on the disk: every distinct chain and verdict, bounded, exportable, with what changed.

Whoever judges upstreams keeps it by an `EvidenceKeeper`, which goes on without the disk, off the event loop by a
`Recorder`. Whoever looks into it uses the `EvidenceStore`, which raises.
"""

from stubresolver.evidence.keeper import EvidenceKeeper
from stubresolver.evidence.recorder import Recorder
from stubresolver.evidence.records import Dropped, Event, EventKind, EvidenceState, Kept, Pruned, Recalled, Record
from stubresolver.evidence.store import DEFAULT_MAXIMUM_OCTETS, EvidenceStore

__all__ = [
    "DEFAULT_MAXIMUM_OCTETS",
    "Dropped",
    "Event",
    "EventKind",
    "EvidenceKeeper",
    "EvidenceState",
    "EvidenceStore",
    "Kept",
    "Pruned",
    "Recalled",
    "Record",
    "Recorder",
]
