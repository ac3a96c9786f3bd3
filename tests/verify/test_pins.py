"""Pinned keys: one of the verified path must be among them; report-only pins say so and refuse nothing."""

from dataclasses import replace

import pytest

from stubresolver.verify import Outcome, PinPolicy, Rule, Verifier
from stubresolver.verify.certificate import read_certificate

OTHER, ANOTHER = bytes(32), bytes(31) + b"\1"


def judged(world, presented, pins):
    """The verdict, and its finding on pins."""
    verdict = Verifier(replace(world.policy, pins=pins), world.log_list).judge(presented, world.now)
    (found,) = [finding for finding in verdict.findings if finding.rule is Rule.ISSUER_PINS]
    return verdict, found


@pytest.mark.parametrize("place", [0, 1, 2])
def test_any_key_of_the_path_may_be_the_pinned_one(world, presented, place):
    """The leaf's, the intermediate's, the root's."""
    path = [*presented.chain, world.lab.anchor]
    key = read_certificate(path[place]).spki_sha256
    verdict, found = judged(world, presented, PinPolicy({OTHER: "backup", key: "ours"}))
    assert verdict.allowed
    assert (found.outcome, found.detail) == (Outcome.PASS, "ours is pinned")
    assert Rule.ISSUER_PINS in verdict.demanded


def test_a_path_without_a_pinned_key_is_refused(world, presented):
    """However good it is otherwise."""
    verdict, found = judged(world, presented, PinPolicy({OTHER: "a", ANOTHER: "b"}))
    assert [finding.rule for finding in verdict.failures] == [Rule.ISSUER_PINS]
    assert found.detail == "no key of the path is one of the 2 pinned"


def test_report_only_pins_say_what_would_have_failed(world, presented):
    """RFC 7469 s2.1: told, and nothing refused; and not demanded."""
    verdict, found = judged(world, presented, PinPolicy({OTHER: "a", ANOTHER: "b"}, report_only=True))
    assert verdict.allowed
    assert Rule.ISSUER_PINS not in verdict.demanded
    assert (found.outcome, found.detail) == (
        Outcome.NOTE, "would be refused: no key of the path is one of the 2 pinned",
    )  # fmt: skip


def test_a_key_that_was_only_shown_is_not_of_the_path(world, presented):
    """A certificate that leads nowhere may carry any key: only the verified path counts (RFC 7469 s2.6)."""
    root = bytes.fromhex(world.stranger.root_spki_sha256)
    extra = replace(presented, chain=(*presented.chain, world.stranger.anchor))
    assert not judged(world, extra, PinPolicy({OTHER: "a", root: "b"}))[0].allowed


def test_pins_without_a_path_are_not_judged(world, presented):
    """Nothing of it is verified; the reason that matters is the path's."""
    credential = world.issue(authority=world.stranger)
    key = read_certificate(credential.chain[0]).spki_sha256
    verdict, found = judged(world, replace(presented, chain=credential.chain), PinPolicy({OTHER: "a", key: "b"}))
    assert (found.outcome, found.subject) == (Outcome.NOTE, read_certificate(credential.chain[0]).subject)
    assert not verdict.allowed


@pytest.mark.parametrize("keys", [{}, {OTHER: "alone"}])
def test_pins_without_a_backup_cannot_be_written(keys):
    """RFC 7469 s4.3: whoever loses the only pinned key is cut off."""
    with pytest.raises(ValueError, match="backup"):
        PinPolicy(keys)
