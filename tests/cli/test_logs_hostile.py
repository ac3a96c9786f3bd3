"""Hostile sources, through the command as a person runs it: each refused in its own words, and nothing changed."""

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from stubresolver.cli import logs_sources
from stubresolver.ct import DENIED_LOGS
from stubresolver.lab.logs import LabLog
from tests.cli.logs_world import (
    FORGED,
    IN_FORCE,
    LATER,
    LOGS,
    NEW_LOG,
    NOW,
    Lists,
    Signer,
    make_lists,
    retired,
    written,
)
from tests.cli.webserver import ENDLESS, LARGE, TRICKLE, serving

HTML = b"<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head></html>\n"
MIMIC = LabLog("Alder", "Alder 2099", since=LATER)  # a log whose private key everybody has
POISONED = written(*LOGS, *FORGED)
HONEST = written(*LOGS, NEW_LOG)


@pytest.fixture
def lists(tmp_path) -> Lists:
    return make_lists(tmp_path / "lists")


@pytest.fixture(autouse=True)
def _denied(monkeypatch) -> None:
    monkeypatch.setitem(DENIED_LOGS, MIMIC.log_id, "mimic log 1: its private key is published")


@pytest.fixture
def refused(run, lists) -> Callable[..., list[str]]:
    """Run `logs update --yes` on sources that come to nothing; the lines that say why."""

    def command(*arguments: object) -> list[str]:
        before = lists.state()
        assert len(before) == 2
        found = run("logs", "update", "--yes", "--config", lists.config, "--from", *arguments)
        assert lists.state() == before
        assert list(lists.folder.glob(".*.new")) == []
        lines = [line.strip() for line in found.out.splitlines() if re.match(r"REFUSED|NOT REACHED|  withheld", line)]
        assert found.status == (4 if all(line.startswith("withheld") for line in lines) else 1)
        assert found.err == ""
        assert "Nothing was changed: " in found.out
        return lines

    return command


