"""Certificate Transparency (RFC 6962) and the pinned log list. PURE: no files, no network, no clock, no DNS."""

from stubresolver.ct.compliance import CheckedSct, Compliance, CTPolicy, Precertificate, check_sct, count
from stubresolver.ct.loglist import (
    CURRENT_STATES,
    DENIED_LOGS,
    Log,
    LogKind,
    LogList,
    LogState,
    TemporalInterval,
)
from stubresolver.ct.sct import (
    MalformedSct,
    MalformedSctList,
    SctStatus,
    SignedCertificateTimestamp,
    embedded_list,
    is_signed_by,
    parse_sct,
)

__all__ = [
    "CURRENT_STATES",
    "DENIED_LOGS",
    "CTPolicy",
    "CheckedSct",
    "Compliance",
    "Log",
    "LogKind",
    "LogList",
    "LogState",
    "MalformedSct",
    "MalformedSctList",
    "Precertificate",
    "SctStatus",
    "SignedCertificateTimestamp",
    "TemporalInterval",
    "check_sct",
    "count",
    "embedded_list",
    "is_signed_by",
    "parse_sct",
]
