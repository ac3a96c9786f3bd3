"""The policy file: defaults stand once, a file of one's own changes what it names, and broken files say where."""

import tomllib
from datetime import timedelta
from hashlib import sha256
from importlib import resources
from pathlib import Path

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.ct import CTPolicy
from stubresolver.ct.der import subject_public_key_info
from stubresolver.errors import ConfigError
from stubresolver.verify import (
    Denied,
    IssuerPolicy,
    Mode,
    PinPolicy,
    Policy,
    Proof,
    Revocation,
    Rule,
    WhenStale,
    read_policy,
)

SHIPPED = (resources.files("stubresolver") / "data/policy.toml").read_bytes()
ROOT = Path(__file__).resolve().parents[2]
KEY = "ab" * 32


def read(text):
    return read_policy(SHIPPED, text.encode() if isinstance(text, str) else text, "own.toml")


def test_the_documented_file_is_the_shipped_one():
    """conf/policy.toml shows what is in force where no file is given."""
    assert (ROOT / "conf/policy.toml").read_bytes() == SHIPPED


def test_the_shipped_numbers_are_the_defaults_of_the_code():
    """A policy built in code without numbers demands what the shipped file demands."""
    policy = read_policy(SHIPPED, None, "none")
    assert policy.ct == CTPolicy()
    assert (policy.anchors, policy.minimum_tls) == ("certifi", "TLSv1.3")


def test_the_shipped_allow_list_is_read_from_certifi():
    """Each allowed key is that of a certifi root of that name; one anchor is known to be gone from certifi."""
    with Path(certifi.where()).open("rb") as file:
        roots = x509.load_pem_x509_certificates(file.read())
    subjects = {_key(root): root.subject.rfc4514_string() for root in roots}
    allowed = read_policy(SHIPPED, None, "none").issuers.allowed
    assert {name for key, name in allowed.items() if key not in subjects} == {"DigiCert Global Root CA"}
    for key, name in allowed.items():
        assert f"CN={name.partition(' (')[0]}," in subjects.get(key, "CN=DigiCert Global Root CA,")


def test_the_shipped_deny_list_names_fina_by_key(shared_data):
    """The three CAs of the Fina case by the keys of their real certificates, and the one certifi lost by its key."""
    issuers = read_policy(SHIPPED, None, "none").issuers
    folder = shared_data / "certs/issuer"
    files = ["Fina_Root_CA_2015-11-24_5ab4fcdb.pem", "Fina_RDC_2020_2020-11-25_4140b706.pem", "Fina_RDC_2015.pem"]
    expected = [_key(x509.load_pem_x509_certificate((folder / name).read_bytes())) for name in files]
    assert [entry.spki_sha256 for entry in issuers.denied] == expected
    old = x509.load_pem_x509_certificate((folder / "DigiCert_Global_Root_CA_2006-11-10_4348a0e9.pem").read_bytes())
    assert _key(old) in issuers.allowed


def test_an_own_file_changes_what_it_names():
    """Every key that is left out keeps the shipped value."""
    policy = read("[ct]\nminimum_scts_long = 4\n[tls]\nminimum_version = 'TLSv1.2'\n[anchors]\nsource = '/roots.pem'\n")
    assert policy.ct == CTPolicy(minimum_scts_long=4)
    assert (policy.anchors, policy.minimum_tls) == ("/roots.pem", "TLSv1.2")
    assert policy.issuers == read_policy(SHIPPED, None, "none").issuers
    assert read("") == read_policy(SHIPPED, None, "none")


def test_every_rule_and_every_key_is_explained():
    """docs/policy.md has a section for each rule, and a row for each key that there is."""
    text = (ROOT / "docs/policy.md").read_text("utf-8")
    for rule in Rule:
        assert f"\n## {rule.value}\n" in text
        assert f"[`{rule.value}`](#{rule.value.replace('.', '')})" in text
    for table, values in tomllib.loads(SHIPPED.decode()).items():
        for key, value in values.items():
            row = next(line for line in text.splitlines() if line.startswith(f"| `{table}.{key}` |"))
            assert (
                isinstance(value, list) or (str(value).lower() if not isinstance(value, str) else f'"{value}"') in row
            )


