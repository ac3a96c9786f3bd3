"""The one door: for every refusal and every failure, not one application octet was written."""

import errno
import hashlib
import os
import ssl
from dataclasses import replace
from datetime import timedelta

import pytest
import trio
from OpenSSL import SSL
from trio.testing import check_two_way_stream, memory_stream_pair

from stubresolver.errors import (
    ConnectFailed,
    HandshakeFailed,
    PolicyRefused,
    ProtocolViolation,
    UpstreamError,
)
from stubresolver.lab.authority import LabAuthority
from stubresolver.transport.tls import Closed, DataReceived, TLSContext
from stubresolver.upstream import Demands, VerifiedStream, dial, inspect, parse_upstream
from stubresolver.upstream.dial import _DOOR, _connect, _plaintext, judge_again
from stubresolver.upstream.tcp import open_tcp
from stubresolver.verify import ClockFloor, Policy, Remembered, Verifier, Whose
from stubresolver.verify.verdict import Mode
from tests.transport.peers import TlsServer
from tests.upstream.conftest import FakeJudge, ServerSide

DOT = parse_upstream("tls://127.0.0.1#dns.test")
DOH = parse_upstream("https://127.0.0.1#dns.test")
CLOSED = Closed(clean=True, reason="")


async def drink(server):
    """A server that reads all it gets and answers nothing."""
    while await server.receive():
        pass
    await server.transport.aclose()


async def echo(server):
    """A server that says what it hears."""
    while data := await server.receive():
        await server.send(data)
    await server.transport.aclose()


async def dialled(internet, demands, handler, upstream=DOT, act=dial):
    """Dial the handler; what came of it, after every server task has seen the end of its connection."""
    async with trio.open_nursery() as internet.nursery:
        internet.handlers[str(upstream.address)] = handler
        try:
            outcome = await act(upstream, demands)
        except UpstreamError as error:
            outcome = error
        if isinstance(outcome, VerifiedStream):
            await outcome.aclose()
    return outcome


def octets_written(internet) -> list[int]:
    """How many application octets each server has decrypted."""
    return [len(server.machine.plaintext) for server in internet.servers]


async def test_allowed_peer_becomes_a_stream(autojump_clock, internet, demands, allowed, now):
    """Connect, shake hands, judge, record, require: then there is a stream that carries its verdict."""
    async with trio.open_nursery() as internet.nursery:
        internet.handlers["127.0.0.1"] = internet.tls(echo)
        stream = await dial(DOT, demands)
        await stream.send_all(b"first")
        assert await stream.receive_some() == b"first"
        assert (stream.verdict, stream.upstream, stream.alpn) == (allowed, DOT, "dot")
        [(presented, at)] = demands.judge.shown
        assert at == now
        assert (presented.address, presented.name, presented.chain) == (
            DOT.address,
            "dns.test",
            internet.credential.chain,
        )
        assert (presented.tls.version, presented.tls.group, presented.tls.openssl_error) == (
            "TLSv1.3",
            "X25519MLKEM768",
            None,
        )
        assert demands.recorder.records == [(str(DOT), presented, allowed)]
        assert stream.presented is presented
        await stream.aclose()


async def test_handshake_ends_without_a_query(autojump_clock, internet, demands):
    """A prewarmed connection must not look unfinished to the peer until the first query comes."""
    async with trio.open_nursery() as internet.nursery:
        internet.handlers["127.0.0.1"] = internet.tls(drink)
        stream = await dial(DOT, demands)
        await trio.testing.wait_all_tasks_blocked()
        assert internet.servers[0].machine.complete
        await stream.aclose()
    assert octets_written(internet) == [0]


async def test_refused_peer_gets_no_octet(autojump_clock, internet, demands, refused):
    """A refusal is recorded, raised with its verdict, and the connection is closed."""
    demands.judge.verdict = refused
    error = await dialled(internet, demands, internet.tls(drink))
    assert isinstance(error, PolicyRefused)
    assert error.summary == "ct.operators: 1 of 2 (Cloudflare)"
    assert error.verdict is refused
    assert [record[2] for record in demands.recorder.records] == [refused]
    assert octets_written(internet) == [0]
    assert not internet.servers[0].machine.complete  # not even our Finished message


