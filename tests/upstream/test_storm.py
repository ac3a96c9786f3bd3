"""Storms: a pool among hosts, networks and people that do anything at any time, by a seed and on virtual time.

The order in which trio runs its tasks is left to chance. By hand, for longer:

    python -m tests.upstream.test_storm SECONDS [SEED]
"""

import functools
import random
import sys
import time
import traceback
from collections import Counter, deque

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from stubresolver.errors import UpstreamError
from stubresolver.upstream import Judged, Pool, UpstreamOptions, parse_upstream
from stubresolver.upstream.refusals import DIALS, MINUTE
from tests.upstream.storm import FAULTS, GOOD, LOSES, REACH, World, query

TIMEOUT = UpstreamOptions().query_timeout
ONE = [parse_upstream("tls://127.0.1.1")]
TWO = [parse_upstream(f"tls://127.0.1.{n}") for n in (1, 2)]
MIXED = [parse_upstream("tls://127.0.1.1"), parse_upstream("https://127.0.1.2")]
HOSTS = ("127.0.1.1", "127.0.1.2", "[::1]", "[::2]")
# Two of one provider, and one of another where there are two providers.
DOTS = [parse_upstream(f"tls://127.0.1.{n}") for n in (1, 3, 2)]
BOTH = [parse_upstream(upstream) for upstream in ("tls://127.0.1.1", "https://127.0.1.1", "tls://127.0.1.2")]
EIGHT = [parse_upstream(f"{scheme}://{host}") for scheme in ("tls", "https") for host in HOSTS]


# What happens, and how often as compared with the rest.
EVENTS = {"afflict": 8, "heal": 8, "kill": 4, "network": 2, "853": 1, "moved": 2, "clock": 1, "renew": 1}


