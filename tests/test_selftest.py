"""The self-test: silent where this installation judges as it must, and loud about each way of not doing so."""

import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

from stubresolver.errors import SelfTestFailed
from stubresolver.exported import Exported
from stubresolver.selftest import CASES, run_selftest
from stubresolver.verify import Rule, Verdict

ROOT = Path(__file__).resolve().parents[1]
GOOD, KNOWN, NO_SCTS, ISSUER, ADDRESS, STALE, CLOCK = (case.file for case in CASES)
BAD = [case.file for case in CASES if case.failing]


@pytest.fixture
def folder(tmp_path):
    """A copy of the shipped files."""
    with resources.as_file(resources.files("stubresolver") / "data") as data:
        for case in CASES:
            shutil.copy(data / case.file, tmp_path)
    return tmp_path


def test_this_installation_judges_as_it_must():
    """The shipped files, by today's code: some allowed, the others refused."""
    run_selftest()


def test_the_shipped_files_cover_what_the_program_is_for():
    """Two good; one refused for want of SCTs, one for its issuer, its address, a stale list, a clock that is behind."""
    assert [case.file for case in CASES if not case.failing] == [GOOD, KNOWN]
    rules = {Rule.CT_SCTS, Rule.ISSUER_ALLOWED, Rule.PATH_ADDRESS, Rule.CT_LIST_AGE, Rule.CLOCK_FLOOR}
    assert rules <= frozenset().union(*(case.failing for case in CASES))


def test_the_known_and_the_unknown_differ_in_nothing_else():
    """The same list and time: whether the leaf has passed before decides alone."""
    data = resources.files("stubresolver") / "data"
    known, unknown = (Exported.read((data / name).read_bytes()).judge() for name in (KNOWN, STALE))
    assert (known.at, known.log_list, known.policy) == (unknown.at, unknown.log_list, unknown.policy)
    assert (known.allowed, unknown.allowed) == (True, False)


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_one_that_passes_fails_the_test(folder, bad):
    """What is allowed in the place of a bad one is told as allowed."""
    shutil.copy(folder / GOOD, folder / bad)
    with pytest.raises(SelfTestFailed, match=rf"was ALLOWED \({bad}\)"):
        run_selftest(folder)


@pytest.mark.parametrize("bad", BAD)
def test_a_good_one_that_is_refused_fails_the_test(folder, bad):
    """A program that refuses everything would pass every other test."""
    shutil.copy(folder / bad, folder / GOOD)
    with pytest.raises(SelfTestFailed, match="a good certificate was refused"):
        run_selftest(folder)
    shutil.copy(folder / KNOWN, folder / GOOD)
    shutil.copy(folder / bad, folder / KNOWN)
    with pytest.raises(SelfTestFailed, match="a known certificate under a log list that is stale was refused"):
        run_selftest(folder)


def test_a_refusal_for_another_reason_fails_the_test(folder):
    """Refused is not enough: by the rule that is meant, and by no other."""
    shutil.copy(folder / ADDRESS, folder / ISSUER)
    with pytest.raises(SelfTestFailed, match=r"refused for other reasons .*by path.address, expected issuer.allowed"):
        run_selftest(folder)


def test_a_file_that_is_absent_or_broken_fails_the_test(folder):
    """What cannot be judged is not passed over."""
    octets = (folder / ISSUER).read_bytes()
    (folder / ISSUER).write_bytes(octets.replace(b"tls://127", b"tls://128"))
    with pytest.raises(SelfTestFailed, match=f"{ISSUER}: the exported judgement was changed or damaged"):
        run_selftest(folder)
    (folder / ISSUER).unlink()
    with pytest.raises(SelfTestFailed, match=f"{ISSUER} cannot be read: No such file"):
        run_selftest(folder)


@pytest.mark.parametrize(
    ("owner", "name", "value"),
    [
        (Verdict, "require", lambda _: None),
        (Verdict, "allowed", property(lambda _: True)),
        (Verdict, "connects", property(lambda _: True)),
    ],
)
def test_a_judgement_without_teeth_fails_the_test(monkeypatch, owner, name, value):
    """Where refusing has stopped to refuse, the first bad one says so."""
    monkeypatch.setattr(owner, name, value)
    with pytest.raises(SelfTestFailed, match="was ALLOWED"):
        run_selftest()


def test_a_rule_that_nobody_judges_fails_the_test(monkeypatch):
    """Where SCTs are not looked at any more, the good one lacks what is demanded, and that is told."""
    monkeypatch.setattr("stubresolver.verify.verifier._judge_ct", lambda *_: ([], []))
    with pytest.raises(SelfTestFailed, match="a good certificate was refused"):
        run_selftest()


def tool(*arguments):
    """The script that makes the files."""
    command = [sys.executable, ROOT / "tools/make_selftest.py", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False, timeout=60
    )


def test_the_script_writes_what_the_test_wants(tmp_path):
    """Made anew with other keys, the files judge alike, and each gives its verdict again."""
    done = tool("--folder", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("the files judge as they must\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(case.file for case in CASES)
    run_selftest(tmp_path)
    assert all(Exported.read(path.read_bytes()).reproduces for path in tmp_path.iterdir())


def test_the_script_checks(folder):
    """CI runs --check: it writes nothing, and fails with what is wrong."""
    assert tool("--check").returncode == 0
    (folder / ADDRESS).write_bytes((folder / GOOD).read_bytes())
    before = {path: path.read_bytes() for path in folder.iterdir()}
    done = tool("--check", "--folder", folder)
    assert done.returncode == 1
    assert "a certificate for another address was ALLOWED" in done.stdout
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
