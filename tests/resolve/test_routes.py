"""Which question goes to whom, and what of the answers is believed. No network: exchangers that answer from tables."""

from typing import ClassVar

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.cache import AnswerCache, CacheOptions
from stubresolver.errors import NoUpstream, ProtocolViolation
from stubresolver.local import LocalKnowledge
from stubresolver.local.names import zone_set
from stubresolver.resolve import Resolver, ResolverOptions
from stubresolver.resolve.routes import Route, Routes
from stubresolver.wire.edns import upstream_query
from stubresolver.wire.query import Query


class Server:
    """An exchanger that answers by a table of names; `asked` is what it was asked."""

    def __init__(self, zone=None):
        self.zone = zone or {}
        self.asked = []

    def exchange_soon(self, query, reply):
        message = dns.message.from_wire(query)
        name, kind = message.question[0].name, message.question[0].rdtype
        self.asked.append(f"{name} {dns.rdatatype.to_text(kind)}")
        found = self.zone.get(str(name))
        if isinstance(found, Exception):
            reply(found)
            return
        answer = dns.message.make_response(message)
        answer.flags |= dns.flags.RA
        for text in found or ():
            owner, ttl, klass, rdtype, rdata = text.split(" ", 4)
            answer.answer.append(dns.rrset.from_text(owner, int(ttl), klass, rdtype, rdata))
        if found is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        reply(answer.to_wire())


def route(server, *zones, **more):
    return Route(zone_set(zones), server, **more)


def ask(routes, name, kind="A"):
    """What comes of a question: a message in dnspython's form, or an error."""
    replies = []
    routes.exchange_soon(
        upstream_query(Query(dns.message.make_query(name, kind, use_edns=0).to_wire())), replies.append
    )
    [result] = replies
    return dns.message.from_wire(result) if isinstance(result, bytes) else result


def answers(message):
    return [line for rrset in message.answer for line in rrset.to_text().split("\n")]


@pytest.mark.parametrize(
    ("name", "kind", "whose"),
    [
        ("corp.example", "A", "corp"),
        ("a.b.CORP.Example", "TXT", "corp"),
        ("lab.corp.example", "A", "lab"),
        ("x.lab.corp.example", "A", "lab"),
        ("notcorp.example", "A", "public"),
        ("corp.example.test", "A", "public"),
        ("example", "A", "public"),
        (".", "NS", "public"),
        (r"a\.corp.example", "A", "public"),  # one label that has a dot in it
        (r"a\004corp\007example", "A", "public"),  # one label that has the zone's octets in it
        ("5.0.0.10.in-addr.arpa", "PTR", "corp"),
        ("5.0.0.110.in-addr.arpa", "PTR", "public"),
        ("corp.example", "DS", "public"),  # RFC 4035 s3.1.4.1: the parent's
        ("lab.corp.example", "DS", "corp"),
        ("x.corp.example", "DS", "corp"),
        (".", "DS", "public"),
    ],
)
async def test_longest_zone_by_whole_labels(name, kind, whose):
    """A question goes to the servers of the longest zone that it is in, and to no other."""
    servers = {each: Server() for each in ("public", "corp", "lab")}
    routes = Routes(
        servers["public"],
        [route(servers["corp"], "corp.example", "10.in-addr.arpa"), route(servers["lab"], "lab.corp.example")],
    )
    ask(routes, name, kind)
    assert [each for each, server in servers.items() if server.asked] == [whose]


NAMES = st.lists(st.sampled_from([b"corp", b"CORP", b"example", b"a.b", b"\4corp", b"x"]), max_size=5).map(
    lambda labels: dns.name.Name([*labels, b""])
)


@given(name=NAMES, zones=st.lists(NAMES, max_size=4))
def test_routes_as_a_naive_model_does(name, zones):
    """Against dnspython's own opinion of what is a subdomain, for names of any octets."""
    zones = [zone for zone in zones if zone != dns.name.root]
    of = {zone.canonicalize().to_wire(): Route([zone.canonicalize().to_wire()], Server()) for zone in zones}
    routes = Routes(Server(), list(of.values()))
    found = routes.of_name(name.canonicalize().to_wire())
    fitting = sorted((zone for zone in zones if name.is_subdomain(zone)), key=len)
    assert found is (of[fitting[-1].canonicalize().to_wire()] if fitting else None)


