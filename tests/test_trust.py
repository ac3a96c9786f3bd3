"""What is in force for each upstream: loaded as a whole, told as it is."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stubresolver import RELEASED, trust
from stubresolver.config import Settings, load_settings, read_shipped
from stubresolver.ct import CTPolicy
from stubresolver.errors import ConfigError
from stubresolver.trust import Trust, clock_floor, describe, load_trust
from stubresolver.upstream import parse_upstream
from stubresolver.verify import Mode, PinPolicy, Revocation, WhenStale, Whose

DAY = timedelta(days=1)
LISTED = datetime(2026, 10, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 3, tzinfo=UTC)  # the shipped list is fresh
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


def test_upstreams_of_forward_zones_are_judged_like_all(settings: Settings, tmp_path: Path) -> None:
    """By the policy of their table, else by everybody's; a change of it is a change of the whole."""
    (tmp_path / "mine.toml").write_text(
        'upstreams = ["tls://1.1.1.1"]\n[[forward]]\nzone = "a"\nupstreams = "tls://10.0.0.53"\npolicy = "corp.toml"\n'
        '[[forward]]\nzone = "b"\nupstreams = "https://10.0.0.54/"\n'
    )
    loaded = load_trust(load_settings(tmp_path / "mine.toml"))
    other = parse_upstream("https://10.0.0.54/")
    assert list(loaded.upstreams) == [PUBLIC, CORP, other]
    assert loaded.upstreams[CORP].policy.ct is None
    assert loaded.upstreams[other] is loaded.upstreams[PUBLIC]
    assert set(loaded.digests) == {PUBLIC, CORP, other}
    assert settings.all_upstreams == settings.upstreams


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
        ({"ct": CTPolicy(when_stale=WhenStale.REPORT)}, "stale list: report, "),
        ({"ct": CTPolicy(when_stale=WhenStale.REFUSE)}, "stale list: refuse, "),
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
    assert load_trust(settings).warnings(NOW) == ()
    (tmp_path / "corp.toml").write_text('[policy]\nmode = "report"\n')
    loaded = load_trust(settings)
    assert loaded.reporting == (CORP,)
    assert loaded.warnings(NOW) == (f"REPORT MODE for {CORP}: it is asked even where it is refused",)


def test_staples_that_cannot_be_read_are_a_warning(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that hides staples is told at the start, unless nobody looks at them."""
    monkeypatch.setattr(trust, "READS_STAPLES", False)
    loaded = load_trust(settings)
    assert ["no access to stapled OCSP responses" in warning for warning in loaded.warnings(NOW)] == [True]
    for each in loaded.upstreams.values():
        object.__setattr__(each.loaded, "policy", replace(each.policy, revocation=Revocation.OFF))
    assert loaded.warnings(NOW) == ()


def test_system_store_is_warned_of_once(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many upstreams share the policy that names it."""
    anchors = load_trust(settings).upstreams[PUBLIC].policy.anchors
    assert len(anchors) > 1
    monkeypatch.setattr("stubresolver.config.policies.read_anchors", lambda *_: anchors)
    monkeypatch.setattr("stubresolver.config.policies.system_store", lambda _: Path("/store.crt"))
    (tmp_path / "all.toml").write_text('[anchors]\nsource = "system"\n')
    loaded = load_trust(settings.with_trust(tmp_path / "all.toml", None))
    assert f"{len(anchors)} anchors of the system's store, /store.crt" in str(loaded.upstreams[PUBLIC])
    [warning] = loaded.warnings(NOW)
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


def aged(loaded: Trust, listed: datetime, *stale: WhenStale) -> Trust:
    """The same with a list of that time, and policies that do this where it is stale, in turn."""
    upstreams = {}
    for each, when in zip(loaded.upstreams, stale, strict=False):
        demanded = loaded.upstreams[PUBLIC]
        policy = replace(demanded.policy, ct=CTPolicy(when_stale=when))
        upstreams[each] = replace(demanded, loaded=replace(demanded.loaded, policy=policy))
    return replace(loaded, upstreams=upstreams or loaded.upstreams, log_list=replace(loaded.log_list, timestamp=listed))


@pytest.mark.parametrize(
    ("age", "stale", "warning"),
    [
        (45 * DAY - timedelta(seconds=1), [WhenStale.REFUSE], None),
        (45 * DAY, [WhenStale.KNOWN_LEAVES],
         "is 45 days old; from 2026-12-10 on it is stale: certificates that were not seen before are refused."),
        (70 * DAY - timedelta(seconds=1), [WhenStale.REFUSE],
         "is 69 days old; from 2026-12-10 on it is stale: every certificate is refused."),
        (70 * DAY, [WhenStale.KNOWN_LEAVES],
         "is 70 days old; it is stale: certificates that were not seen before are refused."),
        (70 * DAY, [WhenStale.REPORT], "is 70 days old; it is stale: a log that was distrusted since counts still."),
        (70 * DAY, [WhenStale.KNOWN_LEAVES, WhenStale.REFUSE],
         "it is stale: every certificate is refused, or by another policy certificates that were not seen before are"),
    ],
)  # fmt: skip
def test_an_old_list_is_warned_of(settings: Settings, age: timedelta, stale: list[WhenStale], warning: str) -> None:
    """From 45 days on, with what happens and when, by what the policies say; and how to make it young again."""
    found = replace(aged(load_trust(settings), LISTED, *stale), shipped=None).warnings(LISTED + age)
    assert [warning in each for each in found] == ([] if warning is None else [True])
    assert all(each.startswith("the log list of 2026-10-01 is ") for each in found)
    assert all(each.endswith("Update it: stubresolver logs update") for each in found)


def test_a_list_that_is_older_than_the_shipped_one_is_warned_of(settings: Settings, tmp_path: Path) -> None:
    """Who upgrades and keeps an own list is told that it is the older one; one of the same time is not."""
    shipped = read_shipped("log_list.json")
    older = shipped.replace(b'"log_list_timestamp": "2026-11-02T', b'"log_list_timestamp": "2026-11-01T')
    assert older != shipped
    (tmp_path / "list.json").write_bytes(older)
    [warning] = load_trust(settings.with_trust(None, tmp_path / "list.json")).warnings(NOW)
    assert warning == (
        "the log list is of 2026-11-01: this release came with a younger one, of 2026-11-02. "
        "Update it, or leave [trust] log_list out"
    )
    assert load_trust(settings).warnings(NOW) == ()


def test_where_nobody_asks_for_scts_no_list_is_warned_of(settings: Settings) -> None:
    """Without CT its age decides nothing."""
    loaded = load_trust(settings)
    private = replace(loaded, upstreams={CORP: loaded.upstreams[CORP]})
    assert aged(private, LISTED).warnings(LISTED + 400 * DAY) == ()


def test_the_floor_under_the_clock_is_the_latest_of_three(settings: Settings) -> None:
    """Release, list and newest allowed judgement; the release where there is nothing else."""
    listed = load_trust(settings).log_list
    assert clock_floor(None, None).moment == RELEASED
    for moment, newest, whose in (
        (RELEASED - DAY, RELEASED - DAY, Whose.RELEASE),
        (RELEASED + DAY, None, Whose.LOG_LIST),
        (RELEASED + DAY, RELEASED + 2 * DAY, Whose.EVIDENCE),
    ):
        assert clock_floor(replace(listed, timestamp=moment), newest).whose is whose


def test_the_release_is_not_younger_than_its_list(settings: Settings) -> None:
    """Both are raised together with a release: a floor that lay ahead of it would refuse everything."""
    assert load_trust(settings).log_list.timestamp >= RELEASED
