"""Which files judge an upstream, and how it is named with its provider, for the commands that tell of it."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import click

from stubresolver.config import PolicySource, Settings
from stubresolver.errors import BadInput
from stubresolver.forward import zone_of
from stubresolver.upstream import Upstream

provider_option = click.option(
    "--provider",
    "providers",
    multiple=True,
    metavar="NAME|FILE",
    help="The upstreams of this provider instead of the configured ones, by its own demands: cloudflare, google, quad9 "
    "or a file. Repeatable.",
)


def policy_source_of(settings: Settings, upstream: str) -> PolicySource:
    """Which files judge an upstream; one that is not configured is judged by everybody's policy."""
    known = {str(each): each for each in settings.all_upstreams}
    return settings.policy_of(known[upstream]) if upstream in known else PolicySource(settings.policy_file)


def files_of(source: PolicySource) -> tuple[Path, ...]:
    """Those of them that a person can change."""
    own = None if source.profile is None else source.profile.path
    return tuple(path for path in (source.file, own) if path is not None)


def told_upstream(settings: Settings, upstream: Upstream) -> str:
    """An upstream, with its provider, or with the zones that it is asked for where these are not all."""
    if profile := settings.profile_of(upstream):
        return f"{profile.name}: {upstream}"
    zone = zone_of(settings.forward, upstream)
    return str(upstream) if zone is None else f"forward {zone}: {upstream}"


def told_upstreams(settings: Settings) -> dict[str, str]:
    """The same for all of them, by how they are written."""
    return {str(upstream): told_upstream(settings, upstream) for upstream in settings.all_upstreams}


def asking(settings: Settings, upstreams: Sequence[Upstream], providers: Sequence[str]) -> Settings:
    """The settings with what a command line wants asked instead, if it names any; raises `ConfigError`."""
    if providers:
        settings = settings.of_providers(providers)
        upstreams = (*settings.upstreams, *upstreams)
    return settings.asking(upstreams) if upstreams else settings


def parse_address(text: str) -> IPv4Address | IPv6Address:
    """What --address says; raises `BadInput`."""
    try:
        return ip_address(text)
    except ValueError:
        raise BadInput(f"--address {text!r} is not an IP address") from None