@pytest.mark.parametrize("act", [dial, inspect])
async def test_refused_peer_gets_no_octet_by_tls_1_2_either(autojump_clock, internet, authority, demands, refused, act):
    """RFC 5246 s7.3: there the client's Finished comes first, so the handshake is whole; still nothing is asked."""
    old = replace(demands, context=TLSContext([authority.anchor], "TLSv1.2"))
    demands.judge.verdict = refused

    async def handler(transport):
        internet.servers.append(ServerSide(transport, TlsServer(internet.credential, (b"dot",), SSL.TLS1_2_VERSION)))
        await drink(internet.servers[0])

    outcome = await dialled(internet, old, handler, act=act)
    assert isinstance(outcome, PolicyRefused) is (act is dial)
    assert [presented.tls.version for presented, _ in demands.judge.shown] == ["TLSv1.2"]
    assert internet.servers[0].machine.complete
    assert octets_written(internet) == [0]


@pytest.mark.parametrize("demanded", [frozenset(), None])
async def test_verdict_that_demands_nothing_or_too_little_refuses(autojump_clock, internet, demands, allowed, demanded):
    """A verdict without demands, or with a demand that nothing answered, allows nothing."""
    demands.judge.verdict = (
        replace(allowed, demanded=demanded) if demanded is not None else replace(allowed, findings=())
    )
    assert isinstance(await dialled(internet, demands, internet.tls(drink)), PolicyRefused)
    assert octets_written(internet) == [0]


async def test_second_lock_holds_when_the_judge_errs(autojump_clock, internet, demands, now):
    """Whatever the judge allows: where OpenSSL does not validate the chain, no stream is made."""
    stranger = LabAuthority("Stranger", now=now)
    for context, at in (
        (TLSContext([stranger.anchor]), now),
        (demands.context, now + timedelta(days=31)),
        (demands.context, now - timedelta(days=31)),
    ):
        careless = replace(demands, context=context, clock=lambda at=at: at)
        error = await dialled(internet, careless, internet.tls(drink))
        assert isinstance(error, HandshakeFailed)
        assert "OpenSSL does not validate the chain" in error.summary
    assert octets_written(internet) == [0, 0, 0]


async def test_report_mode_connects(autojump_clock, internet, demands, refused, now):
    """What is only reported is connected to, whatever failed, OpenSSL's opinion included; its record says so."""
    reported = replace(refused, mode=Mode.REPORT)
    demands.judge.verdict = reported
    for context in (demands.context, TLSContext([LabAuthority("Stranger", now=now).anchor])):
        stream = await dialled(internet, replace(demands, context=context), internet.tls(drink))
        assert isinstance(stream, VerifiedStream)
        assert stream.verdict == reported
        assert not stream.verdict.allowed


async def test_staple_is_presented(autojump_clock, internet, demands, credential):
    """The judge sees the OCSP response that the server stapled."""
    internet.credential = replace(credential, staple=bytes.fromhex("30030a0103"))
    stream = await dialled(internet, demands, internet.tls(drink))
    assert stream.presented.staple == bytes.fromhex("30030a0103")


async def test_standing_stream_is_judged_again(autojump_clock, internet, demands, allowed, refused, recorder, now):
    """By what was shown at its handshake, at the time of today, with OpenSSL's opinion by the anchors of today."""
    stream = await dialled(internet, demands, internet.tls(drink))
    later = replace(demands, clock=lambda: now + timedelta(days=1))
    assert await judge_again(stream, later) == allowed
    assert demands.judge.shown == [(stream.presented, now), (stream.presented, now + timedelta(days=1))]
    with pytest.raises(PolicyRefused):
        await judge_again(stream, replace(later, judge=FakeJudge(refused)))
    assert [verdict for _, _, verdict in recorder.records] == [allowed, allowed, refused]
    other = TLSContext([LabAuthority("Stranger", now=now).anchor])
    with pytest.raises(HandshakeFailed, match="OpenSSL does not validate"):
        await judge_again(stream, replace(later, context=other))
    assert "issuer" in demands.judge.shown[-1][0].tls.openssl_error
    with pytest.raises(HandshakeFailed, match="expired"):
        await judge_again(stream, replace(demands, clock=lambda: now + timedelta(days=31)))


