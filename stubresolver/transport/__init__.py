"""TLS, DoT and DoH as machines: octets and values in, octets and events out. No socket, no time, no trust."""

from stubresolver.transport.doh import DohProtocol
from stubresolver.transport.dot import DotProtocol
from stubresolver.transport.protocol import Answered, Draining, Ended, Event, Failed, QueryProtocol, Token
from stubresolver.transport.tls import (
    READS_STAPLES,
    Closed,
    DataReceived,
    HandshakeComplete,
    TLSClient,
    TLSContext,
    TlsEvent,
)

__all__ = [
    "READS_STAPLES",
    "Answered",
    "Closed",
    "DataReceived",
    "DohProtocol",
    "DotProtocol",
    "Draining",
    "Ended",
    "Event",
    "Failed",
    "HandshakeComplete",
    "QueryProtocol",
    "TLSClient",
    "TLSContext",
    "TlsEvent",
    "Token",
]
