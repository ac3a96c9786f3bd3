"""config: providers, each a file with upstreams and a policy; and whose are upstreams that are written one by one."""

import re
import tomllib
from ipaddress import ip_address
from itertools import permutations
from pathlib import Path

import certifi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.config import (
    DEFAULT_UPSTREAMS,
    PROFILE_KEYS,
    Settings,
    load_policy,
    load_policy_file,
    load_settings,
    parse_profile,
    parse_settings,
    read_shipped,
)
from stubresolver.config.grouping import group
from stubresolver.errors import ConfigError
from stubresolver.trust import load_trust
from stubresolver.upstream import Upstream, parse_upstream
from stubresolver.verify import Layer, Mode, Severity, lint, read_layers
from stubresolver.verify.certificate import read_certificate

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ("cloudflare", "google", "quad9")
KEY = '{ name = "Example CA", spki_sha256 = "' + "5a" * 31 + 'a5" }'
CORP = f'name = "Corp"\nupstreams = ["tls://10.0.0.53#dns.corp.example"]\n[issuers]\nallow = [{KEY}]\n'


def parse(text: str, folder: Path = Path("/etc/mine")) -> Settings:
    return parse_settings(text.encode(), "mine.toml", folder)


def upstream(text: str) -> Upstream:
    return parse_upstream(text)


def keys(settings: Settings, text: str) -> set[str]:
    """The issuers that an upstream may have."""
    issuers = load_trust(settings).upstreams[upstream(text)].policy.issuers
    return {key.hex() for key in issuers.allowed}


@pytest.mark.parametrize("name", SHIPPED)
def test_ready_made_files_are_the_shipped_ones(name: str) -> None:
    """There is one copy of each: conf/ has links to what the package ships."""
    link = ROOT / "conf" / f"{name}.toml"
    assert link.is_symlink()
    assert link.resolve() == ROOT / "stubresolver" / "data" / "providers" / f"{name}.toml"
    assert parse(f'providers = ["{link}"]').upstreams == parse(f'providers = ["{name}"]').upstreams


def test_documented_example_can_be_used() -> None:
    """What conf/stubresolver.toml shows of the key, instead of the upstreams that stand there."""
    text = (ROOT / "conf" / "stubresolver.toml").read_text("utf-8")
    [example] = re.findall(r"^#     (providers = .*)$", text, re.MULTILINE)
    assert [profile.name for profile in parse(example).profiles] == ["Quad9", "Cloudflare"]
    with pytest.raises(ConfigError, match="`providers` names who is asked already"):
        parse(text.replace("\nproviders = []\n", f"\n{example}\n"))


def test_every_shipped_provider_is_tested_here() -> None:
    """And every one is a file of its own in conf/."""
    found = {path.stem for path in (ROOT / "stubresolver" / "data" / "providers").iterdir()}
    assert found == set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_provider_has_both_transports_on_every_address(name: str) -> None:
    """DoT first, on two IPv4 and two IPv6 addresses, then DoH on the same; each with a name to authenticate."""
    found = parse(f'providers = ["{name}"]').upstreams
    dot, doh = found[:4], found[4:]
    assert [each.transport.value for each in found] == ["tls"] * 4 + ["https"] * 4
    assert [each.address for each in dot] == [each.address for each in doh]
    assert [each.address.version for each in dot] == [4, 4, 6, 6]
    assert all(each.name for each in found)
    assert all(each.address.is_global for each in found)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_provider_has_nothing_to_warn_of(name: str) -> None:
    """Its policy is one that `policy lint` is content with, and changes nothing but who may issue."""
    octets = read_shipped(f"providers/{name}.toml")
    assert lint(octets, name, read_shipped("policy.toml"), beside=frozenset({"name", "upstreams"})) == []
    assert set(tomllib.loads(octets.decode())) == {"name", "upstreams", "issuers"}


