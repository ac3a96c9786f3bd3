"""Path, address and name: judged by `cryptography`'s verifier at the given time, refused for every near miss."""

from datetime import timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from stubresolver.lab.authority import LabAuthority
from stubresolver.verify import Outcome, Policy, Presented, Rule, Verifier

DAY, SECOND = timedelta(days=1), timedelta(seconds=1)


@pytest.fixture(scope="module")
def bare(world):
    """Path and address alone: no issuer list, no CT, as an outside suite of X.509 vectors would judge."""
    return Verifier(Policy(anchors=(world.lab.anchor,), issuers=None, ct=None))


@pytest.fixture(scope="module")
def by_name(world):
    """Path and name alone."""
    return Verifier(Policy(anchors=(world.lab.anchor,), address_required=False))


def outcome(verdict, rule):
    return next((finding.outcome for finding in verdict.findings if finding.rule is rule), None)


def judge_address(verifier, world, dialled, now, **leaf):
    chain = world.issue((), **{"names": (), "addresses": ()} | leaf).chain
    return verifier.judge(Presented(ip_address(dialled), None, chain), now)


def judge_name(verifier, world, name, now, **leaf):
    return verifier.judge(Presented(None, name, world.issue((), addresses=(), **leaf).chain), now)


def test_path_and_address_can_be_judged_alone(bare, world, now):
    """A policy of anchors only demands path and address and nothing else."""
    verdict = judge_address(bare, world, "192.0.2.1", now, addresses=[ip_address("192.0.2.1")])
    assert verdict.allowed
    assert verdict.demanded == {Rule.PATH_VALID, Rule.PATH_ADDRESS}
    assert [certificate.subject for certificate in verdict.path] == [
        "CN=192.0.2.1,O=Embedded Lab", "CN=Lab CA TLS,O=Embedded Lab", "CN=Lab CA Root,O=Embedded Lab",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("dialled", "certified"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),  # RFC 4291 s2.5.5.2: the IPv4 node, by another spelling
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("2001:0db8::0001", "2001:db8:0::1"),
        ("::1", "0:0:0:0:0:0:0:1"),
    ],
)
def test_the_dialled_address_matches_in_every_spelling(bare, world, now, dialled, certified):
    """Addresses are compared as addresses, not as text."""
    verdict = judge_address(bare, world, dialled, now, addresses=[ip_address(certified)])
    assert verdict.allowed


@pytest.mark.parametrize(
    ("dialled", "leaf"),
    [
        ("192.0.2.1", {"addresses": [ip_address("192.0.2.2")]}),
        ("192.0.2.1", {"addresses": [ip_address("2001:db8::1")]}),
        ("2001:db8::1", {"addresses": [ip_address("2001:db8::2")]}),
        ("192.0.2.1", {"addresses": [ip_address("::ffff:192.0.2.1")]}),  # the certificate's own spelling is not IPv4
        ("192.0.2.1", {"addresses": [ip_address("::192.0.2.1")]}),
        ("::192.0.2.1", {"addresses": [ip_address("192.0.2.1")]}),
        ("192.0.2.1", {"names": ["dns.lab", "192.0.2.1"]}),  # a dNSName that spells the address
        ("192.0.2.1", {"names": ["*.0.2.1", "dns.lab"]}),
        ("192.0.2.1", {"names": ["dns.lab"], "common_name": "192.0.2.1"}),  # the CN is no name at all, RFC 9525 s2
    ],
)
def test_another_address_is_refused(bare, world, now, dialled, leaf):
    """RFC 5280 s4.2.1.6: only an iPAddress of exactly the dialled address speaks for it."""
    verdict = judge_address(bare, world, dialled, now, **leaf)
    assert not verdict.allowed
    assert outcome(verdict, Rule.PATH_VALID) is Outcome.PASS
    assert outcome(verdict, Rule.PATH_ADDRESS) is Outcome.FAIL


def test_a_common_name_alone_is_nothing(bare, world, now):
    """A leaf without any SAN is refused, whatever its CN says."""
    assert not judge_address(bare, world, "192.0.2.1", now, common_name="192.0.2.1").allowed


@pytest.mark.parametrize(
    ("name", "certified"),
    [("dns.lab", "dns.lab"), ("DNS.Lab", "dns.lab"), ("dns.lab", "DNS.LAB"), ("a.dns.lab", "*.dns.lab")],
)
def test_a_name_matches_without_regard_to_case(by_name, world, now, name, certified):
    """RFC 9525 s6.3: letters are compared without case; a wildcard stands for one whole label."""
    verdict = judge_name(by_name, world, name, now, names=[certified])
    assert verdict.allowed
    assert verdict.demanded == {Rule.PATH_VALID, Rule.PATH_NAME}


