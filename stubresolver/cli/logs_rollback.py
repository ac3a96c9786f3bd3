"""`stubresolver logs rollback`: the list that was in force before comes back."""

from pathlib import Path

import click
from rich.console import Console

from stubresolver.cli.common import config_option, utc_now
from stubresolver.cli.logs_effects import find_effects, show_effects
from stubresolver.cli.logs_tell import show_changes
from stubresolver.cli.shown import clean
from stubresolver.config import load_settings, read_shipped
from stubresolver.ct import LogList
from stubresolver.errors import BadInput, LogListError
from stubresolver.loglists import diff
from stubresolver.pinned import install, read_installed, read_previous

apply_option = click.option("--yes", "-y", is_flag=True, help="Do it. Without this it is only shown.")
DRY_RUN = "Nothing was changed: --yes does it."
AFTERWARDS = "A service that runs takes it over on `stubresolver reload`."


@click.command("rollback", short_help="Bring back the list before; --yes does it.")
@apply_option
@config_option
def rollback(*, yes: bool, config_file: Path | None) -> int:
    """Bring the list back that was in force before the last update; what is in force now is kept in its place.

    An older list knows less: it may lack logs that count, and count logs that were retired since. So the difference is
    shown, and what it would mean for the certificates that the upstreams showed last.

    Exit status: 0 done, or shown; 2 there is no list to go back to, or the file cannot be written.
    """
    settings = load_settings(config_file)
    path = settings.log_list_target
    in_force = read_installed(path)
    now_octets = read_shipped("log_list.json") if in_force is None else in_force
    octets = read_previous(path)
    console = Console(highlight=False)
    try:
        before = LogList.parse(octets)
    except LogListError as error:
        raise BadInput(f"{path}.previous: cannot be put in force: {error}") from None
    try:
        current = LogList.parse(now_octets)
    except LogListError as error:
        console.print(clean(f"{path}: in force, and cannot be used: {error}", "bold red"), soft_wrap=True)
    else:
        console.print(clean(f"{path}: what the list before says differently", "bold"), soft_wrap=True)
        show_changes(console, diff(current, before))
        show_effects(console, find_effects(settings, current, before, utc_now()))
    if not yes:
        console.print(DRY_RUN)
        return 0
    install(path, octets, now_octets)
    console.print(clean(f"{path}: the list of {before.timestamp:%Y-%m-%d} is in force again"), soft_wrap=True)
    console.print(AFTERWARDS)
    return 0