def test_cloudflare_is_what_is_asked_without_configuration() -> None:
    """The default upstreams and the shipped issuer list are those of its file."""
    settings = parse('providers = ["cloudflare"]')
    assert settings.upstreams == Settings().upstreams == tuple(map(parse_upstream, DEFAULT_UPSTREAMS))
    assert load_policy(None, profile=settings.profiles[0]).issuers == load_policy(None).issuers


def test_keys_of_shipped_providers_are_those_of_certifi() -> None:
    """Each hash is the key of the root that it is named after; the one that certifi has no longer is said to be so."""
    certificates = map(read_certificate, load_policy(None).anchors)
    roots = {found.spki_sha256.hex(): found.subject for found in certificates}
    for name in SHIPPED:
        for entry in tomllib.loads(read_shipped(f"providers/{name}.toml").decode())["issuers"]["allow"]:
            words = entry["name"].partition(" (")[0]
            if words == "DigiCert Global Root CA":
                assert entry["spki_sha256"] not in roots
            else:
                assert f"CN={words}," in roots[entry["spki_sha256"]] + ","


def test_no_ca_stands_on_the_lists_of_google_and_quad9() -> None:
    """A certificate for 9.9.9.9 from Google's CA is refused, and one for 8.8.8.8 from Quad9's."""
    settings = parse('providers = ["quad9", "google"]')
    quad9, google = keys(settings, "tls://9.9.9.9#dns.quad9.net"), keys(settings, "tls://8.8.8.8#dns.google")
    assert quad9
    assert google
    assert not quad9 & google


@pytest.mark.parametrize("order", list(permutations(SHIPPED)))
def test_order_of_preference_is_that_of_the_list(order: tuple[str, ...]) -> None:
    """The upstreams of the first provider come first, and each is known as its provider's."""
    settings = parse(f"providers = {list(order)}")
    names = [settings.providers[each] for each in settings.upstreams]
    assert list(dict.fromkeys(names)) == [name.capitalize() for name in order]
    assert len(names) == 24
    assert [profile.name for profile in settings.profiles] == [name.capitalize() for name in order]


def test_provider_may_be_a_file_of_ones_own(tmp_path: Path) -> None:
    """A path counts from the configuration's folder; the policy in it is that of its own upstreams alone."""
    (tmp_path / "corp.toml").write_text(CORP)
    (tmp_path / "mine.toml").write_text('providers = ["corp.toml", "quad9"]\n')
    settings = load_settings(tmp_path / "mine.toml")
    assert settings.providers[upstream("tls://10.0.0.53#dns.corp.example")] == "Corp"
    assert keys(settings, "tls://10.0.0.53#dns.corp.example") == {"5a" * 31 + "a5"}
    assert "5a" * 31 + "a5" not in keys(settings, "tls://9.9.9.9#dns.quad9.net")
    trust = load_trust(settings)
    corp = trust.upstreams[upstream("tls://10.0.0.53#dns.corp.example")]
    assert str(corp).startswith(f"{tmp_path / 'corp.toml'}: ct: 2 SCTs of 2 operators")
    assert str(trust.upstreams[upstream("tls://9.9.9.9#dns.quad9.net")]).startswith(
        "the shipped providers/quad9.toml: "
    )
    assert len(set(map(id, trust.upstreams.values()))) == 2


def test_administrators_policy_holds_for_every_provider(tmp_path: Path) -> None:
    """A provider's file is laid over [trust] policy: what that demands holds for all, a denial above all."""
    (tmp_path / "all.toml").write_text(
        '[policy]\nmode = "report"\n[tls]\nrequire_post_quantum = true\n'
        f'[issuers]\nallow = [{KEY}]\ndeny = [{{ reason = "gone", spki_sha256 = "{"ab" * 32}" }}]\n'
    )
    (tmp_path / "corp.toml").write_text(CORP + f'deny = [{{ reason = "lost", spki_sha256 = "{"cd" * 32}" }}]\n')
    (tmp_path / "mine.toml").write_text('providers = ["corp.toml", "quad9"]\n[trust]\npolicy = "all.toml"\n')
    settings = load_settings(tmp_path / "mine.toml")
    trust = load_trust(settings)
    corp, quad9 = (trust.upstreams[each].policy for each in (settings.upstreams[0], settings.upstreams[1]))
    for policy in (corp, quad9):
        assert policy.mode is Mode.REPORT
        assert policy.require_post_quantum
    denied = [{entry.reason for entry in policy.issuers.denied} for policy in (corp, quad9)]
    assert {"gone", "lost"} <= denied[0]
    assert "gone" in denied[1]
    assert "lost" not in denied[1]
    assert any("Fina Root CA" in reason for reason in denied[1])
    assert len(quad9.issuers.allowed) == 5  # its own list, and not the administrator's
    loaded = load_policy_file(tmp_path / "all.toml", profile=settings.profiles[0])
    assert loaded.source == f"{tmp_path / 'corp.toml'} on top of {tmp_path / 'all.toml'}"


