"""What a person may say about the listeners; the module that owns the behaviour owns its options."""

from typing import Annotated

import msgspec

from stubresolver.errors import BadInput
from stubresolver.serve.allow import check_listening
from stubresolver.serve.bind import ListenAddress, parse_listen_address


class ListenOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[listen]` part of the configuration. `bind.parse_listen_address` reads each of `addresses`."""

    # Loopback only: RFC 5358 s4 (BCP 140), "By default, nameservers SHOULD NOT offer recursive service to external
    # networks". Each address gets UDP and TCP, because RFC 7766 s5 demands both.
    addresses: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=64)] = ("127.0.0.1:53", "[::1]:53")

    # Networks that are answered beside loopback. None by default, for the same reason; an address above that other
    # machines can reach demands it.
    allow: Annotated[tuple[str, ...], msgspec.Meta(max_length=64)] = ()

    # What id.server and hostname.bind tell (RFC 4892 s2). "": they are refused, as by unbound's hide-identity, because
    # which machine this is is nobody's business unasked.
    identity: Annotated[str, msgspec.Meta(max_length=255)] = ""

    # RFC 7766 s6.2.3: "it is RECOMMENDED that the default server application-level idle period be on the order of
    # seconds, but no particular value is specified"; "at least a few seconds is advisable". Unbound and BIND allow
    # 30 s to clients far away; ours are near. The same time is given to a client for taking one write of answers.
    tcp_idle_seconds: Annotated[float, msgspec.Meta(ge=1, le=300)] = 10.0

    # RFC 7766 s6.2.2: "servers MAY impose limits on the number of concurrent TCP connections being handled for any
    # particular client IP address". Ours is for all of them, because on loopback all share one address; 128 is far
    # beyond what a machine's programs hold and far below the 1,024 descriptors of a process.
    tcp_clients: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 128

    # How many answers one connection may be owed before we stop reading from it. RFC 7766 s6.2.1.1: servers "MUST
    # expect to receive pipelined queries", and no number is given; 100 is the default window of dnsperf.
    tcp_queries: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100

    def __post_init__(self) -> None:
        """Refuse to listen where others can reach us without a word on who may; what is no address, others tell."""
        try:
            check_listening([address for text in self.addresses for address in _parsed(text)], self.allow)
        except BadInput as error:
            raise ValueError(str(error)) from None


def _parsed(text: str) -> list[ListenAddress]:
    try:
        return [parse_listen_address(text)]
    except BadInput:
        return []
