"""What gets worse by itself while the service runs: the log list grows old, and the clock may go wrong."""

from collections.abc import Awaitable, Callable
from datetime import datetime

import trio

from stubresolver.ct import LogList
from stubresolver.ct.compliance import Freshness, freshness
from stubresolver.evidence import EvidenceKeeper
from stubresolver.trust import clock_floor
from stubresolver.verify import Outcome, judge_clock

_DAY = 86400.0  # seconds: the list's age is told in days


async def daily(tell: Callable[[], Awaitable[None]]) -> None:
    """Call `tell` a day from now, and then every day."""
    while True:
        await trio.sleep(_DAY)
        await tell()


def list_age(log_list: LogList, now: datetime) -> tuple[int, Freshness]:
    """How many days old a list is, and what that makes it."""
    return (now - log_list.timestamp).days, freshness(log_list.timestamp, now)


def doubt_clock(log_list: LogList, evidence: EvidenceKeeper, now: datetime) -> str:
    """Why the clock must be wrong; "" where nothing speaks against it."""
    newest = evidence.recall("").newest  # of no leaf: only the time is wanted
    finding = judge_clock(clock_floor(log_list, newest), now)
    return "" if finding.outcome is Outcome.PASS else f"{finding}; until then every judgement refuses"
