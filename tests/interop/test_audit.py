"""Audits over real sockets: lab logs that speak both APIs, honest and dishonest, read by our own web client."""

import contextlib
import functools
import json
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
import trio

from stubresolver.audit import MAXIMUM_ANSWER
from stubresolver.evidence import EvidenceStore
from stubresolver.lab.archive import HOST, Archive
from stubresolver.lab.servers import DotServer
from stubresolver.lab.trials import Reader, hold, trials
from stubresolver.web import Web
from tests.interop.clients import ask
from tests.interop.conftest import end_well
from tests.interop.labserver import running
from tests.interop.programs import wait_until
from tests.interop.service import start_service


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
    kept = store.audits().heads([report.log]).seen[report.log.log_id]
    assert kept.root == archive.fronts["elm-1"].log.tree.root(kept.size)
    assert kept.root != report.tree.root


def test_service_audits_in_the_background(world, new_folder, need, monkeypatch):
    """A service that has kept a certificate whose promises are due proves it; an alarm is logged and in the status.

    The names of the logs are resolved by the service itself, through the upstream whose certificate it is.
    """
    need("dig")
    archive = Archive(world.issue(names=[HOST], addresses=()), lambda: datetime.now(UTC))
    logged = timedelta(days=-2)
    credential = world.issue([world.alder1, world.birch1], stamped=logged, starts=logged)
    folder = new_folder()
    # the lab's logs are on loopback, which no public name may lead to otherwise
    more = '[audit]\nbackground = true\nanchors = "anchors.pem"\n[local]\nrebinding_allow = ["logs.lab"]\n'
    with running(archive.server) as port, running(DotServer(credential, world.zone.answer)) as upstream:
        archive.host = f"{HOST}:{port}"
        alder, birch = archive.join([world.alder1, world.birch1])
        monkeypatch.setattr(world, "log_host", archive.host)
        alder.root = bytes(32)  # a root that no proof leads to
        asked = [f"tls://127.0.0.1:{upstream}#dns.lab"]
        first = start_service(folder, world, asked)
        wait_until(lambda: ask("dig", first.port, "example.lab", "A").status == "NOERROR", 5, "an answer")
        end_well(first)
        assert (alder.asked, birch.asked) == ([], [])
        second = start_service(folder, world, asked, more)
        wait_until(lambda: "AUDIT ALARM (wrong-root)" in second.log, 10, "an alarm")
        wait_until(lambda: "audit: tls://127.0.0.1" in second.log, 10, "a proof")
        wait_until(lambda: json.loads((folder / "status.json").read_bytes())["audit_alarms"] == 1, 5, "the status")
        assert ask("dig", second.port, "fresh.wild.lab", "A").status == "NOERROR"
        end_well(second)
        third = start_service(folder, world, asked)
        assert "AUDIT ALARM 1 is kept since" in third.log
        assert "AUDIT ALARMS kept: 1" in json.loads((folder / "status.json").read_bytes())["outcome"]
        end_well(third)
