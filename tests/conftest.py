"""Async tests run under trio; ask for `autojump_clock` to run on virtual time (no real sockets then).

A test that needs a program of Debian or the shared data skips where that is absent, with a line that says so. With
STUBRESOLVER_REQUIRE_ALL=1, as in CI, it fails instead: a check that was not made is no check.
"""

import functools
import inspect
import os
from collections.abc import Generator
from pathlib import Path

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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where everything is required, a skipped test is a failed one."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("STUBRESOLVER_REQUIRE_ALL"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: skipped where everything is required: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real certificates and log lists beside the project, where there is one."""
    folder = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data beside the project: real certificates and log lists")
    return folder
