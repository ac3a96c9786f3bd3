"""The servers that another program names in a file: resolv.conf(5), as a DHCP client or NetworkManager writes it.

The law of this file: whoever writes the file, or is the DHCP server behind it, decides whom the zone's names are asked
of and nothing else. A public address in it is left out, so no query leaves the private networks by it; so are our own
listeners; three servers count, as for glibc (MAXNS in resolv.h). Other lines (`search`, `options`, `domain`) mean
nothing here. What cannot be used is told with its line and ends nothing; while the file is not there, or is no such
file, nobody is asked: the servers of an earlier network are strangers in the next.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stubresolver.errors import BadInput
from stubresolver.forward.ourselves import Listening, is_own
from stubresolver.upstream.server import PlainServer, private_server
from stubresolver.watched import WatchedFile

OCTETS: Final = 64 * 1024  # such a file has a few lines
MOST_SERVERS: Final = 3  # resolv.h, MAXNS
_MOST_PROBLEMS: Final = 5  # that are told of one file


@dataclass(frozen=True, slots=True)
class ResolvConf:
    """What such a file says."""

    servers: tuple[PlainServer, ...]
    problems: tuple[str, ...]


def parse_resolv_conf(file: str, pieces: Iterable[bytes]) -> ResolvConf:
    """Read the file's octets; raises `BadInput` for what is no text."""
    octets = b"".join(pieces)
    if b"\0" in octets:
        raise BadInput("not a text")
    servers: dict[PlainServer, None] = {}
    problems, left_out = [], 0
    for number, address in _nameservers(octets):
        try:
            server = private_server(address)
        except BadInput as error:
            left_out += 1
            if left_out <= _MOST_PROBLEMS:
                problems.append(f"{file}:{number}: left out: {error}")
        else:
            servers[server] = None
    if left_out > _MOST_PROBLEMS:
        problems.append(f"{file}: {left_out - _MOST_PROBLEMS} more servers are left out")
    if len(servers) > MOST_SERVERS:
        problems.append(f"{file}: {len(servers)} servers; the first {MOST_SERVERS} are asked")
    return ResolvConf(tuple(servers)[:MOST_SERVERS], tuple(problems))


def _nameservers(octets: bytes) -> Iterator[tuple[int, str]]:
    """Number and address of each `nameserver` line; what follows the address is a comment."""
    for number, line in enumerate(octets.decode("ascii", "backslashreplace").split("\n"), 1):
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            yield number, words[1][:64]


class ServerFile:
    """One such file, watched: the servers that it names now."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._watched = WatchedFile(path, parse_resolv_conf, OCTETS)
        self._listening: Listening = ()

    def avoid(self, listening: Listening) -> None:
        """Leave out our own listeners, by their hosts and ports."""
        self._listening = listening

    def read(self) -> None:
        """Read the file; for the start."""
        self._watched.read(gently=False)

    def refresh(self) -> bool:
        """Read the file if it is another one than was read, and has settled; whether it was."""
        return self._watched.has_changed() and self._watched.read(gently=False)

    @property
    def servers(self) -> tuple[PlainServer, ...]:
        """Whom to ask, in order."""
        return tuple(server for server in self._named if not is_own(server, self._listening))

    @property
    def problem(self) -> str:
        """Why there is nobody to ask."""
        return self._watched.problem or f"{self._path}: names no server that may be asked"

    @property
    def problems(self) -> tuple[str, ...]:
        """What a person should know about the file, each in one line."""
        content = self._watched.content
        if self._watched.problem or content is None:
            return (self.problem,)
        own = [server for server in self._named if is_own(server, self._listening)]
        return (
            *content.problems,
            *(f"{self._path}: left out: {server} is this resolver itself" for server in own),
            *([] if self.servers else [self.problem]),
        )

    @property
    def _named(self) -> tuple[PlainServer, ...]:
        """The servers of the file as it is now; none where it could not be read."""
        content = self._watched.content
        return () if self._watched.problem or content is None else content.servers
