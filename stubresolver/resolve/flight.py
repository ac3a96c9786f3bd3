"""One exchange under way, and everybody who waits for it."""

from collections.abc import Callable

from stubresolver.errors import MalformedAnswer, UpstreamError
from stubresolver.resolve.ports import Detour
from stubresolver.wire.answer import Answer
from stubresolver.wire.codes import IN, RRSIG
from stubresolver.wire.edns import Failure
from stubresolver.wire.query import Query

Asker = tuple[Query, Callable[[bytes], None]]

_NETWORK_ERROR = 23  # RFC 8914 s4.24
_SIGNATURE = bytes((0, RRSIG, 0, IN))  # RFC 1035 s3.2.1: TYPE and CLASS of a record stand side by side


class Flight:
    """From the first asker's question to what came of it. Without askers it flies for the cache alone."""

    __slots__ = ("_landed", "asker", "askers", "begun", "detour", "query", "wire")

    def __init__(
        self,
        query: Query,
        wire: bytes,
        askers: list[Asker],
        landed: Callable[["Flight", bytes | UpstreamError], None],
        detour: Detour | None = None,
        *,
        asker: bytes = b"",
        begun: float = 0.0,
    ) -> None:
        self.query = query  # the first one's
        self.askers = askers
        self.wire = wire  # what is asked upstream
        self.detour = detour  # who is asked instead: nothing of such a flight is kept
        self.asker = asker  # whose place it holds
        self.begun = begun
        self._landed = landed

    def land(self, result: bytes | UpstreamError) -> None:
        """The exchange has ended."""
        self._landed(self, result)

    def read(self, result: bytes | UpstreamError, wall: Callable[[], int] | None) -> Answer | Failure:
        """What came of it, as a value; signatures end by `wall`, seconds since 1970, where it is known."""
        if isinstance(result, UpstreamError):
            return Failure(result.info_code, result.summary)
        now = wall() if wall is not None and _SIGNATURE in result else None
        try:
            return Answer.parse(result, self.wire, edns=self.query.has_edns, wall=now)
        except MalformedAnswer as error:
            return Failure(_NETWORK_ERROR, f"malformed answer from upstream: {error}")
