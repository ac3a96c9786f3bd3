"""The service's clock counts the time for which the machine was suspended."""

import dns.message
import dns.rrset
import trio

from stubresolver.cache import AnswerCache, CacheOptions
from stubresolver.cli import clock
from stubresolver.cli import run as service
from stubresolver.cli.clock import BootClock, real_clocks
from stubresolver.resolve import Resolver, ResolverOptions
from stubresolver.wire.query import Query


class Upstream:
    """Answers at once, for a minute."""

    def __init__(self):
        self.asked = 0

    def exchange_soon(self, query, reply):
        self.asked += 1
        response = dns.message.make_response(dns.message.from_wire(query))
        response.answer.append(dns.rrset.from_text(response.question[0].name, 60, "IN", "A", "192.0.2.1"))
        reply(response.to_wire())


def test_an_answer_ages_while_the_machine_is_suspended(monkeypatch):
    """What was good for a minute is over after a night, although nothing ran meanwhile."""
    slept = 0.0
    boottime = clock.clock_gettime
    monkeypatch.setattr(clock, "clock_gettime", lambda which: boottime(which) + slept)

    async def evening_and_morning():
        nonlocal slept
        upstream = Upstream()
        resolver = Resolver(upstream, AnswerCache(CacheOptions()), ResolverOptions())
        for _ in range(2):
            await resolver.answer(Query(dns.message.make_query("www.example", "A").to_wire()))
        assert upstream.asked == 1
        slept = 8 * 3600.0
        await resolver.answer(Query(dns.message.make_query("www.example", "A").to_wire()))
        assert upstream.asked == 2

    trio.run(evening_and_morning, clock=BootClock())


def test_it_is_the_clock_that_counts_suspended_time(monkeypatch):
    """CLOCK_BOOTTIME, not CLOCK_MONOTONIC; deadlines are meant by it, too."""
    monkeypatch.setattr(clock, "clock_gettime", {clock.CLOCK_BOOTTIME: 100.0}.__getitem__)
    assert BootClock().current_time() == 100.0
    assert BootClock().deadline_to_sleep_time(130.0) == 30.0


def test_sleeping_by_it():
    """A task that sleeps is woken."""

    async def nap():
        with trio.fail_after(5):
            await trio.sleep(0.01)

    trio.run(nap, clock=BootClock())


def test_the_service_runs_by_it(run, files, monkeypatch):
    """`stubresolver run` serves by that clock."""
    clocks = []
    monkeypatch.setattr(trio, "run", lambda *_, clock, **__: clocks.append(clock))
    monkeypatch.setattr(service, "log_to_stderr", lambda: None)
    monkeypatch.setattr("gc.freeze", lambda: None)  # hypothesis asks the collector who holds what
    assert run("run", "--config", files.config, "--listen", "127.0.0.1:0").status == 0
    (found,) = clocks
    assert isinstance(found, BootClock)


def test_each_clock_is_the_kernels(monkeypatch):
    """What tells a sleep from a clock that was set: three clocks, each by its own number."""
    shown = {clock.CLOCK_REALTIME: 1.0, clock.CLOCK_BOOTTIME: 100.0, clock.CLOCK_MONOTONIC: 90.0}
    monkeypatch.setattr(clock, "clock_gettime", shown.__getitem__)
    clocks = real_clocks()
    assert (clocks.wall(), clocks.boot(), clocks.monotonic()) == (1.0, 100.0, 90.0)
