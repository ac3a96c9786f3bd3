"""The one upstream of all: knotd's answers by DoT, made to look like a recursive resolver's. A process of its own.

    python -m tools.differ.upstream FOLDER DOT_PORT KNOT_PORT

RA is set and AA cleared. A few names get what no zone file says: an extended error, or a failure.
"""

import re
import socket
import sys
from pathlib import Path

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import trio

from stubresolver.lab.servers import DotServer
from tests.interop.zoneserver import read_credential
from tools.differ.zone import BROKEN

_CHAIN = re.compile(r"c\d+\.lab")
_RCODES = dict(zip(BROKEN, (dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.NOTIMP, dns.rcode.FORMERR), strict=True))


class Relay:
    """Asks knotd, over one TCP connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stream: socket.socket | None = None

    def answer(self, wire: bytes) -> bytes | None:
        """What the upstream says."""
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None
        name = str(query.question[0].name).rstrip(".").lower() if query.question else ""
        if name in _RCODES:
            return self._fail(query, _RCODES[name])
        reply = bytearray(self._ask(wire))
        reply[2] &= ~0x04  # AA
        reply[3] |= 0x80  # RA
        if name == "ede.lab" and query.edns >= 0:
            return self._explain(bytes(reply))
        return self._complete(query, bytes(reply)) if _CHAIN.fullmatch(name) else bytes(reply)

    def _ask(self, wire: bytes) -> bytes:
        for _ in range(2):  # knotd ends an idle connection
            try:
                stream = self._stream or socket.create_connection(("127.0.0.1", self._port), timeout=5)
                self._stream = stream
                stream.sendall(len(wire).to_bytes(2) + wire)
                size = _read(stream, 2)
                return _read(stream, int.from_bytes(size))
            except OSError:
                self._stream = None
        raise RuntimeError("knotd does not answer")

    def _complete(self, query: dns.message.Message, reply: bytes) -> bytes:
        """The rest of a chain of aliases, of which knotd follows only the first few."""
        response = dns.message.from_wire(reply)
        while query.question[0].rdtype != dns.rdatatype.CNAME:
            aliases = [rrset for rrset in response.answer if rrset.rdtype == dns.rdatatype.CNAME]
            target = aliases[-1][0].target
            if any(rrset.name == target for rrset in response.answer) or response.authority:
                break
            query.question[0].name = target
            more = dns.message.from_wire(self._ask(query.to_wire()))
            response.answer += more.answer
            response.authority = more.authority
            if not more.answer:
                break
        return response.to_wire(max_size=65535, want_shuffle=False)

    @staticmethod
    def _fail(query: dns.message.Message, rcode: dns.rcode.Rcode) -> bytes:
        response = dns.message.make_response(query, recursion_available=True)
        response.set_rcode(rcode)
        if query.edns >= 0:
            response.use_edns(0, query.ednsflags & dns.flags.DO, options=[dns.edns.EDEOption(22, "broken on purpose")])
        return response.to_wire()

    @staticmethod
    def _explain(reply: bytes) -> bytes:
        response = dns.message.from_wire(reply)
        response.use_edns(0, response.ednsflags, options=[dns.edns.EDEOption(29, "a note")])
        return response.to_wire(want_shuffle=False)


def _read(stream: socket.socket, size: int) -> bytes:
    octets = b""
    while len(octets) < size:
        piece = stream.recv(size - len(octets))
        if not piece:
            raise OSError("closed")
        octets += piece
    return octets


async def _serve(folder: Path, port: int, knot: int) -> None:
    server = DotServer(read_credential(folder), Relay(knot).answer, port=port)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        print("serving", flush=True)


if __name__ == "__main__":
    trio.run(_serve, Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
