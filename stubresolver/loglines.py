"""What the resolver says in the log of its files and upstreams; never a name that a client asked for."""

import logging

from stubresolver.forward import Forwarding, ForwardZone
from stubresolver.localfiles import LocalFiles
from stubresolver.upstream import ConnectionLost, DialFailed, Judged, PoolEvent
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


def report_event(event: PoolEvent, zone: ForwardZone | None = None) -> None:
    """One log line for each judgement, failed dial and lost connection; never a name that a client asked for.

    `zone` is what the upstream is asked for, where that is not every name.
    """
    where = "" if zone is None else f"forward {zone}: "
    upstream = f"{where}{event.upstream}"
    match event:
        case Judged(_, verdict, again):
            _report_verdict(upstream, verdict, again=again)
        case DialFailed(bare, error):
            log.warning("%s", f"{where if str(bare) in error.summary else f'{upstream}: '}{error.summary}")
        case ConnectionLost(_, reason):
            log.info("%s: connection lost: %s", upstream, reason)


def _report_verdict(upstream: str, verdict: Verdict, *, again: bool) -> None:
    judged = "judged again: " if again else ""
    if verdict.allowed:
        log.info("%s: %sallowed: %s", upstream, judged, verdict.summary)
    elif verdict.connects:
        log.warning("%s: %s%s", upstream, judged, verdict.summary)  # it begins with REPORT ONLY
    else:
        effect = "no more queries are sent" if again else "no query was sent"
        log.error("%s: %sREFUSED, %s: %s", upstream, judged, effect, verdict.summary)
