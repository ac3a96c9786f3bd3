"""Files are written whole or not at all."""

import os
import stat

import pytest

from stubresolver.cli.files import replace_file, write_new
from stubresolver.errors import BadInput


def test_old_file_stays_beside_the_new(tmp_path):
    """The new octets under the name, the old ones under NAME~; the mode stays; nothing temporary is left."""
    file = tmp_path / "p.toml"
    file.write_bytes(b"old")
    file.chmod(0o640)
    replace_file(file, b"old", b"new")
    assert (file.read_bytes(), (tmp_path / "p.toml~").read_bytes()) == (b"new", b"old")
    assert stat.S_IMODE(file.stat().st_mode) == stat.S_IMODE((tmp_path / "p.toml~").stat().st_mode) == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.toml", "p.toml~"]
    replace_file(file, b"new", b"newer")
    assert (tmp_path / "p.toml~").read_bytes() == b"new"


def test_symbolic_link_stays_one(tmp_path):
    """What it points to is replaced."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "p.toml").write_bytes(b"old")
    (tmp_path / "p.toml").symlink_to("real/p.toml")
    replace_file(tmp_path / "p.toml", b"old", b"new")
    assert (tmp_path / "p.toml").is_symlink()
    assert (tmp_path / "real" / "p.toml").read_bytes() == b"new"


def test_file_that_is_not_there_is_made(tmp_path):
    """Without a file before there is none beside it; others may read the new one."""
    replace_file(tmp_path / "p.toml", None, b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["p.toml"]
    assert stat.S_IMODE((tmp_path / "p.toml").stat().st_mode) == 0o644


@pytest.mark.parametrize("found", [b"somebody else's", None])
def test_file_that_changed_meanwhile_is_left_alone(tmp_path, found):
    """A change that was made while a person read the question is not lost."""
    file = tmp_path / "p.toml"
    if found is not None:
        file.write_bytes(found)
    with pytest.raises(BadInput, match="changed by somebody else meanwhile"):
        replace_file(file, b"old", b"new")
    assert (file.read_bytes() if file.exists() else None) == found


def test_failure_leaves_the_old_file(tmp_path, monkeypatch):
    """A disk that is full before the rename: the old file, and nothing temporary."""
    file = tmp_path / "p.toml"
    file.write_bytes(b"old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadInput, match=r"p\.toml: cannot be written: No space left"):
        replace_file(file, b"old", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("p.toml", b"old")]


def test_new_file_is_never_an_old_one(tmp_path):
    """Without leave to overwrite, what is there stays, and so does a link, wherever it points."""
    file = tmp_path / "out.json"
    write_new(file, b"one", overwrite=False)
    with pytest.raises(BadInput, match="is there already"):
        write_new(file, b"two", overwrite=False)
    assert file.read_bytes() == b"one"
    write_new(file, b"two", overwrite=True)
    assert file.read_bytes() == b"two"
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(BadInput, match="is there already"):
        write_new(tmp_path / "link", b"x", overwrite=False)
    assert not (tmp_path / "nowhere").exists()
    write_new(tmp_path / "link", b"x", overwrite=True)
    assert (tmp_path / "nowhere").read_bytes() == b"x"


def test_new_file_is_whole_or_not_there(tmp_path, monkeypatch):
    """A disk that is full leaves nothing behind."""

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadInput, match="cannot be written"):
        write_new(tmp_path / "out.json", b"one", overwrite=False)
    assert list(tmp_path.iterdir()) == []
