"""Tasks that DNS goes on without: one that fails is told, in words and with its place, and begun again.

Without listeners, connections and the resolver there is no service, and a defect in them ends the process: the service
manager starts a fresh one. Files that are watched, audits, commands, reminders are not worth that. Whatever ends such a
task, a defect of ours or a lack of memory, threads or descriptors, it is begun again after a pause that doubles. Each
failure is a line in the log, and what failed last is known by the task's name, for whoever looks at the service.
"""

import logging
import traceback
from collections.abc import Awaitable, Callable
from typing import Final

import trio

SHORTEST: Final = 1.0  # seconds until it is begun again
LONGEST: Final = 300.0  # what fails for long is worth no more lines; and whoever mends it does not wait for longer

_PACKAGE: Final = __file__.removesuffix("contained.py")

log = logging.getLogger("stubresolver")


class Containment:
    """Runs such tasks, and knows which of them have failed."""

    def __init__(self, told: Callable[[], None] = lambda: None) -> None:
        """`told` is called when `problems` has changed."""
        self.problems: dict[str, str] = {}  # by the task's name, until it has done well for `LONGEST`
        self._told = told

    def __str__(self) -> str:
        return "; ".join(f"{name}: {problem}" for name, problem in self.problems.items())

    async def run(self, name: str, task: Callable[[], Awaitable[object]]) -> None:
        """Run a task until it returns or is cancelled, however often it fails."""
        pause = SHORTEST
        while True:
            begun = trio.current_time()
            try:
                await task()
            except Exception as error:  # noqa: BLE001 - the purpose of this file
                if trio.current_time() - begun > LONGEST:
                    pause = SHORTEST
                problem = describe(error)
                log.error("%s failed, and is begun again in %g s: %s", name, pause, problem)  # noqa: TRY400 - says where
                self._note(name, problem)
                await trio.sleep(pause)
                pause = min(2 * pause, LONGEST)
            else:
                self._note(name, "")
                return

    def _note(self, name: str, problem: str) -> None:
        before = self.problems.pop(name, "")
        if problem:
            self.problems[name] = problem
        if problem != before:
            self._told()


def describe(error: BaseException) -> str:
    """What went wrong, and where in our own code, in one line; of a group each error of it."""
    if isinstance(error, BaseExceptionGroup):
        return ", ".join(dict.fromkeys(describe(inner) for inner in error.exceptions))
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    ours = [(file, line) for file, line in places if file.startswith(_PACKAGE) and file != __file__]
    where = f" ({ours[-1][0].removeprefix(_PACKAGE)}:{ours[-1][1]})" if ours else ""
    text = "not enough memory" if isinstance(error, MemoryError) else f"{type(error).__name__}: {error}"
    return f"{text}{where}"
