"""Stapled OCSP responses: only one about this certificate, by whom its issuer authorized, of now, is believed."""

import contextlib
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from stubresolver.ct.der import content, elements
from stubresolver.verify import Outcome, Revocation, Rule, Verifier
from stubresolver.verify.certificate import read_certificate
from stubresolver.verify.ocsp import BadStaple, check_staple
from stubresolver.verify.revocation import judge_staple
from tests.verify.responder import (
    DAY,
    GOOD,
    HOUR,
    REVOKED,
    UNKNOWN,
    Signer,
    delegate,
    der,
    members,
    must_staple,
    staple,
    wrapped,
)

SECOND, _DER = timedelta(seconds=1), Encoding.DER


@pytest.fixture(scope="session")
def leaf(world):
    """The certificate that the responses are about."""
    return world.issue().leaf


@pytest.fixture(scope="session")
def check(world, leaf):
    """Look at one response at the world's now, or later."""
    chain = [read_certificate(each.public_bytes(_DER)) for each in (leaf, world.lab.intermediate)]

    def checked(octets, later=timedelta(0)):
        return check_staple(octets, *chain, world.now + later)

    return checked


@pytest.fixture(scope="session")
def rsa_key():
    """One RSA key for all: making it is slow."""
    return rsa.generate_private_key(65537, 2048)


BELIEVED = {
    "by the issuer": lambda w, leaf, _: staple(w, leaf),
    "by the issuer, by name": lambda w, leaf, _: staple(w, leaf, by_name=True),
    "id by SHA-256": lambda w, leaf, _: staple(w, leaf, id_hash=hashes.SHA256()),
    "SHA-384": lambda w, leaf, _: staple(w, leaf, hashed=hashes.SHA384()),
    "by a delegate": lambda w, leaf, _: staple(w, leaf, signer=delegate(w)),
    "by a delegate, by name": lambda w, leaf, _: staple(w, leaf, signer=delegate(w), by_name=True),
    "by a delegate with RSA": lambda w, leaf, key: staple(w, leaf, signer=delegate(w, key=key)),
    "among other certificates": lambda w, leaf, _: _crowd(w, leaf, 3),
    "no next update": lambda w, leaf, _: staple(w, leaf, following=None),
    "no next update, ten days old": lambda w, leaf, _: staple(w, leaf, this=-10 * DAY, following=None),
    "300 s ahead": lambda w, leaf, _: staple(w, leaf, this=300 * SECOND, produced=300 * SECOND),
    "by a delegate that expired 300 s ago": lambda w, leaf, _: staple(w, leaf, signer=delegate(w, ends=-300 * SECOND)),
    "by a delegate that begins in 300 s": lambda w, leaf, _: staple(w, leaf, signer=delegate(w, starts=300 * SECOND)),
    "expired 300 s ago": lambda w, leaf, _: staple(w, leaf, following=-300 * SECOND),
}


@pytest.mark.parametrize("make", BELIEVED.values(), ids=BELIEVED)
def test_a_good_response_is_believed(world, leaf, check, rsa_key, make):
    """Whoever may sign, in each allowed form, up to the last second of tolerance."""
    status = check(make(world, leaf, rsa_key))
    assert status.good
    assert status.detail.startswith("good, as of 2026-")