class Storm:
    """One pool, its world, and what was asked."""

    def __init__(self, upstreams, seed, nursery, *, providers=1, order="latency"):
        self.chance = random.Random(seed)  # noqa: S311 - no secret
        self.world = World(upstreams, nursery, self.chance)
        self.events = Counter()
        self.replies = Counter()
        self.asked = 0
        self.bad = []  # (asked at, told at, what)
        self.good = deque(maxlen=1)  # when the last sound answer came
        self.late = []
        self.longest = 0.0  # that anybody has waited for
        self.free_at = float("-inf")
        named = {upstream: f"provider {1 + upstream.address.packed[-1] % providers}" for upstream in upstreams}
        demands = dict.fromkeys(upstreams, self.world.demands)
        self.pool = Pool(demands, UpstreamOptions(order=order), self.note, providers=named)
        self.refused = deque(maxlen=1000)
        self.moves = 0
        self.log = deque(maxlen=400)

    def note(self, event):
        self.events[type(event).__name__] += 1
        if isinstance(event, Judged) and not event.verdict.connects and not event.again:
            self.refused.append((trio.current_time(), event.upstream.address))
        why = getattr(event, "reason", None) or getattr(event, "error", "")
        self.log.append((trio.current_time(), type(event).__name__, str(event.upstream), str(why)))

    def ask(self):
        number = self.asked
        self.asked += 1
        wire, at = query(number), trio.current_time()

        def reply(result):
            now = trio.current_time()
            self.replies[number] += 1
            sound = isinstance(result, bytes) and result == wire[:2] + b"\x81\x80" + wire[4:]
            assert isinstance(result, bytes | UpstreamError), result
            self.longest = max(self.longest, now - at)
            if now > at + TIMEOUT + 1e-6:
                self.late.append((at, now, result))
            if sound:
                self.good.append(now)
            else:
                self.bad.append((at, now, result))
                self.log.append((now, "BAD", number, at, str(result)))

        self.pool.exchange_soon(wire, reply)

    async def load(self, rate=20.0, bursts=True):
        """Queries by chance, now and then a hundred at once, now and then none for a while."""
        while True:
            await trio.sleep(self.chance.expovariate(rate))
            self.ask()
            if bursts and self.chance.random() < 0.01:
                for _ in range(self.chance.choice([30, 100, 300])):
                    self.ask()
            if bursts and self.chance.random() < 0.002:
                await trio.sleep(self.chance.uniform(5, 60))

    async def strike(self):
        """Something happens."""
        world, chance = self.world, self.chance
        host = chance.choice(list(world.hosts.values()))
        [what] = chance.choices(list(EVENTS), list(EVENTS.values()))
        detail = ""
        match what:
            case "afflict":
                detail = chance.choice(FAULTS)
                world.afflict(host, detail)
            case "heal":
                world.afflict(host, GOOD)
            case "kill":
                world.kill(host)
            case "network":
                world.network = detail = chance.choice([GOOD, GOOD, *REACH])
                if world.network != GOOD:
                    world.leave()
            case "853":
                world.blocked = detail = chance.choice([GOOD, *REACH])
            case "moved":
                world.leave()
                detail = chance.choice(["home", "train", "", "cafe"])
                for _ in range(chance.choice([1, 1, 3])):
                    self.pool.moved(detail)
                self.moves += 1
                self.free()
            case "clock":
                self.pool.clock_set()
                self.free()
            case "renew":
                await self.renew()
                self.free()
        self.log.append((trio.current_time(), what, str(host.upstream), detail))

    def free(self):
        """What was refused may be dialled again from now on."""
        self.free_at = trio.current_time()

    async def renew(self):
        demands = self.world.new_demands()
        await self.pool.renew(dict.fromkeys(self.world.hosts, demands))

    def check(self):
        """What holds at every moment."""
        now = trio.current_time()
        assert not self.late, self.late[0]
        assert max(self.replies.values(), default=0) <= 1
        for host in self.world.hosts.values():
            opened = [wire for wire in host.wires if not wire.closed]
            assert len(opened) <= 6, (len(opened), self.said())
            self._check_refused(host, now)
            # who says goodbye after each answer is dialled for each query; twenty a second are asked
            recent = [at for at in host.dialled if at > now - 10]
            assert len(recent) <= 200, (host.upstream, len(recent), self.said())

    def _check_refused(self, host, now):
        since = max(self.free_at, now - MINUTE)
        times = [at for at, address in self.refused if at > since and address == host.upstream.address]
        assert len(times) <= DIALS, (host.upstream.address, times, self.said())

    def said(self):
        return "\n" + "\n".join(map(str, list(self.log)[-60:]))


async def storm(upstreams, seed, seconds, **how):
    """Everything at once, then peace: whatever is left then was forgotten."""
    random.seed(seed)
    async with trio.open_nursery() as outer:
        it = Storm(upstreams, seed, outer, **how)
        async with trio.open_nursery() as nursery:
            await nursery.start(it.pool.run)
            with trio.move_on_after(seconds):
                async with trio.open_nursery() as inner:
                    inner.start_soon(it.load)
                    while True:
                        await trio.sleep(it.chance.expovariate(0.5))
                        await it.strike()
                        it.check()
            if it.chance.random() < 0.3:  # shutting down in the middle of it
                nursery.cancel_scope.cancel()
                await trio.lowlevel.checkpoint_if_cancelled()
            await peace(it)
            nursery.cancel_scope.cancel()
        for _ in range(5):
            await wait_all_tasks_blocked()
        assert sorted(it.replies) == list(range(it.asked))
        assert set(it.replies.values()) <= {1}
        assert not it.late
        assert not it.world.open_wires
        held = it.pool._lines._holding._held
        assert all(channel.ended is not None and not channel.outstanding for channel in held)
        outer.cancel_scope.cancel()
    return it


async def peace(it):
    """All is well again, and a minute later everybody is answered."""
    it.world.network = it.world.blocked = GOOD
    for host in it.world.hosts.values():
        it.world.afflict(host, GOOD)
    with trio.move_on_after(75):
        await it.load(bursts=False)
    failures = len(it.bad)
    with trio.move_on_after(30):
        await it.load(bursts=False)
    assert len(it.bad) == failures, (it.bad[-1], it.said())
    await trio.sleep(TIMEOUT + 2)
    lines = it.pool._lines
    assert all(line.outstanding == 0 for line in it.pool.statistics().upstreams)
    held = lines._holding._held
    assert set(held) == {line.channel for line in lines if line.channel is not None}, (held, it.said())
    assert len(it.world.open_wires) == len(held)
    assert all(not channel.outstanding and not channel._queue for channel in held)


