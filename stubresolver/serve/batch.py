"""Many datagrams with one call of the kernel: recvmmsg(2) and sendmmsg(2) on one UDP socket.

- An answer leaves in the message that brought its query: the sender's address, and the packet information that says
  which of our addresses was asked, stay as the kernel wrote them; no address is taken apart on the way.
- Nothing here waits, and nothing raises for what the kernel says: a message that it does not take is dropped and
  counted, as the network itself may drop any datagram, and the next one is tried.
- Beside `netwatch.timer` the only file that calls libc by itself. Nothing is called back: that would take code that is
  written at run time, which the sandbox forbids (MemoryDenyWriteExecute=).
- The socket belongs to the caller and is asked for its descriptor at each call: once it is closed, the number may be
  another file's.
- Datagrams and answers are octets of one piece of memory, made once: a slot for each message of a batch, and one more
  for an answer that comes later.
"""

import ctypes
import mmap
import socket
import struct
from collections.abc import Iterable
from typing import Final, NamedTuple

BATCH: Final = 64  # at about 4 µs a cached answer, others wait for less than half a millisecond

# A query is a header, a question of at most 259 octets and an OPT: even padded by the block (RFC 8467 s4.1) it has no
# use for more than this. What is larger is cut by the kernel, to one octet more so that it can be told.
MAX_DATAGRAM: Final = 4096

_SO_MEMINFO: Final = 55  # asm-generic/socket.h; the socket module has no name for it
_MEMINFO = struct.Struct("9I")  # linux/sock_diag.h: SK_MEMINFO_RMEM_ALLOC, SK_MEMINFO_RCVBUF, ..., SK_MEMINFO_DROPS
_IP_PKTINFO: Final = 8  # linux/in.h; the socket module of Python 3.11 has no name for it
_NO_WAIT: Final = int(socket.MSG_DONTWAIT)


class _Vector(ctypes.Structure):
    """struct iovec of readv(2)."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    """struct msghdr of recvmsg(2)."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    """struct mmsghdr of recvmmsg(2): a header, and how many octets came."""

    _fields_ = (("header", _Header), ("received", ctypes.c_uint))


_libc = ctypes.CDLL(None)
_recvmmsg = _libc.recvmmsg
_recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
_sendmmsg = _libc.sendmmsg
_sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)

_NAME_LENGTHS: Final = {socket.AF_INET: 16, socket.AF_INET6: 28}  # struct sockaddr_in, struct sockaddr_in6
_ADDRESSES: Final = {socket.AF_INET: (4, 4), socket.AF_INET6: (8, 16)}  # in them: sin_addr and sin6_addr, their octets
_NAME: Final = 32
_CONTROL: Final = socket.CMSG_SPACE(
    20
)  # struct in6_pktinfo, the larger of the two: an address and an interface's index
_PEER: Final = _NAME + _CONTROL
_DATA: Final = MAX_DATAGRAM + 64  # one octet more would do; with a whole cache line the slots lie in different ones

# Where things are in the memory: all messages, all vectors, each slot's name and control data, each slot's datagram.
_SLOTS: Final = BATCH + 1
_LATER: Final = BATCH  # the slot of an answer that comes later
_MESSAGE: Final = ctypes.sizeof(_Message)
_VECTORS: Final = _SLOTS * _MESSAGE
_PEERS: Final = _VECTORS + _SLOTS * ctypes.sizeof(_Vector)
_DATAGRAMS: Final = _PEERS + _SLOTS * _PEER
_OCTETS: Final = _DATAGRAMS + _SLOTS * _DATA


class Waiting(NamedTuple):
    """What the kernel says of a socket's queue; in octets of its memory, which are more than those of datagrams."""

    octets: int
    room: int
    dropped: int  # datagrams that found no room, since the socket was made


class WayBack(NamedTuple):
    """Where an answer goes: the sender's address and the packet information, as the kernel wrote them."""

    peer: bytes
    control_length: int


