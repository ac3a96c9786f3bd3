"""The whole judgement: pure, total, the same each time, and never better for having less."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from stubresolver.ct import CTPolicy, SctStatus
from stubresolver.lab.authority import octet_string
from stubresolver.lab.logs import milliseconds, sct_list
from stubresolver.lab.rogues import GALLERY
from stubresolver.verify import NOTHING_REMEMBERED, Outcome, Policy, Presented, Proof, Rule, Verifier

ROOT = Path(__file__).resolve().parents[2]
DAY = timedelta(days=1)


def failed(verdict):
    return {finding.rule for finding in verdict.failures}


def outcomes(verdict, rule):
    return [finding.outcome for finding in verdict.findings if finding.rule is rule]


def stamped(world, make):
    """A chain whose SCT list `make(sign)` writes; `sign(log, **changes)` is that log's SCT of yesterday."""

    def stamp(issuer_key_hash, tbs):
        def sign(log, **changes):
            return log.sign(issuer_key_hash, tbs, milliseconds(world.now - DAY), **changes)

        return octet_string(sct_list(make(sign)))

    return world.issue(stamp).chain


def test_an_honest_upstream_is_allowed(verifier, world, presented, now):
    """Every demand has passed once, and path, SCTs and the kind of proof are told; nothing was remembered."""
    verdict = verifier.judge(presented, now)
    assert verdict.allowed
    noted = {Rule.TLS_GROUP, Rule.REVOCATION_STAPLE}
    assert verdict.demanded == set(Rule) - noted - {Rule.ISSUER_PINS, Rule.CLOCK_FLOOR}
    assert {finding.rule: finding.outcome for finding in verdict.findings} == {
        **dict.fromkeys(verdict.demanded, Outcome.PASS),
        **dict.fromkeys(noted, Outcome.NOTE),
    }
    assert [(sct.log, sct.operator, sct.status) for sct in verdict.scts] == [
        ("Alder 1", "Alder", SctStatus.VALID), ("Birch 1", "Birch", SctStatus.VALID),
    ]  # fmt: skip
    assert [sct.timestamp for sct in verdict.scts] == ["2026-11-01T12:00:00.000Z"] * 2
    assert len(verdict.path) == 3
    assert verdict.summary == "2 valid SCTs (Alder, Birch)"
    assert verdict.log_list.digest == world.log_list.digest
    assert verdict.policy == world.policy.digest
    assert (verdict.proof, verdict.remembered) == (Proof.SCT, NOTHING_REMEMBERED)


@pytest.mark.parametrize("rogue", GALLERY, ids=lambda rogue: rogue.code)
def test_each_rogue_is_refused_by_exactly_its_rules(verifier, world, tls, now, rogue):
    """The gallery of the lab, judged without a network; OpenSSL's own opinion is left out here."""
    shown = Presented(ip_address("127.0.0.1"), "dns.lab", rogue.make(world).chain, tls)
    verdict = verifier.judge(shown, now)
    assert not verdict.allowed
    assert failed(verdict) == rogue.expected - {Rule.PATH_SECOND_LOCK}


@pytest.mark.parametrize(
    ("version", "minimum", "allowed"),
    [
        ("TLSv1.3", "TLSv1.3", True),
        ("TLSv1.3", "TLSv1.2", True),
        ("TLSv1.2", "TLSv1.2", True),
        ("TLSv1.2", "TLSv1.3", False),
        ("TLSv1.1", "TLSv1.2", False),
        ("SSLv3", "TLSv1.2", False),
        ("TLSv1.4", "TLSv1.3", False),  # nobody knows what that is
        ("", "TLSv1.2", False),
    ],
)
def test_the_handshake_must_reach_the_minimum_version(world, presented, version, minimum, allowed):
    """Known versions are ordered; an unknown one is below every minimum."""
    verifier = Verifier(replace(world.policy, minimum_tls=minimum), world.log_list)
    verdict = verifier.judge(replace(presented, tls=replace(presented.tls, version=version)), world.now)
    assert verdict.allowed is allowed
    assert failed(verdict) == (set() if allowed else {Rule.TLS_VERSION})


