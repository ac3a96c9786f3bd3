"""A program under measurement: started, asked, its processor time and memory read, ended by its id.

Everything is bounded: a program that does not answer within its time is an error that quotes the last lines it wrote.
"""

import os
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import dns.exception
import dns.message
import dns.rcode

_TICK = os.sysconf("SC_CLK_TCK")  # proc(5): utime and stime are in clock ticks
_READY_SECONDS = 15.0  # the slowest peer needs less than one
_STOP_SECONDS = 5.0
_LAST_OCTETS = 2000  # of what a program wrote, quoted if it fails


class CannotMeasure(Exception):
    """A program is missing, did not start, or did not answer as it must; no figure would mean anything."""


class Program:
    """A child process; ends at the end of its `with` block."""

    def __init__(
        self, name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.started = time.monotonic()
        self._output = folder / f"{name}.output"
        with self._output.open("wb") as output:
            try:
                self._child = subprocess.Popen(
                    command,
                    cwd=folder,
                    env={**os.environ, **(environment or {})},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            except OSError as error:
                raise CannotMeasure(f"{name}: {command[0]} cannot be started: {error.strerror}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.terminate()
        try:
            self._child.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    @property
    def processor_seconds(self) -> float:
        """User and system time of all threads since the start; proc(5), /proc/PID/stat fields 14 and 15."""
        stat = self._proc("stat")
        fields = stat[stat.rindex(")") + 2 :].split()  # field 3 is the first after the name in parentheses
        return (int(fields[14 - 3]) + int(fields[15 - 3])) / _TICK

    @property
    def resident_mebibytes(self) -> float:
        """VmRSS of /proc/PID/status, which counts shared pages of libraries too."""
        line = next(line for line in self._proc("status").splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024

    def wait_until_it_answers(self, port: int, name: str = "ready.wild.lab") -> float:
        """Ask an A question over UDP until it is answered with an address; returns the seconds since the start."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", port))
            sock.settimeout(0.25)
            while time.monotonic() < self.started + _READY_SECONDS:
                self._require_running()
                reply = _ask(sock, name)
                if reply is not None and reply.rcode() == dns.rcode.NOERROR and reply.answer:
                    return time.monotonic() - self.started
                time.sleep(0.005)
        raise CannotMeasure(f"{self.name}: no answer from 127.0.0.1:{port} within {_READY_SECONDS:g} s{self._last()}")

    def wait_until_it_accepts(self, port: int) -> None:
        """Connect over TCP until somebody accepts."""
        while time.monotonic() < self.started + _READY_SECONDS:
            self._require_running()
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            time.sleep(0.02)
        raise CannotMeasure(f"{self.name}: 127.0.0.1:{port} accepts no connection{self._last()}")

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    @property
    def descriptors(self) -> int:
        """How many it has open."""
        self._require_running()
        return len(list(Path(f"/proc/{self._child.pid}/fd").iterdir()))

    def end(self) -> tuple[int, str]:
        """SIGTERM, and its exit status and all that it wrote; the `with` block finds it ended."""
        self._require_running()
        self._child.terminate()
        try:
            status = self._child.wait(_STOP_SECONDS * 2)
        except subprocess.TimeoutExpired:
            self._child.kill()
            status = self._child.wait()
        return status, self._output.read_bytes().decode(errors="replace")

    def _proc(self, name: str) -> str:
        self._require_running()
        return Path(f"/proc/{self._child.pid}/{name}").read_text()

    def _require_running(self) -> None:
        if self._child.poll() is not None:
            raise CannotMeasure(f"{self.name}: ended with status {self._child.returncode}{self._last()}")

    def _last(self) -> str:
        written = self._output.read_bytes()[-_LAST_OCTETS:].decode(errors="replace").strip()
        return f"; it wrote:\n{written}" if written else "; it wrote nothing"


def free_port() -> int:
    """A port of 127.0.0.1 that is free for UDP and TCP now; the next one to bind it has it."""
    while True:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        ):
            tcp.bind(("127.0.0.1", 0))
            port: int = tcp.getsockname()[1]
            with suppress(OSError):
                udp.bind(("127.0.0.1", port))
                return port


def _ask(sock: socket.socket, name: str) -> dns.message.Message | None:
    """One question and whatever comes back within the socket's timeout; None where nothing or nonsense does."""
    query = dns.message.make_query(name, "A")
    try:
        sock.send(query.to_wire())
        reply = dns.message.from_wire(sock.recv(4096))
    except (OSError, dns.exception.DNSException):
        return None  # not bound yet: ICMP port unreachable; or not connected upstream yet
    return reply if query.is_response(reply) else None
