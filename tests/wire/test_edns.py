"""What goes upstream, and replies with extended errors."""

import struct

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stubresolver.wire.edns import (
    Failure,
    UpstreamForm,
    error_reply,
    short_reply,
    upstream_query,
    upstream_query_of,
)
from stubresolver.wire.opt import extended_error, extended_errors, option
from stubresolver.wire.query import Query


def make(name="www.Example.com", *, edns=0, want_dnssec=False, payload=1232, flags=dns.flags.RD, options=None):
    message = dns.message.make_query(
        name, "A", id=0x1234, use_edns=edns, want_dnssec=want_dnssec, payload=payload, options=options, flags=flags
    )
    return Query(message.to_wire())


@settings(max_examples=200, deadline=None)
@given(
    st.from_type(dns.name.Name), st.booleans(), st.booleans(), st.sampled_from([0, 0x100, 0x120, 0x110, 0x130, 0x5B0])
)
def test_upstream_query(name, edns, dnssec_ok, flags):
    """Upstream gets id 0, the question in lower case, RD, AD, CD and DO as asked, one padded OPT and nothing else."""
    message = dns.message.make_query(
        name, "AAAA", use_edns=0 if edns else False, want_dnssec=edns and dnssec_ok, flags=flags
    )
    wire = upstream_query(Query(message.to_wire()))
    assert len(wire) % 128 == 0
    sent = dns.message.from_wire(wire)
    assert sent.id == 0
    assert sent.question[0].name.to_wire() == name.to_wire().lower()
    assert sent.flags == flags & 0x0130
    assert sent.edns == 0
    assert sent.ednsflags == (0x8000 if edns and dnssec_ok else 0)
    assert [option.otype for option in sent.options] == [12]
    assert not any(sent.options[0].to_wire())


def test_nothing_of_the_client_goes_upstream():
    """Client subnet and cookie stay here, and two clients that ask the same send the same octets."""
    subnet = dns.edns.ECSOption("192.0.2.0", 24)
    cookie = dns.edns.GenericOption(10, b"12345678")
    assert upstream_query(make(options=[subnet, cookie])) == upstream_query(make("WWW.example.COM", payload=4096))


def test_error_reply():
    """An EDNS client reads RCODE, INFO-CODE and text; its question's letter case and id are its own."""
    query = make(want_dnssec=True, flags=dns.flags.RD | dns.flags.CD)
    reply = dns.message.from_wire(error_reply(query, 2, 22, "ct.operators: 1 of 2 (Cloudflare)"))
    assert reply.id == 0x1234
    assert reply.rcode() == dns.rcode.SERVFAIL
    assert str(reply.question[0].name) == "www.Example.com."
    assert reply.flags & 0xFFF0 == dns.flags.QR | dns.flags.RD | dns.flags.RA | dns.flags.CD
    assert reply.ednsflags == 0x8000
    assert [(option.code, option.text) for option in reply.options] == [(22, "ct.operators: 1 of 2 (Cloudflare)")]


def test_error_reply_without_edns():
    """A client without EDNS gets the bare RCODE."""
    reply = dns.message.from_wire(error_reply(make(edns=False), 2, 22, "text"))
    assert reply.rcode() == dns.rcode.SERVFAIL
    assert reply.edns == -1


@pytest.mark.parametrize("text", ["x" * 3000, "ü" * 3000, "a" + "€" * 3000, "\ud800" * 3000, "𝄞" * 3000])
@pytest.mark.parametrize("payload", [0, 512, 1232, 4096])
@pytest.mark.parametrize("name", [".", "www.example.com", ".".join(["a" * 49] * 5)])
def test_text_is_cut_to_the_size(text, payload, name):
    """A text that is too long is cut at the end of a character, and fills the client's size but for the rest of it."""
    query = make(name, payload=payload)
    wire = error_reply(query, 2, 0, text)
    assert query.size - 4 < len(wire) <= query.size
    (option,) = dns.message.from_wire(wire).options
    assert option.text == text.encode("utf-8", "replace").decode()[: len(option.text)]