def test_policy_of_the_command_line_stands_beneath_a_provider(tmp_path: Path) -> None:
    """--policy takes the place of [trust] policy; who may issue for a provider stays that provider's."""
    (tmp_path / "lax.toml").write_text(f"[ct]\nrequired = false\n[issuers]\nallow = [{KEY}]\n")
    settings = parse('providers = ["quad9"]').with_trust(tmp_path / "lax.toml", None)
    policy = load_trust(settings).upstreams[settings.upstreams[0]].policy
    assert policy.ct is None
    assert len(policy.issuers.allowed) == 5


def test_policy_of_an_upstream_takes_the_place_of_its_providers(tmp_path: Path) -> None:
    """Who names a file for one upstream means that file."""
    (tmp_path / "own.toml").write_text(f"[issuers]\nallow = [{KEY}]\n")
    (tmp_path / "mine.toml").write_text(
        'providers = ["quad9"]\n[trust.upstreams]\n"tls://9.9.9.9#dns.quad9.net" = "own.toml"\n'
    )
    settings = load_settings(tmp_path / "mine.toml")
    assert keys(settings, "tls://9.9.9.9#dns.quad9.net") == {"5a" * 31 + "a5"}
    assert len(keys(settings, "https://9.9.9.9/dns-query#dns.quad9.net")) == 5


