"""Audits: does a log really hold what its SCT promised to log? Asks the logs through a function that it is given.

Nothing in here judges an upstream or delays a query; it reports what a log can prove of its own promises.
"""

from stubresolver.audit.entry import Entries, Entry, Skipped, read_entries
from stubresolver.audit.heads import due, merge_delay
from stubresolver.audit.prove import audit, prove
from stubresolver.audit.report import (
    MAXIMUM_ANSWER,
    Finding,
    Get,
    Kind,
    Outcome,
    Received,
    Report,
)

__all__ = [
    "MAXIMUM_ANSWER",
    "Entries",
    "Entry",
    "Finding",
    "Get",
    "Kind",
    "Outcome",
    "Received",
    "Report",
    "Skipped",
    "audit",
    "due",
    "merge_delay",
    "prove",
    "read_entries",
]
