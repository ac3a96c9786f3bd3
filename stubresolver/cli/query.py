"""`stubresolver query`: one answer through a verified upstream, shown as dig shows it."""

import contextlib
import json
import secrets
from collections.abc import Mapping
from pathlib import Path

import click
import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import trio

from stubresolver.app import App
from stubresolver.cli.common import (
    config_option,
    json_option,
    log_list_option,
    open_evidence,
    policy_option,
    run_tasks,
    utc_now,
)
from stubresolver.cli.judges import asking, provider_option, told_upstreams
from stubresolver.config import load_settings
from stubresolver.demands import build_all_demands
from stubresolver.errors import BadInput, MalformedQuery
from stubresolver.evidence import Recorder
from stubresolver.trust import load_trust
from stubresolver.upstream import UpstreamStatistics, parse_upstream
from stubresolver.verify import printable
from stubresolver.wire import Query

_PAYLOAD = 1232  # octets; dnsflagday.net/2020, the size that needs no fragments. The answer itself comes over TLS.
_LONGEST = 1000  # characters of an extended error


@click.command("query")
@click.argument("name")
@click.argument("rdtype", metavar="[TYPE]", default="A")
@click.option(
    "--upstream",
    "upstreams",
    multiple=True,
    help="Ask this upstream instead of the configured ones, such as tls://1.1.1.1#one.one.one.one. Repeatable.",
)
@provider_option
@click.option("--dnssec", is_flag=True, help="Ask for DNSSEC records (the DO bit).")
@policy_option
@log_list_option
@config_option
@json_option
def command(
    *,
    name: str,
    rdtype: str,
    upstreams: tuple[str, ...],
    providers: tuple[str, ...],
    dnssec: bool,
    policy_file: Path | None,
    log_list_file: Path | None,
    config_file: Path | None,
    as_json: bool,
) -> int:
    """Ask for NAME once, through an upstream that was verified first.

    \b
    Examples:
      stubresolver query example.com
      stubresolver query example.com --provider quad9
      stubresolver query example.com MX --upstream https://1.1.1.1/dns-query#cloudflare-dns.com

    Exit status: 0 answered (NXDOMAIN is an answer), 1 every upstream that could be reached was refused, 2 bad input, 3
    no upstream answered.
    """  # noqa: D301 - \b tells click to keep the lines that follow
    settings = load_settings(config_file).with_trust(policy_file, log_list_file)
    settings = asking(settings, tuple(map(parse_upstream, upstreams)), providers)
    trust = load_trust(settings)
    for warning in trust.warnings(utc_now()):
        click.echo(f"stubresolver: {warning}", err=True)
    query = _build(name, rdtype, dnssec=dnssec)
    try:
        parsed = Query(query.to_wire(), tcp=True)
    except MalformedQuery as error:
        raise BadInput(f"{name} {rdtype} cannot be asked: {error}") from None
    with contextlib.closing(open_evidence(settings)) as evidence:
        app = App(settings, build_all_demands(trust, Recorder(evidence)))
        started, wire, known, ended = run_tasks(_ask, app, parsed)
    answer = dns.message.from_wire(wire)
    failed = answer.rcode() == dns.rcode.SERVFAIL
    shown = next((line for line in known if line.answered), None)
    refused = next((line for line in known if line.verdict and not line.verdict.allowed), None)
    if shown is None and failed:  # an upstream that was refused says more than one that was not reached
        shown = refused or next((line for line in known if line.last_error), None)
    milliseconds = round((ended - started) * 1000)
    if as_json:
        click.echo(json.dumps(_jsonable(answer, shown, milliseconds), ensure_ascii=False))
    else:
        click.echo(_dig_like(answer))
        click.echo(f";; {_connection(shown, told_upstreams(settings))}, {milliseconds} ms with the connection's set-up")
        click.echo(f";; {_verdict(shown)}")
        if shown is not None:
            click.echo(f";; judged by {shown.policy}")
    if not failed or any(line.answered for line in known):
        return 0
    return 1 if refused else 3


async def _ask(app: App, query: Query) -> tuple[float, bytes, tuple[UpstreamStatistics, ...], float]:
    started = trio.current_time()
    wire, statistics = await app.ask(query)
    return started, wire, statistics.upstreams, trio.current_time()


