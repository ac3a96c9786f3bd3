"""From a certificate to its promises: those that a listed log really made, and a reason for each other one."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from importlib import resources

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.audit import Entries, read_entries
from stubresolver.ct import LogKind, LogList, leaf_index
from stubresolver.lab.authority import LabAuthority, octet_string
from stubresolver.lab.logs import LabLog, log_list_json, milliseconds, sct_list

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
ALDER, BIRCH = LabLog("Alder", "Alder 1"), LabLog("Birch", "Birch 1", "static-ct")
STRANGER = LabLog("Stranger", "Stranger 1")
LISTED = LogList.parse(log_list_json([ALDER, BIRCH], now=NOW))
AUTHORITY, OTHER = LabAuthority("Test", now=NOW), LabAuthority("Other", now=NOW)


def issued(logs):
    """A leaf with these logs' SCTs (or this extension), and the hash of its issuer's key."""
    ends = NOW + timedelta(days=80)
    logs = logs if callable(logs) else [(log, NOW - timedelta(days=1)) for log in logs]
    return AUTHORITY.issue(not_before=NOW, not_after=ends, names=["dns.lab"], logs=logs).chain[0]


def key_hash(authority):
    return bytes.fromhex(authority.intermediate_spki_sha256)


ISSUER = key_hash(AUTHORITY)
LEAF = issued([ALDER, BIRCH])


def test_each_sct_of_a_listed_log_is_an_entry():
    """Its log, its octets, and the leaf that the log promised, written out here once more (RFC 6962 s3.4)."""
    found = read_entries(LEAF, ISSUER, LISTED)
    assert [entry.log.description for entry in found.entries] == ["Alder 1", "Birch 1"]
    assert [entry.log.kind for entry in found.entries] == [LogKind.RFC6962, LogKind.STATIC_CT]
    assert found.skipped == ()
    tbs = x509.load_der_x509_certificate(LEAF).tbs_precertificate_bytes
    for entry in found.entries:
        moment, extensions = entry.serialized[33:41], entry.sct.extensions
        assert moment == milliseconds(NOW - timedelta(days=1)).to_bytes(8)
        tail = len(tbs).to_bytes(3) + tbs + len(extensions).to_bytes(2) + extensions
        leaf = b"\0\0" + moment + b"\0\1" + ISSUER + tail
        assert entry.merkle_leaf == leaf
        assert entry.leaf_hash == sha256(b"\0" + leaf).digest()
        assert entry.certificate == sha256(LEAF).hexdigest()


def test_a_promise_holds_for_its_issuer_only():
    """Under another issuer's key no signature verifies, so that nobody promised anything."""
    found = read_entries(LEAF, key_hash(OTHER), LISTED)
    assert found.entries == ()
    assert [item.reason for item in found.skipped] == ["not signed by its log over this certificate and issuer"] * 2


def test_a_log_that_nobody_lists_is_not_asked():
    """It has no URL and no key here; the SCTs beside its own are proved all the same."""
    found = read_entries(issued([STRANGER, ALDER]), ISSUER, LISTED)
    assert [entry.log.description for entry in found.entries] == ["Alder 1"]
    assert [(item.log_id, item.log, item.reason) for item in found.skipped] == [
        (STRANGER.log_id, "", "its log is not in the list")
    ]


def test_a_denied_log_is_not_asked():
    """Anybody can sign in its name, so that its promise is nobody's."""
    denying = replace(LISTED, denied={ALDER.log_id: "its private key is published"})
    found = read_entries(LEAF, ISSUER, denying)
    assert [entry.log.description for entry in found.entries] == ["Birch 1"]
    assert [item.reason for item in found.skipped] == ["its log is denied: its private key is published"]


def test_the_same_sct_twice_is_one_promise():
    """A list may repeat an SCT; the log is asked once."""

    def twice(issuer_key_hash, tbs):
        sct = ALDER.sign(issuer_key_hash, tbs, milliseconds(NOW))
        return octet_string(sct_list([sct, sct]))

    assert len(read_entries(issued(twice), ISSUER, LISTED).entries) == 1


