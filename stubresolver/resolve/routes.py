"""Which question goes to whom: names in a forward zone to the zone's own servers, all others to the upstreams.

The longest zone decides (`corp.example` before `example`), by whole labels in wire format: no letter case, no escaped
dot and no name that only ends alike (`notcorp.example`) leads elsewhere. RFC 4035 s3.1.4.1: DS "at the parent side of
the zone cut": a question of that type at the top of a zone is not the zone's.

The servers of a zone are believed about that zone. What they say of other names is left out (see `wire.bailiwick`), and
where an alias leads out of the zone, whoever is responsible for its target is asked for the rest, as unbound does: what
is known here first, then the target's route. An alias of the public DNS that leads into a zone is followed by the
upstream and not here: a stranger's name must not lead into a private network.

The failure of one route is the failure of its questions and of no others. Nothing is kept here.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from stubresolver.errors import ExchangeTimeout, MalformedAnswer, ProtocolViolation, UpstreamError
from stubresolver.local.names import zone_in
from stubresolver.resolve.ports import Exchanger
from stubresolver.wire.answer import Answer
from stubresolver.wire.bailiwick import Excerpt, excerpt
from stubresolver.wire.codes import DS
from stubresolver.wire.edns import upstream_query_of
from stubresolver.wire.names import after_name
from stubresolver.wire.query import Query

_HOPS: Final = 8  # from one server to another for one question; half of what `wire.chain` allows for aliases
# Seconds after which no further one is asked. The next one mostly answers at once, and that is worth more than SERVFAIL
# in time; where it answers nothing, its own 3.8 s come on top, and a client that waits for five hears nothing.
_LATEST: Final = 2.0

Reply = Callable[[bytes | UpstreamError], None]


@dataclass(frozen=True, slots=True)
class Route:
    """Zones that are asked for at their own servers."""

    zones: Collection[bytes]  # wire format, lower case
    exchanger: Exchanger
    max_ttl: int | None = None  # an answer is kept no longer, whatever its records say


class Routes:
    """An `Exchanger` that asks the right one."""

    def __init__(
        self,
        default: Exchanger,
        routes: Sequence[Route],
        known: Callable[[Query], bytes | None] = lambda _: None,
        form: Callable[[bytes], bytes] = upstream_query_of,
    ) -> None:
        """`known` has the reply to questions that go to nobody; asked where an alias leads out of a zone.

        `form` makes the query of a key, as the resolver does.
        """
        self.default: Final = default
        self.known: Final = known
        self.form: Final = form
        self._routes = {zone: route for route in routes for zone in route.zones}

    def exchange_soon(self, query: bytes, reply: Reply) -> None:
        """Ask a query as `upstream_query` makes it; `reply` gets its answer, or the reason why there is none."""
        route = self._of_question(query)
        if route is None:
            self.default.exchange_soon(query, reply)
        else:
            _Errand(self, query, reply).ask(route, query)

    def of_name(self, name: bytes) -> Route | None:
        """The route of a name in wire format and lower case; None for the upstreams."""
        zone = zone_in(name, self._routes)
        return None if zone is None else self._routes[zone]

    def of_key(self, key: bytes) -> Route | None:
        """The route of a query by its key."""
        name, kind = key[:-5], key[-5] << 8 | key[-4]
        return self.of_name(name[1 + name[0] :] if kind == DS and name[0] else name)

    def _of_question(self, query: bytes) -> Route | None:
        """The route of a query's question: the same octets as a key's, behind the header."""
        return self.of_key(query[12 : after_name(query, 12) + 5])


class _Errand:
    """One question for a zone, and wherever its aliases lead."""

    __slots__ = ("_asked", "_begun", "_found", "_hops", "_query", "_reply", "_routes")

    def __init__(self, routes: Routes, query: bytes, reply: Reply) -> None:
        self._routes = routes
        self._query = self._asked = query
        self._reply = reply
        self._found: Excerpt | None = None
        self._hops = 0
        self._begun = trio.current_time()

    def ask(self, route: Route | None, query: bytes) -> None:
        """Ask at a route, None for the upstreams."""
        self._asked = query
        exchanger = self._routes.default if route is None else route.exchanger
        exchanger.exchange_soon(query, lambda result: self._landed(route, result))

    def _landed(self, route: Route | None, result: bytes | UpstreamError) -> None:
        if isinstance(result, UpstreamError):
            self._reply(result)
            return
        try:
            self._take(route, result)
        except MalformedAnswer as error:
            self._reply(ProtocolViolation(f"malformed answer from upstream: {error}"))

    def _take(self, route: Route | None, wire: bytes) -> None:
        """Keep what is believed of an answer, and end, or go on; raises `MalformedAnswer`."""
        Answer.parse(wire, self._asked)  # proves the octets
        part = excerpt(
            wire,
            lambda name: route is None or self._routes.of_name(name) is route,
            None if route is None else route.max_ttl,
        )
        if self._found is None and part.whole:
            self._reply(wire)
            return
        self._found = part if self._found is None else self._found.followed_by(part)
        if part.onward is None:
            self._reply(self._found.message(self._query))
        else:
            self._go_on(part.onward)

    def _go_on(self, name: bytes) -> None:
        """Ask for what an alias leads to."""
        self._hops += 1
        if self._hops >= _HOPS or trio.current_time() - self._begun > _LATEST:
            self._reply(ExchangeTimeout("an alias leads from server to server, and there was no time for the next one"))
            return
        key = name + Query(self._query, tcp=True).key[-5:]
        query = self._routes.form(key)
        known = self._routes.known(Query(query, tcp=True))
        if known is None:
            self.ask(self._routes.of_key(key), query)
        else:
            self._asked = query
            self._landed(None, known)
