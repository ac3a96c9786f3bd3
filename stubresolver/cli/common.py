"""What several commands share: options, the state folder, the console, the time that a person gives."""

import contextlib
import os
import re
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar, TypeVarTuple, Unpack

import click
import trio

from stubresolver.config import Settings
from stubresolver.errors import BadInput, EvidenceDamaged, EvidenceError
from stubresolver.evidence import EvidenceKeeper, EvidenceStore
from stubresolver.exported import Exported

_Arguments = TypeVarTuple("_Arguments")
_Result = TypeVar("_Result")

config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="The configuration file. Default: /etc/stubresolver/stubresolver.toml if it is there; none is needed.",
)
policy_option = click.option(
    "--policy",
    "policy_file",
    type=click.Path(path_type=Path),
    help="A policy file, instead of the configuration's. Every key and its default: conf/policy.toml.",
)
log_list_option = click.option(
    "--log-list",
    "log_list_file",
    type=click.Path(path_type=Path),
    help="A list of CT logs in the v3 schema (JSON), instead of the pinned one.",
)
anchors_option = click.option(
    "--anchors",
    "anchors_file",
    type=click.Path(path_type=Path),
    help="A PEM file with the trust anchors, instead of the policy's.",
)
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask; needed where no terminal can answer.")
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for machines.")

_ELSEWHERE = "for another place see [evidence] file"
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SIZES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def open_evidence(settings: Settings, report: Callable[[str], None] | None = None) -> EvidenceKeeper:
    """Where judgements are kept: by the settings, in systemd's state folder, or in the user's. It never raises.

    `report` is told what cannot be kept; by default it is said on stderr.
    """
    path, nowhere = settings.evidence_file, ""
    advice = _ELSEWHERE if path else f"{_ELSEWHERE} or $STATE_DIRECTORY"
    if path is None:
        try:
            path = state_folder() / "evidence.sqlite3"
        except EvidenceError as error:
            nowhere = str(error)
    return EvidenceKeeper(path, utc_now, report or _say, nowhere=nowhere, advice=advice)


def _say(problem: str) -> None:
    click.echo(f"stubresolver: {problem}", err=True)


def open_kept_evidence(settings: Settings) -> EvidenceStore:
    """The evidence store to look into: none is made where none is, and a damaged one is left where it is.

    Raises `EvidenceError`.
    """
    path = settings.evidence_file or state_folder() / "evidence.sqlite3"
    try:
        there = path.exists()
    except OSError as error:
        raise EvidenceError(f"{path}: cannot be read: {error.strerror or error}") from None
    if not there:
        raise EvidenceError(
            f"no evidence is kept in {path}; that of the service is in /var/lib/stubresolver or where [evidence] file "
            "of the configuration says, and root can read it"
        )
    try:
        return EvidenceStore(path)
    except EvidenceDamaged as error:
        raise EvidenceDamaged(f"{error}; whoever records there next puts it aside and begins a new one") from None


def run_tasks(main: Callable[[Unpack[_Arguments]], Awaitable[_Result]], *arguments: *_Arguments) -> _Result:
    """`trio.run`; Ctrl-C ends it between two steps, and nowhere else.

    Raised in the middle of one, it would be lost in a callback of OpenSSL's, or taken by the verifier of paths for an
    address or name that the certificate lacks: the command would go on, and keep a refusal that nobody has earned.
    """
    return trio.run(main, *arguments, restrict_keyboard_interrupt_to_checkpoints=True)


def find_kept(settings: Settings, identity: str) -> Exported:
    """The judgement that a command is about; raises `BadInput`, also where nothing is kept or can be read."""
    try:
        with contextlib.closing(open_kept_evidence(settings)) as store:
            return store.export(store.find(identity))
    except EvidenceError as error:
        raise BadInput(str(error)) from None


def state_folder() -> Path:
    """Where state is kept: $STATE_DIRECTORY (systemd.exec(5)), /var/lib for root, else the XDG state folder.

    Raises `EvidenceError` for a user without a home.
    """
    if given := os.environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    if os.geteuid() == 0:
        return Path("/var/lib/stubresolver")
    try:
        home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    except RuntimeError:
        raise EvidenceError("this user has no home folder to keep evidence in") from None
    return Path(home) / "stubresolver"


def parse_time(text: str, option: str = "--at") -> datetime:
    """A time in ISO 8601; without a zone it is UTC. Raises `BadInput`."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):  # the second: in UTC it lies beyond the calendar
        raise BadInput(
            f"{option} {text!r} is not a time; expected ISO 8601 in UTC, such as 2026-11-21T12:00:00Z"
        ) from None


def parse_since(text: str, option: str, now: datetime) -> datetime:
    """A time, or an age such as 12h or 90d, counted back from `now`; raises `BadInput`."""
    if age := re.fullmatch(r"([0-9]{1,6})([smhdw])", text):
        try:
            return now - timedelta(**{_UNITS[age[2]]: int(age[1])})
        except OverflowError:
            raise BadInput(f"{option} {text!r} is older than the calendar") from None
    try:
        return parse_time(text, option)
    except BadInput as error:
        raise BadInput(f"{error}, or an age such as 12h or 90d") from None


def parse_size(text: str, option: str) -> int:
    """A number of octets, with K, M or G for powers of 1,024; raises `BadInput`."""
    if size := re.fullmatch(r"([0-9]{1,12})([KMG]?)(?:iB)?", text):
        return int(size[1]) * _SIZES[size[2]]
    raise BadInput(f"{option} {text!r} is not a size; expected octets, or a number with K, M or G, such as 32M")


def confirmed(question: str, *, yes: bool) -> bool:
    """Ask before something is changed; raises `BadInput` where nobody can answer."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise BadInput("nothing was changed: without a terminal to ask, this needs --yes")
    return click.confirm(question, err=True)


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)
