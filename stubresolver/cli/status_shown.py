"""The status as people read it: sections of rows, each a label, a text and a mark. Prints nothing.

Marks: "!" for what is wrong, "?" for what a person may want to know, "+" for what is as it should be, "" for the rest.
All texts go through `printable`: an upstream's certificate may not steer a terminal.
"""

from collections.abc import Iterator
from typing import Final

from stubresolver.control.status import ShownRefusal, ShownUpstream, Status
from stubresolver.verify import printable

Row = tuple[str, str, str]  # label, text, mark
_LONGEST: Final = 1000  # characters of a text
_UNITS: Final = ((86_400, "d", (3600, "h")), (3600, "h", (60, "min")), (60, "min", (1, "s")))


def sections(told: Status) -> Iterator[tuple[str, list[Row]]]:
    """Title and rows of each section, in order; the first one has no title."""
    yield "", list(_head(told))
    yield "Upstreams", [row for each in told.upstreams for row in _upstream(each)]
    if told.zones:
        yield "Forward zones", list(_zones(told))
    yield "Clients and cache", list(_clients(told))
    yield "What it judges by", list(_trust(told))
    if told.refusals:
        yield "Last refusals", [_refusal(each) for each in told.refusals]


def ago(seconds: float) -> str:
    """A duration in a person's terms, two units at most."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    if 600 <= whole < 3600:
        return f"{whole // 60} min"
    size, unit, smaller = next(each for each in _UNITS if whole >= each[0])
    rest = whole % size // smaller[0]
    return f"{whole // size} {unit}" + (f" {rest} {smaller[1]}" if rest else "")


def _row(label: str, text: str, mark: str = "") -> Row:
    return label, printable(text, _LONGEST), mark


def _refusal(each: ShownRefusal) -> Row:
    """The day as its label, for which alone there is room."""
    return _row(each.at[:10], f"{each.at[11:19]}Z {each.upstream}: {each.reason}")


def _head(told: Status) -> Iterator[Row]:
    """What is wrong first; or that nothing is."""
    for problem in told.problems:
        yield _row("WRONG", problem.what, "!")
        if problem.remedy:
            yield _row("  way out", problem.remedy)
    if not told.problems:
        yield _row("well", "nothing is wrong", "+")
    if not told.problems and told.diagnosis.text:
        yield _row("note", told.diagnosis.text, "?")
    yield _clear(told)
    yield from _portal(told)
    yield _row("service", f"stubresolver {told.version}, process {told.pid}, up for {ago(told.uptime)}")
    yield _row("", f"configuration: {told.config}; {told.outcome}")
    yield _row("listening", ", ".join(told.clients.listening))


def _clear(told: Status) -> Row:
    clear = told.clear
    whom = [
        f"{number} {words}"
        for number, words in (
            (clear.zones, "for forward zones with plain servers"),
            (clear.portal, "to a captive portal, by a person's command"),
        )
        if number
    ]
    return _row(
        "in clear",
        f"plaintext queries sent: {clear.queries}" + "".join(f"; {each}" for each in whom),
        "?" if whom else "+",
    )


def _portal(told: Status) -> Iterator[Row]:
    portal = told.portal
    if portal.open:
        yield _row("PORTAL", f"open for {ago(portal.left)} more: names go in clear to {', '.join(portal.servers)}", "!")
    elif portal.ended:
        yield _row("portal", f"the last one ended: {portal.ended}; queries sent in clear: {portal.queries}")


def _upstream(each: ShownUpstream) -> Iterator[Row]:
    """An upstream, with as much as a person can use."""
    mark = "+" if each.state in ("open", "plain") else "?" if each.state in ("idle", "dialling") else "!"
    since = f" for {ago(each.state_for)}" if each.state_for else ""
    provider = f" ({each.provider})" if each.provider else ""
    yield _row(each.state, f"{each.upstream}{provider}{since}", mark)
    if each.tls is not None:
        group = each.tls.group or "group unknown"
        times = "".join(
            f", {name} {1000 * seconds:.0f} ms"
            for name, seconds in (("answers in", each.answer_seconds), ("handshake", each.handshake_seconds))
            if seconds is not None
        )
        yield _row("  TLS", f"{each.tls.version}, {group}, {each.tls.cipher}, ALPN {each.tls.alpn or 'none'}{times}")
    yield from _verdict(each)
    if each.dials or each.asked:
        counts = f"{each.asked} asked, {each.answered} answered; {each.dials} dials, {each.refusals} refused"
        yield _row("  queries", counts)
    if each.last_error and each.state != "open":
        age = "" if each.last_error_age is None else f" {ago(each.last_error_age)} ago"
        again = f"; {each.failures_in_row} in a row" if each.failures_in_row > 1 else ""
        soon = f"; next dial in {each.next_dial:.1f} s" if each.next_dial else ""
        yield _row("  error", f"{each.last_error}{age and f' ({age.strip()})'}{again}{soon}", "!")


def _verdict(each: ShownUpstream) -> Iterator[Row]:
    verdict = each.verdict
    if verdict is None:
        return
    if verdict.leaf is not None:
        leaf = verdict.leaf
        yield _row("  issued to", f"{leaf.subject}, by {leaf.issuer or 'nobody known'}, until {leaf.not_after[:10]}")
    word = "allowed" if verdict.allowed else "REFUSED"
    yield _row("  verdict", f"{word} {verdict.at[:19]}Z: {verdict.summary}", "" if verdict.allowed else "!")
    for failed in verdict.failed[1:]:
        yield _row("", failed, "!")
    if verdict.scts:
        scts = (f"{sct.log or 'unknown log'} ({sct.operator or '?'}, {sct.status})" for sct in verdict.scts)
        yield _row("  SCTs", "; ".join(scts))
    if each.policy:
        yield _row("  demanded", each.policy)


def _zones(told: Status) -> Iterator[Row]:
    for zone in told.zones:
        how = f"PLAIN DNS, {zone.sent_in_clear} queries sent in clear" if zone.clear else "over TLS"
        yield _row("zone", f"{zone.zones}: {how}", "?" if zone.clear else "")
        for server in zone.servers:
            if zone.clear:
                error = f"; last error: {server.last_error}" if server.last_error else ""
                yield _row("", f"{server.upstream}: {server.asked} asked, {server.answered} answered{error}")
            else:
                yield from _upstream(server)


def _clients(told: Status) -> Iterator[Row]:
    counters, clients = told.counters, told.clients
    yield _row(
        "queries",
        f"{counters.queries}: {counters.hits} from the cache, {counters.local} known here, {counters.misses} sent on, "
        f"{counters.coalesced} joined, {counters.stale + counters.stale_late} answered with what had ended, "
        f"{counters.refused} refused",
    )
    yield _row("failures", f"{counters.failures} brought no answer; {counters.under_way} are under way")
    if clients.flooded or clients.shed or clients.given_way or clients.udp_dropped:
        now = f"; more is asked now than can be fetched, {clients.waiting} wait" if clients.flooded else ""
        counts = f"{clients.shed} shed, {clients.given_way} gave way, {clients.udp_dropped} dropped by the kernel"
        yield _row("overload", counts + now, "?")
    denied = clients.udp_denied + clients.tcp_denied
    yield _row(
        "clients",
        f"{clients.udp_received} datagrams, {clients.udp_malformed} malformed; "
        f"{clients.tcp_open} of {clients.tcp_places} TCP places taken; {denied} denied",
    )
    filled = f"{counters.octets / (1 << 20):.1f} of {counters.max_octets / (1 << 20):.1f} MiB"
    yield _row("cache", f"{counters.entries} entries, {filled}")


def _trust(told: Status) -> Iterator[Row]:
    listed, evidence = told.log_list, told.evidence
    yield _row("clock", told.clock.problem or f"{told.clock.now[:19]}Z", "!" if told.clock.problem else "")
    mark = {"fresh": "", "ageing": "?"}.get(listed.state, "!")
    yield _row("log list", f"of {listed.timestamp[:10]}, {listed.age_days} days old: {listed.state}", mark)
    if evidence.kept:
        waiting = f"; {evidence.unrecorded} wait to be written" if evidence.unrecorded else ""
        yield _row("evidence", f"kept in {evidence.file}{waiting}")
    else:
        lost = f"; {evidence.unrecorded} wait in memory, {evidence.lost} are lost"
        yield _row("evidence", f"NOT KEPT since {evidence.since[:19]}Z: {evidence.problem}{lost}", "!")
    for file in evidence.set_aside:
        yield _row("", f"damaged, set aside: {file}", "?")
    yield _row("audits", f"{told.audit_alarms} alarms kept", "!" if told.audit_alarms else "")
    for blocked in told.blocked:
        if blocked.here:
            what = "DNS over TLS (port 853)" if blocked.transport == "tls" else "DNS over HTTPS"
            again = f"tried again in {ago(blocked.again_in)}"
            yield _row("blocked", f"{what} to {blocked.provider or 'this provider'} does not work here; {again}", "?")
