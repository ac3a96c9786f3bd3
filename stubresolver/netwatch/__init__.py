"""What changes around us: the network, the clock, a suspension. It watches and tells; others decide."""

from stubresolver.netwatch.change import Change, Kind, Network
from stubresolver.netwatch.timer import Clocks
from stubresolver.netwatch.watch import watch

__all__ = ["Change", "Clocks", "Kind", "Network", "watch"]
