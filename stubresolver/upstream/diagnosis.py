"""Why no upstream can be used, in words that a person can act on. PURE.

It looks at what every upstream's last dial came to, taken together: one that answers with a stranger's certificate is a
bad upstream; where all that answer do, it is the network. It explains and decides nothing: a connection stands or
falls by its verdict alone, and nothing is ever asked without encryption because of what is said here.

Whoever owns the network can make it say what he likes among these; so each text leads to something that does no harm
when it is believed wrongly: to look at the clock, to open a browser, to start `portal` knowingly.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Final

from stubresolver.upstream.report import PoolStatistics, UpstreamStatistics
from stubresolver.verify.certificate import printable
from stubresolver.verify.verdict import Outcome, Rule, Verdict


class Kind(enum.StrEnum):
    """What is the matter."""

    FINE = "fine"
    CONNECTING = "connecting"  # nothing has failed yet
    NO_NETWORK = "no-network"
    CLOCK_WRONG = "clock-wrong"
    CAPTIVE_PORTAL = "captive-portal"
    INTERCEPTED = "intercepted"  # somebody issues certificates in the upstreams' names
    PORT_BLOCKED = "port-blocked"  # that of DNS over TLS; DNS over HTTPS serves
    UNREACHABLE = "unreachable"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is the matter, and what a person can do about it; "" where nothing is."""

    kind: Kind
    text: str = ""
    way_out: str = ""  # "" also where the text says it itself

    @property
    def told(self) -> str:
        """Both in one line, the way out at its end, where it can be copied from."""
        return f"{self.text}; {self.way_out}" if self.way_out else self.text

    @property
    def usable(self) -> bool:
        """True if queries can be asked, as far as is known."""
        return self.kind in (Kind.FINE, Kind.PORT_BLOCKED)


_PORTAL: Final = "if its page is not found: sudo stubresolver portal --for 3m"
_LOG_IN: Final = f"log in to the network in a browser; {_PORTAL}"
_PERHAPS_LOG_IN: Final = f"it goes on by itself; if the network has a login page, log in in a browser; {_PORTAL}"
_KEPT: Final = "what was shown is kept: sudo stubresolver evidence list --refused"
_SHOWN: Final = 60  # characters of what a stranger's certificate says

_NO_WAY: Final = "network is unreachable"  # ENETUNREACH of connect(2), in strerror(3)'s words

# What OpenSSL says of octets that are no TLS, HTTP for one: SSL_R_WRONG_VERSION_NUMBER, SSL_R_HTTP_REQUEST,
# SSL_R_HTTPS_PROXY_REQUEST, SSL_R_PACKET_LENGTH_TOO_LONG (openssl/sslerr.h).
_NO_TLS: Final = ("wrong version number", "http request", "https proxy request", "packet length too long")


class _Sign(enum.Enum):
    """What the last dial to one upstream came to."""

    UNTRIED = enum.auto()
    STANDS = enum.auto()
    UNREACHED = enum.auto()  # no TCP connection
    BROKEN = enum.auto()  # TCP, and TLS came to nothing
    NO_TLS = enum.auto()  # something else was spoken
    STRANGER = enum.auto()  # a certificate for somebody else
    FORGED = enum.auto()  # a certificate in the upstream's name by who may not
    ENDED = enum.auto()  # refused because of nothing but the time: it, or our list, is too old
    EARLY = enum.auto()  # ... is not valid yet
    REFUSED = enum.auto()  # by another rule
    OTHER = enum.auto()


def diagnose(statistics: PoolStatistics, clock: str = "", reachable: bool | None = None) -> Diagnosis:
    """What is the matter with the upstreams of a pool.

    `clock` says why the clock must be wrong, "" where nothing speaks against it; `reachable` whether the kernel has a
    way to any of them, None where nobody asks it.
    """
    signs = [(_sign(line), line) for line in statistics.upstreams]
    seen = {sign for sign, _ in signs}
    if clock:
        return Diagnosis(Kind.CLOCK_WRONG, clock)
    if _Sign.STANDS in seen:
        blocked = any(entry.here and entry.transport == "tls" for entry in statistics.blocked)
        return Diagnosis(Kind.PORT_BLOCKED, _PORT_BLOCKED) if blocked else Diagnosis(Kind.FINE)
    if reachable is False or (reachable is None and _is_off(statistics.upstreams)):
        text = "this machine has no way to any upstream: it is not connected to a network"
        return Diagnosis(Kind.NO_NETWORK, text, "connect to a network; it goes on by itself")
    if seen <= {_Sign.UNTRIED}:
        return Diagnosis(Kind.CONNECTING)
    answered = [(sign, line) for sign, line in signs if sign not in (_Sign.UNTRIED, _Sign.UNREACHED, _Sign.BROKEN)]
    return _of_answers(answered) if answered else _of_silence(seen, [line for _, line in signs])


def _is_off(lines: Sequence[UpstreamStatistics]) -> bool:
    """Whether the kernel has said to every dial that it knows no way: where nobody asks it, this says the same."""
    return bool(lines) and all(line.failures_in_row and line.last_error.endswith(_NO_WAY) for line in lines)


