"""Plain DNS over real sockets on loopback: what is sent, what is believed, who is asked next, and what never leaves."""

import itertools
import socket
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import dns.edns
import dns.flags
import dns.message
import dns.rrset
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.errors import NoUpstream
from stubresolver.local.names import zone_in, zone_set
from stubresolver.upstream import clear, plain
from stubresolver.upstream.plain import PlainExchanger
from stubresolver.upstream.server import PlainServer, parse_server
from stubresolver.wire.answer import Answer
from stubresolver.wire.edns import upstream_query
from stubresolver.wire.framing import FrameReader, frame
from stubresolver.wire.query import Query

ZONES = zone_set(["corp.example"])
WAITS = (0.05, 0.1, 0.2)


def wire_query(name="a.corp.example", kind="A", **flags):
    return upstream_query(Query(dns.message.make_query(name, kind, **{"use_edns": 0, **flags}).to_wire(), tcp=True))


def honest(wire, **_):
    """The answer that a server has for everything."""
    message = dns.message.from_wire(wire)
    answer = dns.message.make_response(message)
    answer.flags |= dns.flags.RA | dns.flags.AD
    answer.answer.append(dns.rrset.from_text(message.question[0].name, 60, "IN", "A", "10.0.0.1"))
    return answer.to_wire()


def truncated(wire, *, tcp, **_):
    """TC over UDP, the answer over TCP."""
    return honest(wire) if tcp else changed(honest(wire), 2, 0x82)


def changed(wire, place, value):
    return wire[:place] + bytes((value,)) + wire[place + 1 :]


def rcode(number):
    return lambda wire, **_: changed(honest(wire), 3, 0x80 | number)


@dataclass
class Fake:
    """A server on 127.0.0.1, UDP and TCP; `say` makes its answer, or None, or datagrams, to other ports, too."""

    say: object
    port: int = 0
    asked: list = field(default_factory=list)  # (octets, port of the sender, over TCP)

    async def serve(self, task_status):
        udp, tcp = await self._bind()
        self.port = udp.getsockname()[1]
        with udp:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._datagrams, udp)
                nursery.start_soon(trio.serve_listeners, self._connection, [tcp])
                task_status.started(self)

    @staticmethod
    async def _bind():
        """Both sockets on one port, which is free for both at this moment."""
        while True:
            [tcp] = await trio.open_tcp_listeners(0, host="127.0.0.1")
            udp = trio.socket.socket(type=socket.SOCK_DGRAM)
            try:
                await udp.bind(tcp.socket.getsockname())
            except OSError:
                udp.close()
                await tcp.aclose()
            else:
                return udp, tcp

    async def _datagrams(self, udp):
        while True:
            wire, sender = await udp.recvfrom(4096)
            self.asked.append((wire, sender[1], False))
            said = self.say(wire, tcp=False, port=sender[1])
            for one in said if isinstance(said, list) else [said] if said else []:
                datagram, port = one if isinstance(one, tuple) else (one, sender[1])
                await udp.sendto(datagram, ("127.0.0.1", port))

    async def _connection(self, stream):
        reader = FrameReader()
        async for data in stream:
            for wire in reader.feed(data):
                self.asked.append((wire, stream.socket.getpeername()[1], True))
                said = self.say(wire, tcp=True, port=0)
                if said is None:
                    return
                await stream.send_all(frame(said))

    @property
    def server(self):
        return parse_server(f"udp://127.0.0.1:{self.port}")


@asynccontextmanager
async def running(*says, servers=None, zones=ZONES):
    """An exchanger for servers that say so; `servers` changes what it is told of them."""
    async with trio.open_nursery() as nursery:
        fakes = [await nursery.start(Fake(say).serve) for say in says]
        known = [fake.server for fake in fakes]
        exchanger = PlainExchanger(zones, servers(known) if servers else known, waits=WAITS)
        await nursery.start(exchanger.run)
        yield exchanger, fakes
        nursery.cancel_scope.cancel()


async def until(condition):
    """Wait for it, three seconds at most."""
    with trio.fail_after(3):
        while not condition():  # noqa: ASYNC110 - of a socket's other end
            await trio.sleep(0.005)