def test_openssls_objection_refuses(verifier, presented, now):
    """The second lock: what OpenSSL found wrong refuses even where our own verifier found nothing."""
    tls = replace(presented.tls, openssl_error="certificate has \x1b[31mexpired")
    verdict = verifier.judge(replace(presented, tls=tls), now)
    assert failed(verdict) == {Rule.PATH_SECOND_LOCK}
    assert verdict.summary == r"path.second-lock: certificate has \x1b[31mexpired"


def test_a_chain_from_a_file_is_judged_without_a_handshake(verifier, presented, now):
    """Offline the TLS rules are noted as not judged, and not demanded."""
    verdict = verifier.judge(replace(presented, tls=None), now)
    assert verdict.allowed
    assert outcomes(verdict, Rule.TLS_VERSION) == [Outcome.NOTE]
    assert outcomes(verdict, Rule.PATH_SECOND_LOCK) == []
    assert not verdict.demanded & {Rule.TLS_VERSION, Rule.PATH_SECOND_LOCK}


def test_a_verifier_without_a_list_cannot_demand_ct(world):
    """No list is no CT, and that is an error, not a pass."""
    with pytest.raises(ValueError, match="log list"):
        Verifier(world.policy)


def test_an_anchor_that_cannot_be_read_is_an_error():
    """A trust store that is half read is not used."""
    with pytest.raises(ValueError, match="error parsing"):
        Verifier(Policy(anchors=(b"junk",)))


def test_an_unknown_sct_version_neither_crashes_nor_counts(verifier, world, presented, now):
    """RFC 6962 s3.3: it is skipped and the others count, though the library cannot read such a certificate's list."""
    odd = stamped(world, lambda sign: [sign(world.cedar1, version=9), sign(world.alder1), sign(world.birch1)])
    with pytest.raises(ValueError, match="version"):
        _ = x509.load_der_x509_certificate(odd[0]).extensions
    verdict = verifier.judge(replace(presented, chain=odd), now)
    assert verdict.allowed
    assert [sct.status for sct in verdict.scts] == ["UNSUPPORTED_VERSION", "VALID", "VALID"]
    alone = stamped(world, lambda sign: [sign(world.alder1), sign(world.birch1, version=1)])
    assert failed(verifier.judge(replace(presented, chain=alone), now)) == {Rule.CT_SCTS, Rule.CT_OPERATORS}


def test_junk_beside_good_scts_neither_helps_nor_hurts(verifier, world, presented, now):
    """Octets that are no SCT have their status; what is good beside them counts (RFC 6962 s3.3)."""
    chain = stamped(world, lambda sign: [b"\0", sign(world.alder1)[:-1], sign(world.alder1), sign(world.birch1)])
    verdict = verifier.judge(replace(presented, chain=chain), now)
    assert verdict.allowed
    assert [sct.status for sct in verdict.scts] == ["MALFORMED", "MALFORMED", "VALID", "VALID"]
    assert [(sct.log_id, sct.timestamp) for sct in verdict.scts[:2]] == [("", "")] * 2


@pytest.mark.parametrize(("size", "allowed"), [(32, True), (33, False), (3000, False)])
def test_only_so_many_scts_are_looked_at(verifier, world, presented, size, allowed):
    """Each SCT costs a signature check that the peer pays nothing for: beyond 32 the list is refused unread."""
    chain = stamped(world, lambda sign: [sign(world.alder1), sign(world.birch1), *[b"\1" * 10] * (size - 2)])
    verdict = verifier.judge(replace(presented, chain=chain), world.now)
    assert verdict.allowed is allowed
    assert len(verdict.scts) == (size if allowed else 0)
    if not allowed:
        assert f"{size} embedded SCTs, at most 32" in verdict.summary


BAD_VALUES = {
    "empty": b"",
    "not an OCTET STRING": sct_list([bytes(47)]),
    "length lies": octet_string(b"\xff\xff" + bytes(40)),
    "empty list": octet_string(b"\0\0"),
    "empty SCT": octet_string(sct_list([b""])),
    "trailing octets": octet_string(sct_list([bytes(47)]) + b"\0"),
}


