"""Upstreams that do their worst after, and during, a handshake: over loopback, with the lab's certificates and judge.

In each case the hostile upstream is the preferred one, another one is honest, and several clients ask at once. Time is
real here, but what is counted is octets that we took, memory, and our own processor time.
"""

import gc
import time
import tracemalloc
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest
import trio
from hyperframe.frame import GoAwayFrame

from stubresolver.errors import PolicyRefused, UpstreamError
from stubresolver.lab.authority import octet_string
from stubresolver.lab.servers import DotServer
from stubresolver.lab.world import World
from stubresolver.transport.tls import TLSContext
from stubresolver.upstream import Demands, Pool, UpstreamOptions, dial, parse_upstream
from stubresolver.upstream.report import ConnectionLost, DialFailed, Judged
from stubresolver.upstream.tcp import open_tcp
from stubresolver.verify import Verifier
from tests.transport.floods import PING, SETTINGS, frame
from tests.upstream.conftest import FakeRecorder
from tests.upstream.hostile_servers import HOSTILE, Hostile, Tally, elsewhere

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
TAKEN = 4 << 20  # octets that we read of a hostile peer at most: a few of the largest reads beyond the limits
KEPT = 3 << 20  # octets of Python's memory at its peak, the servers' own buffers included
BUSY = 0.1  # seconds of processor time between two turns of the event loop
CLIENTS = 3
LARGE = [
    "chain of 16 MiB",
    "tls padding",
    "tls key update",
    "h2 settings without end",
    "h2 huge field",
    "h2 unknown large frame",
]


class Counted(trio.abc.Stream):
    """A connection, and how much was read from it."""

    def __init__(self, inner: trio.abc.Stream) -> None:
        self.inner = inner
        self.taken = 0
        self.closed = False

    async def receive_some(self, max_bytes=None):
        data = await self.inner.receive_some(max_bytes)
        self.taken += len(data)
        return data

    async def send_all(self, data):
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self):
        await self.inner.wait_send_all_might_not_block()

    async def aclose(self):
        self.closed = True
        await self.inner.aclose()


@dataclass
class Scene:
    """A pool in front of a hostile and an honest upstream."""

    pool: Pool
    hostile: str
    tally: Tally
    dialled: dict[str, list[Counted]] = field(default_factory=dict)
    events: list = field(default_factory=list)

    @property
    def left(self) -> bool:
        """True if our first connection to the hostile upstream is closed."""
        return any(stream.closed for stream in self.dialled.get(self.hostile, ()))

    def said(self) -> list[str]:
        """What the log says of the hostile upstream."""
        return [
            event.reason if isinstance(event, ConnectionLost) else event.error.summary
            for event in self.events
            if isinstance(event, ConnectionLost | DialFailed) and str(event.upstream) == self.hostile
        ]

    async def ask(self, query: bytes) -> bytes | UpstreamError:
        """What one client gets."""
        done = trio.Event()
        results = []

        def reply(result):
            results.append(result)
            done.set()

        self.pool.exchange_soon(query, reply)
        await done.wait()
        return results[0]


@pytest.fixture(scope="module")
def world():
    return World(NOW)


@pytest.fixture(scope="module")
def lab_demands(world):
    judge = Verifier(world.policy, world.log_list)
    return Demands(TLSContext([each.anchor for each in world.trusted]), judge, FakeRecorder(), lambda: NOW)


@pytest.fixture(scope="module")
def lab_credential(world):
    return world.issue()


@asynccontextmanager
async def staged(hostile: Hostile, demands: Demands, credential, order="strict"):
    """The hostile upstream is asked first, the honest one (another provider's) only where it must be."""
    tally = Tally()
    with elsewhere(hostile, credential, tally) as port:
        async with trio.open_nursery() as nursery:
            other = await nursery.start(DotServer(credential, lambda query: query[:2] + b"\x80" + query[3:]).serve)
            first = parse_upstream(f"{hostile.transport}://127.0.0.1:{port}#dns.lab")
            second = parse_upstream(f"tls://127.0.0.1:{other}#dns.lab")
            scene = Scene(None, str(first), tally)

            async def counted(upstream):
                stream = Counted(await open_tcp(upstream))
                scene.dialled.setdefault(str(upstream), []).append(stream)
                return stream

            demands = replace(demands, open_tcp=counted)
            silence = 1.0 if hostile.reason else 0.15  # on a busy machine a flood, too, takes a moment to come
            options = UpstreamOptions(order=order, silence=silence, dial_timeout=0.6, query_timeout=3.0)
            providers = {first: "hostile", second: "honest"}
            scene.pool = Pool({first: demands, second: demands}, options, scene.events.append, providers=providers)
            await nursery.start(scene.pool.run)
            with trio.move_on_after(0.5):  # where it can be judged at all
                while not any(isinstance(event, Judged) for event in scene.events):  # noqa: ASYNC110
                    await trio.sleep(0.001)
            yield scene
            nursery.cancel_scope.cancel()


