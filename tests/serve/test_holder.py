"""Who holds a port, read from /proc."""

import os
import socket
import sys
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.serve.holder import Holder, _address, find_holder

HEADING = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
ROW = "  0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000   101        0 {inode} 1 0\n"


@pytest.fixture
def proc(tmp_path):
    """A /proc with one process, `named`, that holds inode 4711, and systemd that holds it too."""
    (tmp_path / "net").mkdir()
    for pid, name, inode in ((1, "systemd", 4711), (33, "cron", 5), (812, "named", 4711)):
        (tmp_path / str(pid) / "fd").mkdir(parents=True)
        (tmp_path / str(pid) / "comm").write_text(f"{name}\n")
        (tmp_path / str(pid) / "fd" / "7").symlink_to(f"socket:[{inode}]")
    return tmp_path


def table(proc, name, local, state="07", inode=4711):
    (proc / "net" / name).write_text(HEADING + ROW.format(local=local, state=state, inode=inode))


@pytest.mark.parametrize(
    ("name", "local", "held"),
    [
        ("udp", "0100007F:0035", True),
        ("udp", "00000000:0035", True),  # a wildcard holds every address
        ("udp6", "00000000000000000000000000000000:0035", True),  # dual-stack
        ("udp6", "0000000000000000FFFF00000100007F:0035", True),  # IPv4-mapped
        ("udp", "3500007F:0035", False),  # 127.0.0.53 does not keep 127.0.0.1 from being bound
        ("udp", "0100007F:0036", False),
    ],
)
def test_conflict_is_same_port_and_same_or_every_address(proc, name, local, held):
    """A socket is in the way if it has our port, and our address or all addresses."""
    table(proc, name, local)
    holder = find_holder(socket.SOCK_DGRAM, IPv4Address("127.0.0.1"), 53, proc)
    assert holder == (Holder("named", 812) if held else None)


def test_wildcard_conflicts_with_any_address(proc):
    """To bind every address, none may be taken."""
    table(proc, "udp", "3500007F:0035")
    assert find_holder(socket.SOCK_DGRAM, IPv4Address(0), 53, proc) == Holder("named", 812)


@pytest.mark.parametrize(("state", "held"), [("0A", True), ("01", False), ("06", False)])
def test_only_listening_tcp_is_in_the_way(proc, state, held):
    """A TCP connection that is established or in TIME_WAIT holds nothing; a listener does."""
    table(proc, "tcp", "0100007F:0035", state)
    assert (find_holder(socket.SOCK_STREAM, IPv4Address("127.0.0.1"), 53, proc) is not None) is held


@pytest.mark.parametrize("text", ["", "junk", HEADING, HEADING + "x\n", HEADING + "a b:c d e f g h i j k\n"])
def test_unreadable_tables_name_nobody(proc, text):
    """A table that cannot be understood gives no holder and no exception."""
    (proc / "net" / "udp").write_text(text)
    assert find_holder(socket.SOCK_DGRAM, IPv4Address("127.0.0.1"), 53, proc) is None


def test_absent_proc_names_nobody(tmp_path):
    """Where there is no /proc, nobody is named."""
    assert find_holder(socket.SOCK_DGRAM, IPv4Address("127.0.0.1"), 53, tmp_path / "none") is None


def test_files_of_others_name_nobody(proc):
    """If the process's files cannot be read, nobody is named."""
    table(proc, "udp", "0100007F:0035", inode=99)
    assert find_holder(socket.SOCK_DGRAM, IPv4Address("127.0.0.1"), 53, proc) is None


@given(st.ip_addresses(v=6).filter(lambda address: address.ipv4_mapped is None))
def test_addresses_are_words_in_the_machines_order(address):
    """An IPv6 address is four words, each in the machine's own order."""
    words = [address.packed[at : at + 4] for at in range(0, 16, 4)]
    text = "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)
    assert _address(text) == address


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
@pytest.mark.parametrize("address", [IPv4Address("127.0.0.1"), IPv6Address("::1")])
def test_real_proc_names_this_process(kind, address):
    """On a real Linux the holder of our own socket is found."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, kind) as sock:
        sock.bind((str(address), 0))
        if kind == socket.SOCK_STREAM:
            sock.listen()
        holder = find_holder(kind, address, sock.getsockname()[1])
    assert holder is not None
    assert holder.pid == os.getpid()
