"""Lab logs: SCT octets, lists and the log list, judged by other code than that which wrote them."""

import base64
import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.lab.logs import LabLog, leaf_index, log_list_json, milliseconds, sct_list

ISSUER = bytes(range(32))
TBS = b"\x30\x03abc"
MOMENT = 1_793_620_800_123


def split(sct: bytes) -> tuple[int, bytes, int, bytes, tuple[int, int], bytes]:
    """An SCT taken apart by its fixed offsets."""
    size = int.from_bytes(sct[41:43])
    rest = sct[43 + size :]
    assert len(rest) == 4 + int.from_bytes(rest[2:4])
    return sct[0], sct[1:33], int.from_bytes(sct[33:41]), sct[43 : 43 + size], (rest[0], rest[1]), rest[4:]


def signed_octets(extensions: bytes) -> bytes:
    return b"".join(
        [
            bytes([0, 0]),
            MOMENT.to_bytes(8, "big"),
            bytes([0, 1]),
            ISSUER,
            bytes([0, 0, len(TBS)]),
            TBS,
            len(extensions).to_bytes(2, "big"),
            extensions,
        ]
    )


def test_log_id_is_the_hash_of_the_key():
    """RFC 6962 s3.2: the id is SHA-256 over the DER of the public key."""
    log = LabLog("Alder", "Alder 1")
    assert log.log_id == sha256(log.public_key).digest()
    assert isinstance(load_der_public_key(log.public_key), ec.EllipticCurvePublicKey)


def test_two_logs_differ():
    """Each log has a key of its own."""
    assert LabLog("Alder", "Alder 1").log_id != LabLog("Alder", "Alder 1").log_id


@pytest.mark.parametrize("kind", ["rfc6962", "static-ct"])
def test_sct_is_signed_with_its_extensions(kind):
    """The signature covers the structure of RFC 6962 s3.2, the extensions of the SCT among it."""
    log = LabLog("Alder", "Alder 1", kind)
    version, log_id, timestamp, extensions, algorithm, signature = split(log.sign(ISSUER, TBS, MOMENT))
    assert (version, log_id, timestamp, algorithm) == (0, log.log_id, MOMENT, (4, 3))
    assert (extensions == b"") == (kind == "rfc6962")
    log.key.public_key().verify(signature, signed_octets(extensions), ec.ECDSA(hashes.SHA256()))


@pytest.mark.parametrize("kind", ["rfc6962", "static-ct"])
def test_extensions_are_as_given(kind):
    """A caller's extensions stand in the SCT in place of the usual ones, and are signed."""
    log = LabLog("Alder", "Alder 1", kind)
    _, _, _, extensions, _, signature = split(log.sign(ISSUER, TBS, MOMENT, extensions=b"\x07\x00\x00"))
    assert extensions == b"\x07\x00\x00"
    log.key.public_key().verify(signature, signed_octets(extensions), ec.ECDSA(hashes.SHA256()))


def test_rsa_log_signs_with_pkcs1():
    """RFC 6962 s2.1.4 allows RSA; the algorithm octets say sha256, rsa."""
    key = rsa.generate_private_key(65537, 2048)
    *_, algorithm, signature = split(LabLog("Alder", "Alder RSA", key=key).sign(ISSUER, TBS, MOMENT))
    assert algorithm == (4, 1)
    key.public_key().verify(signature, signed_octets(b""), padding.PKCS1v15(), hashes.SHA256())


def test_forged_sct_does_not_verify():
    """An SCT made with another signer names the log but is not signed by it."""
    log, other = LabLog("Alder", "Alder 1"), LabLog("Birch", "Birch 1")
    _, log_id, _, extensions, _, signature = split(log.sign(ISSUER, TBS, MOMENT, signer=other.key))
    assert log_id == log.log_id
    with pytest.raises(InvalidSignature):
        log.key.public_key().verify(signature, signed_octets(extensions), ec.ECDSA(hashes.SHA256()))


def test_version_is_written_as_given():
    """An SCT of a version that nobody defined bears that version in its first octet."""
    assert LabLog("Alder", "Alder 1").sign(ISSUER, TBS, MOMENT, version=9)[0] == 9


def test_leaf_index_is_five_octets():
    """c2sp static-ct: one extension of type 0 holding a 40-bit index."""
    assert leaf_index(0x0102030405) == bytes.fromhex("00 0005 0102030405")


@given(st.lists(st.binary(min_size=1, max_size=200), max_size=20))
def test_sct_list_frames_each_sct(scts):
    """RFC 6962 s3.3: a length of two octets before the list and before each SCT."""
    octets = sct_list(scts)
    assert int.from_bytes(octets[:2], "big") == len(octets) - 2
    found, rest = [], octets[2:]
    while rest:
        size = int.from_bytes(rest[:2], "big")
        found.append(rest[2 : 2 + size])
        rest = rest[2 + size :]
    assert found == scts


@given(st.integers(0, 4_102_444_800_000_000))
def test_milliseconds_are_exact(microseconds):
    """The time of an SCT is whole milliseconds since 1970, cut and not rounded."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    assert milliseconds(moment) == microseconds // 1000


def test_log_list_has_the_schema_of_version_3(now):
    """Each log stands under its operator, in the list of its kind, with the keys that the schema names."""
    interval = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    classic = LabLog("Alder", "Alder 1", interval=interval, previous_operators=(("Elm", interval[0]),))
    tiled = LabLog("Alder", "Alder 2", "static-ct", "retired", interval[0])
    frozen = LabLog("Birch", "Birch 1", state="readonly")
    document = json.loads(log_list_json([classic, frozen, tiled], now=now))
    assert (document["version"], document["log_list_timestamp"]) == ("lab.1", "2026-11-02T12:00:00Z")
    alder, birch = document["operators"]
    assert (alder["name"], alder["email"], birch["name"]) == ("Alder", ["ct@alder.lab"], "Birch")
    assert alder["logs"] == [
        {
            "description": "Alder 1",
            "log_id": base64.b64encode(sha256(classic.public_key).digest()).decode(),
            "key": base64.b64encode(classic.public_key).decode(),
            "url": "https://alder-1.lab/",
            "mmd": 86400,
            "state": {"usable": {"timestamp": "2020-01-01T00:00:00Z"}},
            "temporal_interval": {"start_inclusive": "2026-01-01T00:00:00Z", "end_exclusive": "2027-01-01T00:00:00Z"},
            "previous_operators": [{"name": "Elm", "end_time": "2026-01-01T00:00:00Z"}],
        }
    ]
    assert alder["tiled_logs"][0]["state"] == {"retired": {"timestamp": "2026-01-01T00:00:00Z"}}
    assert {"submission_url", "monitoring_url"} <= alder["tiled_logs"][0].keys()
    assert birch["tiled_logs"] == []
    assert birch["logs"][0]["state"]["readonly"]["final_tree_head"]["tree_size"] == 0
