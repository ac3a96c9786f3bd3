"""Names that are answered when nothing else is: real addresses, honestly told, and no guess."""

from ipaddress import ip_address

import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.local.emergency import CLOCKS, POOL, PORTALS, TTL, emergency_reply
from stubresolver.wire.query import Query

_ROWS = [(name, row) for row in (*CLOCKS, *PORTALS) for name in row.names]


@pytest.fixture
def ask(query, read):
    """The parsed reply, None where the table has none."""
    return lambda name, kind="A", **edns: read(emergency_reply(query(name, kind, **edns)))


@pytest.mark.parametrize(("name", "row"), _ROWS)
@pytest.mark.parametrize("kind", ["A", "AAAA"])
def test_every_row_is_answered_as_it_is_written(ask, name, row, kind):
    """A family that is known is answered, one that is known to be empty is NODATA, any other is not answered."""
    known = row.v4 if kind == "A" else row.v6
    reply = ask(name, kind)
    if known is None:
        assert reply is None
        return
    assert reply.rcode() == 0
    assert sorted(str(rdata) for rrset in reply.answer for rdata in rrset) == sorted(map(str, map(ip_address, known)))
    assert all(rrset.ttl == TTL for rrset in (*reply.answer, *reply.authority))
    assert bool(reply.authority) is not bool(known)  # RFC 2308: NODATA has an SOA record
    assert reply.ede == [(29, "out of a fixed table, because no upstream can be used now")]


@pytest.mark.parametrize(("name", "row"), _ROWS)
def test_every_address_is_public_and_has_a_source(name, row):
    """Each row names its source; nothing in it leads into a private network, but for Microsoft's own test value."""
    assert row.source
    for address in map(ip_address, (*(row.v4 or ()), *(row.v6 or ()))):
        assert address.is_global or str(address) == "fd3e:4f5a:5b81::1", name
    assert all(ip_address(address).version == 4 for address in row.v4 or ())
    assert all(ip_address(address).version == 6 for address in row.v6 or ())


def test_a_name_stands_in_one_row():
    """No name has two truths."""
    names = [name for name, _ in _ROWS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "name", [POOL, "0.pool.ntp.org", "2.DEBIAN.pool.ntp.org", "de.pool.ntp.org", "a.b.c.pool.ntp.org"]
)
def test_the_pool_and_all_below_it(ask, name):
    """The pool of time servers, its numbers, countries and vendors have the addresses of members of it."""
    assert [str(rdata) for rdata in ask(name).answer[0]] == ["162.159.200.1", "162.159.200.123"]
    assert [str(rdata) for rdata in ask(name, "AAAA").answer[0]] == ["2606:4700:f1::1", "2606:4700:f1::123"]


@pytest.mark.parametrize(
    "name", ["www.pool.ntp.org", "ntp.org", "notpool.ntp.org", "xpool.ntp.org", "pool.ntp.org.evil.example", "example"]
)
def test_no_other_name(ask, name):
    """What only ends alike, by octets and not by labels, is not answered; the pool's web site is no time server."""
    assert ask(name) is None


@pytest.mark.parametrize("kind", ["TXT", "HTTPS", "SRV", "ANY", "SOA", "DS"])
def test_no_other_type(ask, kind):
    """What the table does not know it does not deny."""
    assert ask("time.cloudflare.com", kind) is None
    assert ask(POOL, kind) is None


def test_a_label_that_contains_the_pools_octets(query):
    """A label may hold any octet: one that spells the pool's name in wire form is no parent."""
    wire = b"\0\1\1\0\0\1\0\0\0\0\0\0" + b"\x0ex\x04pool\x03ntp\x03org" + b"\0" + b"\0\1\0\1"
    assert emergency_reply(Query(wire)) is None


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=8))
def test_any_name(labels):
    """Whatever is asked, the reply is none or a well-formed one."""
    name = b"".join(bytes((len(label),)) + label for label in labels) + b"\4pool\3ntp\3org\0"
    reply = emergency_reply(Query(b"\0\1\1\0\0\1\0\0\0\0\0\0" + name + b"\0\1\0\1"))
    assert reply is None or dns.message.from_wire(reply).answer
