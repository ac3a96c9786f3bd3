"""TLS as a machine, against an OpenSSL server machine joined to it by a fake link."""

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from OpenSSL import SSL, crypto

from stubresolver.errors import BadInput, ChannelClosed
from stubresolver.lab.authority import Credential, LabAuthority
from stubresolver.transport import tls
from stubresolver.transport.tls import (
    HANDSHAKE_LIMIT,
    Closed,
    DataReceived,
    HandshakeComplete,
    TLSClient,
    TLSContext,
    _path_error,
)
from tests.transport.peers import TlsServer

TRY_LATER = bytes.fromhex("30030a0103")  # the shortest OCSP response: tryLater (RFC 6960 s4.2.1)

bounded = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def context(authority):
    return TLSContext([authority.anchor])


def link(client: TLSClient, server: TlsServer, step: int = 1 << 20) -> list:
    """Carry octets both ways, `step` at a time, until both are quiet; what the client said of them."""
    events = []
    while True:
        out = client.data_to_send()
        if out:
            server.receive(out)
        back = server.data_to_send()
        for at in range(0, len(back), step):
            events += client.receive_data(back[at : at + step])
        if not out and not back:
            return events


def connected(context, credential, now, **options):
    client, server = context.client("dns.test", [b"dot"], now), TlsServer(credential, [b"dot"], **options)
    return client, server, link(client, server)


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_handshake_shows_chain_and_facts(context, credential, now, step):
    """However the octets are cut, the handshake ends once and shows the chain as sent, leaf first."""
    client, server = context.client("dns.test", [b"dot"], now), TlsServer(credential, [b"dot"])
    events = link(client, server, step)
    assert events == [
        HandshakeComplete(credential.chain, "TLSv1.3", "TLS_AES_256_GCM_SHA384", "X25519MLKEM768", "dot", None)
    ]
    assert server.complete


@pytest.mark.parametrize("step", [1, 1 << 20])
def test_plaintext_travels_both_ways(context, credential, now, step):
    """What one side sends the other side gets, in order and whole, however the octets are cut."""
    client, server, _ = connected(context, credential, now)
    client.send(b"question" * 5000)
    client.send(b"")
    server.send(b"answer" * 5000)
    events = link(client, server, step)
    assert bytes(server.plaintext) == b"question" * 5000
    assert all(isinstance(event, DataReceived) for event in events)
    assert b"".join(event.data for event in events) == b"answer" * 5000