async def ask(exchanger, query):
    """What comes of a query, within five seconds."""
    results, done = [], trio.Event()

    def take(result):
        results.append(result)
        done.set()

    exchanger.exchange_soon(query, take)
    with trio.fail_after(5):
        await done.wait()
    return results[0]


async def test_query_goes_out_bare_and_comes_back_for_who_asked():
    """No padding and none of the client's options; the id is restored, AD is not believed (RFC 4035 s4.9.3)."""
    query = wire_query(want_dnssec=True)
    async with running(honest) as (exchanger, [fake]):
        found = await ask(exchanger, query)
    sent = dns.message.from_wire(fake.asked[0][0])
    assert (sent.options, sent.payload, sent.ednsflags) == ((), 1232, dns.flags.DO)
    assert found[:2] == query[:2]
    assert not dns.message.from_wire(found).flags & dns.flags.AD
    assert Answer.parse(found, query).ttl == 60


async def test_each_query_has_an_id_and_a_port_of_its_own():
    """RFC 5452 s4.3, s4.5: whoever forges an answer has to guess both."""
    async with running(honest) as (exchanger, [fake]):
        for _ in range(40):
            await ask(exchanger, wire_query())
    assert len({wire[:2] for wire, _, _ in fake.asked}) > 35
    assert len({port for _, port, _ in fake.asked}) > 35


@pytest.mark.parametrize(
    "forged",
    [
        lambda wire: changed(honest(wire), 0, wire[0] ^ 1),  # another id
        lambda wire: changed(honest(wire), 1, wire[1] ^ 128),
        lambda wire: changed(honest(wire), 2, 0x01),  # a query
        lambda wire: changed(honest(wire), 2, 0x89),  # another opcode
        lambda wire: changed(honest(wire), 5, 2),  # two questions
        lambda wire: changed(honest(wire), 13, ord("b")),  # another name
        lambda wire: changed(honest(wire), 29, 28),  # another type
        lambda wire: changed(honest(wire), 31, 3),  # another class
        lambda wire: honest(wire)[:11],
        lambda wire: wire[:2],
        lambda _: b"",
        lambda _: b"junk" * 10,
        lambda wire: wire[:2] + b"\x81\x80" + bytes(8),  # no question, and no failure either
    ],
)
async def test_datagram_that_is_no_answer_is_passed_over(forged):
    """RFC 5452 s9.1: id, QR, question name, class and type match, or the wait goes on."""
    async with running(lambda wire, **_: [forged(wire), honest(wire)]) as (exchanger, [fake]):
        exchanger._waits = (60.0,)  # a slow machine does not make it ask again
        found = await ask(exchanger, wire_query())
    assert dns.message.from_wire(found).answer[0][0].address == "10.0.0.1"
    assert len(fake.asked) == 1


async def test_letter_case_of_the_server_is_its_own():
    """RFC 4343 s3: names are compared without it."""
    async with running(lambda wire, **_: changed(honest(wire), 13, ord("A"))) as (exchanger, _):
        assert isinstance(await ask(exchanger, wire_query()), bytes)


async def test_answer_from_another_address_or_port_never_arrives():
    """The socket is connected (RFC 5452 s9.2): the kernel drops what the server did not send."""
    forged = honest(wire_query()).replace(bytes((10, 0, 0, 1)), bytes((6, 6, 6, 6)))

    def spoofed(wire, *, port, **_):
        with socket.socket(type=socket.SOCK_DGRAM) as other:
            other.sendto(wire[:2] + forged[2:], ("127.0.0.1", port))
        return honest(wire)

    async with running(spoofed) as (exchanger, _):
        found = await ask(exchanger, wire_query())
    assert dns.message.from_wire(found).answer[0][0].address == "10.0.0.1"


async def test_who_guesses_too_often_has_the_question_asked_over_tcp():
    """A flood of wrong ids ends the use of that port; nobody off the way answers over TCP."""

    def say(wire, *, tcp, **_):
        return honest(wire) if tcp else [changed(honest(wire), 0, wire[0] ^ 1)] * 40

    async with running(say) as (exchanger, [fake]):
        assert isinstance(await ask(exchanger, wire_query()), bytes)
    assert [tcp for _, _, tcp in fake.asked] == [False, True]


