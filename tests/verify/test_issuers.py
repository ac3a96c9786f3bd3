"""Who may issue: the allow-list wants a CA of the verified path, the deny-list nothing of it."""

from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

import pytest
from cryptography import x509

from stubresolver.ct.der import subject_public_key_info
from stubresolver.verify import Denied, IssuerPolicy, Outcome, Rule, Verifier


def key_of(der):
    return sha256(subject_public_key_info(der)).digest()


def judge(world, presented, now, **lists):
    """The verdict under other lists than the world's own."""
    issuers = IssuerPolicy(**{"allowed": world.policy.issuers.allowed} | lists)
    return Verifier(replace(world.policy, issuers=issuers), world.log_list).judge(presented, now)


def outcomes(verdict, rule):
    return [finding.outcome for finding in verdict.findings if finding.rule is rule]


@pytest.mark.parametrize("place", [1, 2], ids=["intermediate", "root"])
def test_any_ca_of_the_path_may_be_the_allowed_one(world, presented, now, place):
    """An allow-list may name a root or only one of its intermediates."""
    path = (*presented.chain, world.lab.anchor)
    verdict = judge(world, presented, now, allowed={key_of(path[place]): "the one"})
    assert verdict.allowed
    assert "the one is on the allow-list" in str(verdict.findings)


def test_the_leafs_own_key_is_no_issuer(world, presented, now):
    """A key on the allow-list allows what it signs, not itself."""
    verdict = judge(world, presented, now, allowed={key_of(presented.chain[0]): "the leaf"})
    assert outcomes(verdict, Rule.ISSUER_ALLOWED) == [Outcome.FAIL]


def test_a_certificate_that_is_only_shown_is_no_issuer(world, presented, now):
    """An allowed CA's certificate in the chain is worth nothing unless the path leads through it."""
    foreign = world.issue(authority=world.finish).chain
    shown = replace(presented, chain=(*foreign, presented.chain[1], world.lab.anchor))
    verdict = judge(world, shown, now)
    assert outcomes(verdict, Rule.PATH_VALID) == [Outcome.PASS]
    assert outcomes(verdict, Rule.ISSUER_ALLOWED) == [Outcome.FAIL]


def test_without_a_path_nobody_is_allowed(world, presented, now):
    """Names in an unverified chain prove nothing: not judged, and therefore not allowed."""
    verdict = judge(world, presented, now + timedelta(days=400))
    assert outcomes(verdict, Rule.ISSUER_ALLOWED) == [Outcome.NOTE]
    assert not verdict.allowed


def test_no_allow_list_allows_every_anchor(world, presented, now):
    """None means that any CA that leads to an anchor will do; the rule is then not demanded."""
    foreign = replace(presented, chain=world.issue(authority=world.finish).chain)
    verdict = judge(world, foreign, now, allowed=None)
    assert verdict.allowed
    assert Rule.ISSUER_ALLOWED not in verdict.demanded


def entries(certificate, issuer):
    """The three ways to deny one certificate."""
    parsed = x509.load_der_x509_certificate(certificate)
    return {
        "key": Denied("why", spki_sha256=key_of(certificate)),
        "certificate": Denied("why", certificate_sha256=sha256(certificate).digest()),
        "serial": Denied("why", issuer_spki_sha256=key_of(issuer), serial=parsed.serial_number),
    }


@pytest.mark.parametrize("way", ["key", "certificate", "serial"])
@pytest.mark.parametrize("place", [0, 1, 2], ids=["leaf", "intermediate", "root"])
def test_each_way_denies_each_place_of_the_path(world, presented, now, place, way):
    """Leaf, intermediate or root, by key, certificate or serial number: all are refused, with the reason."""
    path = (*presented.chain, world.lab.anchor)
    entry = entries(path[place], path[min(place + 1, 2)])[way]
    verdict = judge(world, presented, now, denied=(entry,))
    assert outcomes(verdict, Rule.ISSUER_DENIED) == [Outcome.FAIL]
    assert {finding.rule for finding in verdict.failures} == {Rule.ISSUER_DENIED}
    assert "denied: why" in verdict.summary


def test_an_entry_speaks_of_nothing_else(world, presented, now):
    """Another key, another certificate, the same serial of another issuer or another serial: not denied."""
    serial = x509.load_der_x509_certificate(presented.chain[0]).serial_number
    others = (
        Denied("key", spki_sha256=bytes(32)),
        Denied("certificate", certificate_sha256=bytes(32)),
        Denied("issuer", issuer_spki_sha256=key_of(world.finish.anchor), serial=serial),
        Denied("serial", issuer_spki_sha256=key_of(presented.chain[1]), serial=serial + 1),
        Denied("itself", issuer_spki_sha256=key_of(presented.chain[0]), serial=serial),
    )
    assert judge(world, presented, now, denied=others).allowed


def test_the_deny_list_is_stronger_than_the_allow_list(world, presented, now):
    """A CA on both lists is refused."""
    root = key_of(world.lab.anchor)
    verdict = judge(world, presented, now, allowed={root: "us"}, denied=(Denied("gone bad", spki_sha256=root),))
    assert outcomes(verdict, Rule.ISSUER_ALLOWED) == [Outcome.PASS]
    assert not verdict.allowed


def test_each_hit_is_a_finding(world, presented, now):
    """All that is denied is told, not only the first."""
    path = (*presented.chain, world.lab.anchor)
    denied = tuple(Denied(f"reason {n}", spki_sha256=key_of(der)) for n, der in enumerate(path))
    verdict = judge(world, presented, now, denied=denied)
    assert [finding.detail for finding in verdict.failures] == [f"denied: reason {n}" for n in range(3)]


def test_without_a_path_what_was_shown_is_looked_at(world, presented, now):
    """A refused chain still tells whether a denied CA is in it."""
    denied = (Denied("why", spki_sha256=key_of(presented.chain[1])),)
    assert Rule.ISSUER_DENIED in {
        finding.rule for finding in judge(world, presented, now + timedelta(days=400), denied=denied).failures
    }


BAD_ENTRIES = [
    {},
    {"spki_sha256": bytes(32), "certificate_sha256": bytes(32)},
    {"spki_sha256": bytes(32), "issuer_spki_sha256": bytes(32), "serial": 1},
    {"spki_sha256": bytes(32), "serial": 1},
    {"issuer_spki_sha256": bytes(32)},
    {"serial": 0},
]


@pytest.mark.parametrize("ways", BAD_ENTRIES)
def test_an_entry_names_one_thing_in_one_way(ways):
    """No way, two ways or half a way is an entry that means something other than it says."""
    with pytest.raises(ValueError, match="a denied entry names"):
        Denied("why", **ways)


def test_an_empty_allow_list_cannot_be_written():
    """It would refuse everyone, or be taken for no list."""
    with pytest.raises(ValueError, match="empty allow-list"):
        IssuerPolicy({})
