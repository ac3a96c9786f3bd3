"""Log lines to a stderr that somebody reads, nobody reads, or nobody can read any more."""

import logging
import os

import pytest

from stubresolver.cli import journal


@pytest.fixture
def pipe(monkeypatch):
    """The reading end of the pipe that stands for stderr, and its writing end."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    monkeypatch.setattr(journal, "_STDERR", writing)
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    before = logging.getLogger("stubresolver").handlers
    journal.log_to_stderr()
    yield reading, writing
    logging.getLogger("stubresolver").handlers = before
    os.close(writing)


def lines(reading):
    return os.read(reading, 1 << 20).decode().splitlines()


def test_lines_for_the_journal(pipe):
    """sd-daemon(3): the priority stands in front; a line is one line and steers no terminal, whatever is in it."""
    log = logging.getLogger("stubresolver")
    log.info("%s is fine", "all")
    log.error("two\nlines")
    log.error("\x1b[2Jgone")
    assert lines(pipe[0]) == ["<6>all is fine", "<3>two lines", "<3>\\x1b[2Jgone"]
    os.close(pipe[0])


def test_reader_that_hangs_costs_lines_and_no_time(pipe):
    """A full pipe would hold the whole service; its lines are dropped and counted instead."""
    log = logging.getLogger("stubresolver")
    for _ in range(5000):  # 500 kB; a pipe holds 64 KiB (pipe(7))
        log.info("x" * 100)
    kept = len(lines(pipe[0]))
    assert 0 < kept < 5000
    log.info("read again")
    log.info("as ever")
    lost = 5000 - kept
    assert lines(pipe[0]) == [
        f"<6>read again ({lost} lines before this one were lost, because nobody read them)",
        "<6>as ever",
    ]
    os.close(pipe[0])


def test_reader_that_has_gone_is_no_error(pipe):
    """A journal that is restarted takes nobody with it."""
    os.close(pipe[0])
    logging.getLogger("stubresolver").info("nobody reads this")


def test_long_line_is_cut(pipe):
    """A line is at most what a pipe takes at once."""
    logging.getLogger("stubresolver").info("\U0001f512" * 5000)
    [line] = lines(pipe[0])
    assert len(line.encode()) < 4096
    os.close(pipe[0])


def test_library_that_repeats_itself_is_heard_once_a_minute(pipe):
    """Out of descriptors, trio logs a traceback ten times a second: one line of it, without the traceback."""
    logger = logging.getLogger("trio.serve_listeners")
    for _ in range(3):
        logger.error("accept returned EMFILE", exc_info=OSError(24, "Too many open files"))
    assert lines(pipe[0]) == ["<3>accept returned EMFILE"]
    os.close(pipe[0])
