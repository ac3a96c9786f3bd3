"""The servers on real loopback sockets, asked by another OpenSSL; TLS facts by a machine joined to a machine."""

import contextlib
import ssl

import h2.connection
import h2.events
import pytest
import trio
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from stubresolver.lab.conversations import Behaviour
from stubresolver.lab.rogues import GALLERY
from stubresolver.lab.servers import DohServer, DotServer
from stubresolver.lab.tls import TLSFailed, TLSServer, server_context
from stubresolver.lab.world import ADDRESSES, World
from stubresolver.lab.zone import LabZone

ZONE = LabZone()
# A query for example.lab A with id 0x1234, by hand: RFC 1035 s4.1.
QUERY = bytes.fromhex("1234 0100 0001 0000 0000 0000 07 6578616d706c65 03 6c6162 00 0001 0001")


@pytest.fixture(scope="module")
def world(now):
    return World(now)


@pytest.fixture(scope="module")
def credential(world):
    return world.issue()


def client_context(alpn=None):
    """A TLS client that takes any certificate: the servers are tested here, not what they present."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF  # CPython before 3.11.4 sets it, and an end looks like any other
    if alpn:
        context.set_alpn_protocols([alpn])
    return context


@contextlib.asynccontextmanager
async def running(server):
    """The port of a server that runs until the block ends."""
    async with trio.open_nursery() as nursery:
        yield await nursery.start(server.serve)
        nursery.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def connected(port, alpn=None, host="127.0.0.1", context=None):
    """A TLS stream with its handshake done, closed without a word at the end of the block."""
    tcp = await trio.open_tcp_stream(host, port)
    stream = trio.SSLStream(tcp, context or client_context(alpn))
    try:
        await stream.do_handshake()
        yield stream
    finally:
        await trio.aclose_forcefully(stream)


async def read_frames(stream, count):
    """So many frames, and nothing behind the last."""
    data, found = b"", []
    while len(found) < count:
        piece = await stream.receive_some()
        assert piece, f"the stream ended after {len(found)} frames"
        data += piece
        while len(data) >= 2 and len(data) >= (end := 2 + int.from_bytes(data[:2], "big")):
            found.append(data[2:end])
            data = data[end:]
    assert data == b""
    return found


def framed(wire):
    return len(wire).to_bytes(2, "big") + wire


@pytest.mark.parametrize("address", ADDRESSES, ids=str)
async def test_dot_server_answers(credential, address):
    """A framed query inside TLS 1.3 is answered on the address that was asked for, and counted."""
    server = DotServer(credential, ZONE.answer, address=address)
    async with running(server) as port, connected(port, "dot", str(address)) as stream:
        assert (stream.version(), stream.selected_alpn_protocol()) == ("TLSv1.3", "dot")
        assert stream.getpeercert(binary_form=True) == credential.chain[0]
        await stream.send_all(framed(QUERY) * 2)
        assert await read_frames(stream, 2) == [ZONE.answer(QUERY)] * 2
    tally = server.tally
    assert (tally.connections, tally.handshakes, tally.queries) == (1, 1, 2)
    assert tally.application_octets == 2 * len(framed(QUERY))


async def test_doh_server_answers(credential):
    """A POST over HTTP/2 is answered on the path that the server was given."""
    server = DohServer(credential, ZONE.answer, path="/ask")
    async with running(server) as port, connected(port, "h2") as stream:
        assert stream.selected_alpn_protocol() == "h2"
        http = h2.connection.H2Connection()
        http.initiate_connection()
        headers = {":method": "POST", ":scheme": "https", ":authority": "127.0.0.1", ":path": "/ask"}
        http.send_headers(1, [*headers.items(), ("content-type", "application/dns-message")])
        http.send_data(1, QUERY, end_stream=True)
        await stream.send_all(http.data_to_send())
        body, ended = b"", False
        while not ended:
            for event in http.receive_data(await stream.receive_some()):
                body += event.data if isinstance(event, h2.events.DataReceived) else b""
                ended |= isinstance(event, h2.events.StreamEnded)
    assert body == ZONE.answer(QUERY)
    assert server.tally.queries == 1


async def test_close_is_clean(credential):
    """`close_after` says close_notify (RFC 8446 s6.1)."""
    server = DotServer(credential, ZONE.answer, behaviour=Behaviour(close_after=1))
    async with running(server) as port, connected(port) as stream:
        await stream.send_all(framed(QUERY))
        assert await stream.receive_some() == b""


async def test_cut_is_not_clean(credential):
    """`cut_after` gives half of an answer and then ends without close_notify."""
    server = DotServer(credential, ZONE.answer, behaviour=Behaviour(cut_after=1))
    async with running(server) as port, connected(port) as stream:
        await stream.send_all(framed(QUERY))
        whole = framed(ZONE.answer(QUERY))
        assert await stream.receive_some() == whole[: len(whole) // 2]
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()


async def test_tls12_server_speaks_no_tls13(credential):
    """`tls12` is a server that a client of TLS 1.3 cannot speak with, and an old client can."""
    server = DotServer(credential, ZONE.answer, tls12=True)
    strict = client_context()
    strict.minimum_version = ssl.TLSVersion.TLSv1_3
    async with running(server) as port:
        with pytest.raises(trio.BrokenResourceError):
            async with connected(port, context=strict):
                pass
        async with connected(port) as stream:
            assert stream.version() == "TLSv1.2"
            await stream.send_all(framed(QUERY))
            assert await read_frames(stream, 1) == [ZONE.answer(QUERY)]
    assert (server.tally.connections, server.tally.handshakes) == (2, 1)


@pytest.mark.parametrize("kind", [DotServer, DohServer])
@pytest.mark.parametrize("junk", [b"\x00", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" + b"\xff" * 400])
async def test_no_client_ends_the_server(credential, kind, junk):
    """Clients that speak no TLS, or junk inside it, or vanish, end their own connections and nothing else."""
    server = kind(credential, ZONE.answer)
    async with running(server) as port:
        async with await trio.open_tcp_stream("127.0.0.1", port) as plain:
            await plain.send_all(junk)
        async with connected(port) as inside:
            await inside.send_all(junk)
        async with await trio.open_tcp_stream("127.0.0.1", port):
            pass
        async with connected(port) as good:
            assert good.version() == "TLSv1.3"
    assert server.tally.queries == 0


@pytest.mark.parametrize("rogue", GALLERY, ids=lambda rogue: rogue.code)
async def test_rogue_is_a_server_that_would_answer(world, rogue):
    """Each rogue completes its handshake and counts: nothing before a query, the query's octets after."""
    server = rogue.server(world)
    async with running(server) as port, connected(port) as stream:
        assert server.tally.application_octets == 0
        await stream.send_all(framed(QUERY))
        assert await read_frames(stream, 1) == [ZONE.answer(QUERY)]
    assert server.tally.application_octets == len(framed(QUERY))