@pytest.mark.parametrize("value", BAD_VALUES.values(), ids=BAD_VALUES)
def test_a_malformed_list_is_refused_as_a_whole(verifier, world, presented, now, value):
    """A list that cannot be read counts as nothing and says so."""
    chain = world.issue(lambda _hash, _tbs: value).chain
    verdict = verifier.judge(replace(presented, chain=chain), now)
    assert failed(verdict) == {Rule.CT_SCT_LIST, Rule.CT_SCTS, Rule.CT_OPERATORS, Rule.CT_CURRENT}
    assert "malformed SCT list" in verdict.summary
    assert verdict.scts == ()


def test_scts_are_still_told_where_the_path_is_refused(verifier, world, presented, now):
    """Evidence wants the whole picture: an unknown root's SCTs are checked against the issuer that it showed."""
    foreign = replace(presented, chain=world.issue(authority=world.stranger).chain)
    verdict = verifier.judge(foreign, now)
    assert failed(verdict) == {Rule.PATH_VALID}
    assert [sct.status for sct in verdict.scts] == ["VALID", "VALID"]
    alone = verifier.judge(replace(foreign, chain=foreign.chain[:1]), now)
    assert Rule.CT_SCT_LIST in failed(alone)
    assert "was not presented" in str([finding.detail for finding in alone.failures])


def test_the_same_input_gives_the_same_json_in_any_process(verifier, world, presented, now, tmp_path):
    """Twice here and under three hash seeds elsewhere: the same octets, for an allowed and a refused chain."""
    rogue = replace(presented, chain=stamped(world, lambda sign: [sign(world.alder2), b"\2", sign(world.driftwood)]))
    script = (
        "import json, pathlib, sys, datetime, ipaddress\n"
        "from stubresolver.ct import CTPolicy, LogList\n"
        "from stubresolver.verify import *\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "anchors = tuple(path.read_bytes() for path in sorted(folder.glob('anchor*')))\n"
        "keys = json.loads((folder / 'keys').read_bytes())\n"
        "allowed = {bytes.fromhex(key): name for key, name in keys['allowed'].items()}\n"
        "denied = tuple(Denied(why, spki_sha256=bytes.fromhex(key)) for key, why in keys['denied'].items())\n"
        "policy = Policy(anchors, IssuerPolicy(allowed, denied), CTPolicy())\n"
        "verifier = Verifier(policy, LogList.parse((folder / 'list').read_bytes()))\n"
        "for chain in ('good', 'rogue'):\n"
        "    ders = tuple(path.read_bytes() for path in sorted(folder.glob(chain + '*')))\n"
        "    tls = TlsFacts('TLSv1.3', 'TLS_AES_256_GCM_SHA384', 'X25519MLKEM768', 'dot', None)\n"
        "    shown = Presented(ipaddress.ip_address('127.0.0.1'), 'dns.lab', ders, tls)\n"
        "    at = datetime.datetime.fromisoformat(sys.argv[2])\n"
        "    print(json.dumps(verifier.judge(shown, at).to_jsonable()))\n"
    )
    (tmp_path / "list").write_bytes(world.log_list_json)
    issuers = world.policy.issuers
    keys = {
        "allowed": {key.hex(): name for key, name in issuers.allowed.items()},
        "denied": {entry.spki_sha256.hex(): entry.reason for entry in issuers.denied},
    }
    (tmp_path / "keys").write_text(json.dumps(keys))
    for prefix, ders in (("anchor", world.policy.anchors), ("good", presented.chain), ("rogue", rogue.chain)):
        for number, der in enumerate(ders):
            (tmp_path / f"{prefix}{number}").write_bytes(der)
    expected = [[json.dumps(verifier.judge(each, now).to_jsonable()) for each in (presented, rogue)] for _ in range(2)]
    for seed in ("0", "1", "4242"):
        run = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path), now.isoformat()],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        expected.append(run.stdout.splitlines())
    assert [json.loads(line)["allowed"] for line in expected[0]] == [True, False]
    assert all(each == expected[0] for each in expected)


