"""`stubresolver status`: everything about the running service on one page, what is wrong first."""

import os
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import msgspec

from stubresolver.cli.common import json_option
from stubresolver.cli.control import ask_service, socket_option
from stubresolver.cli.status_shown import sections
from stubresolver.control.status import Status

_FAILED: Final = 1
_NO_SERVICE: Final = 2
_NARROWEST, _WIDEST = 60, 100  # columns that the page takes
_COLOURS: Final = {"!": "red", "+": "green", "?": "yellow"}


@click.command("status")
@socket_option
@json_option
def command(*, socket_file: Path | None, as_json: bool) -> int:
    """What the running service does, and what is wrong with it.

    What is wrong stands first, with the way out. Then: how many queries went out in clear; each upstream with its
    connection, certificate, SCTs, verdict and last error; forward zones; clients and cache; clock, log list, evidence;
    the last refusals. No name that was asked for is ever in it. docs/status.md explains every field of --json.

    The service is asked over its control socket, which only root and the service's own user may use.

    Exit status: 0 all is well, 1 it runs and something is wrong, 2 no service could be asked.

    \b
    Examples:
      sudo stubresolver status
      sudo stubresolver status --json | jq .clear.queries    sent in clear: 0
    """  # noqa: D301 - \b tells click to keep the lines that follow
    told = ask_service(socket_file, "status", Status)
    if as_json:
        click.echo(msgspec.json.encode(told).decode())
    else:
        for line in _page(told):
            click.echo(line)
    return _FAILED if told.problems else 0


def _page(told: Status) -> Iterator[str]:
    """The page, line by line, as wide as the terminal; what goes into a file or a pipe loses its colours in `echo`."""
    colours = {} if os.environ.get("NO_COLOR") else _COLOURS  # no-color.org
    width = max(_NARROWEST, min(_columns(), _WIDEST))
    for title, rows in sections(told):
        if title:
            yield ""
            yield click.style(title, bold=True)
        for label, text, mark in rows:
            colour = colours.get(mark)
            for line in _lines(label, text, width):
                yield click.style(line, fg=colour) if colour else line


def _lines(label: str, text: str, width: int) -> list[str]:
    """One row: a label, and its text in as many lines as it takes."""
    indent = " " * 13
    wrapped = textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False) or [
        indent
    ]
    wrapped[0] = f"{label:<12.12} {wrapped[0][13:]}"
    return wrapped


def _columns() -> int:
    """How wide the terminal is; 80 for a file or a pipe."""
    if given := os.environ.get("COLUMNS", ""):
        return int(given) if given.isdigit() and len(given) < 5 else 80
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):
        return 80
