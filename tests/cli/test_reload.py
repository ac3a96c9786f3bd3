"""`stubresolver reload` and the status file: who is signalled, who never is, and what a person reads."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from stubresolver.cli import reload, status_file
from stubresolver.cli.status_file import (
    ServiceStatus,
    default_status_file,
    find_service,
    read_status,
    remove_status,
    write_status,
)
from stubresolver.errors import BadInput

# A stand-in for the service: on SIGHUP it answers as it was told, in the status file.
SERVICE = """
import os, signal, sys
from pathlib import Path
from stubresolver.cli.status_file import ServiceStatus, write_status
file, outcome = Path(sys.argv[2]), sys.argv[3]
def told(reloads, text):
    return ServiceStatus(pid=os.getpid(), config="c.toml", reloads=reloads, reloaded="error" not in text, outcome=text)
def hup(*_):
    if outcome == "end": os._exit(0)
    if outcome != "silence": write_status(file, told(1, outcome))
signal.signal(signal.SIGHUP, hup)
write_status(file, told(0, "started"))
print("ready", flush=True)
while True: signal.pause()
"""

ROOT = Path(__file__).resolve().parents[2]
Start = Callable[..., int]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "runtime" / "status.json"


@pytest.fixture
def start(tmp_path: Path, file: Path) -> Iterator[Start]:
    """Start the stand-in; its arguments look like the service's, or like another program's."""
    (tmp_path / "stubresolver").write_text(SERVICE)
    (tmp_path / "other").write_text(SERVICE)
    children = []

    def begin(outcome: str, word: str = "run", script: str = "stubresolver") -> int:
        child = subprocess.Popen(
            [sys.executable, tmp_path / script, word, file, outcome],
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": str(ROOT)},
        )
        children.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        return child.pid

    yield begin
    for child in children:
        child.kill()
        child.communicate()


@pytest.mark.parametrize(
    ("outcome", "exit_status"), [("reloaded: policy 0123", 0), ("error: p.toml: ct.required: expected a bool", 2)]
)
def test_outcome_is_shown(run, start: Start, file: Path, outcome: str, exit_status: int) -> None:
    """The service says what came of it, and the exit status says it to scripts."""
    pid = start(outcome)
    done = run("reload", "--status-file", file)
    assert done.status == exit_status
    assert (done.out + done.err) == f"process {pid} (c.toml): {outcome}\n"
    assert bool(done.err) == (exit_status != 0)


def test_outcome_does_not_steer_the_terminal(run, start: Start, file: Path) -> None:
    """The service's user writes the file, and root may read it."""
    start("reloaded \x1b]0;mine\x07\x1b[2J")
    done = run("reload", "--status-file", file)
    assert done.status == 0
    assert "reloaded \\x1b]0;mine\\x07\\x1b[2J" in done.out


@pytest.mark.parametrize("outcome", ["end", "silence"])
def test_service_that_says_nothing_is_told_as_that(
    run, start: Start, file: Path, monkeypatch: pytest.MonkeyPatch, outcome: str
) -> None:
    """It has ended, or hangs: the command ends too, and sends the person to the log."""
    monkeypatch.setattr(reload, "_PATIENCE", 0.5 if outcome == "silence" else 20.0)
    start(outcome)
    done = run("reload", "--status-file", file)
    assert (done.status, "see its log" in done.err) == (1, True)


@pytest.mark.parametrize(("word", "script"), [("serve", "stubresolver"), ("run", "other")])
def test_other_programs_are_left_alone(start: Start, file: Path, word: str, script: str) -> None:
    """A number in a file is no reason to signal a process: it must be our program, running."""
    pid = start("end", word, script)
    with pytest.raises(BadInput, match="it was left alone"), find_service(file):
        pass
    os.kill(pid, 0)


def test_process_of_another_user_is_left_alone(start: Start, file: Path) -> None:
    """Who owns the file could signal that process, or it is not signalled: no root does it for somebody else."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to give the file to another user")
    start("end")
    os.chown(file, 65534, 65534)
    with pytest.raises(BadInput, match="it was left alone"), find_service(file):
        pass


def test_no_service_is_told(run, file: Path) -> None:
    """No file, no such process, or a file with something else in it: exit status 1 and a sentence."""
    done = run("reload", "--status-file", file)
    assert (done.status, "no service of this user is running" in done.err) == (1, True)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    write_status(file, ServiceStatus(pid=ended.pid, config="", reloads=0, reloaded=True, outcome=""))
    done = run("reload", "--status-file", file)
    assert (done.status, "has ended" in done.err) == (1, True)
    for octets in (b"", b"{}", b"\xff", b'{"pid":"1"}', b"[" * 100_000):
        file.write_bytes(octets)
        done = run("reload", "--status-file", file)
        assert (done.status, "not the status of a service" in done.err) == (1, True)
    for pid in (0, -1, 1 << 40):
        file.write_bytes(msgspec.json.encode({"pid": pid, "config": "", "reloads": 0, "reloaded": True, "outcome": ""}))
        assert run("reload", "--status-file", file).status == 1


def test_pipe_in_place_of_the_file_holds_nobody_up(file: Path) -> None:
    """Who owns the folder may put anything there; root does not wait at it."""
    file.parent.mkdir()
    os.mkfifo(file)
    done = subprocess.run(
        [sys.executable, "-m", "stubresolver", "reload", "--status-file", file],
        stderr=subprocess.PIPE,
        text=True,
        timeout=10,
        check=False,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, "not the status of a service" in done.stderr) == (1, True)


def test_status_file_is_replaced_whole_and_removed_by_its_own(file: Path) -> None:
    """A reader sees the old file or the new one; another process's file stays."""
    for number in range(3):
        told = ServiceStatus(pid=7, config="c", reloads=number, reloaded=True, outcome="")
        write_status(file, told)
        assert read_status(file) == told
        assert [entry.name for entry in file.parent.iterdir()] == ["status.json"]
    remove_status(file, 8)
    assert file.exists()
    remove_status(file, 7)
    remove_status(file, 7)
    assert not file.exists()


def test_status_is_written_into_nobodys_file(file: Path, tmp_path: Path) -> None:
    """Whoever may write in the folder that somebody has named foresees our process id: his link leads us nowhere."""
    document = tmp_path / "document"
    document.write_text("mine")
    file.parent.mkdir()
    file.with_name(f"{file.name}.7").symlink_to(document)
    write_status(file, ServiceStatus(pid=7, config="defaults", reloads=0, reloaded=True, outcome=""))
    assert document.read_text() == "mine"
    assert read_status(file).pid == 7
    assert not file.is_symlink()


def test_status_file_stands_where_the_service_manager_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service manager's folder first, then root's, then the user's."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/a:/run/b")
    assert default_status_file() == Path("/run/a/status.json")
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    monkeypatch.setattr(status_file.os, "geteuid", lambda: 0)
    assert default_status_file() == Path("/run/stubresolver/status.json")
    monkeypatch.setattr(status_file.os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    assert default_status_file() == Path("/run/user/1000/stubresolver/status.json")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setenv("STATE_DIRECTORY", "/state")
    assert default_status_file() == Path("/state/status.json")


def test_signal_goes_to_the_process_that_was_looked_at(start: Start, file: Path) -> None:
    """A process that has ended in the meantime is not signalled, whoever has its number now."""
    pid = start("end")
    with find_service(file) as service:
        assert not service.ended(0)
        os.kill(pid, signal.SIGKILL)
        assert service.ended(20)
        os.waitid(os.P_PIDFD, service.handle, os.WEXITED)
        with pytest.raises(ProcessLookupError):
            service.reload()
