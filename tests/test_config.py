"""config: what a file says, what it may not say, and that the documented defaults are the defaults."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from stubresolver.config import (
    LogsOptions,
    Settings,
    load_log_list,
    load_policy,
    load_policy_file,
    load_settings,
    parse_settings,
    read_shipped,
)
from stubresolver.config.options import Document
from stubresolver.errors import ConfigError
from stubresolver.forward import ForwardOptions, PortalOptions
from stubresolver.lab.world import World
from stubresolver.verify import Policy

ROOT = Path(__file__).resolve().parent.parent
CONF = ROOT / "conf" / "stubresolver.toml"


def parse(text: str) -> Settings:
    return parse_settings(text.encode(), "mine.toml", Path("/etc/mine"))


def test_documented_file_is_the_default() -> None:
    """conf/stubresolver.toml says of every key what holds without it."""
    assert replace(load_settings(CONF), source="defaults") == Settings()


def test_documented_file_names_every_key() -> None:
    """No key can be set that conf/stubresolver.toml does not document."""
    text = CONF.read_text("utf-8")
    settings = Settings()
    for options in (
        settings.listen,
        settings.upstream,
        settings.resolver,
        settings.cache,
        settings.local,
        PortalOptions(),
        LogsOptions(),
    ):
        for key in options.__struct_fields__:
            assert f"\n{key} = " in text, key
    for key in Document.__struct_fields__:
        assert any(f"\n{written}" in text for written in (f"{key} = ", f"[{key}]", f"# [[{key}]]")), key


def test_documented_file_shows_every_key_of_a_forward_zone() -> None:
    """There is no default zone, so the keys stand in comments; what is shown can be used."""
    lines = [line.removeprefix("#     ") for line in CONF.read_text("utf-8").split("\n") if line.startswith("#     ")]
    shown = lines[lines.index("[[forward]]") + 1 :]
    keys = [line.partition(" = ")[0] for line in shown]
    assert list(dict.fromkeys(keys))[: len(ForwardOptions.__struct_fields__)] == list(ForwardOptions.__struct_fields__)
    for upstreams in [line for line in shown if line.startswith("upstreams = ")]:
        [zone] = parse(f'[[forward]]\nzone = "a"\n{upstreams}\n').forward
        assert zone.upstreams or zone.servers or zone.file
    default = parse('[[forward]]\nzone = "a"\nupstreams = "udp://10.0.0.1"\n').forward[0]
    assert f"private = {str(default.private).lower()}" in shown


def test_shipped_policy_is_the_documented_one() -> None:
    """conf/policy.toml is the shipped policy, octet for octet."""
    assert (ROOT / "conf" / "policy.toml").read_bytes() == read_shipped("policy.toml")


def test_empty_file_changes_nothing() -> None:
    """An empty configuration is the default one."""
    assert replace(parse(""), source="defaults") == Settings()


def test_paths_count_from_the_folder_of_the_file() -> None:
    """A relative path means beside the configuration, an absolute one itself."""
    settings = parse('[trust]\npolicy = "p.toml"\nlog_list = "/x/l.json"\n[evidence]\nfile = "e.sqlite3"\n')
    assert settings.policy_file == Path("/etc/mine/p.toml")
    assert settings.log_list_file == Path("/x/l.json")
    assert settings.evidence_file == Path("/etc/mine/e.sqlite3")


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ('[trust.upstreams]\n"tls://9.9.9.9" = "p.toml"\n', 'trust.upstreams."tls://9.9.9.9"', "one of `upstreams`"),
        ('[trust.upstreams]\n"tls://1.1.1.1" = "p.toml"\n', 'trust.upstreams."tls://1.1.1.1"', "one of `upstreams`"),
        ('[trust.upstreams]\n"one" = "p.toml"\n', 'trust.upstreams."one"', "not spoken"),
        (
            'upstreams = ["tls://1.1.1.1"]\n[trust.upstreams]\n"tls://1.1.1.1" = "a"\n"tls://1.1.1.1:853" = "b"\n',
            'trust.upstreams."tls://1.1.1.1:853"',
            "twice",
        ),
        (
            'upstreams = ["tls://1.1.1.1"]\n[trust.upstreams]\n"tls://1.1.1.1" = ""\n',
            'trust.upstreams."tls://1.1.1.1"',
            "path of a policy file",
        ),
        ("upstreams = []", "upstreams", "got an empty list, expected a list in brackets"),
        ('upstreams = ["tls://dns.example"]', "upstreams[0]", "not an IP address"),
        ('upstreams = ["udp://1.1.1.1"]', "upstreams[0]", "'udp'"),
        ('upstreams = ["tls://1.1.1.1", "tls://1.1.1.1:853"]', "upstreams", "twice"),
        ("upstreams = 3", "upstreams", "got 3, expected a list in brackets"),
        ('[listen]\naddresses = ["[::1]:53", "::1"]', "listen.addresses", "twice"),
        ("[listen]\naddresses = []", "listen.addresses", "got an empty list, expected a list in brackets"),
        ('[listen]\naddresses = ["localhost:53"]', "listen.addresses[0]", "not an IP address"),
        ("[listen]\ntcp_clients = 0", "listen.tcp_clients", "got 0, expected a whole number from 1 to 4096"),
        ("[cache]\nmax_ttl = true", "cache.max_ttl", "got true, expected a whole number"),
        ("[local]\nhosts = '/etc/hosts'", "local.hosts", 'write ["/etc/hosts"]'),
        ("[local]\nspecial = {onion = 1}", "local.special", "expected true or false"),
        ("[local]\nblock_lists = [{file = 'x', answer = 'drop'}]", "local.block_lists[0].answer", 'got "drop"'),
        ("[local]\nblock_lists = [{file = 'x', answer = 'drop'}]", "local.block_lists[0].answer", 'or "refused"'),
        ("[upstream]\norder = 'fast'", "upstream.order", 'expected "latency" or "strict"'),
        ("[local]\nblock_lists = ['x']", "local.block_lists[0]", "expected a table"),
        ("[cache]\nmax_tll = 5", "cache.max_tll", "unknown"),
        ("[trsut]\npolicy = ''", "trsut", "unknown"),
        ("[trust]\npolicy = 7", "trust.policy", "got 7, expected text in quotes"),
        ("[upstream]\nquery_timeout = '4'", "upstream.query_timeout", 'got "4", expected a number from 0.05 to 60'),
        ("listen = 1", "listen", "got 1, expected a table"),
        ("= 3", "", "not TOML"),
        (f"x = {'1' * 5000}", "", "not TOML"),
        (f"x = {'[' * 100_000}", "", "not TOML"),
    ],
)
def test_broken_file_is_named_with_its_key(text: str, key: str, words: str) -> None:
    """A mistake is told with file, key and what was expected; nothing of the file is taken over."""
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert caught.value.file == "mine.toml"
    assert caught.value.key == key
    assert words in caught.value.problem


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\n[cache]\nmin_ttl = -1", "cache.min_ttl: line 3: got -1, expected a whole number from 0 to 3600"),
        ("[upstream]\nsilence = nan", "upstream.silence: line 2: got nan, expected a number from 0.05 to 60"),
        ("[cache]\nstale = 'yes'", 'cache.stale: line 2: got "yes", expected true or false, without quotes'),
        ("[upstream]\norder = 'fast'", 'upstream.order: line 2: got "fast", expected "latency" or "strict"'),
        ("[local]\nrecords = 3", "local.records: line 2: got 3, expected text in quotes"),
        ("[local]\nspecial = { test = 3 }", "local.special: line 2: each value in it: expected true or false"),
        (
            "upstreams = 'tls://1.1.1.1'",
            'upstreams: line 1: got "tls://1.1.1.1", expected a list in brackets, of 1 to 64 entries; write ["tls://1.1',
        ),
        ("upstreams = ['tls://1.1.1.1',\n'tls://a.example']", "upstreams[1]: line 2: upstream 'tls://a.example': "),
        ("[forward]\nzone = 'a'", "forward: line 1: got a table, expected a list of tables { zone, zones, upstreams"),
        ("[[forward]]\nzone = 'a'", "forward[0].upstreams: line 1: missing key, expected a list in brackets"),
        ("[[forward]]\nx = 1", "forward[0].x: line 2: unknown key; take it out; an entry knows zone, "),
        ("[cach]\nstale = true", "cach: line 1: unknown key; write cache"),
        ("[cache]\nmax_tll = 1", "cache.max_tll: line 2: unknown key; write max_ttl"),
        ("query_timeout = 3", "query_timeout: line 1: unknown key; it belongs into the table [upstream]"),
        ("mode = 'report'", "mode: line 1: unknown key; take it out; the file knows upstreams, providers, "),
    ],
)
def test_mistake_is_told_in_plain_words_with_its_line(text: str, told: str) -> None:
    """What was got, what was expected, and where the remedy follows from that, the remedy."""
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert str(caught.value).startswith(f"mine.toml: {told}")


def test_file_that_is_no_text_is_refused() -> None:
    """Octets that are not UTF-8 are no configuration."""
    with pytest.raises(ConfigError, match="not UTF-8"):
        parse_settings(b"\xff\xfe", "mine.toml", Path())


def test_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A file that was named and is not there is an error, never the default."""
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_settings(tmp_path / "absent.toml")
    settings = parse_settings(b'[trust]\npolicy = "a\\u0000b"', "mine.toml", tmp_path)
    with pytest.raises(ConfigError, match=r"a\\x00b': trust.policy: cannot be read: embedded null byte"):
        load_policy(settings.policy_file)


