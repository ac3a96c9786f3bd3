"""`[[forward]]` tables: what they mean, and what a person may not write, with the reason and the way out."""

from ipaddress import ip_address
from pathlib import Path

import pytest

from stubresolver.config import Settings, parse_settings
from stubresolver.errors import ConfigError
from stubresolver.forward import zone_of
from stubresolver.local.names import zone_name
from stubresolver.upstream import parse_upstream
from stubresolver.upstream.server import PlainServer

DNS = 'upstreams = "udp://10.0.0.53"\n'


def parse(text: str) -> Settings:
    return parse_settings(text.encode(), "mine.toml", Path("/etc/mine"))


def test_table_is_read_whole() -> None:
    """Every key has its meaning; names are compared in lower case, paths count from the configuration's folder."""
    settings = parse(
        '[[forward]]\nzone = "Corp.Example."\nzones = ["10.in-addr.arpa"]\n'
        'upstreams = ["tls://10.0.0.53#dns.corp.example", "https://10.0.0.54/dns-query"]\n'
        'policy = "corp.toml"\nmax_ttl = 300\nprivate = false\n'
        '[[forward]]\nzone = "lan"\nupstreams = ["udp://192.168.1.1", "tcp://[fd00::1]:5353"]\n'
        '[[forward]]\nzone = "home"\nupstreams = "resolv.conf:/run/resolv.conf"\n'
    )
    corp, lan, home = settings.forward
    assert corp.zones == (zone_name("corp.example"), zone_name("10.in-addr.arpa"))
    assert corp.upstreams == (parse_upstream("tls://10.0.0.53#dns.corp.example"), parse_upstream("https://10.0.0.54"))
    assert (corp.policy_file, corp.max_ttl, corp.private) == (Path("/etc/mine/corp.toml"), 300, False)
    assert lan.servers == (
        PlainServer(ip_address("192.168.1.1")),
        PlainServer(ip_address("fd00::1"), 5353, tcp=True),
    )
    assert (home.file, home.servers) == (Path("/run/resolv.conf"), ())
    assert (lan.policy_file, lan.max_ttl, lan.private) == (None, None, True)
    assert str(corp) == "Corp.Example., 10.in-addr.arpa"


def test_others_see_the_zones() -> None:
    """Policies, local knowledge and the commands about upstreams ask the settings."""
    settings = parse(
        'upstreams = ["tls://1.1.1.1"]\n[[forward]]\nzone = "a"\nupstreams = "tls://10.0.0.53"\npolicy = "a.toml"\n'
        f'private = false\n[[forward]]\nzones = ["b", "c"]\n{DNS}'
    )
    corp = parse_upstream("tls://10.0.0.53")
    assert settings.all_upstreams == (parse_upstream("tls://1.1.1.1"), corp)
    assert settings.upstream_policies == {corp: Path("/etc/mine/a.toml")}
    assert settings.forwarded == {zone_name(name) for name in "abc"}
    assert settings.private_zones == {zone_name(name) for name in "bc"}
    assert zone_of(settings.forward, corp) is settings.forward[0]
    assert zone_of(settings.forward, settings.upstreams[0]) is None


