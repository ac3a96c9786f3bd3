"""The tables of the configuration file: those of other modules, and the few that only say where files are.

Only the shape: each module owns its options and their defaults, and `settings` makes values of them.
"""

from typing import Annotated

import msgspec

from stubresolver.audit.options import AuditOptions
from stubresolver.cache import CacheOptions
from stubresolver.forward import ForwardOptions, PortalOptions
from stubresolver.local import LocalOptions
from stubresolver.resolve import ResolverOptions
from stubresolver.serve import ListenOptions
from stubresolver.upstream import UpstreamOptions

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


class TrustOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[trust]` part: which files say whom to trust. A relative path counts from the configuration's folder."""

    policy: str = ""  # a policy file on top of the shipped one; "" for the shipped one alone
    log_list: str = ""  # a log list in the v3 schema; "" for LOG_LIST_FILE if it is there, else the shipped one
    upstreams: dict[str, str] = {}  # upstream: a policy file of its own, instead of `policy` and of its provider's


class EvidenceOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[evidence]` part: where judgements are kept."""

    file: str = ""  # "": evidence.sqlite3 in the state folder ($STATE_DIRECTORY, /var/lib/stubresolver or the user's)


class LogsOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[logs]` part: what `logs update` does where its command line does not say otherwise."""

    sources: Annotated[tuple[str, ...], msgspec.Meta(max_length=16)] = ()  # files, https URLs, "shipped"
    keys: Annotated[tuple[str, ...], msgspec.Meta(max_length=16)] = ()  # files; a signature by one of them vouches
    # Independent sources that must list a log alike. Two: one publisher alone can then neither err nor be forced.
    quorum: Annotated[int, msgspec.Meta(ge=1, le=16)] = 2


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The configuration file: every part optional, every key known."""

    upstreams: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=64)] | None = None  # DEFAULT_UPSTREAMS
    providers: Annotated[tuple[str, ...], msgspec.Meta(max_length=16)] = ()  # names of shipped ones, or paths
    listen: ListenOptions = ListenOptions()
    upstream: UpstreamOptions = UpstreamOptions()
    resolver: ResolverOptions = ResolverOptions()
    cache: CacheOptions = CacheOptions()
    local: LocalOptions = LocalOptions()
    forward: Annotated[tuple[ForwardOptions, ...], msgspec.Meta(max_length=1024)] = ()
    portal: PortalOptions = PortalOptions()
    trust: TrustOptions = TrustOptions()
    evidence: EvidenceOptions = EvidenceOptions()
    logs: LogsOptions = LogsOptions()
    audit: AuditOptions = AuditOptions()
