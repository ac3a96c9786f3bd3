"""From files to values: the configuration, the policy with its anchors, the log list.

Only composes: each module owns its options and their defaults, this one reads the file, refuses what nobody knows, and
says where an error stands. No file is needed; without one everything has its default.
"""

import importlib.resources
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, TypeVar

import certifi
import msgspec

from stubresolver.audit.options import AuditOptions
from stubresolver.cache import CacheOptions
from stubresolver.ct import LogList
from stubresolver.errors import BadInput, ConfigError
from stubresolver.forward import ForwardOptions, ForwardZone, parse_forward
from stubresolver.local import LocalOptions
from stubresolver.resolve import ResolverOptions
from stubresolver.serve import ListenAddress, ListenOptions, parse_listen_address
from stubresolver.upstream import Upstream, UpstreamOptions, parse_upstream
from stubresolver.verify import (
    Policy,
    UnreadableCertificate,
    certificates_from_pem,
    config_error,
    read_policy,
)
from stubresolver.verify.certificate import read_certificate

DEFAULT_FILE = Path("/etc/stubresolver/stubresolver.toml")  # read if it is there and no other is named
LOG_LIST_FILE = Path("/etc/stubresolver/log_list.json")  # in force if it is there and no other is named

# Cloudflare's resolver, by address; one.one.one.one answers DoT, cloudflare-dns.com DoH (developers.cloudflare.com,
# "Encryption"). DoT first because it costs a third of the processor time per query that DoH does.
DEFAULT_UPSTREAMS = (
    "tls://1.1.1.1#one.one.one.one",
    "tls://1.0.0.1#one.one.one.one",
    "tls://[2606:4700:4700::1111]#one.one.one.one",
    "tls://[2606:4700:4700::1001]#one.one.one.one",
    "https://1.1.1.1/dns-query#cloudflare-dns.com",
    "https://1.0.0.1/dns-query#cloudflare-dns.com",
    "https://[2606:4700:4700::1111]/dns-query#cloudflare-dns.com",
    "https://[2606:4700:4700::1001]/dns-query#cloudflare-dns.com",
)

# Where distributions keep the system's store as one file, the places that Go's crypto/x509 looks at (root_linux.go).
SYSTEM_STORES = (
    Path("/etc/ssl/certs/ca-certificates.crt"),  # Debian, Ubuntu, Arch, Gentoo: update-ca-certificates(8)
    Path("/etc/pki/tls/certs/ca-bundle.crt"),  # Fedora, RHEL: update-ca-trust(8)
    Path("/etc/ssl/ca-bundle.pem"),  # openSUSE
    Path("/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"),  # CentOS, RHEL
    Path("/etc/ssl/cert.pem"),  # Alpine
)

_T = TypeVar("_T")


class TrustOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[trust]` part: which files say whom to trust. A relative path counts from the configuration's folder."""

    policy: str = ""  # a policy file on top of the shipped one; "" for the shipped one alone
    log_list: str = ""  # a log list in the v3 schema; "" for LOG_LIST_FILE if it is there, else the shipped one
    upstreams: dict[str, str] = {}  # upstream: a policy file of its own, instead of `policy`


class EvidenceOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[evidence]` part: where judgements are kept."""

    file: str = ""  # "": evidence.sqlite3 in the state folder ($STATE_DIRECTORY, /var/lib/stubresolver or the user's)


class LogsOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[logs]` part: what `logs update` does where its command line does not say otherwise."""

    sources: Annotated[tuple[str, ...], msgspec.Meta(max_length=16)] = ()  # files, https URLs, "shipped"
    keys: Annotated[tuple[str, ...], msgspec.Meta(max_length=16)] = ()  # files; a signature by one of them vouches
    # Independent sources that must list a log alike. Two: one publisher alone can then neither err nor be forced.
    quorum: Annotated[int, msgspec.Meta(ge=1, le=16)] = 2


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The configuration file: every part optional, every key known."""

    upstreams: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=64)] = DEFAULT_UPSTREAMS
    listen: ListenOptions = ListenOptions()
    upstream: UpstreamOptions = UpstreamOptions()
    resolver: ResolverOptions = ResolverOptions()
    cache: CacheOptions = CacheOptions()
    local: LocalOptions = LocalOptions()
    forward: Annotated[tuple[ForwardOptions, ...], msgspec.Meta(max_length=1024)] = ()
    trust: TrustOptions = TrustOptions()
    evidence: EvidenceOptions = EvidenceOptions()
    logs: LogsOptions = LogsOptions()
    audit: AuditOptions = AuditOptions()


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
        return self.log_list_file or LOG_LIST_FILE

    def with_trust(self, policy_file: Path | None, log_list_file: Path | None) -> "Settings":
        """These settings with a policy instead of all that they name, and with a log list, where these are given."""
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
        tables = tomllib.loads(octets.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(name, "", f"not UTF-8 text (octet {error.start})") from None
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, and numbers or nesting beyond Python's limits
        raise ConfigError(name, "", f"not TOML: {error}") from None
    try:
        document = msgspec.convert(tables, _File)
    except msgspec.ValidationError as error:
        raise config_error(name, error) from None
    upstreams = tuple(
        _parsed(parse_upstream, text, name, f"upstreams[{index}]") for index, text in enumerate(document.upstreams)
    )
    if len(set(upstreams)) < len(upstreams):
        raise ConfigError(name, "upstreams", "the same upstream stands there twice")
    addresses = tuple(
        _parsed(parse_listen_address, text, name, f"listen.addresses[{index}]")
        for index, text in enumerate(document.listen.addresses)
    )
    if len(set(addresses)) < len(addresses):
        raise ConfigError(name, "listen.addresses", "the same address stands there twice")
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


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """A policy and where it came from."""

    policy: Policy
    source: str  # the file, or "the shipped policy"
    anchors: str  # whose roots: a file, "certifi", or the system's store
    warning: str = ""  # what to know about the anchors


def load_policy(path: Path | None, anchors: Path | None = None) -> Policy:
    """The policy of `load_policy_file` alone."""
    return load_policy_file(path, anchors).policy


def load_policy_file(path: Path | None, anchors: Path | None = None) -> LoadedPolicy:
    """The policy with its anchors: `path` on top of the shipped one, `anchors` a PEM file instead of the policy's own.

    Raises `ConfigError` that names file and key.
    """
    shipped = read_shipped("policy.toml")
    name = str(path) if path else "the shipped policy"
    policy = read_policy(shipped, read_file(path, "trust.policy") if path else None, name)
    whose, warning = policy.anchors, ""
    if anchors is not None:
        certificates, whose = _read_anchors(anchors, str(anchors), ""), str(anchors)
    elif policy.anchors == "certifi":
        certificates = _read_anchors(certifi_file(name, "anchors.source"), name, "anchors.source")
    elif policy.anchors == "system":
        store = _system_store(name)
        certificates, whose = _read_anchors(store, name, "anchors.source"), f"the system's store, {store}"
        warning = (
            f"{name}: anchors.source: the {len(certificates)} roots are this machine's own store, {store}: whoever "
            "administers it, and any product that installs a root, such as an inspecting proxy, has a say in it"
        )
    else:
        file = (path.parent if path else Path()) / policy.anchors
        certificates, whose = _read_anchors(file, name, "anchors.source"), str(file)
    return LoadedPolicy(policy.with_anchors(certificates), name, whose, warning)


def load_log_list(path: Path | None) -> LogList:
    """The pinned log list: of the file that is named, else of `LOG_LIST_FILE`, else the shipped one.

    Raises `ConfigError`. A file that lies there and cannot be used is never passed over: whoever put it there, or broke
    it, must not bring another list in force unseen.
    """
    file = installed_log_list(path)
    octets = read_file(file, "trust.log_list") if file else read_shipped("log_list.json")
    try:
        return LogList.parse(octets)
    except BadInput as error:
        raise ConfigError(str(file or "the shipped log list"), "", f"{error}{_way_out(path, file)}") from None


def installed_log_list(path: Path | None) -> Path | None:
    """The file that is the list in force, None for the shipped list; a link that leads nowhere is a file, too."""
    if path is not None:
        return path
    try:
        LOG_LIST_FILE.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return LOG_LIST_FILE  # reading it will say what is wrong
    return LOG_LIST_FILE


def certifi_file(name: str, key: str) -> Path:
    """The file that ships inside certifi; raises `ConfigError` where somebody has put the system's store in its place.

    Debian's and Fedora's packages of certifi do that, and so do add-ons like pip-system-certs and certifi-linux.
    """
    file = Path(certifi.where()).resolve()
    if file.parent != Path(certifi.__file__).resolve().parent:
        problem = f"this machine's certifi points to {file}, which is not Mozilla's roots as certifi ships them"
        raise ConfigError(name, key, f"{problem}: install certifi from PyPI, or name a PEM file")
    return file


def web_anchors(settings: Settings, given: Path | None = None) -> Path:
    """The PEM file with the roots by whose word the logs' web servers are known; raises `ConfigError`.

    The one that is given, else the configuration's, else certifi's own: by the system's store an inspecting proxy could
    answer for every log.
    """
    key = "" if given is not None else "audit.anchors"
    file = given or settings.audit_anchors
    if file is None:
        return certifi_file(settings.source, key)
    _read_anchors(file, str(file) if given is not None else settings.source, key)
    return file


def read_file(path: Path, key: str) -> bytes:
    """The octets of a file that `key` names; raises `ConfigError`."""
    try:
        if path.exists() and not path.is_file():  # a FIFO would be waited for without end
            raise ConfigError(str(path), key, "cannot be read: not a regular file")
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(str(path), key, f"cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # a NUL in the path
        raise ConfigError(repr(str(path)), key, f"cannot be read: {error}") from None


def read_shipped(name: str) -> bytes:
    """A file that ships inside the package; raises `ConfigError` (no descriptor left, a broken installation)."""
    try:
        return importlib.resources.files("stubresolver").joinpath("data", name).read_bytes()
    except OSError as error:
        raise ConfigError(f"the shipped {name}", "", f"cannot be read: {error.strerror or error}") from None


def _way_out(named: Path | None, file: Path | None) -> str:
    """What a person can do about an installed list that does not read."""
    ways = []
    if file is not None and file.with_name(f"{file.name}.previous").is_file():
        ways.append("`stubresolver logs rollback` brings the list before it back")
    if file is not None and named is None:
        ways.append("without this file the shipped list is in force")
    return "".join(f"; {way}" for way in ways)


def _system_store(name: str) -> Path:
    """The file that holds the system's store; raises `ConfigError` where there is none."""
    for file in SYSTEM_STORES:
        if file.is_file():
            return file
    places = ", ".join(map(str, SYSTEM_STORES))
    raise ConfigError(name, "anchors.source", f"the system's store is not there, none of {places}: name a PEM file")


def _read_anchors(path: Path, name: str, key: str) -> tuple[bytes, ...]:
    """The certificates of a PEM file; raises `ConfigError`."""
    try:
        anchors = certificates_from_pem(read_file(path, key))
        for der in anchors:
            read_certificate(der)  # the judge reads more strictly than PEM is read: told now, with the file's name
    except UnreadableCertificate as error:
        raise ConfigError(name, key, f"{path}: {error}" if key else str(error)) from None
    return anchors


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
            raise ConfigError(name, key, "expected one of `upstreams`, and this is none of them")
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