async def test_judge_that_breaks_refuses(autojump_clock, internet, demands, judge, recorder):
    """A certificate that our own code stumbles over is not trusted, and ends no more than this dial."""
    judge.verdict = ZeroDivisionError("oops")
    error = await dialled(internet, demands, internet.tls(drink))
    assert isinstance(error, HandshakeFailed)
    assert "could not be judged: ZeroDivisionError: oops" in error.summary
    assert octets_written(internet) == [0]


async def test_memory_that_is_short_costs_one_dial(autojump_clock, internet, demands):
    """What a peer shows may take more than there is: no stream, and no end of the process."""

    class Short:
        def client(self, *_):
            raise MemoryError

    error = await dialled(internet, replace(demands, context=Short()), internet.tls(drink))
    assert isinstance(error, HandshakeFailed)
    assert error.summary == f"{DOT}: not enough memory for the TLS handshake"


async def test_what_is_remembered_of_the_leaf_reaches_the_judge(autojump_clock, internet, demands, recorder, now):
    """Asked for by the hash of the leaf that was shown, at the dial and when a standing stream is judged again."""
    recorder.remembered = Remembered(ClockFloor(now, Whose.EVIDENCE), now)
    stream = await dialled(internet, demands, internet.tls(drink))
    await judge_again(stream, demands)
    assert recorder.asked == [hashlib.sha256(internet.credential.chain[0]).hexdigest()] * 2
    assert demands.judge.told == [recorder.remembered] * 2


async def test_wrong_clock_is_named_in_the_refusal(autojump_clock, internet, authority, demands, recorder, now):
    """The line that a person reads in `dig` speaks of the clock, and OpenSSL's word on the certificate is not in it."""
    recorder.remembered = Remembered(ClockFloor(now, Whose.EVIDENCE))
    judge = Verifier(Policy((authority.anchor,)))
    late = replace(demands, judge=judge, clock=lambda: now - timedelta(days=2500))
    error = await dialled(internet, late, internet.tls(drink))
    assert isinstance(error, PolicyRefused)
    assert error.summary.startswith(
        "clock.floor: the clock says 2019-12-29 12:00Z, but an upstream was allowed on 2026-"
    )
    assert [verdict.allowed for _, _, verdict in recorder.records] == [False]
    assert octets_written(internet) == [0]


@pytest.mark.parametrize("alpn", [(), (b"http/1.1",)])
async def test_doh_needs_h2(autojump_clock, internet, demands, alpn):
    """RFC 9113 s3.2: without ALPN "h2" no HTTP/2 is spoken, and nothing else either."""
    error = await dialled(internet, demands, internet.tls(drink, alpn), DOH)
    assert isinstance(error, ProtocolViolation)
    assert error.summary == f"{DOH}: got ALPN none, expected h2"
    assert octets_written(internet) == [0]


async def test_dot_needs_no_alpn(autojump_clock, internet, demands):
    """RFC 7858 knows no ALPN: a server that ignores ours is a DoT server all the same."""
    stream = await dialled(internet, demands, internet.tls(drink, ()))
    assert isinstance(stream, VerifiedStream)
    assert stream.alpn is None


async def garbage(transport):
    await transport.receive_some()
    await transport.send_all(b"\x16\x03\x03\x00\x05hello" * 10)
    await transport.aclose()


async def plaintext(transport):
    await transport.send_all(b"SSH-2.0-OpenSSH_9.2\r\n")
    await transport.receive_some()
    await transport.aclose()


async def close_after_hello(transport):
    await transport.receive_some()
    await transport.aclose()


async def close_at_once(transport):
    await transport.aclose()


async def flood(transport):
    try:
        while True:
            await transport.send_all(bytes(65536))
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return


