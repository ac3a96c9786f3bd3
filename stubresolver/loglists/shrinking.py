"""How much of what counts today would be lost: one order of all states, and the bound on a loss. PURE.

A log is lost where it would count less than it does: not at all, up to an earlier day, or for fewer of the certificates
that are still to come. Only the first of these shows at once; a list that retires every log from tomorrow on, or ends
every interval, takes as much.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from stubresolver.ct import CURRENT_STATES, Log, LogList, LogState
from stubresolver.errors import SourceRefused

NEVER = datetime.min.replace(tzinfo=UTC)
FOREVER = datetime.max.replace(tzinfo=UTC)


def counts_until(log: Log | None) -> datetime:
    """Up to when an SCT of the log may have been signed to count: the one order of all states."""
    if log is None:
        return NEVER
    if log.state in CURRENT_STATES:
        return FOREVER
    # a retirement of no date has always been
    return log.state_since or NEVER if log.state is LogState.RETIRED else NEVER


def check_shrink(logs: Mapping[bytes, Log], current: LogList, now: datetime) -> None:
    """Refuse logs that lose more than a third of what counts today, whatever else they hold instead."""
    wanted = [log for log in current.logs.values() if _is_living(log, now)]
    kept = sum(_is_kept(log, logs.get(log.log_id), now) for log in wanted)
    if kept * 3 < len(wanted) * 2:
        raise SourceRefused(
            f"shrunk: {kept} of the {len(wanted)} logs that count today would still count as long and for as many "
            "certificates, expected two thirds at least; --force takes it"
        )


def _is_living(log: Log, now: datetime) -> bool:
    """True if it counts and still takes certificates: its loss would be a loss."""
    return log.is_current(now) and (log.interval is None or log.interval.end > now)


def _is_kept(before: Log, after: Log | None, now: datetime) -> bool:
    """True if it counts no less than before, for any certificate that has not expired by now."""
    if after is None or counts_until(after) < counts_until(before):
        return False
    if after.interval is None:
        return True
    if before.interval is None:  # where no limit is known, a first one is none the less: logs are sharded by years
        return after.interval.end > now
    return after.interval.start <= max(before.interval.start, now) and after.interval.end >= before.interval.end
