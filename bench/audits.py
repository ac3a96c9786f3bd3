"""The audit: how long a person waits until three SCTs are proved, against the lab's logs on loopback.

What is timed is what the background audit does, too: read the SCTs, ask both logs' APIs over HTTPS by our own web
client, verify, and keep what came of it on the disk. Each audit has a new client and an empty evidence file, as at the
first contact; only names cost nothing.
"""

import contextlib
import functools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import TypeVar

import trio

from bench.process import CannotMeasure
from stubresolver.audit import MAXIMUM_ANSWER, Entry, Outcome, read_entries
from stubresolver.audit.keeping import audit_and_keep
from stubresolver.evidence import EvidenceStore
from stubresolver.lab.archive import HOST, Archive
from stubresolver.lab.world import World
from stubresolver.web import Web

_T = TypeVar("_T")

_AUDITS = 20
_LOGGED = timedelta(days=-2)  # longer ago than any maximum merge delay
_PATIENCE = 10.0  # seconds for one page, as in cli/auditing.py


def audits(folder: Path) -> tuple[float, ...]:
    """Seconds by the clock of several audits of one certificate; an uncounted one, which imports, goes before."""
    return trio.run(_measure, folder)


async def _measure(folder: Path) -> tuple[float, ...]:
    world = World(datetime.now(UTC))
    logs = (world.alder1, world.alder2, world.birch1)
    archive = Archive(world.issue(names=[HOST], addresses=()), _now)
    anchors = folder / "roots.pem"
    anchors.write_bytes(world.anchors_pem)
    async with trio.open_nursery() as nursery:
        world.log_host = await nursery.start(archive.serve)
        archive.join(logs)
        leaf = world.issue(logs, stamped=_LOGGED, starts=_LOGGED).chain[0]
        entries = read_entries(leaf, bytes.fromhex(world.lab.intermediate_spki_sha256), world.log_list).entries
        seconds = [await _audit(entries, Web(_resolve, anchors), folder / f"{number}") for number in range(1 + _AUDITS)]
        nursery.cancel_scope.cancel()
    return tuple(seconds[1:])


async def _audit(entries: Sequence[Entry], web: Web, folder: Path) -> float:
    """Prove and keep; raises `CannotMeasure` where a proof is lacking."""
    get = functools.partial(web.get, limit=MAXIMUM_ANSWER, seconds=_PATIENCE)
    with contextlib.closing(EvidenceStore(folder / "evidence.sqlite3")) as store:
        begun = trio.current_time()
        reports = await audit_and_keep(store.audits(), entries, get, _now(), _in_thread)
        seconds = trio.current_time() - begun
    if [report.outcome for report in reports] != [Outcome.PROVED] * 3:
        found = "; ".join(report.detail for report in reports)
        raise CannotMeasure(f"three SCTs of honest logs of the lab were not proved: {found}")
    return seconds


async def _resolve(_name: str) -> Sequence[IPv4Address]:
    return [IPv4Address("127.0.0.1")]


async def _in_thread(function: Callable[[], _T], /) -> _T:
    return await trio.to_thread.run_sync(function)


def _now() -> datetime:
    return datetime.now(UTC)