def test_anchors_count_from_the_file_that_names_them(tmp_path: Path) -> None:
    """A provider's PEM file lies beside the provider's file, the administrator's beside the administrator's."""
    pem = Path(certifi.where()).read_bytes()
    first = pem[pem.index(b"-----BEGIN") : pem.index(b"-----END") + len(b"-----END CERTIFICATE-----\n")]
    for folder, source in (("corp", "root.pem"), ("all", "roots.pem")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / source).write_bytes(first)
    (tmp_path / "all" / "all.toml").write_text('[anchors]\nsource = "roots.pem"\n')
    (tmp_path / "corp" / "corp.toml").write_text(CORP + '[anchors]\nsource = "root.pem"\n')
    [profile] = parse('providers = ["corp/corp.toml"]', tmp_path).profiles
    [quad9] = parse('providers = ["quad9"]', tmp_path).profiles
    assert load_policy_file(None, profile=profile).anchors == str(tmp_path / "corp" / "root.pem")
    assert load_policy_file(tmp_path / "all" / "all.toml", profile=quad9).anchors == str(tmp_path / "all" / "roots.pem")
    (tmp_path / "all" / "roots.pem").unlink()
    assert len(load_policy_file(tmp_path / "all" / "all.toml", profile=profile).policy.anchors) == 1
    with pytest.raises(ConfigError, match=r"all/roots\.pem: anchors\.source: cannot be read"):
        load_policy_file(tmp_path / "all" / "all.toml", profile=quad9)


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ('["quad"]', "providers[0]", "expected one of cloudflare, google, quad9, or the path of a file"),
        ('["../quad9"]', "providers[0]", "/etc/mine/../quad9: cannot be read: No such file"),
        ('["quad9", "quad9"]', "providers[1]", "both named 'Quad9'"),
        ('[""]', "providers[0]", "no provider ''"),
        ('"quad9"', "providers", 'write ["quad9"]'),
        ("[1]", "providers[0]", "got 1, expected text in quotes"),
        (str(["quad9"] * 17), "providers", "of 0 to 16 entries"),
        ('["quad9"]\nupstreams = ["tls://1.1.1.1"]', "upstreams", "`providers` names who is asked already"),
    ],
)
def test_providers_that_cannot_be_had_are_an_error(text: str, key: str, words: str) -> None:
    """The configuration and its key are named, and what there is instead."""
    with pytest.raises(ConfigError) as caught:
        parse(f"providers = {text}\n")
    assert (caught.value.file, caught.value.key) == ("mine.toml", key)
    assert words in caught.value.problem


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ('upstreams = ["tls://10.0.0.1"]', "name", "missing key"),
        ('name = "A"', "upstreams", "missing key"),
        ('name = "A"\nupstreams = []', "upstreams", "got an empty list, expected a list in brackets"),
        ('name = ""\nupstreams = ["tls://10.0.0.1"]', "name", 'got "", expected text'),
        ('name = "A\\u001b[31m"\nupstreams = ["tls://10.0.0.1"]', "name", "one line of text"),
        ('name = "A\\nB"\nupstreams = ["tls://10.0.0.1"]', "name", "one line of text"),
        ('name = " A"\nupstreams = ["tls://10.0.0.1"]', "name", "one line of text"),
        ('name = "A"\nupstreams = ["udp://10.0.0.1"]', "upstreams[0]", "'udp'"),
        ('name = "A"\nupstreams = ["tls://10.0.0.1", "tls://10.0.0.1:853"]', "upstreams", "twice"),
        ('name = "A"\nupstreams = ["tls://10.0.0.1"]\nupstream = 1', "upstream", "`name`, `upstreams` and the tables"),
        ('name = "A"\nupstreams = ["tls://10.0.0.1"]\n[listen]\nallow = []', "listen", "unknown key"),
        ('name = "A"\nupstreams = ["tls://10.0.0.1"]\nproviders = ["quad9"]', "providers", "unknown key"),
    ],
)
def test_broken_file_of_a_provider_is_named_with_its_key(tmp_path: Path, text: str, key: str, words: str) -> None:
    """A mistake in it is told with its own file and key, and nothing of the configuration is taken over."""
    (tmp_path / "a.toml").write_text(f"{text}\n")
    with pytest.raises(ConfigError) as caught:
        parse('providers = ["a.toml"]', tmp_path)
    assert (caught.value.file, caught.value.key) == (str(tmp_path / "a.toml"), key)
    assert words in caught.value.problem


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[issuers]\nallowed = []", r"a\.toml: issuers\.allowed: line 4: unknown key; write allow"),
        ("[issuers]\nallow = []", r"a\.toml: issuers\.allow: line 4: got an empty list"),
        ("[ct]\nminimum_scts = 0", r"a\.toml: ct\.minimum_scts: line 4: got 0, expected a whole number from 1 to 16"),
        ("[ct]\nminimum_operators = 3", r"a\.toml: ct\.minimum_operators: line 4: got 3, expected at most"),
    ],
)
def test_broken_policy_of_a_provider_is_named_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    """As in every policy file; what contradicts what stands beneath it is told of the provider's."""
    (tmp_path / "a.toml").write_text(f'name = "A"\nupstreams = ["tls://10.0.0.1"]\n{text}\n')
    settings = parse('providers = ["a.toml"]', tmp_path)
    with pytest.raises(ConfigError, match=words):
        load_trust(settings)


@pytest.mark.parametrize("text", [b"= 3\n", b"\xff\n", b"name = 'A\n", b"x = " + b"[" * 5000])
def test_file_that_is_no_provider_names_who_named_it(tmp_path: Path, text: bytes) -> None:
    """Octets that are no TOML are told with the configuration that wanted them."""
    (tmp_path / "a.toml").write_bytes(text)
    with pytest.raises(ConfigError, match=r"mine\.toml: providers\[0\]: .*a\.toml: .*(not TOML|not UTF-8)"):
        parse('providers = ["a.toml"]', tmp_path)


