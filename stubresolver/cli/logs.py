"""`stubresolver logs`: the list of Certificate Transparency logs that count here, and how it is renewed."""

import click

from stubresolver.cli.logs_rollback import rollback
from stubresolver.cli.logs_show import diff_lists, show, verify
from stubresolver.cli.logs_update import update


@click.group("logs", short_help="Which CT logs count: show, compare and verify lists; update, roll back.")
def command() -> None:
    """The log list: which Certificate Transparency logs count, until when, and who runs them.

    An SCT counts only if its log stands on this list. New logs come every month, so a list that is never renewed
    refuses good certificates one day; and whoever can write it decides which forged ones pass. It ages from 45 days
    on and is stale from 70.

    In force is the file that [trust] log_list of the configuration names, else /etc/stubresolver/log_list.json if it
    is there, else the list of this version.

    \b
    Examples:
      stubresolver logs show                       the list in force, by operator
      stubresolver logs diff installed new.json    what another list says
      stubresolver logs update --from a.json b.h   what they would change together
      stubresolver logs rollback --yes             the list before comes back

    Exit status: 0 done, 1 differs or refused, 2 bad input, 3 no source could be reached; each command says more.
    """  # noqa: D301 - \b tells click to keep the lines that follow


for each in (show, diff_lists, verify, update, rollback):
    command.add_command(each)
