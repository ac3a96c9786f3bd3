"""One `[[forward]]` table of the configuration."""

from typing import Annotated

import msgspec

Zone = Annotated[str, msgspec.Meta(max_length=254)]
Address = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]


class ForwardOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Zones that have servers of their own."""

    zone: Zone | None = None  # one zone, or ...
    zones: Annotated[tuple[Zone, ...], msgspec.Meta(max_length=1024)] = ()  # ... several with the same servers
    # tls:// and https:// as in `upstreams`, or udp:// and tcp:// with a private address, or "resolv.conf:FILE".
    upstreams: Annotated[tuple[Address, ...], msgspec.Meta(min_length=1, max_length=16)] | Address
    policy: str = ""  # of the tls:// and https:// ones; "" for that of [trust]
    # An answer is kept for so many seconds at most; None for [cache] max_ttl alone.
    max_ttl: Annotated[int, msgspec.Meta(ge=0, le=604_800)] | None = None
    # Whether its names may have private addresses. A zone with servers of its own is a network's own; one that
    # strangers write into is not.
    private: bool = True
