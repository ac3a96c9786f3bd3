"""resolv.conf as another program writes it: whose servers count, also where the writer is no friend."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.errors import BadInput
from stubresolver.forward.resolvconf import MOST_SERVERS, OCTETS, ServerFile, parse_resolv_conf


def servers(text: bytes) -> list[str]:
    return [str(server) for server in parse_resolv_conf("f", [text]).servers]


def problems(text: bytes) -> list[str]:
    return list(parse_resolv_conf("f", [text]).problems)


def test_nameservers_in_their_order() -> None:
    """resolv.conf(5): other lines, comments and what follows the address mean nothing here."""
    text = (
        b"# nameserver 10.0.0.9\n; nameserver 10.0.0.8\nsearch corp.example\noptions rotate\n"
        b"nameserver 10.0.0.53 # office\n\tnameserver\t fd00::53\r\nnameserver 10.0.0.53\n"
        b"nameserver\nnameservers 10.0.0.7\n"
    )
    assert servers(text) == ["udp://10.0.0.53", "udp://[fd00::53]"]
    assert problems(text) == []


def test_public_server_is_left_out_with_a_warning() -> None:
    """A DHCP server may name whom it likes; nobody public is asked without encryption."""
    text = b"nameserver 8.8.8.8\nnameserver 10.0.0.53\nnameserver 2001:4860:4860::8888\nnameserver what\n"
    assert servers(text) == ["udp://10.0.0.53"]
    first, second, third = problems(text)
    assert first.startswith("f:1: left out: 8.8.8.8 is no address of a private network")
    assert second.startswith("f:3: left out: 2001:4860:4860::8888 is no address")
    assert third == "f:4: left out: 'what' is no IP address"


def test_thousand_servers_are_three() -> None:
    """resolv.h: MAXNS; nor do a thousand strangers fill the log."""
    many = b"".join(b"nameserver 10.0.%d.%d\n" % (n // 250, n % 250 + 1) for n in range(1000))
    assert servers(many) == ["udp://10.0.0.1", "udp://10.0.0.2", "udp://10.0.0.3"]
    assert problems(many) == [f"f: 1000 servers; the first {MOST_SERVERS} are asked"]
    strangers = b"".join(b"nameserver 8.8.%d.%d\n" % (n // 250, n % 250 + 1) for n in range(1000))
    assert len(problems(strangers)) == 6
    assert problems(strangers)[-1] == "f: 995 more servers are left out"


@given(st.binary(max_size=200) | st.text("nameserver 10.:\n\t#%e", max_size=200).map(str.encode))
def test_any_octets_are_servers_or_refused(octets: bytes) -> None:
    """Whoever writes the file brings about nothing but private servers, or `BadInput`."""
    try:
        found = parse_resolv_conf("f", [octets])
    except BadInput:
        assert b"\0" in octets
        return
    assert len(found.servers) <= MOST_SERVERS
    assert all(line.isprintable() for line in found.problems)


def test_file_is_followed(tmp_path: Path) -> None:
    """What it says now is in force, after it has settled; a file that is gone names nobody."""
    path = tmp_path / "resolv.conf"
    followed = ServerFile(path)
    followed.read()
    assert followed.servers == ()
    assert followed.problem == f"{path}: cannot be read: No such file or directory"
    path.write_text("nameserver 10.0.0.1\n")
    assert [followed.refresh(), followed.refresh(), followed.refresh()] == [False, True, False]
    assert [str(server) for server in followed.servers] == ["udp://10.0.0.1"]
    assert followed.problems == ()
    other = tmp_path / "new"
    other.write_text("nameserver 10.0.0.2\n")
    other.rename(path)
    assert [followed.refresh(), followed.refresh()] == [False, True]
    assert [str(server) for server in followed.servers] == ["udp://10.0.0.2"]
    path.unlink()
    assert [followed.refresh(), followed.refresh()] == [False, True]
    assert followed.servers == ()
    assert followed.problems == (f"{path}: cannot be read: No such file or directory",)


@pytest.mark.parametrize("kind", ["folder", "FIFO", "large", "binary", "empty", "public"])
def test_file_that_is_no_such_file_names_nobody(tmp_path: Path, kind: str) -> None:
    """Each reason is told, none is waited for, and the servers from before are not asked any more."""
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 10.0.0.1\n")
    followed = ServerFile(path)
    followed.read()
    assert followed.servers
    path.unlink()
    words = {"folder": "not a regular file", "FIFO": "not a regular file", "large": "octets, expected 65,536 at most"}
    match kind:
        case "folder":
            path.mkdir()
        case "FIFO":
            os.mkfifo(path)
        case "large":
            path.write_bytes(b"#" * (OCTETS + 1))
        case "binary":
            path.write_bytes(b"nameserver 10.0.0.1\n\0")
        case "empty":
            path.write_bytes(b"")
        case "public":
            path.write_bytes(b"nameserver 8.8.8.8\n")
    assert [followed.refresh(), followed.refresh()] == [False, True]
    assert followed.servers == ()
    assert words.get(kind, {"binary": "not a text"}.get(kind, "names no server that may be asked")) in followed.problem
    assert followed.problem in followed.problems


def test_our_own_listener_is_left_out(tmp_path: Path) -> None:
    """A network that hands our own address out, as one with resolv.conf pointed at us does, makes no loop."""
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 127.0.0.1\nnameserver ::1\nnameserver 10.0.0.1\n")
    followed = ServerFile(path)
    followed.read()
    followed.avoid([("127.0.0.1", 53), ("::1", 53)])
    assert [str(server) for server in followed.servers] == ["udp://10.0.0.1"]
    assert f"{path}: left out: udp://127.0.0.1 is this resolver itself" in followed.problems
    path.write_text("nameserver 127.0.0.1\n")
    assert [followed.refresh(), followed.refresh()] == [False, True]
    assert followed.servers == ()
    assert followed.problems[-1] == f"{path}: names no server that may be asked"
