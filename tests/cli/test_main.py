"""The command as a whole: help, versions, mistakes, defects."""

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
import trio

from stubresolver import __version__
from stubresolver.cli import lab as lab_command
from stubresolver.cli.common import run_tasks
from stubresolver.cli.main import COMMANDS, _report_any, cli
from stubresolver.lab.dishonest import Deceit
from stubresolver.lab.rogues import Rogue
from stubresolver.verify import Rule


def test_help_names_every_command(run):
    """--help teaches: each command with a line of its own."""
    outcome = run("--help")
    assert outcome.status == 0
    assert all(f"  {command} " in outcome.out for command in COMMANDS)


def commands(group, *words):
    """The words of each command and subcommand, and of the groups that they are in."""
    yield words
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            yield from commands(group.get_command(context, name), *words, name)


@pytest.mark.parametrize("words", list(commands(cli)), ids=" ".join)
def test_each_command_has_help(run, words):
    """Each command explains itself and its exit status or what ends it."""
    outcome = run(*words, "--help")
    assert outcome.status == 0
    assert "xit status" in outcome.out


@pytest.mark.parametrize("words", list(commands(cli)), ids=" ".join)
def test_help_fits_a_terminal(run, monkeypatch, words):
    """In 80 columns no line of a list of commands is cut, and only a long command itself goes beyond."""
    monkeypatch.setenv("COLUMNS", "80")
    lines = run(*words, "--help").out.splitlines()[1:]  # the first is click's
    assert not [line for line in lines if line.endswith("...")]
    assert not [line for line in lines if len(line) > 80 and not line.startswith("    stubresolver ")]


def test_version(run):
    """--version names the release."""
    assert __version__ in run("--version").out


def test_unknown_command_is_status_2(run):
    """A mistake in the command line shows usage."""
    outcome = run("rum")
    assert outcome.status == 2
    assert "No such command 'rum'" in outcome.err


def test_gallery_is_refused_as_expected(run):
    """With --once: every answer, verdict and audit is the expected one, and no rogue saw an octet."""
    outcome = run("lab", "--once", "--json", "--listen", "127.0.0.1:0")
    lines = [json.loads(line) for line in outcome.out.splitlines()]
    assert outcome.status == 0
    assert [line["answered"] for line in lines[:2]] == [True, True]
    assert len([line for line in lines if "rogue" in line]) == 22
    assert len([line for line in lines if "log" in line]) == 24
    assert all(line["as_expected"] for line in lines if "rogue" in line or "log" in line)
    (three,) = [line for line in lines if "audit" in line]
    assert three["proved"]


def test_gallery_is_for_people_too(run):
    """Without --json: a line for the story and one for the rule."""
    outcome = run("lab", "--once", "--listen", "127.0.0.1:0")
    assert outcome.status == 0
    assert "The Fina case." in outcome.out
    assert "REFUSED  issuer.allowed: CN=Finish CA TLS" in outcome.out
    assert "22 of 22 rogues refused; 0 octets of queries reached them." in outcome.out
    assert "PROVED   Honest logs." in outcome.out
    assert "ALARM    Split view." in outcome.out
    assert "NOTE     Refused proofs." in outcome.out


def test_gallery_that_is_not_as_expected_is_status_1(run, monkeypatch):
    """The lab can fail: a rogue that is not refused is told, in words and in the status."""
    wrong = frozenset({Rule.CT_SCTS})
    honest = Rogue("honest", "Not a rogue", "It does nothing wrong.", wrong, lambda world: world.issue())
    monkeypatch.setattr(lab_command, "GALLERY", (honest,))
    outcome = run("lab", "--once", "--json", "--listen", "127.0.0.1:0")
    assert outcome.status == 1
    (told,) = [line for line in map(json.loads, outcome.out.splitlines()) if "rogue" in line]
    assert (told["failed"], told["as_expected"], told["reason"]) == ([], False, "a query could have been sent")


def test_audit_that_is_not_as_expected_is_status_1(run, monkeypatch):
    """The lab can fail here, too: a story that its log does not live up to is told, in words and in the status."""
    honest = Deceit("honest-after-all", "Honest after all", "It lies.", "alarm", ("rollback",) * 2, lambda *_: None)
    monkeypatch.setattr(lab_command, "GALLERY", ())
    monkeypatch.setattr("stubresolver.lab.trials.DECEITS", (honest,))
    outcome = run("lab", "--once", "--listen", "127.0.0.1:0")
    assert outcome.status == 1
    assert "PROVED   Honest logs." in outcome.out
    assert "UNEXPECTED  Honest after all." in outcome.out
    assert "Not every answer, verdict and audit is the expected one." in outcome.out


