"""The evidence off the event loop: whatever a disk or the threads do, a dial waits for a moment and goes on."""

from contextlib import closing
from datetime import UTC, datetime
from hashlib import sha256

import pytest
import trio
import trio.testing

from stubresolver.evidence import EvidenceKeeper, EvidenceStore, Recalled, Recorder
from stubresolver.evidence import recorder as module

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
UPSTREAM = "tls://127.0.0.1#dns.lab"
AT_ONCE = 5.0  # seconds: far less than the patience of the tests in which nobody may be waited for


async def until(condition):
    """Wait for what another thread does; the caller bounds it."""
    while not condition():  # noqa: ASYNC110 - no thread of the code tells
        await trio.sleep(0.001)


class Dials:
    """A recorder, what it told, and a judgement for it."""

    def __init__(self, path, world, verifier, presented):
        self.path, self.presented, self.verifier = path, presented, verifier
        self.told, self.reports = [], []
        self.keeper = EvidenceKeeper(path, lambda: NOW, self.reports.append)
        self.recorder = Recorder(self.keeper, self.told.append)
        self.recorder.keep_demands(world.policy, world.log_list)
        self.policy = world.policy.snapshot()

    async def record(self, presented=None):
        shown = presented or self.presented
        return await self.recorder.record(UPSTREAM, shown, self.verifier.judge(shown, NOW), self.policy)

    async def recall(self):
        return await self.recorder.recall(sha256(self.presented.chain[0]).hexdigest())

    def records(self):
        with closing(EvidenceStore(self.path)) as store:
            return len(store.records(1000))


@pytest.fixture
def dials(path, world, verifier, presented):
    made = Dials(path, world, verifier, presented)
    yield made
    made.keeper.close()


@pytest.fixture
def hang(dials):
    """While it lasts no use of the file comes to an end; uses begun then end afterwards."""
    return dials.keeper._disk


async def test_what_is_recorded_is_recalled(dials):
    """Where all is well nothing is told."""
    (kept,) = await dials.record()
    assert kept.new
    assert await dials.recall() == Recalled(NOW, NOW)
    assert (dials.records(), dials.told, dials.recorder.state.kept) == (1, [], True)


async def test_nobody_waits_for_a_disk_that_hangs(dials, hang, monkeypatch, junk):
    """The first dial waits for its patience, the others not at all; what they found is in memory."""
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    with trio.fail_after(AT_ONCE):
        with hang:
            await dials.record()
            monkeypatch.setattr(module, "PATIENCE", 60.0)
            for number in range(8):
                await dials.record(junk(number))
            assert (await dials.recall()).passed is None
            assert (dials.recorder.state.kept, dials.recorder.state.unrecorded) == (True, 8), "a stall is no trouble"
            monkeypatch.setattr(module, "HANGS", 0.0)
            await dials.record(junk(8))
            assert dials.recorder.state.problem == "the disk has not answered for more than 10 seconds"
            assert dials.told[-1] == dials.recorder.state
        await until(lambda: dials.recorder._late.ended)  # the use that hung goes on
        await dials.record(junk(9))
    assert (dials.records(), dials.recorder.state.kept, dials.recorder.state.unrecorded) == (11, True, 0)


async def test_a_stall_is_made_up_for_without_a_dial(dials, hang, monkeypatch, junk):
    """What was held meanwhile is written a moment later, and nobody was told of trouble."""
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    monkeypatch.setattr(module, "AGAIN", 0.01)
    async with trio.open_nursery() as nursery:
        with trio.fail_after(AT_ONCE):
            with hang:
                await dials.record()
                await dials.record(junk(0))
            nursery.start_soon(dials.recorder.tend)
            await until(lambda: not dials.recorder.state.unrecorded)
        nursery.cancel_scope.cancel()
    assert dials.records() == 2
    assert dials.reports == []


async def test_a_disk_that_hangs_is_told_without_a_dial(dials, hang, monkeypatch):
    """As long as nobody dials nobody would find out."""
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    monkeypatch.setattr(module, "AGAIN", 0.01)
    monkeypatch.setattr(module, "HANGS", 0.1)
    async with trio.open_nursery() as nursery:
        with hang, trio.fail_after(AT_ONCE):
            await dials.record()
            nursery.start_soon(dials.recorder.tend)
            await until(lambda: dials.told and not dials.told[-1].kept)
            nursery.cancel_scope.cancel()


async def test_the_loop_turns_while_a_disk_hangs(dials, hang):
    """Other tasks do not notice."""
    turns = 0
    async with trio.open_nursery() as nursery:
        with hang, trio.fail_after(AT_ONCE):
            nursery.start_soon(dials.record)
            while turns < 100:
                await trio.lowlevel.checkpoint()
                turns += 1
            nursery.cancel_scope.cancel()
    assert turns == 100


async def test_a_dial_that_is_given_up_leaves_its_judgement(dials, hang, junk):
    """Who was refused while another upstream won is recorded, whether or not its turn had come."""
    with trio.fail_after(AT_ONCE):
        with hang:
            async with trio.open_nursery() as nursery:
                for number in range(3):
                    nursery.start_soon(dials.record, junk(number))
                await trio.testing.wait_all_tasks_blocked(0.02)
                nursery.cancel_scope.cancel()
            assert dials.keeper.state.unrecorded == 2
            assert dials.keeper.state.kept
        await until(lambda: not dials.recorder._turn.borrowed_tokens)
        await dials.record()
    assert dials.records() == 4


async def test_it_is_tried_again_without_a_dial(dials, hang, monkeypatch):
    """What waits is written as soon as the file takes it, and that is told."""
    monkeypatch.setattr(module, "AGAIN", 0.01)
    dials.path.unlink()
    dials.path.mkdir()
    await dials.record()
    assert not dials.recorder.state.kept
    async with trio.open_nursery() as nursery:
        with trio.fail_after(AT_ONCE):
            nursery.start_soon(dials.recorder.tend)
            dials.path.rmdir()
            await until(lambda: dials.told[-1].kept)
        nursery.cancel_scope.cancel()
    assert dials.records() == 1


async def test_without_threads_it_is_memory(dials, monkeypatch):
    """RuntimeError is what Python says where the system gives no thread: it costs the record, not the dial."""

    async def no_thread(*_, **__):
        await trio.lowlevel.checkpoint()
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr("trio.to_thread.run_sync", no_thread)
        assert await dials.record() == ()
        assert (await dials.recall()).passed == NOW
        assert dials.recorder.state.problem == "no thread can be started to write it: raise TasksMax= or `ulimit -u`"
    assert await dials.record()
    assert (dials.records(), dials.recorder.state.kept) == (1, True)


async def test_a_defect_costs_the_record_and_not_the_process(dials, monkeypatch, caplog):
    """It is logged with its place, and the judgement is held."""

    def broken(_):
        raise ZeroDivisionError("oops")

    with monkeypatch.context() as patch:
        patch.setattr(dials.keeper, "record", broken)
        assert await dials.record() == ()
    assert dials.recorder.state.problem == "ZeroDivisionError: oops"
    assert dials.recorder.state.unrecorded == 1
    assert caplog.records[-1].exc_info is not None
