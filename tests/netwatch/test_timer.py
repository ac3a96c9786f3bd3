"""Sleep and settings of the clock, told from three clocks that the tests set."""

import contextlib
import ctypes
import errno
import os
import time

import pytest
import trio
import trio.testing

from stubresolver.netwatch import Kind
from stubresolver.netwatch.timer import LEAST, Clocks, ClockTimer, Reading, read_clocks, watch_clocks


class Machine:
    """Clocks that a test sets; they stand still otherwise."""

    def __init__(self):
        self.wall, self.boot, self.monotonic = 1_800_000_000.0, 5000.0, 4000.0

    @property
    def clocks(self):
        return Clocks(lambda: self.wall, lambda: self.boot, lambda: self.monotonic)

    def sleep(self, seconds):
        self.wall += seconds
        self.boot += seconds

    def run(self, seconds):
        self.sleep(seconds)
        self.monotonic += seconds


@pytest.mark.parametrize(
    ("slept", "offset", "happened"),
    [
        (0, 0, []),
        (LEAST, LEAST, []),
        (-100, 0, []),
        (LEAST + 0.1, 0, [Kind.RESUME]),
        (0, LEAST + 0.1, [Kind.CLOCK]),
        (0, -LEAST - 0.1, [Kind.CLOCK]),
        (3600, -1e9, [Kind.RESUME, Kind.CLOCK]),
    ],
)
def test_what_two_readings_say(slept, offset, happened):
    """More than a second asleep is a resume; more than a second's difference, either way, a clock that was set."""
    assert list(Reading(10 + slept, 20 + offset).since(Reading(10, 20))) == happened


def test_small_steps_add_up():
    """A clock that is moved by little again and again was set as well, once it has gone far."""
    first = Reading(0, 0)
    assert not list(Reading(0, 0.6).since(first))
    assert list(Reading(0, 1.2).since(first)) == [Kind.CLOCK]


def test_a_process_that_is_stopped_between_two_clocks_has_seen_no_sleep():
    """A reading during which time passed is made anew."""
    machine = Machine()
    stops = [7.0]

    def monotonic():
        if stops:
            machine.run(stops.pop())
        return machine.monotonic

    reading = read_clocks(Clocks(lambda: machine.wall, lambda: machine.boot, monotonic))
    assert reading == read_clocks(machine.clocks)


class FakeTimer:
    """A timer that is cancelled when a test says so."""

    def __init__(self, send=None):
        self.send, self.receive = trio.open_memory_channel(9)
        self.closed = False

    async def wait(self):
        return await self.receive.receive()

    def close(self):
        self.closed = True


@contextlib.asynccontextmanager
async def watched(machine, open_timer):
    told = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            watch_clocks, machine.clocks, lambda kind: told.append((trio.current_time(), kind)), open_timer
        )
        await trio.testing.wait_all_tasks_blocked()
        yield told
        nursery.cancel_scope.cancel()


def broken():
    raise OSError(errno.ENOSYS, "timerfd_create")


async def test_without_a_timer_the_clocks_are_looked_at_each_second(autojump_clock):
    """Where the system has no such timer, a sleep is seen within a second, once."""
    machine = Machine()
    async with watched(machine, broken) as told:
        await trio.sleep(5.5)
        machine.sleep(3600)
        await trio.sleep(1)
        assert told == [(6, Kind.RESUME)]
        await trio.sleep(10)
        machine.wall -= 7 * 365 * 86400
        await trio.sleep(1)
        assert told[1:] == [(17, Kind.CLOCK)]


async def test_with_a_timer_it_is_told_at_once(autojump_clock):
    """A timer that is cancelled makes us look at that moment."""
    machine, timer = Machine(), FakeTimer()
    async with watched(machine, lambda: timer) as told:
        await trio.sleep(5.5)
        machine.sleep(3600)
        timer.send.send_nowait(True)
        await trio.sleep(0.1)
        assert told == [(5.5, Kind.RESUME)]
        timer.send.send_nowait(True)  # cancelled for nothing, say a step of a microsecond
        await trio.sleep(2)
        assert len(told) == 1
    assert timer.closed


async def test_a_timer_that_ceases_to_work(autojump_clock):
    """A timer that cannot be set again is not waited for any more, nor asked in a loop."""
    machine, timer = Machine(), FakeTimer()
    async with watched(machine, lambda: timer) as told:
        timer.send.send_nowait(False)
        await trio.sleep(3.5)
        machine.wall += 100
        await trio.sleep(1)
        assert told == [(4, Kind.CLOCK)]


async def test_a_sleep_and_a_clock_that_was_wrong_are_both_told(autojump_clock):
    """A machine may wake with another date; each is told once."""
    machine = Machine()
    async with watched(machine, broken) as told:
        machine.sleep(60)
        machine.wall = 0
        await trio.sleep(3)
    assert [kind for _, kind in told] == [Kind.RESUME, Kind.CLOCK]


async def test_the_kernels_timer_waits_while_no_clock_is_set():
    """The real one can be made and waited for, without any privilege, and its descriptor goes."""
    timer = ClockTimer()
    descriptor = timer._fd
    with trio.move_on_after(0.05) as limit:
        await timer.wait()
    assert limit.cancelled_caught
    timer.close()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(descriptor)


async def test_the_kernels_timer_cancelled(monkeypatch):
    """ECANCELED is what is waited for: the timer is set anew and can be waited for again; any other error ends it."""
    timer = ClockTimer()
    setting = (ctypes.c_long * 4)(0, 0, 0, 1)  # a timer that ends at once makes the descriptor readable
    numbers = [errno.ECANCELED, errno.EBADF]

    def read(_descriptor, _octets):
        raise OSError(numbers.pop(0), "read")

    monkeypatch.setattr(os, "read", read)
    timer._set(timer._fd, 0, ctypes.byref(setting), None)
    assert await timer.wait()
    with trio.move_on_after(0.05) as limit:
        await timer.wait()
    assert limit.cancelled_caught, "it was set anew"
    timer._set(timer._fd, 0, ctypes.byref(setting), None)
    assert not await timer.wait()
    timer.close()


def test_real_clocks_do_not_sleep_while_we_run():
    """Two readings of the machine's own clocks a moment apart say that nothing happened."""
    clocks = Clocks(time.time, lambda: time.clock_gettime(time.CLOCK_BOOTTIME), time.monotonic)
    assert not list(read_clocks(clocks).since(read_clocks(clocks)))
