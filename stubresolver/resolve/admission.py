"""Who may begin an exchange while more is asked than can be fetched. Pure: time is an argument.

Three rules, each for what the one before cannot hold:

* A share. Nobody holds more places than are left: one asker who wants all of them gets half and leaves half, two get a
  third each (the dynamic threshold of shared buffers: Choudhury and Hahne, IEEE/ACM ToN 6:2, 1998). It costs nothing
  where few places are taken.
* Giving way. Where an asker finds no place, the oldest exchange gives its own to him if it is older than `_GIVE_WAY`:
  unbound's jostle-timeout, 200 ms, "a value that usually results in one roundtrip to the authority servers"
  (unbound.conf(5)). So names that nobody ever answers hold no place for the four seconds that they last. At
  most `_GIVEN_A_SECOND`: whoever is asked upstream has the question still, and his room is bounded, too.
* A pace. Once a listener's queue stands, which only more questions than the processor can take do, new names are
  fetched at `_PACE` a second until nobody has been sent away for `_CALM` seconds. What is left of the processor is for
  those whose answers are at hand. No more than a fifth of the pace is for one asker.

An asker is a socket or a machine, as octets; b"" is this program itself, which is bounded by nothing but the places.
"""

from typing import Final

_GIVE_WAY: Final = 0.2  # seconds
_GIVEN_A_SECOND: Final = 200  # with the 4 s of an exchange, 800 beside those in their places

# A new name costs about 70 µs of processor time here (bench/README.md), so this is a seventh of one core. A person's
# programs ask for ten in a second when a browser starts, a busy mail server for some hundred.
_PACE: Final = 2_000
_CALM: Final = 1.0
_WINDOW: Final = 0.01  # seconds in which the pace is kept: what lands together is the work of a millisecond
_IN_WINDOW: Final = int(_PACE * _WINDOW)
_FOR_ONE: Final = _IN_WINDOW // 5


class Admission:
    """Counts who has exchanges under way, and who has begun some of late."""

    __slots__ = ("_begun", "_half", "_held", "_left", "_next_given", "_places", "_window_ends", "flood_ends")

    def __init__(self, places: int) -> None:
        self._places = places
        self._half = (places + 1) // 2
        self._held: dict[bytes, int] = {}  # exchanges under way, of each asker who has any
        self.flood_ends = float("-inf")  # until then the pace is kept
        self._window_ends = float("-inf")
        self._left = 0  # exchanges that may still begin in the window
        self._begun: dict[bytes, int] = {}  # those that have, by asker
        self._next_given = float("-inf")

    def press(self, now: float) -> None:
        """A listener's queue stands."""
        self.flood_ends = now + _CALM

    def has_share(self, asker: bytes, taken: int) -> bool:
        """Whether an asker may hold one place more, of those that are not taken."""
        # Nobody holds more than are taken, so while fewer than half are, there is a share for everybody.
        return taken < self._half or not asker or self._held.get(asker, 0) < self._places - taken

    def keeps_pace(self, asker: bytes, now: float) -> bool:
        """Whether an asker may begin one exchange more now; it counts as begun."""
        if now >= self.flood_ends or not asker:
            return True
        if now >= self._window_ends:
            self._window_ends = now + _WINDOW
            self._left = _IN_WINDOW
            self._begun.clear()
        begun = self._begun.get(asker, 0)
        if not self._left or begun >= _FOR_ONE:
            self.flood_ends = now + _CALM
            return False
        self._left -= 1
        self._begun[asker] = begun + 1
        return True

    def gives_way(self, begun_at: float, now: float) -> bool:
        """Whether the oldest exchange, begun then, leaves its place now; it counts as given."""
        if now < begun_at + _GIVE_WAY or now < self._next_given:
            return False
        self._next_given = now + 1 / _GIVEN_A_SECOND
        return True

    def begin(self, asker: bytes) -> None:
        """An exchange has begun."""
        self._held[asker] = self._held.get(asker, 0) + 1

    def end(self, asker: bytes) -> None:
        """It has ended, or left its place."""
        left = self._held[asker] - 1
        if left:
            self._held[asker] = left
        else:
            del self._held[asker]
