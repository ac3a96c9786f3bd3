"""The files of local knowledge: read whole or not at all, watched, read again when they have changed.

A file that cannot be used says what it said before; at the start, nothing. Every reason is told, none ends the service:
a hosts file with a slip in it must not cut the machine off. What cannot be used in the configuration's own text is an
error (`ConfigError`), because that is read at the start only, with a person present.

Reading is bounded (a list of 200 MB, a FIFO, a device, a folder are refused; see `watched`) and happens in a thread;
what is in force changes in one assignment when everything has been read.
"""

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

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
from stubresolver.watched import LOOK_SECONDS, WatchedFile

HOSTS_OCTETS: Final = 16 * 1024 * 1024  # 400,000 lines; a system's own has a few
LIST_OCTETS: Final = 64 * 1024 * 1024  # 2,000,000 lines; the largest public lists have half of that
MOST_NAMES: Final = 4_000_000  # of one list file; 64 MiB of table

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
        self._hosts = [WatchedFile(Path(file), _parse_hosts, HOSTS_OCTETS) for file in options.hosts]
        self._blocking = [WatchedFile(Path(entry.file), parse_list, LIST_OCTETS) for entry in options.block_lists]
        self._allowing = [WatchedFile(Path(file), parse_list, LIST_OCTETS) for file in options.allow_lists]
        self._blocks: BlockLists | None = None
        # What is in force was made of these; where memory was too short for that it is not what was read last.
        self._built: Sequence[object] = [source.content for source in self._sources]
        self._knowledge = self._build_knowledge()

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
        """Read every file that has changed; blocks, for seconds where a list is long. `gently` lets others run.

        Files that say what they said before make no other knowledge: what was answered by it need not be forgotten.
        """
        for source in self._sources:
            source.read(gently=gently)
        read = [source.content for source in self._sources]
        changed = [now is not before for now, before in zip(read, self._built, strict=True)]
        if any(changed[len(self._hosts) :]):
            self._blocks = self._build_blocks()
        if any(changed):
            self._knowledge = self._build_knowledge()
        self._built = read
        return self._knowledge

    async def watch(self, apply: Callable[[LocalKnowledge], None]) -> None:
        """Look at the files without end; give what they say to `apply`, in the event loop, when one has changed."""
        while True:
            await trio.sleep(LOOK_SECONDS)
            if await trio.to_thread.run_sync(self._have_changed, abandon_on_cancel=True) or self._is_behind:
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
    def _sources(self) -> tuple[WatchedFile[Hosts] | WatchedFile[ListFile], ...]:
        return (*self._hosts, *self._blocking, *self._allowing)

    def _build_knowledge(self) -> LocalKnowledge:
        """What the configuration and the files say now."""
        return LocalKnowledge(
            special=self._special,
            hosts=merge_hosts(source.content for source in self._hosts if source.content is not None),
            records=self._records,
            blocks=self._blocks,
            block_aliases=self._options.block_aliases,
            guard=self._guard,
            counts=self._counts,
            report=self._report,
        )

    def _build_blocks(self) -> BlockLists | None:
        """The lists that could be read; None where none blocks anything."""
        blocking = [
            (source.content, entry.answer)
            for source, entry in zip(self._blocking, self._options.block_lists, strict=True)
            if source.content is not None
        ]
        allowing = [source.content for source in self._allowing if source.content is not None]
        return BlockLists.build(blocking, allowing, self._secret) if blocking else None

    @property
    def _is_behind(self) -> bool:
        """Whether something was read of which nothing is in force yet."""
        return any(source.content is not built for source, built in zip(self._sources, self._built, strict=True))

    def _have_changed(self) -> bool:
        """Whether a file is another one than was read, and has settled."""
        return any([source.has_changed() for source in self._sources])  # noqa: C419 - each must look


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
