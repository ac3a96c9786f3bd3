"""The DNS servers that this network has given the machine, for a person who logs in to its captive portal.

The law of this file: an address counts only if a DHCP client has written it into a file that others cannot write; it is
another machine's, and not one of our own listeners. Public ones count only from files that hold nothing but what the
network said. Files are looked at in the order of their places, the youngest of a place first; what was looked at, and
why it was of no use, is told in words. Nothing is asked here.
"""

import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from stubresolver.errors import BadInput
from stubresolver.forward.lease_formats import FORMATS
from stubresolver.forward.options import PortalOptions
from stubresolver.forward.ourselves import Listening, is_own
from stubresolver.upstream.server import PlainServer, leased_server, private_server
from stubresolver.watched import WatchedFile

MOST_SERVERS: Final = 3  # resolv.h, MAXNS: as many as the C library asks
_OCTETS: Final = 1 << 20  # dhclient's file grows by a lease at each renewal, and is made anew at its start
_MOST_FILES: Final = 32  # of one place


@dataclass(frozen=True, slots=True)
class Place:
    """Where a DHCP client writes: a format, and the files that have it."""

    format: str
    pattern: Path  # whose last part may have a *

    def __str__(self) -> str:
        return f"{self.format}:{self.pattern}"


@dataclass(frozen=True, slots=True)
class Lease:
    """The servers that one file names."""

    file: Path
    servers: tuple[PlainServer, ...]


@dataclass(frozen=True, slots=True)
class Leases:
    """What was found, the one that counts first; and what was looked at in vain, each in a line."""

    found: tuple[Lease, ...]
    looked: tuple[str, ...]

    def choose(self, text: str) -> PlainServer:
        """The server that a person names: one that was found, or a private one; raises `BadInput`."""
        server = leased_server(text)
        if any(server in lease.servers for lease in self.found):
            return server
        try:
            return private_server(text)
        except BadInput:
            raise BadInput(
                f"{server.address} is neither private nor given by this network's DHCP, as far as its files tell: "
                "anybody on the way to it could read and change what is asked"
            ) from None

    def source(self, servers: Collection[PlainServer]) -> str:
        """The file that names them all; "" where none does."""
        return next((str(lease.file) for lease in self.found if set(servers) <= set(lease.servers)), "")


def parse_places(options: PortalOptions) -> tuple[Place, ...]:
    """The places of the options; raises `BadInput`."""
    return tuple(map(_parse_place, options.servers))


def find_leases(places: Sequence[Place], listening: Listening, now: datetime) -> Leases:
    """Look into every file; `now` is the time of day, by which leases end."""
    found, looked = [], []
    for place in places:
        files = _files(place.pattern)
        if not files:
            looked.append(f"{place.pattern}: not there")
        for file in files:
            outcome = _read(place, file, listening, now)
            if isinstance(outcome, Lease):
                found.append(outcome)
            else:
                looked.append(outcome)
    return Leases(tuple(found), tuple(looked))


def _parse_place(text: str) -> Place:
    kind, _, pattern = text.partition(":")
    path = Path(pattern)
    if kind not in FORMATS or not path.is_absolute() or "*" in str(path.parent) or "\0" in text:
        raise BadInput(
            f"{text!r} is no place: expected one of {', '.join(FORMATS)}, a colon and the whole path of a file, which "
            "may have a * in its last part, such as dhcp:/run/NetworkManager/no-stub-resolv.conf"
        )
    return Place(kind, path)


def _files(pattern: Path) -> list[Path]:
    """The files of a place that are there, the youngest first."""
    try:
        dated = [(path.stat().st_mtime_ns, path) for path in pattern.parent.glob(pattern.name)]
    except (OSError, ValueError):
        return []
    return [path for _, path in sorted(dated, reverse=True)[:_MOST_FILES]]


@dataclass(frozen=True, slots=True)
class _Text:
    """A file's text."""

    text: str
    problems: tuple[str, ...] = ()


def _read(place: Place, file: Path, listening: Listening, now: datetime) -> Lease | str:
    """What a file names, or why it is of no use."""
    try:
        mode = file.stat().st_mode | file.parent.stat().st_mode
    except OSError as error:
        return f"{file}: cannot be read: {error.strerror or error}"
    if mode & stat.S_IWOTH:
        return f"{file}: everybody can write there, so it counts for nothing"
    watched = WatchedFile(file, _parse, _OCTETS)
    watched.read(gently=False)
    if watched.problem or watched.content is None:
        return watched.problem
    named = FORMATS[place.format](watched.content.text, now)
    servers = tuple(dict.fromkeys(_usable(named, listening, public=place.format != "resolv.conf")))
    return Lease(file, servers[:MOST_SERVERS]) if servers else f"{file}: names no server of this network"


def _parse(_file: str, pieces: Iterable[bytes]) -> _Text:
    return _Text(b"".join(pieces).decode("ascii", "replace"))


def _usable(texts: Iterable[str], listening: Listening, *, public: bool) -> Iterator[PlainServer]:
    """Those that may be asked at all."""
    for text in texts:
        try:
            server = leased_server(text[:64])
            if not public:
                private_server(text)
        except BadInput:
            continue
        if not is_own(server, listening):
            yield server