OF_ONE_SOURCE = {
    "poisoned": (
        POISONED,
        r"withheld: (Alder|Birch) 9 \(\w+\) to be added: listed by {name}, 2 independent sources are wanted",
    ),
    "shrunk": (
        written(*LOGS[:7]),
        r"REFUSED  {name}: shrunk: 7 of the 12 logs that count today would still count as long and for as many certifi",
    ),
    "older": (
        written(*LOGS, at=IN_FORCE - timedelta(days=1)),
        rf"REFUSED  {{name}}: older than the list in force: of {IN_FORCE - timedelta(days=1):%Y-%m-%d}T.*, expected ",
    ),
    "from the future": (
        written(*LOGS, at=NOW + timedelta(days=2)),
        r"REFUSED  {name}: dated in the future: .*; either the list's date or this machine's clock is wrong",
    ),
    "truncated": (HONEST[: len(HONEST) // 2], r"REFUSED  {name}: truncated: the JSON breaks off after \d+ characters"),
    "with a mimic": (
        written(*LOGS, MIMIC),
        r"REFUSED  {name}: the list offers 'Alder 2099' as usable, which must never count \(mimic log 1: its private",
    ),
    "an HTML page": (HTML, r"REFUSED  {name}: an HTML page, expected a log list: '<!DOCTYPE html>"),
    "empty": (b"", r"REFUSED  {name}: an empty file, expected a log list"),
}


@pytest.mark.parametrize("how", OF_ONE_SOURCE)
def test_a_hostile_file_is_refused(lists, refused, how) -> None:
    """Each in its own words; lists, and the times of their files, are as they were."""
    octets, told = OF_ONE_SOURCE[how]
    source = lists.source("hostile.json", octets)
    lines = refused(source)
    assert lines
    for line in lines:
        assert re.match(told.format(name=re.escape(str(source))), line), line


@pytest.mark.parametrize("how", OF_ONE_SOURCE)
def test_a_hostile_page_is_refused(refused, world, files, tmp_path, how) -> None:
    """The same over https."""
    octets, told = OF_ONE_SOURCE[how]
    with serving(world.issue(), {"/list.json": octets}, tmp_path) as port:
        url = f"https://127.0.0.1:{port}/list.json"
        lines = refused(url, "--web-anchors", files.anchors)
    assert lines
    for line in lines:
        assert re.match(told.format(name=re.escape(url)), line), line


@pytest.mark.parametrize("how", ["another list's", "another key's", "one bit", "cut", "a page"])
def test_a_list_that_is_mis_signed_is_refused(lists, refused, how) -> None:
    """A signature that lies beside a list, and is not its own, refuses it: it is not taken as unsigned."""
    signer, source = Signer(), lists.source("signed.json", HONEST)
    key = lists.source("key.pem", signer.public_pem)
    right = signer.sign(HONEST)
    wrong = {
        "another list's": signer.sign(POISONED),
        "another key's": Signer().sign(HONEST),
        "one bit": bytes([right[0] ^ 1]) + right[1:],
        "cut": right[:-1],
        "a page": HTML,
    }[how]
    lists.source("signed.sig", wrong)
    (line,) = refused(source, "--key", key)
    assert line.startswith(f"REFUSED  {source}: mis-signed: ")


def test_a_mis_signed_list_from_the_web_is_refused(lists, refused, world, files, tmp_path) -> None:
    """A server that offers a signature has to offer the right one."""
    key = lists.source("key.pem", Signer().public_pem)
    pages = {"/list.json": HONEST, "/list.json.minisig": Signer().sign(HONEST)}
    with serving(world.issue(), pages, tmp_path) as port:
        url = f"https://127.0.0.1:{port}/list.json"
        (line,) = refused(url, "--web-anchors", files.anchors, "--key", key)
    assert line.startswith(f"REFUSED  {url}: mis-signed: ")


@pytest.mark.parametrize("octets", [POISONED, written(*LOGS[:7]), written(*LOGS, MIMIC)], ids=["logs", "few", "mimic"])
def test_the_same_hostile_list_twice_is_one_voice(lists, refused, octets) -> None:
    """Two names, other white space: what one publisher says is not said by two."""
    once = lists.source("once.json", octets)
    again = lists.source("again.json", json.dumps(json.loads(octets)).encode())
    refused(once, again)


def test_a_poisoned_list_among_honest_ones_is_not_followed(run, lists) -> None:
    """Beside two honest sources, what only the poisoned one lists stays out; what it retires goes, as from anyone."""
    sources = [*lists.pair(*LOGS, NEW_LOG), lists.source("poisoned.json", written(*LOGS, NEW_LOG, *FORGED))]
    found = run("logs", "update", "--yes", "--config", lists.config, "--from", *sources)
    assert found.status == 0
    assert "added Alder 5" in found.out
    assert "withheld: Alder 9 (Alder) to be added: listed by " in found.out
    assert all(json.dumps(log.description).encode() not in lists.list.read_bytes() for log in FORGED)


def test_a_wider_list_alone_widens_nothing(lists, refused) -> None:
    """A log that counts again, and an interval without an end, are withheld."""
    lists.list.write_bytes(written(*LOGS[1:], retired(LOGS[0]), at=IN_FORCE))
    lines = refused(lists.source("wider.json", written(LOGS[0], replace(LOGS[1], interval=None), *LOGS[2:])))
    assert {line[: line.index(" (")] for line in lines} == {"withheld: Alder 1", "withheld: Alder 2"}


def test_a_body_without_end_is_refused(refused, world, files, tmp_path) -> None:
    """It is read to the limit of 4 MiB, and no further."""
    with serving(world.issue(), {"/list.json": ENDLESS}, tmp_path) as port:
        url = f"https://127.0.0.1:{port}/list.json"
        (line,) = refused(url, "--web-anchors", files.anchors)
    assert line == f"REFUSED  {url}: sends more than the 4194304 octets that are taken"


def test_a_trickle_without_end_is_refused(refused, world, files, tmp_path, monkeypatch) -> None:
    """It is read for the seconds that a source has, and no longer."""
    monkeypatch.setattr(logs_sources, "SECONDS", 0.3)
    with serving(world.issue(), {"/list.json": TRICKLE}, tmp_path) as port:
        url = f"https://127.0.0.1:{port}/list.json"
        (line,) = refused(url, "--web-anchors", files.anchors)
    assert re.fullmatch(rf"REFUSED  {url}: not complete after 0\.3 s: \d+ octets came", line)


def test_200_megabytes_are_refused(lists, refused, world, files, tmp_path) -> None:
    """A file is not read beyond the limit, an announced length not at all."""
    source = lists.folder / "large.json"
    with source.open("wb") as file:
        file.truncate(200_000_000)
    (line,) = refused(source)
    assert line == f"REFUSED  {source}: too large: expected at most 4194304 octets"
    with serving(world.issue(), {"/list.json": LARGE}, tmp_path) as port:
        url = f"https://127.0.0.1:{port}/list.json"
        (line,) = refused(url, "--web-anchors", files.anchors)
    assert line == f"REFUSED  {url}: announces 200000000 octets, at most 4194304 are taken"


def test_what_is_no_regular_file_is_refused(lists, refused) -> None:
    """A FIFO that nobody fills, a device without end and a folder neither hang the command nor fill its memory."""
    fifo = lists.folder / "fifo"
    os.mkfifo(fifo)
    for source in (fifo, Path("/dev/zero"), lists.folder):
        (line,) = refused(source)
        assert line == f"REFUSED  {source}: not a regular file"


def test_a_fifo_is_no_key_and_no_signature_either(run, lists) -> None:
    """Files that only the person names are bad input."""
    fifo = lists.folder / "fifo"
    os.mkfifo(fifo)
    source = lists.source("list.json", HONEST)
    for option in ("--key", "--signature"):
        found = run("logs", "update", "--from", source, option, fifo, "--config", lists.config)
        assert (found.status, found.err) == (2, f"stubresolver: {fifo}: not a regular file\n")


def test_hostile_words_do_not_steer_the_terminal(lists, refused) -> None:
    """What a source says is shown without control characters, and cut."""
    source = lists.source(
        "hostile.json", b"<html>\x1b]0;owned\x07" + b"\x9b31m".decode("latin-1").encode() + b"x" * 9999
    )
    (line,) = refused(source)
    assert line.isprintable()
    assert len(line) < 400
