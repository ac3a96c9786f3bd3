"""The evidence off the event loop: a disk that is slow, hangs or is locked delays a dial by a moment, and nobody else.

One thread at a time, as the file has one connection. Who waits for it waits for `PATIENCE` seconds; then what he has to
say is held in memory, and what he asks is answered from there. A use that outlives that goes on in its thread and ends
well or not; while it lasts nobody else waits. That is nothing to speak of, a memory card stalls for a second, unless it
lasts for `HANGS`. Where no thread can be started it is the same.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Generic, NoReturn, TypeVar

import trio

from stubresolver.ct import LogList
from stubresolver.errors import EvidenceError
from stubresolver.evidence.keeper import EvidenceKeeper
from stubresolver.evidence.records import EvidenceState, Kept, Recalled
from stubresolver.verify import Policy, Presented, Verdict

_T = TypeVar("_T")

log = logging.getLogger("stubresolver")

PATIENCE: Final = 0.5  # seconds of a dial for each of its two uses; a disk that is well takes a hundredth
HANGS: Final = 10.0  # seconds; the kernel tells of tasks that wait for a disk after 120 s
AGAIN: Final = 30.0  # seconds until what could not be kept is tried again without a dial
_HANGS = f"the disk has not answered for more than {HANGS:g} seconds"
_NO_THREAD = "no thread can be started to write it: raise TasksMax= or `ulimit -u`"


class Recorder:
    """What the dials of all upstreams share."""

    def __init__(self, keeper: EvidenceKeeper, told: Callable[[EvidenceState], None] = lambda _: None) -> None:
        """`told` is called in the event loop after each use that has changed the state."""
        self._keeper = keeper
        self._told = told
        self._state = keeper.state
        self._turn = trio.CapacityLimiter(1)
        self._late: _Use[Any] | None = None  # one that nobody waits for any more
        self._late_since = 0.0

    @property
    def state(self) -> EvidenceState:
        """What is kept and what is not, now."""
        return self._keeper.state

    def keep_demands(self, policy: Policy, log_list: LogList | None) -> None:
        """Take the demands that verdicts to come are judged by."""
        self._keeper.keep_demands(policy, log_list)

    async def recall(self, leaf_sha256: str) -> Recalled:
        """What a judgement of this leaf is told of the past, as far as it can be known in time."""
        here = partial(self._keeper.recall_here, leaf_sha256)
        return await self._use(partial(self._keeper.recall, leaf_sha256), lambda _: here(), here)

    async def record(self, upstream: str, presented: Presented, verdict: Verdict, policy: bytes) -> Sequence[Kept]:
        """Keep a judgement, made by a policy with this snapshot: on the disk, or else in memory."""
        try:
            judgement = self._keeper.judgement(upstream, presented, verdict, policy)
        except EvidenceError:  # its log list is not known: it could never be judged again, and is no evidence
            return ()

        def hold(problem: str | None) -> Sequence[Kept]:
            self._keeper.hold(judgement, problem)
            return ()

        return await self._use(partial(self._keeper.record, judgement), hold, lambda: ())

    async def tend(self) -> NoReturn:
        """Try again from time to time, as long as something could not be kept."""
        while True:
            await trio.sleep(AGAIN)
            if not self._keeper.state.kept or self._keeper.state.unrecorded or self._is_late:
                await self._use(self._keeper.retry, self._keeper.note, lambda: ())

    @property
    def _is_late(self) -> bool:
        """Whether a use goes on for which nobody waits any more."""
        return self._late is not None and not self._late.ended

    async def _use(self, in_thread: Callable[[], _T], here: Callable[[str | None], _T], late: Callable[[], _T]) -> _T:
        """What `in_thread` gives; where it could not begin in time what `here` does, told why if that is worth a word.

        Where it has begun and goes on, what `late` gives.
        """
        if self._is_late:
            return self._tell(here(_HANGS if trio.current_time() - self._late_since > HANGS else None))
        use = _Use(in_thread)
        try:
            with trio.move_on_after(PATIENCE):
                return self._tell(await trio.to_thread.run_sync(use, limiter=self._turn, abandon_on_cancel=True))
        except trio.Cancelled:
            if use.withdraw():
                here(None)  # the dial was given up; what it has found is not
            raise
        except Exception as error:  # a defect of ours, but what a peer showed must not end the process
            if not use.started and isinstance(error, RuntimeError):  # of threading
                return self._tell(here(_NO_THREAD))
            problem = f"{type(error).__name__}: {error}"
            log.exception("evidence: %s", problem)
            return self._tell(here(problem))
        if use.withdraw():
            return self._tell(here(None))
        self._late, self._late_since = use, trio.current_time()
        return self._tell(late())

    def _tell(self, value: _T) -> _T:
        if self._keeper.state != self._state:
            self._state = self._keeper.state
            self._told(self._state)
        return value


class _Use(Generic[_T]):
    """One call in a thread, that tells how far it is, and does not begin once it was withdrawn."""

    def __init__(self, function: Callable[[], _T]) -> None:
        self._function = function
        self._first = threading.Lock()  # taken by whoever comes first, the thread or `withdraw`
        self.started = self.ended = False

    def __call__(self) -> _T:
        if not self._first.acquire(blocking=False):
            raise RuntimeError("withdrawn")  # nobody hears it
        self.started = True
        try:
            return self._function()
        finally:
            self.ended = True

    def withdraw(self) -> bool:
        """Whether it had not begun; then it will not."""
        return self._first.acquire(blocking=False)
