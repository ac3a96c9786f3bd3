"""DNS messages as octets (RFC 1035 s4): framing, queries, answers, EDNS. Pure."""

from stubresolver.wire.answer import Answer
from stubresolver.wire.edns import Failure, UpstreamForm, error_reply, upstream_query
from stubresolver.wire.framing import FrameReader, frame
from stubresolver.wire.query import Query, malformed_reply

__all__ = [
    "Answer",
    "Failure",
    "FrameReader",
    "Query",
    "UpstreamForm",
    "error_reply",
    "frame",
    "malformed_reply",
    "upstream_query",
]