@pytest.mark.parametrize(
    ("name", "certified"),
    [
        ("dns.lab", "elsewhere.lab"),
        ("dns.lab", "dns.lab.example"),
        ("dns.lab", "adns.lab"),
        ("dns.lab.", "dns.lab"),  # an absolute name, as nobody writes it in a certificate
        ("dns.lab", "*.dns.lab"),
        ("a.b.dns.lab", "*.dns.lab"),
        ("*.dns.lab", "*.dns.lab"),  # nobody is called so
        ("192.0.2.1", "192.0.2.1"),  # an address is never a name, RFC 1123 s2.1
        ("2001:db8::1", "dns.lab"),
        ("münchen.lab", "dns.lab"),
        ("dns\0.lab", "dns.lab"),
        ("", "dns.lab"),
        (".", "dns.lab"),
        ("x" * 300, "dns.lab"),
    ],
)
def test_another_name_is_refused_and_never_raises(by_name, world, now, name, certified):
    """Near misses, odd spellings and text that is no host name at all end in a finding."""
    verdict = judge_name(by_name, world, name, now, names=[certified])
    assert not verdict.allowed
    assert outcome(verdict, Rule.PATH_NAME) is Outcome.FAIL


@pytest.mark.parametrize("certified", ["*", "d*.lab", "dns.*", "*.*"])
def test_wildcards_of_another_kind_match_nothing(by_name, world, now, certified):
    """RFC 9525 s6.3: "*" is the whole leftmost label or nothing."""
    assert not judge_name(by_name, world, "dns.lab", now, names=[certified]).allowed


def test_neither_address_nor_name_is_refused(by_name, world, now):
    """A path says nothing about whom we reached: without an identity nothing is allowed."""
    verdict = by_name.judge(Presented(None, None, world.issue(()).chain), now)
    assert outcome(verdict, Rule.PATH_VALID) is Outcome.PASS
    assert not verdict.allowed
    assert Rule.PATH_NAME in verdict.demanded


def test_an_address_is_demanded_unless_code_says_otherwise(bare, world, now):
    """A right name does not stand in for the address."""
    verdict = bare.judge(Presented(None, "dns.lab", world.issue(()).chain), now)
    assert outcome(verdict, Rule.PATH_NAME) is Outcome.PASS
    assert not verdict.allowed


@pytest.mark.parametrize(
    ("offset", "allowed"), [(-DAY - SECOND, False), (-DAY, True), (89 * DAY, True), (89 * DAY + SECOND, False)]
)
def test_validity_has_both_its_ends(bare, world, now, offset, allowed):
    """RFC 5280 s4.1.2.5: from notBefore through notAfter, inclusive."""
    chain = world.issue(()).chain
    verdict = bare.judge(Presented(ip_address("127.0.0.1"), None, chain), now + offset)
    assert verdict.allowed is allowed
    if not allowed:
        assert ("expired" in verdict.summary) is (offset > DAY)
        assert ("not valid before" in verdict.summary) is (offset < DAY)


def test_a_time_zone_is_no_escape(bare, world, now):
    """The same moment in another zone has the same verdict; a time without a zone is refused as an argument."""
    shown = Presented(ip_address("127.0.0.1"), None, world.issue(()).chain)
    zone = timedelta(hours=14)
    late = (now + 89 * DAY + SECOND).astimezone(now.tzinfo.__class__(zone))
    assert not bare.judge(shown, late).allowed
    with pytest.raises(ValueError, match="time zone"):
        bare.judge(shown, now.replace(tzinfo=None))


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00", "1949-12-31T23:59:59", "9999-12-31T23:59:59"])
def test_any_time_of_the_calendar_has_a_verdict(verifier, presented, now, moment):
    """Times that certificates cannot even write are refused, not raised."""
    assert not verifier.judge(presented, now.fromisoformat(moment).replace(tzinfo=now.tzinfo)).allowed


CHAINS = {
    "nothing": lambda leaf, ca, root: (),
    "no intermediate": lambda leaf, ca, root: (leaf,),
    "the intermediate alone": lambda leaf, ca, root: (ca,),
    "the root alone": lambda leaf, ca, root: (root,),
    "the intermediate first": lambda leaf, ca, root: (ca, leaf),
    "eleven certificates": lambda leaf, ca, root: (leaf, *(ca,) * 10),
    "an empty certificate": lambda leaf, ca, root: (leaf, ca, b""),
    "junk": lambda leaf, ca, root: (b"\x30\x82\xff\xffjunk",),
    "junk behind": lambda leaf, ca, root: (leaf, ca, b"junk"),
    "trailing octets": lambda leaf, ca, root: (leaf + b"\0", ca),
    "cut short": lambda leaf, ca, root: (leaf[:-1], ca),
    "zeros": lambda leaf, ca, root: (bytes(1000), ca),
    "the leaf in PEM": lambda leaf, ca, root: (x509.load_der_x509_certificate(leaf).public_bytes(Encoding.PEM), ca),
    "100 KiB and one octet": lambda leaf, ca, root: (leaf, ca, bytes(100 * 1024 + 1 - len(leaf) - len(ca))),
    "17 MiB": lambda leaf, ca, root: (b"\x30\x84\x01\x10\x00\x00" + bytes(0x1100000), ca),
}


