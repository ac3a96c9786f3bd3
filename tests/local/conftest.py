"""What the tests of local knowledge share: a query as a client sends it, and a reply as dnspython reads it."""

import dns.message
import pytest

from stubresolver.wire.edns import upstream_query
from stubresolver.wire.query import Query


@pytest.fixture
def query():
    """Make the query of a client."""

    def make(name, kind="A", **edns) -> Query:
        edns.setdefault("use_edns", 0)
        return Query(dns.message.make_query(name, kind, id=9, **edns).to_wire())

    return make


@pytest.fixture
def answer():
    """Make what an upstream answers: zone-file lines of the answer section."""

    def make(query: Query, *lines: str, rcode: int = 0) -> tuple[bytes, bytes]:
        asked = upstream_query(query)
        message = dns.message.make_response(dns.message.from_wire(asked), recursion_available=True)
        message.set_rcode(rcode)
        for line in lines:
            owner, ttl, klass, kind, rdata = line.split(" ", 4)
            message.answer.append(dns.rrset.from_text(owner, int(ttl), klass, kind, rdata))
        return message.to_wire(), asked

    return make


@pytest.fixture
def read():
    """Read a reply; its extended errors as (code, text)."""

    def parse(reply: bytes | None):
        if reply is None:
            return None
        message = dns.message.from_wire(reply)
        message.ede = [(option.code, option.text) for option in message.options if option.otype == 15]
        return message

    return parse
