"""The `[audit]` part of the configuration."""

import msgspec


class AuditOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether the service asks the logs by itself, and by whose word it knows their servers."""

    # Off: it is traffic to hosts other than the upstreams. Nobody expects that of a DNS service who has not asked for
    # it, and an address filter of the unit (systemd.resource-control(5), IPAddressAllow) would not let it through.
    background: bool = False
    anchors: str = ""  # PEM, for the logs' web servers; "": certifi's roots, which every public log's server has
