"""Where the service's log lines go: stderr, one line each, as the journal or a terminal likes them."""

import logging
import os
import sys

# Syslog priorities that journald reads from the front of a line (sd-daemon(3)).
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class _Lines(logging.Formatter):
    """`<6>message` for the journal, which has its own clock; time and level for everyone else."""

    def __init__(self, *, journal: bool) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S")
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        line = record.getMessage() if self._journal else super().format(record)
        line = " ".join(line.splitlines())
        return f"<{_PRIORITIES.get(record.levelno, 6)}>{line}" if self._journal else line


def log_to_stderr() -> None:
    """Send the project's log to stderr from now on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(journal="JOURNAL_STREAM" in os.environ))
    logger = logging.getLogger("stubresolver")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
