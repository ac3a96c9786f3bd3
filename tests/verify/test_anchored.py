"""What a peer can make the path verifier work: nothing, unless a CA that is trusted helps it."""

import random
from datetime import timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from stubresolver.lab.authority import LabAuthority
from stubresolver.verify import Policy, Presented, Verifier
from stubresolver.verify.anchored import anchored
from stubresolver.verify.certificate import read_certificate
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


def certified(subject, key, issuer, issuer_key, *extensions, now):
    """A certificate of a subject (a name and a key) by an issuer, with no more extensions than these and the keys'."""
    builder = x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - DAY,
        not_valid_after=now + DAY,
    )
    keys = (
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
        x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
    )
    for extension in (*keys, *extensions):
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(Encoding.DER)


def test_a_web_sites_key_is_no_cas(bare, world, now, looks):
    """Whoever has a certificate for a site of his own, which is free, is no CA: what its key signs is not searched.

    RFC 5280 s6.1.4(k): every certificate of a path but the leaf says that it is a CA's; his does not.
    """
    site = world.issue(names=["site.lab"])
    rogue = LabAuthority("Mesh", now=now)
    extensions = [extension.value for extension in rogue.root.extensions][:2]
    crossed = certified(rogue.root.subject, rogue.root_key, site.leaf.subject, site.key, *extensions, now=now)
    leaf, intermediate = rogue.issue(not_before=now - DAY, not_after=now + DAY, names=["a1.lab"]).chain
    chain = (leaf, intermediate, crossed, *site.chain)
    assert not bare.judge(Presented(ip_address("192.0.2.1"), "a1.lab", chain), now).allowed
    assert looks == [(None, "no signature leads from it to one of the 1 trust anchors")] * 2


def mesh(dice, now):
    """Anchors, a leaf, and certificates by which four parties vouch for each other; some of these are no CAs."""
    name, addresses = x509.Name.from_rfc4514_string, x509.SubjectAlternativeName([x509.DNSName("a.lab")])
    server = x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH])
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
    parties = [(name(f"CN=CA {number}"), dice.choice(keys)) for number in (1, 2, 3, 3)]

    def vouched(*extensions, subject=None):
        subject = subject or dice.choice(parties)
        return read_certificate(certified(*subject, *dice.choice(parties), *extensions, now=now))

    def authority():
        constraints = x509.BasicConstraints(ca=True, path_length=dice.choice((None, None, 0, 1)))
        return x509.KeyUsage(False, False, False, False, False, True, True, False, False), constraints

    anchors = [vouched(*authority()) for _ in range(2)]
    others = [vouched(*(authority() if dice.random() < 0.8 else ()), server) for _ in range(dice.randint(1, 8))]
    leaf = vouched(addresses, server, subject=(name("CN=leaf"), keys[0]))
    return anchors, leaf, others


def test_nothing_is_missed(now):
    """Whatever the library finds among all that is shown, it finds among what is left of it, and nothing else."""
    found = set()
    for seed in range(120):
        anchors, leaf, others = mesh(random.Random(seed), now)  # noqa: S311 - no secret
        paths = PathVerifier([anchor.der for anchor in anchors])
        left = anchored((leaf, *others), anchors)
        whole = bool(paths._validate(leaf, others, "a.lab", now)[0])
        assert whole is bool(left[:1] == [leaf] and paths._validate(leaf, left[1:], "a.lab", now)[0]), seed
        found.add((whole, len(left) - 1 < len(others)))
    assert found == {(True, True), (True, False), (False, True), (False, False)}


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
