"""Storms: a resolver among clients, upstreams and people that do anything at any time, by a seed and on virtual time.

What must hold of each reply stands in `storm`; here is what must hold of the whole. By hand, for longer:

    python -m tests.resolve.test_storm SEEDS [FIRST]
"""

import functools
import heapq
import sys
import traceback

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.resolve.storm import EXAMPLE, HERE_KNOWN, LATEST, NAMES, Known, Storm

EVENTS = {"forget": 1, "forget within": 3, "know": 1, "detour": 3, "press": 2, "down": 3, "network": 1}
BURST = 60
LONGEST_FAILURE = 60.0  # seconds that a failure is kept, docs/cache.md


def strike(it):
    """Something happens."""
    chance = it.chance
    [what] = chance.choices(list(EVENTS), list(EVENTS.values()))
    match what:
        case "forget":
            it.overtake()
            it.resolver.forget()
        case "forget within":
            name = chance.choice([*NAMES, EXAMPLE, EXAMPLE])
            it.overtake(lambda key: key[:-5].endswith(name))
            it.resolver.forget_within(name, it.cache.every_key())
        case "know":
            it.overtake()
            it.local = Known(it.local.version + 1, {HERE_KNOWN}, set(chance.sample(NAMES, chance.randrange(3))))
            it.resolver.know(it.local)
        case "detour":
            it.overtake(kept=False)
            it.detour = chance.choice([None, it.stranger])
            it.resolver.detour(it.detour)
        case "press":
            it.resolver.press(it.now)
        case "down":
            it.down = not it.down
            it.upstream.fault = "error" if it.down else None
        case "network":
            it.cache.forget_failures()


async def weather(it, seconds, rate, *, strikes=True):
    """Clients ask, exchanges end and things happen, for a while."""
    chance, end = it.chance, trio.current_time() + seconds
    next_query = next_strike = trio.current_time() if rate else float("inf")
    while it.now < end:
        due = it.due[0][0] if it.due else end
        await trio.sleep_until(min(next_query, next_strike, due, end))
        it.now = trio.current_time()
        while it.due and it.due[0][0] <= it.now:
            it.land(heapq.heappop(it.due)[2])
        if it.now >= next_query:
            for _ in range(BURST if strikes and chance.random() < 0.01 else 1):
                it.ask()
            next_query = it.now + chance.expovariate(rate)
        if it.now >= next_strike:
            if strikes:
                strike(it)
            next_strike = it.now + chance.expovariate(0.2)
        check(it)


def check(it):
    """What holds at every moment."""
    assert not it.wrong, it.wrong
    said = it.resolver.statistics()
    assert said.queries == it.asked
    assert said.waiting == len(it.waiting)
    assert said.under_way == len(it.under_way)
    assert said.undelivered == it.raised


async def peace(it):
    """All is well again: as soon as the last failure is forgotten, nobody fails."""
    it.overtake()
    it.detour, it.down, it.quiet, it.upstream.fault = None, False, True, None
    it.local = Known(it.local.version + 1, {HERE_KNOWN}, set())
    it.resolver.detour(None)
    it.resolver.know(it.local)
    await weather(it, LONGEST_FAILURE + LATEST, 10, strikes=False)
    it.peace = it.options.max_flights > len(NAMES)
    await weather(it, 20, 10, strikes=False)
    await weather(it, LATEST + 2, 0, strikes=False)


async def stopped(it, nursery):
    """It stops in the middle of it."""
    grace = it.chance.choice([0.0, 0.5, 5.0])
    nursery.start_soon(it.resolver.stop, grace)
    await wait_all_tasks_blocked()
    it.stopping = True
    if grace:
        await weather(it, grace - 0.01, 20)
    await trio.sleep(0.02)
    assert not it.waiting
    it.under_way.clear()
    it.overtake(kept=False)
    await weather(it, 5, 20)


async def storm(seed, seconds=60.0):
    """Everything at once; then it stops, or there is peace. Nothing is left of it."""
    it = Storm(seed)
    async with trio.open_nursery() as nursery:
        await nursery.start(it.resolver.run)
        await weather(it, seconds, it.chance.choice([5, 20, 60]))
        await (stopped(it, nursery) if it.chance.random() < 0.3 else peace(it))
        check(it)
        flights = it.resolver._flights
        assert not it.waiting
        assert not len(flights)
        assert flights.admission._held == {}
        assert len(flights.admission._begun) <= 20
        assert not it.resolver._patience._begun or it.stopping
        nursery.cancel_scope.cancel()
    return it


def play(seed):
    """One storm on a clock of its own."""
    return trio.run(functools.partial(storm, seed), clock=MockClock(autojump_threshold=0))


def main(seeds, first):
    """Storm after storm; how many failed."""
    failed = 0
    for seed in range(first, first + seeds):
        try:
            play(seed)
        except Exception:  # noqa: BLE001 - whatever it is, it is told, and the next storm comes
            failed += 1
            sys.stdout.write(f"FAILED  seed {seed}\n")
            traceback.print_exc(limit=-2)
    return failed


@pytest.mark.parametrize("seed", range(1, 6))
def test_storm_leaves_nothing_behind(seed):
    """Each query gets its own reply, once and in time; what may not be kept is not, and places and counts add up."""
    play(seed)


if __name__ == "__main__":
    sys.exit(min(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1), 1))
