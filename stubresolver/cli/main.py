"""The `stubresolver` command: finds the subcommand, and turns every error into one plain sentence and an exit status.

0  done; for `check`: allowed
1  refused by the policy, or the service could not start or failed
2  bad input: usage, a file that cannot be read, a configuration or policy with an error
3  no upstream could be reached
130  interrupted by Ctrl-C
"""

import errno
import importlib
import io
import logging
import os
import sys
import traceback
import warnings

import click
from cryptography.utils import CryptographyDeprecationWarning

from stubresolver import __version__
from stubresolver.errors import BadInput, ConfigError, PolicyRefused, StubResolverError, UpstreamError

COMMANDS = (
    "run", "status", "portal", "reload", "query", "check", "evidence", "explain", "policy", "logs", "audit", "cache",
    "lab",
)  # fmt: skip


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
    """A DNS stub resolver over DoT and DoH that asks only upstreams whose certificate is publicly logged.

    Before one octet of a query leaves, the upstream's certificate must chain to an allowed CA, carry the dialled IP
    address, and embed valid SCTs (RFC 6962) from known Certificate Transparency logs. It never falls back to plain DNS
    by itself.

    \b
    Start here:
      stubresolver lab       see it refuse a gallery of rogue upstreams, offline
      stubresolver check     judge the configured upstreams, ask them nothing
      stubresolver run       serve DNS on 127.0.0.1:53 and [::1]:53
      stubresolver status    what the running service does, and what is wrong

    Exit status: 0 done; 1 refused, or failed; 2 bad input; 3 no upstream could be reached; 130 interrupted. Each
    command says more.
    """  # noqa: D301 - \b tells click to keep the lines that follow


def main() -> int:
    """Run the command line; returns the exit status and never lets a traceback reach a person."""
    # A peer's or a root's odd serial number is no news for whoever reads the journal.
    logging.getLogger("stubresolver").addHandler(logging.NullHandler())  # `run` replaces it; others show what they find
    warnings.filterwarnings("ignore", category=CryptographyDeprecationWarning)
    for stream in (sys.stdout, sys.stderr):  # a terminal that is not UTF-8 gets '?' for what it cannot show
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        status = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return 2
    except StubResolverError as error:
        return report(error)
    except KeyboardInterrupt:
        return 130
    except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - the last line of defence
        return _report_any(error)
    return status if isinstance(status, int) else 0


def report(error: StubResolverError) -> int:
    """Say an expected error on stderr; returns the exit status that stands for it."""
    # it may quote a file of somebody else's, which may not steer a terminal
    shown = "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in str(error))
    click.echo(f"stubresolver: {shown}", err=True)
    if isinstance(error, (ConfigError, BadInput)):
        return 2
    if isinstance(error, UpstreamError) and not isinstance(error, PolicyRefused):
        return 3
    return 1


def _report_any(error: BaseException) -> int:
    """What nobody caught: an expected error or Ctrl-C out of a nursery, a reader that has gone, or a defect of ours.

    Of a defect the person gets one line, and the traceback only where it was asked for.
    """
    leaves = _leaves(error)
    if any(isinstance(leaf, KeyboardInterrupt) for leaf in leaves):
        return 130
    for leaf in leaves:
        if isinstance(leaf, StubResolverError):
            return report(leaf)
    # `stubresolver check | head`; rich turns the first into the second
    if all(isinstance(leaf, (BrokenPipeError, SystemExit)) for leaf in leaves):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if all(isinstance(leaf, OSError) and leaf.errno == errno.ENOSPC for leaf in leaves):
        click.echo(f"stubresolver: the output cannot be written: {os.strerror(errno.ENOSPC)}", err=True)
        return 1
    if problem := next(filter(None, map(_scarce, leaves)), ""):
        click.echo(f"stubresolver: {problem}", err=True)
        return 1
    if os.environ.get("STUBRESOLVER_TRACEBACK"):
        traceback.print_exception(error)
    click.echo(
        f"stubresolver: internal error, please report it: {type(leaves[0]).__name__}: {leaves[0]}\n"
        "(set STUBRESOLVER_TRACEBACK=1 to see where)",
        err=True,
    )
    return 1


def _scarce(error: BaseException) -> str:
    """What this process lacks, and who can give it; "" for what is no lack."""
    code = error.errno if isinstance(error, OSError) else None
    if code in {errno.EMFILE, errno.ENFILE}:
        return "too many open files: raise LimitNOFILE= of the service, or `ulimit -n`"
    unmapped = isinstance(error, ImportError) and "failed to map segment" in str(error)  # what dlopen(3) says
    if isinstance(error, MemoryError) or code == errno.ENOMEM or unmapped:
        return "not enough memory: see MemoryMax= of the service, or `ulimit -v`"
    if isinstance(error, RuntimeError) and "start new thread" in str(error):  # what threading says; it has no type
        return "no thread can be started: raise TasksMax= of the service, or `ulimit -u`"
    return ""


def _leaves(error: BaseException) -> list[BaseException]:
    """The errors inside an exception group, however deep."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]
