"""One question to one log: an answer, "not there", or "not now". What the two APIs have in common.

What separates a note from an alarm begins here. A log that says "no" to what it must have has answered; one that is
slow, busy, broken or guarded has not. An owner of the network can make the second and, as all goes over HTTPS, not
the first.
"""

from dataclasses import dataclass

from stubresolver.audit.report import MAXIMUM_ANSWER, Get, Kind, Received, received
from stubresolver.errors import FetchFailed
from stubresolver.verify.certificate import printable

# RFC 9110 s15.5: the client is at fault, but for these: a login, a refusal, a timeout, too early, too often. Object
# stores say 403 for what is not there, and for what nobody may see.
_NOT_NOW = frozenset({401, 403, 407, 408, 421, 425, 429})


class Trouble(Exception):
    """Why there is nothing to hold against a root: becomes a finding, and never leaves this room."""

    def __init__(self, kind: Kind, detail: str, *evidence: Received, status: int | None = None) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.evidence = evidence
        self.status = status  # of HTTP, where there was one


class NotThere(Trouble):
    """The log answered, and what was asked for is not there."""


@dataclass(frozen=True, slots=True)
class ConsistencyProof:
    """What a log shows to join two trees; not verified."""

    path: tuple[bytes, ...]
    evidence: tuple[Received, ...]


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """What a log shows of one leaf; not verified."""

    leaf: bytes  # the hash that the log has there
    index: int
    path: tuple[bytes, ...]
    evidence: tuple[Received, ...]


async def ask(get: Get, url: str, what: str) -> Received:
    """Fetch one answer; raises `NotThere` or, where there is none now, `Trouble`."""
    try:
        octets = await get(url)
    except FetchFailed as error:
        detail, answer = printable(str(error), 300), received(what, url, error.body)
        if error.status is not None and 400 <= error.status < 500 and error.status not in _NOT_NOW:
            raise NotThere(Kind.UNREACHABLE, detail, answer) from None
        raise Trouble(Kind.UNREACHABLE, detail, answer, status=error.status) from None
    if len(octets) > MAXIMUM_ANSWER:
        raise Trouble(Kind.UNREACHABLE, f"{url}: {len(octets)} octets, expected at most {MAXIMUM_ANSWER}")
    return received(what, url, octets)