@pytest.mark.parametrize("shape", CHAINS.values(), ids=CHAINS)
def test_hostile_chains_are_refused(verifier, world, presented, now, shape):
    """Nothing, too much, the wrong order, junk: a verdict with a finding for the path, never an exception."""
    chain = shape(*presented.chain, world.lab.anchor)
    verdict = verifier.judge(Presented(presented.address, presented.name, chain, presented.tls), now)
    assert not verdict.allowed
    assert outcome(verdict, Rule.PATH_VALID) is Outcome.FAIL


def test_a_chain_too_big_is_not_read(verifier, presented, now):
    """More than 100 KiB are refused unread: readable certificates would be refused for their size alone."""
    chain = (*presented.chain, bytes(100 * 1024 + 1 - sum(map(len, presented.chain))))
    verdict = verifier.judge(Presented(presented.address, presented.name, chain, presented.tls), now)
    assert verdict.failures[0].detail == "a chain of 102401 octets, expected at most 102400"


@pytest.mark.parametrize(
    "order", [lambda leaf, ca, root: (leaf, ca, root), lambda leaf, ca, root: (leaf, root, ca, ca, leaf)]
)
def test_superfluous_certificates_are_no_fault(verifier, world, presented, now, order):
    """RFC 8446 s4.4.2: a peer may send more than is needed, in any order behind the leaf."""
    chain = order(*presented.chain, world.lab.anchor)
    assert verifier.judge(Presented(presented.address, presented.name, chain, presented.tls), now).allowed


def test_an_anchor_of_the_same_name_with_another_key_does_not_vouch(world, presented, now):
    """A root is its key, not its name."""
    namesake = LabAuthority("Lab CA", now=now)
    assert not Verifier(Policy(anchors=(namesake.anchor,))).judge(presented, now).allowed
    assert Verifier(Policy(anchors=(namesake.anchor, world.lab.anchor))).judge(presented, now).allowed


def test_a_leaf_may_not_sign(bare, world, now):
    """RFC 5280 s6.1.4: a certificate issued by an end-entity certificate has no path."""
    honest = world.issue(())
    builder = x509.CertificateBuilder(
        issuer_name=honest.leaf.subject,
        subject_name=honest.leaf.subject,
        public_key=honest.leaf.public_key(),
        serial_number=7,
        not_valid_before=honest.leaf.not_valid_before_utc,
        not_valid_after=honest.leaf.not_valid_after_utc,
    )
    for extension in honest.leaf.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    child = builder.sign(honest.key, hashes.SHA256()).public_bytes(Encoding.DER)
    assert not bare.judge(Presented(ip_address("127.0.0.1"), None, (child, *honest.chain)), now).allowed


KEYS = {
    "RSA of 1024 bits": (lambda: rsa.generate_private_key(65537, 1024), False),  # noqa: S505 - the case
    "RSA of 2047 bits": (lambda: rsa.generate_private_key(65537, 2047), False),  # noqa: S505 - the case
    "RSA of 2048 bits": (lambda: rsa.generate_private_key(65537, 2048), True),
    "RSA of 2052 bits": (lambda: rsa.generate_private_key(65537, 2052), False),
    "secp192r1": (lambda: ec.generate_private_key(ec.SECP192R1()), False),
    "secp256k1": (lambda: ec.generate_private_key(ec.SECP256K1()), False),
    "secp384r1": (lambda: ec.generate_private_key(ec.SECP384R1()), True),
    "Ed25519": (ed25519.Ed25519PrivateKey.generate, False),
    "DSA": (lambda: dsa.generate_private_key(1024), False),  # noqa: S505 - the case
}


@pytest.mark.parametrize(("shown", "key", "allowed"), [(shown, *case) for shown, case in KEYS.items()], ids=KEYS)
def test_a_weak_key_proves_nothing(bare, world, now, shown, key, allowed):
    """Whoever factors the leaf's key is the upstream, whatever CA and logs say (Baseline Requirements 6.1.5)."""
    honest = world.issue(()).leaf
    builder = x509.CertificateBuilder(
        issuer_name=honest.issuer,
        subject_name=honest.subject,
        public_key=key().public_key(),
        serial_number=7,
        not_valid_before=honest.not_valid_before_utc,
        not_valid_after=honest.not_valid_after_utc,
    )
    for extension in honest.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    leaf = builder.sign(world.lab.intermediate_key, hashes.SHA256()).public_bytes(Encoding.DER)
    chain = (leaf, world.lab.intermediate.public_bytes(Encoding.DER))
    verdict = bare.judge(Presented(ip_address("127.0.0.1"), None, chain), now)
    assert verdict.allowed is allowed
    assert allowed or f"its key is {shown}; expected RSA" in verdict.summary


