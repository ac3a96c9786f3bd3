"""What the listeners answer by themselves, before anybody looks for an answer; one `Front` for all of them.

- Errors to what is no query, and silence where that is due (RFC 1035 s7.3): `wire.query.malformed_reply`.
- Questions about this server and questions of type ANY: `wire.own`.
- The options that are between one client and us: cookies (RFC 7873) and TCP keepalive (RFC 7828). NSID and all others
  are ignored (RFC 6891 s6.1.2); padding (RFC 7830) is of no use where others can read the rest.
- Who may ask at all, on a socket that other machines can reach: `allow`.

A query that was remembered has none of all this, so a hot query costs one look at a flag. Addresses are octets in
network order, time is an argument.
"""

import secrets

from stubresolver import __version__
from stubresolver.errors import MalformedQuery
from stubresolver.serve.allow import AllowList
from stubresolver.serve.options import ListenOptions
from stubresolver.wire.codes import ANY, NOTIMP, REFUSED
from stubresolver.wire.cookie import answering_cookie, cookie_reply, requested_cookie
from stubresolver.wire.edns import error_reply, short_reply
from stubresolver.wire.opt import COOKIE, KEEPALIVE, OPT_OCTETS, option
from stubresolver.wire.own import CLASS_CH, any_reply, chaos_reply
from stubresolver.wire.query import Query, malformed_reply

_PROHIBITED = 18  # RFC 8914 s4.19
_VERSION = f"stubresolver {__version__}"


class Front:
    """The listeners' own answers, for one service."""

    __slots__ = ("_allowed", "_identity", "_keepalive", "_secret")

    def __init__(self, options: ListenOptions) -> None:
        self._allowed = AllowList(options.allow)
        self._identity = options.identity
        # RFC 7828 s3.1: "the idle timeout value for the TCP connection, specified in units of 100 milliseconds"
        self._keepalive = option(KEEPALIVE, int(options.tcp_idle_seconds * 10).to_bytes(2))
        self._secret = secrets.token_bytes(32)  # RFC 7873 s7.1: new at each start; clients then learn a new cookie

    def greet(self, query: Query, address: bytes, now: float, *, tcp: bool = False) -> bytes | None:
        """Give the query the options of its reply; the reply itself if it is ours."""
        if len(query.wire) > query.end + OPT_OCTETS:
            query.extra = self._own_options(query, address, now, tcp=tcp)
        return any_reply(query) if query.type == ANY else None

    def refuse(
        self, wire: bytes, error: MalformedQuery, address: bytes, now: float, *, tcp: bool = False
    ) -> bytes | None:
        """What to say to octets that are no query for the resolver; None for silence."""
        if error.rcode == NOTIMP:
            try:
                query = Query(wire, tcp=tcp, klass=CLASS_CH)
            except MalformedQuery:
                return malformed_reply(wire, error)
            self.greet(query, address, now, tcp=tcp)
            return chaos_reply(query, _VERSION, self._identity)
        cookie = requested_cookie(wire)
        if cookie is not None:
            return cookie_reply(wire, answering_cookie(cookie, self._secret, address, int(now)))
        return malformed_reply(wire, error)

    def allows(self, address: bytes) -> bool:
        """Whether the client may ask."""
        return address in self._allowed

    def turn_away(self, wire: bytes) -> bytes | None:
        """What to say to a client that may not ask, over UDP: no octet more than it sent, and nothing to noise."""
        try:
            query = Query(wire)
        except MalformedQuery:
            return None
        reply = error_reply(query, REFUSED, _PROHIBITED, "this client is not in the resolver's allow list")
        return reply if len(reply) <= len(wire) else short_reply(query, REFUSED)

    def _own_options(self, query: Query, address: bytes, now: float, *, tcp: bool) -> bytes:
        """The options of the reply to this client."""
        cookie = query.option(COOKIE)
        options = b"" if cookie is None else answering_cookie(cookie, self._secret, address, int(now))
        # RFC 7828 s3.2.1: over UDP the option is ignored.
        if tcp and query.option(KEEPALIVE) is not None:
            options += self._keepalive
        return options
