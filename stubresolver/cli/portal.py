"""`stubresolver portal`: for a few minutes the network's own DNS server may see names, so that a person can log in.

Nothing but this command opens it. It says who would see what, asks, stays until it is over, and says why it was.
"""

import contextlib
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import msgspec

from stubresolver.cli.common import confirmed, json_option, yes_option
from stubresolver.cli.control import request_service, socket_option
from stubresolver.cli.status_shown import ago
from stubresolver.control import Request
from stubresolver.control.portal import LONGEST, SHORTEST, PortalPlan, PortalState
from stubresolver.errors import BadInput
from stubresolver.verify import printable

_POLL: Final = 0.5  # seconds
_TELL: Final = 15.0  # seconds between two lines about the time that is left
_UNITS: Final = {"": 1, "s": 1, "m": 60}
_NOT_VERIFIED: Final = 1


@click.command("portal")
@click.option(
    "--for",
    "duration",
    metavar="TIME",
    default="3m",
    show_default=True,
    help="For how long, such as 90s or 5m; at most 10m.",
)
@click.option("--server", metavar="IP", help="The server to ask: one that the network gave, or a private address.")
@click.option("--stop", is_flag=True, help="End the one that is open.")
@click.option("--detach", is_flag=True, help="Do not stay until it is over.")
@yes_option
@socket_option
@json_option
def command(
    *,
    duration: str,
    server: str | None,
    stop: bool,
    detach: bool,
    yes: bool,
    socket_file: Path | None,
    as_json: bool,
) -> int:
    """Log in to a captive portal: its DNS server may see names.

    For a few minutes, to get into a hotel's or a train's network. While it is open, names that the cache does not have
    are sent to the server that the network's DHCP gave, in clear: whoever runs the network, or listens to it, reads
    which names this machine asks for and may answer what he likes. Close what you do not need first. Nothing of it is
    kept, and it is over as soon as a verified upstream can be reached, when the time is up, with Ctrl-C or --stop, or
    when the network changes. Nothing else ever opens it.

    Where the login page opens by itself, or by its address, you need none of this.

    Exit status: 0 an upstream is verified again (or --stop, --detach: done), 1 it ended otherwise, 2 it was not opened,
    130 ended by Ctrl-C.

    \b
    Examples:
      sudo stubresolver portal --for 3m
      sudo stubresolver portal --server 192.168.1.1 --for 90s --yes
      sudo stubresolver portal --stop
    """  # noqa: D301 - \b tells click to keep the lines that follow
    if stop:
        state = request_service(socket_file, Request(command="portal.stop"), PortalState)
        _say(state, f"the portal is closed; queries sent in clear: {state.queries}", as_json=as_json)
        return 0
    seconds = _seconds(duration)
    named = () if server is None else (server,)
    plan = request_service(socket_file, Request(command="portal.find", servers=named), PortalPlan)
    if not _agreed(plan, seconds, yes=yes):
        click.echo("nothing was opened", err=True)
        return 2
    opening = Request(command="portal.start", seconds=seconds, servers=plan.servers, network=plan.network)
    state = request_service(socket_file, opening, PortalState)
    end = "stubresolver portal --stop" if detach else "Ctrl-C"
    _say(state, f"open for {ago(seconds)}: log in now, in a browser; {end} ends it", as_json=as_json)
    return 0 if detach else _stay(socket_file, state, as_json=as_json)


def _seconds(text: str) -> float:
    """A duration; raises `BadInput`."""
    found = re.fullmatch(r"([0-9]{1,4})([sm]?)", text)
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not SHORTEST <= seconds <= LONGEST:
        raise BadInput(f"--for {text!r}: expected {SHORTEST:g}s to {LONGEST / 60:g}m, such as 90s or 3m")
    return float(seconds)


def _agreed(plan: PortalPlan, seconds: float, *, yes: bool) -> bool:
    """Say what would happen, and ask."""
    whom = printable(", ".join(plan.servers), 200)
    source = f" (given by the network: {printable(plan.source, 200)})" if plan.source else " (named by you)"
    click.echo(
        f"For {ago(seconds)}, names that are not in the cache would go to\n"
        f"  {whom}{source},\n"
        "neither encrypted nor verified: this network reads them, and may answer what it\n"
        "likes.",
        err=True,
    )
    return confirmed("Open the portal?", yes=yes)


def _stay(socket_file: Path | None, state: PortalState, *, as_json: bool) -> int:
    """Until it is over; Ctrl-C ends it, and a terminal that is closed."""
    opened, told = state.opened, time.monotonic()
    try:
        with _heeded(signal.SIGHUP, signal.SIGTERM):
            while state.open and state.opened == opened:
                time.sleep(_POLL)
                state = request_service(socket_file, Request(command="portal.show"), PortalState)
                if state.open and time.monotonic() - told >= _TELL:
                    told = time.monotonic()
                    _say(state, f"{ago(state.left)} left; {state.queries} queries sent in clear", as_json=as_json)
    except KeyboardInterrupt:
        with contextlib.suppress(BadInput):  # it was over already
            state = request_service(socket_file, Request(command="portal.stop"), PortalState)
        _say(state, f"closed; queries sent in clear: {state.queries}", as_json=as_json)
        raise
    except BadInput as error:
        words = f"stubresolver: {error}; the portal ends by its time, or has ended with the service"
        click.echo(printable(words, 1000), err=True)
        return _NOT_VERIFIED
    return _told_end(state, as_json=as_json)


@contextlib.contextmanager
def _heeded(*signals: signal.Signals) -> Iterator[None]:
    """Each of these is as Ctrl-C, unless whoever began this wants it ignored (nohup(1))."""
    before = {each: signal.getsignal(each) for each in signals if signal.getsignal(each) is not signal.SIG_IGN}
    for each in before:
        signal.signal(each, signal.default_int_handler)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _told_end(state: PortalState, *, as_json: bool) -> int:
    """Say how it has ended; the exit status."""
    if state.verified:
        words = f"logged in: {state.ended}; protection is on again; queries sent in clear: {state.queries}"
        _say(state, words, as_json=as_json)
        return 0
    if state.open:  # and not the one that we opened
        _say(state, "closed, and another was opened since; see: stubresolver status", as_json=as_json)
        return _NOT_VERIFIED
    words = f"closed, {state.ended}, and no upstream is verified yet; queries sent in clear: {state.queries}"
    _say(state, f"{words}; see: stubresolver status", as_json=as_json)
    return _NOT_VERIFIED


def _say(state: PortalState, words: str, *, as_json: bool) -> None:
    click.echo(msgspec.json.encode(state).decode() if as_json else printable(words, 1000))
