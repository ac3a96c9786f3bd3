"""A program of the fault lab that is told things by lines of JSON, and answers each by its number."""

import contextlib
import itertools
import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]
_START = 30.0  # seconds; half a second on a machine that has time
_PATIENCE = 20.0


class Remote:
    """`python -m MODULE` in some network; `call` waits for its reply, `send` does not."""

    def __init__(self, module: str, prefix: Sequence[str], folder: Path) -> None:
        self._log = folder / f"{module.rpartition('.')[2]}.log"
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Future[Any]] = {0: Future()}
        self._lock = threading.Lock()
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=_ROOT,
                text=True,
                bufsize=1,
            )
        ready = self._waiting[0]
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            ready.result(_START)
        except BaseException:
            self.end()
            raise

    def send(self, **order: object) -> "Future[Any]":
        """Its reply, to come."""
        reply: Future[Any] = Future()
        with self._lock:
            number = next(self._numbers)
            self._waiting[number] = reply
            assert self.process.stdin is not None
            try:
                self.process.stdin.write(json.dumps({"id": number, **order}) + "\n")
            except BrokenPipeError:
                raise AssertionError(f"it has ended: {self.log[-3000:]}") from None
        return reply

    def call(self, **order: object) -> Any:
        """Its reply."""
        return self.send(**order).result(_PATIENCE)

    @property
    def log(self) -> str:
        """What it has written beside its replies."""
        return self._log.read_text(errors="replace")

    def end(self) -> None:
        """Close its input, which it takes as the end; kill it if it does not."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended by itself
            self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(5)
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said = json.loads(line)
            reply = self._waiting.pop(said["id"])
            if "error" in said:
                reply.set_exception(AssertionError(said["error"]))
            else:
                reply.set_result(said["got"])
        for reply in list(self._waiting.values()):
            reply.set_exception(AssertionError(f"it has ended: {self.log[-3000:]}"))
