"""Which sources are one voice, and what the voices say of one log. PURE.

A quorum counts voices, not files. Sources are one voice if they come from one origin, say the same (however it is
spaced or ordered), or carry a signature by one key. What a voice says for a widening is whatever any of its sources
says; against one, each source speaks for itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from stubresolver.ct import Log, LogState
from stubresolver.loglists.sources import Source

Voice = tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """One source's entry for a log."""

    voice: int
    source: Source
    log: Log


@dataclass(frozen=True, slots=True)
class Ballot:
    """What the sources say of one log. A pending log is as good as not listed: nobody has accepted it yet."""

    listings: tuple[Listing, ...]
    voices: int  # how many there are, whether they list this log or not
    quorum: int

    def is_carried(self, listings: Sequence[Listing]) -> bool:
        """True if these are a quorum, or one of them is vouched for."""
        return any(item.source.vouched for item in listings) or len({item.voice for item in listings}) >= self.quorum

    def is_kept(self, listings: Sequence[Listing]) -> bool:
        """True if these keep a known log in the list: a quorum, or all voices where there are fewer."""
        enough = min(self.quorum, self.voices)
        return any(item.source.vouched for item in listings) or len({item.voice for item in listings}) >= enough


def voices(sources: Sequence[Source]) -> list[Voice]:
    """The sources by voice, each in the order in which they were given."""
    found: list[list[Source]] = []
    for source in sources:
        alike = [group for group in found if any(why_alike(source, other) for other in group)]
        found = [group for group in found if group not in alike]
        found.append([*(other for group in alike for other in group), source])
    return [tuple(group) for group in found]


def why_alike(one: Source, other: Source) -> str:
    """Why two sources are not independent; "" where they are."""
    if one.origin == other.origin:
        return f"both are from {one.origin}"
    if one.digest == other.digest:
        return "they say exactly the same"
    if one.key and one.key == other.key:
        return "one key signed both"
    return ""


def ballot(log_id: bytes, groups: Sequence[Voice], quorum: int) -> Ballot:
    """Everything that is said of one log."""
    listings = tuple(
        Listing(number, source, source.logs[log_id])
        for number, group in enumerate(groups)
        for source in group
        if log_id in source.logs and source.logs[log_id].state is not LogState.PENDING
    )
    return Ballot(listings, len(groups), quorum)


def names(listings: Sequence[Listing]) -> tuple[str, ...]:
    """The sources' names, each once."""
    return tuple(dict.fromkeys(listing.source.name for listing in listings))
