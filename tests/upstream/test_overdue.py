"""One query that is not answered on a connection that answers all others, and what becomes of that connection then."""

import pytest
import trio

from stubresolver.upstream import parse_upstream
from stubresolver.wire.framing import FrameReader, frame
from tests.upstream.pools import echo, exchanged, message, never, running, states

A, B, C = (parse_upstream(f"tls://127.0.0.{n}") for n in (1, 2, 3))
UNREACHABLE = OSError(101, "network is unreachable")


class Loser:
    """A DoT server whose first connection loses one name, and everything once it is told to; the next one is well."""

    def __init__(self):
        self.servers = []
        self.hold = False

    async def serve(self, server):
        self.servers.append(server)
        reader = FrameReader()
        while data := await server.receive():
            for query in reader.feed(data):
                if server is not self.servers[0] or not (self.hold or query.endswith(b"lost")):
                    await server.send(frame(query))


async def _busy(pool, seconds):
    """Other names are asked and answered all the while."""
    with trio.move_on_after(seconds):
        while True:
            await exchanged(pool, message(1))
            await trio.sleep(0.1)


@pytest.mark.parametrize("pause", [0.2, 1.0])
async def test_who_owes_nothing_is_not_silent(autojump_clock, internet, demands, pause):
    """The last that was owed was had elsewhere: the connection stays, and the next query is asked there, and once."""
    asked = []

    def lossy(wire):
        return None if wire.endswith(b"lost") else wire

    def other(wire):
        asked.append(wire)
        return wire

    handlers = {A: internet.dot(lossy, delay=0.02), B: internet.dot(other)}
    async with running(internet, demands, handlers, order="strict") as pool:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_busy, pool, 2.3)  # so that its last answer is older than the lost one's from elsewhere
            await trio.sleep(1)
            await exchanged(pool, message(13, b"lost"))
        await trio.sleep(pause)
        assert states(pool) == ["open", "open"]
        start = trio.current_time()
        await exchanged(pool, message(1))
        assert trio.current_time() == pytest.approx(start + 0.02)
        assert len(asked) == 1
        assert len(internet.dialled) == 2


@pytest.mark.parametrize("end", ["fin", "silence", "move"])
@pytest.mark.parametrize("kin", [UNREACHABLE, never], ids=["unreachable", "never"])
@pytest.mark.parametrize("order", ["latency", "strict"])
async def test_overdue_query_outlives_its_connection(autojump_clock, internet, demands, end, kin, order):
    """Its provider's other upstream cannot be had, and then its connection ends, too: it is asked on a fresh one."""
    loser = Loser()
    handlers = {A: internet.tls(loser.serve), B: kin, C: internet.dot(echo)}
    named = {A: "one", B: "one", C: "two"}
    async with running(internet, demands, handlers, providers=named, order=order) as pool:
        replies = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_busy, pool, 3)
            await trio.sleep(0.5)
            pool.exchange_soon(message(13, b"lost"), replies.append)
            await trio.sleep(2.2)
            nursery.cancel_scope.cancel()
        assert replies == []
        if end == "fin":
            await loser.servers[0].transport.aclose()
        elif end == "silence":
            loser.hold = True
        else:
            pool.moved("elsewhere")
        pool.exchange_soon(message(14), replies.append)
        await trio.sleep(1.5)
        assert sorted(replies) == [message(13, b"lost"), message(14)]
        await trio.sleep(4)
        assert all(line.outstanding == 0 for line in pool.statistics().upstreams)


@pytest.mark.parametrize("order", ["latency", "strict"])
async def test_who_cannot_be_reached_is_left_in_peace_while_others_are_answered(
    autojump_clock, internet, demands, order
):
    """A name that is lost twice a second makes no dial that is not due: the other one pauses for longer each time."""
    loser = Loser()
    async with running(internet, demands, {A: internet.tls(loser.serve), B: UNREACHABLE}, order=order) as pool:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_busy, pool, 60)
            for number in range(100):
                pool.exchange_soon(message(1000 + number, b"lost"), lambda _: None)
                await trio.sleep(0.5)
        dials = [at for at, where in internet.dialled if where == "127.0.0.2"]
        assert 3 <= len(dials) <= 12
        assert len(loser.servers) == 1
