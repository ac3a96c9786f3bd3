"""The clients of the fault lab, as one program beside the resolver: asks what it is told and times each answer.

    python -m tests.faults.asker < questions > replies

A question is `{"id": 1, "name": "a-1.lab", "type": 1, "via": "udp", "to": ["127.0.0.1", 53], "patience": 5}`; its reply
`{"id": 1, "got": {"wire": hexadecimal or "", "took": seconds, "at": CLOCK_MONOTONIC when it was asked}}`. Every
question has a socket and an id of its own; all are asked at once as they come.
"""

import json
import secrets
import socket
import sys
import time
from typing import Any

import trio

_OPT = bytes.fromhex("00 0029 04d0 00000000 0000")


def query(name: str, kind: int) -> bytes:
    """One question with EDNS and a random id."""
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.rstrip(".").split(".") if label)
    head = secrets.token_bytes(2) + bytes.fromhex("0100 0001 0000 0000 0001")
    return head + labels + b"\0" + kind.to_bytes(2) + b"\0\1" + _OPT


async def ask(question: dict[str, Any]) -> dict[str, Any]:
    """One question; "" where nothing came in time."""
    wire = query(question["name"], question["type"])
    place = (question["to"][0], question["to"][1])
    send = _by_tcp if question["via"] == "tcp" else _by_udp
    at, reply = time.monotonic(), b""
    with trio.move_on_after(question["patience"]):
        try:
            reply = await send(place, wire)
        except (OSError, trio.BrokenResourceError):
            reply = b""
    return {"wire": reply.hex(), "took": time.monotonic() - at, "at": at}


async def _by_udp(place: tuple[str, int], wire: bytes) -> bytes:
    family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
    with trio.socket.socket(family, socket.SOCK_DGRAM) as sock:
        await sock.connect(place)
        await sock.send(wire)
        while (reply := await sock.recv(65535))[:2] != wire[:2]:
            pass
        return reply


async def _by_tcp(place: tuple[str, int], wire: bytes) -> bytes:
    stream = await trio.open_tcp_stream(*place)
    async with stream:
        await stream.send_all(len(wire).to_bytes(2) + wire)
        got = b""
        while len(got) < 2 or len(got) < 2 + int.from_bytes(got[:2]):
            data = await stream.receive_some(65536)
            if not data:
                return b""
            got += data
        return got[2:]


async def main() -> None:
    """Ask until the input ends."""

    async def answer(question: dict[str, Any]) -> None:
        reply = {"id": question.pop("id"), "got": await ask(question)}
        print(json.dumps(reply), flush=True)  # noqa: T201 - its output

    buffer = b""
    questions = trio.lowlevel.FdStream(sys.stdin.fileno())
    async with trio.open_nursery() as nursery:
        print('{"id": 0, "got": "ready"}', flush=True)  # noqa: T201 - its output
        while data := await questions.receive_some(65536):
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                nursery.start_soon(answer, json.loads(line))
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