class TLSClient:
    """A pyOpenSSL client joined to a `TLSServer` by hand."""

    def __init__(self, credential, alpn=None):
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        if alpn:
            context.set_alpn_protos(alpn)
        self.connection = SSL.Connection(context, None)
        self.connection.set_connect_state()
        self.server = TLSServer(server_context(credential, b"dot"))

    def shuttle(self, step=65536):
        """Let both speak until both are silent; gives what the server understood."""
        understood = b""
        while True:
            with contextlib.suppress(SSL.WantReadError):
                self.connection.do_handshake()
            try:
                data = self.connection.bio_read(65536)
            except SSL.WantReadError:
                return understood
            for start in range(0, len(data), step):
                understood += self.server.receive_data(data[start : start + step])
            if reply := self.server.data_to_send():
                self.connection.bio_write(reply)


@pytest.mark.parametrize("step", [1, 65536])
def test_handshake_is_post_quantum_and_brings_the_chain(credential, step):
    """The server speaks X25519MLKEM768 and sends the chain leaf first, however the octets are cut."""
    client = TLSClient(credential, [b"h2", b"dot"])
    client.shuttle(step)
    assert client.server.established
    assert client.connection.get_group_name() == "X25519MLKEM768"
    assert client.connection.get_alpn_proto_negotiated() == b"dot"
    chain = client.connection.get_peer_cert_chain(as_cryptography=True)
    assert tuple(certificate.public_bytes(Encoding.DER) for certificate in chain) == credential.chain


@pytest.mark.parametrize("alpn", [None, [b"http/1.1"]])
def test_handshake_without_our_alpn_completes(credential, alpn):
    """Who does not offer the server's protocol is served without one."""
    client = TLSClient(credential, alpn)
    client.shuttle()
    assert client.server.established
    assert client.connection.get_alpn_proto_negotiated() == b""


def test_close_notify_is_heard_and_said(credential):
    """A close_notify of the client is an end, one of the server reaches the client."""
    client = TLSClient(credential)
    client.shuttle()
    client.connection.send(b"last words")
    client.connection.shutdown()
    assert client.shuttle() == b"last words"
    assert client.server.closed
    other = TLSClient(credential)
    other.shuttle()
    other.server.close()
    other.connection.bio_write(other.server.data_to_send())
    with pytest.raises(SSL.ZeroReturnError):
        other.connection.recv(1)


def test_broken_tls_is_an_alert(credential):
    """Junk instead of a ClientHello raises `TLSFailed`, and the alert is there to be sent."""
    server = TLSServer(server_context(credential, b"dot"))
    with pytest.raises(TLSFailed):
        server.receive_data(b"\x16\x03\x01\x00\x05hello")
    assert server.data_to_send()[:1] == b"\x15"
