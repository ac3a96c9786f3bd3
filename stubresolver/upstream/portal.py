"""The third door: plain DNS to a captive portal's own server, for the minutes in which a person logs in.

The law of this file: nothing leaves before the exchanger is made or after its end, by the clock that counts the time in
which the machine slept, nor after `close`; and it goes to the servers that it was made with and to no other. Who makes
one has been told to by a person, and has told that person who will see the names (see `stubresolver.portal`).

Nobody is judged here and nothing is believed for longer than a moment (see `resolve.resolver`). So nothing is asked for
that only a trusted server could give: the bits AD, CD and DO are clear (RFC 4035 s4.9.3).
"""

from collections.abc import Callable, Sequence
from typing import Final

import trio

from stubresolver.errors import UpstreamError
from stubresolver.upstream.plain import WAITS, ClearExchanger
from stubresolver.upstream.server import PlainServer
from stubresolver.wire.codes import RD
from stubresolver.wire.names import after_name

_DNSSEC_OK: Final = 0x80  # of the first octet of the OPT record's flags: RFC 3225 s3


class PortalExchanger(ClearExchanger):
    """For every name, until its end."""

    closed = "the portal has ended: ask again"

    def __init__(self, servers: Sequence[PlainServer], until: float, *, waits: Sequence[float] = WAITS) -> None:
        """`until` is a time of `trio.current_time()`."""
        self.until = until
        super().__init__(servers, "plain DNS to a captive portal: neither encrypted nor verified", waits=waits)

    def close(self) -> None:
        """Let nothing out from now on, also of what is under way."""
        self.until = float("-inf")

    def why_not(self, query: bytes) -> str:  # noqa: ARG002 - every name has the same end
        """What comes after the end stays here."""
        return "" if trio.current_time() < self.until else "not sent: the time of the portal is over"

    def exchange_soon(self, query: bytes, reply: Callable[[bytes | UpstreamError], None]) -> None:
        """Ask a query as `upstream_query` makes it, without what a stranger cannot be asked for."""
        flags = after_name(query, 12) + 4 + 7  # behind type and class, and the OPT record's name, type, size and RCODE
        plain = bytearray(query)
        plain[2:4] = bytes((query[2] & RD, 0))
        plain[flags] &= ~_DNSSEC_OK
        super().exchange_soon(bytes(plain), reply)
