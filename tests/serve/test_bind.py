"""Listening addresses: reading them, binding them, and saying what is wrong."""

import errno
import os
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.errors import BadInput, CannotListen
from stubresolver.serve import bind
from stubresolver.serve.bind import ListenAddress, bind_all, bind_tcp, bind_udp, is_absent, parse_listen_address
from stubresolver.serve.holder import Holder

LOOPBACK = ListenAddress(IPv4Address("127.0.0.1"), 0)
LOOPBACK6 = ListenAddress(IPv6Address("::1"), 0)
NOT_OURS = ListenAddress(IPv4Address("192.0.2.1"), 0)  # RFC 5737: documentation, on no machine


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("127.0.0.1:53", "127.0.0.1", 53),
        ("127.0.0.1", "127.0.0.1", 53),
        (" 127.0.0.1:5300 ", "127.0.0.1", 5300),
        ("[::1]:5300", "::1", 5300),
        ("[::1]", "::1", 53),
        ("::1", "::1", 53),
        ("0.0.0.0:0", "0.0.0.0", 0),  # noqa: S104 - read, not bound
        ("[::ffff:127.0.0.1]:53", "127.0.0.1", 53),
        ("127.0.0.1:65535", "127.0.0.1", 65535),
    ],
)
def test_parse_reads_what_people_write(text, address, port):
    """An address with or without a port is read; without, it is DNS's own."""
    assert parse_listen_address(text) == ListenAddress(ip_address(address), port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        ":53",
        "localhost:53",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:+53",
        "127.0.0.1:5_3",
        "127.0.0.1:٥٣",
        "127.0.0.1: 53",
        "127.1:53",
        "[::1",
        "[::1]53",
        "[::1]:",
        "[127.0.0.1:53",
        "::1:53:",
        "fe80::1",
        "[fe80::1%eth0]:53",
        "224.0.0.251:5353",
        "[ff02::fb]:5353",
        "255.255.255.255:53",
        "127.0.0.1:53:53",
        "127.0.0.1:99999999999999999999",
    ],
)
def test_parse_refuses_nonsense(text):
    """Whatever is no address is refused with the text as it was given and an example of what is expected."""
    with pytest.raises(BadInput) as caught:
        parse_listen_address(text)
    assert repr(text) in str(caught.value)
    assert "expected" in str(caught.value)


@given(st.text(alphabet="0123456789abcdf:.[]%/ \0x", max_size=40) | st.text())
def test_parse_gives_an_address_or_bad_input(text):
    """Any text is an address or `BadInput`, never another exception."""
    try:
        address = parse_listen_address(text)
    except BadInput:
        return
    assert 0 <= address.port <= 65535


@given(st.ip_addresses(), st.integers(0, 65535))
def test_parse_reads_back_what_is_printed(address, port):
    """What `str` writes is read as the same value, wherever the address can be listened on."""
    listen = ListenAddress(address, port)
    try:
        read = parse_listen_address(str(listen))
    except BadInput:
        meant = getattr(address, "ipv4_mapped", None) or address
        assert meant.is_multicast or meant.is_link_local or meant == IPv4Address("255.255.255.255")
        return
    assert read == listen or getattr(address, "ipv4_mapped", None) == read.address


@pytest.mark.parametrize(
    ("text", "loopback"), [("127.3.4.5", True), ("::1", True), ("192.0.2.1", False), ("::", False)]
)
def test_is_loopback_tells_who_can_reach_it(text, loopback):
    """Only addresses that no other machine reaches count as loopback."""
    assert parse_listen_address(text).is_loopback is loopback


@pytest.mark.parametrize("address", [LOOPBACK, LOOPBACK6])
def test_bound_sockets_are_private(address):
    """Sockets do not block, share their port with nobody, and IPv6 takes no IPv4 port with it."""
    with bind_udp(address) as udp, bind_tcp(address) as tcp:
        assert udp.getblocking() is tcp.getblocking() is False
        assert udp.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 0
        for sock in (udp, tcp):
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0
            assert sock.get_inheritable() is False
            if address is LOOPBACK6:
                assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
        assert tcp.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1


@pytest.mark.parametrize("bind_one", [bind_udp, bind_tcp])
def test_taken_port_names_its_holder(bind_one):
    """If the port is taken, the error names the process that has it and a way out."""
    with bind_one(LOOPBACK) as sock, pytest.raises(CannotListen) as caught:
        bind_one(ListenAddress(LOOPBACK.address, sock.getsockname()[1]))
    assert f"(process {os.getpid()})" in str(caught.value)
    assert "--listen 127.0.0.1:5300" in str(caught.value)
    assert caught.value.__cause__.errno == errno.EADDRINUSE
    assert not is_absent(caught.value)


@pytest.mark.parametrize(
    ("holder", "words"),
    [
        (
            Holder("systemd-resolve", 812),
            ["systemd-resolve (process 812)", "DNSStubListener=no", "restart systemd-resolved"],
        ),
        (Holder("dnsmasq", 7), ["dnsmasq (process 7)", "port=0", "systemctl restart dnsmasq"]),
        (Holder("systemd", 1), ["systemctl start stubresolver.service"]),
        (Holder("stubresolver", 9), ["it runs already"]),
        (Holder("named", 5), ["named (process 5)", "stop it"]),
        (None, ["sudo ss -lnp 'sport = :53'"]),
    ],
)
def test_taken_port_says_the_fix(monkeypatch, holder, words):
    """The usual holders of port 53 are known by name, with the exact way to make them let go."""
    monkeypatch.setattr(bind, "find_holder", lambda *_: holder)
    text = _explain(errno.EADDRINUSE, ListenAddress(IPv4Address("127.0.0.1"), 53))
    assert all(word in text for word in [*words, "--listen 127.0.0.1:5300"])


