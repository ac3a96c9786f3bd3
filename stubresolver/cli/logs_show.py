"""`stubresolver logs show`, `diff` and `verify`: lists are read and told, nothing is changed."""

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import click
from rich.console import Console

from stubresolver.cli.common import config_option, json_option, utc_now
from stubresolver.cli.files import read_bounded
from stubresolver.cli.logs_sources import INSTALLED, MAXIMUM_SIGNATURE, SHIPPED, load_keys, signature_beside
from stubresolver.cli.logs_tell import list_facts, logs_facts, show_changes, show_facts, show_logs
from stubresolver.cli.shown import clean
from stubresolver.config import installed_log_list, load_log_list, load_settings, read_shipped
from stubresolver.ct import LogList
from stubresolver.errors import BadInput, SourceRefused
from stubresolver.loglists import MAXIMUM_LIST, Format, ReadList, Source, diff, origin_of, read_list, read_source

_DIFFERS = _REFUSED = 1


@click.command("show", short_help="The list in force, or another, by operator.")
@click.argument("file", required=False)
@config_option
@json_option
def show(*, file: str | None, config_file: Path | None, as_json: bool) -> None:
    """Show the list in force, or that of FILE, by operator: state, kind, interval of certificates, since when.

    FILE is a list in any format that `update` takes; `shipped` is the list of this version.

    Exit status: 0 done, 2 a list or a configuration that cannot be read.
    """
    now = utc_now()
    source, found = _read(file or INSTALLED, config_file)
    if as_json:
        click.echo(json.dumps({"source": source, **list_facts(found, now), "logs": logs_facts(found, now)}))
        return
    console = Console(highlight=False)
    show_facts(console, source, found, now)
    show_logs(console, found, now)


@click.command("diff", short_help="What differs between two lists.")
@click.argument("old")
@click.argument("new")
@config_option
@json_option
def diff_lists(*, old: str, new: str, config_file: Path | None, as_json: bool) -> int:
    """Show what differs between two lists, each in any format that `update` takes.

    OLD and NEW are files, or the words `shipped` (the list of this version) and `installed` (the list in force).

    Exit status: 0 they say the same, 1 they differ, 2 a list that cannot be read.
    """
    (_, before), (_, after) = _read(old, config_file), _read(new, config_file)
    either = before.timestamp or after.timestamp or utc_now()  # a list without a date is not of another one
    changes = diff(_as_log_list(before, after.timestamp or either), _as_log_list(after, either))
    if as_json:
        click.echo(json.dumps({"changes": [{**asdict(change), "text": str(change)} for change in changes]}))
    else:
        show_changes(Console(highlight=False), changes)
    return _DIFFERS if changes else 0


@click.command("verify", short_help="Is a file a list that an update would listen to?")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--signature",
    "signature_file",
    type=click.Path(path_type=Path),
    help="Its signature, else one that lies beside it.",
)
@click.option("--key", "key_files", multiple=True, type=click.Path(path_type=Path), help="A public key. Repeatable.")
@config_option
@json_option
def verify(
    *, file: Path, signature_file: Path | None, key_files: tuple[Path, ...], config_file: Path | None, as_json: bool
) -> int:
    """Say what FILE is, what is wrong with it, and whether `update` would listen to it now.

    Exit status: 0 it would be listened to, 1 it would be refused, 2 a file that cannot be read.
    """
    now, settings = utc_now(), load_settings(config_file)
    keys = load_keys(key_files or settings.log_keys)
    octets = read_bounded(file, MAXIMUM_LIST)
    signature = read_bounded(signature_file, MAXIMUM_SIGNATURE) if signature_file else None
    if signature is None and keys:
        signature = signature_beside(file)
    facts: dict[str, object] = {"source": str(file), "accepted": False, "signed_by": None}
    found, source, problem = None, None, ""
    try:
        found = read_list(octets)
        current = load_log_list(settings.log_list_file)
        source = read_source(
            file.name, origin_of(str(file.resolve())), octets, signature=signature, keys=keys, current=current, now=now
        )
        facts |= {"accepted": True, "signed_by": source.vouched or None}
    except SourceRefused as error:
        problem = str(error)
    facts |= {"problem": problem or None, **(list_facts(found, now) if found else {})}
    if as_json:
        click.echo(json.dumps(facts))
        return _REFUSED if problem else 0
    console = Console(highlight=False)
    if found is not None:
        show_facts(console, str(file), found, now)
    if source is None:
        console.print(clean(f"REFUSED  {file}: {problem}", "bold red"), soft_wrap=True)
        return _REFUSED
    console.print(clean(f"ACCEPTED  {_standing(source)}", "green"), soft_wrap=True)
    return 0


def _standing(source: Source) -> str:
    """What an accepted source is worth."""
    if source.vouched:
        return f"signed by {source.vouched}: vouches alone"
    return f"{'signed, but not dated' if source.key else 'unsigned'}: one voice of a quorum"


def _read(word: str, config_file: Path | None) -> tuple[str, ReadList]:
    """Where a list comes from and what it says; raises `BadInput` or `ConfigError`."""
    if word == SHIPPED:
        return "the shipped list", read_list(read_shipped("log_list.json"))
    if word == INSTALLED:
        settings = load_settings(config_file)
        listed = load_log_list(settings.log_list_file)
        source = str(installed_log_list(settings.log_list_file) or "the shipped list")
        return source, ReadList(Format.V3, listed.version, listed.timestamp, listed.logs)
    try:
        return word, read_list(read_bounded(Path(word), MAXIMUM_LIST))
    except SourceRefused as error:
        raise BadInput(f"{word}: {error}") from None


def _as_log_list(found: ReadList, undated: datetime) -> LogList:
    """The list as `diff` takes it."""
    return LogList(found.version, found.timestamp or undated, "", found.logs, {}, b"")
