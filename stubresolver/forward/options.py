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


class PortalOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[portal]` part: where the network's own DNS servers are written down, for `stubresolver portal`."""

    # FORMAT:FILE, in the order in which they count; see `forward.lease_formats`. Empty: nobody can start it.
    servers: Annotated[tuple[Annotated[str, msgspec.Meta(max_length=1024)], ...], msgspec.Meta(max_length=32)] = (
        "networkd:/run/systemd/netif/leases/*",  # systemd-networkd.service(8)
        "dhcp:/run/NetworkManager/no-stub-resolv.conf",  # NetworkManager.conf(5), rc-manager
        "dhcp:/run/dhcpcd/hook-state/resolv.conf/*",  # dhcpcd-run-hooks(8), 20-resolv.conf
        "dhclient:/var/lib/dhcp/dhclient*.leases",  # dhclient(8) as Debian has it
        "dhclient:/var/lib/dhclient/*lease*",  # as Fedora has it
        "dhcp:/run/resolvconf/interface/*",  # resolvconf(8) of Debian
        "dhcp:/run/resolvconf/interfaces/*",  # openresolv's resolvconf(8)
        "resolv.conf:/run/systemd/resolve/resolv.conf",  # systemd-resolved.service(8); may have servers of its own
    )
