"""What is said about `stubresolver portal`: what would happen, what is happening. Values of the control protocol."""

from typing import Final

import msgspec

SHORTEST: Final = 1.0  # seconds
LONGEST: Final = 600.0  # ten minutes: a login takes one or two; who needs more says so again


class PortalPlan(msgspec.Struct, frozen=True, kw_only=True):
    """`portal.find`: who would see the names, and where that is written."""

    servers: tuple[str, ...]
    source: str  # the file that names them; "" where a person did
    looked: tuple[str, ...]  # what was looked at in vain, each in a line
    network: int = 0  # in which they were found; for `portal.start`


class PortalState(msgspec.Struct, frozen=True, kw_only=True):
    """`portal.start`, `portal.stop`, `portal.show`: what goes where, and for how long."""

    open: bool
    servers: tuple[str, ...] = ()  # of the one that is open, or of the last one
    source: str = ""
    seconds: float = 0.0  # for how long it was opened
    left: float = 0.0  # until its end
    queries: int = 0  # that it has sent in clear; one that is asked again counts again
    ended: str = ""  # why the last one ended; "" while one is open, or where none was
    verified: bool = False  # whether it ended because an upstream stands
    opened: int = 0  # how often one was, since the service's start
