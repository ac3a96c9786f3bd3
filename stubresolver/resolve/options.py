"""What a person may say about the resolver, and what it says of itself."""

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec


class ResolverOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much may be under way, and what is asked."""

    # Different questions under way at once: the order of unbound's num-queries-per-thread (unbound.conf(5)).
    max_flights: Annotated[int, msgspec.Meta(ge=1, le=65_536)] = 1024
    # Askers who wait for the same question: far more than one machine's programs ask at once, and little memory.
    max_askers: Annotated[int, msgspec.Meta(ge=1, le=65_536)] = 256
    # The client's network is never sent (RFC 7871 s11.1 names what it gives away). "0.0.0.0/0" says so to the upstream,
    # "0 bits of the client's address" (RFC 7871 s7.1.2), so that it sends none of ours on either. "none" says nothing:
    # Cloudflare says that 1.1.1.1 sends no subnet on, and fewer octets tell less.
    client_subnet: Literal["none", "0.0.0.0/0"] = "none"


@dataclass(frozen=True, slots=True)
class ResolverStatistics:
    """What the resolver has done since it was made; queries = hits + local + stale + misses + coalesced + refused."""

    queries: int
    hits: int  # answered from the cache
    local: int  # answered by what is known here
    stale: int  # answered at once with an answer that had ended, because a better one was not to be had shortly before
    misses: int  # started an exchange
    coalesced: int  # joined an exchange under way
    refused: int  # not fetched: too many under way, too much asked, or not running
    stale_late: int  # of those who waited or were refused: got an answer that had ended
    background: int  # exchanges that nobody waited for: before an answer's end, or to see whether the upstream is back
    failures: int  # exchanges that brought no answer
    undelivered: int  # replies whose delivery raised
    emergency: int  # queries that were answered out of the table for when no upstream can be asked; at once: local, too
    under_way: int  # exchanges now
    shed: int = 0  # of those refused: because too much was asked
    given_way: int = 0  # exchanges that lost their place to newer ones
    waiting: int = 0  # askers now
    flooded: bool = False  # new names are fetched at a pace now