def test_an_sct_that_cannot_be_read_stands_beside_those_that_can():
    """A later version, or no SCT at all: passed over with its reason."""

    def odd(issuer_key_hash, tbs):
        good = ALDER.sign(issuer_key_hash, tbs, milliseconds(NOW))
        return octet_string(sct_list([b"\7" + good[1:], b"\0junk", good]))

    found = read_entries(issued(odd), ISSUER, LISTED)
    assert len(found.entries) == 1
    assert [item.reason for item in found.skipped] == [
        "no SCT that can be read: version 07, expected 00",
        "no SCT that can be read: 5 octets, expected at least 47",
    ]


def test_a_certificate_with_too_many_scts_is_not_looked_at():
    """The signatures that a certificate can make us check are bounded."""

    def many(issuer_key_hash, tbs):
        return octet_string(sct_list([ALDER.sign(issuer_key_hash, tbs, number) for number in range(33)]))

    found = read_entries(issued(many), ISSUER, LISTED)
    assert found.entries == ()
    assert found.skipped[0].reason == "33 SCTs, expected at most 32"


UNREADABLE = {
    "nothing": b"",
    "no certificate": b"\x30\x03\x02\x01\x05",
    "half a certificate": LEAF[:200],
    "more than a certificate": LEAF + b"\0",
    "a list that cannot be read": issued(lambda _issuer_key_hash, _tbs: octet_string(b"\xff\xff" + bytes(40))),
}


@pytest.mark.parametrize("leaf", UNREADABLE.values(), ids=UNREADABLE)
def test_a_certificate_that_cannot_be_read_says_so(leaf):
    """No entries and one reason, for everything that is no certificate or whose list is none."""
    found = read_entries(leaf, ISSUER, LISTED)
    assert found.entries == ()
    assert [item.reason.startswith("the certificate cannot be read: ") for item in found.skipped] == [True]


def test_a_certificate_without_scts_says_so():
    """Nothing was promised, so nothing can be proved."""
    found = read_entries(issued([]), ISSUER, LISTED)
    assert found.entries == ()
    assert [item.reason for item in found.skipped] == ["no embedded SCTs"]


@given(st.binary(max_size=300) | st.tuples(st.integers(0, len(LEAF) - 1), st.integers(1, 255)))
def test_no_octets_make_it_raise(damage):
    """Any octets, and this certificate with any octet changed, have entries or reasons."""
    if isinstance(damage, tuple):
        place, change = damage
        damage = LEAF[:place] + bytes((LEAF[place] ^ change,)) + LEAF[place + 1 :]
    found = read_entries(damage, ISSUER, LISTED)
    assert isinstance(found, Entries)
    assert found.entries or found.skipped


def test_real_certificates_have_their_entries(shared_data):
    """Of genuine leaves each SCT is a promise that verifies, or one of a log that the shipped list no longer has.

    An SCT of a static-ct log says where to look (c2sp.org/static-ct-api), one of an RFC 6962 log does not.
    """
    log_list = LogList.parse((resources.files("stubresolver") / "data/log_list.json").read_bytes())
    kinds = set()
    for row in json.loads((shared_data / "certs" / "index.json").read_bytes()):
        if not (row["embedded_scts"] and row["issuers"]):
            continue
        leaf, issuer = (pem(shared_data / "certs" / name) for name in (row["leaf"], row["issuers"][0]))
        spki = issuer.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        found = read_entries(leaf.public_bytes(Encoding.DER), sha256(spki).digest(), log_list)
        assert len(found.entries) + len(found.skipped) == row["embedded_scts"], row["leaf"]
        assert {item.reason for item in found.skipped} <= {"its log is not in the list"}, row["leaf"]
        for entry in found.entries:
            assert (leaf_index(entry.sct) is not None) is (entry.log.kind is LogKind.STATIC_CT)
            kinds.add(entry.log.kind)
    assert kinds == set(LogKind)


def pem(path):
    return x509.load_pem_x509_certificate(path.read_bytes())