USELESS = {
    "no octets": (lambda *_: b"", "cannot be read"),
    "junk": (lambda *_: b"\x30\x03\x0a\x01\x07", "cannot be read"),
    "trailing octet": (lambda w, leaf, _: staple(w, leaf) + b"\0", "cannot be read"),
    "as long as may be": (lambda *_: bytes(65536), "cannot be read"),
    "SHA-224": (lambda w, leaf, _: staple(w, leaf, hashed=hashes.SHA224()), "signed with"),
    "delegate signed with SHA-224": (
        lambda w, leaf, _: staple(w, leaf, signer=delegate(w, hashed=hashes.SHA224())), "in a way that is not accepted",
    ),
    "another RSA key in a delegate's name": (
        lambda w, leaf, key: staple(
            w, leaf, signer=delegate(w, key=rsa.generate_private_key(65537, 2048)), key=key
        ),
        "its signature is not",
    ),
    "too long": (lambda *_: bytes(65537), "65537 octets, at most 65536"),
    "an error": (
        lambda *_: ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER).public_bytes(_DER),
        "the responder answered try_later",
    ),
    "another serial": (lambda w, leaf, _: staple(w, leaf, about=w.issue().leaf), "about another certificate"),
    "another issuer": (
        lambda w, leaf, _: staple(w, leaf, about=w.issue(authority=w.finish).leaf), "about another certificate",
    ),
    "id by SHA-512": (lambda w, leaf, _: staple(w, leaf, id_hash=hashes.SHA512()), "expected SHA-1 or SHA-256"),
    "two certificates in it": (lambda w, leaf, _: _two(w, leaf), "cannot be read"),
    "flipped signature": (lambda w, leaf, _: staple(w, leaf)[:-3] + b"\0\0\0", "its signature is not"),
    "signed by the root": (
        lambda w, leaf, _: staple(w, leaf, signer=Signer(w.lab.root, w.lab.root_key)), "was not authorized by",
    ),
    "signed by a leaf of the issuer": (
        lambda w, leaf, _: staple(w, leaf, signer=Signer((mine := w.issue()).leaf, mine.key)), "may not sign",
    ),
    "signed by a stranger in the issuer's name": (
        lambda w, leaf, _: staple(w, leaf, key=w.stranger.intermediate_key), "its signature is not",
    ),
    "signed by a stranger in a delegate's name": (
        lambda w, leaf, _: staple(w, leaf, signer=delegate(w), key=w.stranger.root_key), "its signature is not",
    ),
    "delegate of a stranger": (
        lambda w, leaf, _: staple(
            w, leaf, signer=delegate(w, Signer(w.stranger.intermediate, w.stranger.intermediate_key))
        ),
        "was not authorized by",
    ),
    "delegate of a namesake": (
        lambda w, leaf, _: staple(
            w, leaf, signer=delegate(w, Signer(w.lab.intermediate, w.stranger.intermediate_key))
        ),
        "was not authorized by",
    ),
    "delegate of the root": (
        lambda w, leaf, _: staple(w, leaf, signer=delegate(w, Signer(w.lab.root, w.lab.root_key))),
        "was not authorized by",
    ),
    "delegate of a delegate": (
        lambda w, leaf, _: staple(
            w, leaf, signer=(last := delegate(w, (first := delegate(w)))),
            certificates=[last.certificate, first.certificate],
        ),
        "was not authorized by",
    ),
    "delegate for something else": (
        lambda w, leaf, _: staple(w, leaf, signer=delegate(w, usage=ExtendedKeyUsageOID.SERVER_AUTH)), "may not sign",
    ),
    "delegate for anything": (
        lambda w, leaf, _: staple(w, leaf, signer=delegate(w, usage=ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)),
        "may not sign",
    ),
    "delegate for nothing": (lambda w, leaf, _: staple(w, leaf, signer=delegate(w, usage=None)), "may not sign"),
    "delegate expired": (
        lambda w, leaf, _: staple(w, leaf, signer=delegate(w, ends=-301 * SECOND)), "certificate of its responder",
    ),
    "delegate not yet valid": (
        lambda w, leaf, _: staple(w, leaf, signer=delegate(w, starts=301 * SECOND)), "certificate of its responder",
    ),
    "delegate that was not sent": (
        lambda w, leaf, _: staple(w, leaf, signer=delegate(w), certificates=[]), "neither the issuer nor",
    ),
    "too many certificates": (lambda w, leaf, _: _crowd(w, leaf, 4), "5 certificates in it, at most 4"),
    "critical extension": (lambda w, leaf, _: staple(w, leaf, critical=True), "critical extension 1.2.3.4"),
    "301 s ahead": (lambda w, leaf, _: staple(w, leaf, this=301 * SECOND), "in the future"),
    "made 301 s ahead": (lambda w, leaf, _: staple(w, leaf, produced=301 * SECOND), "in the future"),
    "expired 301 s ago": (lambda w, leaf, _: staple(w, leaf, following=-301 * SECOND), "it expired on"),
    "no next update, older than ten days": (
        lambda w, leaf, _: staple(w, leaf, this=-10 * DAY - 301 * SECOND, following=None), "it expired on",
    ),
    "ends before it begins": (lambda w, leaf, _: staple(w, leaf, this=-HOUR, following=-2 * HOUR), "before it begins"),
    "unknown, and expired": (lambda w, leaf, _: staple(w, leaf, UNKNOWN, following=-DAY, this=-2 * DAY), "expired"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "words"), USELESS.values(), ids=USELESS)
