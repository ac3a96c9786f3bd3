"""The exchanges under way: which may be joined, which were overtaken, which must give way. Begins and answers none.

Each flight holds a place from `add` until it lands, gives way or is drained, whichever comes first, and only once. What
comes of one that has left its place already is for nobody.
"""

from collections.abc import Callable, Iterator

from stubresolver.resolve.admission import Admission
from stubresolver.resolve.flight import Flight


class Flights:
    """A table of bounded size."""

    __slots__ = ("_give_way", "_overtaken", "_places", "admission", "given_way", "joinable")

    def __init__(self, places: int, give_way: Callable[[Flight], None]) -> None:
        """`give_way` answers those who wait for a flight that has lost its place."""
        self.joinable: dict[bytes, Flight] = {}  # by the query's key, the oldest first
        self.admission = Admission(places)
        self.given_way = 0
        self._overtaken: set[Flight] = set()  # nobody joins them, nothing of them is kept
        self._places = places
        self._give_way = give_way

    def __len__(self) -> int:
        return len(self.joinable) + len(self._overtaken)

    @property
    def full(self) -> bool:
        """Whether every place is taken."""
        return len(self.joinable) >= self._places

    @property
    def half_full(self) -> bool:
        """Whether half of the places are taken: the others are for flights that somebody waits for."""
        return len(self.joinable) >= self._places // 2

    def find_place(self, asker: bytes, now: float) -> bool:
        """Whether there is a place for one flight more of this asker, if need be the oldest flight's."""
        taken = len(self.joinable)
        if taken < self._places and self.admission.has_share(asker, taken):
            return True
        oldest = next(iter(self.joinable.values()))
        # Who has his share but finds places free may have that of his own oldest, of nobody else's.
        if taken < self._places and oldest.asker != asker:
            return False
        if not self.admission.gives_way(oldest.begun, now):
            return False
        del self.joinable[oldest.query.key]
        self.admission.end(oldest.asker)
        self.given_way += 1
        self._give_way(oldest)
        return True

    def add(self, flight: Flight) -> None:
        """One more is under way."""
        self.joinable[flight.query.key] = flight
        self.admission.begin(flight.asker)

    def landed(self, flight: Flight) -> bool | None:
        """Its exchange has ended: whether what came of it may be kept; None if it has left its place already."""
        key = flight.query.key
        current = self.joinable.get(key) is flight
        if current:
            del self.joinable[key]
        elif flight in self._overtaken:
            self._overtaken.remove(flight)
        else:
            return None
        self.admission.end(flight.asker)
        return current

    def overtake(self, chosen: Callable[[bytes], bool] = lambda _key: True) -> None:
        """From now on nobody joins the flights whose keys are chosen, and nothing of them is kept."""
        for key in [key for key in self.joinable if chosen(key)]:
            self._overtaken.add(self.joinable.pop(key))

    def drain(self) -> Iterator[Flight]:
        """Each flight, out of its place."""
        while self.joinable or self._overtaken:
            flight = self.joinable.popitem()[1] if self.joinable else self._overtaken.pop()
            self.admission.end(flight.asker)
            yield flight