def test_address_has_one_provider(tmp_path: Path) -> None:
    """By whatever port and transport, IPv4-mapped too: else the first file read would decide by which policy."""
    (tmp_path / "a.toml").write_text('name = "A"\nupstreams = ["https://[::ffff:9.9.9.9]:5053/dns-query"]\n')
    for order in ('["a.toml", "quad9"]', '["quad9", "a.toml"]'):
        with pytest.raises(
            ConfigError, match=r"providers\[1\]: line 1: 9\.9\.9\.9 stands in .*: an address has one provider"
        ):
            parse(f"providers = {order}", tmp_path)


def test_providers_and_forward_zones_are_apart() -> None:
    """An upstream of a provider is asked for all names, so no zone may have it, too."""
    text = 'providers = ["quad9"]\n[[forward]]\nzone = "a"\nupstreams = "tls://9.9.9.9#dns.quad9.net"\n'
    with pytest.raises(ConfigError, match="is asked for other names, too"):
        parse(text)


def test_file_that_broke_since_the_start_is_refused_at_a_reload(tmp_path: Path) -> None:
    """A reload reads a provider's policy again, and takes nothing of a file with an error in any part."""
    (tmp_path / "a.toml").write_text(CORP)
    settings = parse('providers = ["a.toml"]', tmp_path)
    before = load_trust(settings)
    (tmp_path / "a.toml").write_text(CORP.replace("5a", "6b"))
    assert not load_trust(settings).demands_the_same(before)
    for broken in ("name = 1\n", CORP.replace("upstreams", "upstream"), CORP + "[ct]\nx = 1\n"):
        (tmp_path / "a.toml").write_text(broken)
        with pytest.raises(ConfigError, match=r"a\.toml"):
            load_trust(settings)


def test_upstreams_that_changed_since_the_start_are_told(tmp_path: Path) -> None:
    """A reload takes over the policy in a provider's file, and says that who is asked takes a restart."""
    (tmp_path / "a.toml").write_text(CORP)
    settings = parse('providers = ["a.toml", "quad9"]', tmp_path)
    moment = load_trust(settings).log_list.timestamp
    assert load_trust(settings).warnings(moment) == ()
    for new in (CORP.replace("10.0.0.53", "10.0.0.54"), CORP.replace("Corp", "Corporation")):
        (tmp_path / "a.toml").write_text(new)
        trust = load_trust(settings)
        [warning] = trust.warnings(moment)
        assert warning.startswith(f"{tmp_path / 'a.toml'}: who is asked has changed since it was read: a restart takes")
        assert list(trust.upstreams) == list(settings.upstreams)
    (tmp_path / "a.toml").write_text(CORP.replace("5a", "6b"))
    assert load_trust(settings).warnings(moment) == ()


def test_upstreams_of_the_command_line_keep_their_policy(tmp_path: Path) -> None:
    """Those that a provider has are judged as its; others by everybody's policy. No forward zone is left."""
    (tmp_path / "a.toml").write_text(CORP)
    settings = parse('providers = ["a.toml"]\n[[forward]]\nzone = "b"\nupstreams = "udp://10.0.0.9"\n', tmp_path)
    known, other = upstream("tls://10.0.0.53#dns.corp.example"), upstream("tls://10.0.0.54")
    asked = settings.asking([known, other, known])
    assert asked.upstreams == (known, other)
    assert asked.forward == ()
    assert asked.policy_of(known).profile is settings.profiles[0]
    assert asked.policy_of(other).profile is None
    assert asked.providers == {known: "Corp", other: "10.0.0.54"}
    assert settings.profile_at(ip_address("10.0.0.53")) is settings.profiles[0]
    assert settings.profile_at(ip_address("::ffff:10.0.0.53")) is settings.profiles[0]
    assert settings.profile_at(ip_address("10.0.0.54")) is None


