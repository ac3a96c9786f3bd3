"""The files of local knowledge: read whole or not at all, watched, read again when they have changed.

A file that cannot be used says what it said before; at the start, nothing. Every reason is told, none ends the service:
a hosts file with a slip in it must not cut the machine off. What cannot be used in the configuration's own text is an
error (`ConfigError`), because that is read at the start only, with a person present.

Reading is bounded (a list of 200 MB, a FIFO, a device, a folder are refused) and happens in a thread; what is in force
changes in one assignment when everything has been read. Files are watched by asking once a second whether they still
are the same, which costs a few microseconds, works on every file system, and sees a file that takes another's place. A
file that is being written is left alone until it has been the same for two looks.
"""

import os
import stat
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

import trio

from stubresolver.errors import BadInput, ConfigError
from stubresolver.local import (
    BlockLists,
    Hosts,
    ListFile,
    LocalCounts,
    LocalKnowledge,
    LocalOptions,
    RebindingGuard,
    Record,
    SpecialNames,
    StaticRecords,
    merge_hosts,
    parse_hosts,
)
from stubresolver.local.names import zone_set
from stubresolver.local.replies import FILE_TTL

HOSTS_OCTETS: Final = 16 * 1024 * 1024  # 400,000 lines; a system's own has a few
LIST_OCTETS: Final = 64 * 1024 * 1024  # 2,000,000 lines; the largest public lists have half of that
MOST_NAMES: Final = 4_000_000  # of one list file; 64 MiB of table

_OPEN: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC  # a FIFO would be waited for without O_NONBLOCK
_PIECE: Final = 32 * 1024  # about 2 ms of parsing
_PAUSE: Final = 0.0005  # seconds between two pieces, in which the service has the interpreter to itself
_LOOK: Final = 1.0  # seconds between two looks at the files
_PATIENCE: Final = 10  # looks at a file that keeps changing before it is read all the same

_State = tuple[int, ...] | None  # what tells two versions of a file apart; None: not there
_NEVER: Final = (-1,)

_T = TypeVar("_T")


