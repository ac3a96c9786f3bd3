"""What another log list would mean for the configured upstreams, by the certificates that they showed last.

The newest allowed chain of each upstream in the evidence is judged twice, now: by the list in force and by the other
one, and by the policy in force. It decides nothing: a log that is distrusted must not stay because we like the
certificate.
"""

import contextlib
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from rich.console import Console

from stubresolver.cli.common import open_kept_evidence
from stubresolver.cli.judges import policy_source_of
from stubresolver.cli.shown import clean
from stubresolver.config import Settings, load_policy
from stubresolver.ct import LogList
from stubresolver.errors import EvidenceError
from stubresolver.evidence import EvidenceStore
from stubresolver.verify import Remembered, Verdict, Verifier


@dataclass(frozen=True, slots=True)
class Effect:
    """What of one upstream's certificate would change."""

    upstream: str
    untried: str = ""  # why it could not be tried
    seen: str = ""  # when its certificate was last allowed
    before: Verdict | None = None
    after: Verdict | None = None

    @property
    def refuses(self) -> bool:
        """True if the list in force allows it and the other one does not."""
        return bool(self.before and self.after and self.before.allowed and not self.after.allowed)

    def __str__(self) -> str:
        if self.after is None or self.before is None:
            return f"{self.upstream}: could not be tried: {self.untried}"
        shown = f"the certificate of {self.seen[:10]}"
        if self.refuses:
            return f"{self.upstream}: would be REFUSED by the new list: {self.after.summary} ({shown})"
        if not self.after.allowed:
            return f"{self.upstream}: refused by either list: {self.after.summary} ({shown})"
        changed = "" if self.before.allowed else ", which the list in force does not"
        return f"{self.upstream}: the new list allows {shown}{changed}: {self.after.summary}"

    def to_jsonable(self) -> dict[str, object]:
        """As JSON values."""
        return {
            "upstream": self.upstream,
            "tried": self.after is not None,
            "refuses": self.refuses,
            "before": self.before.allowed if self.before else None,
            "after": self.after.allowed if self.after else None,
            "text": str(self),
        }


def find_effects(settings: Settings, current: LogList, other: LogList, now: datetime) -> list[Effect]:
    """The effect on each configured upstream, in order of preference; raises `ConfigError` where a policy is wrong."""
    try:
        with contextlib.closing(open_kept_evidence(settings)) as store:
            return [_effect(store, settings, str(each), (current, other), now) for each in settings.all_upstreams]
    except EvidenceError as error:
        return [Effect(str(upstream), untried=str(error)) for upstream in settings.all_upstreams]


def show_effects(console: Console, effects: list[Effect]) -> None:
    """One line for each; what would be refused first and loudly."""
    reasons = {effect.untried for effect in effects}
    if len(effects) > 1 and len(reasons) == 1 and (reason := reasons.pop()):
        told = f"  what it means for the {len(effects)} upstreams could not be tried: {reason}"
        console.print(clean(told, "yellow"), soft_wrap=True)
        return
    for effect in sorted(effects, key=lambda effect: not effect.refuses):
        style = "bold red" if effect.refuses else "yellow" if effect.after is None else "dim"
        console.print(clean(f"  {effect}", style), soft_wrap=True)


def _effect(
    store: EvidenceStore, settings: Settings, name: str, lists: tuple[LogList, LogList], now: datetime
) -> Effect:
    kept = store.records(limit=1, allowed=True, upstream=name)
    if not kept:
        return Effect(name, untried="the evidence has no certificate of it that was allowed")
    presented = store.export(kept[0].id).presented
    passed = store.recall(sha256(presented.chain[0]).hexdigest()).passed
    source = policy_source_of(settings, name)
    policy = load_policy(source.file, profile=source.profile)
    # without the floor of the clock: it is the lists that are compared
    before, after = (Verifier(policy, each).judge(presented, now, Remembered(None, passed)) for each in lists)
    return Effect(name, seen=kept[0].last_seen, before=before, after=after)
