"""The one door between us and an upstream: connect, shake hands, judge, record, require.

A query octet can only be written to a `VerifiedStream`, and only `dial` makes one, after the verdict has allowed it (or
a policy that a person has set to report only has been told that it would not).
Until then nothing leaves this machine but TCP and the TLS handshake; even our Finished message waits for the verdict
(not in TLS 1.2, where the client's comes first).
Before the verdict the recorder is asked what it remembers, and after it, it keeps what was found.
This is also the one place (with `cli`) where wall-clock time is read: one reading serves OpenSSL's validation, the
judge and the evidence.

When the demands change, a stream that stands is judged again by what its peer showed (`judge_again`).

What it may not do: try again, choose between upstreams, speak DNS, or hand out a stream without requiring its verdict.
"""

import contextlib
import hashlib
import operator
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

import trio

from stubresolver.errors import (
    ChannelClosed,
    ConnectFailed,
    HandshakeFailed,
    ProtocolViolation,
)
from stubresolver.transport.tls import Closed, DataReceived, HandshakeComplete, TLSClient, TLSContext, TlsEvent
from stubresolver.upstream.tcp import open_tcp
from stubresolver.upstream.upstream import Transport, Upstream
from stubresolver.verify.presented import Presented, TlsFacts
from stubresolver.verify.remembered import Remembered
from stubresolver.verify.verdict import Mode, Verdict

# RFC 6298 s2: the first retransmission of a SYN comes after 1 s, the second 2 s later. Three seconds survive the loss
# of one SYN and leave the client, whose patience ends at about 5 s (dig, glibc), time for another upstream.
CONNECT_TIMEOUT = 3.0
DIAL_TIMEOUT = 5.0  # connect and handshake together: the same patience

CLOSE_TIMEOUT = 1.0  # for close_notify; it is a courtesy (RFC 8446 s6.1) and nobody waits for it

# RFC 7301; "dot" and "h2" are the IANA registry's names. RFC 9113 s3.2 demands h2; DoT servers may know no ALPN at all.
ALPN = {Transport.DOT: [b"dot"], Transport.DOH: [b"h2"]}

# As much as one turn of the event loop works on: fifty answers, or 15 ms of the frames that cost most. Who is served
# from the cache does not wait much longer than that for a peer that floods us.
_RECEIVE = 8 * 1024

# After so many reads in a row that complete no record, what comes in less than a packet is let gather for a moment; as
# `channel` does with records that complete no answer.
TRICKLE, TRICKLE_OCTETS, TRICKLE_PAUSE = 64, 1024, 0.001
_DOOR = object()  # the proof that a VerifiedStream was made here


class Judge(Protocol):
    """What judges a peer; `verify.Verifier` does."""

    def judge(self, presented: Presented, now: datetime, remembered: Remembered) -> Verdict:
        """The whole verdict; pure."""


class Recorder(Protocol):
    """What keeps every chain and verdict, and remembers; `evidence.Recorder` does. It never raises."""

    async def recall(self, leaf_sha256: str) -> Remembered:
        """What a judgement of this leaf, here and now, has to know, as far as that can be had."""

    async def record(self, upstream: str, presented: Presented, verdict: Verdict) -> None:
        """Keep it before the decision takes effect: durably, or where that is impossible as well as can be."""


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Demands:
    """What every dial needs: the TLS machine's context, who judges, who keeps the evidence, and what time it is.

    Upstreams may have different demands.
    """

    context: TLSContext
    judge: Judge
    recorder: Recorder
    clock: Callable[[], datetime] = utc_now
    open_tcp: Callable[[Upstream], Awaitable[trio.abc.Stream]] = open_tcp
    policy: str = ""  # what is demanded, in a few words for people


