"""Judgements that wait to be written: a few, in memory, while the file takes none.

Who fills a disk wants that what he shows next leaves no trace. So what was refused stays before what was allowed; and
of the refused, as in the file (`retention`), who goes is not the oldest: those of one upstream with one set of failed
rules are a group, and the largest group gives its middle one. Of the same judgement again the first and the newest are
held, whose times the record needs; how often is not counted here. How many were lost is.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from stubresolver.evidence.judgement import Judgement

MAXIMUM: Final = 64  # distinct judgements: eight upstreams with a handful of chains each
MAXIMUM_OCTETS: Final = 1 << 20  # of their chains and staples, of 5 KiB each as upstreams show them


class Backlog:
    """Bounded; used by one thread at a time."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[Judgement, Judgement]] = {}  # first and newest, by the record's id
        self.lost = 0

    def __len__(self) -> int:
        """How many distinct judgements wait."""
        return len(self._held)

    def add(self, judgement: Judgement) -> None:
        """Hold one more; whoever has to give way for it is lost."""
        first, _ = self._held.get(judgement.identity, (judgement, judgement))
        self._held[judgement.identity] = (first, judgement)
        while len(self._held) > MAXIMUM or sum(map(_octets, self._held.values())) > MAXIMUM_OCTETS:
            del self._held[self._victim()]
            self.lost += 1

    def judgements(self) -> list[Judgement]:
        """What waits, in the order in which it is to be written."""
        return [judgement for pair in self._held.values() for judgement in dict.fromkeys(pair)]

    def written(self, judgements: Iterable[Judgement]) -> None:
        """These wait no more; what has come meanwhile does."""
        done = {id(judgement) for judgement in judgements}
        left = {identity: [each for each in pair if id(each) not in done] for identity, pair in self._held.items()}
        self._held = {identity: (pair[0], pair[-1]) for identity, pair in left.items() if pair}

    def _victim(self) -> str:
        """The id of the next to go."""
        for identity, (_, newest) in self._held.items():
            if newest.verdict.allowed:
                return identity
        groups = Counter(_alike(newest) for _, newest in self._held.values())
        ((largest, _),) = groups.most_common(1)
        ids = [identity for identity, (_, newest) in self._held.items() if _alike(newest) == largest]
        return ids[len(ids) // 2]


def _alike(judgement: Judgement) -> tuple[str, frozenset[str]]:
    return judgement.upstream, frozenset(finding.rule.value for finding in judgement.verdict.failures)


def _octets(pair: tuple[Judgement, Judgement]) -> int:
    return sum(sum(map(len, each.presented.chain)) + len(each.presented.staple or b"") for each in dict.fromkeys(pair))
