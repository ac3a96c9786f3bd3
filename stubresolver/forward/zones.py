"""From `[[forward]]` tables to values: which zones, whom to ask, by which policy; what is wrong is told here.

What a person may not write: the root (that is what `upstreams` is for), the names of this machine itself (RFC 6761
s6.3), plain DNS to a public address, TLS and plain servers for the same zones, because where the first are refused the
second would be asked unverified, and our own listener.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stubresolver.errors import BadInput, ConfigError
from stubresolver.forward.options import ForwardOptions
from stubresolver.forward.ourselves import Listening, is_own
from stubresolver.local.names import zone_in, zone_name, zone_set
from stubresolver.upstream import Upstream, parse_upstream
from stubresolver.upstream.server import PlainServer, parse_server

FILE: Final = "resolv.conf:"

# RFC 6761 s6.3 and RFC 6303 s4.2: loopback on every machine, and nobody else's to say.
_OURS: Final = zone_set(("localhost", "127.in-addr.arpa", "1." + "0." * 31 + "ip6.arpa"))


@dataclass(frozen=True, slots=True)
class ForwardZone:
    """Zones with servers of their own: TLS ones, plain ones, or those that a file names."""

    names: tuple[str, ...]  # as the person wrote them
    zones: tuple[bytes, ...]  # in wire format, lower case
    upstreams: tuple[Upstream, ...] = ()
    servers: tuple[PlainServer, ...] = ()
    file: Path | None = None
    policy_file: Path | None = None
    max_ttl: int | None = None
    private: bool = True

    def __str__(self) -> str:
        shown = ", ".join(self.names[:3])
        return shown + (f" (+{len(self.names) - 3} more)" if len(self.names) > 3 else "")


def parse_forward(
    tables: Sequence[ForwardOptions],
    source: str,
    folder: Path,
    upstreams: Collection[Upstream] = (),
    listening: Listening = (),
) -> tuple[ForwardZone, ...]:
    """Read all tables; `folder` is where relative paths count from. Raises `ConfigError`.

    `upstreams` are those of all other names, `listening` our own hosts and ports.
    """
    found: list[ForwardZone] = []
    for index, table in enumerate(tables):
        try:
            zone = _read(table, folder, listening)
            _prove_apart(zone, found, upstreams)
        except BadInput as error:
            raise ConfigError(source, f"forward[{index}]", str(error)) from None
        found.append(zone)
    return tuple(found)


def zone_of(zones: Sequence[ForwardZone], upstream: Upstream) -> ForwardZone | None:
    """The zones that a TLS upstream is asked for; None for one that is asked for all others."""
    return next((zone for zone in zones if upstream in zone.upstreams), None)


def _prove_apart(zone: ForwardZone, earlier: Sequence[ForwardZone], upstreams: Collection[Upstream]) -> None:
    """Raise `BadInput` for a zone or an upstream that stands elsewhere, too."""
    zones = {wire for other in earlier for wire in other.zones}
    if again := [name for name, wire in zip(zone.names, zone.zones, strict=True) if wire in zones]:
        raise BadInput(f"{again[0]!r} stands in an earlier table, too")
    taken = {*upstreams, *(upstream for other in earlier for upstream in other.upstreams)}
    if shared := [upstream for upstream in zone.upstreams if upstream in taken]:
        raise BadInput(
            f"{shared[0]} is asked for other names, too; an upstream stands in one place, so that it has one policy: "
            "name all its zones in one table (`zones`)"
        )


def _read(table: ForwardOptions, folder: Path, listening: Listening) -> ForwardZone:
    """One table; raises `BadInput`."""
    names = (*(() if table.zone is None else (table.zone,)), *table.zones)
    if not names:
        raise BadInput('expected `zone = "corp.example"`, or several in `zones`')
    texts = (table.upstreams,) if isinstance(table.upstreams, str) else table.upstreams
    file = next((text.removeprefix(FILE) for text in texts if text.startswith(FILE)), None)
    if file is not None and len(texts) > 1:
        raise BadInput(f"{FILE}{file} stands alone, without other servers")
    if file == "":
        raise BadInput(f"expected the path of a file behind {FILE!r}")
    plain = file is not None or any(_is_plain(text) for text in texts)
    zones = tuple(_zone(name, plain=plain) for name in names)
    if len(set(zones)) < len(zones):
        raise BadInput("the same zone stands there twice")
    if plain and table.policy:
        raise BadInput(f"`policy = {table.policy!r}` would judge nobody: plain DNS has no certificates")
    path, policy = (None if text in (None, "") else folder / text for text in (file, table.policy))
    servers, upstreams = _servers([] if file is not None else texts, listening)
    return ForwardZone(names, zones, upstreams, servers, path, policy, table.max_ttl, table.private)


def _zone(name: str, *, plain: bool) -> bytes:
    """The zone in wire format; raises `BadInput` for one that may not be forwarded."""
    if name in ("", "."):
        raise BadInput(
            "the root is not forwarded: everything would be asked "
            + ("unencrypted, and of nobody who was verified" if plain else "here; name its servers in `upstreams`")
        )
    zone = zone_name(name)
    if zone_in(zone, _OURS) is not None:
        raise BadInput(f"{name!r} is this machine itself, by RFC 6761 s6.3, and nobody else is asked for it")
    return zone


def _is_plain(text: str) -> bool:
    return text.partition(":")[0] in ("udp", "tcp")


def _servers(texts: Sequence[str], listening: Listening) -> tuple[tuple[PlainServer, ...], tuple[Upstream, ...]]:
    """Plain servers and TLS ones, of which one is empty; raises `BadInput`."""
    servers = tuple(parse_server(text) for text in texts if _is_plain(text))
    upstreams = tuple(parse_upstream(text) for text in texts if not _is_plain(text))
    if servers and upstreams:
        raise BadInput(
            f"{upstreams[0]} and {servers[0]} do not go together: whoever stops the first has the second asked, "
            "which is neither encrypted nor verified"
        )
    if twice := next(_repeated([*servers, *upstreams]), None):
        raise BadInput(f"{twice} stands there twice")
    if own := next((server for server in servers if is_own(server, listening)), None):
        raise BadInput(f"{own} is this resolver itself, which would ask itself without end")
    return servers, upstreams


def _repeated(values: Sequence[object]) -> Iterator[object]:
    """Those that stand in the sequence more than once."""
    return (value for index, value in enumerate(values) if value in values[:index])
