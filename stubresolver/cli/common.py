"""What several commands share: options, the state folder, the console, the time that a person gives."""

import os
from datetime import UTC, datetime
from pathlib import Path

import click

from stubresolver.config import Settings
from stubresolver.errors import BadInput, EvidenceError
from stubresolver.evidence import EvidenceStore

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
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for machines.")


def open_evidence(settings: Settings) -> EvidenceStore:
    """The evidence store of the settings, of systemd's state folder, or of the user; raises `EvidenceError`."""
    if settings.evidence_file:
        return EvidenceStore(settings.evidence_file)
    try:
        return EvidenceStore(state_folder() / "evidence.sqlite3")
    except EvidenceError as error:
        raise EvidenceError(f"{error}; name another place in [evidence] file or in $STATE_DIRECTORY") from error


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


def parse_time(text: str) -> datetime:
    """A time in ISO 8601; without a zone it is UTC. Raises `BadInput`."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):  # the second: in UTC it lies beyond the calendar
        raise BadInput(f"--at {text!r} is not a time; expected ISO 8601 in UTC, such as 2026-11-21T12:00:00Z") from None


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)
