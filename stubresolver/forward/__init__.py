"""Forward zones (split DNS): names that have servers of their own."""

from stubresolver.forward.forwarding import Forwarding, ZoneStatistics
from stubresolver.forward.leases import Leases, Place, find_leases, parse_places
from stubresolver.forward.options import ForwardOptions, PortalOptions
from stubresolver.forward.resolvconf import ServerFile
from stubresolver.forward.zones import ForwardZone, parse_forward, zone_of

__all__ = [
    "ForwardOptions",
    "ForwardZone",
    "Forwarding",
    "Leases",
    "Place",
    "PortalOptions",
    "ServerFile",
    "ZoneStatistics",
    "find_leases",
    "parse_forward",
    "parse_places",
    "zone_of",
]
