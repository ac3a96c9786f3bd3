"""The plaintext proof: no octet of a question is anywhere in what the resolver's machine has sent or received in clear.

Every name that the fault lab asks for carries one label, so it is enough to look for that label: in each packet, and in
each direction of each TCP connection put together again. Only the conversation between clients and the listener may
show it, and what a test declares: a plain zone's server, or the portal's.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address

from tests.faults.answers import ZONE
from tests.interop.network import Packet, read_packet

_LABEL = ZONE.partition(".")[0].encode()
_LISTENERS = frozenset({("127.0.0.1", 53), ("::1", 53)})
_OVERLAP = len(_LABEL)


@dataclass(slots=True)
class Proof:
    """What a capture has shown."""

    packets: int = 0
    octets: int = 0
    asked: int = 0  # packets between clients and the listener in which a name can be read: the capture works
    encrypted: int = 0  # octets of TCP to and from anybody else
    leaks: list[str] = field(default_factory=list)

    def add(self, other: "Proof") -> None:
        """What another capture has shown, too."""
        self.packets += other.packets
        self.octets += other.octets
        self.asked += other.asked
        self.encrypted += other.encrypted
        self.leaks += other.leaks


def prove(lines: Iterable[str], declared: Collection[tuple[str, int]] = ()) -> Proof:
    """Look at packets, one line of hexadecimal digits each; `declared` are servers that are asked in clear."""
    proof = Proof()
    tails: dict[tuple[object, object], bytes] = {}
    for line in lines:
        packet = read_packet(bytes.fromhex(line))
        if packet is not None:
            _look(packet, proof, tails, frozenset(declared))
    return proof


def _look(
    packet: Packet, proof: Proof, tails: dict[tuple[object, object], bytes], declared: frozenset[tuple[str, int]]
) -> None:
    proof.packets += 1
    proof.octets += len(packet.payload)
    payload = packet.payload.lower()
    if packet.touches(*_LISTENERS):
        proof.asked += _LABEL in payload
        return
    if packet.touches(*declared):
        return
    if packet.protocol == "TCP":
        proof.encrypted += len(payload)
        # retransmitted or not: a label that was cut in two is whole where its parts follow each other
        flow = (packet.source, packet.target)
        payload = tails.get(flow, b"") + payload
        tails[flow] = payload[-_OVERLAP:]
    if _LABEL in payload:
        proof.leaks.append(f"{packet.protocol} {packet.source} to {packet.target}: the name in clear")
    # a question to anybody's plain DNS server is one, whatever is in it; ICMP errors are neither TCP nor UDP
    if packet.payload and packet.target[1] == 53 and not ip_address(packet.target[0]).is_multicast:
        proof.leaks.append(f"{packet.protocol} {packet.source} to {packet.target}: plain DNS")
