"""The configuration file as values.

Only composes: each module owns its options and their defaults, this one reads the file, refuses what nobody knows, and
says where an error stands. No file is needed; without one everything has its default.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import TypeVar

import msgspec

from stubresolver.audit.options import AuditOptions
from stubresolver.cache import CacheOptions
from stubresolver.config import log_list
from stubresolver.config.files import read_file
from stubresolver.config.grouping import group
from stubresolver.config.options import DEFAULT_UPSTREAMS, Document, LogsOptions
from stubresolver.config.profiles import Profile, read_profiles
from stubresolver.errors import BadInput, ConfigError
from stubresolver.forward import ForwardZone, Place, PortalOptions, parse_forward, parse_places
from stubresolver.local import LocalOptions
from stubresolver.resolve import ResolverOptions
from stubresolver.serve import ListenAddress, ListenOptions, parse_listen_address
from stubresolver.upstream import Upstream, UpstreamOptions, parse_upstream
from stubresolver.verify import config_error, key_lines, line_of, read_policy_tables

DEFAULT_FILE = Path("/etc/stubresolver/stubresolver.toml")  # read if it is there and no other is named

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class PolicySource:
    """Which files make a policy, on top of the shipped one: a person's, and over it a provider's."""

    file: Path | None = None
    profile: Profile | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that a person can say in the configuration file, checked."""

    source: str = "defaults"  # the file that it came from
    upstreams: tuple[Upstream, ...] = tuple(parse_upstream(text) for text in DEFAULT_UPSTREAMS)
    addresses: tuple[ListenAddress, ...] = tuple(parse_listen_address(text) for text in ListenOptions().addresses)
    listen: ListenOptions = field(default_factory=ListenOptions)
    upstream: UpstreamOptions = field(default_factory=UpstreamOptions)
    resolver: ResolverOptions = field(default_factory=ResolverOptions)
    cache: CacheOptions = field(default_factory=CacheOptions)
    local: LocalOptions = field(default_factory=LocalOptions)  # its files by their whole paths
    forward: tuple[ForwardZone, ...] = ()
    portal: tuple[Place, ...] = parse_places(PortalOptions())  # where the network's own servers are written down
    profiles: tuple[Profile, ...] = ()  # of the providers that are named; each brings some of `upstreams`
    policy_file: Path | None = None
    upstream_policies: Mapping[Upstream, Path] = field(default_factory=dict)  # of those that name their own
    log_list_file: Path | None = None
    evidence_file: Path | None = None
    log_sources: tuple[str, ...] = ()  # https URLs, "shipped", and paths
    log_keys: tuple[Path, ...] = ()
    quorum: int = LogsOptions().quorum
    audit: AuditOptions = field(default_factory=AuditOptions)
    audit_anchors: Path | None = None

    @property
    def all_upstreams(self) -> tuple[Upstream, ...]:
        """Everybody who is asked over TLS: for most names, then for the forward zones."""
        return (*self.upstreams, *(upstream for zone in self.forward for upstream in zone.upstreams))

    @property
    def providers(self) -> Mapping[Upstream, str]:
        """Whose each of `upstreams` is: by the provider's file, or as `group` finds."""
        named = {upstream: profile.name for profile in self.profiles for upstream in profile.upstreams}
        written = group([upstream for upstream in self.upstreams if upstream not in named])
        return {upstream: named.get(upstream) or written[upstream] for upstream in self.upstreams}

    def profile_of(self, upstream: Upstream) -> Profile | None:
        """The provider that brings an upstream."""
        return next((profile for profile in self.profiles if upstream in profile.upstreams), None)

    def profile_at(self, address: IPv4Address | IPv6Address) -> Profile | None:
        """The provider that an address is of, an IPv4-mapped one too."""
        meant = getattr(address, "ipv4_mapped", None) or address
        return next((each for each in self.profiles if meant in {one.address for one in each.upstreams}), None)

    def policy_of(self, upstream: Upstream) -> PolicySource:
        """Which files make the policy that an upstream is judged by."""
        if upstream in self.upstream_policies:
            return PolicySource(self.upstream_policies[upstream])
        return PolicySource(self.policy_file, self.profile_of(upstream))

    @property
    def forwarded(self) -> frozenset[bytes]:
        """The names that have servers of their own, with everything below them."""
        return frozenset(name for zone in self.forward for name in zone.zones)

    @property
    def private_zones(self) -> frozenset[bytes]:
        """Those of them whose names may have private addresses."""
        return frozenset(name for zone in self.forward if zone.private for name in zone.zones)

    @property
    def log_list_target(self) -> Path:
        """The file that an update of the log list writes."""
        return self.log_list_file or log_list.LOG_LIST_FILE

    def asking(self, upstreams: Sequence[Upstream]) -> "Settings":
        """These settings with other upstreams for every name, which keep their policies where they are known here."""
        return replace(self, upstreams=tuple(dict.fromkeys(upstreams)), forward=())

    def of_providers(self, references: Sequence[str]) -> "Settings":
        """These settings with the upstreams of providers for every name; raises `ConfigError`."""
        profiles = read_profiles(references, "--provider", Path())
        upstreams = [upstream for profile in profiles for upstream in profile.upstreams]
        return replace(self.asking(upstreams), profiles=profiles)

    def with_trust(self, policy_file: Path | None, log_list_file: Path | None) -> "Settings":
        """These settings with a policy instead of all that they name, and with a log list, where these are given.

        What a provider's file demands is laid over that policy, too.
        """
        return replace(
            self,
            policy_file=policy_file or self.policy_file,
            upstream_policies={} if policy_file else self.upstream_policies,
            log_list_file=log_list_file or self.log_list_file,
        )