async def test_truncated_answer_is_asked_for_over_tcp():
    """RFC 7766 s5."""
    async with running(truncated) as (exchanger, [fake]):
        found = await ask(exchanger, wire_query())
    assert [tcp for _, _, tcp in fake.asked] == [False, True]
    assert not dns.message.from_wire(found).flags & dns.flags.TC


async def test_tcp_server_is_asked_over_tcp_alone():
    """And an answer of the largest size arrives whole."""

    def large(wire, **_):
        return honest(wire)[:-11] + bytes(65_535 - len(honest(wire)))

    async with running(large, servers=lambda known: [PlainServer(known[0].address, known[0].port, tcp=True)]) as (
        exchanger,
        [fake],
    ):
        found = await ask(exchanger, wire_query())
    assert [tcp for _, _, tcp in fake.asked] == [True]
    assert len(found) == 65_535 - 11


@pytest.mark.parametrize("say", [lambda _, **__: None, lambda wire, tcp, **_: honest(wire)[2:] if tcp else None])
async def test_tcp_server_that_has_no_answer_is_told(say):
    """A connection that is closed, or that answers something else."""
    async with running(say, servers=lambda known: [PlainServer(known[0].address, known[0].port, tcp=True)]) as (
        exchanger,
        [fake],
    ):
        found = await ask(exchanger, wire_query())
    assert isinstance(found, NoUpstream)
    assert f"tcp://127.0.0.1:{fake.port}: the " in found.summary


async def test_lost_datagram_is_sent_again():
    """The same server is asked anew after a while, from another port."""
    count = itertools.count()
    async with running(lambda wire, **_: honest(wire) if next(count) else None) as (exchanger, [fake]):
        assert isinstance(await ask(exchanger, wire_query()), bytes)
    assert len({port for _, port, _ in fake.asked}) == 2


async def test_late_answer_still_counts():
    """Who is asked again is listened to on both ports."""
    first = []

    def say(wire, *, port, **_):
        if first:
            return [(honest(first[0]), first[1])]
        first.extend((wire, port))
        return None

    async with running(say) as (exchanger, [fake]):
        assert isinstance(await ask(exchanger, wire_query()), bytes)
    assert len(fake.asked) == 2


async def test_refused_port_leads_to_the_next_server_at_once():
    """An ICMP error costs no wait, and who gave it is asked last for a while."""
    closed = PlainServer(parse_server("udp://127.0.0.1").address, 1)
    async with running(honest, servers=lambda known: [closed, *known]) as (exchanger, [fake]):
        before = time.monotonic()
        assert isinstance(await ask(exchanger, wire_query()), bytes)
        assert time.monotonic() - before < WAITS[0]
        await ask(exchanger, wire_query())
        first, second = exchanger.statistics()
    assert (first.asked, first.last_error, second.asked) == (1, "Connection refused", 2)
    assert first.paused_for > 25
    assert len(fake.asked) == 2


@pytest.mark.parametrize("number", [2, 4, 5])
async def test_failure_of_one_server_is_not_the_answer(number):
    """SERVFAIL, NOTIMP and REFUSED say nothing of the name: the next server is asked at once."""
    async with running(rcode(number), honest) as (exchanger, fakes):
        found = await ask(exchanger, wire_query())
    assert dns.message.from_wire(found).rcode() == 0
    assert [len(fake.asked) for fake in fakes] == [1, 1]


async def test_failure_of_all_servers_is_told_as_it_came():
    """The first failure is the answer where nobody has a better one."""
    async with running(rcode(5), rcode(2)) as (exchanger, _):
        assert dns.message.from_wire(await ask(exchanger, wire_query())).rcode() == 5


@pytest.mark.parametrize("question", [True, False])
async def test_server_without_edns_is_asked_without(question):
    """RFC 6891 s6.2.2: FORMERR to a query with OPT may mean that OPT is not known."""

    def say(wire, **_):
        if dns.message.from_wire(wire).edns < 0:
            return honest(wire)
        return changed(wire, 2, 0x81)[:3] + b"\x01" + wire[4:] if question else wire[:2] + b"\x81\x01" + bytes(8)

    async with running(say) as (exchanger, [fake]):
        found = await ask(exchanger, wire_query())
    assert dns.message.from_wire(found).edns < 0
    assert len(fake.asked) == 2


