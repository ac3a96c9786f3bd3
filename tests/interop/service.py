"""`stubresolver run` as a user runs it: a process of its own with files of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from stubresolver.lab.world import World
from tests.interop.programs import Program, free_port, start, wait_until

_ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "stubresolver")


def environment(folder: Path) -> dict[str, str]:
    """What the process sees of ours: where programs are; its state is kept in the folder."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "STATE_DIRECTORY": str(folder),
        "RUNTIME_DIRECTORY": str(folder),
        "PYTHONPATH": str(_ROOT),
        "LANG": "C.UTF-8",
    }


def write_files(
    folder: Path,
    world: World,
    upstreams: Sequence[str],
    *,
    listen: str,
    more: str = "",
    policies: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """The configuration with the lab's anchors, issuers and logs instead of the real ones; its path.

    `more` is added to the configuration; `policies` says what is added to policy.toml, or to other policy files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "anchors.pem").write_bytes(world.anchors_pem)
    (folder / "logs.json").write_bytes(world.log_list_json)
    policy = f"""
[anchors]
source = "anchors.pem"
[issuers]
allow = [{{ name = "Lab CA Root", spki_sha256 = "{world.lab.root_spki_sha256}" }}]
"""
    for name, added in {"policy.toml": "", **policies}.items():
        (folder / name).write_text(policy + added)
    file = folder / "stubresolver.toml"
    file.write_text(
        f"""
upstreams = [{", ".join(f'"{upstream}"' for upstream in upstreams)}]
[listen]
addresses = ["{listen}"]
[trust]
policy = "policy.toml"
log_list = "logs.json"
[evidence]
file = "evidence.sqlite3"
{more}
"""
    )
    return file


class Service:
    """The running resolver."""

    def __init__(self, file: Path, port: int, prefix: tuple[str, ...] = ()) -> None:
        self.port = port
        self.folder = file.parent
        self._prefix = prefix
        command = [*prefix, *COMMAND, "run", "--config", file]
        self.program = Program(command, file.parent / "run.log", environment(file.parent))

    @property
    def log(self) -> str:
        """Everything that it has logged so far."""
        return self.program.log

    def reload(self, outcome: str) -> None:
        """SIGHUP, and wait for the log line that says how it went."""
        before = self.log.count(outcome)
        self.program.send(signal.SIGHUP)
        wait_until(lambda: self.log.count(outcome) > before, 5, f"a log line with {outcome!r}")

    def ready(self) -> bool:
        """True if a query that needs no upstream is answered (RFC 6761 s6.3)."""
        command = [*self._prefix, "dig", "-r", "@127.0.0.1", "-p", str(self.port), "+short", "+time=1", "+tries=1"]
        done = subprocess.run([*command, "localhost", "A"], capture_output=True, text=True, timeout=10, check=False)
        return done.stdout.strip() == "127.0.0.1"


def start_service(
    folder: Path,
    world: World,
    upstreams: Sequence[str],
    more: str = "",
    policies: Mapping[str, str] = MappingProxyType({}),
) -> Service:
    """The resolver on a free port, asking these upstreams."""

    def make() -> Service:
        port = free_port()
        listen = f"127.0.0.1:{port}"
        return Service(write_files(folder, world, upstreams, listen=listen, more=more, policies=policies), port)

    return start(make)


def run_command(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A command of `stubresolver` that ends by itself within 20 seconds."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env=environment(folder),
        cwd=folder,
    )
