"""A policy written down whole: it reads back as the same policy, and nothing else reads."""

import base64
import json
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.ct import CTPolicy
from stubresolver.errors import BadInput
from stubresolver.verify import Denied, IssuerPolicy, Mode, PinPolicy, Policy, Revocation, Verifier, WhenStale

HASH = st.binary(min_size=32, max_size=32)
NAMES = st.dictionaries(HASH, st.text(min_size=1, max_size=8), min_size=1, max_size=4)
DENIED = st.one_of(
    st.builds(Denied, st.text(max_size=8), spki_sha256=HASH),
    st.builds(Denied, st.text(max_size=8), certificate_sha256=HASH),
    st.builds(Denied, st.text(max_size=8), issuer_spki_sha256=HASH, serial=st.integers(0, 2**160 - 1)),
)
COUNT, SPAN = st.integers(1, 16), st.timedeltas(timedelta(0), timedelta(days=400))
POLICIES = st.builds(
    Policy,
    anchors=st.lists(st.binary(max_size=20), min_size=1, max_size=3).map(tuple),
    issuers=st.none() | st.builds(IssuerPolicy, st.none() | NAMES, st.lists(DENIED, max_size=3).map(tuple)),
    ct=st.none() | st.builds(CTPolicy, COUNT, COUNT, SPAN, COUNT, COUNT, SPAN, COUNT, st.sampled_from(WhenStale)),
    minimum_tls=st.sampled_from(["TLSv1.2", "TLSv1.3"]),
    address_required=st.booleans(),
    mode=st.sampled_from(Mode),
    pins=st.none()
    | st.builds(PinPolicy, st.dictionaries(HASH, st.text(max_size=8), min_size=2, max_size=4), st.booleans()),
    require_post_quantum=st.booleans(),
    revocation=st.sampled_from(Revocation),
)


@given(POLICIES)
def test_a_snapshot_reads_back_as_the_same_policy(policy):
    """Value, digest and octets."""
    octets = policy.snapshot()
    again = Policy.from_snapshot(octets)
    assert again == policy
    assert again.digest == policy.digest
    assert again.snapshot() == octets


@given(POLICIES, POLICIES)
def test_one_digest_is_one_set_of_demands(one, other):
    """Different demands never share a digest; the snapshot differs wherever the digest does."""
    assert one.digest == other.digest or one.snapshot() != other.snapshot()


def test_a_snapshot_judges_as_the_policy_did(world, presented, now):
    """Octet for octet in the verdict's JSON, with names and reasons."""
    again = Policy.from_snapshot(world.policy.snapshot())
    verdicts = [Verifier(policy, world.log_list).judge(presented, now) for policy in (world.policy, again)]
    assert json.dumps(verdicts[0].to_jsonable()) == json.dumps(verdicts[1].to_jsonable())


