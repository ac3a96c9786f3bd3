"""When the wall clock was set, and when the machine has slept: three clocks compared, and a timer that wakes for it.

CLOCK_BOOTTIME counts a suspension and CLOCK_MONOTONIC does not (clock_gettime(2)): the difference grows by each sleep.
The wall clock goes as CLOCK_BOOTTIME does unless somebody sets it. So two readings tell what happened in between.

To be told at once there is one kind of timer: a timerfd on CLOCK_REALTIME with TFD_TIMER_CANCEL_ON_SET, of which
timerfd_create(2) says that read fails with ECANCELED "if the real-time clock undergoes a discontinuous change". The
kernel counts a resume as one. It needs no privilege: what ProtectClock= forbids is to set a clock. Python has no name
for it before 3.13, so this file calls libc; nothing is called back. Without it, and beside it, the clocks are looked at
once a second.

Which clocks these are is an argument.
"""

import contextlib
import ctypes
import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import trio

from stubresolver.netwatch.change import Kind

LOOK_SECONDS: Final = 1.0  # as often as files are looked at (`watched`)

# Less changes nothing that matters: certificates and signatures have no seconds, and a sleep that short breaks nothing.
LEAST: Final = 1.0

_TOGETHER: Final = 0.1  # seconds between the first and the last clock of a reading; more, and it is made anew
_REALTIME: Final = 0  # CLOCK_REALTIME, linux/time.h
_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC  # TFD_NONBLOCK, TFD_CLOEXEC (linux/timerfd.h)
_ABSOLUTE, _CANCEL_ON_SET = 1, 2  # TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET
_NEVER: Final = min(1 << 40, (1 << 8 * ctypes.sizeof(ctypes.c_long) - 1) - 1)  # seconds: it is not meant to end


@dataclass(frozen=True, slots=True)
class Clocks:
    """Three clocks in seconds: since 1970, since the machine started, and the same without its sleep."""

    wall: Callable[[], float]
    boot: Callable[[], float]
    monotonic: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Reading:
    """What the clocks say of each other at one moment."""

    slept: float
    offset: float  # of the wall clock

    def since(self, before: "Reading") -> Iterator[Kind]:
        """What happened between an earlier reading and this one."""
        if self.slept - before.slept > LEAST:
            yield Kind.RESUME
        if abs(self.offset - before.offset) > LEAST:
            yield Kind.CLOCK


def read_clocks(clocks: Clocks) -> Reading:
    """All three at one moment: a process that is stopped in between must not believe that the machine slept."""
    for _ in range(3):
        began = clocks.boot()
        reading = Reading(began - clocks.monotonic(), clocks.wall() - began)
        if clocks.boot() - began < _TOGETHER:
            break
    return reading


async def watch_clocks(
    clocks: Clocks, happened: Callable[[Kind], None], open_timer: Callable[[], "ClockTimer"] | None = None
) -> None:
    """Call `happened` for each sleep and each setting of the clock, until cancelled."""
    before = read_clocks(clocks)
    with contextlib.ExitStack() as stack:
        timer: ClockTimer | None = None
        # An old kernel, or a sandbox that has not heard of it: once a second then.
        with contextlib.suppress(OSError):
            timer = stack.enter_context(contextlib.closing((open_timer or ClockTimer)()))
        while True:
            with trio.move_on_after(LOOK_SECONDS):
                if timer is not None and not await timer.wait():
                    timer = None
            if timer is None:
                await trio.sleep(LOOK_SECONDS)
            now = read_clocks(clocks)
            for kind in now.since(before):
                before = now
                happened(kind)


class _Time(ctypes.Structure):
    """struct timespec."""

    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Setting(ctypes.Structure):
    """struct itimerspec of timerfd_settime(2)."""

    _fields_ = (("interval", _Time), ("value", _Time))


class ClockTimer:
    """A timer that never ends and is cancelled when the wall clock is set."""

    def __init__(self) -> None:
        """Raises `OSError` where the system has none."""
        libc = ctypes.CDLL(None, use_errno=True)
        try:
            self._create, self._set = libc.timerfd_create, libc.timerfd_settime
        except AttributeError:
            raise OSError("libc has no timerfd") from None
        self._set.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
        self._fd = self._create(_REALTIME, _FLAGS)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        if not self._armed():
            self.close()
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    async def wait(self) -> bool:
        """Wait until the wall clock is set, or the machine wakes; False if it can do so no more."""
        await trio.lowlevel.wait_readable(self._fd)
        try:
            os.read(self._fd, 8)
        except OSError as error:
            return error.errno == errno.ECANCELED and self._armed()
        return False  # it has ended, which takes 30,000 years

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._fd)

    def _armed(self) -> bool:
        """Set it anew; False where the kernel does not take that."""
        setting = _Setting(_Time(0, 0), _Time(_NEVER, 0))
        flags = _ABSOLUTE | _CANCEL_ON_SET
        return bool(self._set(self._fd, flags, ctypes.byref(setting), None) == 0)
