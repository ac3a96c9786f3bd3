"""The rooms joined: what only the whole can get wrong. Real sockets on loopback, no upstream."""

import logging
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

import dns.message
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from stubresolver.app import App
from stubresolver.cache import AnswerCache, CacheOptions
from stubresolver.config import Settings
from stubresolver.demands import build_demands
from stubresolver.errors import ConnectFailed
from stubresolver.evidence import Event, EventKind, EvidenceKeeper, EvidenceStore, Kept, Recorder
from stubresolver.lab.world import NAME, World
from stubresolver.lab.zone import LabZone
from stubresolver.loglines import report_event
from stubresolver.resolve import Resolver, ResolverOptions
from stubresolver.serve import bind_tcp, bind_udp, parse_listen_address
from stubresolver.upstream import ConnectionLost, DialFailed, Judged, parse_upstream
from stubresolver.verify import Finding, Mode, Outcome, Presented, Rule, Verdict, Verifier
from stubresolver.wire import Query
from stubresolver.wire.framing import FrameReader, frame


class Held:
    """An exchanger that holds every query until it is told to answer them all."""

    def __init__(self):
        self.asked = []

    def exchange_soon(self, query, reply):
        self.asked.append((query, reply))

    def answer_all(self):
        for query, reply in self.asked:
            reply(dns.message.make_response(dns.message.from_wire(query)).to_wire())


@pytest.mark.parametrize("again", range(10))  # which task trio runs first is chance
async def test_stop_writes_what_is_owed_over_tcp(again):
    """Answers that come after `stop`, be it all at once, are written to every connection that waits for one."""
    held = Held()
    app = App(Settings(upstreams=()), demands={})
    app._resolver = Resolver(held, AnswerCache(CacheOptions()), ResolverOptions())
    udp, tcp = (bind(parse_listen_address("127.0.0.1:0")) for bind in (bind_udp, bind_tcp))
    async with trio.open_nursery() as nursery:
        started = trio.Event()
        nursery.start_soon(app.serve, [udp], [tcp], started.set)
        await started.wait()
        clients = []
        for number in range(10):
            client = await trio.open_tcp_stream(*tcp.getsockname())
            clients.append(client)
            await client.send_all(frame(dns.message.make_query(f"owed-{number}.wild.lab", "A", id=number).to_wire()))
        with trio.fail_after(5):
            while len(held.asked) < len(clients):
                await trio.lowlevel.checkpoint()
        app.stop()
        await wait_all_tasks_blocked()
        held.answer_all()
        for number, client in enumerate(clients):
            received = b"".join([data async for data in client])
            assert [dns.message.from_wire(wire).id for wire in FrameReader().feed(received)] == [number]
            await client.aclose()
    udp.close()


UPSTREAM = parse_upstream("tls://127.0.0.1#dns.lab")
PASSED = Finding(Rule.PATH_VALID, Outcome.PASS, "leaf", "a path")
FAILED = Finding(Rule.CT_OPERATORS, Outcome.FAIL, "leaf", "1 of 2 (Alder)")


def judged(*findings, mode=Mode.ENFORCE):
    return Verdict(datetime(2026, 11, 2, tzinfo=UTC), findings, (), (), frozenset({Rule.PATH_VALID}), "", None, mode)


@pytest.mark.parametrize(
    ("event", "level", "line"),
    [
        (Judged(UPSTREAM, judged(PASSED)), "INFO", "allowed: path and address valid; no CT demanded"),
        (Judged(UPSTREAM, judged(PASSED), again=True), "INFO", "judged again: allowed: path and address valid;"),
        (Judged(UPSTREAM, judged(FAILED)), "ERROR", "REFUSED, no query was sent: ct.operators: 1 of 2 (Alder)"),
        (Judged(UPSTREAM, judged(FAILED), again=True), "ERROR", "judged again: REFUSED, no more queries are sent: ct."),
        (Judged(UPSTREAM, judged(FAILED, mode=Mode.REPORT)), "WARNING", "REPORT ONLY, would be refused: ct.operators"),
        (
            Judged(UPSTREAM, judged(FAILED, mode=Mode.REPORT), again=True),
            "WARNING",
            "judged again: REPORT ONLY, would be refused: ct.operators",
        ),
        (Judged(UPSTREAM, judged(PASSED, mode=Mode.REPORT)), "INFO", "allowed: path"),
        (DialFailed(UPSTREAM, ConnectFailed("refused")), "WARNING", "refused"),
        (ConnectionLost(UPSTREAM, "reset"), "INFO", "connection lost: reset"),
    ],
)
def test_each_event_is_one_line_as_loud_as_it_is_grave(caplog, event, level, line):
    """A refusal is an error, what would be one is a warning, the rest is news; each names its upstream."""
    caplog.set_level(logging.INFO, "stubresolver")
    report_event(event)
    [record] = caplog.records
    assert record.levelname == level
    assert record.getMessage().startswith(f"{UPSTREAM}: {line}")


async def test_change_of_an_upstream_is_a_warning(caplog):
    """What the evidence store finds changed is told in one line, once it is kept."""

    class Evidence:
        """Finds that the issuer has changed."""

        def keep_demands(self, *_):
            pass

        async def record(self, upstream, *_):
            return [Kept("id", new=True, events=(Event(upstream, EventKind.ISSUER, "CN=A", "CN=B", ""),))]

    world = World(datetime(2026, 11, 2, tzinfo=UTC))
    demands = build_demands(Verifier(world.policy, world.log_list), Evidence())
    await demands.recorder.record(str(UPSTREAM), None, None)
    assert [record.getMessage() for record in caplog.records] == [f"{UPSTREAM}: issuer changed: CN=A -> CN=B"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("last", [0, 1])
async def test_judgement_is_kept_with_the_policy_that_made_it(tmp_path, last):
    """Two files may demand the same in other words. The words stand in the verdict: each is kept with its own."""
    now = datetime(2026, 11, 2, tzinfo=UTC)
    world = World(now)
    issuers = world.policy.issuers
    named = {key: f"{name}, by another name" for key, name in issuers.allowed.items()}
    renamed = replace(world.policy, issuers=replace(issuers, allowed=named))
    assert renamed.digest == world.policy.digest
    shown = Presented(UPSTREAM.address, NAME, world.issue().chain, None)
    path = tmp_path / "evidence.sqlite3"
    with closing(EvidenceKeeper(path, lambda: now)) as keeper:
        verifiers = [Verifier(policy, world.log_list) for policy in (world.policy, renamed)]
        both = [build_demands(verifier, Recorder(keeper)) for verifier in verifiers]
        await both[last].recorder.record(str(UPSTREAM), shown, verifiers[last].judge(shown, now))
    with closing(EvidenceStore(path)) as store:
        [record] = store.records()
        assert store.export(record.id).reproduces


@pytest.mark.parametrize("forget", [True, False])
async def test_answers_are_forgotten_where_the_demands_changed(forget):
    """A reload that changes nothing costs no answer."""
    held = Held()
    app = App(Settings(upstreams=()), {})
    app._resolver = Resolver(held, AnswerCache(CacheOptions()), ResolverOptions())
    query = Query(dns.message.make_query("a.wild.lab", "A").to_wire())
    app._resolver.answer_soon(query, bytes)
    [(wire, reply)] = held.asked
    reply(LabZone().answer(wire))
    assert app._resolver.answer_nowait(query, trio.current_time())
    await app.renew({}, forget=forget)
    assert (app._resolver.answer_nowait(query, trio.current_time()) is None) == forget