def test_a_response_that_proves_nothing_says_why(world, leaf, check, rsa_key, make, words):
    """Each way in which a response can fail to speak for the certificate, with its reason."""
    with pytest.raises(BadStaple, match=words):
        check(make(world, leaf, rsa_key))


def test_a_weak_rsa_key_is_not_believed(world, leaf, check):
    """1024 bits are nobody's signature any more."""
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505 - the case
    with pytest.raises(BadStaple, match="signed with"):
        check(staple(world, leaf, signer=delegate(world, key=key)))


@pytest.mark.parametrize("age", [HOUR, 400 * DAY])
@pytest.mark.parametrize("reason", [None, x509.ReasonFlags.key_compromise])
def test_revoked_is_for_good(world, leaf, check, age, reason):
    """A signed revocation is believed however old the response is, and told with its time and reason."""
    status = check(staple(world, leaf, REVOKED, this=-age, produced=-age, following=-age / 2, reason=reason))
    assert not status.good
    told = "keyCompromise" if reason else "no reason given"
    assert status.detail == f"revoked on 2026-11-02 10:00:00Z ({told})"


def test_unknown_is_not_good(world, leaf, check):
    """A CA that does not know its own certificate did not knowingly issue it."""
    status = check(staple(world, leaf, UNKNOWN))
    assert not status.good
    assert status.detail == "unknown to its issuer"


def test_a_forged_revocation_is_not_believed(world, leaf, check):
    """Nobody but the issuer may cut an upstream off by a staple."""
    with pytest.raises(BadStaple, match="was not authorized by"):
        check(staple(world, leaf, REVOKED, signer=delegate(world, Signer(world.lab.root, world.lab.root_key))))


def test_time_goes_on(world, leaf, check):
    """The same response is good until its end and five minutes, and then proves nothing."""
    octets = staple(world, leaf, following=DAY)
    assert check(octets, DAY + 300 * SECOND).good
    with pytest.raises(BadStaple, match="expired"):
        check(octets, DAY + 301 * SECOND)
    with pytest.raises(BadStaple, match="future"):
        check(octets, -HOUR - 301 * SECOND)


# (check, staple or None, must-staple, from a file) -> the outcome
POLICIES = {
    (Revocation.OFF, None): "NOTE",
    (Revocation.OFF, REVOKED): "NOTE",
    (Revocation.OFF, "junk"): "NOTE",
    (Revocation.IF_STAPLED, None): "NOTE",
    (Revocation.IF_STAPLED, GOOD): "PASS",
    (Revocation.IF_STAPLED, REVOKED): "FAIL",
    (Revocation.IF_STAPLED, UNKNOWN): "FAIL",
    (Revocation.IF_STAPLED, "junk"): "NOTE",
    (Revocation.REQUIRE_STAPLE, None): "FAIL",
    (Revocation.REQUIRE_STAPLE, GOOD): "PASS",
    (Revocation.REQUIRE_STAPLE, REVOKED): "FAIL",
    (Revocation.REQUIRE_STAPLE, UNKNOWN): "FAIL",
    (Revocation.REQUIRE_STAPLE, "junk"): "FAIL",
}


@pytest.mark.parametrize("from_file", [False, True])
@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize(("demand", "shown"), POLICIES)
def test_what_a_staple_means_under_each_policy(world, presented, demand, shown, marked, from_file):
    """Every combination; the must-staple mark makes a note of the default a failure, where there was a handshake."""
    credential = must_staple(world) if marked else world.issue()
    octets = {None: None, "junk": b"junk"}[shown] if shown in {None, "junk"} else staple(world, credential.leaf, shown)
    verifier = Verifier(replace(world.policy, revocation=demand), world.log_list)
    seen = replace(presented, chain=credential.chain, staple=octets, tls=None if from_file else presented.tls)
    verdict = verifier.judge(seen, world.now)
    expected = POLICIES[demand, shown]
    if marked and not from_file and demand is Revocation.IF_STAPLED and expected == "NOTE":
        expected = "FAIL"
    outcomes = [finding.outcome for finding in verdict.findings if finding.rule is Rule.REVOCATION_STAPLE]
    assert outcomes == [Outcome(expected)]
    assert verdict.allowed is (expected != "FAIL")
    assert (Rule.REVOCATION_STAPLE in verdict.demanded) is (demand is Revocation.REQUIRE_STAPLE)


