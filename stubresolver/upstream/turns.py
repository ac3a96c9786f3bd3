"""Whose turn it is to be dialled, and when the next one's comes.

The rules are those of `lines`: one after the other, `head_start` apart or as soon as one has failed (RFC 8305 s5); who
pauses is left in peace, but for one dial in half a second of who could not be reached, while clients ask; the next
provider only when the one before has had a second for itself.

What it may not do: dial. Who does is told whom.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from stubresolver.upstream.channel import Channel
from stubresolver.upstream.line import Line
from stubresolver.upstream.order import Candidate, next_to_dial
from stubresolver.upstream.ranking import Ranking
from stubresolver.upstream.refusals import Refusals

NEVER: Final = float("inf")
LONG_AGO: Final = float("-inf")

DEMAND_SECONDS: Final = 0.5  # between dials that only a client's demand makes due: half of the second we have
# How long a provider has before the next one is dialled: three round trips and a judgement on a slow mobile network. It
# is a head start among providers, and longer, because whoever stands first learns a name.
PROVIDER_SECONDS: Final = 1.0


# A server that is started anew resets a connection or two; who asks meanwhile waits for the next one instead of being
# told. After that it is an outage, and who asks hears so.
HICCUPS: Final = 2
HICCUP_SECONDS: Final = 0.5


class Turns:
    """When `dial` is called for whom."""

    def __init__(
        self,
        lines: Sequence[Line],
        ranking: Ranking,
        refusals: Refusals,
        dial: Callable[[Line, float], None],
        *,
        strict: bool,
        head_start: float,
    ) -> None:
        self._lines = lines
        self._ranking = ranking
        self._refusals = refusals
        self._dial = dial
        self._strict = strict
        self._head_start = head_start
        self._demand_at = LONG_AGO  # not before this a dial that is only due by demand
        self.next_at = LONG_AGO  # not before this the next dial beside one under way
        self.settled_at = LONG_AGO  # not before this any dial: the machine is moving

    def begun(self, now: float) -> None:
        """Somebody is dialled."""
        # Where two attempts are under way a fault is likely. RFC 8305 s5 would have 100 ms between attempts at least.
        several = any(line.dialling for line in self._lines)
        self.next_at = now + self._head_start / (2 if several else 1)
        self._demand_at = now + DEMAND_SECONDS

    def anew(self) -> None:
        """Whatever was dialled before counts no more."""
        self.next_at = self._demand_at = LONG_AGO

    def step(self, now: float, avoid: Channel | None, lines: list[Line], *, demand: bool) -> float:
        """Have dialled who is next, if it is time; when there will be something to dial again."""
        if now < self.settled_at:
            return self.settled_at
        if now >= self.next_at or not any(line.dialling for line in lines):
            line = self.candidate(now, avoid, lines)
            if line is None and demand and now >= self._demand_at:
                line = min(self._unreached(lines), key=lambda line: line.dialled_at, default=None)
            if line is not None:
                self._dial(line, now)
        if self.candidate(now, avoid, lines) is not None:
            return self.next_at
        if not any(line.dialling for line in lines):
            hiccups = (line for line in self._unreached(lines) if demand and line.health.failures <= HICCUPS)
            turns = (self.ready_at(line, now) for line in hiccups)
            soon = [at for at in turns if at <= now + HICCUP_SECONDS]
            held = [line for line in lines if line.usable is None and self._own_ready_at(line, now) <= now]
            return min([*soon, *(self.ready_at(line, now) for line in held)], default=NEVER)
        waits = [self.ready_at(line, now) for line in lines if line.usable is None and line.dialling is None]
        if demand and any(self._unreached(lines)):
            waits.append(self._demand_at)
        return min(waits, default=NEVER)

    def candidate(self, now: float, avoid: Channel | None, lines: Iterable[Line]) -> Line | None:
        """Who may be dialled next."""
        avoided = avoid.stream.upstream if avoid is not None else None
        mute = is_mute(avoid)
        favourite = self._ranking.is_favourite
        candidates = [
            Candidate(line.place.number, line.grade, line.upstream, favourite(line), lost, mute and lost)
            for line, lost in ((line, line.upstream == avoided) for line in lines)
            if line.usable is None and line.dialling is None and now >= self.ready_at(line, now)
        ]
        attempts = [
            line.upstream
            for line in self._lines
            if line.channel is None and (line.dialling is not None or line.health.failures)
        ]
        number = next_to_dial(candidates, attempts, strict=self._strict)
        return None if number is None else self._lines[number]

    def ready_at(self, line: Line, now: float) -> float:
        """From when on it may be dialled; while an earlier provider is being dialled, that one has its time first."""
        earlier = [
            other.dialled_at + PROVIDER_SECONDS
            for other in self._lines
            if other.dialling is not None and other.place.provider < line.place.provider
        ]
        return max(self._own_ready_at(line, now), min(earlier, default=LONG_AGO))

    def _own_ready_at(self, line: Line, now: float) -> float:
        """The same, whatever the others do."""
        return max(line.health.ready_at, self._refusals.ready_at(line.upstream.address, now))

    def is_outage(self) -> bool:
        """Whether nothing stands and everything has failed already."""
        return all(line.channel is None and line.health.failures for line in self._lines)

    def network_is_back(self, stands: Line) -> None:
        """The first connection of all stands: who is better, and could not be reached, need not pause any longer."""
        if sum(line.usable is not None for line in self._lines) == 1:
            for line in self._lines:
                if line.grade < stands.grade and line.health.unreached and line.health.failures > 1:
                    line.health = line.health.at_once()

    @staticmethod
    def _unreached(lines: Iterable[Line]) -> Iterator[Line]:
        """Who pauses because it could not be reached, and may be dialled by demand."""
        return (line for line in lines if line.health.unreached and line.dialling is None and line.usable is None)


def is_mute(left: Channel | None) -> bool:
    """Whether a connection that is left speaks against its upstream, and not only against itself."""
    return left is not None and (left.violated or (left.silent and left.ended is None))
