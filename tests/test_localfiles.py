"""The files of local knowledge: what is refused, what stays in force, when a change is seen."""

import os
import threading
from pathlib import Path

import dns.message
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from stubresolver.errors import BadInput, ConfigError
from stubresolver.local import BlockList, LocalKnowledge, LocalOptions
from stubresolver.local.names import zone_set
from stubresolver.localfiles import HOSTS_OCTETS, LIST_OCTETS, LocalFiles, parse_records
from stubresolver.wire.query import Query


def says(known: LocalKnowledge, name: str, kind: str = "A") -> str | int | None:
    """The first address of the reply, or its RCODE; None where the query goes upstream."""
    reply = known.reply(Query(dns.message.make_query(name, kind, use_edns=0).to_wire()))
    if reply is None:
        return None
    message = dns.message.from_wire(reply)
    return str(message.answer[0][0]) if message.answer else int(message.rcode())


def options(*, hosts=(), block=(), allow=(), **others) -> LocalOptions:
    lists = tuple(BlockList(file=str(file)) for file in block)
    return LocalOptions(hosts=tuple(map(str, hosts)), block_lists=lists, allow_lists=tuple(map(str, allow)), **others)


def test_each_file_says_what_it_says(tmp_path: Path) -> None:
    """Hosts files name, block lists block, allow lists free; together they are told in numbers."""
    (tmp_path / "hosts").write_bytes(b"10.0.0.1 nas\n")
    (tmp_path / "ads").write_bytes(b"ads.example\nfree.example\n")
    (tmp_path / "mine").write_bytes(b"free.example\n")
    files = LocalFiles(options(hosts=[tmp_path / "hosts"], block=[tmp_path / "ads"], allow=[tmp_path / "mine"]))
    known = files.read()
    assert (says(known, "nas"), says(known, "ads.example"), says(known, "free.example")) == ("10.0.0.1", 3, None)
    assert files.problems == ()
    assert str(files) == ("1 names of hosts files, 0 static records, 2 blocked, 1 freed, rebinding protection on")


@pytest.mark.parametrize(
    ("other", "key", "words"),
    [
        ({"special": {"onoin": False}}, "local.special", "'onoin' is no special name"),
        ({"rebinding_allow": ("a..b",)}, "local.rebinding_allow", "'a..b' is no name"),
        ({"records": "a. A 10.0.0.1\nb. A nas"}, "local.records", "line 2: "),
        ({"records": "*.a. A 10.0.0.1"}, "local.records", "wildcards are not served"),
    ],
)
def test_slip_in_the_configuration_is_an_error(other, key: str, words: str) -> None:
    """What stands in the configuration itself is told with its key before anything is served."""
    with pytest.raises(ConfigError) as caught:
        LocalFiles(options(**other), "c.toml")
    assert (caught.value.file, caught.value.key) == ("c.toml", key)
    assert words in caught.value.problem


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(200 * 1000 * 1000)


def make_closed(path: Path) -> None:
    path.symlink_to(path)  # a link to itself: ELOOP for everybody, also for root


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (make_fifo, "cannot be used: not a regular file"),
        (Path.mkdir, "cannot be used: not a regular file"),
        (make_large, "200,000,000 octets, expected"),
        (make_closed, "cannot be read: Too many levels"),
        (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
        (lambda _: None, "cannot be read: No such file"),
    ],
)
@pytest.mark.parametrize("kind", ["hosts", "block", "allow"])
def test_file_that_cannot_be_used_is_told(tmp_path: Path, make, words: str, kind: str) -> None:
    """A FIFO, a folder, a device, 200 MB, a circle of links, nothing: told by path, and the service goes on."""
    make(tmp_path / "f")
    files = LocalFiles(options(**{kind: [tmp_path / "f"]}))
    known = files.read()
    (problem,) = files.problems
    assert problem.startswith(f"{tmp_path}/f: ")
    assert words in problem
    assert says(known, "localhost") == "127.0.0.1"
    assert says(known, "example.com") is None


