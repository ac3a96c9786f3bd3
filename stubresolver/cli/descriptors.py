"""How many files and sockets this process may have open at once, and who gets them.

Clients must not take what connections to upstreams need: without those, every place for a client is worthless. So some
are set apart for us, and only the rest are places for TCP clients. UDP clients need none, however many.
"""

import contextlib
import resource
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from stubresolver.config import Settings
from stubresolver.errors import CannotListen

# Standard streams, the event loop and signals 7; evidence with its journal and folder 4; the control socket with its
# clients 9; a reload, files that are watched, the cache's file 8; audits and what they look up 16.
_OURS: Final = 44
_EACH: Final = 3  # for an upstream: the connection in use, the one that takes its place, the one that it races
_LEAST: Final = 4  # places for TCP clients below which a resolver is none: RFC 7766 s5 demands TCP


@dataclass(frozen=True, slots=True)
class Places:
    """What came of looking."""

    settings: Settings  # with as many places for TCP clients as there are
    warning: str  # "" where these are as many as were asked for


def share_descriptors(settings: Settings) -> Places:
    """Have the system give us as many descriptors as we need, if it does; raises `CannotListen` for far too few."""
    ours = _OURS + _EACH * len(settings.all_upstreams) + 2 * len(settings.addresses)
    wanted = settings.listen.tcp_clients
    limit = _raise_limit(ours + wanted)
    places = min(wanted, limit - ours)
    if places < _LEAST:
        raise CannotListen(
            f"this process may open {limit} files and sockets at once, expected at least {ours + _LEAST}: raise "
            "LimitNOFILE= of the service, or `ulimit -n`"
        )
    if places == wanted:
        return Places(settings, "")
    options = msgspec.structs.replace(settings.listen, tcp_clients=places)
    return Places(
        replace(settings, listen=options),
        f"{places} TCP clients at once instead of {wanted} ([listen] tcp_clients), as this process may open {limit} "
        "files and sockets: see LimitNOFILE= and `ulimit -n`",
    )


def _raise_limit(wanted: int) -> int:
    """The soft limit (getrlimit(2)), raised if that is allowed and needed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with contextlib.suppress(OSError, ValueError):  # a sandbox may forbid it
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
