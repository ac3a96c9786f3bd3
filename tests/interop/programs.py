"""Other people's programs as child processes: started with a port that is theirs, waited for, ended by their id.

Every wait is bounded and polls a condition; nothing sleeps for a fixed time. What a program said goes to a file, and
the end of it stands in the error when something goes wrong.
"""

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol, TypeVar

_T = TypeVar("_T")
_ATTEMPTS = 3  # another program may take a free port between our look and the start
_POLL = 0.01  # seconds


def wait_until(condition: Callable[[], _T], seconds: float, what: str) -> _T:
    """The first true value of `condition`; an AssertionError that says `what` after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain for {what}"
        time.sleep(_POLL)
    return value


def free_port() -> int:
    """A port of 127.0.0.1 that neither UDP nor TCP uses at this moment."""
    for _ in range(100):
        with (
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        ):
            tcp.bind(("127.0.0.1", 0))
            port: int = tcp.getsockname()[1]
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free for both UDP and TCP")


def takes_tcp(port: int) -> bool:
    """True if a TCP connection to the port of 127.0.0.1 is accepted."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


class Program:
    """One child process and what it says."""

    def __init__(self, command: Iterable[object], log: Path, environment: dict[str, str] | None = None) -> None:
        self.command = [str(part) for part in command]
        self._log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=out, stderr=out, env=environment, cwd=log.parent
            )

    def __str__(self) -> str:
        status = self.process.poll()
        return f"{' '.join(self.command)} (process {self.process.pid}, status {status}):\n{self.log[-4000:]}"

    @property
    def log(self) -> str:
        """Everything that it has said so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def alive(self) -> bool:
        """False once it has ended."""
        return self.process.poll() is None

    def terminate(self) -> None:
        """SIGTERM, as a service manager sends it; does not wait."""
        self.process.terminate()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, without any farewell, and wait."""
        self.process.kill()
        self._reap()

    def finish(self) -> int:
        """Close its input, which some take as the end, and wait for its exit status."""
        return self._reap()

    def end(self) -> int:
        """SIGTERM, then SIGKILL if that is not enough; the exit status."""
        if self.alive:
            self.terminate()
        try:
            return self._reap()
        except subprocess.TimeoutExpired:
            self.kill()
            return self.process.returncode

    def _reap(self) -> int:
        if self.process.stdin:
            self.process.stdin.close()
        return self.process.wait(10)


class Startable(Protocol):
    """What `start` takes: a program, and how to see that it is ready."""

    @property
    def program(self) -> Program:
        """The process."""

    def ready(self) -> object:
        """True once it serves."""


_S = TypeVar("_S", bound=Startable)


def start(make: Callable[[], _S]) -> _S:
    """Make one and wait until it is ready; make another, with other ports, where it ended instead."""
    said = ""
    for _ in range(_ATTEMPTS):
        made = make()
        program = made.program
        try:
            wait_until(lambda: not program.alive or made.ready(), 15, f"the start of {program}")  # noqa: B023 - called here
            if program.alive:
                return made
            said = str(program)
        except BaseException:
            program.end()
            raise
        program.end()
    raise AssertionError(f"it does not start: {said}")
