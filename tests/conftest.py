"""Async tests run under trio; ask for `autojump_clock` to run on virtual time (no real sockets then)."""

import functools
import inspect

import pytest
import trio
from trio.testing import MockClock


@pytest.fixture
def mock_clock() -> MockClock:
    """A clock that moves only when told to."""
    return MockClock()


@pytest.fixture
def autojump_clock() -> MockClock:
    """A clock that jumps to the next deadline as soon as every task waits."""
    return MockClock(autojump_threshold=0)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test with trio, under the clock that its fixtures name, within a minute."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    clock = next((value for value in arguments.values() if isinstance(value, MockClock)), None)

    async def bounded() -> None:
        if clock is None:
            with trio.fail_after(60):
                await pyfuncitem.obj(**arguments)
        else:
            await pyfuncitem.obj(**arguments)

    trio.run(functools.partial(bounded), clock=clock)
    return True
