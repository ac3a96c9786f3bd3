"""What a person may say about how upstreams are spoken to; which upstreams there are is said elsewhere."""

from typing import Annotated, Literal

import msgspec

Seconds = Annotated[float, msgspec.Meta(ge=0.05, le=60)]


class UpstreamOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which upstream goes before which; time limits of connections and exchanges, in seconds."""

    # RFC 8305 s8 lets measured round trips count for the order; providers are for a person to put in order alone. What
    # is written counts to the letter with "strict".
    order: Literal["latency", "strict"] = "latency"
    # RFC 6298 s2: a lost SYN is sent again after 1 s and after 3 s; clients lose patience at about 5 s (dig, glibc).
    connect_timeout: Seconds = 3.0
    # TCP and TLS together, so that one slow upstream costs no more than a client's patience.
    dial_timeout: Seconds = 5.0
    # RFC 8305 s5, Connection Attempt Delay: "One recommended value for a default delay is 250 milliseconds". A little
    # less, so that where port 853 is blocked the third dial, the first one of DoH, answers within 600 ms of a move.
    head_start: Seconds = 0.2
    # A client is to hear within 4 s, a little less than its patience (5 s in dig and glibc), why it has no answer. The
    # rest is for the way there: a busy turn of the event loop, its scheduler and ours.
    query_timeout: Seconds = 3.8
    # Queries outstanding and not one answer for so long: ask on another connection too. Three times the 250 ms that
    # RFC 8305 gives an attempt; with a dial of up to 250 ms, the answer comes within a second of the line's death.
    silence: Seconds = 0.75
    # A connection older than this is replaced, so that a new certificate, log list or expiry is judged within the hour.
    # At twice this age it is closed, whether another one stands by then or not.
    lifetime: Annotated[float, msgspec.Meta(ge=60, le=86400)] = 3600.0
    # Back-off after a failed dial or a refused certificate, full jitter between these two. 0.25 s is one head start;
    # 30 s is the longest that a network may be back without our noticing. (Stubby's hour, getdns tls_backoff_time, is a
    # common complaint.)
    backoff_first: Seconds = 0.25
    backoff_longest: Annotated[float, msgspec.Meta(ge=0.05, le=3600)] = 30.0
