"""The key exchange: told always, demanded as a hybrid with ML-KEM only where the policy says so."""

from dataclasses import replace
from itertools import product

import pytest

from stubresolver.verify import Mode, Outcome, PinPolicy, Revocation, Rule, Verifier
from tests.verify.responder import GOOD, REVOKED, staple

GROUPS = {
    "X25519MLKEM768": (Outcome.PASS, "X25519MLKEM768, a hybrid with ML-KEM"),
    "SecP256r1MLKEM768": (Outcome.PASS, "SecP256r1MLKEM768, a hybrid with ML-KEM"),
    "SecP384r1MLKEM1024": (Outcome.PASS, "SecP384r1MLKEM1024, a hybrid with ML-KEM"),
    "x25519": (Outcome.FAIL, "x25519, no hybrid with ML-KEM"),
    "MLKEM768": (Outcome.FAIL, "MLKEM768, no hybrid with ML-KEM"),
    "X25519MLKEM768 ": (Outcome.FAIL, "X25519MLKEM768 , no hybrid with ML-KEM"),
    "\x1b[1m": (Outcome.FAIL, r"\x1b[1m, no hybrid with ML-KEM"),
    "": (Outcome.FAIL, "not known"),
    None: (Outcome.FAIL, "not known"),
}


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_is_noted_or_demanded(world, presented, group):
    """The same finding's outcome hangs on the policy; what nobody can name is no hybrid."""
    seen = replace(presented, tls=replace(presented.tls, group=group))
    demanded, noted = GROUPS[group]
    for required in (False, True):
        verifier = Verifier(replace(world.policy, require_post_quantum=required), world.log_list)
        verdict = verifier.judge(seen, world.now)
        (found,) = [finding for finding in verdict.findings if finding.rule is Rule.TLS_GROUP]
        assert found.outcome is (demanded if required else Outcome.NOTE)
        assert (found.detail == noted) is not required
        assert (Rule.TLS_GROUP in verdict.demanded) is required
        assert verdict.allowed is not (required and demanded is Outcome.FAIL)


def test_a_chain_from_a_file_has_no_group(world, presented):
    """Without a handshake there is nothing to demand it of."""
    verifier = Verifier(replace(world.policy, require_post_quantum=True), world.log_list)
    verdict = verifier.judge(replace(presented, tls=None), world.now)
    assert verdict.allowed
    assert Rule.TLS_GROUP not in {finding.rule for finding in verdict.findings}


@pytest.mark.parametrize("shown", [None, "junk", GOOD, REVOKED])
@pytest.mark.parametrize("group", ["X25519MLKEM768", "X25519", None])
def test_more_demands_never_allow_more(world, presented, shown, group):
    """Whatever is refused stays refused under each stricter value of each of the new demands, and in either mode."""
    credential = world.issue()
    octets = {None: None, "junk": b"junk"}[shown] if shown in {None, "junk"} else staple(world, credential.leaf, shown)
    seen = replace(presented, chain=credential.chain, staple=octets, tls=replace(presented.tls, group=group))
    keys = {bytes(32): "a", bytes(31) + b"\1": "b"}
    ladders = (
        [Revocation.OFF, Revocation.IF_STAPLED, Revocation.REQUIRE_STAPLE],
        [False, True],
        [None, PinPolicy(keys, report_only=True), PinPolicy(keys)],
    )
    allowed = {}
    for steps in product(*(range(len(ladder)) for ladder in ladders)):
        revocation, quantum, pins = (ladder[step] for ladder, step in zip(ladders, steps, strict=True))
        policy = replace(world.policy, revocation=revocation, require_post_quantum=quantum, pins=pins)
        judged = [Verifier(replace(policy, mode=mode), world.log_list).judge(seen, world.now) for mode in Mode]
        assert judged[0].allowed is judged[1].allowed
        allowed[steps] = judged[0].allowed
    for steps, stricter in product(allowed, repeat=2):
        if all(less <= more for less, more in zip(steps, stricter, strict=True)):
            assert allowed[steps] or not allowed[stricter]
    assert allowed[0, 0, 0]