def test_providers_of_the_command_line_replace_all_others() -> None:
    """As if the configuration named them."""
    asked = parse("").of_providers(["google"])
    assert set(asked.providers.values()) == {"Google"}
    assert asked.policy_of(asked.upstreams[0]).profile is asked.profiles[0]
    with pytest.raises(ConfigError, match=r"--provider: providers\[0\]: no provider 'gogle'"):
        parse("").of_providers(["gogle"])


@pytest.mark.parametrize(
    ("texts", "groups"),
    [
        (DEFAULT_UPSTREAMS, [range(8)]),
        (("tls://1.1.1.1", "tls://1.0.0.1"), [(0,), (1,)]),
        (("tls://1.1.1.1", "https://1.1.1.1/", "tls://9.9.9.9"), [(0, 1), (2,)]),
        (("tls://10.0.0.1#a.example", "tls://10.0.0.2#b.example", "https://10.0.0.2/#a.example"), [(0, 1, 2)]),
        (("tls://1.1.1.1#one.one", "tls://9.9.9.9#dns.quad9.net", "tls://1.0.0.1#one.one"), [(0, 2), (1,)]),
    ],
)  # fmt: skip
def test_upstreams_that_share_an_address_or_a_name_belong_together(texts: tuple[str, ...], groups: list) -> None:
    """And no others: to take strangers for one provider would spread over them what is asked."""
    upstreams = [parse_upstream(text) for text in texts]
    labels = group(upstreams)
    found = [
        [index for index, each in enumerate(upstreams) if labels[each] == label]
        for label in dict.fromkeys(labels.values())
    ]
    assert found == [list(indices) for indices in groups]


HOSTS = st.sampled_from([f"10.0.0.{last}" for last in range(1, 7)])
NAMES = st.sampled_from(["", "#a.example", "#b.example", "#c.example"])


@given(
    st.lists(st.builds("{}://{}{}".format, st.sampled_from(["tls", "https"]), HOSTS, NAMES), max_size=8, unique=True)
)
def test_groups_are_the_parts_that_hang_together(texts: list[str]) -> None:
    """Whatever the order: two upstreams have one label exactly if a chain of shared addresses and names leads over."""
    upstreams = [parse_upstream(text) for text in texts]
    labels = group(upstreams)
    reached = {each: {each} for each in upstreams}
    for _ in upstreams:
        for one in upstreams:
            for other in upstreams:
                if one.address == other.address or (one.name is not None and one.name == other.name):
                    reached[one] |= reached[other]
    for one in upstreams:
        assert {other for other in upstreams if labels[other] == labels[one]} == reached[one]


def test_lint_reads_what_a_provider_demands() -> None:
    """The keys that are no policy's are left to who reads them; all others are told."""
    beside = frozenset({"name", "upstreams"})
    [problem] = lint(CORP.encode() + b"[tls]\nminimum = 1\n", "a.toml", read_shipped("policy.toml"), beside)
    assert (problem.severity, problem.line, problem.key) == (Severity.ERROR, 6, "tls.minimum")


VALUES = st.sampled_from(
    ["1", "true", '""', '"x"', "[]", "{}", '[""]', "[[]]", "1979-05-27", "nan", '"tls://[::1]#a"', "[{}]"]
)


@given(
    st.lists(st.tuples(st.sampled_from(["name", "upstreams", "issuers", "ct", "odd"]), VALUES), max_size=4),
    st.binary(max_size=6),
    st.integers(0, len(CORP)),
)
def test_whatever_a_file_says_is_read_or_refused(pairs: list[tuple[str, str]], octets: bytes, place: int) -> None:
    """No file of a provider ends the program with anything but a `ConfigError`, which names it."""
    written = "".join(f"{key} = {value}\n" for key, value in pairs).encode()
    for text in (written, CORP.encode()[:place] + octets + CORP.encode()[place:]):
        problem = None
        try:
            profile = parse_profile(text, "a.toml", Path("a.toml"))
            read_layers(Layer(read_shipped("policy.toml"), "shipped"), [Layer(text, "a.toml", PROFILE_KEYS)])
        except ConfigError as error:
            problem = error
        assert problem is None or problem.file == "a.toml"
        assert problem is not None or (profile.upstreams and profile.name)
