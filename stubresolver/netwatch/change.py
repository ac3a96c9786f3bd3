"""What can change around us. PURE."""

import enum
from dataclasses import dataclass


class Kind(enum.StrEnum):
    """What has happened."""

    RESUME = "resume"  # the machine has slept
    NETWORK = "network"  # another way to the upstreams, or none
    CLOCK = "clock"  # the wall clock was set


@dataclass(frozen=True, slots=True)
class Network:
    """The network that the machine is in, as far as it matters to us."""

    key: str = ""  # stands for it and says nothing of it; "" for none, and where nobody knows
    reachable: bool | None = None  # whether the kernel can send to any upstream; None where nobody knows


@dataclass(frozen=True, slots=True)
class Change:
    """One change, with the network after it."""

    kind: Kind
    network: str
    reachable: bool | None = None