def test_defect_is_one_line(run, monkeypatch):
    """No traceback reaches a person; the environment variable that shows it is named."""

    def broken(*_: object, **__: object) -> int:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(trio, "run", broken)
    outcome = run("lab", "--once", "--listen", "127.0.0.1:0")
    assert outcome.status == 1
    assert "internal error, please report it: ZeroDivisionError: a defect" in outcome.err
    assert "Traceback" not in outcome.err


def raising(error: BaseException):
    """Stands in for `trio.run`: ends as a nursery does in which somebody raised `error`."""

    def run(*_: object, **__: object) -> int:
        raise BaseExceptionGroup("Exceptions from Trio nursery", [BaseExceptionGroup("inner", [error])])

    return run


def test_ctrl_c_in_a_nursery_is_status_130(run, monkeypatch):
    """Ctrl-C while tasks are at work ends in silence, not in the nursery's traceback."""
    monkeypatch.setattr(trio, "run", raising(KeyboardInterrupt()))
    outcome = run("check", "tls://127.0.0.1:1")
    assert (outcome.status, outcome.out, outcome.err) == (130, "", "")


def test_ctrl_c_is_lost_in_no_callback():
    """What is raised inside of a library's callback the library drops: Ctrl-C waits until that step is done."""

    async def judge():
        with contextlib.suppress(KeyboardInterrupt):  # as a library in Rust or C that has asked Python something
            signal.raise_signal(signal.SIGINT)
        await trio.lowlevel.checkpoint()
        return "went on"

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what it runs behind it
    try:
        with pytest.raises(KeyboardInterrupt):
            run_tasks(judge)
    finally:
        signal.signal(signal.SIGINT, before)


def test_full_disk_under_the_output_is_no_defect(run, monkeypatch):
    """An output that cannot be written is told as that, without asking for a report."""
    monkeypatch.setattr(trio, "run", raising(OSError(errno.ENOSPC, "No space left on device")))
    outcome = run("check", "tls://127.0.0.1:1")
    assert outcome.status == 1
    assert outcome.err == "stubresolver: the output cannot be written: No space left on device\n"


def test_reader_that_has_gone_ends_it_in_silence():
    """`stubresolver lab | true`: no traceback, whichever way the closed pipe shows."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "stubresolver", "lab", "--once", "--listen", "127.0.0.1:0"]
    ended = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (1, b"")


def test_output_that_is_not_utf_8_is_shown_all_the_same():
    """A terminal of another encoding gets '?' for what it has no letter for, and no UnicodeEncodeError."""
    command = [sys.executable, "-m", "stubresolver", "lab", "--once", "--listen", "127.0.0.1:0"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    ended = subprocess.run(command, capture_output=True, timeout=60, check=False, env=environment)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert b"  ? 192.0.2.1, 192.0.2.2" in ended.stdout


def test_no_place_for_evidence_is_told_with_the_way_out(run, monkeypatch, tmp_path):
    """A user without a home, or a folder that may not be written to: said, with where else evidence can go.

    What was asked for is done all the same.
    """
    monkeypatch.setattr("os.geteuid", lambda: 65534)
    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", raising_home)
    outcome = run("query", "example.lab", "--upstream", "tls://127.0.0.1:1")
    assert outcome.status == 3
    assert "EVIDENCE IS NOT KEPT: this user has no home folder to keep evidence in; " in outcome.err
    (tmp_path / "file").touch()
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "file"))
    outcome = run("query", "example.lab", "--upstream", "tls://127.0.0.1:1")
    assert outcome.status == 3
    assert f"evidence.sqlite3: cannot keep evidence here: {tmp_path}/file is no folder; " in outcome.err
    assert "for another place see [evidence] file or $STATE_DIRECTORY" in outcome.err


def raising_home() -> Path:
    """As `Path.home()` for a user id that no account has."""
    raise RuntimeError("Could not determine home directory.")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EMFILE, "x"), "too many open files: raise LimitNOFILE= of the service, or `ulimit -n`"),
        (OSError(errno.ENFILE, "x"), "too many open files: raise LimitNOFILE= of the service, or `ulimit -n`"),
        (MemoryError(), "not enough memory: see MemoryMax= of the service, or `ulimit -v`"),
        (RuntimeError("can't start new thread"), "no thread can be started: raise TasksMax= of the service, or `ulim"),
        (ExceptionGroup("", [ExceptionGroup("", [MemoryError()])]), "not enough memory: see MemoryMax="),
    ],
)
def test_what_lacks_is_told_in_words(capsys, error, words):
    """It is no defect of the program, and says who can give it."""
    assert _report_any(error) == 1
    assert capsys.readouterr().err.startswith(f"stubresolver: {words}")
