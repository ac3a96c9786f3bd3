"""Logs that should not be believed: what each did, and what an audit must say of it. Data, like the gallery of rogues.

Each tells its story to one reader with one certificate. Where it is honest at first, the reader has seen its tree head
before the deceit begins. Whatever the story does not tell is honest in it, so that one fault shows as itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from stubresolver.lab.log_api import LogFront, Page
from stubresolver.lab.logs import generate_key

_OTHERS = 7  # the index of a leaf that is none of the reader's: a filler
_GROWTH = 300  # leaves that a log takes between two visits: more than one tile
HUGE = 8 * 1024 * 1024  # octets; more than any proof has


@dataclass(frozen=True, slots=True)
class Deceit:
    """One way in which a log, or who stands between, lies or does not answer."""

    code: str  # stable, for tests and --json
    title: str
    story: str  # one sentence: what the log did
    outcome: str  # "alarm", or "note" where an honest log could look alike
    kinds: tuple[str, ...]  # the finding that an audit must name: of an RFC 6962 log, of a static-ct log
    begin: Callable[[LogFront, int], None]  # turn an honest front; the index is of the reader's leaf
    later: bool = False  # the reader has seen an honest tree head before


def _split_view(front: LogFront, _index: int) -> None:
    front.tree = front.tree.with_other(_OTHERS, b"what others are shown")


def _forked_history(front: LogFront, index: int) -> None:
    _split_view(front, index)
    front.tree.grow(_GROWTH)


def _missing_leaf(front: LogFront, index: int) -> None:
    front.tree = front.tree.with_other(index, b"another leaf in its place")


def _wrong_root(front: LogFront, _index: int) -> None:
    front.root = front.tree.with_other(_OTHERS, b"a leaf that is not there").root(front.tree.size)


def _rollback(front: LogFront, _index: int) -> None:
    front.size = front.tree.size - 1


def _bad_signature(front: LogFront, _index: int) -> None:
    front.signer = generate_key()


def _stale_head(front: LogFront, index: int) -> None:
    front.size = index  # all that were there before the reader's
    front.dated = front.clock() - timedelta(days=30)


def _refused_proofs(front: LogFront, _index: int) -> None:
    front.heads_only = True


def _garbage(front: LogFront, _index: int) -> None:
    front.instead = Page(b"<!doctype html><title>Welcome</title>", content_type="text/html")


def _silence(front: LogFront, _index: int) -> None:
    front.silent = True


def _huge(front: LogFront, _index: int) -> None:
    front.instead = Page(bytes(HUGE))


DECEITS: tuple[Deceit, ...] = (
    Deceit(
        "split-view",
        "Split view",
        "The log signed two trees of the same size, one for us and one for the rest of the world.",
        "alarm",
        ("split-view", "split-view"),
        _split_view,
        later=True,
    ),
    Deceit(
        "forked-history",
        "Forked history",
        "The log has grown, but out of another tree than the one that it showed before.",
        "alarm",
        ("inconsistent", "inconsistent"),
        _forked_history,
        later=True,
    ),
    Deceit(
        "missing-leaf",
        "Missing leaf",
        "The log signed an SCT and never entered the certificate: nobody who watches the log could see it.",
        "alarm",
        ("missing-leaf", "missing-leaf"),
        _missing_leaf,
    ),
    Deceit(
        "wrong-root",
        "Wrong root",
        "The log signed a root that its own proofs do not lead to.",
        "alarm",
        ("wrong-root", "wrong-root"),
        _wrong_root,
    ),
    Deceit(
        "rollback",
        "Rollback",
        "The log took a leaf back: a later tree head is of a smaller tree.",
        "alarm",
        ("rollback", "rollback"),
        _rollback,
        later=True,
    ),
    Deceit(
        "bad-signature",
        "Bad signature",
        "Somebody else signed the tree head.",
        "alarm",
        ("tree-head-signature", "tree-head-signature"),
        _bad_signature,
    ),
    Deceit(
        "stale-head",
        "Stale tree head",
        "The log shows an old tree head for ever, of a time before the certificate.",
        "alarm",
        ("stale-tree-head", "stale-tree-head"),
        _stale_head,
    ),
    Deceit(
        "refused-proofs",
        "Refused proofs",
        "The log shows its tree head and answers 503 to every question about our certificate.",
        "note",
        ("unreachable", "unreachable"),
        _refused_proofs,
    ),
    Deceit(
        "garbage",
        "Garbage",
        "Where the log should be, something else answers.",
        "note",
        ("not-a-log", "not-a-log"),
        _garbage,
    ),
    Deceit(
        "silence",
        "Silence",
        "The log takes the question and never answers.",
        "note",
        ("unreachable", "unreachable"),
        _silence,
    ),
    Deceit(
        "huge-answer",
        "Huge answer",
        "The log answers with more octets than any proof has.",
        "note",
        ("unreachable", "unreachable"),
        _huge,
    ),
)
