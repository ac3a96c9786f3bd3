"""The exported judgement: everything is in it, it judges alike elsewhere, and whatever was changed is noticed."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stubresolver.ct import CTPolicy, LogList
from stubresolver.errors import BadInput
from stubresolver.exported import FORMAT, Exported, encode_verdict
from stubresolver.lab.rogues import GALLERY
from stubresolver.lab.world import NAME, World
from stubresolver.verify import (
    NOTHING_REMEMBERED,
    ClockFloor,
    Policy,
    Presented,
    Remembered,
    Rule,
    TlsFacts,
    Verifier,
    WhenStale,
    Whose,
)

ROOT = Path(__file__).resolve().parents[1]
NOW = datetime(2026, 11, 2, 12, 0, 0, 123456, tzinfo=UTC)
UPSTREAM = "tls://127.0.0.1#dns.lab"
TLS = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384", "X25519MLKEM768", "dot", openssl_error=None)


@cache
def world():
    return World(NOW)


@cache
def log_list():
    """The world's list as a reader of its octets has it: what the lab denies on top is not in them."""
    return LogList.parse(world().log_list_json)


@cache
def chains():
    """The honest chain, those of the gallery, and what is no chain."""
    shown = [world().issue().chain, *(rogue.make(world()).chain for rogue in GALLERY)]
    return (*shown, (), (b"",), (b"junk" * 50, shown[0][0]))


def export(presented, policy=None, listed=None, at=NOW, remembered=NOTHING_REMEMBERED):
    """A judgement as the store exports it."""
    policy = policy or world().policy
    verdict = Verifier(policy, listed).judge(presented, at, remembered)
    octets = None if listed is None else listed.octets
    return Exported(UPSTREAM, presented, encode_verdict(verdict), verdict.at, policy.snapshot(), octets)


@cache
def honest():
    presented = Presented(ip_address("127.0.0.1"), NAME, world().issue().chain, TLS, b"a staple")
    return export(presented, listed=log_list())


text = st.text(st.characters(codec="utf-8"), max_size=20)
presented_values = st.builds(
    Presented,
    address=st.sampled_from([None, ip_address("127.0.0.1"), ip_address("::1"), ip_address("192.0.2.1")]),
    name=st.none() | st.just(NAME) | text,
    chain=st.integers(0, 40).map(lambda number: chains()[number % len(chains())]),
    tls=st.none()
    | st.builds(
        TlsFacts,
        version=st.sampled_from(["TLSv1.2", "TLSv1.3", ""]),
        cipher=text,
        group=st.none() | text,
        alpn=st.none() | text,
        openssl_error=st.none() | text,
    ),
    staple=st.none() | st.binary(max_size=50),
)
moments = st.integers(-500, 500).map(lambda days: NOW + timedelta(days=days, microseconds=days))
remembered_values = st.builds(
    Remembered, floor=st.none() | st.builds(ClockFloor, moments, st.sampled_from(Whose)), passed=st.none() | moments
)
exports = st.builds(
    lambda presented, remembered, when_stale, tls, days, microseconds: export(
        presented,
        replace(world().policy, minimum_tls=tls, ct=when_stale and CTPolicy(when_stale=when_stale)),
        log_list() if when_stale else None,
        NOW + timedelta(days=days, microseconds=microseconds),
        remembered,
    ),
    presented_values,
    remembered_values,
    st.none() | st.sampled_from(WhenStale),
    st.sampled_from(["TLSv1.2", "TLSv1.3"]),
    st.integers(-400, 400),
    st.integers(0, 10**6),
)


@settings(max_examples=150, deadline=None)
@given(exports)
def test_what_is_written_is_read_and_judged_alike(exported):
    """Any judgement of any chain: written, read and judged again it is the same, octet for octet."""
    again = Exported.read(exported.write())
    assert again == exported
    assert again.write() == exported.write()
    assert encode_verdict(again.judge()) == exported.verdict
    assert again.remembered == exported.remembered
    assert again.reproduces