async def test_alias_out_of_the_zone_is_followed_elsewhere():
    """The zone's server is not believed about the world: the target's own route is asked."""
    corp = Server(
        {"www.corp.example.": ["www.corp.example. 60 IN CNAME www.bank.example.", "www.bank.example. 60 IN A 6.6.6.6"]}
    )
    public = Server({"www.bank.example.": ["www.bank.example. 300 IN A 192.0.2.1"]})
    found = ask(Routes(public, [route(corp, "corp.example")]), "www.corp.example")
    assert answers(found) == ["www.corp.example. 60 IN CNAME www.bank.example.", "www.bank.example. 300 IN A 192.0.2.1"]
    assert public.asked == ["www.bank.example. A"]


async def test_alias_from_zone_to_zone():
    """Each zone's server says its own part; the same server is believed about all zones of its table."""
    corp = Server(
        {"a.corp.example.": ["a.corp.example. 60 IN CNAME b.lab.example.net.", "b.lab.example.net. 60 IN A 10.6.6.6"]}
    )
    lab = Server(
        {
            "b.lab.example.net.": [
                "b.lab.example.net. 60 IN CNAME c.lab.example.net.",
                "c.lab.example.net. 60 IN A 10.0.0.9",
            ]
        }
    )
    public = Server()
    found = ask(Routes(public, [route(corp, "corp.example"), route(lab, "lab.example.net")]), "a.corp.example")
    assert answers(found)[-1] == "c.lab.example.net. 60 IN A 10.0.0.9"
    found = ask(Routes(public, [route(corp, "corp.example", "lab.example.net")]), "a.corp.example")
    assert answers(found)[-1] == "b.lab.example.net. 60 IN A 10.6.6.6"
    assert not public.asked


async def test_longer_zone_of_somebody_else_is_not_believed():
    """The server of a zone may not speak for a zone below it that has another one."""
    corp = Server(
        {"a.corp.example.": ["a.corp.example. 60 IN CNAME x.lab.corp.example.", "x.lab.corp.example. 60 IN A 10.6.6.6"]}
    )
    lab = Server({"x.lab.corp.example.": ["x.lab.corp.example. 60 IN A 10.0.0.9"]})
    found = ask(Routes(Server(), [route(corp, "corp.example"), route(lab, "lab.corp.example")]), "a.corp.example")
    assert answers(found)[-1] == "x.lab.corp.example. 60 IN A 10.0.0.9"


async def test_alias_to_a_name_that_is_answered_here_stays_here():
    """A special name leaves the machine by no alias, either (RFC 7686 s2)."""
    corp = Server({"a.corp.example.": ["a.corp.example. 60 IN CNAME secret.onion."]})
    public = Server()
    found = ask(Routes(public, [route(corp, "corp.example")], LocalKnowledge().reply), "a.corp.example")
    assert (found.rcode(), answers(found), public.asked) == (3, ["a.corp.example. 60 IN CNAME secret.onion."], [])


async def test_alias_of_a_public_name_into_a_zone_is_not_followed():
    """What a stranger's name leads to is the upstream's to say: the zone's servers are not asked."""
    corp = Server({"in.corp.example.": ["in.corp.example. 60 IN A 10.0.0.1"]})
    lines = ["evil.example.net. 60 IN CNAME in.corp.example."]
    found = ask(Routes(Server({"evil.example.net.": lines}), [route(corp, "corp.example")]), "evil.example.net")
    assert (answers(found), corp.asked) == (lines, [])


async def test_aliases_in_a_circle_end():
    """Two zones that lead to each other end after eight questions."""
    one = Server({"a.one.": ["a.one. 60 IN CNAME a.two."]})
    two = Server({"a.two.": ["a.two. 60 IN CNAME a.one."]})
    found = ask(Routes(Server(), [route(one, "one"), route(two, "two")]), "a.one")
    assert "an alias leads from server to server" in found.summary
    assert len(one.asked) + len(two.asked) == 8


