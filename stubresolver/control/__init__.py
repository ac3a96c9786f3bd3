"""What a person can ask of the running service: a Unix socket, one line of JSON in, one out."""

from stubresolver.control.commands import (
    CacheCommands,
    Flushed,
    Shown,
    ShownEntry,
    ShownStatistics,
)
from stubresolver.control.protocol import Command, Reply, Request
from stubresolver.control.server import ControlServer, ControlSocket

__all__ = [
    "CacheCommands",
    "Command",
    "ControlServer",
    "ControlSocket",
    "Flushed",
    "Reply",
    "Request",
    "Shown",
    "ShownEntry",
    "ShownStatistics",
]
