"""What the resolver says in the log of its files and upstreams; never a name that a client asked for."""

import logging
from collections import Counter
from collections.abc import Callable
from typing import Final

import trio

from stubresolver.forward import Forwarding, ForwardZone
from stubresolver.localfiles import LocalFiles
from stubresolver.upstream import ConnectionLost, DialFailed, Judged, PoolEvent, Upstream
from stubresolver.verify import Verdict

_KINDS: Final = 8  # of failures of one upstream: unreachable, reset, no TLS, refused ... in one bad hour
_OTHERS: Final = ""

# Lines about one upstream: so many at once, then one in so many seconds. One that closes whenever it is idle, after ten
# seconds as most do, has two lines each time.
_AT_ONCE: Final = 32
_SECONDS: Final = 5.0

log = logging.getLogger("stubresolver")


def report_files(files: LocalFiles) -> None:
    """What is known here, in numbers, and what of the files cannot be used."""
    log.info("known here: %s", files)
    for problem in files.problems:
        log.warning("%s", problem)


def report_forwarding(forwarding: Forwarding, zone: ForwardZone | None = None) -> None:
    """Who is asked without encryption, for one zone or all, and what of the files cannot be used."""
    for line in forwarding.lines(zone):
        log.warning("%s", line)
    for problem in forwarding.problems(zone):
        log.warning("%s", problem)


class EventLog:
    """Tells what happens to upstreams; what goes wrong in the same way again and again is told ever more rarely.

    Whoever is in the way of a connection can have it fail in ever other ways: after `_KINDS` all others are one. Or he
    lets it come about and breaks it, many times a second: beyond `_AT_ONCE` lines are counted instead of told.
    """

    def __init__(self, now: Callable[[], float] = trio.current_time) -> None:
        self._now = now
        self._wrong: dict[Upstream, Counter[str]] = {}  # what was wrong since it stood, and how often
        self._until: dict[Upstream, float] = {}  # each line takes `_SECONDS` of the time before it
        self._untold: Counter[Upstream] = Counter()

    def report(self, event: PoolEvent, zone: ForwardZone | None = None) -> None:
        """One line, or none where it would be the third, the fifth to seventh, ... of its kind, or one too many."""
        match event:
            case Judged(again=True):  # as often as a person wants it
                report_event(event, zone)
                return
            case DialFailed(upstream, error):
                problem = error.summary
            case Judged(upstream, verdict) if not verdict.connects:
                problem = verdict.summary
            case _:
                self._wrong.pop(event.upstream, None)
                self._tell(event, zone)
                return
        seen = self._wrong.setdefault(upstream, Counter())
        kind = problem if problem in seen or len(seen) < _KINDS else _OTHERS
        seen[kind] += 1
        times = seen[kind]
        if times & (times - 1) == 0:  # the 1st, 2nd, 4th, 8th, ...: a network that is down all night fills no journal
            often = "" if times == 1 or kind == _OTHERS else f" ({times} times{' in a row' * (len(seen) == 1)})"
            self._tell(event, zone, often)

    def _tell(self, event: PoolEvent, zone: ForwardZone | None, often: str = "") -> None:
        upstream, now = event.upstream, self._now()
        until = self._until.get(upstream, float("-inf"))
        if until > now:
            self._untold[upstream] += 1
            return
        self._until[upstream] = max(until, now - (_AT_ONCE - 1) * _SECONDS) + _SECONDS
        if untold := self._untold.pop(upstream, 0):
            log.info("%s: it comes and goes: %d lines about it were left out", upstream, untold)
        report_event(event, zone, often)


def report_event(event: PoolEvent, zone: ForwardZone | None = None, often: str = "") -> None:
    """One log line for each judgement, failed dial and lost connection; never a name that a client asked for.

    `zone` is what the upstream is asked for, where that is not every name; `often` how often it was so.
    """
    where = "" if zone is None else f"forward {zone}: "
    upstream = f"{where}{event.upstream}"
    match event:
        case Judged(_, verdict, again=once_more):
            _report_verdict(upstream, verdict, often, again=once_more)
        case DialFailed(bare, error):
            log.warning("%s%s%s", where if str(bare) in error.summary else f"{upstream}: ", error.summary, often)
        case ConnectionLost(_, reason):
            log.info("%s: connection lost: %s", upstream, reason.removeprefix("connection lost: "))


def _report_verdict(upstream: str, verdict: Verdict, often: str, *, again: bool) -> None:
    judged = "judged again: " if again else ""
    if verdict.allowed:
        log.info("%s: %sallowed: %s", upstream, judged, verdict.summary)
    elif verdict.connects:
        log.warning("%s: %s%s", upstream, judged, verdict.summary)  # it begins with REPORT ONLY
    else:
        effect = "no more queries are sent" if again else "no query was sent"
        log.error("%s: %sREFUSED, %s: %s%s", upstream, judged, effect, verdict.summary, often)