@pytest.mark.parametrize("maximum", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
def test_staple_is_asked_for_and_shown(authority, credential, now, maximum):
    """RFC 6066 s8: what the server staples stands in the event, None where it staples nothing; both in TLS 1.2, too."""
    context = TLSContext([authority.anchor], "TLSv1.2")
    for staple in (None, TRY_LATER):
        _, _, [complete] = connected(context, replace(credential, staple=staple), now, maximum=maximum)
        assert (complete.staple, complete.openssl_error) == (staple, None)


def test_staple_that_cannot_be_read_is_none(context, credential, now, monkeypatch):
    """Where a release of the library lacks the private names, the handshake goes on without a staple."""
    monkeypatch.setattr(tls, "READS_STAPLES", False)
    _, _, [complete] = connected(context, replace(credential, staple=TRY_LATER), now)
    assert (complete.staple, complete.chain) == (None, credential.chain)


def test_staples_can_be_read_with_this_library():
    """The two private names are there in the releases that we are tested with; a start without them says so."""
    assert tls.READS_STAPLES


def test_chain_can_be_validated_again_later(context, credential, authority, now):
    """The second lock's opinion of a chain that was shown before, at another time and by other anchors."""
    assert context.path_error(credential.chain, now) is None
    assert "expired" in context.path_error(credential.chain, now + timedelta(days=365))
    assert "issuer" in TLSContext([LabAuthority("Other", now=now).anchor]).path_error(credential.chain, now)
    assert context.path_error((b"junk",), now)
    assert context.path_error((), now) == "no certificate"


def test_empty_plaintext_says_nothing(context, credential, now):
    """Nothing to send is no record."""
    client, _, _ = connected(context, credential, now)
    client.send(b"")
    assert client.data_to_send() == b""


def test_close_notify_is_a_clean_end(context, credential, now):
    """RFC 8446 s6.1: only close_notify ends the peer's direction cleanly; later octets mean nothing."""
    client, server, _ = connected(context, credential, now)
    server.send(b"last words")
    server.close()
    data = server.data_to_send()
    assert client.receive_data(data) == [DataReceived(b"last words"), Closed(clean=True, reason="")]
    assert client.receive_data(b"more") == []
    assert client.receive_data(b"") == []


def test_our_close_notify_reaches_the_peer(context, credential, now):
    """`close` says close_notify."""
    client, server, _ = connected(context, credential, now)
    client.close()
    server.receive(client.data_to_send())
    assert server.over


def test_truncation_is_not_clean(context, credential, now):
    """An end without close_notify may hide missing octets (RFC 8446 s6.1)."""
    client, _, _ = connected(context, credential, now)
    [event] = client.receive_data(b"")
    assert isinstance(event, Closed)
    assert not event.clean
    assert "close_notify" in event.reason


def test_end_during_the_handshake_is_not_clean(context, now):
    """A peer that closes after our ClientHello has not shaken hands."""
    client = context.client(None, [b"dot"], now)
    assert client.data_to_send()
    assert client.receive_data(b"") == [
        Closed(clean=False, reason="the peer closed the connection during the handshake")
    ]


def test_altered_record_ends_the_connection(context, credential, now):
    """A record whose octets were changed is no plaintext; after it nothing can be sent."""
    client, server, _ = connected(context, credential, now)
    server.send(b"answer")
    data = bytearray(server.data_to_send())
    data[-1] ^= 1
    [event] = client.receive_data(bytes(data))
    assert isinstance(event, Closed)
    assert not event.clean
    with pytest.raises(ChannelClosed):
        client.send(b"question")


def test_expired_certificate_is_recorded_and_the_chain_is_shown(context, credential, now):
    """The second lock records what is wrong; the handshake completes so that the chain can be judged and kept."""
    [event] = connected(context, credential, now + timedelta(days=31))[2]
    assert event.chain == credential.chain
    assert event.openssl_error == "certificate has expired (depth 0)"


def test_each_connection_is_validated_at_its_own_time(context, credential, now):
    """One context serves for years: OpenSSL's store must not stay at the time of the first handshake."""
    errors = [
        connected(context, credential, now + timedelta(days=days))[2][0].openssl_error for days in (-31, 0, 31, 0)
    ]
    assert errors == [
        "certificate is not yet valid or the system clock is incorrect (depth 0)",
        None,
        "certificate has expired (depth 0)",
        None,
    ]


def test_each_connection_keeps_its_time_beside_others(context, credential, now):
    """Handshakes that overlap do not change each other's time."""
    early, server = context.client("dns.test", [b"dot"], now), TlsServer(credential, [b"dot"])
    context.client("dns.test", [b"dot"], now + timedelta(days=31))
    assert link(early, server)[0].openssl_error is None


def test_unknown_root_is_recorded(credential, now):
    """A chain to a root that is not among the anchors is not valid, whatever the system trusts."""
    stranger = LabAuthority("Stranger", now=now)
    [event] = connected(TLSContext([stranger.anchor]), credential, now)[2]
    assert "issuer" in event.openssl_error
    [event] = connected(TLSContext([]), credential, now)[2]
    assert event.openssl_error is not None


def test_anchor_need_not_be_self_signed(credential, now):
    """RFC 5280 s6.1.1(d): an anchor is a name and a key; an intermediate certificate can be one."""
    [event] = connected(TLSContext([credential.chain[1]]), credential, now)[2]
    assert event.openssl_error is None


def test_no_certificate_is_an_error():
    """A peer that shows nothing has not been validated."""
    assert _path_error(crypto.X509Store(), []) == "no certificate"


def test_foreign_key_in_the_chain_is_an_error(authority, context, credential, now):
    """An intermediate of another CA does not stand in for the one that signed."""
    other = LabAuthority(authority.name, now=now)  # the same names, other keys
    wrong = Credential(credential.key, (credential.chain[0], other.intermediate.public_bytes(Encoding.DER)))
    [event] = connected(context, wrong, now)[2]
    assert event.openssl_error is not None


def test_validation_that_breaks_ends_the_connection(context, credential, now, monkeypatch):
    """If OpenSSL cannot even validate, the handshake is not complete; nothing passes unvalidated."""

    def broken(*_):
        raise crypto.Error([("", "", "out of order")])

    monkeypatch.setattr("stubresolver.transport.tls._path_error", broken)
    events = connected_by_hand(context, credential, now)
    assert events == [Closed(clean=False, reason="out of order")]


def connected_by_hand(context, credential, now):
    """One flight each way; the server's machine is not asked what it makes of an alert."""
    client, server = context.client("dns.test", [b"dot"], now), TlsServer(credential, [b"dot"])
    server.receive(client.data_to_send())
    return client.receive_data(server.data_to_send())


def client_hello_extensions(hello: bytes) -> dict[int, bytes]:
    """The extensions of a ClientHello in one record (RFC 8446 s4.1.2)."""
    at = 5 + 4 + 2 + 32
    at += 1 + hello[at]
    at += 2 + int.from_bytes(hello[at : at + 2], "big")
    at += 1 + hello[at]
    end = at + 2 + int.from_bytes(hello[at : at + 2], "big")
    at += 2
    found = {}
    while at < end:
        kind, size = int.from_bytes(hello[at : at + 2], "big"), int.from_bytes(hello[at + 2 : at + 4], "big")
        found[kind] = hello[at + 4 : at + 4 + size]
        at += 4 + size
    return found


def test_client_hello_offers_no_resumption_and_a_hybrid_group(context, now):
    """No ticket (35), PSK (41), early data (42), compressed certificate (27); X25519MLKEM768 (0x11EC) leads (10)."""
    extensions = client_hello_extensions(context.client("dns.test", [b"dot"], now).data_to_send())
    assert extensions.keys() & {27, 35, 41, 42} == set()
    assert extensions[10][2:4] == bytes.fromhex("11ec")
    assert extensions[16] == b"\0\4\3dot"


@pytest.mark.parametrize(("name", "sent"), [("dns.test", True), (None, False), ("127.0.0.1", False), ("::1", False)])
def test_server_name_is_never_an_address(context, now, name, sent):
    """RFC 6066 s3: "Literal IPv4 and IPv6 addresses are not permitted in "HostName"."."""
    extensions = client_hello_extensions(context.client(name, [b"dot"], now).data_to_send())
    assert (0 in extensions) == sent


def test_minimum_version_is_a_minimum(authority, credential, now):
    """TLS 1.2 is refused by default and spoken where it is the minimum; then ciphers are ephemeral and AEAD."""
    old = TlsServer(credential, maximum=SSL.TLS1_2_VERSION)
    client = TLSContext([authority.anchor]).client(None, [b"dot"], now)
    with pytest.raises(SSL.Error):
        old.receive(client.data_to_send())
    [event] = client.receive_data(old.data_to_send())
    assert isinstance(event, Closed)
    assert "version" in event.reason

    [event] = connected(TLSContext([authority.anchor], "TLSv1.2"), credential, now, maximum=SSL.TLS1_2_VERSION)[2]
    assert (event.version, event.openssl_error) == ("TLSv1.2", None)
    assert event.cipher.startswith("ECDHE-")


@pytest.mark.parametrize("cipher", [b"ECDHE-ECDSA-AES128-SHA256", b"ECDHE-ECDSA-AES256-SHA"])
def test_tls_1_2_is_spoken_with_aead_only(authority, credential, now, cipher):
    """RFC 9325 s4.2: whoever lowers the minimum to TLS 1.2 still offers no cipher suite of CBC."""
    server = TlsServer(credential, maximum=SSL.TLS1_2_VERSION, ciphers=cipher)
    with pytest.raises(SSL.Error, match="no shared cipher"):
        link(TLSContext([authority.anchor], "TLSv1.2").client(None, [b"dot"], now), server)


def test_plaintext_before_the_handshake_is_a_defect(context, now):
    """No plaintext can be given in before the handshake is complete; closing says nothing then."""
    client = context.client(None, [b"dot"], now)
    client.data_to_send()
    with pytest.raises(RuntimeError):
        client.send(b"question")
    client.close()
    assert client.data_to_send() == b""


def test_handshake_is_bounded(context, now):
    """A peer cannot send without end before its handshake is complete."""
    [event] = context.client(None, [b"dot"], now).receive_data(b"\x16\x03\x03\x40\x00" + bytes(HANDSHAKE_LIMIT))
    assert event == Closed(clean=False, reason=f"more than {HANDSHAKE_LIMIT} octets of handshake")


def test_anchor_and_version_are_checked():
    """What cannot be used is said at once, with what was got."""
    with pytest.raises(BadInput, match="anchor 0"):
        TLSContext([b"no certificate"])
    with pytest.raises(BadInput, match=r"TLSv1\.1"):
        TLSContext([], "TLSv1.1")


@bounded
@given(st.binary(min_size=1, max_size=600))
def test_any_octets_give_events_and_no_exception(context, now, data):
    """Whatever a peer sends instead of TLS, the machine only says that it is over, or waits."""
    client = context.client(None, [b"dot"], now)
    events = client.receive_data(data)
    assert all(isinstance(event, Closed) and not event.clean for event in events)


@bounded
@given(data=st.data())
def test_altered_handshake_never_raises_and_never_shows_another_chain(context, credential, now, data):
    """One octet changed anywhere in the server's flight: no exception, and no chain but the true one."""
    client, server = context.client("dns.test", [b"dot"], now), TlsServer(credential, [b"dot"])
    server.receive(client.data_to_send())
    flight = bytearray(server.data_to_send())
    at = data.draw(st.integers(0, 4095)) % len(flight)  # its length varies with the signatures
    flight[at] ^= data.draw(st.integers(1, 255))
    for event in client.receive_data(bytes(flight)):
        assert isinstance(event, Closed) or event.chain == credential.chain