async def dumb(transport):
    try:
        while await transport.receive_some():
            pass
    except trio.BrokenResourceError:
        return


@pytest.mark.parametrize("handler", [garbage, plaintext, close_after_hello, close_at_once, flood, dumb])
async def test_no_tls_no_judgement(autojump_clock, internet, demands, judge, handler):
    """Whatever speaks instead of a TLS server: a plain error within the time limit, nothing judged."""
    start = trio.current_time()
    error = await dialled(internet, demands, handler)
    assert isinstance(error, HandshakeFailed)
    assert error.summary.startswith(str(DOT))
    assert judge.shown == []
    assert trio.current_time() - start == (5.0 if handler is dumb else 0.0)


async def test_truncated_handshake(autojump_clock, internet, demands, judge, credential):
    """A server's flight that is cut off anywhere is no handshake."""

    def cut(keep):
        async def serve(server):
            server.machine.receive(bytes(await server.transport.receive_some()))
            await server.transport.send_all(server.machine.data_to_send()[:keep])
            await server.transport.aclose()

        return internet.tls(serve)

    for keep in (0, 1, 5, 100, 700, 1200):
        error = await dialled(internet, demands, cut(keep))
        assert isinstance(error, HandshakeFailed)
        assert "closed the connection" in error.summary
    assert judge.shown == []
    assert octets_written(internet) == [0] * 6


async def test_slow_handshake(autojump_clock, internet, demands, judge):
    """One octet every second is too slow."""

    async def serve(server):
        server.machine.receive(bytes(await server.transport.receive_some()))
        for octet in server.machine.data_to_send():
            await server.transport.send_all(bytes([octet]))
            await trio.sleep(1)

    error = await dialled(internet, demands, internet.tls(serve))
    assert error.summary == f"{DOT}: no TLS handshake within 5 s"
    assert judge.shown == []


async def test_handshake_octet_by_octet_is_read_at_leisure(autojump_clock, internet, demands):
    """As fast as can be, and one octet at a time: what comes is let gather, and a handshake all the same."""
    reads = []

    async def serve(server):
        server.machine.receive(bytes(await server.transport.receive_some()))
        for octet in server.machine.data_to_send():
            await server.transport.send_all(bytes([octet]))
        await drink(server)

    async def opened(upstream):
        transport = await internet.open_tcp(upstream)
        receive = transport.receive_stream.receive_some

        async def counted(size):
            reads.append(size)
            return await receive(size)

        transport.receive_stream.receive_some = counted
        return transport

    stream = await dialled(internet, replace(demands, open_tcp=opened), internet.tls(serve))
    assert isinstance(stream, VerifiedStream)
    assert len(reads) < 200


async def test_slow_connect(autojump_clock, demands):
    """A connection attempt that nobody answers ends after three seconds."""

    async def never(_upstream):
        await trio.sleep_forever()

    start = trio.current_time()
    with pytest.raises(ConnectFailed, match="no TCP connection within 3 s"):
        await dial(DOT, replace(demands, open_tcp=never))
    assert trio.current_time() == start + 3.0


@pytest.mark.parametrize("number", [errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES])
async def test_no_connection_says_why(autojump_clock, internet, demands, number):
    """The system's words, after the upstream as the person wrote it; whatever text trio gave the error."""
    error = await dialled(internet, demands, OSError(number, "Error connecting to ('127.0.0.1', 853)"))
    assert isinstance(error, ConnectFailed)
    assert error.summary == f"{DOT}: {os.strerror(number).lower()}"


async def test_inspect_shows_and_sends_nothing(autojump_clock, internet, demands, refused):
    """`check` sees the same as `dial`, refused or not, is recorded the same, and sends nothing."""
    demands.judge.verdict = refused
    presented, verdict = await dialled(internet, demands, internet.tls(drink), act=inspect)
    assert verdict is refused
    assert demands.recorder.records == [(str(DOT), presented, refused)]
    assert octets_written(internet) == [0]


