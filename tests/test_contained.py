"""A task that DNS goes on without: its failures are told and it is begun again, without end and without a hot loop."""

import pytest
import trio
import trio.testing

from stubresolver.contained import LONGEST, Containment, describe
from stubresolver.serve import parse_listen_address


class Task:
    """Fails as often as it was told to, then sleeps or returns."""

    def __init__(self, failures, lasts=0.0, ends=False):
        self.failures, self.lasts, self.ends = failures, lasts, ends
        self.begun = []

    async def __call__(self):
        self.begun.append(trio.current_time())
        await trio.sleep(self.lasts)
        if len(self.begun) <= self.failures:
            raise ValueError("oops")
        if not self.ends:
            await trio.sleep_forever()


async def test_a_task_that_fails_is_begun_again_later_and_later(autojump_clock, caplog):
    """After 1, 2, 4 ... seconds, and never less often than every five minutes."""
    task = Task(1000)
    with trio.move_on_after(3000):
        await Containment().run("the look", task)
    waits = [late - early for early, late in zip(task.begun, task.begun[1:], strict=False)]
    assert waits[:9] == pytest.approx([1, 2, 4, 8, 16, 32, 64, 128, 256])
    assert set(waits[9:]) == {LONGEST}
    assert caplog.records[0].levelname == "ERROR"
    assert caplog.records[0].getMessage() == "the look failed, and is begun again in 1 s: ValueError: oops"
    assert len(caplog.records) == len(task.begun)


async def test_what_has_done_well_for_long_is_begun_again_soon(autojump_clock):
    """A failure a day is no reason to wait for five minutes."""
    task = Task(20, lasts=LONGEST + 1)
    with trio.move_on_after(20 * (LONGEST + 2)):
        await Containment().run("the look", task)
    assert {late - early for early, late in zip(task.begun, task.begun[1:], strict=False)} == {LONGEST + 2}


async def test_what_fails_is_known_by_its_name(autojump_clock):
    """Told when it changes; what ended well is forgotten."""
    told = []
    containment = Containment(lambda: told.append(str(containment)))
    await containment.run("the look", Task(3, ends=True))
    assert told == ["the look: ValueError: oops", ""]
    assert containment.problems == {}


async def test_others_do_not_notice(autojump_clock):
    """It is the purpose: whatever the task raises, the nursery around it lives."""

    async def breaks():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Task(1000))
            nursery.start_soon(trio.sleep_forever)

    containment = Containment()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(containment.run, "the watch", breaks)
        await trio.sleep(10)
        assert containment.problems == {"the watch": "ValueError: oops"}
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
async def test_an_end_is_an_end(end):
    """Ctrl-C is no failure of the task."""

    async def ends():
        raise end

    with pytest.raises(end):
        await Containment().run("the look", ends)


def test_errors_are_described_with_their_place_in_our_code():
    """One line; of a group each error once."""

    def caught(function):
        try:
            function()
        except Exception as error:  # noqa: BLE001 - whatever it is
            return error
        raise AssertionError

    from_us = caught(lambda: trio.CancelScope().not_there)
    assert describe(from_us) == "AttributeError: 'CancelScope' object has no attribute 'not_there'"
    within = caught(lambda: parse_listen_address(None))
    assert describe(within).startswith("AttributeError: 'NoneType' object has no attribute 'strip' (serve/bind.py:")
    assert describe(ExceptionGroup("", [ValueError("a"), MemoryError(), ValueError("a")])) == (
        "ValueError: a, not enough memory"
    )