@pytest.mark.parametrize(
    ("value", "marked"),
    [
        (b"\x30\x03\x02\x01\x05", True),
        (b"\x30\x06\x02\x01\x11\x02\x01\x05", True),
        (b"\x30\x03\x02\x01\x11", False),
        (b"\x30\x00", False),
        (b"\x30\x05\x02", True),
        (b"", True),
    ],
)
def test_the_must_staple_mark_is_read(world, presented, value, marked):
    """RFC 7633: the number of status_request among others; what cannot be read is taken as the mark."""
    seen = replace(presented, chain=must_staple(world, value).chain)
    verdict = Verifier(world.policy, world.log_list).judge(seen, world.now)
    assert (Rule.REVOCATION_STAPLE in {finding.rule for finding in verdict.failures}) is marked
    assert not marked or "must-staple" in verdict.summary


@pytest.mark.parametrize("anchored", [False, True])
def test_the_issuer_is_the_one_above_the_leaf(world, presented, anchored):
    """In a path of two certificates the root; in a path of one nobody, and the leaf's own word is worth nothing."""
    credential = world.lab.issue(
        not_before=world.now - DAY, not_after=world.now + DAY, names=["dns.lab"], under_root=True,
        addresses=[presented.address], logs=[(log, world.now - DAY) for log in (world.alder1, world.birch1)],
    )  # fmt: skip
    ca = Signer(world.lab.root, world.lab.root_key)
    path = [read_certificate(each) for each in (credential.chain[0], world.lab.anchor)]
    if anchored:
        ca, path = Signer(credential.leaf, credential.key), path[:1]
    seen = replace(presented, staple=staple(world, credential.leaf, ca=ca))
    found = judge_staple(seen, path[0], path, Revocation.REQUIRE_STAPLE, world.now)
    assert found.outcome is (Outcome.FAIL if anchored else Outcome.PASS)


def test_a_staple_without_a_path_is_not_judged(world, presented):
    """Who issued the certificate is not known then."""
    credential = world.issue(authority=world.stranger)
    verifier = Verifier(replace(world.policy, revocation=Revocation.REQUIRE_STAPLE), world.log_list)
    seen = replace(presented, chain=credential.chain, staple=staple(world, credential.leaf))
    verdict = verifier.judge(seen, world.now)
    assert not verdict.allowed
    assert {f.outcome for f in verdict.findings if f.rule is Rule.REVOCATION_STAPLE} == {Outcome.NOTE}


@settings(max_examples=300)
@given(st.integers(0, 10_000), st.integers(0, 7))
def test_a_flipped_bit_never_makes_a_good_response(world, leaf, check, place, bit):
    """Nor an exception of the library: of a revoked response, each bit flipped is revoked still or useless."""
    octets = bytearray(_revoked(world, leaf))
    octets[place % len(octets)] ^= 1 << bit
    with contextlib.suppress(BadStaple):
        assert not check(bytes(octets)).good


@settings(max_examples=150)
@given(st.binary(max_size=200))
def test_any_octets_prove_nothing(check, octets):
    """Bare, or where the signed part belongs: a reason, never another exception."""
    for shown in (octets, wrapped(octets), wrapped(der(0x30, octets) + octets)):
        with pytest.raises(BadStaple):
            check(shown)


_made = {}


def _revoked(world, leaf):
    """One response, made once."""
    return _made.setdefault(leaf.serial_number, staple(world, leaf, REVOKED, signer=delegate(world)))


def _crowd(world, leaf, others):
    """A response by a delegate whose certificate comes after that many others."""
    signer = delegate(world)
    return staple(world, leaf, signer=signer, certificates=[*[world.lab.root] * others, signer.certificate])


def _two(world, leaf):
    """A response that speaks of two certificates, this one first."""
    inner = [element[2] for element in members(staple(world, leaf))]
    tbs = [element[2] for element in elements(content(inner[0], 0x30))]
    listed = content(tbs[-1], 0x30)
    tbs[-1] = der(0x30, listed + listed)
    data = der(0x30, b"".join(tbs))
    signature = world.lab.intermediate_key.sign(data, ec.ECDSA(hashes.SHA256()))
    return wrapped(b"".join((data, inner[1], der(0x03, b"\0" + signature))))