def _build(name: str, rdtype: str, *, dnssec: bool) -> dns.message.Message:
    """The query in dnspython's form; raises `BadInput`."""
    if not name:  # `query "$HOST"` of a script: nothing is asked that nobody named
        raise BadInput("'' is not a domain name; the root is '.'")
    try:
        qname = dns.name.from_text(name)
    except (dns.exception.DNSException, UnicodeError) as error:
        raise BadInput(f"{name!r} is not a domain name: {error}") from None
    try:
        kind = dns.rdatatype.from_text(rdtype)
    except (dns.exception.DNSException, ValueError):
        raise BadInput(
            f"{rdtype!r} is not a record type; expected A, AAAA, MX, TXT, HTTPS, TYPE65 and the like"
        ) from None
    query = dns.message.make_query(qname, kind, use_edns=0, want_dnssec=dnssec, payload=_PAYLOAD)
    query.id = secrets.randbelow(1 << 16)
    return query


def _dig_like(answer: dns.message.Message) -> str:
    """The message as dig prints it."""
    counts = zip(("QUERY", "ANSWER", "AUTHORITY", "ADDITIONAL"), answer.sections, strict=True)
    lines = [
        f";; ->>HEADER<<- opcode: QUERY, status: {dns.rcode.to_text(answer.rcode())}, id: {answer.id}",
        f";; flags: {dns.flags.to_text(answer.flags).lower()}; "
        + ", ".join(f"{name}: {sum(len(rrset) or 1 for rrset in section)}" for name, section in counts),
    ]
    lines += [f"; {text}" for text in _extended_errors(answer)]
    lines += ["", ";; QUESTION SECTION:", *(f";{rrset.to_text()}" for rrset in answer.question)]
    for name, section in zip(("ANSWER", "AUTHORITY", "ADDITIONAL"), answer.sections[1:], strict=True):
        if section:
            lines += ["", f";; {name} SECTION:", *(rrset.to_text() for rrset in section)]
    return "\n".join([*lines, ""])


def _extended_errors(answer: dns.message.Message) -> list[str]:
    """What went wrong, whole: the way out stands behind the reason."""
    found = (option for option in answer.options if option.otype == dns.edns.OptionType.EDE)
    return [printable(option.to_text(), _LONGEST) for option in found]


def _connection(line: UpstreamStatistics | None, told: Mapping[str, str]) -> str:
    """How the upstream was reached; `told` are the upstreams with their providers."""
    if line is None:
        return "answered here, no upstream was asked"
    if line.state == "plain":
        return f"{line.upstream}, {line.policy}"
    if line.tls is None:
        return line.last_error or f"{line.upstream}: not connected"
    upstream = told.get(line.upstream, line.upstream)
    return f"{upstream}, {line.tls.version}, {line.tls.group or 'group unknown'}, {line.tls.cipher}"


def _verdict(line: UpstreamStatistics | None) -> str:
    """How it was judged."""
    if line is None or line.verdict is None:
        return "no verdict"
    if line.verdict.connects and not line.verdict.allowed:
        return line.verdict.summary  # says "REPORT ONLY" itself
    return f"{'ALLOWED' if line.verdict.allowed else 'REFUSED'}: {line.verdict.summary}"


def _jsonable(answer: dns.message.Message, line: UpstreamStatistics | None, milliseconds: int) -> dict[str, object]:
    """Answer, connection and verdict as JSON values."""
    return {
        "rcode": dns.rcode.to_text(answer.rcode()),
        "flags": dns.flags.to_text(answer.flags).split(),
        "answer": [
            {
                "name": rrset.name.to_text(),
                "ttl": rrset.ttl,
                "class": dns.rdataclass.to_text(rrset.rdclass),
                "type": dns.rdatatype.to_text(rrset.rdtype),
                "data": record.to_text(),
            }
            for rrset in answer.answer
            for record in rrset
        ],
        "extended_errors": _extended_errors(answer),
        "milliseconds": milliseconds,
        "upstream": line.upstream if line else None,
        "provider": line.provider or None if line else None,
        "tls": {"version": line.tls.version, "cipher": line.tls.cipher, "group": line.tls.group, "alpn": line.tls.alpn}
        if line and line.tls
        else None,
        "demands": line.policy if line else None,
        "verdict": line.verdict.to_jsonable() if line and line.verdict else None,
    }