def test_another_process_elsewhere_judges_alike(tmp_path):
    """Another folder, another hash seed, another time zone: the verdicts of the whole gallery, octet for octet."""
    shown = [Presented(ip_address("127.0.0.1"), NAME, chain, TLS) for chain in chains()]
    files = [export(presented, listed=log_list()) for presented in shown]
    for number, exported in enumerate(files):
        (tmp_path / f"{number:02}.json").write_bytes(exported.write())
    script = (
        "import pathlib, sys\n"
        "from stubresolver.exported import Exported, encode_verdict\n"
        "for path in sorted(pathlib.Path().glob('*.json')):\n"
        "    sys.stdout.buffer.write(encode_verdict(Exported.read(path.read_bytes()).judge()) + b'\\n')\n"
    )
    for seed, zone in (("1", "Asia/Kathmandu"), ("4242", "America/St_Johns")):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed, "TZ": zone}
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, check=False, timeout=60
        )
        assert done.stderr == b""
        assert done.stdout.split(b"\n")[:-1] == [exported.verdict for exported in files]


def test_the_file_is_for_people_too():
    """JSON with the chain in PEM, the verdict as `check --json` has it, and the policy; it ends with a newline."""
    octets = honest().write()
    document = json.loads(octets)
    assert document["format"] == FORMAT
    assert document["upstream"] == UPSTREAM
    assert document["at"] == "2026-11-02T12:00:00.123456Z"
    assert [pem.split("\n")[0] for pem in document["presented"]["chain"]] == ["-----BEGIN CERTIFICATE-----"] * 2
    assert document["verdict"] == honest().judge().to_jsonable()
    assert document["policy"]["minimum_tls"] == "TLSv1.3"
    assert octets.endswith(b"\n}\n")


PARTS = ("upstream", "presented", "at", "verdict", "policy", "log_list")