def test_many_zones_are_told_in_few_words() -> None:
    """A line of the log names three of them."""
    zones = ", ".join(f'"{number}.172.in-addr.arpa"' for number in range(16, 32))
    [zone] = parse(f"[[forward]]\nzones = [{zones}]\n{DNS}").forward
    assert str(zone) == "16.172.in-addr.arpa, 17.172.in-addr.arpa, 18.172.in-addr.arpa (+13 more)"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (DNS, 'expected `zone = "corp.example"`'),
        (f'zone = "."\n{DNS}', "the root is not forwarded: everything would be asked unencrypted"),
        (f'zone = ""\n{DNS}', "the root is not forwarded"),
        ('zone = "."\nupstreams = "tls://10.0.0.53"\n', "name its servers in `upstreams`"),
        ('zone = "."\nupstreams = "resolv.conf:/run/x"\n', "everything would be asked unencrypted"),
        (f'zones = ["a", "."]\n{DNS}', "the root is not forwarded"),
        (f'zone = "a..b"\n{DNS}', "'a..b' is no name"),
        (f'zone = "bücher.example"\n{DNS}', "expected ASCII labels"),
        (f'zone = "{"a" * 64}"\n{DNS}', "is no name"),
        (f'zone = "*.corp.example"\n{DNS}', "is no name"),
        (f'zone = "localhost"\n{DNS}', "'localhost' is this machine itself"),
        (f'zone = "app.localhost"\n{DNS}', "is this machine itself"),
        (f'zone = "127.in-addr.arpa"\n{DNS}', "is this machine itself"),
        (f'zone = "1.0.0.127.in-addr.arpa"\n{DNS}', "is this machine itself"),
        (f'zone = "1.{"0." * 31}ip6.arpa"\n{DNS}', "is this machine itself"),
        (f'zones = ["a", "A."]\n{DNS}', "the same zone stands there twice"),
        ('zone = "a"\nupstreams = "udp://9.9.9.9"\n', "9.9.9.9 is no address of a private network"),
        ('zone = "a"\nupstreams = "tcp://[2001:db8::1]"\n', "is no address of a private network"),
        ('zone = "a"\nupstreams = ["tls://10.0.0.53", "udp://10.0.0.53"]\n', "do not go together"),
        ('zone = "a"\nupstreams = ["udp://10.0.0.53", "udp://10.0.0.53:53"]\n', "udp://10.0.0.53 stands there twice"),
        ('zone = "a"\nupstreams = ["tls://10.0.0.53", "tls://10.0.0.53:853"]\n', "tls://10.0.0.53 stands there twice"),
        ('zone = "a"\nupstreams = "dns.corp.example"\n', "the scheme '' is not spoken"),
        ('zone = "a"\nupstreams = "udp://127.0.0.1:5300"\n', "udp://127.0.0.1:5300 is this resolver itself"),
        ('zone = "a"\nupstreams = ["resolv.conf:/x", "udp://10.0.0.53"]\n', "resolv.conf:/x stands alone"),
        ('zone = "a"\nupstreams = "resolv.conf:"\n', "expected the path of a file"),
        (f'zone = "a"\n{DNS}policy = "p.toml"\n', "would judge nobody: plain DNS has no certificates"),
        ('zone = "a"\nupstreams = "tls://1.1.1.1"\n', "tls://1.1.1.1 is asked for other names, too"),
    ],
)
def test_slip_is_told_with_its_table(table: str, words: str) -> None:
    """Which table, what was got, what was expected; nothing is taken over."""
    with pytest.raises(ConfigError) as caught:
        parse(f'upstreams = ["tls://1.1.1.1"]\n[listen]\naddresses = ["127.0.0.1:5300"]\n[[forward]]\n{table}')
    assert (caught.value.file, caught.value.key) == ("mine.toml", "forward[0]")
    assert words in caught.value.problem


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        (f'[[forward]]\nzone = "a"\n{DNS}[[forward]]\nzone = "A"\n{DNS}', "'A' stands in an earlier table, too"),
        (
            "".join(f'[[forward]]\nzone = "{zone}"\nupstreams = "tls://10.0.0.53"\n' for zone in "ab"),
            "name all its zones in one table",
        ),
    ],
)
def test_tables_do_not_share(tables: str, words: str) -> None:
    """A zone has one table, and so has an upstream, so that it has one policy."""
    with pytest.raises(ConfigError) as caught:
        parse(tables)
    assert (caught.value.key, words in caught.value.problem) == ("forward[1]", True)


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ('zone = "a"\n', "forward[0].upstreams"),
        ('zone = "a"\nupstreams = []\n', "forward[0].upstreams"),
        ('zone = "a"\nupstreams = 7\n', "forward[0].upstreams"),
        (f'zone = "a"\n{DNS}max_ttl = -1\n', "forward[0].max_ttl"),
        (f'zone = "a"\n{DNS}private = 1\n', "forward[0].private"),
        (f'zone = "a"\n{DNS}zome = "b"\n', "forward[0].zome"),
    ],
)
def test_shape_is_checked(table: str, key: str) -> None:
    """Unknown keys and wrong types are errors, as everywhere."""
    with pytest.raises(ConfigError) as caught:
        parse(f"[[forward]]\n{table}")
    assert caught.value.key == key


def test_same_plain_server_may_serve_several_tables() -> None:
    """It has no policy that could differ; a cap or the protection may."""
    settings = parse(f'[[forward]]\nzone = "a"\n{DNS}[[forward]]\nzone = "b"\n{DNS}max_ttl = 5\n')
    assert [zone.max_ttl for zone in settings.forward] == [None, 5]
