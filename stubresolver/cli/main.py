"""The `stubresolver` command: finds the subcommand, and turns every error into one plain sentence and an exit status.

0  done; for `check`: allowed
1  refused by the policy, or the service could not start or failed
2  bad input: usage, a file that cannot be read, a configuration or policy with an error
3  no upstream could be reached
130  interrupted by Ctrl-C
"""

import importlib
import os
import sys
import traceback
import warnings
from typing import NoReturn

import click
from cryptography.utils import CryptographyDeprecationWarning

from stubresolver import __version__
from stubresolver.errors import BadInput, ConfigError, PolicyRefused, StubResolverError, UpstreamError

COMMANDS = ("run", "query", "check", "lab")


class _Commands(click.Group):
    """Imports a subcommand only when it is asked for, so that the service starts without the parts for people."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command = importlib.import_module(f"stubresolver.cli.{name}").command
        if not isinstance(command, click.Command):
            raise TypeError(f"stubresolver.cli.{name}.command is no command")
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="stubresolver")
def cli() -> None:
    r"""A DNS stub resolver over DoT and DoH that asks only upstreams whose certificate is publicly logged.

    Before one octet of a query leaves, the upstream's certificate must chain to an allowed CA, carry the dialled IP
    address, and embed valid SCTs (RFC 6962) from known Certificate Transparency logs. It never falls back to plain DNS.

    \b
    Start here:
      stubresolver lab           see it refuse a gallery of rogue upstreams, offline
      stubresolver check         judge the configured upstreams without asking them anything
      stubresolver run           serve DNS on 127.0.0.1:53 and [::1]:53
    """


def main() -> int:
    """Run the command line; returns the exit status and never lets a traceback reach a person."""
    # A peer's or a root's odd serial number is no news for whoever reads the journal.
    warnings.filterwarnings("ignore", category=CryptographyDeprecationWarning)
    try:
        status = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return 2
    except StubResolverError as error:
        return report(error)
    except BrokenPipeError:
        # Whoever read our output has gone: `stubresolver check | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 - the last line of defence; whatever arrives here is a defect of ours
        return _report_defect(error)
    return status if isinstance(status, int) else 0


def report(error: StubResolverError) -> int:
    """Say an expected error on stderr; returns the exit status that stands for it."""
    click.echo(f"stubresolver: {error}", err=True)
    if isinstance(error, (ConfigError, BadInput)):
        return 2
    if isinstance(error, UpstreamError) and not isinstance(error, PolicyRefused):
        return 3
    return 1


def fail(problem: str, status: int) -> NoReturn:
    """Say `problem` on stderr and leave with `status`."""
    click.echo(f"stubresolver: {problem}", err=True)
    raise click.exceptions.Exit(status)


def _report_defect(error: Exception) -> int:
    """A defect: one line for the person, the traceback only where it was asked for."""
    leaves = [error]
    while isinstance(leaves[0], ExceptionGroup):
        leaves = [*leaves[0].exceptions, *leaves[1:]]
    expected = next((leaf for leaf in leaves if isinstance(leaf, StubResolverError)), None)
    if expected is not None:
        return report(expected)
    if os.environ.get("STUBRESOLVER_TRACEBACK"):
        traceback.print_exception(error)
    click.echo(
        f"stubresolver: internal error, please report it: {type(leaves[0]).__name__}: {leaves[0]}\n"
        "(set STUBRESOLVER_TRACEBACK=1 to see where)",
        err=True,
    )
    return 1
