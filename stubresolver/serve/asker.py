"""Whose place in the queue it is: one word for each client, for rules that let nobody have everything.

On loopback all clients have one address, so it is the socket that counts; a machine elsewhere counts as one, whatever
its ports, and in IPv6 as the network that it may take its addresses from: RFC 4291 s2.5.4, RFC 8273. Who has many
sockets on this machine counts as many, which no address can tell.
"""

from typing import Final

_MAPPED: Final = bytes(10) + b"\xff\xff"  # RFC 4291 s2.5.5.2
_LOOPBACK: Final = bytes(15) + b"\1"
_INTERFACE: Final = 8  # octets of an IPv6 address that tell the network


def asker_of(address: bytes, port: int) -> bytes:
    """The word for a client at an address, 4 or 16 octets in network order, and port."""
    if len(address) == 16:
        if address.startswith(_MAPPED):
            address = address[12:]
        elif address != _LOOPBACK:
            return address[:_INTERFACE]
    if len(address) == 4 and address[0] != 127:
        return address
    return address + port.to_bytes(2)
