"""The world and its gallery: what an honest verifier of this world says of everyone in it."""

from ipaddress import ip_address

import pytest
from cryptography import x509
from OpenSSL import crypto

from stubresolver.ct import DENIED_LOGS
from stubresolver.ct.sct import SctStatus
from stubresolver.lab.rogues import GALLERY
from stubresolver.lab.world import NAME, World
from stubresolver.verify import Presented, Rule, TlsFacts, Verifier


@pytest.fixture(scope="module")
def world(now):
    return World(now)


@pytest.fixture(scope="module")
def verifier(world):
    return Verifier(world.policy, world.log_list)


def openssl_error(world, credential):
    """What OpenSSL's own validation in strict mode says of the chain, None if nothing."""
    store = crypto.X509Store()
    for certificate in x509.load_pem_x509_certificates(world.anchors_pem):
        store.add_cert(crypto.X509.from_cryptography(certificate))
    store.set_time(world.now)
    leaf, *rest = (crypto.X509.from_cryptography(x509.load_der_x509_certificate(der)) for der in credential.chain)
    try:
        crypto.X509StoreContext(store, leaf, rest).verify_certificate()
    except crypto.X509StoreContextError as error:
        return str(error)
    return None


def judge(world, verifier, credential, address="127.0.0.1"):
    facts = TlsFacts("TLSv1.3", "", None, "dot", openssl_error(world, credential))
    return verifier.judge(Presented(ip_address(address), NAME, credential.chain, facts), world.now)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_honest_upstream_is_allowed(world, verifier, address):
    """Whoever does nothing wrong passes every rule that is demanded, on both addresses."""
    verdict = judge(world, verifier, world.issue(), address)
    assert verdict.allowed
    assert [sct.status for sct in verdict.scts] == [SctStatus.VALID] * 2
    assert {sct.operator for sct in verdict.scts} == {"Alder", "Birch"}


@pytest.mark.parametrize("rogue", GALLERY, ids=lambda rogue: rogue.code)
def test_rogue_is_refused_by_exactly_the_rules_it_breaks(world, verifier, rogue):
    """Each story breaks the rules that it tells of and no others."""
    verdict = judge(world, verifier, rogue.make(world))
    assert not verdict.allowed
    assert {finding.rule for finding in verdict.failures} == rogue.expected


def test_fina_case_is_logged_and_trusted(world, verifier):
    """What refuses the Fina case is the issuer alone: its path is valid and its SCTs are."""
    (fina,) = (rogue for rogue in GALLERY if rogue.code == "fina")
    verdict = judge(world, verifier, fina.make(world))
    assert len(verdict.path) == 3
    assert [sct.status for sct in verdict.scts] == [SctStatus.VALID] * 2


@pytest.mark.parametrize(
    ("code", "statuses"),
    [
        ("forged-sct", {SctStatus.VALID, SctStatus.INVALID_SIGNATURE}),
        ("other-issuer", {SctStatus.INVALID_SIGNATURE}),
        ("unknown-log", {SctStatus.VALID, SctStatus.UNKNOWN_LOG}),
        ("mimic-log", {SctStatus.DENIED_LOG}),
        ("retired-log", {SctStatus.VALID, SctStatus.AFTER_RETIREMENT}),
        ("outside-interval", {SctStatus.OUTSIDE_INTERVAL}),
        ("future-sct", {SctStatus.IN_FUTURE}),
        ("unknown-version", {SctStatus.VALID, SctStatus.UNSUPPORTED_VERSION}),
    ],
)
def test_rogue_is_refused_for_the_reason_it_tells(world, verifier, code, statuses):
    """The SCTs that do not count fail for what the story says, and not for another fault of the lab's."""
    (rogue,) = (rogue for rogue in GALLERY if rogue.code == code)
    assert {sct.status for sct in judge(world, verifier, rogue.make(world)).scts} == statuses


def test_gallery_covers_every_rule_of_a_certificate():
    """No rule about certificates lacks a rogue; TLS, the list's age and the clock are no certificate's fault.

    Nor are pins and staples, which the lab's policy does not demand.
    """
    covered = frozenset().union(*(rogue.expected for rogue in GALLERY))
    others = {Rule.TLS_VERSION, Rule.TLS_GROUP, Rule.CT_LIST_AGE, Rule.CLOCK_FLOOR}
    assert covered == frozenset(Rule) - others - {Rule.ISSUER_PINS, Rule.REVOCATION_STAPLE}


def test_codes_and_titles_are_unique():
    """A rogue can be named by its code and told apart by its title."""
    assert len({rogue.code for rogue in GALLERY}) == len({rogue.title for rogue in GALLERY}) == len(GALLERY)


def test_world_has_four_logs_of_three_operators(world):
    """The log list is what the docstring draws; the mimics and the unknown log are not on it."""
    logs = world.log_list.logs
    assert set(logs) == {log.log_id for log in world.logs}
    assert len(logs) == 4
    assert {log.operator for log in logs.values()} == {"Alder", "Birch", "Cedar"}
    assert set(world.log_list.denied) == {log.log_id for log in world.mimics} | set(DENIED_LOGS)


def test_two_worlds_do_not_trust_each_other(world, now):
    """Keys are fresh in each world: nothing of one lab is worth anything in another."""
    other = World(now)
    verdict = judge(world, Verifier(world.policy, world.log_list), other.issue())
    assert Rule.PATH_VALID in {finding.rule for finding in verdict.failures}