def test_shipped_trust_loads() -> None:
    """Without any file there are anchors, an allow-list, a deny-list, CT demands and a list of logs."""
    policy = load_policy(None)
    assert len(policy.anchors) > 50
    assert policy.issuers is not None
    assert policy.issuers.allowed
    assert policy.ct is not None
    assert len(load_log_list(None).logs) == 100


def test_anchors_come_from_where_the_policy_says(tmp_path: Path) -> None:
    """A PEM file beside the policy takes certifi's place."""
    world = World(datetime(2026, 11, 2, tzinfo=UTC))
    (tmp_path / "roots.pem").write_bytes(world.anchors_pem)
    (tmp_path / "policy.toml").write_text('[anchors]\nsource = "roots.pem"\n')
    policy = load_policy(tmp_path / "policy.toml")
    assert isinstance(policy, Policy)
    assert policy.anchors == world.policy.anchors


@pytest.mark.parametrize(
    ("source", "words"),
    [("absent.pem", "cannot be read"), ("policy.toml", "no certificates in PEM"), ("system", "the system's store")],
)
def test_anchors_that_cannot_be_had_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, words: str
) -> None:
    """No anchors means no service; never another store instead."""
    monkeypatch.setattr("stubresolver.config.anchors.SYSTEM_STORES", (tmp_path / "absent.crt",))
    path = tmp_path / "policy.toml"
    path.write_text(f'[anchors]\nsource = "{source}"\n')
    with pytest.raises(ConfigError, match=words) as caught:
        load_policy(path)
    assert "anchors.source" in str(caught.value)