_PORT_BLOCKED: Final = "DNS over TLS is blocked on this network; DNS over HTTPS serves, by the same policy"


def _of_answers(answered: Sequence[tuple[_Sign, UpstreamStatistics]]) -> Diagnosis:
    """What those say together that answered: only what is true of all of them is the network's doing."""
    seen = {sign for sign, _ in answered}
    line = answered[0][1]
    if seen in ({_Sign.ENDED}, {_Sign.EARLY}):
        return Diagnosis(Kind.CLOCK_WRONG, _doubt(line, ahead=_Sign.ENDED in seen))
    if seen == {_Sign.FORGED}:
        by = f"certificates in the upstreams' names, issued by {_issuer(line)}"
        text = f"TLS is intercepted on this network: it shows {by}; nothing is sent there"
        return Diagnosis(Kind.INTERCEPTED, text, f"use another network, or a VPN; {_KEPT}")
    if seen <= {_Sign.STRANGER, _Sign.NO_TLS, _Sign.FORGED}:
        whose = next((line for sign, line in answered if sign is _Sign.STRANGER), None)
        of = "something that is no TLS" if whose is None else f"the certificate of {_subject(whose)}"
        where = "in the upstreams' place this network shows"
        return Diagnosis(Kind.CAPTIVE_PORTAL, f"perhaps a login page: {where} {of}", _LOG_IN)
    refused = [line for sign, line in answered if sign is not _Sign.OTHER]
    if not refused:
        text = f"no upstream can be used: {_shown(line.last_error, 2 * _SHOWN)}"
        return Diagnosis(Kind.UNREACHABLE, text, "it goes on by itself")
    return Diagnosis(Kind.REFUSED, "no upstream meets the policy", f"see why: stubresolver check; {_KEPT}")


def _of_silence(seen: set[_Sign], lines: Sequence[UpstreamStatistics]) -> Diagnosis:
    """Where nobody answered at all."""
    if _Sign.BROKEN in seen:
        text, way_out = "this network breaks the connections to every upstream", _PERHAPS_LOG_IN
    elif all(line.transport == "tls" for line in lines):
        text = "no upstream can be reached"
        way_out = "if port 853 is blocked here, configure DNS over HTTPS (https://), too"
    else:
        text, way_out = "no upstream can be reached from this network", _PERHAPS_LOG_IN
    return Diagnosis(Kind.UNREACHABLE, text, way_out)


def _sign(line: UpstreamStatistics) -> _Sign:
    """What the last dial came to."""
    if line.state == "open":
        return _Sign.STANDS
    if not line.failures_in_row:
        return _Sign.UNTRIED
    match line.last_error_kind:
        case "PolicyRefused" if line.verdict is not None:
            return _refusal(line.verdict)
        case "ConnectFailed":
            return _Sign.UNREACHED
        case "HandshakeFailed":
            return _Sign.NO_TLS if line.last_error.endswith(_NO_TLS) else _Sign.BROKEN
    return _Sign.OTHER


def _refusal(verdict: Verdict) -> _Sign:
    """Whose doing a refusal is, by its findings."""
    failed = {finding.rule for finding in verdict.failures}
    passed = {finding.rule for finding in verdict.findings if finding.outcome is Outcome.PASS}
    shown = verdict.unvouched
    if shown is None:
        if failed == {Rule.CT_LIST_AGE}:
            return _Sign.ENDED
        # A path to an anchor, for somebody else: a login page with a certificate of its own.
        elsewhere = Rule.PATH_VALID in passed and failed & {Rule.PATH_ADDRESS, Rule.PATH_NAME}
        return _Sign.STRANGER if elsewhere else _Sign.REFUSED
    if shown.named and (shown.ended or shown.early):
        return _Sign.ENDED if shown.ended else _Sign.EARLY
    return _Sign.FORGED if shown.named else _Sign.STRANGER


def _doubt(line: UpstreamStatistics, *, ahead: bool) -> str:
    """Words of doubt about the clock."""
    now = f"{line.verdict.at.astimezone(UTC):%Y-%m-%d %H:%MZ}" if line.verdict is not None else "now"
    which = "ahead" if ahead else "behind"
    what = "have ended, or our log list is too old" if ahead else "are not valid yet"
    return f"the clock says {now}, when all upstreams' certificates {what}: if it is {which}, set it (timedatectl)"


def _issuer(line: UpstreamStatistics) -> str:
    shown = line.verdict.unvouched if line.verdict is not None else None
    return _shown(shown.issuer if shown is not None else "")


def _subject(line: UpstreamStatistics) -> str:
    """The leaf's own name."""
    findings = line.verdict.findings if line.verdict is not None else ()
    return _shown(next((finding.subject for finding in findings if finding.rule is Rule.PATH_VALID), ""))


def _shown(text: str, longest: int = _SHOWN) -> str:
    """What a stranger wrote, short and printable."""
    return printable(text, longest) or "nobody"
