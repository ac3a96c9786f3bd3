"""An internet in memory: upstream addresses with TLS servers behind them, and judges who say what the test wants."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
import trio
from trio.testing import memory_stream_pair

from stubresolver.lab.authority import Credential, LabAuthority
from stubresolver.transport.tls import TLSContext
from stubresolver.upstream.dial import Demands
from stubresolver.upstream.upstream import Upstream
from stubresolver.verify.presented import Presented
from stubresolver.verify.remembered import NOTHING_REMEMBERED, Remembered
from stubresolver.verify.verdict import Finding, Outcome, Rule, Verdict
from stubresolver.wire.framing import FrameReader, frame
from tests.transport.peers import TlsServer

NOW = datetime(2026, 11, 2, 12, 0, 0, tzinfo=UTC)


class ServerSide:
    """A TLS server on one end of a stream; remembers every application octet."""

    def __init__(self, transport: trio.abc.Stream, machine: TlsServer) -> None:
        self.transport = transport
        self.machine = machine
        self.taken = 0

    async def receive(self) -> bytes:
        """Application octets; b"" at the end of the stream."""
        while self.taken == len(self.machine.plaintext) and not self.machine.over:
            try:
                data = await self.transport.receive_some()
            except trio.BrokenResourceError:
                return b""
            if not data:
                return b""
            self.machine.receive(bytes(data))
            await self.flush()
        new = bytes(self.machine.plaintext[self.taken :])
        self.taken += len(new)
        return new

    async def send(self, data: bytes) -> None:
        self.machine.send(data)
        await self.flush()

    async def flush(self) -> None:
        if data := self.machine.data_to_send():
            await self.transport.send_all(data)


Handler = Callable[[trio.abc.Stream], Awaitable[None]]


@dataclass
class Internet:
    """Which handler answers at which address; every connection is remembered in `servers`."""

    nursery: trio.Nursery
    credential: Credential
    handlers: dict[str, Handler | Exception] = field(default_factory=dict)
    servers: list[ServerSide] = field(default_factory=list)
    dialled: list[tuple[float, str]] = field(default_factory=list)
    delays: dict[str, float] = field(default_factory=dict)  # until a TCP connection stands

    async def open_tcp(self, upstream: Upstream) -> trio.abc.Stream:
        """The seam of `dial`."""
        await trio.lowlevel.checkpoint()
        shared = str(upstream) in self.handlers  # several upstreams at one address
        where = str(upstream if shared else upstream.address)
        self.dialled.append((trio.current_time(), where))
        await trio.sleep(self.delays.get(where, 0.0))
        handler = self.handlers[where]
        if isinstance(handler, Exception):
            raise handler
        ours, theirs = memory_stream_pair()
        self.nursery.start_soon(handler, theirs)
        return ours

    def tls(self, serve: Callable[[ServerSide], Awaitable[None]], alpn: tuple[bytes, ...] = (b"dot", b"h2")) -> Handler:
        """A TLS server; `serve` says what it does."""

        async def handler(transport: trio.abc.Stream) -> None:
            server = ServerSide(transport, TlsServer(self.credential, alpn))
            self.servers.append(server)
            try:
                await serve(server)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return

        return handler

    def dot(self, answer: Callable[[bytes], bytes | None], delay: float = 0.0) -> Handler:
        """A DoT server; `answer` gives the answer to a query, or None for silence."""

        async def serve(server: ServerSide) -> None:
            reader = FrameReader()
            while data := await server.receive():
                for query in reader.feed(data):
                    await trio.sleep(delay)
                    wire = answer(query)
                    if wire is not None:
                        await server.send(frame(wire))
            await server.transport.aclose()

        return self.tls(serve)


@dataclass
class FakeJudge:
    """Says what it was told to say, and remembers what it was shown."""

    verdict: Verdict | Exception
    shown: list[tuple[Presented, datetime]] = field(default_factory=list)
    told: list[Remembered] = field(default_factory=list)

    def judge(self, presented: Presented, now: datetime, remembered: Remembered) -> Verdict:
        self.shown.append((presented, now))
        self.told.append(remembered)
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict


@dataclass
class FakeRecorder:
    """Keeps records in a list; `servers` lets it see whether anything was written before."""

    error: Exception | None = None
    forgetful: Exception | None = None
    remembered: Remembered = NOTHING_REMEMBERED
    records: list[tuple[str, Presented, Verdict]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    async def recall(self, leaf_sha256: str) -> Remembered:
        await trio.lowlevel.checkpoint()
        self.asked.append(leaf_sha256)
        if self.forgetful:
            raise self.forgetful
        return self.remembered

    async def record(self, upstream: str, presented: Presented, verdict: Verdict) -> None:
        await trio.lowlevel.checkpoint()
        self.records.append((upstream, presented, verdict))
        if self.error:
            raise self.error


def verdict(*findings: Finding, demanded: frozenset[Rule] = frozenset({Rule.PATH_VALID})) -> Verdict:
    return Verdict(NOW, findings, (), (), demanded, "policy-digest", None)


@pytest.fixture(scope="session")
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def allowed() -> Verdict:
    return verdict(Finding(Rule.PATH_VALID, Outcome.PASS, "leaf", "a path"))


@pytest.fixture(scope="session")
def refused() -> Verdict:
    return verdict(
        Finding(Rule.PATH_VALID, Outcome.PASS, "leaf", "a path"),
        Finding(Rule.CT_OPERATORS, Outcome.FAIL, "leaf", "1 of 2 (Cloudflare)"),
    )


@pytest.fixture(scope="session")
def authority(now: datetime) -> LabAuthority:
    return LabAuthority("Upstream", now=now)


@pytest.fixture(scope="session")
def credential(authority: LabAuthority, now: datetime) -> Credential:
    month = timedelta(days=30)
    return authority.issue(
        not_before=now - month, not_after=now + month, names=["dns.test"], addresses=[ip_address("127.0.0.1")]
    )


@pytest.fixture
def judge(allowed: Verdict) -> FakeJudge:
    return FakeJudge(allowed)


@pytest.fixture
def recorder() -> FakeRecorder:
    return FakeRecorder()


@pytest.fixture
def internet(credential: Credential) -> Internet:
    """Its nursery is set by `world`, once trio runs."""
    return Internet(nursery=None, credential=credential)


@pytest.fixture
def demands(authority: LabAuthority, internet: Internet, judge: FakeJudge, recorder: FakeRecorder) -> Demands:
    return Demands(TLSContext([authority.anchor]), judge, recorder, lambda: NOW, internet.open_tcp)
