"""What must hold for files and for lines of the control socket, whoever wrote them."""

from contextlib import suppress
from hashlib import blake2b
from zlib import crc32

from stubresolver.cache.file import unpack
from stubresolver.control.names import wire_name
from stubresolver.control.protocol import read_request
from stubresolver.errors import BadInput
from stubresolver.forward.resolvconf import parse_resolv_conf
from stubresolver.local import BlockLists, ListFile, parse_hosts
from stubresolver.localfiles import parse_records
from stubresolver.upstream.server import parse_server
from stubresolver.wire.query import Query

_SECRET = b"0123456789abcdef"
_HEAD = b"stubresolver cache 1\n"


def check_hosts(octets: bytes) -> None:
    """A hosts file: whatever is in it, what is left are addresses with names."""
    hosts = parse_hosts(octets, "file")
    for name, addresses in hosts.addresses.items():
        assert 2 <= len(name) <= 255
        assert name.endswith(b"\0")
        assert all(len(address) in (4, 16) for address in addresses)
    assert all(problem.isprintable() for problem in hosts.problems)


def check_list(octets: bytes) -> None:
    """A block list: the same names however the file is cut, and each can be looked up."""
    whole, cut = ListFile("list", _SECRET), ListFile("list", _SECRET)
    whole.feed(octets)
    size = crc32(octets) % 61 + 1 + len(octets) // 16
    for start in range(0, len(octets), size):
        cut.feed(octets[start : start + size])
    for each in (whole, cut):
        each.close()
    assert (whole.entries, whole.exceptions) == (cut.entries, cut.exceptions)
    problems = list(whole.problems)
    assert problems == list(cut.problems)
    assert all(problem.isprintable() for problem in problems)
    lists = BlockLists.build([(whole, "nxdomain")], [], _SECRET)
    assert lists.blocked.names <= len(whole.entries)
    lists.find(b"\3ads\7example\0")


def check_records(octets: bytes) -> None:
    """Zone-file text of the configuration."""
    with suppress(BadInput):
        for record in parse_records(octets.decode("utf-8", "replace")):
            assert record.owner.endswith(b"\0")
            assert len(record.owner) <= 255


def check_cache(octets: bytes) -> None:
    """The kept cache: damaged, or with a digest that somebody made fit."""
    for written in (octets, _HEAD + blake2b(octets, digest_size=32).digest() + octets):
        with suppress(BadInput):
            for kept in unpack(written, "demands", 1000.0, 1_800_000_000.0):
                question = kept.key[:-1]
                assert Query(b"\0\0\1\0\0\1\0\0\0\0\0\0" + question).key[:-1] == question
                assert kept.answer.ttl >= 0


def check_control(octets: bytes) -> None:
    """A line to the control socket, and the name in it."""
    with suppress(BadInput):
        read_request(octets)
    with suppress(BadInput):
        name = wire_name(octets.decode("utf-8", "replace"))
        assert 1 <= len(name) <= 255
        assert name.endswith(b"\0")


def check_resolv_conf(octets: bytes) -> None:
    """A resolv.conf that another program wrote: private servers alone, at most three."""
    with suppress(BadInput):
        found = parse_resolv_conf("file", [octets])
        assert len(found.servers) <= 3
        assert not any(server.address.is_global for server in found.servers)
        assert all(problem.isprintable() for problem in found.problems)
    with suppress(BadInput):
        server = parse_server(octets.decode("utf-8", "replace"))
        assert parse_server(str(server)) == server
