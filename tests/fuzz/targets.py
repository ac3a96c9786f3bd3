"""Every parser that reads what strangers wrote: its check, and the inputs that are kept for it.

A corpus is a text file: lines of hex, `-` for no octets, each below a comment that says what it is. Whatever was found
by fuzzing once is added to it and replayed by the tests for ever.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import files, messages, statements, streams

CORPUS = Path(__file__).with_name("corpus")


@dataclass(frozen=True)
class Target:
    """One parser, or a few that read the same octets."""

    name: str
    check: Callable[[bytes], None]
    share: int  # of a thousand mutations; parsers that are met first get most

    def corpus(self) -> list[bytes]:
        """The inputs that are kept, to be replayed and mutated."""
        return _read(CORPUS / f"{self.name}.hex")

    def found(self) -> list[bytes]:
        """Those that a guided run came to, to be replayed."""
        file = CORPUS / f"{self.name}.found"
        return _read(file) if file.exists() else []


def _read(file: Path) -> list[bytes]:
    lines = file.read_text(encoding="ascii").splitlines()
    return [bytes.fromhex(line.removeprefix("-")) for line in lines if not line.startswith("#")]


TARGETS = (
    Target("query", messages.check_query, 280),
    Target("answer", messages.check_answer, 280),
    Target("kept", messages.check_kept, 60),
    Target("framing", streams.check_framing, 60),
    Target("dot", streams.check_dot, 40),
    Target("doh", streams.check_doh, 20),
    Target("der", statements.check_der, 60),
    Target("sct", statements.check_sct, 60),
    Target("tree_head", statements.check_tree_head, 30),
    Target("proof", statements.check_proof, 10),
    Target("log_list", statements.check_log_list, 10),
    Target("hosts", files.check_hosts, 20),
    Target("list", files.check_list, 20),
    Target("records", files.check_records, 10),
    Target("resolv_conf", files.check_resolv_conf, 10),
    Target("cache", files.check_cache, 20),
    Target("control", files.check_control, 20),
)
