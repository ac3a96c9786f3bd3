"""Every certificate that `cryptography_vectors` ships, in every place of a chain: never an exception, never allowed."""

import base64
import re
import warnings
from dataclasses import replace
from functools import cache
from ipaddress import ip_address
from pathlib import Path

import cryptography_vectors
import pytest
from cryptography.utils import CryptographyDeprecationWarning

from stubresolver.lab.world import NAME
from stubresolver.verify import Policy, Presented, Rule, Verifier

FOLDER = Path(cryptography_vectors.__file__).parent
PEM = re.compile(rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----(.*?)-----END", re.DOTALL)


@cache
def certificates():
    """Path inside the package and DER of each distinct certificate there, and of whatever else ends in .der or .crt."""
    found = {}
    for path in sorted(path for path in FOLDER.rglob("*") if path.suffix in {".pem", ".der", ".crt", ".cer"}):
        octets = path.read_bytes()
        blocks = [base64.b64decode(block) for block in PEM.findall(octets)]
        for der in blocks or ([octets] if path.suffix in {".der", ".crt"} else []):
            found.setdefault(der, str(path.relative_to(FOLDER)))
    return [(name, der) for der, name in found.items()]


@pytest.fixture(autouse=True)
def _quiet():
    """Serial numbers of zero and below are part of what is tried here; the library only warns of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        yield


def test_the_package_still_ships_odd_certificates():
    """A few hundred, PKITS and the odd ones among them: were they gone, the tests below would prove nothing."""
    names = [name for name, _ in certificates()]
    assert len(names) >= 200
    assert any("invalid_version" in name for name in names)
    assert any("v1_cert" in name for name in names)


def test_none_is_allowed_as_a_leaf(world):
    """Alone and in front of an honest chain, under the whole policy and under path and address alone."""
    honest = world.issue().chain
    verifiers = [Verifier(world.policy, world.log_list), Verifier(Policy(world.policy.anchors))]
    for name, der in certificates():
        for chain in ((der,), (der, *honest)):
            for verifier in verifiers:
                verdict = verifier.judge(Presented(ip_address("127.0.0.1"), NAME, chain), world.now)
                assert not verdict.allowed, name
                text = " ".join(f"{finding} {finding.subject}" for finding in verdict.findings)
                assert text.isprintable(), name
                assert all(len(finding.detail) <= 400 for finding in verdict.findings), name


def test_none_vouches_as_an_intermediate(world):
    """In the place of the intermediate it gives no path; beside the honest one it changes nothing or is unreadable."""
    leaf, intermediate = world.issue().chain
    verifier = Verifier(world.policy, world.log_list)
    shown = Presented(ip_address("127.0.0.1"), NAME, (leaf, intermediate))
    for name, der in certificates():
        assert not verifier.judge(replace(shown, chain=(leaf, der)), world.now).allowed, name
        beside = verifier.judge(replace(shown, chain=(leaf, der, intermediate)), world.now)
        assert beside.allowed or "cannot be read" in beside.summary, name


def test_each_may_be_an_anchor_or_is_refused_as_one(world):
    """A trust store takes it or raises ValueError; none of them anchors the lab's chain."""
    shown = Presented(ip_address("127.0.0.1"), NAME, world.issue().chain)
    taken = 0
    for name, der in certificates():
        try:
            verifier = Verifier(Policy((der,)))
        except ValueError:
            continue
        taken += 1
        verdict = verifier.judge(shown, world.now)
        assert Rule.PATH_VALID in {finding.rule for finding in verdict.failures}, name
    assert taken > 150
