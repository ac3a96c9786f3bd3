"""The network's own DNS servers as DHCP clients write them down: who counts, who never does, what is said in vain."""

import os
from datetime import UTC, datetime
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.errors import BadInput
from stubresolver.forward import PortalOptions, find_leases, parse_places
from stubresolver.forward.lease_formats import FORMATS
from stubresolver.upstream.server import leased_server

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)

NETWORKD = """# This is private data. Do not parse.
ADDRESS=192.168.1.20
ROUTER=192.168.1.1
DNS=192.168.1.1 9.9.9.9
NTP=192.168.1.2
"""
DHCLIENT = """default-duid "\\000\\001";
lease {
  interface "eth0";
  fixed-address 192.168.9.20;
  option domain-name-servers 192.168.9.1;
  expire 5 2026/11/27 10:00:00;
}
lease {
  interface "wlan0";
  option domain-name-servers 10.1.1.1,10.1.1.2;
  expire 0 2026/11/22 11:59:59;
}
lease {
  interface "eth0";
  option domain-name-servers 192.168.1.1, 8.8.8.8;
  option host-name "} option domain-name-servers 6.6.6.6;";
  expire epoch 1795511585; # Tue Nov 24 09:13:05 2026
}
lease6 {
  interface "eth1";
  ia-na 5a:5b:5c:5d {
    starts 1795339000;
  }
  option dhcp6.name-servers fd00::53;
}
"""
RESOLV_CONF = "# made by a program\nsearch hotel.example\nnameserver 192.168.1.1\nnameserver 2001:db8::53\n"


def leases(tmp_path, *places, listening=()):
    """What is found in places below the folder."""
    options = PortalOptions(servers=tuple(place.replace(":", f":{tmp_path}/", 1) for place in places))
    return find_leases(parse_places(options), listening, NOW)


def shown(found):
    """The addresses of each file."""
    return [[str(server.address) for server in lease.servers] for lease in found.found]


@pytest.mark.parametrize(
    ("kind", "text", "addresses"),
    [
        ("networkd", NETWORKD, ["192.168.1.1", "9.9.9.9"]),
        ("dhclient", DHCLIENT, ["192.168.1.1", "8.8.8.8", "fd00::53"]),
        ("dhcp", RESOLV_CONF, ["192.168.1.1", "2001:db8::53"]),
        ("resolv.conf", RESOLV_CONF, ["192.168.1.1"]),
    ],
)
def test_formats(tmp_path, kind, text, addresses):
    """Each client's own file; an expired lease, an earlier one, and one inside of a text do not count."""
    (tmp_path / "file").write_text(text)
    assert shown(leases(tmp_path, f"{kind}:file")) == [addresses]


@pytest.mark.parametrize(
    ("expires", "counts"),
    [
        ("expire never;", True),
        ("", True),
        ("expire epoch 1;", False),
        ("expire 0 2026/11/22 12:00:00;", False),
        ("expire 0 2026/11/22 12:00:01;", True),
        ("expire 0 2026/13/40 99:99:99;", False),
        ("expire 0 0000/00/00 00:00:00;", False),
        ("expire epoch 999999999999;", True),
    ],
)
def test_a_lease_has_an_end(tmp_path, expires, counts):
    """A server of a network that was left long ago is a stranger; a time that cannot be is no end to come."""
    (tmp_path / "file").write_text(f"lease {{\n  option domain-name-servers 10.0.0.1;\n  {expires}\n}}\n")
    assert shown(leases(tmp_path, "dhclient:file")) == ([["10.0.0.1"]] if counts else [])


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.0.0.53", "::1", "::", "0.0.0.1", "224.0.0.1", "ff02::1", "x", ""]
)
def test_who_never_counts(tmp_path, address):
    """This machine, many machines and nobody; the next one is taken."""
    (tmp_path / "file").write_text(f"nameserver {address}\nnameserver 10.0.0.1\n")
    assert shown(leases(tmp_path, "dhcp:file")) == [["10.0.0.1"]]