def test_every_number_of_the_file_is_used():
    """Each key of [ct] reaches the policy."""
    policy = read(
        "[ct]\nminimum_scts = 3\nminimum_scts_long = 5\nlong_lifetime_days = 90\nminimum_operators = 3\n"
        "minimum_current = 2\nfuture_tolerance_seconds = 7\nwhen_stale = 'refuse'\nproof = 'sct'\n"
    )
    numbers = (3, 5, timedelta(days=90), 3, 2, timedelta(seconds=7))
    assert policy.ct == CTPolicy(*numbers, when_stale=WhenStale.REFUSE, proof=Proof.SCT)


def test_every_other_key_is_used():
    """Mode, anchors, TLS, pins and revocation reach the policy with its anchors."""
    pins = "".join(f"{{ name = '{name}', spki_sha256 = '{key}' }}," for name, key in (("a", KEY), ("b", "CD" * 32)))
    policy = read(
        "[policy]\nmode = 'report'\n[anchors]\nsource = 'system'\n[tls]\nrequire_post_quantum = true\n"
        f"[ct]\nrequired = false\n[pins]\nspki_sha256 = [{pins}]\nreport_only = true\n"
        "[revocation]\ncheck = 'require-staple'\n"
    )
    assert policy.anchors == "system"
    whole = policy.with_anchors([b"x"])
    assert (whole.mode, whole.require_post_quantum, whole.revocation) == (Mode.REPORT, True, Revocation.REQUIRE_STAPLE)
    assert whole.pins == PinPolicy({bytes.fromhex(KEY): "a", b"\xcd" * 32: "b"}, report_only=True)
    assert whole.ct is None
    assert (whole.anchors, whole.issuers, whole.minimum_tls) == ((b"x",), policy.issuers, "TLSv1.3")


def test_what_is_shipped_is_not_relaxed():
    """Report mode, a missing log and an unread staple are nobody's default."""
    policy = read_policy(SHIPPED, None, "none").with_anchors([b"x"])
    assert policy.mode is Mode.ENFORCE
    assert policy.ct is not None
    assert policy.pins is None
    assert policy.revocation is Revocation.IF_STAPLED


def test_an_own_allow_list_replaces_the_shipped_one():
    """Whoever lists their CAs means those and no others."""
    assert read(f"[issuers]\nallow = [{{ name = 'mine', spki_sha256 = '{KEY}' }}]").issuers.allowed == {
        bytes.fromhex(KEY): "mine"
    }


@pytest.mark.parametrize("deny", ["[]", f"[{{ reason = 'mine', spki_sha256 = '{KEY}' }}]"])
def test_an_own_deny_list_only_adds(deny):
    """What the project denies stays denied, whatever a file says."""
    shipped = read_policy(SHIPPED, None, "none").issuers.denied
    found = read(f"[issuers]\ndeny = {deny}").issuers.denied
    assert set(shipped) < set(found) or (deny == "[]" and found == shipped)


def test_the_three_ways_to_deny_are_read():
    """By key, by certificate, by an issuer's key with a serial number in hex."""
    found = read(
        f"[[issuers.deny]]\nreason = 'a'\nspki_sha256 = '{KEY}'\n"
        f"[[issuers.deny]]\nreason = 'b'\ncertificate_sha256 = '{KEY.upper()}'\n"
        f"[[issuers.deny]]\nreason = 'c'\nissuer_spki_sha256 = '{KEY}'\nserial = '00fF'\n"
    ).issuers.denied
    key = bytes.fromhex(KEY)
    assert found[:3] == (
        Denied("a", spki_sha256=key), Denied("b", certificate_sha256=key),
        Denied("c", issuer_spki_sha256=key, serial=255),
    )  # fmt: skip


