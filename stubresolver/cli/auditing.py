"""How an audit reaches the logs: https, the names resolved by our own verified upstreams. For `audit` and `run`.

It imports nothing that is for people alone: the service uses it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import trio

from stubresolver.app import App
from stubresolver.audit import MAXIMUM_ANSWER, Get
from stubresolver.audit.background import Auditor
from stubresolver.audit.keeping import InThread
from stubresolver.cli.common import utc_now
from stubresolver.ct import LogList
from stubresolver.evidence import EvidenceKeeper
from stubresolver.web import Web

_T = TypeVar("_T")

# For one page of a log, some hundred octets. Logs are held to answer; Chrome's ct_policy.md counts a log as unavailable
# that does not within its own patience, which it does not publish; ours is that of a person at a terminal.
PATIENCE = 10.0  # seconds


def reader(app: App, anchors: Path | None, seconds: float = PATIENCE) -> Get:
    """What reads a page of a log while the app runs; raises `FetchFailed`. `anchors` are of `config.web_anchors`."""
    web = Web(app.addresses, anchors)

    async def get(url: str) -> bytes:
        return await web.get(url, limit=MAXIMUM_ANSWER, seconds=seconds)

    return get


def one_at_a_time() -> InThread:
    """The evidence off the event loop, one use after the other; a disk that hangs does not hold up the end."""
    turn = trio.CapacityLimiter(1)

    async def in_thread(function: Callable[[], _T], /) -> _T:
        return await trio.to_thread.run_sync(function, limiter=turn, abandon_on_cancel=True)

    return in_thread


async def audit_in_background(
    app: App,
    evidence: EvidenceKeeper,
    log_list: Callable[[], LogList],
    anchors: Path | None,
    alarmed: Callable[[int], None],
) -> None:
    """Audit what the service keeps, until cancelled; `alarmed` is told how many alarms there are."""
    get = reader(app, anchors)
    await Auditor(evidence, log_list, get, utc_now, in_thread=one_at_a_time(), alarmed=alarmed).run()
