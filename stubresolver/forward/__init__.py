"""Forward zones (split DNS): names that have servers of their own."""

from stubresolver.forward.forwarding import Forwarding
from stubresolver.forward.options import ForwardOptions
from stubresolver.forward.resolvconf import ServerFile
from stubresolver.forward.zones import ForwardZone, parse_forward, zone_of

__all__ = ["ForwardOptions", "ForwardZone", "Forwarding", "ServerFile", "parse_forward", "zone_of"]
