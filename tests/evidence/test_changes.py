"""A change of an upstream since it was last allowed is an event: returned, kept, and told once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from stubresolver.evidence import EventKind
from stubresolver.lab.authority import LabAuthority
from stubresolver.verify import Verifier

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
UPSTREAM = "tls://127.0.0.1#dns.lab"


@pytest.fixture
def show(store, presented, verifier):
    """Records a chain, a minute after the one before; returns the kinds of the events."""
    clock = iter(range(1000))

    def show(chain, judge=verifier, upstream=UPSTREAM):
        shown = replace(presented, chain=chain)
        kept = store.record(upstream, shown, judge.judge(shown, NOW + timedelta(minutes=next(clock))))
        return [event.kind for event in kept.events]

    return show


def test_what_is_seen_first_is_no_change(show, world):
    """There is nothing to compare with; another upstream is not compared at all."""
    assert show(world.issue().chain) == []
    assert show(world.issue().chain, upstream="tls://[::1]#dns.lab") == []


def test_the_same_again_is_no_change(show, presented):
    """Also after a long time."""
    assert [show(presented.chain) for _ in range(3)] == [[], [], []]


def test_a_new_key_is_an_event_once(show, store, world):
    """A renewed certificate with a new key: told, kept, and no news afterwards."""
    first, second = world.issue(), world.issue()
    show(first.chain)
    assert show(second.chain) == [EventKind.LEAF_KEY]
    assert show(second.chain) == []
    (event,) = store.events()
    assert (event.upstream, event.kind, event.at) == (UPSTREAM, EventKind.LEAF_KEY, "2026-11-02T12:01:00.000Z")
    assert event.before != event.after
    assert event.before.startswith("CN=dns.lab,O=Embedded Lab (key ")


def test_a_new_certificate_for_the_same_key_is_no_change(show, store, world, presented, monkeypatch):
    """Keys are compared, not certificates."""
    key = world.issue().key
    monkeypatch.setattr("stubresolver.lab.authority._generate_key", lambda: key)
    assert show(world.issue().chain) == show(world.issue().chain) == []
    assert len(store.records()) == 2


def test_another_issuer_and_root_are_events(show, store, world, opening, path):
    """A CA that is allowed as well takes over: leaf, issuer and root have changed."""
    other = LabAuthority("Other CA", now=NOW)
    allowed = {**world.policy.issuers.allowed, bytes.fromhex(other.root_spki_sha256): "Other CA Root"}
    issuers = replace(world.policy.issuers, allowed=allowed)
    policy = replace(world.policy, anchors=(*world.policy.anchors, other.anchor), issuers=issuers)
    judge = Verifier(policy, world.log_list)
    store.keep_demands(policy, world.log_list)
    show(world.issue().chain, judge)
    assert show(world.issue(authority=other).chain, judge) == [EventKind.LEAF_KEY, EventKind.ISSUER, EventKind.ROOT]
    newest = {event.kind: event for event in store.events()}
    assert newest[EventKind.ISSUER].before.startswith("CN=Lab CA TLS,")
    assert newest[EventKind.ISSUER].after.startswith("CN=Other CA TLS,")
    assert newest[EventKind.ROOT].after.startswith("CN=Other CA Root,")


def test_other_log_operators_are_an_event(show, store, world, monkeypatch):
    """The set of operators, not the logs and not their order."""
    key = world.issue().key
    monkeypatch.setattr("stubresolver.lab.authority._generate_key", lambda: key)
    cedar = replace(world.cedar1, state="usable")
    monkeypatch.setattr(type(world), "logs", property(lambda each: (each.alder1, each.alder2, each.birch1, cedar)))
    judge = Verifier(world.policy, world.log_list)
    store.keep_demands(world.policy, world.log_list)
    show(world.issue([world.alder1, world.birch1]).chain, judge)
    assert show(world.issue([world.birch1, world.alder2]).chain, judge) == []
    assert show(world.issue([world.alder1, cedar]).chain, judge) == [EventKind.OPERATORS]
    (event,) = store.events()
    assert (event.before, event.after) == ("Alder, Birch", "Alder, Cedar")


def test_operators_that_nobody_looked_for_are_not_compared(show, store, world, presented):
    """A policy without CT sees no operators; switching it on again is no change of the upstream."""
    policy = replace(world.policy, ct=None)
    store.keep_demands(policy, world.log_list)
    without = Verifier(policy, world.log_list)
    assert [show(presented.chain, judge) for judge in (without, Verifier(world.policy, world.log_list), without)] == [
        [], [], [],
    ]  # fmt: skip


def test_what_is_refused_changes_nothing(show, store, world, presented):
    """A rogue between two honest connections is a refused record and no event; nor is the return to normal."""
    show(presented.chain)
    assert show(world.issue(authority=world.finish).chain) == []
    assert show(()) == []
    assert show(presented.chain) == []
    assert store.events() == []
    assert len(store.records(allowed=False)) == 2


def test_events_can_be_filtered(show, store, world):
    """Newest first, of one upstream, since a time, no more than asked."""
    for upstream in (UPSTREAM, "tls://[::1]#dns.lab"):
        for _ in range(3):
            show(world.issue().chain, upstream=upstream)
    assert [event.at[14:16] for event in store.events()] == ["05", "04", "02", "01"]
    assert [event.at[14:16] for event in store.events(limit=1)] == ["05"]
    assert [event.at[14:16] for event in store.events(upstream=UPSTREAM)] == ["02", "01"]
    assert [event.at[14:16] for event in store.events(since=NOW + timedelta(minutes=4))] == ["05", "04"]


def test_what_changed_is_known_after_opening_again(path, opening, world, verifier, presented):
    """The last allowed state is kept in the file, not in the process."""
    shown = replace(presented, chain=world.issue().chain)
    for each, expected in ((presented, []), (shown, [EventKind.LEAF_KEY])):
        with opening(path) as store:
            kept = store.record(UPSTREAM, each, verifier.judge(each, NOW))
            assert [event.kind for event in kept.events] == expected
    with opening(path) as store:
        assert [event.kind for event in store.events()] == [EventKind.LEAF_KEY]
