"""The cache's file: for our eyes only, read once, written once, ignored with a line where it is no such file."""

import logging
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import dns.message
import dns.rrset
import pytest
import trio

from stubresolver.app import App
from stubresolver.cache import CacheOptions
from stubresolver.cli.kept_cache import KeptCache, demands_digest, kept_cache, put_file, take_file
from stubresolver.config import Settings
from stubresolver.control.protocol import Request
from stubresolver.errors import BadInput
from stubresolver.trust import load_trust
from stubresolver.upstream import parse_upstream
from stubresolver.wire.answer import Answer
from stubresolver.wire.edns import upstream_query
from stubresolver.wire.query import Query

KEPT = replace(Settings(), cache=CacheOptions(persist=True))
TRUST = load_trust(KEPT)


def ask(name: str) -> Query:
    return Query(dns.message.make_query(name, "A", use_edns=0).to_wire())


def fill(app: App, *names: str) -> None:
    """Put an answer for each name into the app's cache."""
    for name in names:
        query = ask(name)
        wire = upstream_query(query)
        response = dns.message.make_response(dns.message.from_wire(wire))
        response.answer.append(dns.rrset.from_text(name + ".", 600, "IN", "A", "192.0.2.1"))
        app._cache.put(query.key, Answer.parse(response.to_wire(), wire), trio.current_time())


def known(app: App, *names: str) -> list[bool]:
    return [app._resolver.answer_nowait(ask(name), trio.current_time()) is not None for name in names]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def restart(file: Path, settings: Settings = KEPT) -> App:
    """A new process, as far as a cache can see."""
    app = App(settings, {})
    await KeptCache(file, settings).restore(app, TRUST)
    return app


async def test_a_restart(autojump_clock: object, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What was known is known after a restart, special names excepted; the file is for its user and is read once."""
    caplog.set_level(logging.INFO)
    file, before = tmp_path / "state" / "cache.bin", App(KEPT, {})
    fill(before, "a.example", "b.example", "x.localhost")
    KeptCache(file, KEPT).write(before, TRUST)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    after = await restart(file)
    assert known(after, "a.example", "b.example", "c.example") == [True, True, False]
    assert caplog.messages == [f"{file}: 2 answers of an earlier start"]
    assert names_in(file.parent) == []
    assert known(await restart(file), "a.example") == [False]


async def test_not_wanted(autojump_clock: object, tmp_path: Path) -> None:
    """With `persist = false` nothing is written, and what lies there from earlier is taken away unread."""
    file, off = tmp_path / "cache.bin", replace(KEPT, cache=CacheOptions())
    app = App(off, {})
    fill(app, "a.example")
    KeptCache(file, off).write(app, TRUST)
    assert not file.exists()
    KeptCache(file, KEPT).write(app, TRUST)
    assert known(await restart(file, off), "a.example") == [False]
    assert not file.exists()


KILLED = """
import os, pathlib, signal, sys
from stubresolver.cli.kept_cache import put_file
pathlib.Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
put_file(pathlib.Path(sys.argv[1]), b"names")
"""


@pytest.mark.parametrize("persist", [True, False])
def test_half_of_a_file_is_taken_away(tmp_path: Path, persist: bool) -> None:
    """A kill between the first octet and the rename leaves names on the disk: the next start removes these alone."""
    file, settings = tmp_path / "cache.bin", replace(KEPT, cache=CacheOptions(persist=persist))
    killed = subprocess.run([sys.executable, "-c", KILLED, file], check=False)
    assert killed.returncode == -signal.SIGKILL
    [half] = tmp_path.iterdir()
    assert half.read_bytes() == b"names"
    for name in (".cache.bin", "cache.bin.old", ".evidence.x"):
        (tmp_path / name).touch()
    (tmp_path / ".cache.bin.folder").mkdir()
    (tmp_path / ".cache.bin.link").symlink_to(tmp_path / "cache.bin.old")
    trio.run(restart, file, settings)
    assert names_in(tmp_path) == [".cache.bin", ".cache.bin.folder", ".cache.bin.link", ".evidence.x", "cache.bin.old"]
    trio.run(restart, tmp_path / "absent" / "cache.bin", settings)


async def test_other_demands(autojump_clock: object, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What was kept under another upstream, policy or log list is forgotten."""
    file, app = tmp_path / "cache.bin", App(KEPT, {})
    fill(app, "a.example")
    other = load_trust(replace(KEPT, upstreams=(parse_upstream("tls://192.0.2.1"),)))
    assert demands_digest(other) != demands_digest(TRUST)
    KeptCache(file, KEPT).write(app, other)
    assert known(await restart(file), "a.example") == [False]
    assert [message.split(": ignored: ")[1].split(":")[0] for message in caplog.messages] == [
        "kept under other upstreams, another policy or another log list"
    ]


@pytest.mark.parametrize("name", ["", "example"])
async def test_forgotten_meanwhile(autojump_clock: object, tmp_path: Path, name: str) -> None:
    """Other demands that come into force while a file is read end the reading; so does a name that is flushed."""
    file, app = tmp_path / "cache.bin", App(KEPT, {})
    names = [f"{number}.example" for number in range(200)]
    fill(app, *names)
    KeptCache(file, KEPT).write(app, TRUST)
    after = App(KEPT, {})

    async with trio.open_nursery() as nursery:
        nursery.start_soon(after.commands["cache.flush"], Request(command="cache.flush", name=name))
        await KeptCache(file, KEPT).restore(after, TRUST)
    assert not any(known(after, *names[:50]))
    assert after._cache.statistics().entries <= 50


def _link(file: Path) -> None:
    file.with_name("elsewhere").write_bytes(b"octets")
    file.symlink_to("elsewhere")


def _readable(file: Path) -> None:
    file.write_bytes(b"octets")
    file.chmod(0o640)


def _large(file: Path) -> None:
    file.touch(0o600)
    os.truncate(file, 1001)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (Path.mkdir, "plain file of our own"),
        (lambda file: os.mkfifo(file, 0o600), "plain file of our own"),
        (_link, "symbolic links"),
        (_readable, "plain file of our own"),
        (_large, "1001 octets, expected at most 1000"),
    ],
)
def test_left_alone(tmp_path: Path, make: Callable[[Path], object], words: str) -> None:
    """What is not a file of ours for our eyes only is neither read nor taken away."""
    file = tmp_path / "cache.bin"
    make(file)
    with pytest.raises(BadInput, match=words):
        take_file(file, 1000)
    assert file.is_symlink() or file.exists()


