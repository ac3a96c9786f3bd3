"""`stubresolver cache`: look into the running service's cache, and have it forget."""

from pathlib import Path
from typing import Final

import click
import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import msgspec

from stubresolver.cli.common import json_option
from stubresolver.cli.control import ask_service, socket_option
from stubresolver.control.commands import Flushed, Shown, ShownEntry, ShownStatistics
from stubresolver.errors import BadInput
from stubresolver.verify import printable

_MIB: Final = 1 << 20
_LONGEST: Final = 1000  # characters that are shown of a record


@click.group("cache")
def command() -> None:
    """Look into the running service's cache, and have it forget.

    The service is asked over its control socket, which only root and the service's own user may use. It tells what it
    keeps about a name that you name; it has no list of what was asked.

    Exit status: 0 done, 1 nothing is kept about the name, 2 bad input, or the service could not be asked.

    \b
    Examples:
      stubresolver cache stats
      stubresolver cache show www.example.com
      stubresolver cache flush example.com      and everything below it
    """  # noqa: D301 - \b tells click to keep the lines that follow


@command.command("stats", short_help="How full the cache is, and what came of the queries.")
@socket_option
@json_option
def stats(*, socket_file: Path | None, as_json: bool) -> int:
    """How full the cache is, and what came of all queries since the start.

    Exit status: 0 done, 2 the service could not be asked.
    """
    told = ask_service(socket_file, "cache.stats", ShownStatistics)
    if as_json:
        click.echo(msgspec.json.encode(told).decode())
        return 0
    filled = f"{told.octets / _MIB:.1f} of {told.max_octets / _MIB:.1f} MiB"
    click.echo(f"entries: {told.entries}, {filled}; {told.insertions} came, {told.evictions} went to make room")
    click.echo(f"queries: {told.queries}")
    for number, words in (
        (told.hits, "answered from the cache"),
        (told.local, "answered by what is known here"),
        (told.stale, "answered at once with what had ended, for want of better"),
        (told.misses, "sent upstream"),
        (told.coalesced, "waited for one that was sent already"),
        (told.refused, "refused: too many under way, or stopping"),
    ):
        click.echo(f"  {number:>10}  {words}")
    click.echo(
        f"{told.stale_late} of those who waited got what had ended; {told.background} were sent for the cache alone; "
        f"{told.failures} brought no answer; {told.under_way} are under way"
    )
    return 0


@command.command("show")
@click.argument("name")
@socket_option
@json_option
def show(*, name: str, socket_file: Path | None, as_json: bool) -> int:
    """What the cache keeps about NAME, for every type that was asked.

    One entry for each kind of client: with EDNS or without, with the DO, CD or AD bit. An answer that has ended is kept
    for a while, to be given out where no better one can be had (RFC 8767).

    Exit status: 0 something is kept, 1 nothing is, 2 bad input, or the service could not be asked.
    """
    told = ask_service(socket_file, "cache.show", Shown, _name(name).to_text())
    if as_json:
        for entry in told.entries:
            click.echo(msgspec.json.encode(entry).decode())
    else:
        for entry in told.entries:
            click.echo("\n".join(_lines(name, entry)))
        if told.left_out:
            click.echo(f"{told.left_out} more, left out for their size")
    if not told.entries:
        click.echo(f"nothing is kept about {name}", err=True)
    return 0 if told.entries else 1


@command.command("flush")
@click.argument("name", required=False)
@socket_option
@json_option
def flush(*, name: str | None, socket_file: Path | None, as_json: bool) -> int:
    """Forget NAME and everything below it, or everything.

    What is under way for these names is still answered to who waits for it, and not kept. Connections to the upstreams
    stay. For one's own changes to a zone that must be seen at once; a browser has a cache of its own beside this one.

    \b
    Examples:
      stubresolver cache flush www.example.com
      stubresolver cache flush example.com      www.example.com, too
      stubresolver cache flush

    Exit status: 0 done, 2 not a domain name, or the service could not be asked.
    """  # noqa: D301 - \b tells click to keep the lines that follow
    told = ask_service(socket_file, "cache.flush", Flushed, "" if name is None else _name(name).to_text())
    entries = f"{told.entries} {'entry' if told.entries == 1 else 'entries'}"
    click.echo(msgspec.json.encode(told).decode() if as_json else f"{entries} forgotten")
    return 0


def _name(text: str) -> dns.name.Name:
    """A domain name as a person writes it, IDNA included; raises `BadInput`."""
    if text in ("", "@"):  # a shell's empty variable, or a zone file's origin: must not mean the root and everything
        raise BadInput(f"{text!r} is not a domain name; the root is '.'")
    try:
        return dns.name.from_text(text)
    except (dns.exception.DNSException, UnicodeError) as error:
        raise BadInput(f"{text!r} is not a domain name: {error}") from None


def _lines(name: str, entry: ShownEntry) -> list[str]:
    """An entry for a person: what it is, then its records."""
    clients = "".join(f" +{flag}" for flag in entry.flags if flag != "RD") + (" -RD" if "RD" not in entry.flags else "")
    ends = f"ends in {entry.left} s" if entry.left >= 0 else f"ended {-entry.left} s ago"
    held = f", given out for {entry.held} s more at least" if entry.held else ""
    used = f"asked for {entry.uses} more times" if entry.uses else "not asked for since"
    head = f"{name} {dns.rdatatype.to_text(dns.rdatatype.RdataType.make(entry.type))}{clients}: {entry.kind}"
    return [f"{head}, {entry.age} s old, {ends}{held}, {used}, {entry.octets} octets", *_records(entry.message)]


def _records(message: bytes) -> list[str]:
    """What a client would be told."""
    try:
        read = dns.message.from_wire(message)
        rcode = dns.rcode.to_text(read.rcode())
        sections = (*read.answer, *read.authority)
        told = [line for rrset in sections for line in rrset.to_text().splitlines()]
        told += [option.to_text() for option in read.options]
    except (dns.exception.DNSException, ValueError) as error:
        return [f"    cannot be shown: {error}"]
    lines = [*([] if rcode == "NOERROR" else [rcode]), *told]
    return [f"    {printable(line, _LONGEST)}" for line in lines] or ["    no records"]
