"""Opening a TCP connection: further attempts beside pending ones, on virtual time."""

import pytest
import trio

from stubresolver.upstream import parse_upstream
from stubresolver.upstream.tcp import AGAIN_SECONDS, ATTEMPTS, first_of, open_tcp


class Network:
    """Each attempt takes a number of seconds, or for ever (None), and brings its number or an OSError."""

    def __init__(self, *plan):
        self.plan = plan
        self.began = []
        self.discarded = []
        self.pending = 0

    async def attempt(self):
        number = len(self.began)
        self.began.append(trio.current_time())
        seconds, outcome = self.plan[min(number, len(self.plan) - 1)]
        self.pending += 1
        try:
            await trio.sleep(float("inf") if seconds is None else seconds)
        finally:
            self.pending -= 1
        if isinstance(outcome, OSError):
            raise outcome
        return number

    async def first(self):
        return await first_of(self.attempt, self.discarded.append)


LOST = (None, None)
REFUSED = ConnectionRefusedError(111, "refused")
FULL = OSError(24, "too many open files")


async def test_first_attempt_that_stands_is_used(autojump_clock):
    """Nothing lost: one attempt, and no time taken beyond its own."""
    network = Network((0.3, "stands"))
    start = trio.current_time()
    assert await network.first() == 0
    assert trio.current_time() == start + 0.3
    assert (len(network.began), network.pending) == (1, 0)


async def test_lost_syn_costs_half_a_second(autojump_clock):
    """The kernel would send the next one after a second, then after three."""
    network = Network(LOST, (0.1, "stands"))
    start = trio.current_time()
    assert await network.first() == 1
    assert trio.current_time() == start + AGAIN_SECONDS + 0.1
    assert network.pending == 0


async def test_network_that_comes_back_is_found_within_half_a_second(autojump_clock):
    """However long it was away, within the patience of a dial."""
    network = Network(*[LOST] * 4, (0.02, "stands"))
    assert await network.first() == 4
    assert network.began[4] - network.began[0] == 4 * AGAIN_SECONDS


async def test_slow_first_attempt_may_still_win(autojump_clock):
    """A satellite link takes 0.7 s, and its first SYN was not lost."""
    network = Network((0.7, "stands"), LOST)
    assert await network.first() == 0
    assert len(network.began) == 2


async def test_refusal_is_told_at_once(autojump_clock):
    """No further SYN where the first one was answered with a reset."""
    network = Network((0.01, REFUSED))
    start = trio.current_time()
    with pytest.raises(ConnectionRefusedError):
        await network.first()
    assert trio.current_time() == start + 0.01
    assert len(network.began) == 1


async def test_failure_beside_a_pending_attempt_ends_nothing(autojump_clock):
    """No descriptor for a second socket is no reason to drop the first one."""
    network = Network((0.9, "stands"), (0, FULL))
    assert await network.first() == 0


async def test_attempts_are_bounded_and_closed_when_time_is_up(autojump_clock):
    """Whoever dials has a time limit; nothing is left pending after it."""
    network = Network(LOST)
    with trio.move_on_after(60):
        await network.first()
    assert (len(network.began), network.pending) == (ATTEMPTS, 0)


async def test_two_that_stand_in_the_same_turn(autojump_clock):
    """The first is used, the other closed."""
    network = Network((0, "stands"))
    back = trio.Event()

    async def attempt():
        network.began.append(trio.current_time())
        number = len(network.began)
        if number == 1:
            await back.wait()
        back.set()
        return number

    assert {await first_of(attempt, network.discarded.append), *network.discarded} == {1, 2}


async def test_what_stands_when_the_time_is_up_is_closed(autojump_clock):
    """No descriptor is left over where the limit comes in the same turn as the connection."""
    network = Network((1.0, "stands"))
    brought = []
    with trio.move_on_after(1.0):
        brought.append(await network.first())
    assert brought + network.discarded in ([0], [])
    assert network.pending == 0


async def test_many_sockets_one_connection():
    """Over loopback: the server sees one connection, and nothing is written to it."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    stream = await open_tcp(parse_upstream(f"tls://127.0.0.1:{port}"))
    served = await listener.accept()
    await stream.aclose()
    assert await served.receive_some() == b""
    await served.aclose()
    await listener.aclose()
