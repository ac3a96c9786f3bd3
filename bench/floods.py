"""Clients that want too much, each a process of its own: `python -m bench.floods KIND PORT SECONDS`.

    random    50,000 questions a second for names that nobody asked before, over UDP from one socket
    sockets   the same from 1,000 sockets
    silent    5,000 a second from 1,000 sockets, for names that the upstream never answers
    idle      1,000 TCP clients that connect and say nothing
    trickle   ... that send one octet a second of a question
    deaf      ... that ask many questions at once and never read
    slow      ... that ask for names that are never answered

A TCP client whose connection ends opens another one at once. The last line of output is one JSON object: what came of
it.
"""

import asyncio
import ctypes
import json
import logging
import os
import socket
import struct
import sys
import time
from collections import Counter

RATE = 50_000  # questions a second
SLOW_RATE = 5_000
TCP_CLIENTS = 1_000
_SOCKETS = 1_000
_STEP = 0.001  # seconds between two batches
_LABEL = 16  # random letters at the start of each name
_KINDS_TCP = ("idle", "trickle", "deaf", "slow")
KINDS = ("random", "sockets", "silent", *_KINDS_TCP)
_AT_ONCE = 400  # questions that a deaf client pipelines


def question(name: str, number: int = 1) -> bytes:
    """An A question with an OPT record (RFC 6891 s6.1.2), which the reasons of a refusal need."""
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
    header = struct.pack(">6H", number, 0x0100, 1, 0, 0, 1)
    return header + labels + b"\0\0\1\0\1" + b"\0\0\x29\x04\xd0\0\0\0\0\0\0"


class _Batch:
    """Questions for random names, sent with one call of the kernel (sendmmsg(2))."""

    def __init__(self, name: str, size: int) -> None:
        template = question("x" * _LABEL + "." + name)
        self._size, self._length = size, len(template)
        self._octets = ctypes.create_string_buffer(template * size, len(template) * size)
        start = ctypes.addressof(self._octets)
        vectors = [(start + number * self._length, self._length) for number in range(size)]
        self._vectors = ctypes.create_string_buffer(b"".join(struct.pack("PN", *each) for each in vectors))
        first = ctypes.addressof(self._vectors)
        # struct mmsghdr { struct msghdr msg_hdr; unsigned int msg_len; }: no name, one vector, no control data
        headers = [struct.pack("PIxxxxPNPNixxxxIxxxx", 0, 0, first + 16 * at, 1, 0, 0, 0, 0) for at in range(size)]
        self._headers = ctypes.create_string_buffer(b"".join(headers))
        self._sendmmsg = ctypes.CDLL(None).sendmmsg
        self._sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)

    def send(self, sock: socket.socket) -> int:
        """Send them all under new names; how many the kernel took."""
        letters = os.urandom(self._size * _LABEL // 2).hex().encode()
        octets, length = memoryview(self._octets).cast("B"), self._length
        for number in range(self._size):
            at = number * length + 13
            octets[at : at + _LABEL] = letters[number * _LABEL : (number + 1) * _LABEL]
        sent: int = self._sendmmsg(sock.fileno(), ctypes.addressof(self._headers), self._size, socket.MSG_DONTWAIT)
        return max(sent, 0)


def flood_udp(port: int, seconds: float, *, sockets: int, rate: int, name: str) -> dict[str, int]:
    """Ask for random names at a steady rate, and count what comes back."""
    socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(sockets)]
    for sock in socks:
        sock.connect(("127.0.0.1", port))
        sock.setblocking(False)
    batch = _Batch(name, int(rate * _STEP))
    codes: Counter[int] = Counter()
    sent, turn, begun = 0, 0, time.monotonic()
    while (now := time.monotonic()) < begun + seconds:
        due = int((now - begun) / _STEP)
        if turn > due:
            time.sleep(_STEP / 4)
            continue
        turn = max(turn + 1, due - 20)  # who was not let run for long does not make up for it in one burst
        sock = socks[turn % sockets]
        _take_answers(sock, codes)
        sent += batch.send(sock)
    for sock in socks:
        _take_answers(sock, codes)
    return {"sent": sent, **{_CODES.get(code, str(code)): count for code, count in codes.items()}}


_CODES = {0: "answered", 2: "servfail", 3: "nxdomain", 5: "refused"}


def _take_answers(sock: socket.socket, codes: Counter[int]) -> None:
    try:
        while True:
            codes[sock.recv(4096)[3] & 15] += 1
    except OSError:
        return


async def flood_tcp(port: int, seconds: float, kind: str) -> dict[str, int]:
    """So many clients at once, each for as long as it is let; then another in its place."""
    counts: Counter[str] = Counter()
    until = time.monotonic() + seconds

    async def client(number: int) -> None:
        while time.monotonic() < until:
            counts["connects"] += 1
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
            except OSError:
                counts["refused"] += 1
                await asyncio.sleep(0.1)
                continue
            try:
                async with asyncio.timeout(max(until - time.monotonic(), 0)):
                    await _talk(kind, reader, writer, number)
            except TimeoutError:
                counts["open_at_end"] += 1
            except OSError:
                counts["reset"] += 1
            else:
                counts["closed"] += 1
            writer.transport.abort()

    await asyncio.gather(*(client(number) for number in range(TCP_CLIENTS)))
    return dict(counts)


async def _talk(kind: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
    """What one client does until its connection ends."""
    if kind == "deaf":
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport has it
        for at in range(_AT_ONCE):
            writer.write(_framed(question(f"c{at}.wild.lab", at)))
        while not writer.is_closing():
            await asyncio.sleep(0.2)
            writer.write(b"\0")
        return
    if kind == "trickle":
        for octet in _framed(question("c1.wild.lab")):
            writer.write(bytes((octet,)))
            await asyncio.sleep(1)
            if reader.at_eof():
                return
    if kind == "slow":
        writer.write(_framed(question(f"s{number}-{time.monotonic_ns()}.silent.lab")))
    while await reader.read(4096):
        pass


def _framed(wire: bytes) -> bytes:
    return len(wire).to_bytes(2) + wire


def main() -> int:
    """One kind of flood at one port, for some seconds."""
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # that the service hangs up on a flood is what is wanted
    kind, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    if kind in _KINDS_TCP:
        counts = asyncio.run(flood_tcp(port, seconds, kind))
    elif kind == "silent":
        counts = flood_udp(port, seconds, sockets=_SOCKETS, rate=SLOW_RATE, name="silent.lab")
    else:
        counts = flood_udp(port, seconds, sockets=1 if kind == "random" else _SOCKETS, rate=RATE, name="wild.lab")
    print(json.dumps(counts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