class VerifiedStream(trio.abc.Stream):
    """A TLS stream whose peer was judged, and allowed unless the policy only reports. Only `dial` makes one."""

    def __init__(self, door: object, connected: "_Connected") -> None:
        if door is not _DOOR:
            raise TypeError("only dial() makes a VerifiedStream")
        connected.verdict.require()
        self.upstream = connected.upstream
        self.presented = connected.presented
        self.tls_facts = connected.tls_facts
        self.verdict = connected.verdict  # the one that opened the door
        self._transport = connected.transport
        self._tls = connected.tls
        self._plain = connected.early
        self._end: Closed | None = connected.end
        self._receiving = False
        self._sending = False
        self._broken = False  # a write did not end: the peer can make nothing of later records
        self._closed = False

    @property
    def violated(self) -> bool:
        """True if it is over because of what the peer sent, and not by an accident of the network."""
        return self._end is not None and self._end.violation

    @property
    def alpn(self) -> str | None:
        """The negotiated application protocol."""
        return self.tls_facts.alpn

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and write. After an error or a cancellation the stream can only be closed."""
        await self.send_records([data])

    async def send_records(self, pieces: Sequence[bytes | bytearray | memoryview]) -> None:
        """As `send_all`, each piece in a TLS record of its own, all of them in one write."""
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._sending = True
        try:
            self._require_open()
            if self._broken:
                raise trio.BrokenResourceError("an earlier write did not end")
            try:
                for piece in pieces:
                    self._tls.send(piece)
            except ChannelClosed as error:
                raise trio.BrokenResourceError(error.summary) from None
            await self._write()
        finally:
            self._sending = False

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the transport takes octets again."""
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._sending = True
        try:
            self._require_open()
            await self._transport.wait_send_all_might_not_block()
        finally:
            self._sending = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Plaintext, as much as there is; b"" after close_notify; `BrokenResourceError` where the end was not clean.

        It never writes: the answer to a KeyUpdate goes out with our next octets, as RFC 8446 s4.6.3 asks.
        """
        if max_bytes is not None and operator.index(max_bytes) < 1:
            raise ValueError("max_bytes must be at least 1")
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving on this stream")
        self._receiving = True
        try:
            self._require_open()
            if self._plain or self._end:
                await trio.lowlevel.checkpoint()
            reads = 0
            while not self._plain and not self._end:
                data = bytes(await self._transport.receive_some(_RECEIVE))
                self._take(data)
                reads += 1
                if reads > TRICKLE and len(data) < TRICKLE_OCTETS:
                    await trio.sleep(TRICKLE_PAUSE)
        finally:
            self._receiving = False
        if not self._plain and self._end and not self._end.clean:
            raise trio.BrokenResourceError(self._end.reason)
        data = self._plain[:max_bytes]
        self._plain = self._plain[len(data) :]
        return data

    async def aclose(self) -> None:
        """Say close_notify if that is possible at once, and close."""
        if self._closed:
            await trio.lowlevel.checkpoint()
            return
        self._closed = True
        try:
            if not self._sending and not self._broken:
                self._tls.close()
                with trio.move_on_after(CLOSE_TIMEOUT), contextlib.suppress(trio.BrokenResourceError):
                    await self._write()
        finally:
            await trio.aclose_forcefully(self._transport)

    def _require_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this stream was closed")

    def _take(self, data: bytes) -> None:
        self._plain, self._end = _plaintext(self._tls.receive_data(data))

    async def _write(self) -> None:
        data = self._tls.data_to_send()
        if not data:
            await trio.lowlevel.checkpoint()
            return
        self._broken = True
        await self._transport.send_all(data)
        self._broken = False


async def dial(
    upstream: Upstream,
    demands: Demands,
    *,
    connect_timeout: float = CONNECT_TIMEOUT,
    timeout: float = DIAL_TIMEOUT,  # noqa: ASYNC109 - the two limits name different errors
) -> VerifiedStream:
    """A verified stream, or `ConnectFailed`, `HandshakeFailed`, `ProtocolViolation` or `PolicyRefused`.

    On every error the connection is closed, and not one application octet has been written.
    """
    connected = await _connect(upstream, demands, connect_timeout, timeout)
    try:
        _require(upstream, connected.verdict, connected.tls_facts)
        stream = VerifiedStream(_DOOR, connected)
        await _finish_handshake(stream)
    except BaseException:
        await trio.aclose_forcefully(connected.transport)
        raise
    return stream


async def inspect(
    upstream: Upstream,
    demands: Demands,
    *,
    connect_timeout: float = CONNECT_TIMEOUT,
    timeout: float = DIAL_TIMEOUT,  # noqa: ASYNC109 - as in dial
) -> tuple[Presented, Verdict]:
    """The same steps without `require`: what the upstream shows and how it is judged. Sends nothing and closes."""
    connected = await _connect(upstream, demands, connect_timeout, timeout)
    await trio.aclose_forcefully(connected.transport)
    _require_alpn(upstream, connected.tls_facts)
    return connected.presented, connected.verdict


async def judge_again(stream: VerifiedStream, demands: Demands) -> Verdict:
    """What the peer of a verified stream has shown, judged now and by other demands, and recorded.

    Raises as `dial` does where the stream may not be used any more. The stream is not touched. OpenSSL, too, is asked
    again: what it said at the handshake was said of other anchors.
    """
    upstream, shown = stream.upstream, stream.presented
    now = demands.clock()
    facts = stream.tls_facts
    facts = replace(facts, openssl_error=demands.context.path_error(shown.chain, now))
    presented = replace(shown, tls=facts)
    verdict = await _judge(upstream, demands, presented, now)
    _require(upstream, verdict, facts)
    return verdict


@dataclass(frozen=True, slots=True)
class _Connected:
    """A judged and recorded connection whose verdict has not taken effect yet."""

    upstream: Upstream
    transport: trio.abc.Stream
    tls: TLSClient
    presented: Presented
    tls_facts: TlsFacts
    verdict: Verdict
    early: bytes  # plaintext that came with the end of the handshake (an HTTP/2 server's SETTINGS)
    end: Closed | None  # the peer has closed at once


async def _connect(upstream: Upstream, demands: Demands, connect_timeout: float, timeout: float) -> _Connected:  # noqa: ASYNC109
    deadline = trio.current_time() + timeout
    transport = await _open(upstream, demands, min(connect_timeout, timeout))
    try:
        now = demands.clock()
        tls = demands.context.client(upstream.name, ALPN[upstream.transport], now)
        try:
            with trio.fail_at(deadline):
                complete, rest = await _handshake(upstream, transport, tls)
        except trio.TooSlowError:
            raise HandshakeFailed(f"{upstream}: no TLS handshake within {timeout:g} s") from None
        facts = TlsFacts(complete.version, complete.cipher, complete.group, complete.alpn, complete.openssl_error)
        presented = Presented(upstream.address, upstream.name, complete.chain, facts, complete.staple)
        verdict = await _judge(upstream, demands, presented, now)
        return _Connected(upstream, transport, tls, presented, facts, verdict, *_plaintext(rest))
    except MemoryError:
        await trio.aclose_forcefully(transport)
        raise HandshakeFailed(f"{upstream}: not enough memory for the TLS handshake") from None
    except BaseException:
        await trio.aclose_forcefully(transport)
        raise


async def _open(upstream: Upstream, demands: Demands, seconds: float) -> trio.abc.Stream:
    try:
        with trio.fail_after(seconds):
            return await demands.open_tcp(upstream)
    except trio.TooSlowError:
        raise ConnectFailed(f"{upstream}: no TCP connection within {seconds:g} s") from None
    except OSError as error:
        raise ConnectFailed(f"{upstream}: {os.strerror(error.errno).lower() if error.errno else error}") from None


async def _handshake(
    upstream: Upstream, transport: trio.abc.Stream, tls: TLSClient
) -> tuple[HandshakeComplete, list[TlsEvent]]:
    """Drive the handshake up to, and without, our Finished message; the events that came after its end."""
    reads = 0
    try:
        while True:
            if data := tls.data_to_send():
                await transport.send_all(data)
            reads += 1
            if reads > TRICKLE:  # an honest one has ten
                await trio.sleep(TRICKLE_PAUSE)
            events = tls.receive_data(bytes(await transport.receive_some(_RECEIVE)))
            for number, event in enumerate(events):
                if isinstance(event, HandshakeComplete):
                    return event, events[number + 1 :]
                if isinstance(event, Closed):
                    raise HandshakeFailed(f"{upstream}: TLS handshake failed: {event.reason}")
    except trio.BrokenResourceError as error:
        reason = error.__cause__ or error
        text = reason.strerror if isinstance(reason, OSError) else None
        raise HandshakeFailed(f"{upstream}: {(text or 'connection lost').lower()} during the TLS handshake") from None


async def _judge(upstream: Upstream, demands: Demands, presented: Presented, now: datetime) -> Verdict:
    """Recall, judge, record. What cannot be recalled was never seen; what cannot be recorded was judged all the same.

    So a file that fails makes no judgement milder, and a disk that somebody has filled cuts nobody off.
    """
    remembered = await demands.recorder.recall(hashlib.sha256(b"".join(presented.chain[:1])).hexdigest())
    try:
        verdict = demands.judge.judge(presented, now, remembered)
    except Exception as error:  # a defect of ours, but a peer's certificate must not end the process: refuse
        problem = f"{type(error).__name__}: {error}"
        raise HandshakeFailed(f"{upstream}: the certificate could not be judged: {problem}") from error
    await demands.recorder.record(str(upstream), presented, verdict)
    return verdict


def _require(upstream: Upstream, verdict: Verdict, tls: TlsFacts) -> None:
    """Let the verdict take effect. Raises unless this connection may be used for what we want."""
    verdict.require()
    if tls.openssl_error is not None and verdict.mode is not Mode.REPORT:
        # The verdict has a rule for this. Should a judge forget it, the second lock still holds.
        raise HandshakeFailed(f"{upstream}: OpenSSL does not validate the chain: {tls.openssl_error}")
    _require_alpn(upstream, tls)


def _require_alpn(upstream: Upstream, tls: TlsFacts) -> None:
    """DoH is spoken over HTTP/2 here (RFC 9113 s3.2); raises `ProtocolViolation` where the peer did not choose it."""
    if upstream.transport is Transport.DOH and tls.alpn != "h2":
        raise ProtocolViolation(f"{upstream}: got ALPN {tls.alpn or 'none'}, expected h2")


async def _finish_handshake(stream: VerifiedStream) -> None:
    """Send our Finished message now: the peer would not wait for it until the first query."""
    try:
        with trio.fail_after(CLOSE_TIMEOUT):
            await stream.send_all(b"")
    except (trio.BrokenResourceError, trio.TooSlowError):
        raise HandshakeFailed(f"{stream.upstream}: connection lost at the end of the TLS handshake") from None


def _plaintext(events: list[TlsEvent]) -> tuple[bytes, Closed | None]:
    """What the events of an established connection bring: octets, and perhaps the end."""
    end = next((event for event in events if isinstance(event, Closed)), None)
    return b"".join(event.data for event in events if isinstance(event, DataReceived)), end
