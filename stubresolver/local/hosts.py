"""Hosts files: addresses with their names, one line each (hosts(5), RFC 952 in spirit). Pure.

    IP_address canonical_hostname [aliases...]   # comment

A name has all the addresses of all its lines, A or AAAA, and no other record: it is answered here whole, so that
nothing of another origin is mixed in (an HTTPS record of the public name would lead around the line). An address has
the first name of its first line. A line that cannot be used is told by file and number, and skipped; the others hold.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv6Address
from typing import Final

from stubresolver.local.names import host_name
from stubresolver.local.replies import FILE_TTL, negative, positive, record
from stubresolver.wire.codes import AAAA, NOERROR, PTR, A
from stubresolver.wire.query import Query

_MOST_ADDRESSES: Final = 1000  # of a name in one file; a message of 64 KiB holds a few more
_TOLD: Final = 20  # problems of one file that are told one by one; more are counted
_DECIMAL: Final = {str(octet).encode(): octet for octet in range(256)}  # no leading zeros: some read them as octal
_HEX: Final = {octet: nibble for nibble, octet in enumerate(b"0123456789abcdef")}
_V4_REVERSE: Final = b"\x07in-addr\x04arpa\0"
_V6_REVERSE: Final = b"\x03ip6\x04arpa\0"


@dataclass(frozen=True, slots=True)
class Hosts:
    """What one or more hosts files say."""

    addresses: dict[bytes, tuple[bytes, ...]] = field(default_factory=dict)  # by name; of 4 or of 16 octets
    names: dict[bytes, bytes] = field(default_factory=dict)  # by address; the canonical one
    problems: tuple[str, ...] = ()

    def reply(self, query: Query, found: tuple[bytes, ...]) -> bytes:
        """The reply for a name with these addresses."""
        octets = {A: 4, AAAA: 16}.get(query.type)
        records = [record(query.type, FILE_TTL, address) for address in found if len(address) == octets]
        if records:
            return positive(query, b"".join(records), len(records))
        return negative(query, NOERROR, 0, FILE_TTL)

    def reverse_reply(self, query: Query, name: bytes) -> bytes | None:
        """The reply for the reverse name of an address that has a line; None for all others."""
        address = address_of(name)
        found = self.names.get(address) if address is not None else None
        if found is None:
            return None
        if query.type == PTR:
            return positive(query, record(PTR, FILE_TTL, found), 1)
        return negative(query, NOERROR, 0, FILE_TTL)


def parse_hosts(octets: bytes, file: str) -> Hosts:
    """Read one hosts file; raises nothing, whatever the octets."""
    addresses: dict[bytes, dict[bytes, None]] = {}  # in the file's order, each once
    names: dict[bytes, bytes] = {}
    problems: list[str] = []
    known: dict[bytes, bytes | None] = {}  # a file that blocks names the same address again and again
    for number, line in enumerate(octets.split(b"\n"), 1):
        fields = line.partition(b"#")[0].split()
        if not fields:
            continue
        text = fields[0]
        if text not in known:
            known[text] = _address(text)
        address = known[text]
        if address is None:
            problems.append(f"{file}:{number}: {_shown(text)} is no IP address that a record can hold")
            continue
        if len(fields) == 1:
            problems.append(f"{file}:{number}: an address without a name")
        for written in fields[1:]:
            name = host_name(written)
            if name is None:
                problems.append(f"{file}:{number}: {_shown(written)} is no host name in ASCII")
                continue
            found = addresses.setdefault(name, {})
            if len(found) < _MOST_ADDRESSES:
                found[address] = None
            elif address not in found:
                problems.append(f"{file}:{number}: {_shown(written)} has {_MOST_ADDRESSES:,} addresses already")
            names.setdefault(address, name)
    told = tuple(_bounded(problems, file))
    return Hosts({name: tuple(found) for name, found in addresses.items()}, names, told)


def merge_hosts(files: Iterable[Hosts]) -> Hosts:
    """What several files say together; where they differ on an address's name, the first one's holds."""
    addresses: dict[bytes, tuple[bytes, ...]] = {}
    names: dict[bytes, bytes] = {}
    problems: list[str] = []
    for hosts in files:
        for name, found in hosts.addresses.items():
            addresses[name] = tuple(dict.fromkeys(addresses.get(name, ()) + found))
        names = hosts.names | names
        problems += hosts.problems
    return Hosts(addresses, names, tuple(problems))


def address_of(name: bytes) -> bytes | None:
    """The address whose reverse name this is (RFC 1035 s3.5, RFC 3596 s2.5), None where it is none."""
    labels = list(_labels(name))
    if name.endswith(_V4_REVERSE) and len(labels) == 6:
        return _address(b".".join(reversed(labels[:4])))
    if name.endswith(_V6_REVERSE) and len(labels) == 34:
        nibbles = [_HEX.get(label[0]) if len(label) == 1 else None for label in reversed(labels[:32])]
        if None not in nibbles:
            return bytes.fromhex("".join(f"{nibble:x}" for nibble in nibbles))
    return None


def _labels(name: bytes) -> Iterator[bytes]:
    """The labels of a name in wire format, without the root's."""
    position = 0
    while length := name[position]:
        yield name[position + 1 : position + 1 + length]
        position += length + 1


def _address(text: bytes) -> bytes | None:
    """An address as it stands in a record. One with a zone ("fe80::1%eth0") has no meaning in the DNS."""
    try:
        if b":" in text:
            return None if b"%" in text else IPv6Address(text.decode("ascii")).packed
        octets = bytes([_DECIMAL[octet] for octet in text.split(b".")])
    except (AddressValueError, UnicodeDecodeError, KeyError):
        return None
    return octets if len(octets) == 4 else None


def _shown(octets: bytes) -> str:
    """What was got, short and printable."""
    return repr(octets[:40].decode("ascii", "replace"))


def _bounded(problems: list[str], file: str) -> Iterator[str]:
    """The first problems, and how many more there are."""
    yield from problems[:_TOLD]
    if len(problems) > _TOLD:
        yield f"{file}: {len(problems) - _TOLD} more lines like these"
