"""Audits over real sockets: lab logs that speak both APIs, honest and dishonest, read by our own web client."""

import contextlib
import functools
import json
from datetime import UTC, datetime
from ipaddress import ip_address

import pytest
import trio

from stubresolver.audit import MAXIMUM_ANSWER
from stubresolver.evidence import EvidenceStore
from stubresolver.lab.archive import HOST, Archive
from stubresolver.lab.trials import Reader, hold, trials
from stubresolver.lab.world import World
from stubresolver.web import Web

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def world():
    # TLS has no other clock than the machine's, so the certificate of the logs' host must be valid today.
    return World(datetime.now(UTC))


@pytest.fixture
def store(tmp_path):
    with contextlib.closing(EvidenceStore(tmp_path / "evidence.sqlite3")) as opened:
        yield opened


async def in_thread(function):
    return await trio.to_thread.run_sync(function)


@contextlib.asynccontextmanager
async def reading(world, store, tmp_path, seconds=5.0):
    """The archive, and a reader of it: the product's own web client, with the lab's root."""
    anchors = tmp_path / "roots.pem"
    anchors.write_bytes(world.anchors_pem)

    async def resolve(name):
        assert name == HOST
        return [ip_address("127.0.0.1")]

    archive = Archive(world.issue(names=[HOST], addresses=()), lambda: datetime.now(UTC))
    web = Web(resolve, anchors)
    get = functools.partial(web.get, limit=MAXIMUM_ANSWER, seconds=seconds)
    async with trio.open_nursery() as nursery:
        await nursery.start(archive.serve)
        yield archive, Reader(store.audits(), get, in_thread)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("trial", list(trials()), ids=lambda trial: f"{trial.name}-{trial.kind}")
async def test_audit_says_what_the_log_deserves(trial, world, store, tmp_path):
    """Honest logs of both kinds are proved; each dishonest one is caught, named, and its evidence kept."""
    seconds = 0.3 if trial.name == "silence" else 5.0
    async with reading(world, store, tmp_path, seconds) as (archive, reader):
        report = await hold(trial, 1, world, archive, reader)
    assert (report.outcome.value, report.kind.value) == trial.expected, report.detail
    (outcome,) = store.audits().outcomes()
    assert (outcome.outcome, outcome.kind, outcome.detail) == (*trial.expected, report.detail)
    alarms = store.audits().alarms()
    if trial.expected[0] != "alarm":
        assert alarms == []
        return
    (alarm,) = [each for each in alarms if each.kind == trial.expected[1]]
    document = json.loads(store.audits().received(alarm.number))
    assert (document["kind"], document["log"]["description"]) == (trial.expected[1], "Elm 1")
    assert document["received"]
    assert all(item["octets"] for item in document["received"])


async def test_deceived_reader_keeps_the_honest_tree_head(world, store, tmp_path):
    """After a split view the tree head from before is remembered, so that the log cannot make us forget it."""
    trial = next(each for each in trials() if (each.name, each.kind) == ("split-view", "rfc6962"))
    async with reading(world, store, tmp_path) as (archive, reader):
        report = await hold(trial, 1, world, archive, reader)
    kept = store.audits().heads({report.log.log_id: report.log})[report.log.log_id]
    assert kept.root == archive.fronts["elm-1"].log.tree.root(kept.size)
    assert kept.root != report.tree.root
