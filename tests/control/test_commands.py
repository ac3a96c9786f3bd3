"""What can be asked about the cache, and what it tells."""

import dns.message
import dns.rrset
import pytest
import trio

from stubresolver.cache import AnswerCache, CacheOptions
from stubresolver.control import CacheCommands, Request
from stubresolver.errors import BadInput, ChannelClosed
from stubresolver.resolve import Resolver, ResolverOptions
from stubresolver.wire.query import Query


def ask(name="www.example.com", kind="A", **edns):
    edns.setdefault("use_edns", 0)
    return Query(dns.message.make_query(name, kind, **edns).to_wire())


class Upstream:
    """Answers at once with an address, or fails."""

    def __init__(self):
        self.fails = False

    def exchange_soon(self, query, reply):
        response = dns.message.make_response(dns.message.from_wire(query))
        response.answer.append(dns.rrset.from_text(response.question[0].name, 60, "IN", "A", "192.0.2.1"))
        reply(ChannelClosed("closed") if self.fails else response.to_wire())


class Withholding:
    """Withholds everything."""

    ttl = 60

    def reply(self, query):
        return None

    def vet(self, query, answer):
        return self

    def render(self, query, age):
        return b"withheld"


def make(local=None):
    cache, upstream = AnswerCache(CacheOptions()), Upstream()
    resolver = Resolver(upstream, cache, ResolverOptions(), local)
    return resolver, CacheCommands(cache, resolver), upstream


async def test_stats(autojump_clock):
    """What the cache holds, and what came of the queries."""
    resolver, commands, _ = make()
    for _ in range(3):
        await resolver.answer(ask())
    told = await commands.stats(Request(command="cache.stats"))
    assert (told.entries, told.queries, told.hits, told.misses, told.under_way) == (1, 3, 2, 1, 0)
    assert 0 < told.octets < told.max_octets


async def test_show(autojump_clock):
    """What is kept about the name that is asked about, for each kind of client, and nothing of any other name."""
    resolver, commands, _ = make()
    await resolver.answer(ask("other.example.com"))
    await resolver.answer(ask("a.www.example.com"))
    await resolver.answer(ask())
    await trio.sleep(10)
    await resolver.answer(ask(want_dnssec=True))
    await resolver.answer(ask(use_edns=False))
    await resolver.answer(ask())
    told = await commands.show("WWW.Example.com")
    assert [(one.type, one.flags, one.kind, one.age, one.left, one.uses, one.held) for one in told.entries] == [
        (1, ("RD", "EDNS"), "answer", 10, 50, 1, 0),
        (1, ("RD", "EDNS", "DO"), "answer", 0, 60, 0, 0),
        (1, ("RD",), "answer", 0, 60, 0, 0),
    ]
    assert [dns.message.from_wire(one.message).answer[0].ttl for one in told.entries] == [50, 60, 60]
    assert (await commands.show("nowhere.example")).entries == ()


async def test_show_what_has_ended(autojump_clock):
    """An answer that has ended is shown as it would be given out, and for how long it is at once."""
    resolver, commands, upstream = make()
    await resolver.answer(ask())
    await trio.sleep(100)
    upstream.fails = True
    await resolver.answer(ask())
    (one,) = (await commands.show("www.example.com")).entries
    assert (one.kind, one.age, one.left, one.held) == ("answer", 100, -40, 30)
    shown = dns.message.from_wire(one.message)
    assert (shown.answer[0].ttl, int(shown.options[0].code)) == (30, 3)


async def test_show_failures_and_what_is_withheld(autojump_clock):
    """They are told apart from answers."""
    resolver, commands, upstream = make()
    upstream.fails = True
    await resolver.answer(ask())
    assert [one.kind for one in (await commands.show("www.example.com")).entries] == ["failure"]
    resolver, commands, _ = make(Withholding())
    await resolver.answer(ask())
    assert [(one.kind, one.message) for one in (await commands.show("www.example.com")).entries] == [
        ("withheld", b"withheld")
    ]


async def test_a_reply_is_bounded(autojump_clock, monkeypatch):
    """What has no room in the reply is counted."""
    monkeypatch.setattr("stubresolver.control.commands.MAX_REPLY", 500)
    resolver, commands, _ = make()
    for flags in (0x0100, 0x0110, 0x0120, 0):
        await resolver.answer(ask(flags=flags))
    told = await commands.show("www.example.com")
    assert (len(told.entries), told.left_out) == (1, 3)


async def test_flush(autojump_clock):
    """A name goes with all below it; without a name everything goes."""
    resolver, commands, _ = make()
    for name in ("example.com", "www.example.com", "example.net", "myexample.com"):
        await resolver.answer(ask(name))
    assert (await commands.flush("example.com")).entries == 2
    assert (await commands.flush("example.com")).entries == 0
    assert (await commands.flush("")).entries == 2
    assert (await commands.flush(".")).entries == 0
    assert (await commands.stats(Request(command="cache.stats"))).entries == 0


async def test_large_caches_are_looked_through_in_slices(autojump_clock):
    """Others get their turn while every key is looked at, and what comes or goes meanwhile breaks nothing."""
    resolver, commands, _ = make()
    for number in range(2500):
        await resolver.answer(ask(f"{number}.example"))

    async def others():
        resolver.forget()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        told = await commands.flush("example")
    assert told.entries in {1000, 2000}  # trio draws who goes first


@pytest.mark.parametrize("name", ["", "..", "ä"])
async def test_no_names(autojump_clock, name):
    """What is no name is refused in words."""
    _, commands, _ = make()
    with pytest.raises(BadInput):
        await commands.show(name)
