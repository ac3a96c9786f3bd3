"""The network, watched: bursts become one look, what differs is told, and only the kernel is believed."""

import contextlib
import errno
import itertools
import socket
from ipaddress import ip_address

import pytest
import trio
import trio.testing

from stubresolver.netwatch import Network
from stubresolver.netwatch.monitor import LONGEST_SECONDS, QUIET_SECONDS, Monitor, look, open_events
from stubresolver.netwatch.netlink import DEL_ADDRESS, NEW_LINK, NEW_ROUTE
from tests.netwatch.test_netlink import FULL, HERE, HOME, Route, address_body, attribute, link_body, message

AWAY = Route(5, HERE, HERE)


class Kernel:
    """What would be asked and what tells: a socket pair stands for netlink's."""

    def __init__(self):
        self.routes, self.looks = (HOME,), 0
        self.far, self.near = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.near.setblocking(False)
        self.sender, self.errors = 0, []

    def look(self, targets):
        self.looks += 1
        if isinstance(self.routes, Exception):
            error, self.routes = self.routes, (AWAY,)
            raise error
        return self.routes

    def tell(self, kind, body=b""):
        self.far.send(message(kind, body))

    # The near socket as the monitor uses it.
    def fileno(self):
        return self.near.fileno()

    def recvfrom(self, octets):
        if self.errors:
            raise OSError(self.errors.pop(0), "recv")
        return self.near.recv(octets), (self.sender, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.near.close()


@contextlib.asynccontextmanager
async def watched(kernel):
    told = []
    monitor = Monitor([ip_address("192.0.2.1")], told.append, look=kernel.look)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(monitor.run, kernel)
        await until(lambda: told)
        yield told
        nursery.cancel_scope.cancel()
    kernel.far.close()


def _empty(sock):
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    return False


async def until(condition):
    """Wait for what comes out of a thread."""
    with trio.fail_after(5):
        while not condition():  # noqa: ASYNC110 - a thread tells no event of trio's
            await trio.sleep(0.005)


async def test_the_first_network_is_told():
    """At the start, with a key that stands for it."""
    async with watched(Kernel()) as told:
        assert told[0].reachable is True
        assert len(told[0].key) == 16


async def test_no_network_at_the_start():
    """Nothing can be reached: the key is empty."""
    kernel = Kernel()
    kernel.routes = (None,)
    async with watched(kernel) as told:
        assert told == [Network("", False)]


async def test_a_burst_is_one_look():
    """A hundred messages are a burst, and a burst is looked at once."""
    kernel = Kernel()
    async with watched(kernel) as told:
        kernel.routes = (AWAY,)
        for _ in range(100):
            kernel.tell(NEW_ROUTE, FULL)
        await until(lambda: len(told) == 2)
        assert kernel.looks == 2
        assert told[1].key != told[0].key


async def test_messages_that_change_nothing_are_not_told():
    """A lifetime that is renewed, a container's interface: the way to the upstreams is the same."""
    kernel = Kernel()
    async with watched(kernel) as told:
        kernel.tell(NEW_LINK, link_body(9, 0))
        await until(lambda: kernel.looks == 2)
        await trio.sleep(0.02)
        assert len(told) == 1


@pytest.mark.parametrize(
    ("kind", "body"), [(NEW_LINK, link_body(3, 0x1)), (DEL_ADDRESS, address_body(attribute(2, HERE)))]
)
async def test_what_was_away_for_a_moment_is_told(kind, body):
    """A carrier or an address that went and came back within the burst: connections over it may be dead."""
    kernel = Kernel()
    async with watched(kernel) as told:
        kernel.tell(kind, body)
        await until(lambda: len(told) == 2)
        assert told[1] == told[0]


async def test_nobody_but_the_kernel_is_believed():
    """A message from another process is read and forgotten."""
    kernel = Kernel()
    async with watched(kernel) as told:
        kernel.sender = 4711
        kernel.routes = (AWAY,)
        kernel.tell(NEW_LINK, link_body(3, 0))
        kernel.far.setblocking(False)
        await until(lambda: _empty(kernel.near))
        await trio.sleep(QUIET_SECONDS)
        assert (kernel.looks, len(told)) == (1, 1)


async def test_messages_that_were_lost_cost_nothing():
    """ENOBUFS is a reason to look, and no error."""
    kernel = Kernel()
    async with watched(kernel) as told:
        kernel.routes = (AWAY,)
        kernel.errors = [errno.ENOBUFS]
        kernel.tell(NEW_ROUTE, FULL)
        await until(lambda: len(told) == 2)


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "socket"), RuntimeError("can't start new thread")])
async def test_a_look_that_fails_is_made_again(error, monkeypatch):
    """No descriptor or no thread for a look: a second later there may be one."""
    monkeypatch.setattr("stubresolver.netwatch.monitor.RETRY_SECONDS", 0.01)
    kernel = Kernel()
    async with watched(kernel) as told:
        kernel.routes = error
        kernel.tell(NEW_ROUTE, FULL)
        await until(lambda: len(told) == 2)
        assert kernel.looks == 3


async def test_a_flood_is_looked_at_twice_a_second(autojump_clock):
    """Messages without end do not put a look off for longer than half a second, nor make many."""
    kernel = Kernel()
    monitor = Monitor([], lambda _: None, look=kernel.look)
    kernel.recvfrom = lambda _octets: (message(NEW_ROUTE, FULL), (0, 0))
    kernel.far.send(b"wake")
    await monitor._burst(kernel)
    assert LONGEST_SECONDS <= trio.current_time() < LONGEST_SECONDS + 2 * QUIET_SECONDS
    kernel.near.close()
    kernel.far.close()


async def test_who_makes_himself_the_router_again_and_again_brings_no_storm(autojump_clock, monkeypatch):
    """A way that changes twenty times a second is told eight times, and then once a second, as it is by then."""

    async def run_here(function, *arguments, **_):
        await trio.lowlevel.checkpoint()
        return function(*arguments)

    monkeypatch.setattr("stubresolver.netwatch.monitor.trio.to_thread.run_sync", run_here)
    kernel, told = Kernel(), []
    monitor = Monitor([ip_address("192.0.2.1")], lambda _: told.append(trio.current_time()), look=kernel.look)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(monitor.run, kernel)
        for number in range(200):
            await trio.sleep(0.05)
            kernel.routes = (AWAY if number % 2 else HOME,)
            kernel.tell(NEW_ROUTE, FULL)
        nursery.cancel_scope.cancel()
    kernel.far.close()
    assert told[8] < 1
    assert all(after - before > 0.9 for before, after in itertools.pairwise(told[9:]))
    assert 15 <= len(told) <= 20


def test_the_kernels_own_answer():
    """Loopback is always to be reached, by itself; the real kernel is asked."""
    four, six = look([ip_address("127.0.0.1"), ip_address("127.0.0.1")])
    assert four == six
    assert four is not None
    assert four.source == ip_address("127.0.0.1").packed


async def test_the_real_socket_hears_nothing_of_our_own_questions():
    """To look wakes nobody: else one look would bring the next."""
    with open_events() as events:
        look([ip_address("127.0.0.1")])
        with trio.move_on_after(0.05) as limit:
            await trio.lowlevel.wait_readable(events)
    assert limit.cancelled_caught