def test_systems_store_is_named_with_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only who asks for it gets this machine's store, the first that is there, and reads whose it is."""
    world = World(datetime(2026, 11, 2, tzinfo=UTC))
    store = tmp_path / "ca-bundle.crt"
    store.write_bytes(world.anchors_pem)
    monkeypatch.setattr("stubresolver.config.anchors.SYSTEM_STORES", (tmp_path / "absent.crt", store))
    (tmp_path / "policy.toml").write_text('[anchors]\nsource = "system"\n')
    loaded = load_policy_file(tmp_path / "policy.toml")
    assert loaded.policy.anchors == world.policy.anchors
    assert loaded.anchors == f"the system's store, {store}"
    assert "whoever administers it, and any product that installs a root" in loaded.warning
    assert not load_policy_file(None).warning


def test_local_files_count_from_the_folder() -> None:
    """The files of local knowledge are named like every other file; what is said of them is checked by its shape."""
    local = parse(
        '[local]\nhosts = ["h", "/etc/hosts"]\nallow_lists = ["a"]\n'
        'block_lists = [{file = "b"}, {file = "/x/c", answer = "zero"}]\n'
    ).local
    assert local.hosts == ("/etc/mine/h", "/etc/hosts")
    assert local.allow_lists == ("/etc/mine/a",)
    assert [(entry.file, entry.answer) for entry in local.block_lists] == [
        ("/etc/mine/b", "nxdomain"),
        ("/x/c", "zero"),
    ]
    assert parse("").local.hosts == ("/etc/hosts",)


