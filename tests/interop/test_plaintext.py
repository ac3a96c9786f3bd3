"""No name that is asked for leaves in clear, whatever happens: every packet of a network of its own is looked at."""

import pytest

from stubresolver.config import DEFAULT_UPSTREAMS
from stubresolver.lab.rogues import GALLERY
from stubresolver.upstream import parse_upstream
from tests.interop.clients import ask
from tests.interop.network import Network, can_make_network
from tests.interop.peers import start_unbound
from tests.interop.programs import start
from tests.interop.service import Service, write_files

LISTENER = ("127.0.0.1", 53)
PORTS = (5353, 853, 443)  # of the upstream: plain, which nobody may use, DoT and DoH
PRIVATE = "privatelabel"


@pytest.fixture
def make_network(tmp_path, need):
    """`make_network(*addresses)`: ended with the test."""
    need("dig", "unbound", "unshare", "nsenter", "ip")
    if not can_make_network():
        pytest.skip("needs root, or user namespaces, to make a network of its own")
    networks = []

    def make(*addresses):
        networks.append(Network(tmp_path, addresses))
        return networks[-1]

    yield make
    for network in networks:
        network.close()


@pytest.fixture
def serve(new_folder, world, make_network):
    """`serve(network, upstreams)`: the resolver on port 53 of that network."""
    services = []

    def run(network, upstreams):
        file = write_files(new_folder(), world, upstreams, listen="127.0.0.1:53")
        services.append(start(lambda: Service(file, 53, network.prefix)))
        return services[-1]

    yield run
    for service in services:
        status = service.program.end()
        assert status == 0, service.program


@pytest.fixture
def serve_unbound(new_folder):
    """`serve_unbound(network, credential)`: Unbound in that network."""
    peers = []

    def run(network, credential=None):
        peers.append(start_unbound(new_folder(credential), ports=PORTS, prefix=network.prefix))
        return peers[-1]

    yield run
    for peer in peers:
        peer.program.end()


def ask_private(network, *hows):
    """The status of each question for a private name."""
    return [
        ask("dig", 53, *how, f"{PRIVATE}-{number}.wild.lab", "A", prefix=network.prefix).status
        for number, how in enumerate(hows)
    ]


def in_clear(packets):
    """The packets in which the private name can be read."""
    return [packet for packet in packets if PRIVATE.encode() in packet.payload.lower()]


def streams_to(packets, port):
    """What each connection has carried to the port."""
    streams = {}
    for packet in packets:
        if packet.target == ("127.0.0.1", port):
            streams[packet.source] = streams.get(packet.source, b"") + packet.payload
    return [stream for stream in streams.values() if stream]


def record_types(stream):
    """The content types of the TLS records in it: TLSPlaintext of RFC 8446 s5.1."""
    types, position = [], 0
    while position < len(stream):
        types.append(stream[position])
        position += 5 + int.from_bytes(stream[position + 3 : position + 5], "big")
    return types


@pytest.mark.parametrize("transport", ["dot", "doh"])
def test_names_go_upstream_encrypted(make_network, serve, serve_unbound, transport):
    """Between client and listener the name is in clear, or the test would see nothing; everywhere else it is not."""
    network = make_network()
    upstream = serve_unbound(network)
    serve(network, [getattr(upstream, transport)])
    statuses = ask_private(network, [], ["+tcp"], ["+noedns"], ["+dnssec"])
    assert statuses == ["NOERROR"] * 4
    packets = network.packets()
    assert len(in_clear(packets)) >= 8  # four questions, four answers
    assert all(packet.touches(LISTENER) for packet in in_clear(packets))
    assert all(packet.touches(LISTENER) for packet in packets if packet.protocol == "UDP")
    port = upstream.dot_port if transport == "dot" else upstream.doh_port
    others = [packet for packet in packets if not packet.touches(LISTENER)]
    assert all(packet.touches(("127.0.0.1", port)) for packet in others)
    # The queries did go that way: what is encrypted, 23, is Finished and at least one record for each.
    assert sum(record_types(stream).count(23) for stream in streams_to(others, port)) >= 5


@pytest.mark.parametrize("transport", ["dot", "doh"])
def test_refused_upstream_learns_nothing(make_network, serve, serve_unbound, world, transport):
    """A real server with a rogue's certificate sees a ClientHello and the end, and no other way is taken."""
    network = make_network()
    rogue = next(rogue for rogue in GALLERY if rogue.code == "fina")
    upstream = serve_unbound(network, rogue.make(world))
    serve(network, [getattr(upstream, transport)])
    assert ask_private(network, [], ["+tcp"], ["+noedns"]) == ["SERVFAIL"] * 3
    packets = network.packets()
    port = upstream.dot_port if transport == "dot" else upstream.doh_port
    assert in_clear(packets)
    assert all(packet.touches(LISTENER) for packet in in_clear(packets))
    others = [packet for packet in packets if not packet.touches(LISTENER)]
    assert all(packet.protocol == "TCP" and packet.touches(("127.0.0.1", port)) for packet in others)
    # RFC 8446 s5.1: 21 is an alert, 22 the handshake, 23 whatever is encrypted; even our Finished message would be.
    kinds = [record_types(stream) for stream in streams_to(others, port)]
    assert kinds
    assert all(22 in said and set(said) <= {21, 22} for said in kinds)


def test_defaults_never_fall_back(make_network, serve):
    """With the default upstreams silent, clients get SERVFAIL with its reason; port 53 of nobody is asked."""
    upstreams = [parse_upstream(text) for text in DEFAULT_UPSTREAMS]
    network = make_network(*sorted({str(upstream.address) for upstream in upstreams}))
    serve(network, DEFAULT_UPSTREAMS)
    assert ask_private(network, [], ["+tcp"]) == ["SERVFAIL"] * 2
    assert ask("dig", 53, f"{PRIVATE}.lab", "A", prefix=network.prefix).extended_error
    packets = network.packets()
    assert in_clear(packets)
    assert all(packet.touches(LISTENER) for packet in in_clear(packets))
    tried = {packet.target for packet in packets if not packet.touches(LISTENER) and packet.target[1] < 1024}
    assert tried <= {(str(upstream.address), upstream.port) for upstream in upstreams}
    assert ("1.1.1.1", 853) in tried
    assert {packet.protocol for packet in packets if not packet.touches(LISTENER)} == {"TCP"}
