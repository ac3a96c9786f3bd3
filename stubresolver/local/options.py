"""The `[local]` part of the configuration."""

from typing import Annotated, Literal

import msgspec

Action = Literal["nxdomain", "nodata", "zero", "refused"]

_Zone = Annotated[str, msgspec.Meta(min_length=1, max_length=254)]


class BlockList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One block list: a file, and what is answered for the names in it."""

    file: Annotated[str, msgspec.Meta(min_length=1)]
    # NXDOMAIN ends a client's search at once; "zero" is what some programs take better than a name that is not there.
    answer: Action = "nxdomain"


class LocalOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known here without asking anybody."""

    special: dict[str, bool] = {}  # where it differs from `special.DEFAULTS`
    hosts: Annotated[tuple[str, ...], msgspec.Meta(max_length=16)] = ("/etc/hosts",)  # hosts(5)
    records: str = ""  # zone-file text (RFC 1035 s5)
    block_lists: Annotated[tuple[BlockList, ...], msgspec.Meta(max_length=64)] = ()
    allow_lists: Annotated[tuple[str, ...], msgspec.Meta(max_length=64)] = ()
    # A tracker's name behind an alias of the site's own ("CNAME cloaking") is blocked as if it had been asked for.
    block_aliases: bool = True
    # The names of time servers and portal tests (`emergency`) have an answer when no upstream can be used.
    emergency: bool = True
    rebinding: bool = True  # refuse private addresses of public names
    rebinding_allow: Annotated[tuple[_Zone, ...], msgspec.Meta(max_length=1024)] = ()  # zones that may have them