def test_upstream_may_name_its_own_policy() -> None:
    """The key is compared as a value, however it is written; the path counts from the configuration's folder."""
    settings = parse(
        'upstreams = ["tls://10.0.0.53#DNS.corp.example", "tls://1.1.1.1"]\n'
        '[trust.upstreams]\n"tls://10.0.0.53:853#dns.corp.example." = "corp.toml"\n'
    )
    assert settings.upstream_policies == {settings.upstreams[0]: Path("/etc/mine/corp.toml")}
    other = settings.with_trust(Path("all.toml"), None)
    assert (other.policy_file, other.upstream_policies) == (Path("all.toml"), {})
    assert settings.with_trust(None, None) == settings


def test_anchor_that_the_judge_cannot_read_is_an_error(tmp_path: Path) -> None:
    """What PEM takes and the judge does not is told with file and key, so that a reload is refused and nothing ends."""
    anchor = World(datetime(2026, 11, 2, tzinfo=UTC)).lab.anchor
    while anchor[-1] & 1:  # a signature that can claim an unused bit
        anchor = World(datetime(2026, 11, 2, tzinfo=UTC)).lab.anchor
    place = len(anchor) - len(x509.load_der_x509_certificate(anchor).signature) - 1
    odd = x509.load_der_x509_certificate(anchor[:place] + b"\1" + anchor[place + 1 :])
    (tmp_path / "roots.pem").write_bytes(odd.public_bytes(Encoding.PEM))
    (tmp_path / "policy.toml").write_text('[anchors]\nsource = "roots.pem"\n')
    with pytest.raises(ConfigError, match=r"anchors\.source: .*roots\.pem: .*whole octets"):
        load_policy(tmp_path / "policy.toml")


@pytest.mark.parametrize("way", ["where", "symlink"])
def test_systems_store_is_not_taken_for_certifi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """Distributions and add-ons put the system's store in certifi's place; that is told and not used."""
    system = tmp_path / "ca-certificates.crt"
    system.write_bytes(World(datetime(2026, 11, 2, tzinfo=UTC)).anchors_pem)
    if way == "symlink":
        package = tmp_path / "certifi"
        package.mkdir()
        (package / "cacert.pem").symlink_to(system)
        monkeypatch.setattr("certifi.__file__", str(package / "__init__.py"))
        monkeypatch.setattr("certifi.where", lambda: str(package / "cacert.pem"))
    else:
        monkeypatch.setattr("certifi.where", lambda: str(system))
    with pytest.raises(ConfigError, match=r"anchors\.source: .*ca-certificates\.crt.*install certifi from PyPI"):
        load_policy(None)