class LocalFiles:
    """Reads local knowledge and keeps it up to date."""

    def __init__(
        self,
        options: LocalOptions,
        source: str = "defaults",
        *,
        forwarded: Collection[bytes] = (),
        private: Collection[bytes] = (),
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`source` is the configuration's name; raises `ConfigError`.

        Special names at or below a `forwarded` zone are left to it; `private` zones may hold private addresses.
        """
        self._options = options
        self._report = report
        self._special = _of_config(source, "local.special", lambda: SpecialNames(options.special, forwarded))
        allowed = _of_config(source, "local.rebinding_allow", lambda: zone_set(options.rebinding_allow))
        self._guard = RebindingGuard(allowed | frozenset(private)) if options.rebinding else None
        self._records = _of_config(source, "local.records", lambda: StaticRecords(parse_records(options.records)))
        self._secret = os.urandom(16)
        self._counts = LocalCounts()
        parse_list = _list_parser(self._secret)
        self._hosts = [_Source(Path(file), _parse_hosts, HOSTS_OCTETS) for file in options.hosts]
        self._blocking = [_Source(Path(entry.file), parse_list, LIST_OCTETS) for entry in options.block_lists]
        self._allowing = [_Source(Path(file), parse_list, LIST_OCTETS) for file in options.allow_lists]
        self._blocks: BlockLists | None = None
        self._knowledge = LocalKnowledge(special=self._special, records=self._records, guard=self._guard)

    @property
    def counts(self) -> LocalCounts:
        """What all knowledge from these files has done."""
        return self._counts

    @property
    def knowledge(self) -> LocalKnowledge:
        """What was last read."""
        return self._knowledge

    @property
    def problems(self) -> tuple[str, ...]:
        """What of the files that were last read is not in force, and why."""
        found = [problem for source in self._sources for problem in source.problems]
        return (*found, *self._knowledge.problems)

    def read(self, *, gently: bool = False) -> LocalKnowledge:
        """Read every file that has changed; blocks, for seconds where a list is long. `gently` lets others run."""
        for source in self._hosts:
            source.read(gently=gently)
        if any([source.read(gently=gently) for source in (*self._blocking, *self._allowing)]):  # noqa: C419 - each
            self._blocks = self._build_blocks()
        self._knowledge = LocalKnowledge(
            special=self._special,
            hosts=merge_hosts(source.content for source in self._hosts if source.content is not None),
            records=self._records,
            blocks=self._blocks,
            block_aliases=self._options.block_aliases,
            guard=self._guard,
            counts=self._counts,
            report=self._report,
        )
        return self._knowledge

    async def watch(self, apply: Callable[[LocalKnowledge], None]) -> None:
        """Look at the files without end; give what they say to `apply`, in the event loop, when one has changed."""
        while True:
            await trio.sleep(_LOOK)
            if await trio.to_thread.run_sync(self._have_changed, abandon_on_cancel=True):
                apply(await trio.to_thread.run_sync(lambda: self.read(gently=True), abandon_on_cancel=True))

    def __str__(self) -> str:
        """What is known here, in numbers."""
        hosts = sum(len(source.content.addresses) for source in self._hosts if source.content is not None)
        parts = [f"{hosts:,} names of hosts files", f"{len(self._records):,} static records"]
        if self._blocks is not None:
            parts.append(f"{self._blocks.blocked.names:,} blocked, {self._blocks.allowed.names:,} freed")
        parts.append("rebinding protection " + ("on" if self._guard is not None else "OFF"))
        return ", ".join(parts)

    @property
    def _sources(self) -> "tuple[_Source[Hosts] | _Source[ListFile], ...]":
        return (*self._hosts, *self._blocking, *self._allowing)

    def _build_blocks(self) -> BlockLists | None:
        """The lists that could be read; None where none blocks anything."""
        blocking = [
            (source.content, entry.answer)
            for source, entry in zip(self._blocking, self._options.block_lists, strict=True)
            if source.content is not None
        ]
        allowing = [source.content for source in self._allowing if source.content is not None]
        return BlockLists.build(blocking, allowing, self._secret) if blocking else None

    def _have_changed(self) -> bool:
        """Whether a file is another one than was read, and has settled."""
        return any([source.has_changed() for source in self._sources])  # noqa: C419 - each must look


class _Content(Protocol):
    """What was read of a file."""

    @property
    def problems(self) -> Iterable[str]:
        """What a person should know about the file."""


_C = TypeVar("_C", bound=_Content)


class _Source(Generic[_C]):
    """One file: what was last read of it, and whether it still is the same."""

    def __init__(self, path: Path, parse: Callable[[str, Iterator[bytes]], _C], limit: int) -> None:
        self.content: _C | None = None
        self._path = path
        self._parse = parse
        self._limit = limit
        self._read: _State = _NEVER  # the version that was read, or could not be
        self._seen: _State = _NEVER  # the one at the last look
        self._looks = 0  # at a version that was another at each look
        self._problem = ""

    @property
    def problems(self) -> Iterator[str]:
        """What a person should know about the file."""
        if self._problem:
            yield self._problem + ("" if self.content is None else "; what it said before stays in force")
        if self.content is not None:
            yield from self.content.problems

    def has_changed(self) -> bool:
        """Whether the file is not the one that was read any more, and the same as at the last look."""
        now = _state(self._path)
        settled = now == self._seen
        self._seen = now
        self._looks = 0 if settled else self._looks + 1
        return now != self._read and (settled or self._looks >= _PATIENCE)

    def read(self, *, gently: bool) -> bool:
        """Read the file if it is not the one that was read before; whether it was."""
        state = _state(self._path)
        if state == self._read:
            return False
        self._read, self._problem = state, ""
        try:
            content = self._parse(str(self._path), _pieces(self._path, self._limit, gently=gently))
        except OSError as error:
            self._problem = f"{self._path}: cannot be read: {error.strerror or error}"
        except (BadInput, ValueError) as error:  # ValueError: a NUL in the path
            self._problem = f"{self._path}: cannot be used: {error}"
        else:
            self._take(content)
        return True

    def _take(self, content: _C) -> None:
        """Put what was read in force, unless it may be half of one version and half of another."""
        if _state(self._path) != self._read:
            self._read = _NEVER
            self._problem = f"{self._path}: changed while it was read; it is read again when it has settled"
        if self.content is None or not self._problem:
            self.content = content


def _parse_hosts(file: str, pieces: Iterator[bytes]) -> Hosts:
    return parse_hosts(b"".join(pieces), file)


def _list_parser(secret: bytes) -> Callable[[str, Iterator[bytes]], ListFile]:
    """Who reads a block list or an allow list; raises `BadInput` for one that is too long."""

    def parse(file: str, pieces: Iterator[bytes]) -> ListFile:
        content = ListFile(file, secret)
        for octets in pieces:
            content.feed(octets)
            if len(content.entries) + len(content.exceptions) > MOST_NAMES:
                raise BadInput(f"more than {MOST_NAMES:,} names")
        content.close()
        return content

    return parse


def parse_records(text: str) -> Iterator[Record]:
    """The records of zone-file text (RFC 1035 s5); raises `BadInput`.

    Names without a dot at the end are whole names all the same; TTL and class may be left out; directives may not stand
    there. dnspython is imported only where there is something to parse, because it costs memory.
    """
    if not text.strip():
        return
    if not text.isascii():
        raise BadInput("holds characters beyond ASCII: write names as they stand in the DNS (xn--...), texts as \\ddd")
    import dns.exception  # noqa: PLC0415 - see above
    import dns.zonefile  # noqa: PLC0415 - see above

    try:
        for rrset in dns.zonefile.read_rrsets(text, rdclass=None, default_ttl=FILE_TTL):
            owner = rrset.name.canonicalize().to_wire() or b""
            for rdata in rrset:
                yield Record(owner, int(rrset.rdtype), rrset.ttl, rdata.to_wire() or b"")
    except (dns.exception.DNSException, ValueError) as error:
        raise BadInput(f"not zone-file text: {str(error).replace('<input>:', 'line ')}") from None


def _of_config(source: str, key: str, make: Callable[[], _T]) -> _T:
    """What the configuration says under a key; an error is told with both."""
    try:
        return make()
    except BadInput as error:
        raise ConfigError(source, key, str(error)) from None


def _state(path: Path) -> _State:
    """What tells this version of the file from another; None where there is none that can be looked at."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _pieces(path: Path, limit: int, *, gently: bool) -> Iterator[bytes]:
    """The octets of a regular file, piece by piece; raises OSError, or `BadInput` for what is not read."""
    pause = threading.Event()  # never set: waiting for it is a sleep that lets other threads run
    descriptor = os.open(path, _OPEN)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise BadInput("not a regular file")
        if found.st_size > limit:
            raise BadInput(f"{found.st_size:,} octets, expected {limit:,} at most")
        rest = limit
        while piece := os.read(descriptor, _PIECE):
            rest -= len(piece)
            if rest < 0:
                raise BadInput(f"grew beyond {limit:,} octets while it was read")
            yield piece
            if gently:
                pause.wait(_PAUSE)
    finally:
        os.close(descriptor)
