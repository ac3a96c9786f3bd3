"""How much work a peer may make us without being asked: an account of what it sends beside answers. Pure.

HTTP/2 has many frames that cost their sender nothing and bring us nothing: PING, SETTINGS, PRIORITY, WINDOW_UPDATE,
RST_STREAM, empty DATA, unknown types, interim responses, fields without end (RFC 9113 s10.5, "Denial-of-Service
Considerations"). Each alone is lawful. So all are put on one account, in units of about 10 µs of processor time (h2
4.4, measured on the machine of bench/README.md: PING 9 µs, SETTINGS 11 to 16 µs, a header field 2.2 µs). A query that
is asked pays for what its answer honestly brings; nothing else does.

No clock: what an honest peer sends unasked in a connection's whole life, which is two hours at most, fits in.
"""

# Two hours of a PING every five seconds are 1,440. Servers send them every 10 s or more seldom (gRPC's floor is 10 s).
UNASKED = 2000

# An answer is a HEADERS and a DATA frame, perhaps with PING, SETTINGS and WINDOW_UPDATE beside them (servers that
# measure the bandwidth do that), and 10 to 20 header fields: 10 units. Six times as much.
PER_QUERY = 64

# Queries pay in advance for what is still to come, but an hour of good behaviour buys no flood: as many are remembered
# as a connection has under way at most (`doh.MAX_STREAMS`).
SAVED = 100 * PER_QUERY


class Burden:
    """The account of one connection; `units` is below zero while queries have paid for more than has come."""

    __slots__ = ("units",)

    def __init__(self) -> None:
        self.units = 0

    def asked(self) -> None:
        """A query goes out."""
        self.units = max(self.units - PER_QUERY, -SAVED)

    @property
    def too_much(self) -> bool:
        """True if the peer has sent more than any honest one."""
        return self.units > UNASKED