def test_log_list_that_is_none_is_an_error(tmp_path: Path) -> None:
    """A pinned list that does not parse is fatal and named."""
    path = tmp_path / "list.json"
    path.write_text("<html>")
    with pytest.raises(ConfigError, match=r"list\.json: not a log list"):
        load_log_list(path)


@pytest.mark.parametrize(
    ("octets", "told"),
    [
        (b"", "an empty file"),
        (b"\xc3(", "no UTF-8 text"),
        (b"logs = []", "not JSON: "),
        (b"[]", "in the v3 schema: Expected `object`"),
    ],
)
def test_log_list_that_is_none_says_what_it_is(tmp_path: Path, octets: bytes, told: str) -> None:
    """What a person took for a list is named, and not how a parser stumbled over it."""
    (tmp_path / "list.json").write_bytes(octets)
    with pytest.raises(ConfigError, match=r"list\.json: not a log list") as caught:
        load_log_list(tmp_path / "list.json")
    assert told in str(caught.value)


def test_installed_log_list_comes_before_the_shipped_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a named file the one in /etc/stubresolver is in force if it is there, else the shipped one."""
    installed = tmp_path / "log_list.json"
    monkeypatch.setattr("stubresolver.config.log_list.LOG_LIST_FILE", installed)
    assert len(load_log_list(None).logs) == 100
    world = World(datetime(2026, 11, 2, tzinfo=UTC))
    installed.write_bytes(world.log_list_json)
    assert load_log_list(None).logs.keys() == {log.log_id for log in world.logs}
    named = tmp_path / "named.json"
    named.write_bytes(read_shipped("log_list.json"))
    assert len(load_log_list(named).logs) == 100


@pytest.mark.parametrize("broken", ["empty", "dangling link", "link to itself", "folder"])
def test_installed_log_list_that_is_broken_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """What lies in the place of the list in force must be one: the shipped list never stands in for it unseen."""
    installed = tmp_path / "log_list.json"
    monkeypatch.setattr("stubresolver.config.log_list.LOG_LIST_FILE", installed)
    match broken:
        case "empty":
            installed.write_bytes(b"")
        case "dangling link":
            installed.symlink_to(tmp_path / "nowhere")
        case "link to itself":
            installed.symlink_to(installed)
        case "folder":
            installed.mkdir()
    with pytest.raises(ConfigError) as caught:
        load_log_list(None)
    assert caught.value.file == str(installed)


def test_broken_log_list_names_the_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rollback where there is a list to go back to; without the installed file the shipped one is in force."""
    installed = tmp_path / "log_list.json"
    monkeypatch.setattr("stubresolver.config.log_list.LOG_LIST_FILE", installed)
    installed.write_bytes(b"{")
    with pytest.raises(ConfigError, match=r"; without this file the shipped list is in force$"):
        load_log_list(None)
    (tmp_path / "log_list.json.previous").write_bytes(read_shipped("log_list.json"))
    with pytest.raises(ConfigError, match=r"; `stubresolver logs rollback` brings the list before it back; without"):
        load_log_list(None)
    with pytest.raises(ConfigError, match=r"brings the list before it back$"):
        load_log_list(installed)


def test_sources_of_log_lists_are_urls_words_and_paths() -> None:
    """A relative path counts from the folder of the file; a URL and the word `shipped` stand as they are."""
    text = '[logs]\nsources = ["https://lists.example/x.json", "shipped", "a.json"]\nkeys = ["k.pem"]\nquorum = 3\n'
    settings = parse(text)
    assert settings.log_sources == ("https://lists.example/x.json", "shipped", "/etc/mine/a.json")
    assert settings.log_keys == (Path("/etc/mine/k.pem"),)
    assert settings.quorum == 3
    for wrong in ("quorum = 0", "quorum = 17", "sources = 1", "source = []"):
        with pytest.raises(ConfigError, match=r"mine\.toml: logs"):
            parse(f"[logs]\n{wrong}\n")
