"""What is in force for each upstream: loaded as a whole, told as it is."""

from dataclasses import replace
from pathlib import Path

import pytest

from stubresolver import trust
from stubresolver.config import Settings, read_shipped
from stubresolver.errors import ConfigError
from stubresolver.trust import Trust, describe, load_trust
from stubresolver.upstream import parse_upstream
from stubresolver.verify import Mode, PinPolicy, Revocation

CORP, PUBLIC, OTHER = (parse_upstream(f"tls://{address}") for address in ("10.0.0.53", "1.1.1.1", "1.0.0.1"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "corp.toml").write_text("[ct]\nrequired = false\n")
    return Settings(upstreams=(CORP, PUBLIC, OTHER), upstream_policies={CORP: tmp_path / "corp.toml"})


def test_each_upstream_has_its_policy_and_shares_a_judge(settings: Settings) -> None:
    """The one that names its own gets it, the others share one judge; all share one log list."""
    loaded = load_trust(settings)
    assert list(loaded.upstreams) == [CORP, PUBLIC, OTHER]
    assert loaded.upstreams[CORP].policy.ct is None
    assert loaded.upstreams[PUBLIC].policy.ct is not None
    assert loaded.upstreams[PUBLIC] is loaded.upstreams[OTHER]
    assert all(each.verifier.log_list is loaded.log_list for each in loaded.upstreams.values())


def test_what_is_demanded_less_is_told(settings: Settings) -> None:
    """Who reads the line of an upstream sees its file, and that CT is off."""
    loaded = load_trust(settings)
    assert str(loaded.upstreams[CORP]).startswith(f"{settings.upstream_policies[CORP]}: ct: off, ")
    assert str(loaded.upstreams[PUBLIC]).startswith("the shipped policy: ct: 2 SCTs of 2 operators, ")


def test_one_broken_file_is_no_trust_at_all(settings: Settings, tmp_path: Path) -> None:
    """An error in the policy of one upstream refuses the whole."""
    (tmp_path / "corp.toml").write_text("[ct]\nrequired = 7\n")
    with pytest.raises(ConfigError, match=r"corp\.toml: ct\.required"):
        load_trust(settings)


def test_description_names_every_kind_of_demand(settings: Settings) -> None:
    """A policy differs from another in its words where it differs in what a person should see."""
    policy = load_trust(settings).upstreams[PUBLIC].policy
    pins = {bytes(32): "one", bytes(31) + b"\1": "two"}
    for change, words in (
        ({"mode": Mode.REPORT}, "REPORT MODE, ct: 2 SCTs"),
        ({"ct": None}, "ct: off"),
        ({"issuers": None}, "any issuer"),
        ({"pins": PinPolicy(pins)}, "2 pins,"),
        ({"pins": PinPolicy(pins, report_only=True)}, "2 pins (report only)"),
        ({"revocation": Revocation.OFF}, "staple: off"),
        ({"require_post_quantum": True}, "post-quantum"),
        ({"minimum_tls": "TLSv1.2"}, "TLSv1.2"),
    ):
        assert words in describe(replace(policy, **change), "certifi")
        assert words not in describe(policy, "certifi")
    assert policy.digest[:12] in describe(policy, "certifi")
    assert "anchors of certifi, 18 issuers" in describe(policy, "certifi")


def test_report_mode_is_a_warning_of_each_upstream(settings: Settings, tmp_path: Path) -> None:
    """Report mode is never quiet; without it there is nothing to warn of."""
    assert load_trust(settings).warnings == ()
    (tmp_path / "corp.toml").write_text('[policy]\nmode = "report"\n')
    loaded = load_trust(settings)
    assert loaded.reporting == (CORP,)
    assert loaded.warnings == (f"REPORT MODE for {CORP}: it is asked even where it is refused",)


def test_staples_that_cannot_be_read_are_a_warning(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that hides staples is told at the start, unless nobody looks at them."""
    monkeypatch.setattr(trust, "READS_STAPLES", False)
    loaded = load_trust(settings)
    assert ["no access to stapled OCSP responses" in warning for warning in loaded.warnings] == [True]
    for each in loaded.upstreams.values():
        object.__setattr__(each.loaded, "policy", replace(each.policy, revocation=Revocation.OFF))
    assert loaded.warnings == ()


def test_system_store_is_warned_of_once(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many upstreams share the policy that names it."""
    anchors = load_trust(settings).upstreams[PUBLIC].policy.anchors
    assert len(anchors) > 1
    monkeypatch.setattr("stubresolver.config._read_anchors", lambda *_: anchors)
    monkeypatch.setattr("stubresolver.config._system_store", lambda _: Path("/store.crt"))
    (tmp_path / "all.toml").write_text('[anchors]\nsource = "system"\n')
    loaded = load_trust(settings.with_trust(tmp_path / "all.toml", None))
    assert f"{len(anchors)} anchors of the system's store, /store.crt" in str(loaded.upstreams[PUBLIC])
    [warning] = loaded.warnings
    assert "this machine's own store, /store.crt" in warning


def test_same_demands_are_known_as_the_same(settings: Settings, tmp_path: Path) -> None:
    """Names and reasons change nothing; a demand, of whichever upstream, does."""
    first, second = load_trust(settings), load_trust(settings)
    assert isinstance(first, Trust)
    assert first.demands_the_same(second)
    (tmp_path / "list.json").write_bytes(read_shipped("log_list.json") + b"\n")
    assert not first.demands_the_same(load_trust(settings.with_trust(None, tmp_path / "list.json")))
    (tmp_path / "corp.toml").write_text('[ct]\nrequired = false\n[tls]\nminimum_version = "TLSv1.2"\n')
    assert not first.demands_the_same(load_trust(settings))