@given(st.binary(max_size=80) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=8,
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_any_octets_are_no_snapshot(octets):
    """A file from elsewhere is input: `BadInput` and nothing else."""
    with pytest.raises(BadInput, match="not a snapshot"):
        Policy.from_snapshot(octets)


BASE = Policy(
    anchors=(b"a",),
    issuers=IssuerPolicy({bytes(32): "x"}, (Denied("r", issuer_spki_sha256=bytes(32), serial=255),)),
    ct=CTPolicy(),
    pins=PinPolicy({bytes(32): "x", bytes(31) + b"\1": "y"}),
)
CHANGES = {
    "another version": lambda d: d | {"version": 2},
    "no version": lambda d: {key: value for key, value in d.items() if key != "version"},
    "a field more": lambda d: d | {"x": 1},
    "no anchors": lambda d: d | {"anchors": []},
    "not base64": lambda d: d | {"anchors": ["*"]},
    "loose base64": lambda d: d | {"anchors": ["YR=="]},
    "an unknown mode": lambda d: d | {"mode": "off"},
    "an unknown check": lambda d: d | {"revocation": "never"},
    "an old TLS": lambda d: d | {"minimum_tls": "TLSv1.1"},
    "no SCT": lambda d: d | {"ct": d["ct"] | {"minimum_scts": 0}},
    "an endless tolerance": lambda d: d | {"ct": d["ct"] | {"future_tolerance_us": 2**62}},
    "stale as it was before there was a word": lambda d: d | {"ct": d["ct"] | {"when_stale": "report"}},
    "an unknown word for stale": lambda d: d | {"ct": d["ct"] | {"when_stale": "open"}},
    "a kind of proof that nobody knows": lambda d: d | {"ct": d["ct"] | {"proof": "mtc"}},
    "one pin": lambda d: d | {"pins": d["pins"] | {"keys": {"00" * 32: "x"}}},
    "nobody allowed": lambda d: d | {"issuers": d["issuers"] | {"allowed": {}}},
    "hex of any case": lambda d: d | {"issuers": d["issuers"] | {"allowed": {"AB" * 32: "x"}}},
    "hex with a space": lambda d: d | {"issuers": d["issuers"] | {"allowed": {"ab " * 32: "x"}}},
    "not hex": lambda d: d | {"issuers": d["issuers"] | {"allowed": {"x": "x"}}},
    "denied in no way": lambda d: (
        d | {"issuers": d["issuers"] | {"denied": [dict.fromkeys(d["issuers"]["denied"][0]) | {"reason": "r"}]}}
    ),
    "a serial with zeros": lambda d: (
        d | {"issuers": d["issuers"] | {"denied": [d["issuers"]["denied"][0] | {"serial": "00ff"}]}}
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_snapshot_does_not_read(change):
    """Whatever cannot be or is not written so by the program itself."""
    document = change(json.loads(BASE.snapshot()))
    octets = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(BadInput, match="not a snapshot of a policy"):
        Policy.from_snapshot(octets)


def test_the_form_is_the_canonical_one():
    """Sorted keys, no spaces: the octets above are refused for what they say, not for how it is written."""
    octets = json.dumps(json.loads(BASE.snapshot()), sort_keys=True, separators=(",", ":")).encode()
    assert octets == BASE.snapshot()
    with pytest.raises(BadInput, match="not in the form"):
        Policy.from_snapshot(octets + b"\n")


def test_a_snapshot_holds_everything():
    """Anchors, names and reasons, to be read without this program."""
    document = json.loads(replace(BASE, mode=Mode.REPORT, anchors=(b"\0anchor",)).snapshot())
    assert base64.b64decode(document["anchors"][0]) == b"\0anchor"
    assert document["issuers"]["allowed"] == {"00" * 32: "x"}
    assert document["issuers"]["denied"][0]["reason"] == "r"
    assert document["issuers"]["denied"][0]["serial"] == "ff"
    assert document["mode"] == "report"


# Written by version 0.1.0 before the age of a log list decided anything, and the digest that it had then.
BEFORE = (
    b'{"address_required":true,"anchors":["YW4gYW5jaG9y"],"ct":{"future_tolerance_us":300000000,'
    b'"long_lifetime_us":15552000000000,"maximum_listed":32,"minimum_current":1,"minimum_operators":2,'
    b'"minimum_scts":2,"minimum_scts_long":3},"issuers":{"allowed":{"' + b"00" * 32 + b'":"A"},'
    b'"denied":[{"certificate_sha256":null,"issuer_spki_sha256":null,"reason":"why","serial":null,'
    b'"spki_sha256":"' + b"00" * 31 + b'01"}]},"minimum_tls":"TLSv1.3","mode":"enforce","pins":null,'
    b'"require_post_quantum":false,"revocation":"if-stapled","version":1}'
)


def test_a_snapshot_of_before_reads_and_means_what_it_meant():
    """A list's age was noted and nothing more: read so, with the same octets and the same digest."""
    policy = Policy.from_snapshot(BEFORE)
    assert policy.ct == CTPolicy(when_stale=WhenStale.REPORT)
    assert policy.snapshot() == BEFORE
    assert policy.digest == "d3e23d0057a44021675c1af85f0cc2c224ad49f46a1a8a4aa7631a39987bbd08"
