"""An internet without sockets and without cryptography, for storms: hosts that go wrong in every way, by chance.

What is real: the pool and all below it down to the machines of DoT and DoH. What is not: the TLS machine (`OpenTls`
shows a certificate and passes octets on), the judge (the host says whether it is allowed) and the wires.
"""

import random
from collections import Counter
from dataclasses import dataclass, field

import trio
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived as H2Data
from h2.events import StreamEnded
from h2.exceptions import ProtocolError

from stubresolver.transport.tls import Closed, DataReceived, HandshakeComplete
from stubresolver.upstream.dial import Demands
from stubresolver.upstream.upstream import Transport
from stubresolver.verify.verdict import Finding, Outcome, Rule
from stubresolver.wire.framing import FrameReader, frame
from tests.upstream.conftest import NOW, FakeRecorder, verdict

ROUND_TRIP = 0.01
ALLOWED = verdict(Finding(Rule.PATH_VALID, Outcome.PASS, "leaf", "a path"))
REFUSED = verdict(Finding(Rule.PATH_VALID, Outcome.FAIL, "leaf", "a stranger's"))

REACH = ("reset", "dropped", "unreachable")  # no connection comes about
SHAKES = ("mute", "alert", "stranger")  # TCP stands, and no connection comes of it
LOSES = "loses"  # one query in five; all others are answered
MANNERS = ("silent", "slow", LOSES, "fails", "lies", "floods", "leaves", "resets", "goes away", "closes idle")
FAULTS = (*REACH, *SHAKES, *MANNERS)
GOOD = "good"


class OpenTls:
    """A TLS machine that hides nothing: a greeting each way, then octets."""

    def __init__(self, alpn):
        self._alpn = alpn
        self._unsent = b"H"
        self._complete = False

    def receive_data(self, data):
        if not data:
            return [Closed(clean=self._complete, reason="" if self._complete else "closed during the handshake")]
        events = []
        if not self._complete:
            if data[:1] != b"H":
                return [Closed(clean=False, reason="an alert")]
            self._complete = True
            group = "X25519MLKEM768"
            events.append(HandshakeComplete((b"leaf",), "TLSv1.3", "TLS_AES_256_GCM_SHA384", group, self._alpn, None))
            data = data[1:]
        return events + ([DataReceived(data)] if data else [])

    def send(self, plaintext):
        self._unsent += plaintext

    def data_to_send(self):
        data, self._unsent = self._unsent, b""
        return data

    def close(self):
        pass


class OpenContext:
    """The seam of `dial`."""

    def client(self, _name, alpn, _now):
        return OpenTls(alpn[0].decode())

    def path_error(self, _chain, _now):
        return None


class Wire(trio.abc.Stream):
    """Our end of a connection; `hole`: whatever is sent either way is lost."""

    def __init__(self):
        self._to_us, self._incoming = trio.open_memory_channel(float("inf"))
        self._to_them, self.theirs = trio.open_memory_channel(float("inf"))
        self.closed = self.hole = self.reset = False
        self.serving = trio.CancelScope()

    async def send_all(self, data):
        await trio.lowlevel.checkpoint()
        if self.closed:
            raise trio.ClosedResourceError
        if self.reset:
            raise trio.BrokenResourceError
        if not self.hole:
            self._to_them.send_nowait(bytes(data))

    async def wait_send_all_might_not_block(self):
        await trio.lowlevel.checkpoint()

    async def receive_some(self, _max_bytes=None):
        if self.closed:
            raise trio.ClosedResourceError
        data = await self._incoming.receive()
        if data is None:
            self.reset = True
            raise trio.BrokenResourceError
        return data

    async def aclose(self):
        if not self.closed:
            self.closed = True
            self._to_us.close()
            self._to_them.send_nowait(b"")
        await trio.lowlevel.checkpoint()

    def deliver(self, data):
        """What the other end says: octets, b"" for its end, None for a reset."""
        if not self.closed and not self.hole:
            self._to_us.send_nowait(data)

    def lose(self):
        """Nothing gets through any more, and neither end hears of it."""
        self.hole = True
        self.serving.cancel()


@dataclass
class Host:
    """One upstream, and what is the matter with it."""

    upstream: object
    fault: str = GOOD
    good_since: float = float("-inf")
    wires: list[Wire] = field(default_factory=list)
    dialled: list[float] = field(default_factory=list)
    stranger_since: float = float("inf")