def changes(value):
    """Every value that differs from a JSON value in one place, roughly: a part changed, added or taken away."""
    if isinstance(value, dict):
        for key in value:
            yield {other: value[other] for other in value if other != key}
            for changed in changes(value[key]):
                yield {**value, key: changed}
        yield {**value, "more": 1}
    elif isinstance(value, list):
        for index in range(min(3, len(value))):
            yield [*value[:index], *value[index + 1 :]]
            for changed in changes(value[index]):
                yield [*value[:index], changed, *value[index + 1 :]]
        yield [*value, None]
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield value + 1
    elif value is None:
        yield ""
    else:
        yield None
        if value:
            yield value[:-1]
            yield value[: len(value) // 2] + chr(ord(value[len(value) // 2]) ^ 1) + value[len(value) // 2 + 1 :]


@pytest.mark.parametrize("part", [*PARTS, "format", "sha256"])
def test_a_changed_part_is_noticed_and_named(part):
    """Chain, policy, list, time, staple, verdict, the digests themselves: any change of any of them is bad input."""
    document = json.loads(honest().write())
    count = 0
    for changed in changes(document[part]):
        with pytest.raises(BadInput) as caught:
            Exported.read(json.dumps({**document, part: changed}).encode())
        if part in PARTS:
            assert f"'{part}' does not match its digest" in str(caught.value)
        count += 1
    assert count >= 3
    with pytest.raises(BadInput):
        Exported.read(json.dumps({key: value for key, value in document.items() if key != part}).encode())


@pytest.mark.parametrize("part", PARTS)
def test_a_changed_part_with_its_digest_does_not_pass_for_the_same(part):
    """Who writes the digest anew makes another file: broken, contradicting itself, or another judgement altogether."""
    document = json.loads(honest().write())
    for changed in changes(document[part]):
        digest = sha256(msgspec.json.encode(changed, order="sorted")).hexdigest()
        forged = {**document, part: changed, "sha256": {**document["sha256"], part: digest}}
        try:
            found = Exported.read(json.dumps(forged).encode())
        except BadInput:
            continue
        assert found != honest()
        try:
            reproduces = found.reproduces
        except BadInput:
            continue
        # what is judged and found there stands in the verdict; the rest (a name, a cipher) is not judged
        judged = part in {"verdict", "at"} or found.presented.chain != honest().presented.chain
        assert not (judged and reproduces), changed


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_flipped_octet_is_noticed(data):
    """One octet of the file changed: bad input, unless JSON means the same by it."""
    octets = bytearray(honest().write())
    octets[data.draw(st.integers(0, len(octets) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with suppress(BadInput):
        assert Exported.read(bytes(octets)) == honest()


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=200) | st.recursive(st.none() | st.integers() | text, st.lists).map(json.dumps).map(str.encode)
)
def test_any_octets_are_bad_input(octets):
    """Whatever the file is, the error is ours."""
    with pytest.raises(BadInput):
        Exported.read(octets)


@pytest.mark.parametrize(
    "octets",
    [b"[" * 100_000, b'{"format":1e999}', b"9" * 5000, b'"\\udc80"', b"{}", b'{"format":"stubresolver-evidence-1"}'],
)
def test_odd_json_is_bad_input(octets):
    """Deep, huge, of half a character, empty."""
    with pytest.raises(BadInput):
        Exported.read(octets)


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-05:00", "2026-11-02T13:00:00+01:00"])
def test_a_time_that_is_not_written_in_utc_is_bad_input(at):
    """Of two of these UTC has none, and whoever judged at them would fail; all of their digests are right."""
    document = json.loads(honest().write())
    document = {**document, "at": at, "verdict": {**document["verdict"], "at": at}}
    for part in ("at", "verdict"):
        document["sha256"][part] = sha256(msgspec.json.encode(document[part], order="sorted")).hexdigest()
    with pytest.raises(BadInput):
        Exported.read(json.dumps(document).encode())


@pytest.mark.parametrize(
    ("part", "changed", "problem"),
    [
        ("policy", lambda value: {**value, "minimum_tls": "TLSv1.2"}, "by another policy"),
        ("policy", lambda value: {**value, "minimum_tls": "SSLv3"}, "not a snapshot of a policy"),
        ("log_list", lambda value: value[:-8], "by another log list"),
        ("log_list", lambda _: None, "by another log list"),
        ("log_list", lambda _: "*", "not an exported judgement"),
        ("at", lambda _: "2026-11-02T12:00:00Z", "its verdict is of"),
        ("at", lambda _: "2026-11-02T12:00:00.123456", "names no time zone"),
        ("at", lambda _: "yesterday", "not an exported judgement"),
        ("verdict", lambda value: {**value, "at": "2026-11-02T12:00:00.123456"}, "its verdict is of"),
        ("verdict", lambda value: {**value, "at": "noon"}, "holds no verdict"),
        ("verdict", lambda value: {"allowed": value["allowed"]}, "holds no verdict"),
        ("verdict", lambda value: {**value, "remembered": None}, "holds no verdict"),
        ("verdict", lambda value: {**value, "remembered": {"floor": {"moment": "2026-11-02T12:00:00Z"}}}, "no verdict"),
        ("verdict", lambda value: {**value, "remembered": {"passed": "2026-11-02T12:00:00"}}, "names no time zone"),
        ("presented", lambda value: {**value, "address": "nowhere"}, "not an exported judgement"),
        ("presented", lambda value: {**value, "chain": ["no PEM"]}, "each certificate of the chain in PEM"),
        ("presented", lambda value: {**value, "chain": [value["chain"][0] + "more"]}, "in PEM"),
        ("presented", lambda value: {**value, "chain": [value["chain"][0].replace("\nM", "\n\nM", 1)]}, "in the form"),
        ("presented", lambda value: {**value, "tls": {**value["tls"], "more": 1}}, "not in the form"),
    ],
)
def test_what_contradicts_itself_is_said(part, changed, problem):
    """Each kind of file that fits its digests and still is no judgement has its own words."""
    document = json.loads(honest().write())
    document[part] = changed(document[part])
    document["sha256"][part] = sha256(msgspec.json.encode(document[part], order="sorted")).hexdigest()
    with pytest.raises(BadInput, match=problem):
        Exported.read(json.dumps(document).encode())


def test_it_is_judged_by_other_demands_where_they_are_given():
    """Another time, policy or list in the place of its own: the rest stays."""
    exported = honest()
    late = exported.judge(now=NOW + timedelta(days=365))
    assert (late.at, late.allowed, late.policy) == (NOW + timedelta(days=365), False, world().policy.digest)
    policy = replace(world().policy, ct=None)
    assert exported.judge(policy=policy).policy == policy.digest
    other = LogList.parse(world().log_list_json.replace(b"Alder 1", b"Alder X"))
    assert exported.judge(log_list=other).log_list.digest == other.digest
    assert exported.reproduces


def test_a_changed_verdict_does_not_reproduce():
    """A file that was made to say something else is read, and judging it again tells."""
    forged = replace(honest(), verdict=honest().verdict.replace(b'"allowed":true', b'"allowed":false'))
    assert forged.verdict != honest().verdict
    assert not Exported.read(forged.write()).reproduces


def test_what_cannot_be_judged_again_is_bad_input():
    """A list that does not load, or none where CT is demanded now: said as such."""
    without = export(honest().presented, replace(world().policy, ct=None))
    assert without.reproduces
    with pytest.raises(BadInput, match="needs a log list"):
        without.judge(policy=world().policy)
    with pytest.raises(BadInput, match="not a log list"):
        replace(honest(), log_list=b"{}").judge()
    with pytest.raises(BadInput, match="not a snapshot"):
        replace(honest(), policy=Policy((b"junk",)).snapshot()[:-1]).judge()
    with pytest.raises(BadInput, match="cannot be judged again"):
        replace(honest(), policy=Policy((b"junk",)).snapshot()).judge()


STALE = NOW + timedelta(days=80)  # the world's certificates live on


def test_what_was_remembered_is_judged_with_again():
    """A known leaf under a stale list: allowed by what is in the file, refused without it."""
    exported = export(honest().presented, listed=log_list(), at=STALE, remembered=Remembered(passed=NOW))
    again = Exported.read(exported.write())
    assert again.judge().allowed
    assert json.loads(exported.write())["verdict"]["remembered"] == {
        "floor": None,
        "passed": "2026-11-02T12:00:00.123456Z",
    }
    forgotten = exported.verdict.replace(b'"passed":"2026-11-02T12:00:00.123456Z"', b'"passed":null')
    assert not Exported.read(replace(exported, verdict=forgotten).write()).reproduces


def test_a_wrong_clock_is_repeated_as_one():
    """The floor of then goes in again; at another time it is held against that one."""
    floor = Remembered(ClockFloor(STALE, Whose.EVIDENCE))
    exported = Exported.read(export(honest().presented, listed=log_list(), remembered=floor).write())
    assert [finding.rule for finding in exported.judge().findings] == [Rule.CLOCK_FLOOR]
    assert exported.reproduces
    assert Rule.PATH_VALID in {finding.rule for finding in exported.judge(now=STALE).findings}


# Exported by version 0.1.0 before verdicts named their proof, and the age of a list decided anything.
BEFORE = (ROOT / "tests/exported_before_proof.json").read_bytes()


def test_an_export_of_before_reads_and_reproduces():
    """In the form that it has: it named no proof and remembered nothing."""
    exported = Exported.read(BEFORE)
    assert exported.write() == BEFORE
    assert exported.remembered == NOTHING_REMEMBERED
    assert exported.judge().allowed
    assert exported.reproduces


def test_a_form_of_before_is_no_way_to_leave_one_thing_out():
    """A verdict has both of the later parts, or neither."""
    kept = json.loads(honest().verdict)
    for name in ("proof", "remembered"):
        less = msgspec.json.encode({key: value for key, value in kept.items() if key != name}, order="sorted")
        assert not replace(honest(), verdict=less).reproduces
