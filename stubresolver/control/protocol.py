"""The two lines of a conversation, as values. JSON in UTF-8, each ended by one line feed; then the service closes.

    -> {"command": "cache.show", "name": "www.example.com."}
    <- {"result": {...}}        or        <- {"error": "one sentence"}

Whatever octets come, `read_request` gives a request or raises `BadInput`.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Final

import msgspec

from stubresolver.errors import BadInput

MAX_REQUEST: Final = 4096  # octets of a line; the longest name takes 1,004 with every octet escaped (RFC 4343 s2.1)
MAX_REPLY: Final = 4 << 20


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is asked."""

    command: str
    name: str = ""  # a domain name in ASCII, as zone files have it; "" for none
    seconds: float = 0.0  # for how long
    servers: Annotated[tuple[str, ...], msgspec.Meta(max_length=8)] = ()  # addresses, as a person writes them
    network: int | None = None  # the plan's that a person has agreed to; None for the network of now


class Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of it: one of the two."""

    result: msgspec.Raw = msgspec.Raw()
    error: str = ""


Command = Callable[[Request], Awaitable[msgspec.Struct]]  # may raise BadInput


def read_request(line: bytes) -> Request:
    """The request in a line; raises `BadInput`."""
    try:
        return msgspec.json.decode(line, type=Request)
    except (ValueError, RecursionError) as error:  # of msgspec: its own, and UnicodeDecodeError
        raise BadInput(f"not a request: {error}; expected one line of JSON with a command") from None


def write_result(result: msgspec.Struct) -> bytes:
    """The line that tells a result."""
    return msgspec.json.encode(Reply(result=msgspec.Raw(msgspec.json.encode(result)))) + b"\n"


def write_error(problem: str) -> bytes:
    """The line that tells a problem."""
    return msgspec.json.encode(Reply(error=problem)) + b"\n"