class World:
    """All hosts and the network between us and them; the seams of `dial`."""

    def __init__(self, upstreams, nursery, chance: random.Random):
        self.hosts = {upstream: Host(upstream) for upstream in upstreams}
        self.nursery = nursery
        self.chance = chance
        self.network = GOOD  # or one of REACH
        self.blocked = GOOD  # port 853, likewise
        self.queries = Counter()
        self.demands = self.new_demands()

    def new_demands(self):
        """What is demanded from now on."""
        return Demands(OpenContext(), self, FakeRecorder(), lambda: NOW, self.open_tcp)

    def judge(self, presented, _now, _remembered):
        """The judge. By address: as in life, both transports of a stranger's address are a stranger's."""
        hosts = (host for host in self.hosts.values() if host.upstream.address == presented.address)
        return REFUSED if any(host.fault == "stranger" for host in hosts) else ALLOWED

    def _obstacle(self, host):
        blocked = self.blocked if host.upstream.transport is Transport.DOT else GOOD
        return next((each for each in (self.network, blocked, host.fault) if each in REACH), None)

    async def open_tcp(self, upstream):
        """Where a SYN is lost, another one is sent each half second."""
        host = self.hosts[upstream]
        host.dialled.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        while (obstacle := self._obstacle(host)) == "dropped":  # noqa: ASYNC110 - a look now and then will do
            await trio.sleep(0.5)
        if obstacle == "unreachable":
            raise OSError(101, "unreachable")
        await trio.sleep(ROUND_TRIP)
        if obstacle == "reset":
            raise ConnectionRefusedError(111, "refused")
        wire = Wire()
        host.wires[:] = [other for other in host.wires if not other.closed] + [wire]
        self.nursery.start_soon(self._serve, host, wire)
        return wire

    async def _serve(self, host, wire):
        with wire.serving:
            await wire.theirs.receive()
            await trio.sleep(ROUND_TRIP)
            if host.fault == "mute":
                await trio.sleep_forever()
            if host.fault == "alert":
                wire.deliver(b"X")
                return
            wire.deliver(b"H")
            if host.upstream.transport is Transport.DOT:
                await self._serve_dot(host, wire)
            else:
                await self._serve_doh(host, wire)

    async def _serve_dot(self, host, wire):
        reader = FrameReader()
        while data := await self._received(host, wire):
            queries = reader.feed(data)
            await trio.sleep(ROUND_TRIP)
            for number, query in enumerate(queries):
                if self._ends(host, wire, number):
                    return
                answer = self._answer(host, query)
                if host.fault == "floods":
                    wire.deliver(frame(b"\xff\xff" + bytes(10)))
                elif host.fault == "silent":
                    self.nursery.start_soon(self._held_back, host, wire, query)
                elif host.fault == "slow":
                    self.nursery.start_soon(self._later, wire, frame(answer))
                elif answer:
                    wire.deliver(frame(answer))

    async def _later(self, wire, data):
        await trio.sleep(self.chance.uniform(0.5, 2.0))
        if not wire.reset:
            wire.deliver(data)

    async def _held_back(self, host, wire, query):
        """A silence that ends: what is owed is answered then."""
        while host.fault == "silent" and not wire.closed:  # noqa: ASYNC110 - a look now and then will do
            await trio.sleep(0.5)
        if (answer := self._answer(host, query)) and not wire.reset:
            wire.deliver(frame(answer))

    async def _received(self, host, wire):
        with trio.move_on_after(10.0 if host.fault == "closes idle" else float("inf")):
            return await wire.theirs.receive()
        wire.deliver(b"")
        return b""

    def _ends(self, host, wire, number):
        """Connections that end under a query."""
        if host.fault == "leaves" and number == 0:
            wire.deliver(b"")
            return True
        if host.fault == "resets" and number == 0:
            wire.deliver(None)
            return True
        return False

    async def _serve_doh(self, host, wire):
        h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        h2.initiate_connection()
        wire.deliver(h2.data_to_send())
        bodies = Counter()
        while data := await self._received(host, wire):
            await trio.sleep(ROUND_TRIP)
            try:
                events = h2.receive_data(data)
            except ProtocolError:
                wire.deliver(b"")
                return
            for event in events:
                if isinstance(event, H2Data):
                    bodies[event.stream_id] = bodies[event.stream_id] or b""
                    bodies[event.stream_id] += event.data
                elif isinstance(event, StreamEnded):
                    if self._ends(host, wire, 0):
                        return
                    self._answer_stream(host, wire, h2, event.stream_id, bodies.pop(event.stream_id))
                    if host.fault == "goes away":
                        h2.close_connection(ErrorCodes.NO_ERROR, last_stream_id=event.stream_id)
                        wire.deliver(h2.data_to_send())
                        return
            if data := h2.data_to_send():
                wire.deliver(data)

    def _answer_stream(self, host, wire, h2, stream, query):
        answer = self._answer(host, query)
        headers = [(b":status", b"200"), (b"content-type", b"application/dns-message")]
        if host.fault == "floods":
            for _ in range(20_000):
                h2.ping(b"12345678")
        elif host.fault == "silent":
            self.nursery.start_soon(self._held_back_stream, host, wire, h2, stream, headers, query)
        elif answer:
            if host.fault == "slow":
                self.nursery.start_soon(self._later_stream, wire, h2, stream, headers, answer)
            else:
                h2.send_headers(stream, headers)
                h2.send_data(stream, answer, end_stream=True)

    async def _held_back_stream(self, host, wire, h2, stream, headers, query):
        while host.fault == "silent" and not wire.closed:  # noqa: ASYNC110 - a look now and then will do
            await trio.sleep(0.5)
        if answer := self._answer(host, query):
            self._send_stream(wire, h2, stream, headers, answer)

    async def _later_stream(self, wire, h2, stream, headers, answer):
        await trio.sleep(self.chance.uniform(0.5, 2.0))
        self._send_stream(wire, h2, stream, headers, answer)

    @staticmethod
    def _send_stream(wire, h2, stream, headers, answer):
        try:
            h2.send_headers(stream, headers)
            h2.send_data(stream, answer, end_stream=True)
        except (ProtocolError, KeyError):
            return
        wire.deliver(h2.data_to_send())

    def _answer(self, host, query):
        """The query as its own answer; its RCODE says whether it failed."""
        self.queries[host.upstream] += 1
        match host.fault:
            case "silent":
                return None
            case "loses" if self.chance.random() < 1 / 5:
                return None
            case "fails":
                return query[:2] + b"\x81\x82" + query[4:]
            case "lies":
                return query[:2] + b"\x81\x80" + query[4:12] + b"\x08mistaken" + query[21:]
        return query[:2] + b"\x81\x80" + query[4:]

    def afflict(self, host, fault):
        """From now on this is the matter with it; connections that stand are under it, too."""
        host.fault = fault
        host.good_since = trio.current_time() if fault == GOOD else float("inf")
        host.stranger_since = trio.current_time() if fault == "stranger" else float("inf")
        for wire in host.wires:
            if fault == GOOD and wire.hole:  # who is there again knows nothing of it
                wire.hole = False
                wire.deliver(None)
            elif fault in ("dropped", "mute") and self.chance.random() < 0.5:
                wire.lose()
            elif fault in ("reset", "alert", "stranger") and self.chance.random() < 0.5:
                wire.deliver(None)
                wire.serving.cancel()

    def kill(self, host, ways=("hole", "fin", "reset")):
        """Its connections end in one of the ways in which connections end."""
        how = self.chance.choice(ways)
        for wire in host.wires:
            if how == "hole":
                wire.lose()
            else:
                wire.deliver(b"" if how == "fin" else None)
                wire.serving.cancel()

    def leave(self):
        """The machine is elsewhere: no connection of before lives."""
        for host in self.hosts.values():
            for wire in host.wires:
                wire.lose()

    @property
    def open_wires(self):
        """Connections that nobody has closed."""
        return [wire for host in self.hosts.values() for wire in host.wires if not wire.closed]


def query(number):
    """One that nobody asked before, as the resolver asks it."""
    name = b"%08d" % (number % 10**8)
    return bytes(2) + b"\1\0\0\1\0\0\0\0\0\1" + b"\x08" + name + b"\0\0\1\0\1" + b"\0\0\x29\x04\xd0" + bytes(6)