@pytest.fixture(scope="module", autouse=True)
def _as_in_the_service():
    """The collector does not look at what was there before, as in `run`: thousands of tests leave it 0.2 s of work."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


async def starved(longest: list[float]) -> None:
    """How much processor time passes between two turns of this task."""
    while True:
        before = time.thread_time()
        await trio.sleep(0.001)
        longest.append(time.thread_time() - before)


def query(number: int) -> bytes:
    """One question, of its own for each number."""
    return number.to_bytes(2) + b"\1\0\0\1" + bytes(6) + b"\4x%03d\3lab\0\0\1\0\1" % number


async def played(scene: Scene, hostile: Hostile) -> None:
    """Clients ask and have the right answers; the hostile upstream is left, and the log says why."""
    answers = {}

    async def client(number):
        answers[number] = await scene.ask(query(number))

    with trio.fail_after(5):
        async with trio.open_nursery() as clients:
            for number in range(CLIENTS):
                clients.start_soon(client, number)
        while (hostile.reason and not scene.said()) or not scene.left:  # noqa: ASYNC110 - of another thread
            await trio.sleep(0.005)
    assert answers == {number: query(number)[:2] + b"\x80" + query(number)[3:] for number in range(CLIENTS)}
    assert not hostile.reason or any(hostile.reason in text for text in scene.said())


CASES = [(name, "latency") for name in HOSTILE]
CASES += [(name, "strict") for name, hostile in HOSTILE.items() if not hostile.reason]  # which are left for silence


@pytest.mark.parametrize(("name", "order"), CASES)
async def test_hostile_upstream(name, order, lab_demands, lab_credential):
    """Every client has the right answer, from elsewhere; octets and work are bounded; the log says what happened."""
    hostile, longest = HOSTILE[name], []
    async with staged(hostile, lab_demands, lab_credential, order) as scene, trio.open_nursery() as nursery:
        nursery.start_soon(starved, longest)
        await played(scene, hostile)
        nursery.cancel_scope.cancel()
    assert max(stream.taken for stream in scene.dialled[scene.hostile]) < TAKEN
    assert scene.tally.connections <= 3
    assert max(longest, default=0) < BUSY


@pytest.mark.parametrize("name", LARGE)
async def test_hostile_upstream_takes_little_memory(name, lab_demands, lab_credential):
    """What a peer can make us keep, at the moment where it is most."""
    tracemalloc.start(1)
    try:
        async with staged(HOSTILE[name], lab_demands, lab_credential) as scene:
            await played(scene, HOSTILE[name])
            assert tracemalloc.get_traced_memory()[1] < KEPT
    finally:
        tracemalloc.stop()


async def test_ten_thousand_scts(world, lab_demands):
    """A certificate with 10,000 SCTs is judged in bounded time and refused by name."""
    junk = octet_string((60_000).to_bytes(2) + (b"\0\4" + bytes(4)) * 10_000)
    credential = world.issue(lambda _issuer_key_hash, _tbs: junk)
    with elsewhere(HOSTILE["dot silent"], credential, Tally()) as port:
        before = time.thread_time()
        with pytest.raises(PolicyRefused, match="10000 embedded SCTs, at most 32 are looked at"):
            await dial(parse_upstream(f"tls://127.0.0.1:{port}#dns.lab"), lab_demands)
        assert time.thread_time() - before < BUSY


def dot_answer_and(tail):
    """DoT: each query is answered well, and broken behind it."""

    async def serve(server):
        data = await server.receive()
        await server.send(data[:4] + b"\x80" + data[5:] + tail)
        await _listened(server)

    return serve


def h2_leave_after(last, *, flood):
    """HTTP/2: GOAWAY at once, which spares the first stream or none; nothing is ever answered."""

    async def serve(server):
        await server.receive()
        await server.send(frame(SETTINGS) + GoAwayFrame(0, last_stream_id=last).serialize())
        await server.send(frame(PING, bytes(8)) * flood)
        await _listened(server)

    return serve


async def _listened(server):
    while await server.receive():
        pass


RESTLESS = {
    "answer and an octet": ("tls", dot_answer_and(b"\0"), 320),
    "answer and another": ("tls", dot_answer_and(b"\0\x0c\xff\xff" + bytes(10)), 320),
    "leave": ("https", h2_leave_after(0, flood=0), 400),
    "leave after one": ("https", h2_leave_after(1, flood=0), 400),
    "leave and flood": ("https", h2_leave_after(0, flood=3000), 400),
    "leave after one and flood": ("https", h2_leave_after(1, flood=3000), 400),
}


@pytest.mark.parametrize(("transport", "serve", "least"), RESTLESS.values(), ids=RESTLESS)
async def test_restless_upstream_is_not_dialled_in_a_loop(autojump_clock, internet, demands, transport, serve, least):
    """The only upstream breaks each connection again: pauses grow, whatever it answered, while clients go on asking."""
    upstream = parse_upstream(f"{transport}://127.0.0.1#dns.test")
    internet.handlers["127.0.0.1"] = internet.tls(serve)
    results = []
    async with trio.open_nursery() as internet.nursery:
        pool = Pool({upstream: demands})
        await internet.nursery.start(pool.run)
        for number in range(400):
            pool.exchange_soon(query(number), results.append)
            await trio.sleep(0.05)
        internet.nursery.cancel_scope.cancel()
    assert len(results) >= least
    assert len(internet.dialled) < 25
