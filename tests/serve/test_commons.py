"""What TCP connections share: turns and memory, on virtual time."""

import itertools

import trio
from trio.testing import wait_all_tasks_blocked

from stubresolver.serve.commons import _AT_ONCE, _IN_A_PASS, _LEAST, _MOST, _OCTETS, Commons


async def test_turns_are_at_once_while_any_are_left():
    """A client that asks now and then never waits, nor is any task needed for it."""
    commons = Commons()
    for _ in range(_IN_A_PASS // 2):
        assert await commons.turn(1) == 1
    assert await commons.turn(100) == _AT_ONCE


async def test_a_pass_has_so_many_queries_and_all_have_their_turn(autojump_clock):
    """However many connections want however much, a pass of the loop takes as many queries as a batch, in order."""
    commons, taken, order = Commons(), [], []

    async def client(number):
        for _ in range(5):
            taken.append(await commons.turn(100))
            order.append(number)

    async def count(passes):
        while True:
            passes.append(sum(taken))
            await trio.lowlevel.checkpoint()

    passes = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(commons.run)
        async with trio.open_nursery() as clients:
            nursery.start_soon(count, passes)
            for number in range(100):
                clients.start_soon(client, number)
        nursery.cancel_scope.cancel()
    assert sum(taken) == 100 * 5 * _AT_ONCE
    # Two passes may lie between two looks: trio runs the tasks of a pass in any order.
    assert max(after - before for before, after in itertools.pairwise(passes)) <= 2 * _IN_A_PASS
    # Nobody waits for longer than one turn of each of the others, once the turns of the first pass are used up.
    assert {*order[: _IN_A_PASS // _AT_ONCE + 100 + _AT_ONCE]} == {*range(100)}


async def test_who_is_cancelled_while_he_waits_takes_no_turn(autojump_clock):
    """A connection that ends in the queue holds nobody up."""
    commons = Commons()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(commons.run)
        while commons._left:
            await commons.turn(_AT_ONCE)
        with trio.CancelScope() as scope:
            scope.cancel()
            await commons.turn(1)
        assert scope.cancelled_caught
        await wait_all_tasks_blocked()
        assert await commons.turn(1) == 1
        nursery.cancel_scope.cancel()


def test_memory_of_one_and_of_all():
    """One connection holds at most sixteen large answers, all together 16 MiB; two each may hold whatever others do."""
    commons = Commons()
    commons.hold(_MOST)
    assert commons.allows(_MOST)
    assert not commons.allows(_MOST + 1)
    commons.hold(_OCTETS)
    assert commons.allows(_LEAST)
    assert not commons.allows(_LEAST + 1)
    commons.hold(-_OCTETS - _MOST)
    assert commons.held == 0