class DatagramBatch:
    """The messages of one bound UDP socket: `receive` a batch, then `send` the answers that are at hand."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._address_at, self._address_octets = _ADDRESSES[sock.family]
        is_wildcard = sock.getsockname()[0] in {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound
        if is_wildcard:
            _ask_for_packet_information(sock)
        self._has_index = is_wildcard and sock.family == socket.AF_INET
        self._memory = mmap.mmap(-1, _OCTETS)  # unlike a bytearray's, its slices are hashable and take one copy
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self._write_messages(_NAME_LENGTHS[sock.family], _CONTROL if is_wildcard else 0)
        self._empty = self._memory[:_PEERS]  # messages and vectors as `receive` wants them
        self._starts = range(_DATAGRAMS, _OCTETS, _DATA)
        # Single fields of all messages and vectors, as sequences by slot. Linux' size_t is as wide as unsigned long.
        size = ctypes.sizeof(ctypes.c_size_t)
        messages, vectors = memoryview(self._memory)[:_VECTORS], memoryview(self._memory)[_VECTORS:_PEERS]
        self._received = messages.cast("I")[_Message.received.offset // 4 :: _MESSAGE // 4]
        self._control_lengths = messages.cast("L")[_Header.control_length.offset // size :: _MESSAGE // size]
        self._lengths = vectors.cast("L")[_Vector.length.offset // size :: ctypes.sizeof(_Vector) // size]

    def receive(self) -> list[bytes]:
        """The datagrams that wait, at most `BATCH`; each one's index is its slot. What was not sent is forgotten."""
        memory = self._memory
        memory[:_PEERS] = self._empty
        count = _recvmmsg(self._sock.fileno(), self._address, BATCH, _NO_WAIT, None)
        if count <= 0:  # nothing waits; or a passing lack of memory, and the socket stays readable
            return []
        if self._has_index:
            self._clear_index(count)
        received = self._received[:count].tolist()
        return [memory[start : start + length] for start, length in zip(self._starts, received, strict=False)]

    def send(self, answers: Iterable[bytes | None]) -> int:
        """Answer the datagrams of the last `receive`, slot by slot; None is no answer now. How many were dropped."""
        memory = self._memory
        count = dropped = 0
        for slot, answer in enumerate(answers):
            if answer is None:
                continue
            if not self._put(slot, answer):
                dropped += 1
                continue
            if slot != count:  # close the gap: messages leave from a row
                here, there = count * _MESSAGE, slot * _MESSAGE
                memory[here : here + _MESSAGE] = memory[there : there + _MESSAGE]
            count += 1
        return dropped + self._transmit(0, count)

    def address(self, slot: int) -> bytes:
        """The address that this slot's datagram came from: 4 or 16 octets in network order."""
        start = _PEERS + slot * _PEER + self._address_at
        return self._memory[start : start + self._address_octets]

    def port(self, slot: int) -> int:
        """The port that this slot's datagram came from; it stands at the same place in both kinds of address."""
        start = _PEERS + slot * _PEER + 2
        return self._memory[start] << 8 | self._memory[start + 1]

    def sender(self, slot: int) -> bytes:
        """The address and port that this slot's datagram came from, as the kernel wrote them."""
        start = _PEERS + slot * _PEER
        return self._memory[start : start + self._address_at + self._address_octets]

    def queue(self) -> Waiting:
        """What waits in the socket."""
        try:
            found = _MEMINFO.unpack(self._sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size))
        except (OSError, struct.error):  # closed, or a kernel before 4.12
            return Waiting(0, 1, 0)
        return Waiting(found[0], found[1], found[8])

    def way_back(self, slot: int) -> WayBack:
        """Where an answer to this slot's datagram goes if it is not at hand; to be taken before `send`."""
        start = _PEERS + slot * _PEER
        return WayBack(self._memory[start : start + _PEER], self._control_lengths[slot])

    def send_later(self, way_back: WayBack, answer: bytes) -> int:
        """Send one answer at any time, between `receive` and `send` too. How many were dropped."""
        start = _PEERS + _LATER * _PEER
        self._memory[start : start + _PEER] = way_back.peer
        self._control_lengths[_LATER] = way_back.control_length
        return self._transmit(_LATER, 1) if self._put(_LATER, answer) else 1

    def _put(self, slot: int, answer: bytes) -> bool:
        """Write the answer into the slot in place of its datagram; False if it does not fit."""
        length = len(answer)
        if length > _DATA:
            return False
        start = self._starts[slot]
        self._memory[start : start + length] = answer
        self._lengths[slot] = length
        return True

    def _transmit(self, first: int, count: int) -> int:
        """Send a row of messages; how many were dropped."""
        end, dropped = first + count, 0
        descriptor = self._sock.fileno()
        while first < end:
            # sendmmsg(2): an error is reported only if it is the first message's; else the call ends before it.
            sent = _sendmmsg(descriptor, self._address + first * _MESSAGE, end - first, _NO_WAIT)
            if sent <= 0:  # full buffer, firewall, sender's port 0, closed: the client will ask again
                dropped += 1
            first += max(sent, 1)
        return dropped

    def _clear_index(self, count: int) -> None:
        """Leave the interface of the answers to the routes; our address, which was asked, stays.

        struct in_pktinfo { int ipi_ifindex; struct in_addr ipi_spec_dst, ipi_addr; }: on sending, spec_dst is the
        source address, and on receiving, the kernel puts the local address there. struct in6_pktinfo { struct in6_addr
        ipi6_addr; int ipi6_ifindex; } keeps its index, which link-local addresses need.
        """
        first = _PEERS + _NAME + socket.CMSG_LEN(0)
        for start in range(first, first + count * _PEER, _PEER):
            self._memory[start : start + 4] = bytes(4)

    def _write_messages(self, name_length: int, control_length: int) -> None:
        """Point each slot's message to the slot's own name, control data and datagram."""
        messages = (_Message * _SLOTS).from_buffer(self._memory)
        vectors = (_Vector * _SLOTS).from_buffer(self._memory, _VECTORS)
        for slot, (message, vector) in enumerate(zip(messages, vectors, strict=True)):
            peer = self._address + _PEERS + slot * _PEER
            vector.base, vector.length = self._address + _DATAGRAMS + slot * _DATA, MAX_DATAGRAM + 1
            message.header = _Header(
                peer, name_length, ctypes.addressof(vector), 1, peer + _NAME if control_length else None, control_length
            )


def _ask_for_packet_information(sock: socket.socket) -> None:
    """Let each answer leave from the address that was asked, on a socket that is bound to all of them.

    RFC 2181 s4.1: "servers, when responding to queries using UDP, must cause the reply to be sent with the source
    address field in the IP header set to the address that was in the destination address field of the IP header of the
    packet containing the query causing the response." The kernel would choose by its routes instead.
    """
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