LOGS = ("alder1", "alder2", "birch1", "cedar1", "driftwood")
SETS = st.lists(st.tuples(st.sampled_from(LOGS), st.sampled_from([-40, -20, -1, 1])), max_size=5)


def shown_with(world, presented, signed):
    """The honest certificate with these SCTs instead."""

    def stamp(issuer_key_hash, tbs):
        scts = [
            getattr(world, log).sign(issuer_key_hash, tbs, milliseconds(world.now + timedelta(days=day)))
            for log, day in signed
        ]
        return octet_string(sct_list(scts)) if scts else None

    return replace(presented, chain=world.issue(stamp, starts=-50 * DAY).chain)


@settings(max_examples=60)
@given(SETS, st.randoms(use_true_random=False))
def test_the_order_of_scts_does_not_matter(verifier, world, presented, signed, random):
    """The same SCTs in another order have the same outcomes."""
    shuffled = list(signed)
    random.shuffle(shuffled)
    first, second = (verifier.judge(shown_with(world, presented, each), world.now) for each in (signed, shuffled))
    assert [(f.rule, f.outcome) for f in first.findings] == [(f.rule, f.outcome) for f in second.findings]
    assert sorted((s.log_id, s.status) for s in first.scts) == sorted((s.log_id, s.status) for s in second.scts)


@settings(max_examples=60)
@given(SETS)
def test_less_never_turns_refused_into_allowed(verifier, world, presented, now, signed):
    """Not one SCT fewer, not one log of the list fewer."""
    shown = shown_with(world, presented, signed)
    if verifier.judge(shown, now).allowed:
        return
    for index in range(len(signed)):
        fewer = shown_with(world, presented, signed[:index] + signed[index + 1 :])
        assert not verifier.judge(fewer, now).allowed
    for log_id in world.log_list.logs:
        logs = {key: log for key, log in world.log_list.logs.items() if key != log_id}
        assert not Verifier(world.policy, replace(world.log_list, logs=logs)).judge(shown, now).allowed


@settings(max_examples=60)
@given(SETS, st.integers(0, 5))
def test_an_sct_of_an_unknown_log_changes_nothing(verifier, world, presented, signed, place):
    """Beside others it has no weight; alone it makes a list where there was none, which is not enough either."""
    more = [*signed[:place], ("driftwood", -1), *signed[place:]]
    before, after = (verifier.judge(shown_with(world, presented, each), world.now) for each in (signed, more))
    assert before.allowed is after.allowed
    assert failed(before) - {Rule.CT_SCT_LIST} == failed(after)


@settings(max_examples=100)
@given(st.binary(max_size=120))
def test_any_value_of_the_sct_extension_is_refused(verifier, world, presented, now, value):
    """A CA that we trust may write what it likes there: a refusal, never an exception and never a pass."""
    for written in (
        value,
        octet_string(value),
        octet_string(sct_list([value])),
        octet_string(sct_list([b"\0" + value])),
    ):
        shown = replace(presented, chain=world.issue(lambda _hash, _tbs, written=written: written).chain)
        verdict = verifier.judge(shown, now)
        assert not verdict.allowed
        assert Rule.CT_SCTS in failed(verdict)


def test_a_stricter_policy_is_met_or_refuses(world, presented, now):
    """Numbers beyond Chrome's are demanded as they stand."""
    chain = stamped(world, lambda sign: [sign(world.alder1), sign(world.alder2), sign(world.birch1)])
    for ct, expected in (
        (CTPolicy(minimum_scts=3), set()),
        (CTPolicy(minimum_scts=4), {Rule.CT_SCTS}),
        (CTPolicy(minimum_operators=3), {Rule.CT_OPERATORS}),
        (CTPolicy(minimum_current=4), {Rule.CT_CURRENT}),
        (CTPolicy(minimum_scts_long=4, long_lifetime=30 * DAY), {Rule.CT_SCTS}),
    ):
        verifier = Verifier(replace(world.policy, ct=ct), world.log_list)
        assert failed(verifier.judge(replace(presented, chain=chain), now)) == expected