async def one_at_a_time(upstreams, seed, seconds, **how):
    """One host at a time is at fault, with time to be found again: no client hears of it."""
    random.seed(seed)
    async with trio.open_nursery() as outer:
        it = Storm(upstreams, seed, outer, **how)
        async with trio.open_nursery() as nursery:
            await nursery.start(it.pool.run)
            with trio.move_on_after(seconds):
                async with trio.open_nursery() as inner:
                    inner.start_soon(it.load, 8.0)
                    while True:
                        await trio.sleep(it.chance.uniform(0.1, 3))
                        host = it.chance.choice(list(it.world.hosts.values()))
                        fault = it.chance.choice([*FAULTS, "kill", "moved"])
                        if fault == LOSES and how.get("providers", 1) > 1:
                            continue  # a lost query is told to nobody else
                        it.log.append((trio.current_time(), fault, str(host.upstream)))
                        if fault == "kill":
                            it.world.kill(host)
                        elif fault == "moved":
                            it.world.leave()
                            it.pool.moved(it.chance.choice(["home", "train", ""]))
                            it.free()
                        else:
                            it.world.afflict(host, fault)
                        await trio.sleep(it.chance.choice([0.3, 1, 5, 30]) * it.chance.uniform(0.5, 2))
                        it.check()
                        if fault in FAULTS:
                            it.world.afflict(host, GOOD)
                            it.log.append((trio.current_time(), "healed", str(host.upstream)))
                        await trio.sleep(35 if fault != "stranger" else 65)
                        it.check()
                        assert not it.bad, (it.bad[0], it.said())
            await peace(it)
            nursery.cancel_scope.cancel()
        outer.cancel_scope.cancel()
    return it


async def outages(upstreams, seed, seconds, **how):
    """The network goes and comes, told or not: within a second of its coming everybody is answered."""
    random.seed(seed)
    async with trio.open_nursery() as outer:
        it = Storm(upstreams, seed, outer, **how)
        chance = it.chance
        async with trio.open_nursery() as nursery:
            await nursery.start(it.pool.run)
            with trio.move_on_after(seconds):
                async with trio.open_nursery() as inner:
                    inner.start_soon(it.load, 30.0, False)
                    while True:
                        await trio.sleep(chance.uniform(5, 40))
                        it.world.network = chance.choice(REACH)
                        stood = len(it.world.open_wires)
                        it.world.leave()
                        told = chance.random() < 0.5
                        # where two connections have died without a word, it takes two silences to see it
                        limit = 1.0 if told or stood < 2 else 2.0
                        it.log.append((trio.current_time(), it.world.network, told))
                        if told:
                            it.pool.moved("")
                        await trio.sleep(chance.choice([0.3, 1, 3, 10, 60, 600]) * chance.uniform(0.5, 1.5))
                        it.world.network = GOOD
                        back = trio.current_time()
                        it.log.append((back, "back"))
                        if told:
                            it.pool.moved(chance.choice(["home", "train"]))
                        await trio.sleep(limit + 1e-6)
                        it.check()
                        assert it.good[0] > back, (back, it.said())
                        bad = len(it.bad)
                        await trio.sleep(5)
                        assert all(asked <= back + limit for asked, _, _ in it.bad[bad:]), (back, it.bad[-1], it.said())
            await peace(it)
            nursery.cancel_scope.cancel()
        outer.cancel_scope.cancel()
    return it