def load_settings(path: Path | None) -> Settings:
    """Read a configuration file; None reads the default one if it is there. Raises `ConfigError`."""
    if path is None:
        if not DEFAULT_FILE.exists():
            return Settings()
        path = DEFAULT_FILE
    return parse_settings(read_file(path, ""), str(path), path.parent)


def parse_settings(octets: bytes, name: str, folder: Path) -> Settings:
    """Read a configuration from its octets; `folder` is where relative paths count from. Raises `ConfigError`."""
    try:
        return _parse(octets, name, folder)
    except ConfigError as error:
        if error.file == name and error.key and (line := line_of(key_lines(octets.decode("utf-8")), error.key)):
            raise ConfigError(name, error.key, f"line {line}: {error.problem}") from None
        raise


def _parse(octets: bytes, name: str, folder: Path) -> Settings:
    """The same but for the line that an error stands on."""
    document = _read(octets, name)
    profiles = read_profiles(document.providers, name, folder)
    upstreams = _upstreams(document, profiles, name)
    addresses = _addresses(document, name)
    listening = [(str(address.address), address.port) for address in addresses]
    forward = parse_forward(document.forward, name, folder, upstreams, listening)
    own = {upstream: zone.policy_file for zone in forward if zone.policy_file for upstream in zone.upstreams}
    return Settings(
        source=name,
        upstreams=upstreams,
        addresses=addresses,
        listen=document.listen,
        upstream=document.upstream,
        resolver=document.resolver,
        cache=document.cache,
        local=_whole_paths(document.local, folder),
        forward=forward,
        portal=_parsed(lambda _: parse_places(document.portal), "", name, "portal.servers"),
        profiles=profiles,
        policy_file=folder / document.trust.policy if document.trust.policy else None,
        upstream_policies=_upstream_policies(document.trust.upstreams, upstreams, name, folder) | own,
        log_list_file=folder / document.trust.log_list if document.trust.log_list else None,
        evidence_file=folder / document.evidence.file if document.evidence.file else None,
        log_sources=tuple(
            text if "://" in text or text == "shipped" else str(folder / text) for text in document.logs.sources
        ),
        log_keys=tuple(folder / text for text in document.logs.keys),
        quorum=document.logs.quorum,
        audit=document.audit,
        audit_anchors=folder / document.audit.anchors if document.audit.anchors else None,
    )


def _read(octets: bytes, name: str) -> Document:
    """The tables of the file, each key known and of its type; raises `ConfigError`."""
    tables = read_policy_tables(octets, name)
    try:
        return msgspec.convert(tables, Document)
    except msgspec.ValidationError as error:
        raise config_error(name, error, tables, Document) from None


def _addresses(document: Document, name: str) -> tuple[ListenAddress, ...]:
    """Where to listen; raises `ConfigError`."""
    addresses = tuple(
        _parsed(parse_listen_address, text, name, f"listen.addresses[{index}]")
        for index, text in enumerate(document.listen.addresses)
    )
    if len(set(addresses)) < len(addresses):
        raise ConfigError(name, "listen.addresses", "the same address stands there twice")
    return addresses


def _upstreams(document: Document, profiles: Sequence[Profile], name: str) -> tuple[Upstream, ...]:
    """Who is asked for most names: those that are written, or those of the providers; raises `ConfigError`."""
    if profiles:
        if document.upstreams is not None:
            remedy = "say one of the two; a file of your own with `name` and `upstreams` is a provider, too"
            raise ConfigError(name, "upstreams", f"`providers` names who is asked already: {remedy}")
        return tuple(upstream for profile in profiles for upstream in profile.upstreams)
    texts = DEFAULT_UPSTREAMS if document.upstreams is None else document.upstreams
    upstreams = tuple(_parsed(parse_upstream, text, name, f"upstreams[{index}]") for index, text in enumerate(texts))
    if len(set(upstreams)) < len(upstreams):
        raise ConfigError(name, "upstreams", "the same upstream stands there twice")
    return upstreams


def _upstream_policies(
    table: Mapping[str, str], upstreams: Collection[Upstream], name: str, folder: Path
) -> dict[Upstream, Path]:
    """The policy files of the upstreams that name their own; raises `ConfigError`.

    An upstream that nobody asks is an error: a slip of the pen would leave another one under the wrong policy.
    """
    policies: dict[Upstream, Path] = {}
    for text, file in table.items():
        key = f'trust.upstreams."{text}"'
        upstream = _parsed(parse_upstream, text, name, key)
        if upstream not in upstreams:
            raise ConfigError(name, key, "expected one of `upstreams`, or of a provider's, and this is none of them")
        if upstream in policies:
            raise ConfigError(name, key, f"the same upstream, {upstream}, stands there twice")
        if not file:
            raise ConfigError(name, key, "expected the path of a policy file, got an empty text")
        policies[upstream] = folder / file
    return policies


def _whole_paths(local: LocalOptions, folder: Path) -> LocalOptions:
    """The same with the paths of its files counted from the configuration's folder."""
    lists = tuple(msgspec.structs.replace(entry, file=str(folder / entry.file)) for entry in local.block_lists)
    return msgspec.structs.replace(
        local,
        hosts=tuple(str(folder / file) for file in local.hosts),
        block_lists=lists,
        allow_lists=tuple(str(folder / file) for file in local.allow_lists),
    )


def _parsed(parse: Callable[[str], _T], text: str, name: str, key: str) -> _T:
    """One written value through its own parser, its error told with file and key."""
    try:
        return parse(text)
    except BadInput as error:
        raise ConfigError(name, key, str(error)) from None
