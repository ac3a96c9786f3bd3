"""What the resolver says in the log of its files and upstreams; never a name that a client asked for."""

import logging

from stubresolver.forward import Forwarding, ForwardZone
from stubresolver.localfiles import LocalFiles
from stubresolver.upstream import ConnectionLost, DialFailed, Judged, PoolEvent, Upstream
from stubresolver.verify import Verdict

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
    """Tells what happens to upstreams; what goes wrong in the same way again and again is told ever more rarely."""

    def __init__(self) -> None:
        self._wrong: dict[Upstream, tuple[str, int]] = {}  # what was wrong last, and how often in a row

    def report(self, event: PoolEvent, zone: ForwardZone | None = None) -> None:
        """One line, or none where it would be the third, the fifth to seventh, ... of its kind."""
        match event:
            case DialFailed(upstream, error):
                problem = error.summary
            case Judged(upstream, verdict) if not verdict.connects:
                problem = verdict.summary
            case _:
                self._wrong.pop(event.upstream, None)
                report_event(event, zone)
                return
        before, times = self._wrong.get(upstream, ("", 0))
        times = times + 1 if problem == before else 1
        self._wrong[upstream] = problem, times
        if times & (times - 1) == 0:  # the 1st, 2nd, 4th, 8th, ...: a network that is down all night fills no journal
            report_event(event, zone, times)


def report_event(event: PoolEvent, zone: ForwardZone | None = None, times: int = 1) -> None:
    """One log line for each judgement, failed dial and lost connection; never a name that a client asked for.

    `zone` is what the upstream is asked for, where that is not every name; `times` how often in a row it was so.
    """
    where = "" if zone is None else f"forward {zone}: "
    upstream = f"{where}{event.upstream}"
    match event:
        case Judged(_, verdict, again=once_more):
            _report_verdict(upstream, verdict, times, again=once_more)
        case DialFailed(bare, error):
            log.warning(
                "%s", f"{where if str(bare) in error.summary else f'{upstream}: '}{error.summary}{_said(times)}"
            )
        case ConnectionLost(_, reason):
            log.info("%s: connection lost: %s", upstream, reason)


def _said(times: int) -> str:
    return f" ({times} times in a row)" if times > 1 else ""


def _report_verdict(upstream: str, verdict: Verdict, times: int, *, again: bool) -> None:
    judged = "judged again: " if again else ""
    if verdict.allowed:
        log.info("%s: %sallowed: %s", upstream, judged, verdict.summary)
    elif verdict.connects:
        log.warning("%s: %s%s", upstream, judged, verdict.summary)  # it begins with REPORT ONLY
    else:
        effect = "no more queries are sent" if again else "no query was sent"
        log.error("%s: %sREFUSED, %s: %s%s", upstream, judged, effect, verdict.summary, _said(times))