@pytest.mark.parametrize("index", [0, 1], ids=["leaf", "intermediate"])
def test_no_flipped_bit_in_the_chain_is_allowed(bare, presented, now, index):
    """One turned bit in each octet, TBS or signature: there is no path any more."""
    der = presented.chain[index]
    for position in range(len(der)):
        turned = bytearray(der)
        turned[position] ^= 1 << position % 8
        chain = (*presented.chain[:index], bytes(turned), *presented.chain[index + 1 :])
        assert not bare.judge(Presented(presented.address, None, chain), now).allowed, position


def test_unused_bits_in_a_signature_are_refused(bare, world, now):
    """The same certificate with another hash: a signature is whole octets, whatever its last bit is."""
    leaf, intermediate = world.issue(()).chain
    while leaf[-1] & 1:  # DER wants unused bits to be zero; a signature that ends so can be passed off with one less
        leaf, intermediate = world.issue(()).chain
    place = len(leaf) - len(x509.load_der_x509_certificate(leaf).signature) - 1
    other = leaf[:place] + b"\1" + leaf[place + 1 :]
    assert x509.load_der_x509_certificate(other).signature == x509.load_der_x509_certificate(leaf).signature
    verdicts = [bare.judge(Presented(ip_address("127.0.0.1"), None, (der, intermediate)), now) for der in (leaf, other)]
    assert [verdict.allowed for verdict in verdicts] == [True, False]
    assert "whole octets" in verdicts[1].summary


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=200), max_size=4))
def test_any_octets_for_a_chain_are_refused(verifier, presented, now, chain):
    """No octets raise, and none are allowed."""
    assert not verifier.judge(Presented(presented.address, presented.name, tuple(chain), presented.tls), now).allowed


NASTY = {
    "escape sequences": "\x1b[2J\x1b]0;owned\x07",
    "right to left": "\u202emoc.elgoog\u202c",
    "line breaks": "one\r\ntwo\u2028three",
    "markup": "[bold red]allowed[/bold red]",
    "tab and null": "a\tb\0c",
    "ten thousand letters": "a" * 10_000,
    "invisible": "\u200b\u2060\ufeff",
}


@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
def test_findings_hold_only_printable_text_of_bounded_length(verifier, world, now, text):
    """A certificate may not steer the terminal, the log or the page of those who read about it."""
    chain = world.issue(names=["dns.lab"], common_name=text[:64]).chain
    rogue = LabAuthority(text[:50], now=now)
    foreign = rogue.issue(
        not_before=now - DAY, not_after=now + DAY, names=["a.lab"], addresses=[ip_address("127.0.0.9")]
    ).chain
    for shown in (chain, foreign, _renamed(world, text, now)):
        verdict = verifier.judge(Presented(ip_address("127.0.0.1"), "dns.lab", shown), now)
        for line in (verdict.summary, *(f"{finding} {finding.subject}" for finding in verdict.findings)):
            assert line.isprintable()
            assert len(line) < 700
        assert all(certificate.subject.isprintable() for certificate in verdict.path)


def test_many_names_are_cut_short(bare, world, now):
    """A leaf with hundreds of long names is refused in one readable line."""
    names = [f"{'n' * 60}.{index}.{'m' * 60}.lab" for index in range(200)]
    verdict = judge_address(
        bare, world, "192.0.2.1", now, names=names, common_name="many", addresses=[ip_address("192.0.2.9")] * 300
    )
    assert len(verdict.summary) < 300
    assert "and 294 more" in verdict.summary


def _renamed(world, text, now):
    """A leaf of the lab with this text where nobody limits its length: the organisation, in UTF8String."""
    name = x509.Name(
        [x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, text[:64])]
        + [x509.NameAttribute(x509.ObjectIdentifier(f"1.3.6.1.4.1.1.{n}"), text) for n in range(3)]
    )
    leaf = world.issue(()).leaf
    builder = x509.CertificateBuilder(
        issuer_name=leaf.issuer,
        subject_name=name,
        public_key=leaf.public_key(),
        serial_number=7,
        not_valid_before=leaf.not_valid_before_utc,
        not_valid_after=leaf.not_valid_after_utc,
    )
    for extension in leaf.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    signed = builder.sign(world.lab.intermediate_key, hashes.SHA256())
    return (signed.public_bytes(Encoding.DER), world.lab.intermediate.public_bytes(Encoding.DER))
