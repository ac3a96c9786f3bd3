"""What DHCP clients write down of a network's DNS servers: the addresses in a file's octets. Pure; never raises.

    networkd    KEY=value lines of systemd-networkd: DNS=192.168.1.1 192.168.1.2
    dhclient    dhclient.leases(5): blocks, of which the last one of an interface counts, unless it has expired
    dhcp        resolv.conf(5) as a DHCP client or NetworkManager writes it
    resolv.conf the same as others write it, who may have it from anywhere: its public addresses do not count

What is no address, and what follows a mistake, is left out; whether an address may be asked is said elsewhere.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

_SERVERS: Final = (["option", "domain-name-servers"], ["option", "dhcp6.name-servers"])


def networkd(text: str, _now: datetime) -> Iterator[str]:
    """Of a file in /run/systemd/netif/leases."""
    for line in text.split("\n"):
        key, _, value = line.partition("=")
        if key.strip() == "DNS":
            yield from value.split()


def dhclient(text: str, now: datetime) -> Iterator[str]:
    """Of the leases that have not expired, the last one of each interface."""
    last: dict[str, _Block] = {}
    block: _Block | None = None
    for line in text.split("\n"):
        words = line.replace(";", " ").split()
        if words[:1] in (["lease"], ["lease6"]):
            block = _Block()
        elif block is not None and line.startswith("}"):
            last[block.interface] = block
            block = None
        elif block is not None:
            block.take(words)
    for found in last.values():
        if not _has_expired(found.expires, now):
            yield from found.servers


def resolv_conf(text: str, _now: datetime) -> Iterator[str]:
    """Of the `nameserver` lines."""
    for line in text.split("\n"):
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            yield words[1]


Format = Callable[[str, datetime], Iterator[str]]

FORMATS: Final[Mapping[str, Format]] = {
    "networkd": networkd,
    "dhclient": dhclient,
    "dhcp": resolv_conf,
    "resolv.conf": resolv_conf,
}


@dataclass(slots=True)
class _Block:
    """One lease in dhclient's file."""

    interface: str = ""
    servers: list[str] = field(default_factory=list)
    expires: list[str] = field(default_factory=list)

    def take(self, words: list[str]) -> None:
        """A line's words."""
        if words[:1] == ["interface"]:
            self.interface = "".join(words[1:2])
        elif words[:2] in _SERVERS:
            self.servers += " ".join(words[2:]).replace(",", " ").split()
        elif words[:1] == ["expire"]:
            self.expires = words[1:]


def _has_expired(expires: list[str], now: datetime) -> bool:
    """Whether a lease has ended; a time that cannot be is in the past.

    It is "2 2026/11/24 09:13:05" by UTC, "epoch 1795511585 # ...", "never", or nothing in a lease of DHCPv6.
    """
    try:
        match expires:
            case [] | ["never", *_]:
                return False
            case ["epoch", seconds, *_]:
                return int(seconds) <= now.timestamp()
            case [_, date, time, *_]:
                return datetime.strptime(f"{date} {time}", "%Y/%m/%d %H:%M:%S").replace(tzinfo=UTC) <= now
    except ValueError:
        return True
    return True