def test_another_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that somebody else has put there is not read."""
    file = tmp_path / "cache.bin"
    put_file(file, b"octets")
    monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)
    with pytest.raises(BadInput, match="of our own"):
        take_file(file, 1000)


@pytest.mark.parametrize("octets", [b"", b"junk", b"stubresolver cache 1\n" + bytes(100)])
async def test_damaged(autojump_clock: object, tmp_path: Path, caplog: pytest.LogCaptureFixture, octets: bytes) -> None:
    """A file that is none is one line in the log, and gone."""
    file = tmp_path / "cache.bin"
    put_file(file, octets)
    await restart(file)
    assert len(caplog.messages) == 1
    assert f"{file}: ignored: " in caplog.messages[0]
    assert not file.exists()


async def test_cannot_be_written(autojump_clock: object, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A folder that cannot be written, or is none, is one line in the log, and nothing is left there."""
    (tmp_path / "file").touch()
    KeptCache(tmp_path / "file" / "cache.bin", KEPT).write(App(KEPT, {}), TRUST)
    (tmp_path / "cache.bin").mkdir()
    KeptCache(tmp_path / "cache.bin", KEPT).write(App(KEPT, {}), TRUST)
    assert [": the cache is not kept: " in message for message in caplog.messages] == [True, True]
    assert names_in(tmp_path) == ["cache.bin", "file"]


def test_where(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """It lies in the state folder; a user without a home has none, and is told only if it was wanted."""
    monkeypatch.setenv("STATE_DIRECTORY", "/state")
    there = kept_cache(KEPT)
    assert there is not None
    assert there._file == Path("/state/cache.bin")

    def no_home() -> Path:
        raise RuntimeError

    monkeypatch.delenv("STATE_DIRECTORY")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert kept_cache(Settings()) is None
    assert caplog.messages == []
    assert kept_cache(KEPT) is None
    assert len(caplog.messages) == 1
