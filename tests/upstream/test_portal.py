"""The third door: nothing leaves before its time, after its end, to another server, or with a demand for trust."""

import contextlib

import dns.flags
import dns.message
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.upstream.clear import SENT
from stubresolver.upstream.portal import PortalExchanger
from stubresolver.upstream.server import leased_server
from tests.upstream.test_plain import WAITS, Fake, honest, truncated, until, wire_query

SERVER = leased_server("192.168.1.1")


@contextlib.asynccontextmanager
async def opened(*says, seconds=60.0):
    """A portal's exchanger for servers that say so."""
    async with trio.open_nursery() as nursery:
        fakes = [await nursery.start(Fake(say).serve) for say in says]
        exchanger = PortalExchanger([fake.server for fake in fakes], trio.current_time() + seconds, waits=WAITS)
        await nursery.start(exchanger.run)
        yield exchanger, fakes
        nursery.cancel_scope.cancel()


async def answer_of(exchanger, query):
    results = []
    exchanger.exchange_soon(query, results.append)
    await until(lambda: results)
    return results[0]


async def test_any_name_goes_to_the_server_and_is_counted():
    """Until its end each query is one more that was told in clear."""
    before = SENT.queries
    async with opened(honest) as (exchanger, [fake]):
        for name in ("login.hotel.example", "www.example.com"):
            answer = dns.message.from_wire(await answer_of(exchanger, wire_query(name)))
            assert str(answer.answer[0][0]) == "10.0.0.1"
        assert (len(fake.asked), exchanger.sent, SENT.queries - before) == (2, 2, 2)


async def test_truncated_answers_count_twice():
    """What is asked again over TCP was told again."""
    before = SENT.queries
    async with opened(truncated) as (exchanger, [fake]):
        await answer_of(exchanger, wire_query())
        assert (len(fake.asked), exchanger.sent, SENT.queries - before) == (2, 2, 2)


async def test_nothing_is_asked_that_needs_trust():
    """AD, CD and DO are clear in what leaves, and AD in what comes back."""
    async with opened(honest) as (exchanger, [fake]):
        query = wire_query(want_dnssec=True, flags=dns.flags.RD | dns.flags.AD | dns.flags.CD)
        answer = dns.message.from_wire(await answer_of(exchanger, query))
        [(wire, _, _)] = fake.asked
        asked = dns.message.from_wire(wire)
        assert (asked.flags, asked.ednsflags & dns.flags.DO) == (dns.flags.RD, 0)
        assert not answer.flags & dns.flags.AD


async def test_nothing_leaves_after_its_end(autojump_clock):
    """The moment decides, whoever has slept through it: neither task nor socket is made."""
    exchanger, results, started = PortalExchanger([SERVER], trio.current_time() + 10), [], []
    exchanger._nursery = type("Nursery", (), {"start_soon": lambda *_: started.append(True)})()
    exchanger.exchange_soon(wire_query(), results.append)
    assert (started, results) == ([True], [])
    await trio.sleep(10)
    exchanger.exchange_soon(wire_query(), results.append)
    assert (started, [result.summary for result in results]) == ([True], ["not sent: the time of the portal is over"])


@pytest.mark.parametrize("say", [lambda _wire, **_: None, truncated])
async def test_what_is_under_way_says_no_more(say):
    """A query that would be repeated, or asked again over TCP, is not once the portal is closed."""
    async with opened(say) as (exchanger, [fake]):
        fake.say = lambda wire, **more: (exchanger.close(), say(wire, **more))[1]
        results = []
        exchanger.exchange_soon(wire_query(), results.append)
        await until(lambda: results)
        assert (len(fake.asked), exchanger.sent) == (1, 1)
        assert "the time of the portal is over" in results[0].summary


@given(st.binary(min_size=1, max_size=63), st.integers(0, 255), st.integers(0, 255))
def test_belt_only_recursion_is_asked_for(label, flags, more):
    """Whatever bits a query has, RD alone leaves; the question is the same."""
    query = bytearray(wire_query("x.example"))
    query[2:4] = bytes((flags, more))
    query[13:14] = label[:1]
    taken = []
    exchanger = PortalExchanger([SERVER], float("inf"))
    exchanger._nursery = type("Nursery", (), {"start_soon": lambda _self, _task, sent, _reply: taken.append(sent)})()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trio, "current_time", lambda: 0.0)
        exchanger.exchange_soon(bytes(query), lambda _: None)
    [sent] = taken
    assert (sent[2], sent[3]) == (flags & 1, 0)
    assert sent[12:27] == query[12:27]