async def test_silence_ends_in_time_with_its_reason():
    """Within the deadline, naming the server."""
    async with running(lambda *_, **__: None) as (exchanger, [fake]):
        exchanger._seconds = 0.2
        found = await ask(exchanger, wire_query())
    assert found.summary == f"udp://127.0.0.1:{fake.port}: no answer within 0.2 s"
    assert found.info_code == 22  # No Reachable Authority, RFC 8914 s4.23


async def test_without_servers_the_reason_is_told():
    """A file that is not there says so in each answer."""
    async with running() as (exchanger, _):
        assert (await ask(exchanger, wire_query())).summary == "no server is known"
        exchanger.use([], "corp.example: /run/x: cannot be read: No such file or directory")
        assert (await ask(exchanger, wire_query())).summary.endswith("No such file or directory")


async def test_other_servers_leave_what_is_under_way_alone():
    """A query ends with the servers that it began with; the next one has the new ones."""
    async with running(lambda *_, **__: None, honest) as (exchanger, [silent, fake]):
        exchanger.use([silent.server])
        results = []
        exchanger.exchange_soon(wire_query(), results.append)
        await until(lambda: silent.asked)
        exchanger.use([fake.server])
        assert isinstance(await ask(exchanger, wire_query("b.corp.example")), bytes)
        silent.say = honest
        await until(lambda: results)
    assert isinstance(results[0], bytes)


async def test_end_answers_who_waits():
    """Cancelled, every query has its reply, and none is taken any more."""
    results = []
    async with running(lambda *_, **__: None) as (exchanger, _):
        exchanger.exchange_soon(wire_query(), results.append)
        await trio.sleep(0.01)
    exchanger.exchange_soon(wire_query(), results.append)
    assert [result.summary for result in results] == ["shutting down"] * 2


NAMES = st.lists(st.sampled_from([b"corp", b"example", b"CORP", b"notcorp", b"a.corp", b"\4corp\7example"]), max_size=4)


@given(NAMES)
def test_belt_no_query_outside_the_zones_is_sent(labels):
    """Whatever asks: a question outside the zones is refused before there is a task or a socket."""
    name = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    query = bytes((0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0)) + name + b"\0\1\0\1"
    exchanger, started = PlainExchanger([*ZONES, b"\0"], [parse_server("udp://127.0.0.1:9")]), []
    exchanger._nursery = type("Nursery", (), {"start_soon": lambda *_: started.append(name)})()
    results = []
    exchanger.exchange_soon(query, results.append)
    if zone_in(name.lower(), ZONES) is None:
        assert started == []
        assert results[0].summary == "not sent: plain DNS is for names in its forward zone alone"
    else:
        assert (started, results) == ([name], [])


async def test_no_more_sockets_than_turns():
    """Queries beyond the turns wait for one, and all are answered."""
    turns, most = trio.CapacityLimiter(3), 0

    def say(wire, **_):
        nonlocal most
        most = max(most, turns.borrowed_tokens)
        return honest(wire)

    async with running(say) as (exchanger, _):
        exchanger._turns = turns
        results = []
        for _ in range(20):
            exchanger.exchange_soon(wire_query(), results.append)
        await until(lambda: len(results) == 20)
    assert most == 3
    assert all(isinstance(result, bytes) for result in results)


SENT = plain._own_query(wire_query(), edns=True)


@given(st.binary(max_size=80) | st.binary(max_size=30).map(lambda octets: SENT[:2] + b"\x81\x80\0\1" + octets))
def test_any_octets_are_an_answer_or_are_passed_over(octets):
    """What is taken for the answer has the id, is a response and repeats the question."""
    if clear.answers(octets, SENT):
        assert octets[:2] == SENT[:2]
        assert octets[2] & 0xF8 == 0x80
        assert octets[4:6] == b"\0\0" or octets[12:].lower().startswith(SENT[12:32].lower())
