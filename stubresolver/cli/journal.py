"""Where the service's log lines go: stderr, one line each, as the journal or a terminal likes them."""

import logging
import os
import select
import sys

from stubresolver.verify import printable

# Syslog priorities that journald reads from the front of a line (sd-daemon(3)).
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}

_STDERR = 2
_LONGEST = 1000  # characters of a line: at most 4,000 octets, which a pipe that is not full takes at once (pipe(7))


class _Lines(logging.Formatter):
    """`<6>message` for the journal, which has its own clock; time and level for everyone else."""

    def __init__(self, *, journal: bool) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S")
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        line = record.getMessage() if self._journal else super().format(record)
        line = printable(" ".join(line.splitlines()), _LONGEST)
        return f"<{_PRIORITIES.get(record.levelno, 6)}>{line}" if self._journal else line


class _Stderr(logging.Handler):
    """Writes whole lines, and never waits: a reader that hangs or has gone costs lines and not the service.

    poll(2) says that stderr takes more; a pipe, a socket or a terminal that does takes at least a line.
    """

    def __init__(self) -> None:
        super().__init__()
        self._poll = select.poll()
        self._poll.register(_STDERR, select.POLLOUT)
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        if not any(event & select.POLLOUT for _, event in self._poll.poll(0)):
            self._lost += 1
            return
        line = self.format(record)
        if self._lost:
            line += f" ({self._lost} lines before this one were lost, because nobody read them)"
        try:
            os.write(_STDERR, line[:_LONGEST].encode("utf-8", "backslashreplace") + b"\n")
            self._lost = 0
        except OSError:  # a full disk, a closed pipe, no stderr at all
            self._lost += 1


class _OncePerMinute(logging.Filter):
    """Lets one record a minute through, without its traceback: trio says ten times a second that it cannot accept."""

    def __init__(self) -> None:
        super().__init__()
        self._last = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        if record.created - self._last < 60:
            return False
        self._last = record.created
        record.exc_info = record.exc_text = None
        return True


def log_to_stderr() -> None:
    """Send the project's log to stderr from now on, and what trio says of its listeners."""
    # Started without a stderr, its number may by now be a socket's.
    handler = logging.NullHandler() if sys.stderr is None else _Stderr()
    handler.setFormatter(_Lines(journal="JOURNAL_STREAM" in os.environ))
    for name in ("stubresolver", "trio.serve_listeners"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(logging.INFO)
        logger.propagate = False
    logger.filters = [_OncePerMinute()]  # of trio's