def test_sizes_are_bounded(tmp_path: Path) -> None:
    """The largest public lists fit; nothing that fills the memory does."""
    assert 1_000_000 * 30 < LIST_OCTETS <= 64 << 20
    assert HOSTS_OCTETS <= 16 << 20
    (tmp_path / "f").write_bytes(b"\n" * (HOSTS_OCTETS + 1))
    files = LocalFiles(options(hosts=[tmp_path / "f"]))
    files.read()
    assert "expected 16,777,216 at most" in files.problems[0]


def test_too_many_names_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of short names is bounded by their number."""
    monkeypatch.setattr("stubresolver.localfiles.MOST_NAMES", 1000)
    (tmp_path / "f").write_bytes(b"".join(b"a%d.b\n" % number for number in range(5000)))
    files = LocalFiles(options(block=[tmp_path / "f"]))
    assert says(files.read(), "a1.b") is None
    assert "more than 1,000 names" in files.problems[0]


def test_junk_blocks_nothing_and_is_told(tmp_path: Path) -> None:
    """A program in the place of a list is twenty lines of complaint and no rule that breaks anything."""
    (tmp_path / "f").write_bytes(bytes(range(256)) * 2000)
    files = LocalFiles(options(block=[tmp_path / "f"], hosts=[tmp_path / "f"]))
    files.read()
    assert 2 <= len(files.problems) <= 44


def test_only_what_changed_is_read_again(tmp_path: Path) -> None:
    """A file that is the same is not read again; one that went bad says what it said before."""
    hosts, ads = tmp_path / "hosts", tmp_path / "ads"
    hosts.write_bytes(b"10.0.0.1 nas\n")
    ads.write_bytes(b"ads.example\n")
    files = LocalFiles(options(hosts=[hosts], block=[ads]))
    first = files.read()
    hosts.write_bytes(b"10.0.0.22 nas\n")
    ads.unlink()
    second = files.read()
    assert (says(first, "nas"), says(second, "nas")) == ("10.0.0.1", "10.0.0.22")
    assert says(second, "ads.example") == 3
    assert files.problems == (f"{ads}: cannot be read: No such file or directory; what it said before stays in force",)
    ads.write_bytes(b"other.example\n")
    third = files.read()
    assert (says(third, "ads.example"), says(third, "other.example")) == (None, 3)
    assert files.problems == ()


def test_what_says_the_same_is_the_same(tmp_path: Path) -> None:
    """A file that was touched, written anew with the same words, or taken away, changes nothing that is known.

    Else what is in the cache, and would carry a machine through an outage, would go whenever a network manager writes.
    """
    hosts, ads = tmp_path / "hosts", tmp_path / "ads"
    hosts.write_bytes(b"10.0.0.1 nas\n")
    ads.write_bytes(b"ads.example\n")
    files = LocalFiles(options(hosts=[hosts], block=[ads]))
    first = files.read()
    for change in (
        lambda: os.utime(hosts, (1, 1)),
        lambda: hosts.write_bytes(b"# of today\n10.0.0.1 nas\n"),
        lambda: ads.write_bytes(b"ADS.example\n"),
        ads.unlink,
    ):
        change()
        assert files.read() is first
    assert "cannot be read" in files.problems[0]


def test_file_that_changes_while_it_is_read_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of one version and half of another is no version: what was in force stays until the file has settled."""
    path = tmp_path / "hosts"
    path.write_bytes(b"10.0.0.1 nas\n")
    files = LocalFiles(options(hosts=[path]))
    files.read()
    original = os.read

    def read(descriptor: int, octets: int) -> bytes:
        found = original(descriptor, octets)
        with path.open("ab") as file:
            file.write(b"10.0.0.3 late\n")
        monkeypatch.setattr(os, "read", original)
        return found

    path.write_bytes(b"10.0.0.2 nas\n")
    monkeypatch.setattr(os, "read", read)
    known = files.read()
    assert says(known, "nas") == "10.0.0.1"
    assert "changed while it was read" in files.problems[0]
    assert says(files.read(), "late") == "10.0.0.3"
    assert files.problems == ()