async def test_no_further_server_is_asked_late(autojump_clock):
    """Each server may take four seconds, and a client waits for five: after two there is no next one."""

    class Slow(Server):
        def exchange_soon(self, query, reply):
            nursery.start_soon(self._late, query, reply)

        async def _late(self, query, reply):
            await trio.sleep(2.1)
            super().exchange_soon(query, reply)

    public, replies = Server(), []
    async with trio.open_nursery() as nursery:
        routes = Routes(public, [route(Slow({"a.one.": ["a.one. 60 IN CNAME b.example.net."]}), "one")])
        query = upstream_query(Query(dns.message.make_query("a.one", "A").to_wire()))
        routes.exchange_soon(query, replies.append)
    assert "there was no time" in replies[0].summary
    assert not public.asked


@pytest.mark.parametrize("where", ["first", "second"])
async def test_error_is_told_as_it_came(where):
    """The failure of whoever was asked is the outcome, with its words."""
    failing = NoUpstream("tls://10.0.0.53: refused")
    corp = Server({"a.corp.example.": failing if where == "first" else ["a.corp.example. 60 IN CNAME b.example.net."]})
    assert ask(Routes(Server({"b.example.net.": failing}), [route(corp, "corp.example")]), "a.corp.example") is failing


async def test_octets_that_are_no_answer_are_told():
    """What cannot be read is not looked into."""

    class Broken:
        def exchange_soon(self, query, reply):
            reply(query[:2] + b"\x81\x80junk")

    found = ask(Routes(Server(), [route(Broken(), "corp.example")]), "a.corp.example")
    assert isinstance(found, ProtocolViolation)
    assert found.summary.startswith("malformed answer from upstream: ")


async def test_failure_of_a_zone_touches_no_other(autojump_clock):
    """Names elsewhere are answered, and the zone's names say why they are not."""
    corp = Server({"a.corp.example.": NoUpstream("udp://10.0.0.53: no answer within 4 s")})
    public = Server({"b.example.net.": ["b.example.net. 60 IN A 192.0.2.1"]})
    resolver = Resolver(Routes(public, [route(corp, "corp.example")]), AnswerCache(CacheOptions()), ResolverOptions())
    failed, fine = [
        dns.message.from_wire(await resolver.answer(Query(dns.message.make_query(name, "A", use_edns=0).to_wire())))
        for name in ("a.corp.example", "b.example.net")
    ]
    assert (failed.rcode(), fine.rcode()) == (2, 0)
    assert failed.options[0].text == "udp://10.0.0.53: no answer within 4 s"


async def test_loop_through_another_machine_is_one_exchange(autojump_clock):
    """A server that asks us what we ask it waits for itself: who asks the same joins the flight that is under way."""

    class Mirror:
        """Asks us, and has no answer for four seconds."""

        def __init__(self):
            self.asked = 0

        def exchange_soon(self, query, reply):
            self.asked += 1
            resolver.answer_soon(Query(query), self.heard.append)
            nursery.start_soon(self._give_up, reply)

        async def _give_up(self, reply):
            await trio.sleep(4)
            reply(NoUpstream("udp://10.0.0.53: no answer within 4 s"))

        heard: ClassVar = []

    mirror = Mirror()
    routes = Routes(Server(), [route(mirror, "corp.example")])
    resolver = Resolver(routes, AnswerCache(CacheOptions()), ResolverOptions())
    async with trio.open_nursery() as nursery:
        query = Query(dns.message.make_query("a.corp.example", "A", use_edns=0).to_wire())
        assert dns.message.from_wire(await resolver.answer(query)).rcode() == 2
    assert (mirror.asked, len(mirror.heard)) == (1, 1)


async def test_cap_ends_an_answer_early(autojump_clock):
    """An answer of a zone is kept and shown for no longer than its cap; of others as ever."""
    corp = Server({"a.corp.example.": ["a.corp.example. 3600 IN A 10.0.0.1"]})
    public = Server({"b.example.net.": ["b.example.net. 3600 IN A 192.0.2.1"]})
    routes = Routes(public, [route(corp, "corp.example", max_ttl=30)])
    resolver = Resolver(routes, AnswerCache(CacheOptions(prefetch=False)), ResolverOptions())
    queries = [
        Query(dns.message.make_query(name, "A", use_edns=0).to_wire()) for name in ("a.corp.example", "b.example.net")
    ]
    ttls = [dns.message.from_wire(await resolver.answer(query)).answer[0].ttl for query in queries]
    assert ttls == [30, 3600]
    await trio.sleep(31)
    for query in queries:
        await resolver.answer(query)
    assert (len(corp.asked), len(public.asked)) == (2, 1)