def test_our_own_listeners_never_count(tmp_path):
    """It would ask itself."""
    (tmp_path / "file").write_text("nameserver 192.168.1.7\n")
    found = leases(tmp_path, "dhcp:file", listening={("192.168.1.7", 53)})
    assert (found.found, found.looked) == ((), (f"{tmp_path}/file: names no server of this network",))


def test_places_in_order_and_the_youngest_first(tmp_path):
    """The first place counts before the second; of the files of one place the one that was written last."""
    for name, address, age in (("a.1", "10.0.0.1", 100), ("a.2", "10.0.0.2", 1), ("b", "10.0.0.3", 0)):
        (tmp_path / name).write_text(f"nameserver {address}\n")
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    found = leases(tmp_path, "dhcp:none", "dhcp:a.*", "dhcp:b")
    assert shown(found) == [["10.0.0.2"], ["10.0.0.1"], ["10.0.0.3"]]
    assert found.looked == (f"{tmp_path}/none: not there",)


def test_no_more_than_three(tmp_path):
    """As many as the C library asks."""
    (tmp_path / "file").write_text("".join(f"nameserver 10.0.0.{number}\n" for number in range(1, 9)))
    assert shown(leases(tmp_path, "dhcp:file")) == [["10.0.0.1", "10.0.0.2", "10.0.0.3"]]


@pytest.mark.parametrize("of", ["file", "folder"])
def test_what_everybody_can_write_counts_for_nothing(tmp_path, of):
    """A local user could send the names of all others where he likes."""
    (tmp_path / "file").write_text("nameserver 10.0.0.1\n")
    (tmp_path / "file" if of == "file" else tmp_path).chmod(0o777)
    found = leases(tmp_path, "dhcp:file")
    assert (found.found, "everybody can write there" in found.looked[0]) == ((), True)


def test_what_cannot_be_read_is_told(tmp_path):
    """A folder, a pipe, something endless: a sentence, and no waiting."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(bytes(2 << 20))
    found = leases(tmp_path, "dhcp:folder", "dhcp:pipe", "dhcp:large")
    assert found.found == ()
    assert ["not a regular file" in found.looked[0], "not a regular file" in found.looked[1]] == [True, True]
    assert "expected 1,048,576 at most" in found.looked[2]


def test_whom_a_person_may_name(tmp_path):
    """One that was found, or a private one; no other public one, and never this machine."""
    (tmp_path / "file").write_text("nameserver 9.9.9.9\n")
    found = leases(tmp_path, "dhcp:file")
    assert str(found.choose("9.9.9.9")) == "udp://9.9.9.9"
    assert str(found.choose("192.168.1.1")) == "udp://192.168.1.1"
    assert found.source([leased_server("9.9.9.9")]) == f"{tmp_path}/file"
    assert found.source([leased_server("192.168.1.1")]) == ""
    for text in ("8.8.8.8", "127.0.0.1", "::1", "dns.example"):
        with pytest.raises(BadInput):
            found.choose(text)


@pytest.mark.parametrize("text", ["", "dhcp", "dhcp:", "dhcp:relative", "other:/run/x", "/run/x", "dhcp:/run/*/x"])
def test_what_is_no_place(text):
    """An unknown format, or no whole path, says what was expected."""
    with pytest.raises(BadInput, match=r"expected one of networkd, dhclient, dhcp, resolv\.conf"):
        parse_places(PortalOptions(servers=(text,)))


def test_the_places_by_default_are_places():
    """Each of them reads; none is needed."""
    assert len(parse_places(PortalOptions())) == len(PortalOptions().servers)
    assert parse_places(PortalOptions(servers=())) == ()


@given(st.sampled_from(sorted(FORMATS)), st.text(max_size=300) | st.text("{};lease option\n =DNS,.1", max_size=300))
def test_belt_whatever_a_file_says(kind, text):
    """Any text gives texts, and an address among them is one that may be looked at."""
    for named in FORMATS[kind](text, NOW):
        try:
            server = leased_server(named[:64])
        except BadInput:
            continue
        assert not server.address.is_loopback
        assert server.address == (getattr(ip_address(named[:64]), "ipv4_mapped", None) or ip_address(named[:64]))