def test_failure_renders_as_its_error():
    """A failure is SERVFAIL with its reason, at every age."""
    query = make()
    assert (
        Failure(23, "why").render(query, 0) == Failure(23, "why").render(query, 9) == error_reply(query, 2, 23, "why")
    )


@pytest.mark.parametrize("client_subnet", [False, True])
@pytest.mark.parametrize("dnssec_ok", [False, True])
@pytest.mark.parametrize("length", [1, 60, 61, 62, 63])
def test_upstream_form(length, dnssec_ok, client_subnet):
    """A client subnet goes upstream only where it was asked for, and only as 0.0.0.0/0; padded to 128 all the same."""
    query = make("a" * length + ".example", want_dnssec=dnssec_ok)
    wire = UpstreamForm(client_subnet=client_subnet).query(query)
    assert len(wire) % 128 == 0
    subnets = [option for option in dns.message.from_wire(wire).options if option.otype == 8]
    assert [(one.to_text(), one.family, one.srclen) for one in subnets] == (
        [("ECS 0.0.0.0/0 scope/0", 1, 0)] if client_subnet else []
    )
    assert (wire == upstream_query(query)) is not client_subnet
    assert upstream_query_of(query.key) == upstream_query(query)


def test_short_reply_is_cut_to_the_size():
    """Records of our own are truncated as an upstream's are: on whole RRsets, with TC."""
    records = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, 200) + bytes(200) for kind in range(300, 310))
    reply = dns.message.from_wire(short_reply(make(payload=512), 0, answers=10, records=records))
    assert reply.flags & dns.flags.TC
    assert (len(reply.answer), reply.edns) == (2, 0)


def test_extra_options_in_every_rendering():
    """The options that are one client's own stand behind the reply's others, within the client's size."""
    query = make(payload=512)
    query.extra = bytes.fromhex("fde8 0002 abcd")
    plain = dns.message.from_wire(short_reply(query, 0))
    assert [(option.otype, option.to_wire()) for option in plain.options] == [(65000, b"\xab\xcd")]
    failure = error_reply(query, 2, 22, "x" * 3000)
    assert len(failure) == 512
    assert [option.otype for option in dns.message.from_wire(failure).options] == [15, 65000]
    without = make(edns=False)
    without.extra = query.extra
    assert dns.message.from_wire(short_reply(without, 0)).edns == -1


@pytest.mark.parametrize("text", ["\x1b[2J", "one\ntwo", "a\0b", "\x7f", "\u202egpj"])
def test_nobodys_words_steer_a_terminal(text):
    """Of an extended error with more than letters in its text the code is handed on; in ours a "?" stands for each."""
    sent = extended_error(22, text.encode())
    assert extended_errors(sent, 0, len(sent)) == extended_error(22, b"")
    (option,) = dns.message.from_wire(error_reply(make(), 2, 22, f"got {text}")).options
    assert option.text == "got " + "".join(letter if letter.isprintable() else "?" for letter in text)


def test_extended_errors_of_options():
    """Of all options the extended errors are taken, in their order; options that do not fit give None."""
    first, padding, second = (
        bytes.fromhex("000f00020016"),
        bytes.fromhex("000c00020000"),
        bytes.fromhex("000f0003000061"),
    )
    assert extended_errors(first + padding + second, 0, 19) == first + second
    assert extended_errors(padding, 0, 6) == b""
    assert extended_errors(bytes.fromhex("000f000100"), 0, 5) == b""  # shorter than an INFO-CODE
    assert extended_errors(bytes.fromhex("000f0003000080") + first, 0, 13) == option(15, b"\0\0") + first  # no UTF-8
    assert extended_errors(first, 0, 5) is None
    assert extended_errors(first + b"\0", 0, 7) is None
