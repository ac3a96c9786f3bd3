"""One source of an update: a list that was read, and what was checked before it is listened to. PURE.

Checked in this order, so that the reason named is the first that matters: size, signature, the list itself
(`read_list`), its date against the clock and against the list in force, and how much of that list it would keep.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from stubresolver.ct import Log, LogList
from stubresolver.errors import SourceRefused
from stubresolver.loglists.reading import MAXIMUM_LIST, Format, read_list
from stubresolver.loglists.shrinking import check_shrink
from stubresolver.loglists.signatures import SigningKey, verify_signature
from stubresolver.loglists.writing import write_list

_SHIPPED = "shipped"
# Lists are dated when they are made, and some publishers date them by the day in their own time zone.
_AHEAD = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Source:
    """A list that passed what can be asked of it alone; whether it is believed is `merge`'s business."""

    name: str  # as the person named it
    origin: str  # sources of one origin are one voice: `origin_of`
    format: Format
    version: str
    timestamp: datetime | None
    logs: Mapping[bytes, Log] = field(repr=False)
    vouched: str = ""  # by what: a key's name, or "shipped"; "": by nothing, it counts for the quorum only
    key: str = ""  # the fingerprint of the key that signed it, whether or not that vouches
    digest: str = ""  # SHA-256 over what the list says, however it is spaced or ordered


def origin_of(where: str) -> str:
    """Who is asked: the host of an https URL, whatever its port; of a file its path, which the caller has resolved."""
    if "://" not in where:
        return where
    try:
        host = (urlsplit(where).hostname or where).rstrip(".")
    except ValueError:  # brackets that are no IPv6 address
        return where
    try:
        address = ip_address(host)  # one address may be written in many ways
    except ValueError:
        return host
    return str((address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address)


def read_source(
    name: str,
    origin: str,
    octets: bytes,
    *,
    signature: bytes | None,
    keys: Sequence[SigningKey],
    current: LogList,
    now: datetime,
    force: bool = False,
    shipped: bool = False,
) -> Source:
    """Read one source and check it; raises `SourceRefused`. `force` takes one that lost more than a third."""
    if len(octets) > MAXIMUM_LIST:
        raise SourceRefused(f"too large: {len(octets)} octets, expected at most {MAXIMUM_LIST}")
    key = None if signature is None else _signer(octets, signature, keys)
    found = read_list(octets)
    if found.timestamp is not None:
        _check_date(found.timestamp, current.timestamp, now)
    if not force:
        check_shrink(found.logs, current, now)
    return Source(
        name=name,
        origin=origin,
        format=found.format,
        version=found.version,
        timestamp=found.timestamp,
        logs=found.logs,
        # A signature says who, not when: with no date in it, the list of a year ago is signed as well, and would make
        # logs count again that were retired since.
        vouched=_SHIPPED if shipped else key.name if key and found.timestamp else "",
        key=key.fingerprint if key else "",
        digest=hashlib.sha256(write_list("", found.timestamp or now.min, found.logs.values())).hexdigest(),
    )


def _signer(octets: bytes, signature: bytes, keys: Sequence[SigningKey]) -> SigningKey:
    """The key whose signature it is; where none fits, the reason of the only key, or that none of them does."""
    if not keys:
        raise SourceRefused("a signature, but no key to hold it against")
    problems = []
    for key in keys:
        try:
            verify_signature(key, octets, signature)
        except SourceRefused as problem:
            problems.append(str(problem))
        else:
            return key
    if len(problems) == 1:
        raise SourceRefused(problems[0])
    raise SourceRefused(f"mis-signed: by none of {', '.join(key.name for key in keys)}")


def _check_date(timestamp: datetime, in_force: datetime, now: datetime) -> None:
    if timestamp - now > _AHEAD:
        raise SourceRefused(
            f"dated in the future: {timestamp:%Y-%m-%dT%H:%M:%SZ}, while it is {now:%Y-%m-%dT%H:%M:%SZ} here; either "
            "the list's date or this machine's clock is wrong"
        )
    if timestamp < in_force:
        raise SourceRefused(
            f"older than the list in force: of {timestamp:%Y-%m-%dT%H:%M:%SZ}, expected "
            f"{in_force:%Y-%m-%dT%H:%M:%SZ} or later"
        )