async def test_early_data_of_the_server_is_kept(autojump_clock, internet, demands):
    """RFC 8446 s2: a server may speak before our Finished message; what came with its flight is read first."""
    assert _plaintext([DataReceived(b"set"), DataReceived(b"tings"), CLOSED]) == (b"settings", CLOSED)
    async with trio.open_nursery() as internet.nursery:
        internet.handlers["127.0.0.1"] = internet.tls(drink)
        connected = await _connect(DOT, demands, 3, 5)
        stream = VerifiedStream(_DOOR, replace(connected, early=b"settings", end=CLOSED))
        assert await stream.receive_some(3) == b"set"
        assert await stream.receive_some() == b"tings"
        assert await stream.receive_some() == b""
        await stream.aclose()


def test_stream_cannot_be_constructed():
    """Only `dial` makes a VerifiedStream."""
    with pytest.raises(TypeError, match="only dial"):
        VerifiedStream(object(), None)


async def test_end_without_close_notify_is_broken(autojump_clock, internet, demands):
    """RFC 8446 s6.1: an end that anybody on the way could have forged is not a clean one; data before it counts."""

    async def cut(server):
        await server.receive()
        await server.send(b"half an ans")
        await server.transport.aclose()

    async with trio.open_nursery() as internet.nursery:
        internet.handlers["127.0.0.1"] = internet.tls(cut)
        stream = await dial(DOT, demands)
        await stream.send_all(b"query")
        assert await stream.receive_some() == b"half an ans"
        with pytest.raises(trio.BrokenResourceError, match="close_notify"):
            await stream.receive_some()
        await stream.aclose()


async def test_cancelled_write_breaks_the_stream(autojump_clock, internet, demands):
    """After half a record nothing more can be said on a connection."""

    async def deaf(server):
        server.machine.receive(bytes(await server.transport.receive_some()))
        await server.flush()
        await trio.sleep(100)

    async with trio.open_nursery() as internet.nursery:
        internet.handlers["127.0.0.1"] = internet.tls(deaf)
        stream = await dial(DOT, demands)
        stream._transport.send_stream.send_all_hook = trio.sleep_forever
        with trio.move_on_after(1):
            await stream.send_all(b"query")
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"query")
        await stream.aclose()
        internet.nursery.cancel_scope.cancel()


async def test_stream_is_a_trio_stream(authority, credential, demands, tmp_path):
    """Trio's own conformance kit, against the standard library's TLS as the peer."""
    (tmp_path / "chain.pem").write_bytes(credential.chain_pem)
    (tmp_path / "key.pem").write_bytes(credential.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "chain.pem", tmp_path / "key.pem")

    async def pair():
        ours, theirs = memory_stream_pair()
        server = trio.SSLStream(theirs, context, server_side=True)

        async def opened(_upstream):
            await trio.lowlevel.checkpoint()
            return ours

        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.do_handshake)
            client = await dial(DOT, replace(demands, open_tcp=opened))
        return client, server

    await check_two_way_stream(pair, None)


async def test_over_loopback(demands, internet):
    """The real `open_tcp`: a loopback listener, no delay, a user timeout, and a refusal in plain words."""
    async with trio.open_nursery() as internet.nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        upstream = parse_upstream(f"tls://127.0.0.1:{port}#dns.test")
        real = replace(demands, open_tcp=open_tcp)

        async def accept():
            await internet.tls(echo)(await listener.accept())

        internet.nursery.start_soon(accept)
        stream = await dial(upstream, real)
        sock = stream._transport.socket
        assert sock.getsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY)
        assert sock.getsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_USER_TIMEOUT) == 10_000
        await stream.send_all(b"q" * 100_000)
        answer = b""
        while len(answer) < 100_000:
            answer += await stream.receive_some()
        assert answer == b"q" * 100_000
        await stream.aclose()
        await listener.aclose()
        with pytest.raises(ConnectFailed, match=rf"{upstream}: connection refused"):
            await dial(upstream, real)


def test_default_clock_is_utc():
    """The judge is given an aware time."""
    assert Demands.__dataclass_fields__["clock"].default().tzinfo is not None
