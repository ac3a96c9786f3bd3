"""`stubresolver reload`: let the running service read policy and log list again, and say what came of it."""

import time
from pathlib import Path

import click

from stubresolver.cli.status_file import (
    RunningService,
    ServiceStatus,
    default_status_file,
    find_service,
    read_status,
    status_option,
)
from stubresolver.errors import BadInput
from stubresolver.verify import printable

_PATIENCE = 20.0  # seconds; a reload takes a fraction of one, and five where another process holds the evidence
_POLL = 0.05
_LONGEST = 4000  # characters that are shown of what the service says

_FAILED, _REFUSED = 1, 2


@click.command("reload")
@status_option
def command(*, status_file: Path | None) -> int:
    """Have the running service read policies and log list again.

    The service itself reads them, with its own options. If there is an error in any of them, nothing changes and the
    error is shown. Otherwise all of them are in force at one moment: connections that stand are judged again, and
    closed where they fall short. No query is lost. `systemctl reload stubresolver` does the same, and leaves the
    outcome in the journal.

    Exit status: 0 reloaded, 1 no running service was found or it gave no answer, 2 the files have an error and the
    old ones stay in force.
    """
    file = status_file or default_status_file()
    try:
        with find_service(file) as service:
            service.reload()
            status = _wait(service, file)
    except (BadInput, OSError) as error:
        problem = error if isinstance(error, BadInput) else f"SIGHUP could not be sent: {error.strerror or error}"
        click.echo(f"stubresolver: {problem}", err=True)
        return _FAILED
    if status is None:
        click.echo(f"stubresolver: process {service.status.pid} did not say what came of it; see its log", err=True)
        return _FAILED
    # as its user wrote it, who may be another than the one at this terminal
    told = printable(f"process {status.pid} ({status.config}): {status.outcome}", _LONGEST)
    click.echo(told, err=not status.reloaded)
    return 0 if status.reloaded else _REFUSED


def _wait(service: RunningService, file: Path) -> ServiceStatus | None:
    """The status after the reload; None if it does not come."""
    before, deadline = service.status, time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        status = read_status(file)
        if status.pid == before.pid and status.reloads > before.reloads:
            return status
        if service.ended(_POLL):
            break
    return None
