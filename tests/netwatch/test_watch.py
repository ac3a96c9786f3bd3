"""All that can change, told in one place; what cannot be watched is said once and stops nothing else."""

import errno
import sys
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import pytest
import trio

from stubresolver.netwatch import Change, Kind, watch
from stubresolver.netwatch.monitor import Monitor
from stubresolver.netwatch.netlink import NEW_ROUTE
from tests.netwatch.test_monitor import AWAY, Kernel, until
from tests.netwatch.test_netlink import FULL
from tests.netwatch.test_timer import Machine, broken


@pytest.fixture
def patch(monkeypatch):
    """Put something in the place of what the room takes from the machine."""
    module = sys.modules[watch.__module__]
    return lambda name, value: monkeypatch.setattr(module, name, value)


async def test_the_network_is_told_at_the_start_and_when_it_changes(patch, monkeypatch):
    """With its key, and whether an upstream can be reached by it; a sleep has the key of the network before."""
    kernel, machine, told = Kernel(), Machine(), []
    patch("open_events", lambda: kernel)
    patch("Monitor", partial(Monitor, look=kernel.look))
    monkeypatch.setattr("stubresolver.netwatch.timer.LOOK_SECONDS", 0.01)
    monkeypatch.setattr("stubresolver.netwatch.timer.ClockTimer", broken)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, told.append, [ip_address("192.0.2.1")], machine.clocks, pytest.fail)
        await until(lambda: told)
        kernel.routes = (None,)
        kernel.tell(NEW_ROUTE, FULL)
        await until(lambda: len(told) == 2)
        machine.sleep(60)
        await until(lambda: len(told) == 3)
        kernel.routes = (AWAY,)
        kernel.tell(NEW_ROUTE, FULL)
        await until(lambda: len(told) == 4)
        nursery.cancel_scope.cancel()
    kernel.far.close()
    assert [change.kind for change in told] == [Kind.NETWORK, Kind.NETWORK, Kind.RESUME, Kind.NETWORK]
    assert [change.reachable for change in told] == [True, False, False, True]
    assert told[1:3] == [Change(Kind.NETWORK, "", reachable=False), Change(Kind.RESUME, "", reachable=False)]
    assert told[0].network != told[3].network


@pytest.mark.parametrize("number", [errno.EAFNOSUPPORT, errno.EPERM, errno.EMFILE])
async def test_without_netlink_the_clocks_are_watched_all_the_same(patch, monkeypatch, number):
    """A container or a sandbox without netlink: one line, and a resume is still seen."""

    def refused():
        raise OSError(number, "no such thing here")

    machine, told, said = Machine(), [], []
    patch("open_events", refused)
    monkeypatch.setattr("stubresolver.netwatch.timer.LOOK_SECONDS", 0.01)
    monkeypatch.setattr("stubresolver.netwatch.timer.ClockTimer", broken)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, told.append, [], machine.clocks, said.append)
        await until(lambda: said)
        machine.sleep(60)
        await until(lambda: told)
        nursery.cancel_scope.cancel()
    assert told == [Change(Kind.RESUME, "", None)]
    (line,) = said
    assert "no such thing here" in line


async def test_netlink_that_fails_later(patch):
    """A socket that breaks is said once; nothing is raised."""
    kernel, said, told = Kernel(), [], []
    patch("open_events", lambda: kernel)
    kernel.errors = [errno.EBADF]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, told.append, [ip_address("127.0.0.1")], Machine().clocks, said.append)
        await until(lambda: told)
        kernel.tell(NEW_ROUTE, FULL)
        await until(lambda: said)
        nursery.cancel_scope.cancel()
    kernel.far.close()
    assert len(told) == 1


def test_the_unit_lets_it_watch():
    """The sandbox of the unit has the family of sockets that this room needs."""
    unit = Path(__file__).parent.parent.parent / "systemd" / "stubresolver.service"
    (families,) = [line for line in unit.read_text().splitlines() if line.startswith("RestrictAddressFamilies=")]
    assert "AF_NETLINK" in families.partition("=")[2].split()
