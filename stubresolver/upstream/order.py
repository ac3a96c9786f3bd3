"""Which upstream goes before which. PURE.

`latency`: upstreams of one provider before those of the next, in the order in which the providers were named first;
within a provider, DoT before DoH or the other way round, as they were named first; within a transport, the one that is
in favour (it stood first, or was measured to be faster since), then as they were named. Behind the rest of its
provider: whose answers were failures where another's were not, and a transport that this network blocks. A provider is
never behind another: else who owns a domain, and has its servers fail whoever asks first, would choose between them.

`strict`: as they were named, and nothing else.

Two upstreams are alike if nothing but favour lies between them: then nobody is dialled only because it comes earlier.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from stubresolver.upstream.upstream import Transport, Upstream

# A change of upstream must be worth it: a third faster, and by more than the jitter of one round trip on a good line.
FASTER_BY: Final = 0.3
FASTER_SECONDS: Final = 0.010

Grade = tuple[int, bool, bool, int]  # provider, behind, blocked, transport (or place): the smaller the better


@dataclass(frozen=True, slots=True)
class Place:
    """Where an upstream stands by what was written, whatever happens."""

    number: int  # among all
    provider: int
    transport: int


def places(upstreams: Sequence[Upstream], providers: Mapping[Upstream, str]) -> list[Place]:
    """The place of each upstream."""
    named = list(dict.fromkeys(providers.get(upstream, "") for upstream in upstreams))
    transports = list(dict.fromkeys(upstream.transport for upstream in upstreams))
    return [
        Place(number, named.index(providers.get(upstream, "")), transports.index(upstream.transport))
        for number, upstream in enumerate(upstreams)
    ]


def grade(place: Place, *, behind: bool, blocked: bool, strict: bool) -> Grade:
    """How good an upstream is now."""
    return (0, False, False, place.number) if strict else (place.provider, behind, blocked, place.transport)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An upstream that may be dialled now."""

    number: int
    grade: Grade
    upstream: Upstream
    favourite: bool
    lost: bool  # its connection has just died under a query: rather another one that is alike
    mute: bool  # it takes queries and says nothing, or breaks the protocol: rather any other one of its provider


def next_to_dial(candidates: Iterable[Candidate], attempts: Sequence[Upstream], *, strict: bool) -> int | None:
    """The number of the candidate to dial beside those attempts that are under way or have failed; None for none.

    RFC 8305 s4 interleaves the address families, so that where one does not work the other is tried early. So the next
    one differs from the attempts in its family first, then in its transport: DoT over IPv4, DoT over IPv6, DoH over
    IPv4, DoH over IPv6.
    """
    if strict:
        return min(((each.mute, each.number) for each in candidates), default=(False, None))[1]
    families = Counter(each.address.version for each in attempts)
    both: Counter[tuple[int, Transport]] = Counter((each.address.version, each.transport) for each in attempts)

    def key(each: Candidate) -> tuple[object, ...]:
        provider, behind, blocked, transport = each.grade
        family = each.upstream.address.version
        tried = families[family], both[family, each.upstream.transport]
        return provider, behind, each.mute, blocked, *tried, transport, each.lost, not each.favourite, each.number

    best = min(candidates, key=key, default=None)
    return None if best is None else best.number


def is_faster(candidate: float, current: float) -> bool:
    """Whether a candidate's time for the same question is so much better that it is worth a change."""
    return candidate < current * (1 - FASTER_BY) and current - candidate > FASTER_SECONDS