def test_file_that_grows_while_it_is_read_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The size that a file has when it is opened is no promise."""
    path = tmp_path / "hosts"
    path.write_bytes(b"10.0.0.1 nas\n")
    pieces = iter([bytes(HOSTS_OCTETS), b"#", b""])
    monkeypatch.setattr(os, "read", lambda *_: next(pieces))
    files = LocalFiles(options(hosts=[path]))
    files.read()
    assert "grew beyond" in files.problems[0]


def test_forwarded_and_private_zones() -> None:
    """Zones with their own servers are left to them, and may have private addresses."""
    files = LocalFiles(options(), forwarded=zone_set(["home.arpa"]), private=zone_set(["corp.example"]))
    assert says(files.read(), "nas.home.arpa") is None


async def test_change_is_seen_within_seconds(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A file that another takes the place of is read a look after it has settled; one that stays is not."""
    path, seen = tmp_path / "hosts", trio.Event()
    applied: list[LocalKnowledge] = []

    def apply(known: LocalKnowledge) -> None:
        applied.append(known)
        seen.set()

    path.write_bytes(b"10.0.0.1 nas\n")
    files = LocalFiles(options(hosts=[path]))
    files.read()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(files.watch, apply)
        await trio.sleep(10)
        assert applied == []
        (tmp_path / "new").write_bytes(b"10.0.0.2 nas\n")
        (tmp_path / "new").rename(path)
        await seen.wait()
        nursery.cancel_scope.cancel()
    assert says(applied[0], "nas") == "10.0.0.2"


def test_memory_that_is_too_short_for_a_file_is_its_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was in force stays so; at the start there is nothing, and the service begins without it."""
    path = tmp_path / "ads"
    path.write_bytes(b"ads.example\n")
    files = LocalFiles(options(block=[path]))

    def short(*_: object) -> None:
        raise MemoryError

    files._blocking[0]._parse = short
    assert says(files.read(), "ads.example") is None
    assert files.problems == (f"{path}: cannot be used: not enough memory to read it",)


async def test_memory_that_is_too_short_for_what_was_read_is_asked_for_again(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file has been read and is the same from then on; it comes into force all the same when there is room."""
    path, seen = tmp_path / "ads", trio.Event()
    path.write_bytes(b"ads.example\n")
    files = LocalFiles(options(block=[path]))

    def short() -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(files, "_build_blocks", short)
        with pytest.raises(MemoryError):
            files.read()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(files.watch, lambda _: seen.set())
        await seen.wait()
        nursery.cancel_scope.cancel()
    assert says(files.knowledge, "ads.example") == 3


def test_file_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    """It is read when two looks in a row find it the same, or when ten have found it changing."""
    path = tmp_path / "list"
    path.write_bytes(b"a.example\n")
    files = LocalFiles(options(block=[path]))
    files.read()

    def write() -> None:
        with path.open("ab") as file:
            file.write(b"b.example\n")

    assert not files._have_changed()
    write()
    assert not files._have_changed()  # seen, and perhaps not finished
    assert files._have_changed()
    assert says(files.read(), "b.example") == 3
    assert not files._have_changed()
    seen = []
    for _ in range(10):
        write()
        seen.append(files._have_changed())
    assert seen == [False] * 9 + [True]


def test_gentle_reading_lets_others_run(tmp_path: Path) -> None:
    """While a long list is read again, another thread gets its turns."""
    (tmp_path / "f").write_bytes(b"".join(b"name%d.example\n" % number for number in range(20_000)))
    files = LocalFiles(options(block=[tmp_path / "f"]))
    reader = threading.Thread(target=lambda: files.read(gently=True))
    turns = 0
    reader.start()
    while reader.is_alive():
        reader.join(0.0001)
        turns += 1
    assert turns > 5
    assert files.problems == ()


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_records_or_an_error(text: str) -> None:
    """Whatever stands in the configuration, it is records or `BadInput`."""
    try:
        assert all(record.owner.endswith(b"\0") for record in parse_records(text))
    except BadInput:
        return