async def losses(upstreams, seed, seconds, **how):
    """One host at a time loses queries, and its connections end by chance: its provider's other one has the answers."""
    random.seed(seed)
    async with trio.open_nursery() as outer:
        it = Storm(upstreams, seed, outer, **how)
        chance, hosts = it.chance, list(it.world.hosts.values())
        async with trio.open_nursery() as nursery:
            await nursery.start(it.pool.run)
            await trio.sleep(1)
            with trio.move_on_after(seconds):
                async with trio.open_nursery() as inner:
                    inner.start_soon(it.load, 20.0, False)
                    while True:
                        host = chance.choice(hosts[:2])
                        it.world.afflict(host, LOSES)
                        it.log.append((trio.current_time(), LOSES, str(host.upstream)))
                        for _ in range(chance.randrange(1, 5)):
                            await trio.sleep(chance.uniform(1, 10))
                            it.check()
                            assert not it.bad, (it.bad[0], it.said())
                            assert it.longest < 3.0, (it.longest, it.said())
                        it.world.afflict(host, GOOD)
                        if chance.random() < 0.5:  # it is started anew
                            it.world.kill(host, ("fin", "reset"))
                        await trio.sleep(TIMEOUT)  # else both lose the same query
            await peace(it)
            assert it.longest < 3.0, (it.longest, it.said())
            assert not any(it.world.queries[host.upstream] for host in hosts[2:])
            nursery.cancel_scope.cancel()
        outer.cancel_scope.cancel()
    return it


WORLDS = [
    (upstreams, providers, order)
    for upstreams in (ONE, TWO, MIXED, EIGHT)
    for providers in (1, 2)
    for order in ("latency", "strict")
    if providers == 1 or upstreams is not ONE
]
SEVERAL = [world for world in WORLDS if world[0] is not ONE]
PAIRS = [(upstreams, 2, order) for upstreams in (DOTS, BOTH, BOTH[1::-1] + BOTH[2:]) for order in ("latency", "strict")]
KINDS = {storm: WORLDS, one_at_a_time: SEVERAL, outages: WORLDS, losses: PAIRS}


def main(seconds: float, seed: int) -> int:
    """Storm after storm until the time is over; how many failed."""
    end, failed = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        for run, worlds in KINDS.items():
            for upstreams, providers, order in worlds:
                label = f"{run.__name__}, {len(upstreams)} upstreams, {providers} providers, {order}, seed {seed}"
                try:
                    it = play(run, upstreams, seed, 600.0, providers=providers, order=order)
                    sys.stdout.write(f"well    {label}: {it.asked} asked, {len(it.bad)} without a good answer\n")
                except Exception:  # noqa: BLE001 - whatever it is, it is told, and the next storm comes
                    failed += 1
                    sys.stdout.write(f"FAILED  {label}\n")
                    traceback.print_exc()
        seed += 1
    return failed


def play(run, upstreams, seed, seconds, **how):
    """One storm on a clock of its own."""
    return trio.run(functools.partial(run, upstreams, seed, seconds, **how), clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("upstreams", [ONE, MIXED, EIGHT], ids=len)
def test_storm_leaves_nothing_behind(upstreams, seed):
    """Each query is told once and in time, dials stay few while certificates are refused, and peace is peace."""
    play(storm, upstreams, seed, 60.0)


@pytest.mark.parametrize("order", ["latency", "strict"])
@pytest.mark.parametrize("upstreams", [TWO, MIXED], ids=["dot", "dot and doh"])
def test_one_host_at_fault_is_no_clients_concern(upstreams, order):
    """While another host is well, whatever happens to one of them, each query is answered."""
    play(one_at_a_time, upstreams, 1, 300.0, order=order)


@pytest.mark.parametrize("upstreams", [ONE, EIGHT], ids=len)
def test_network_that_comes_back_is_found_within_a_second(upstreams):
    """Whether it was told or not, and however long it was away."""
    play(outages, upstreams, 1, 200.0)


@pytest.mark.parametrize("upstreams", [DOTS, BOTH], ids=["dot", "dot and doh"])
def test_lost_queries_are_answered_by_the_same_provider(upstreams):
    """Within three seconds, and no other provider hears of any."""
    play(losses, upstreams, 1, 60.0, providers=2)


if __name__ == "__main__":
    sys.exit(1 if main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0) else 0)
