"""One operator, one name. PURE: two spellings of a name must not pass for the two operators that a policy demands.

Names are the same if their letters and digits are, whatever the case, the width or the signs between them. Letters
that only look alike are different letters: such a name is another operator, and nothing that is listed under it is
listed alike.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import replace

from stubresolver.ct import Log


def normal(name: str) -> str:
    """What of an operator's name tells it from another: "Let's Encrypt" and "LETS ENCRYPT" are one."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return "".join(character for character in folded if character.isalnum()) or folded


class Spelling:
    """How each operator is written: as it was first, so the list in force goes before the sources."""

    def __init__(self, logs: Iterable[Log]) -> None:
        self._names: dict[str, str] = {}
        for log in logs:
            for name in (log.operator, *(name for name, _ in log.previous_operators)):
                self._names.setdefault(normal(name), name)

    def applied(self, log: Log) -> Log:
        """The log with its operators in the one spelling."""
        previous = tuple((self._spelled(name), until) for name, until in log.previous_operators)
        return replace(log, operator=self._spelled(log.operator), previous_operators=previous)

    def _spelled(self, name: str) -> str:
        return self._names.get(normal(name), name)
