"""The faults of a soak: which, where and for how long, drawn from one seed and so the same for the same seed.

Each kind comes once at first, briefly, so that whatever it makes the service load or remember is there when its memory
is looked at. Most befall one of two upstreams, and the other is well; one in eight befalls both, and then SERVFAIL may
be the best that can be had.
"""

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

_SHORTEST, _LONGEST = 0.5, 6.0  # seconds that a fault lasts
_REST = 3.0  # seconds, at most, until the next one
_BRIEF = 1.0  # both, in the first round: each kind once
_BOTH_SHARE = 1 / 8

# What happens once, to the connections that stand.
STRIKES = ("fin", "rst", "deafen", "alert", "garbage", "close_notify", "goaway")
# What is so for a while; the second half is how it is undone.
SPELLS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "lag": ({"lag": 0.3}, {"lag": 0.0}),
    "loss": ({"stall": 0.2}, {"stall": 0.0}),
    "one octet at a time": ({"piece": 1}, {"piece": 65536}),
    "new connections hear nothing": ({"swallow": True}, {"swallow": False}),
}
# The same of what only a server of ours can do.
MANNERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "slow": ({"delay": 2.0}, {"delay": 0.0}),
    "too slow": ({"delay": 5.0}, {"delay": 0.0}),
    "fast SERVFAIL": ({"rcode": 2}, {"rcode": 0}),
    "fast REFUSED": ({"rcode": 5}, {"rcode": 0}),
    "other questions": ({"lie": True}, {"lie": False}),
    "every answer twice": ({"copies": 2}, {"copies": 1}),
    "answers unasked": ({"unasked": True}, {"unasked": False}),
    "reordered": ({"reorder": 3}, {"reorder": 1}),
    "silent": ({"silent": True}, {"silent": False}),
}
DOORS = ("reset", "dropped", "refused by policy", "captive portal")  # what a new connection finds
OWN = ("suspend", "reload", "evidence locked")  # what happens to the service itself

KINDS = (*STRIKES, *SPELLS, *MANNERS, *DOORS, *OWN)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: `rest` seconds after the one before, for `lasts` seconds, at these upstreams."""

    kind: str
    where: tuple[int, ...]
    rest: float
    lasts: float
    ports: tuple[str, ...] = field(default=("dot", "doh"))

    def __str__(self) -> str:
        hit = "both upstreams" if len(self.where) > 1 else f"upstream {self.where[0] + 1}" if self.where else "service"
        return f"{self.kind}, {hit}, {'+'.join(self.ports)}, {self.lasts:.1f} s"


def draw(seed: int, ours: Sequence[int]) -> Iterator[Fault]:
    """Faults without end, each kind once before any comes again; `ours` are the upstreams that can have manners."""
    dice = random.Random(seed)  # noqa: S311 - faults that can be repeated
    seen: set[str] = set()
    for kind in itertools.chain(dice.sample(KINDS, len(KINDS)), iter(lambda: dice.choice(KINDS), None)):
        both = dice.random() < _BOTH_SHARE
        one = dice.randrange(2)
        where: tuple[int, ...] = (0, 1) if both else (one,)
        if kind in MANNERS:
            where = tuple(ours)
        elif kind in OWN:
            where = ()
        ports = dice.choice((("dot", "doh"), ("dot",), ("dot", "doh")))
        longest, rest = (_LONGEST, _REST) if len(seen) == len(KINDS) else (_BRIEF, _BRIEF)
        seen.add(kind)
        lasts = 0.0 if kind in STRIKES or kind == "reload" else dice.uniform(_SHORTEST, longest)
        yield Fault(kind, where, dice.uniform(0.0, rest), lasts, ports)
