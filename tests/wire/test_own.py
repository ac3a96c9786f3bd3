"""ANY, and questions about the server."""

import dns.message
import dns.rdatatype
import pytest

from stubresolver.wire.own import CLASS_CH, any_reply, chaos_reply
from stubresolver.wire.query import Query


def ask(name, kind="TXT", klass="CH", **edns):
    return Query(
        dns.message.make_query(name, kind, klass, id=7, **edns).to_wire(), klass=CLASS_CH if klass == "CH" else b"\0\1"
    )


@pytest.mark.parametrize(("use_edns", "expected"), [(0, 0), (False, -1)])
def test_any(use_edns, expected):
    """RFC 8482 s4.2: one HINFO record, however small the client."""
    reply = dns.message.from_wire(any_reply(ask("Example.com", "ANY", "IN", use_edns=use_edns)))
    assert [rrset.to_text() for rrset in reply.answer] == ['Example.com. 3600 IN HINFO "RFC8482" ""']
    assert (reply.rcode(), reply.authority, reply.additional, reply.edns) == (0, [], [], expected)


@pytest.mark.parametrize("name", ["version.bind", "VERSION.server"])
def test_version(name):
    """RFC 4892 s2: the version is told to who asks for it, in class CHAOS and with a TTL of 0."""
    reply = dns.message.from_wire(chaos_reply(ask(name), "stubresolver 1", ""))
    assert [rrset.to_text() for rrset in reply.answer] == [f'{name}. 0 CH TXT "stubresolver 1"']


@pytest.mark.parametrize("name", ["id.server", "hostname.bind"])
def test_identity(name):
    """The identity is told if one was configured, and else refused with the reason: never the machine's name."""
    reply = dns.message.from_wire(chaos_reply(ask(name), "stubresolver 1", "kitchen"))
    assert [rrset.to_text() for rrset in reply.answer] == [f'{name}. 0 CH TXT "kitchen"']
    refusal = dns.message.from_wire(chaos_reply(ask(name, use_edns=0), "stubresolver 1", ""))
    assert (refusal.rcode(), refusal.answer) == (5, [])
    assert [(option.code, option.text) for option in refusal.options] == [(18, "no identity is configured")]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("version.bind", "A"), ("version.bind", "ANY"), ("authors.bind", "TXT"), ("a.version.bind", "TXT"), (".", "TXT")],
)
def test_all_else_is_refused(name, kind):
    """What else is asked in class CHAOS is refused, and says what is known."""
    refusal = dns.message.from_wire(chaos_reply(ask(name, kind, use_edns=0), "stubresolver 1", "kitchen"))
    assert (refusal.rcode(), refusal.answer) == (5, [])
    assert [option.code for option in refusal.options] == [21]


def test_long_identity_is_one_string():
    """RFC 1035 s3.3: a character-string has 255 octets at most."""
    reply = dns.message.from_wire(chaos_reply(ask("id.server"), "", "ü" * 255))
    (record,) = reply.answer[0]
    assert record.strings == (("ü" * 255).encode()[:255],)
