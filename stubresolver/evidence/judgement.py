"""A judgement on its way into the file, with the octets that it was made by, and what holds those octets till then.

A record that could never be judged again is none: policy and log list are told here before the first verdict that they
make, and each is written with the first record that needs it.
"""

import threading
from dataclasses import dataclass
from typing import Final

from stubresolver.ct import LogList
from stubresolver.errors import EvidenceError
from stubresolver.evidence.writing import identify
from stubresolver.verify import Policy, Presented, Verdict

_MAXIMUM_DEMANDS: Final = 64  # policies and lists: one for each upstream, and those before a reload


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """Who showed what, what was found, and by which demands."""

    identity: str  # of its record
    upstream: str
    presented: Presented
    verdict: Verdict
    policy: bytes
    log_list: bytes | None


class Snapshots:
    """The octets of the policies and log lists that are judged by now. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._policies: dict[str, bytes] = {}  # by the policy's digest
        self._log_lists: dict[str, bytes] = {}

    def keep(self, policy: Policy, log_list: LogList | None) -> None:
        """Take the demands that verdicts to come are judged by."""
        with self._lock:
            _remember(self._policies, policy.digest, policy.snapshot())
            if log_list is not None:
                _remember(self._log_lists, log_list.digest, log_list.octets)

    def judgement(self, upstream: str, presented: Presented, verdict: Verdict, policy: bytes | None) -> Judgement:
        """The judgement with its octets; raises `EvidenceError` where `keep` has not seen them.

        `policy` is of the very policy that judged; None for the one with its digest that was kept last. Two policies
        with one digest demand the same, but their names and reasons stand in the verdict.
        """
        with self._lock:
            try:
                listed = None if verdict.log_list is None else self._log_lists[verdict.log_list.digest]
                octets = policy or self._policies[verdict.policy]
            except KeyError as error:
                raise EvidenceError(f"what was judged by was not kept before the verdict: {error}") from None
        return Judgement(identify(upstream, presented, verdict), upstream, presented, verdict, octets, listed)


def _remember(held: dict[str, bytes], digest: str, octets: bytes) -> None:
    """Hold what was given last; the oldest goes."""
    held.pop(digest, None)
    held[digest] = octets
    if len(held) > _MAXIMUM_DEMANDS:
        del held[next(iter(held))]
