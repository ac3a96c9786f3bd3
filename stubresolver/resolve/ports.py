"""What the resolver needs of others, by shape: somebody who asks, somebody who knows names that are not asked for.

And for a while perhaps: somebody else to ask, who is not believed beyond the moment.
"""

from collections.abc import Callable
from typing import Protocol

from stubresolver.cache import Replacement
from stubresolver.errors import UpstreamError
from stubresolver.wire.answer import Answer
from stubresolver.wire.query import Query


class Exchanger(Protocol):
    """Whoever can get a query answered: one message out, one message back."""

    def exchange_soon(self, query: bytes, reply: Callable[[bytes | UpstreamError], None]) -> None:
        """Ask the query (wire format) and call `reply` exactly once, at once or later, but within seconds."""


class Local(Protocol):
    """Whoever knows what is answered here, and what may not be answered."""

    def reply(self, query: Query) -> bytes | None:
        """The reply to a query that goes to no upstream; None for all others. Asked after the cache has missed."""

    def vet(self, query: Query, answer: Answer) -> Replacement | None:
        """What takes the place of an upstream's answer that nobody may have; None for all others."""


class Detour(Exchanger, Protocol):
    """Whoever is asked instead for a while, without being trusted: nothing that he says is kept."""

    def takes(self, key: bytes) -> bool:
        """Whether queries with this key go his way; all others go the way that they always do."""

    def vet(self, query: Query, answer: Answer) -> Replacement | None:
        """What takes the place of an answer of his that nobody may have; None for all others."""