def test_lacking_privilege_says_the_ways_out(monkeypatch):
    """A port that needs a privilege: socket unit, sudo, another port, or the sysctl, each ready to be typed."""
    monkeypatch.setattr(bind, "_unprivileged_start", lambda: 1024)
    text = _explain(errno.EACCES, ListenAddress(IPv6Address("::1"), 53))
    for way in (
        "systemctl enable --now stubresolver.socket",
        "sudo",
        "--listen [::1]:5300",
        "unprivileged_port_start=53",
    ):
        assert way in text


def test_permission_denied_without_need_blames_no_privilege(monkeypatch):
    """A high port that is denied is a sandbox's doing, and no privilege is advised."""
    monkeypatch.setattr(bind, "_unprivileged_start", lambda: 1024)
    assert "sandbox" in _explain(errno.EACCES, ListenAddress(IPv4Address("127.0.0.1"), 5300))


def test_other_errors_are_quoted():
    """An error without advice of ours is told in the system's words."""
    assert _explain(errno.ENOMEM, LOOPBACK) == "Cannot allocate memory"


@pytest.mark.parametrize("bind_one", [bind_udp, bind_tcp])
def test_absent_address_is_told_apart(bind_one):
    """An address that the machine does not have is named as such and can be told apart by the caller."""
    with pytest.raises(CannotListen, match=r"192\.0\.2\.1:0 \((UDP|TCP)\): no interface") as caught:
        bind_one(NOT_OURS)
    assert is_absent(caught.value)


def test_bind_all_gives_both_transports_one_port():
    """Each address gets UDP and TCP under the same number, even one that the kernel chose."""
    bound = bind_all([LOOPBACK, LOOPBACK6])
    try:
        assert [sock.getsockname()[1] for sock in bound.udp] == [sock.getsockname()[1] for sock in bound.tcp]
        assert [sock.family for sock in bound.udp] == [socket.AF_INET, socket.AF_INET6]
        assert bound.left_out == ()
    finally:
        bound.close()


def test_bind_all_draws_again_where_tcp_is_taken(monkeypatch):
    """Port 0: if UDP is given a number whose TCP twin another program has, both get another one."""
    with bind_tcp(LOOPBACK) as taken:
        ports = iter([taken.getsockname()[1], taken.getsockname()[1], 0])
        drawn = []

        def draw(address):
            drawn.append(bind_udp(ListenAddress(address.address, next(ports))))
            return drawn[-1]

        monkeypatch.setattr(bind, "bind_udp", draw)
        bound = bind_all([LOOPBACK])
        try:
            assert bound.udp == (drawn[2],)
            assert bound.udp[0].getsockname() == bound.tcp[0].getsockname()
            assert [sock.fileno() for sock in drawn[:2]] == [-1, -1]
        finally:
            bound.close()


def test_bind_all_draws_only_so_often_and_no_port_that_was_named(monkeypatch):
    """A port that a person named is tried once; a free one is not sought for ever. Nothing stays bound."""
    with bind_tcp(LOOPBACK) as taken:
        port, drawn = taken.getsockname()[1], []

        def draw(address):
            drawn.append(bind_udp(ListenAddress(address.address, port)))
            return drawn[-1]

        monkeypatch.setattr(bind, "bind_udp", draw)
        for named, attempts in ((port, 1), (0, 8)):
            drawn.clear()
            with pytest.raises(CannotListen, match=f":{port} "):
                bind_all([ListenAddress(LOOPBACK.address, named)])
            assert [sock.fileno() for sock in drawn] == [-1] * attempts


def test_bind_all_is_all_or_nothing():
    """If a named address cannot be bound, those bound before are closed again."""
    with bind_udp(LOOPBACK) as probe:
        free = ListenAddress(LOOPBACK.address, probe.getsockname()[1])
    with pytest.raises(CannotListen):
        bind_all([free, NOT_OURS])
    bind_udp(free).close()


@pytest.mark.parametrize("number", [errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT])
def test_bind_all_does_without_ipv6_loopback(monkeypatch, number):
    """On a machine without IPv6 the IPv4 addresses are served, and the reason for the gap is told."""
    _without_ipv6(monkeypatch, number)
    bound = bind_all([LOOPBACK6, LOOPBACK])
    try:
        assert len(bound.udp) == len(bound.tcp) == 1
        assert "this machine has no IPv6" in str(bound.left_out[0])
    finally:
        bound.close()


def test_bind_all_needs_one_address(monkeypatch):
    """If IPv6 loopback was the only address, its absence is fatal."""
    _without_ipv6(monkeypatch, errno.EADDRNOTAVAIL)
    with pytest.raises(CannotListen, match="no IPv6"):
        bind_all([LOOPBACK6])


def _without_ipv6(monkeypatch, number):
    """Let IPv6 sockets fail as they do where IPv6 is off."""
    make = socket.socket

    def open_socket(family, kind):
        if family == socket.AF_INET6:
            raise OSError(number, "no")
        return make(family, kind)

    monkeypatch.setattr(bind.socket, "socket", open_socket)


def _explain(number, address):
    return bind._explain(OSError(number, os.strerror(number)), socket.SOCK_DGRAM, address)
