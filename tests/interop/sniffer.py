"""Writes down every IP packet of the network that it runs in, one line of hexadecimal digits each; Linux.

    python sniffer.py [INTERFACE] > packets

It listens on all interfaces, or on the one that is named; says "listening" first, and ends at the end of its input
after what has arrived until then.
"""

import errno
import select
import socket
import sys

ETH_P_ALL = 3  # linux/if_ether.h
SOL_PACKET = 263  # linux/socket.h
PACKET_STATISTICS = 6  # linux/if_packet.h: struct tpacket_stats { tp_packets, tp_drops }


def write_down(sock: socket.socket) -> None:
    """Every packet that waits."""
    while True:
        try:
            packet = sock.recv(1 << 17)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENETDOWN:  # packet(7): "Interface is not up"; it will be, or nothing passes it
                raise
            return
        print(packet.hex())  # noqa: T201 - its output


def main() -> None:
    """Listen until the input ends."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
        if sys.argv[1:]:
            sock.bind((sys.argv[1], ETH_P_ALL))
        sock.setblocking(False)
        print("listening", flush=True)  # noqa: T201 - its output
        while sys.stdin not in select.select([sock, sys.stdin], [], [])[0]:
            write_down(sock)
        write_down(sock)
        drops = int.from_bytes(sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)[4:], sys.byteorder)
    sys.exit(f"{drops} packets were lost" if drops else 0)


if __name__ == "__main__":
    main()
