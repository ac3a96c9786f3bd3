"""DoT, DoH and log servers on loopback: TCP, the lab's TLS, and one conversation per connection.

They present whatever credential they are given and count what reaches them; a test of "no query before the verdict"
reads `tally.application_octets`. A client can end its own connection and nothing else.
"""

import abc
import functools
from dataclasses import KW_ONLY, dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import ClassVar

import trio
from OpenSSL import SSL

from stubresolver.lab.authority import Credential
from stubresolver.lab.conversations import AnswerFunction, Behaviour, Conversation, Desk, DotConversation, Tally
from stubresolver.lab.doh import DohConversation
from stubresolver.lab.http1 import HttpConversation, Read
from stubresolver.lab.tls import TLSFailed, TLSServer, server_context

_LOOPBACK = IPv4Address("127.0.0.1")
_READ = 65536  # octets per read: a few TLS records


@dataclass
class Server(abc.ABC):
    """What all kinds have in common. `serve` runs until it is cancelled; `tally` counts all along."""

    credential: Credential
    _: KW_ONLY
    address: IPv4Address | IPv6Address = _LOOPBACK
    port: int = 0  # 0: any free one
    tls12: bool = False  # speaks no TLS 1.3
    alpn: ClassVar[bytes]
    tally: Tally = field(init=False, default_factory=Tally)

    async def serve(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled; `nursery.start` gives the port."""
        maximum = SSL.TLS1_2_VERSION if self.tls12 else SSL.TLS1_3_VERSION
        handle = functools.partial(self._handle, server_context(self.credential, self.alpn, maximum=maximum))
        listeners = await trio.open_tcp_listeners(self.port, host=str(self.address))
        port: int = listeners[0].socket.getsockname()[1]
        task_status.started(port)
        await trio.serve_listeners(handle, listeners)

    @abc.abstractmethod
    def _converse(self) -> Conversation:
        """A fresh conversation for one connection."""

    async def _handle(self, context: SSL.Context, stream: trio.SocketStream) -> None:
        self.tally.connections += 1
        tls = TLSServer(context)
        try:
            await self._drive(stream, tls, self._converse())
        except trio.BrokenResourceError:
            pass  # the client has gone
        finally:
            await trio.aclose_forcefully(stream)

    async def _drive(self, stream: trio.SocketStream, tls: TLSServer, conversation: Conversation) -> None:
        """Carry octets between the socket and the machines until one of them ends."""
        while not (conversation.ended or tls.closed):
            data = await stream.receive_some(_READ)
            if not data:
                return
            was_established = tls.established
            try:
                plaintext = tls.receive_data(data)
            except TLSFailed:
                await stream.send_all(tls.data_to_send())  # the alert
                return
            if tls.established:
                self.tally.handshakes += not was_established
                self.tally.application_octets += len(plaintext)
                tls.send(conversation.receive_data(plaintext))
                if conversation.ended and not conversation.cut:
                    tls.close()
            await stream.send_all(tls.data_to_send())


@dataclass
class DnsServer(Server):
    """A server of queries, which departs from a good one as `behaviour` says."""

    answer: AnswerFunction
    _: KW_ONLY
    behaviour: Behaviour = field(default_factory=Behaviour)

    def _desk(self) -> Desk:
        return Desk(self.answer, self.behaviour, self.tally)


@dataclass(kw_only=True)
class DotServer(DnsServer):
    """DNS over TLS, RFC 7858."""

    alpn = b"dot"  # IANA's registry of ALPN protocol ids

    def _converse(self) -> Conversation:
        return DotConversation(self._desk())


@dataclass(kw_only=True)
class DohServer(DnsServer):
    """DNS over HTTPS, RFC 8484, on HTTP/2."""

    alpn = b"h2"  # RFC 9113 s3.1
    path: str = "/dns-query"  # as in the examples of RFC 8484 s4.1.1

    def _converse(self) -> Conversation:
        return DohConversation(self._desk(), self.path)


@dataclass
class HttpsServer(Server):
    """Pages over HTTP/1.1: where logs are read."""

    read: Read
    alpn = b"http/1.1"  # RFC 7301 s6

    def _converse(self) -> Conversation:
        return HttpConversation(self.read)
