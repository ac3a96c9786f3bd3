"""Wherever between two steps a disk fails: a judgement is written once, told of honestly, and the floor is kept."""

import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
import trio

from stubresolver.errors import EvidenceError, EvidenceUnfit
from stubresolver.evidence import EvidenceKeeper, EvidenceStore, Recorder
from stubresolver.evidence import recorder as module
from stubresolver.evidence.audits import Audited, Raised
from stubresolver.evidence.writing import write

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
UPSTREAM = "tls://127.0.0.1#dns.lab"
ALARM = Audited("aa", "bb", "alarm", "split-view", "two trees", "2026-11-02T12:00:00.000Z", "2026-11-02")


@pytest.fixture
def reports():
    return []


@pytest.fixture
def keeper(path, world, reports):
    made = EvidenceKeeper(path, lambda: NOW, reports.append)
    made.keep_demands(world.policy, world.log_list)
    yield made
    made.close()


@pytest.fixture
def judged(keeper, verifier, presented):
    """A judgement of what is shown."""

    def judged(shown=presented, at=NOW):
        return keeper.judgement(UPSTREAM, shown, verifier.judge(shown, at))

    return judged


@pytest.fixture
def counts(path):
    """How often the file says that each of its records was judged."""

    def counts():
        with closing(EvidenceStore(path)) as store:
            return sorted(record.count for record in store.records())

    return counts


def test_what_is_written_does_not_wait_because_an_alarm_cannot_be(keeper, judged, junk, path, counts, monkeypatch):
    """The disk is full again when the alarms of the time without a file follow: no judgement is counted twice."""
    path.unlink()
    path.mkdir()
    keeper.record(judged())
    keeper.audits().keep(ALARM, [Raised("split-view", "two trees", b"{}")])
    path.rmdir()

    def full(*_, **__):
        raise EvidenceError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("stubresolver.evidence.keeper._keep_alarm", full)
        keeper.record(judged(junk(1)))
    assert (keeper.state.kept, keeper.state.unrecorded) == (False, 2)
    keeper.retry()
    assert (keeper.state.kept, keeper.state.unrecorded, counts()) == (True, 0, [1, 1])


def test_what_is_written_one_by_one_is_not_written_again(keeper, judged, junk, counts, monkeypatch):
    """One judgement is such that no file takes it, and then the disk is full: each is written, or lost, once."""
    waiting = [judged(junk(number)) for number in range(3)]
    for judgement in waiting:
        keeper.hold(judgement)
    faults = {waiting[1].identity: EvidenceUnfit("no text"), waiting[2].identity: EvidenceError("full")}

    def failing(database, identity, *arguments, **options):
        if identity in faults:
            raise faults[identity]
        return write(database, identity, *arguments, **options)

    monkeypatch.setattr("stubresolver.evidence.store.write", failing)
    keeper.retry()
    assert (keeper.state.kept, keeper.state.unrecorded, keeper.state.lost) == (False, 1, 1)
    del faults[waiting[2].identity]
    keeper.retry()
    assert (keeper.state.kept, keeper.state.unrecorded, keeper.state.lost, counts()) == (True, 0, 1, [1, 1])


def test_first_of_two_is_not_written_again_when_the_second_comes_meanwhile(keeper, judged, counts, monkeypatch):
    """The event loop holds one more of the same while the thread writes."""
    keeper.hold(judged())
    record_all = EvidenceStore.record_all

    def meanwhile(store, judgements):
        monkeypatch.setattr(EvidenceStore, "record_all", record_all)
        kept = store.record_all(judgements)
        keeper.hold(judged(at=LATER))
        return kept

    monkeypatch.setattr(EvidenceStore, "record_all", meanwhile)
    keeper.retry()
    assert (keeper.state.unrecorded, counts()) == (1, [1])
    keeper.retry()
    assert (keeper.state.unrecorded, counts()) == (0, [2])


def test_floor_is_what_was_judged_last(keeper, judged, presented, path):
    """Who takes the file away after a judgement, and before the next one looks into it, lowers nothing."""
    keeper.recall("00")
    keeper.record(judged(at=LATER))
    assert keeper.recall_here("00").newest == LATER
    path.unlink()
    assert keeper.recall(sha256(presented.chain[0]).hexdigest()).newest == LATER


def test_refused_judgement_lifts_no_floor(keeper, judged, junk):
    """Anybody can have himself refused at any time."""
    keeper.record(judged(junk(1), LATER))
    assert keeper.recall_here("00").newest is None


def test_what_waits_is_written_at_the_end_though_memory_was_short(keeper, judged, counts, reports, monkeypatch):
    """Without room for the second store nothing is known of what waits, but that it waits."""

    def short():
        raise MemoryError

    monkeypatch.setattr(keeper, "_in_memory", short)
    keeper.hold(judged())
    assert keeper.state.unrecorded == 1
    keeper.close()
    assert (counts(), reports) == ([1], [])


def test_what_waits_and_cannot_be_written_at_the_end_is_told_though_memory_was_short(
    keeper, judged, path, reports, monkeypatch
):
    """The same on a disk that takes nothing."""

    def short():
        raise MemoryError

    monkeypatch.setattr(keeper, "_in_memory", short)
    path.unlink()
    path.mkdir()
    keeper.record(judged())
    keeper.close()
    assert "1 judgements and 0 alarms could not be kept" in reports[-1]


def test_trouble_that_is_over_is_not_told_again(keeper, judged, reports):
    """A thread writes all at the very moment at which one more is held: the state is that of now, and not of before."""
    keeper.hold(judged(), "the disk hangs")
    lock, us, entered = keeper._memory, threading.current_thread(), []

    class Late:
        """A lock for which the thread is faster, the third time that we want it."""

        def __enter__(self):
            if threading.current_thread() is us and entered.append(1) is None and len(entered) == 3:
                writer = threading.Thread(target=keeper.retry)
                writer.start()
                writer.join()
            lock.acquire()

        def __exit__(self, *_):
            lock.release()

    keeper._memory = Late()
    keeper.hold(judged(at=LATER))
    assert len(entered) == 3
    assert (keeper.state.kept, len(reports)) == (True, 2)


async def test_thread_that_begins_too_late_does_nothing(
    autojump_clock, keeper, world, verifier, presented, counts, monkeypatch
):
    """Its judgement is held by then, and would be written twice."""
    threads = []

    async def start_late(use, **_):
        threads.append(use)
        await trio.sleep_forever()

    recorder = Recorder(keeper)
    verdict = verifier.judge(presented, NOW)
    with monkeypatch.context() as patch:
        patch.setattr(module.trio.to_thread, "run_sync", start_late)
        await recorder.record(UPSTREAM, presented, verdict, world.policy.snapshot())
    assert keeper.state.unrecorded == 1
    with pytest.raises(RuntimeError, match="withdrawn"):
        threads[0]()
    keeper.retry()
    assert counts() == [1]
