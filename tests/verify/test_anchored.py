"""What a peer can make the path verifier work: nothing, unless a CA that is trusted helps it."""

from datetime import timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from stubresolver.lab.authority import LabAuthority
from stubresolver.verify import Policy, Presented, Verifier
from stubresolver.verify.path import PathVerifier

DAY = timedelta(days=1)


@pytest.fixture
def bare(world):
    """Path and address alone, by the lab's root."""
    return Verifier(Policy(anchors=(world.lab.anchor,)))


def self_issued(authority, serial, *extensions):
    """A CA certificate of the authority's root name and key, signed by that key."""
    builder = x509.CertificateBuilder(
        issuer_name=authority.root.subject,
        subject_name=authority.root.subject,
        public_key=authority.root_key.public_key(),
        serial_number=serial,
        not_valid_before=authority.root.not_valid_before_utc,
        not_valid_after=authority.root.not_valid_after_utc,
    )
    for extension in (*authority.root.extensions, *extensions):
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(authority.root_key, hashes.SHA256()).public_bytes(Encoding.DER)


def constrained_intermediate(authority, count):
    """The authority's intermediate once more, with so many names that it may not issue for."""
    old = authority.intermediate
    builder = x509.CertificateBuilder(
        issuer_name=old.issuer,
        subject_name=old.subject,
        public_key=old.public_key(),
        serial_number=7,
        not_valid_before=old.not_valid_before_utc,
        not_valid_after=old.not_valid_after_utc,
    )
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    excluded = x509.NameConstraints(None, [x509.DNSName(f"c{number}.lab") for number in range(count)])
    signed = builder.add_extension(excluded, critical=True).sign(authority.root_key, hashes.SHA256())
    return signed.public_bytes(Encoding.DER)


@pytest.fixture
def looks(monkeypatch):
    """What each look of the path verifier brought, and on how many certificates above the leaf it searched."""
    looks = []
    validate = PathVerifier._validate

    def look(self, leaf, intermediates, *rest):
        found = validate(self, leaf, intermediates, *rest)
        looks.append((None if intermediates is None else len(intermediates), found[1]))
        return found

    monkeypatch.setattr(PathVerifier, "_validate", look)
    return looks


def test_who_is_no_ca_cannot_make_the_verifier_search(bare, world, now, looks):
    """No signature leads from what he signed himself to an anchor, so nothing is searched.

    Eight self-issued certificates of one name and key would make 8^8 paths, constraints on thousands of names half a
    second's work. A genuine CA beside them, which anyone can show, changes nothing, nor does an anchor's name.
    """
    rogue = LabAuthority("Lab CA", now=now)
    constraints = x509.NameConstraints(None, [x509.DNSName(f"c{number}.lab") for number in range(60)])
    loops = [self_issued(rogue, serial, x509.Extension(constraints.oid, True, constraints)) for serial in range(1, 9)]
    names = [f"a{number}.lab" for number in range(2000)]
    leaf = rogue.issue(not_before=now - DAY, not_after=now + DAY, names=names, under_root=True).chain[0]
    genuine = world.lab.intermediate.public_bytes(Encoding.DER)
    verdict = bare.judge(Presented(ip_address("192.0.2.1"), "a1.lab", (leaf, *loops, genuine)), now)
    assert not verdict.allowed
    assert verdict.path == ()
    none = "no signature leads from it to one of the 1 trust anchors"
    assert looks == [(None, none), (None, none)]
    assert verdict.summary.startswith(f"path.valid: {none}")


def test_only_what_leads_to_an_anchor_is_searched(bare, world, now, looks):
    """Junk beside an honest chain is left out of the search, and the chain is judged as ever."""
    rogue = LabAuthority("Lab CA", now=now)
    loops = [self_issued(rogue, serial) for serial in range(1, 9)]
    leaf, genuine = world.issue(addresses=[ip_address("192.0.2.1")]).chain
    assert bare.judge(Presented(ip_address("192.0.2.1"), None, (leaf, *loops, genuine)), now).allowed
    assert looks == [(1, "")]


def test_endless_paths_have_an_end(now):
    """A CA that is trusted and makes 9^8 paths all the same: the library gives the search up at a bounded cost."""
    rogue = LabAuthority("Loop", now=now)
    loops = [self_issued(rogue, serial) for serial in range(1, 10)]
    leaf = rogue.issue(
        not_before=now - DAY, not_after=now + DAY, addresses=[ip_address("192.0.2.1")], under_root=True
    ).chain[0]
    verifier = Verifier(Policy(anchors=(loops[0],)))
    assert not verifier.judge(Presented(ip_address("192.0.2.2"), None, (leaf, *loops)), now).allowed


def test_search_that_is_given_up_is_not_repeated(now, looks):
    """Thousands of names under hundreds of a CA's constraints exhaust the verifier's patience, once for each demand."""
    rogue = LabAuthority("Constrained", now=now)
    names = [f"a{number}.lab" for number in range(3000)]
    leaf = rogue.issue(not_before=now - DAY, not_after=now + DAY, names=names).chain[0]
    verifier = Verifier(Policy(anchors=(rogue.anchor,)))
    chain = (leaf, constrained_intermediate(rogue, 500))
    assert not verifier.judge(Presented(ip_address("192.0.2.1"), "a1.lab", chain), now).allowed
    assert len(looks) == 2
    assert "Exceeded maximum name constraint check limit" in looks[1][1]