@given(st.one_of(st.binary(max_size=80), st.text(max_size=80).map(str.encode)))
def test_any_octets_give_a_policy_or_a_config_error(octets):
    """No file raises anything but ConfigError, and a policy that does read still denies what is denied."""
    try:
        policy = read_policy(SHIPPED, octets, "own.toml")
    except ConfigError:
        return
    assert len(policy.issuers.denied) >= 3


@given(
    st.sampled_from(sorted(tomllib.loads(SHIPPED.decode()))), st.text(max_size=8), st.integers() | st.text(max_size=5)
)
def test_any_value_under_any_key_is_taken_or_named(table, key, value):
    """Whatever stands in a table is either a known key of the right type or the error's key."""
    text = f"[{table}]\n{_quote(key)} = {value if isinstance(value, int) else _quote(value)}\n"
    try:
        read(text)
    except ConfigError as error:
        assert error.key.startswith(table) or "not TOML" in error.problem  # noqa: PT017 - both outcomes are right


def test_a_policy_without_anchors_cannot_be_written():
    """It would refuse everything, or lead someone to fill them in from the system."""
    with pytest.raises(ValueError, match="anchors"):
        Policy(anchors=())
    with pytest.raises(ValueError, match="anchors"):
        read("").with_anchors([])


def test_the_digest_changes_with_every_demand():
    """Two policies with one digest demand the same; the order in which things were listed is no demand."""
    key, other = bytes(32), bytes(31) + b"\1"
    denied = (Denied("a", spki_sha256=key), Denied("b", spki_sha256=other))
    base = {"anchors": (b"a", b"b"), "issuers": IssuerPolicy({key: "x", other: "y"}, denied), "ct": CTPolicy()}
    changes = [
        {},
        {"anchors": (b"a",)},
        {"issuers": None},
        {"issuers": IssuerPolicy(None, denied)},
        {"issuers": IssuerPolicy({key: "x"}, denied)},
        {"issuers": IssuerPolicy({key: "x", other: "y"}, denied[:1])},
        {"ct": None},
        *({"ct": CTPolicy(**{name: 1})} for name in ("minimum_scts", "minimum_scts_long", "minimum_operators")),
        {"ct": CTPolicy(minimum_current=2)},
        {"ct": CTPolicy(future_tolerance=timedelta())},
        {"ct": CTPolicy(maximum_listed=5)},
        {"ct": CTPolicy(when_stale=WhenStale.REFUSE)},
        {"ct": CTPolicy(when_stale=WhenStale.REPORT)},
        {"minimum_tls": "TLSv1.2"},
        {"address_required": False},
        {"mode": Mode.REPORT},
        {"pins": PinPolicy({key: "x", other: "y"})},
        {"pins": PinPolicy({key: "x", other: "y"}, report_only=True)},
        {"pins": PinPolicy({key: "x", bytes(31) + b"\2": "y"})},
        {"require_post_quantum": True},
        {"revocation": Revocation.OFF},
        {"revocation": Revocation.REQUIRE_STAPLE},
    ]
    assert len({Policy(**base | change).digest for change in changes}) == len(changes)
    reordered = IssuerPolicy({other: "y", key: "x"}, denied[::-1])
    assert Policy(**base).digest == Policy(**base | {"anchors": (b"b", b"a"), "issuers": reordered}).digest


def test_the_digest_does_not_change_with_a_name_or_a_reason():
    """They are for people; the snapshot holds them."""
    key, other = bytes(32), bytes(31) + b"\1"
    one, two = (
        Policy(
            (b"a",),
            IssuerPolicy({key: name}, (Denied(name, spki_sha256=other),)),
            pins=PinPolicy({key: name, other: "y"}),
        )
        for name in ("x", "y")
    )
    assert one.digest == two.digest
    assert one.snapshot() != two.snapshot()


def _quote(text):
    """A TOML basic string that holds any text."""
    return '"' + "".join(f"\\U{ord(c):08x}" for c in text) + '"'


def _key(certificate):
    return sha256(subject_public_key_info(certificate.public_bytes(Encoding.DER))).digest()
