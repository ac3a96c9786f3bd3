"""What is demanded of each upstream: policies and log list, loaded as a whole or not at all.

A `Trust` is what is in force. A reload loads another one, and only if every file of it reads does it take the place of
the one before. Most upstreams share a policy; each may name its own in the configuration, and what that policy demands
less is told wherever the upstream is shown. The log list grows old by itself, so what there is to warn of depends on
the time, which is an argument.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from stubresolver import RELEASED
from stubresolver.config import LoadedPolicy, Settings, load_log_list, load_policy_file
from stubresolver.ct import LogList
from stubresolver.ct.compliance import Freshness, WhenStale, freshness, stale_from
from stubresolver.transport import READS_STAPLES
from stubresolver.upstream import Upstream
from stubresolver.verify import ClockFloor, Mode, Policy, Revocation, Verifier, Whose, highest

# What a stale list does, by the policy.
_EFFECTS = {
    WhenStale.REFUSE: "every certificate is refused",
    WhenStale.KNOWN_LEAVES: "certificates that were not seen before are refused",
    WhenStale.REPORT: "a log that was distrusted since counts still",
}


@dataclass(frozen=True, slots=True, eq=False)
class Demanded:
    """A policy with its judge; upstreams with the same policy file share it."""

    loaded: LoadedPolicy
    verifier: Verifier

    @property
    def policy(self) -> Policy:
        """What is demanded."""
        return self.loaded.policy

    def __str__(self) -> str:
        return f"{self.loaded.source}: {describe(self.policy, self.loaded.anchors)}"


@dataclass(frozen=True, slots=True)
class Trust:
    """The demands of all upstreams, in order of preference, and the pinned log list that they share.

    Those of forward zones follow the others.
    """

    upstreams: Mapping[Upstream, Demanded]
    log_list: LogList
    shipped: datetime | None = None  # the timestamp of the list that came with this release

    @property
    def reporting(self) -> tuple[Upstream, ...]:
        """The upstreams whose policy only reports: they are asked whatever the verdict."""
        return tuple(upstream for upstream, each in self.upstreams.items() if each.policy.mode is Mode.REPORT)

    def warnings(self, now: datetime) -> tuple[str, ...]:
        """What a person should know about these demands at this time, each in one line."""
        distinct = dict.fromkeys(self.upstreams.values())
        staples = not READS_STAPLES and any(each.policy.revocation is not Revocation.OFF for each in distinct)
        return (
            *(f"REPORT MODE for {upstream}: it is asked even where it is refused" for upstream in self.reporting),
            *(each.loaded.warning for each in distinct if each.loaded.warning),
            *(["this release of pyOpenSSL gives no access to stapled OCSP responses: none is seen"] if staples else []),
            *self.list_warnings(now),
        )

    def list_warnings(self, now: datetime) -> tuple[str, ...]:
        """What of it is about the log list: this changes from day to day."""
        listed, found = self.log_list.timestamp, []
        judged = {each.policy.ct.when_stale for each in self.upstreams.values() if each.policy.ct is not None}
        state = freshness(listed, now)
        if judged and state is not Freshness.FRESH:
            effect = ", or by another policy ".join(words for when, words in _EFFECTS.items() if when in judged)
            since = "it is stale" if state is Freshness.STALE else f"from {stale_from(listed):%Y-%m-%d} on it is stale"
            age = f"the log list of {listed:%Y-%m-%d} is {(now - listed).days} days old"
            found.append(f"{age}; {since}: {effect}. Update it: stubresolver logs update")
        if judged and self.shipped is not None and self.shipped > listed:
            younger = f"this release came with a younger one, of {self.shipped:%Y-%m-%d}"
            found.append(f"the log list is of {listed:%Y-%m-%d}: {younger}. Update it, or leave [trust] log_list out")
        return tuple(found)

    def demands_the_same(self, other: "Trust") -> bool:
        """True if every verdict under one is by the same demands as under the other."""
        return self.digests == other.digests

    @property
    def digests(self) -> dict[Upstream, tuple[str, str]]:
        """By which policy and log list each upstream is judged."""
        return {upstream: (each.policy.digest, self.log_list.digest) for upstream, each in self.upstreams.items()}

    def __str__(self) -> str:
        listed = self.log_list
        policies = ", ".join(sorted({each.policy.digest[:12] for each in self.upstreams.values()}))
        return f"policy {policies}; log list {listed.version} of {listed.timestamp:%Y-%m-%d}, {len(listed.logs)} logs"


def load_trust(settings: Settings, anchors: Path | None = None) -> Trust:
    """Load the policy of each upstream of the settings, and the log list; raises `ConfigError`.

    `anchors` is a PEM file that takes the place of every policy's own anchors.
    """
    log_list = load_log_list(settings.log_list_file)
    sources = {upstream: settings.policy_of(upstream) for upstream in settings.all_upstreams}
    demanded = {}
    for source in dict.fromkeys(sources.values()):
        loaded = load_policy_file(source.file, anchors, source.profile)
        demanded[source] = Demanded(loaded, Verifier(loaded.policy, log_list))
    upstreams = {upstream: demanded[source] for upstream, source in sources.items()}
    return Trust(upstreams, log_list, load_log_list(None).timestamp)


def clock_floor(log_list: LogList | None, newest: datetime | None) -> ClockFloor:
    """The latest of what has happened for certain; `newest` is when an upstream was last allowed."""
    floors = [ClockFloor(RELEASED, Whose.RELEASE)]
    if log_list is not None:
        floors.append(ClockFloor(log_list.timestamp, Whose.LOG_LIST))
    if newest is not None:
        floors.append(ClockFloor(newest, Whose.EVIDENCE))
    return highest(floors)


def describe(policy: Policy, anchors: str) -> str:
    """What a policy with these `anchors` (whose they are) demands, in one line: what is less than usual stands out."""
    ct, issuers, pins = policy.ct, policy.issuers, policy.pins
    allowed = None if issuers is None else issuers.allowed
    words = [
        "REPORT MODE" if policy.mode is Mode.REPORT else "",
        f"ct: {ct.minimum_scts} SCTs of {ct.minimum_operators} operators" if ct else "ct: off",
        "" if ct is None or ct.when_stale is WhenStale.KNOWN_LEAVES else f"stale list: {ct.when_stale}",
        f"{len(policy.anchors)} anchors of {anchors}",
        "any issuer" if allowed is None else f"{len(allowed)} issuers",
        f"{len(pins.keys)} pins{' (report only)' if pins.report_only else ''}" if pins else "",
        f"staple: {policy.revocation}",
        "post-quantum" if policy.require_post_quantum else "",
        policy.minimum_tls,
    ]
    return f"{', '.join(word for word in words if word)} (policy {policy.digest[:12]})"
