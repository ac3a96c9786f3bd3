"""Every exception of the project, on one screen; the name says whose fault it is.

Expected errors are caught in the task where they arise and become a reply, a log line or an exit status. Whatever is
not in this tree is a defect of ours and may end the process.
"""

from dataclasses import dataclass


class StubResolverError(Exception):
    """The root: everything that this project raises on purpose."""


# What the person in charge gave us.


@dataclass
class ConfigError(StubResolverError):
    """A configuration, policy or log-list file that cannot be used; nothing of it has been taken over."""

    file: str  # as the person named it
    key: str  # dotted path of the key, "" where the whole file is meant
    problem: str  # what was got and what was expected

    def __str__(self) -> str:
        return f"{self.file}: {self.key}: {self.problem}" if self.key else f"{self.file}: {self.problem}"


class BadInput(StubResolverError):
    """A command's argument or file that cannot be used: the text says what was got and what was expected."""


class LogListError(BadInput):
    """Octets that are no log list that may be used (schema, a key that is not its id, a denied log)."""


class SourceRefused(StubResolverError):
    """A source of log lists that is not listened to: the text says why; nothing of it has been taken over."""


class FetchFailed(StubResolverError):
    """An https URL that could not be fetched; `status` is the HTTP status where there was one, `body` its beginning."""

    def __init__(self, problem: str, status: int | None = None, body: bytes = b"") -> None:
        super().__init__(problem)
        self.status = status
        self.body = body


class Unreached(FetchFailed):
    """Nobody answered at all: no address, no connection, or only silence."""


class CannotListen(StubResolverError):
    """An address that cannot be bound: the text says who holds it or what privilege lacks, and the ways out."""


class EvidenceError(StubResolverError):
    """The evidence store cannot be opened, read or written."""


class EvidenceDamaged(EvidenceError):
    """The evidence file is no database of ours any more, or holds what was never written there."""


class EvidenceUnfit(EvidenceError):
    """A judgement that no database can hold: it is lost, and the file is no worse."""


class SelfTestFailed(StubResolverError):
    """This program does not judge as it must, here and now: nothing that it allows may be trusted."""


# What came over the wire.


class MalformedQuery(StubResolverError):
    """A client's message that cannot be answered as a query; `rcode` says how to reply, None means silence."""

    def __init__(self, problem: str, rcode: int | None = None) -> None:
        super().__init__(problem)
        self.rcode = rcode


class MalformedAnswer(StubResolverError):
    """An upstream's message that is no well-formed answer to the query that was asked."""


# What went wrong between us and an upstream. The resolver quotes `summary` in an extended error (RFC 8914) under
# `info_code`, without knowing what a verdict is.


class UpstreamError(StubResolverError):
    """An exchange that brought no answer; `summary` is one short line that a person reads in `dig`."""

    info_code = 23  # Network Error, RFC 8914 s4.24

    def __init__(self, summary: str) -> None:
        super().__init__(summary)
        self.summary = summary


class ConnectFailed(UpstreamError):
    """No TCP connection: refused, unreachable or too slow."""


class HandshakeFailed(UpstreamError):
    """TCP stood, TLS did not: alert, version, truncated or too slow."""


class ProtocolViolation(UpstreamError):
    """The peer broke DoT, DoH or TLS after the handshake."""


class ChannelClosed(UpstreamError):
    """The connection ended before the answer came; asking once more elsewhere is right."""


class ExchangeTimeout(UpstreamError):
    """No answer within the query's deadline."""


class NoUpstream(UpstreamError):
    """No upstream can be used now; the summary says why of each."""

    info_code = 22  # No Reachable Authority, RFC 8914 s4.23


class PolicyRefused(UpstreamError):
    """The upstream's certificate does not meet the policy; not one query octet was sent."""

    info_code = 0  # Other Error, RFC 8914 s4.1: the text names rule and reason

    def __init__(self, summary: str, verdict: object) -> None:
        super().__init__(summary)
        self.verdict = verdict  # a verify.Verdict; `object` because this file imports nothing
