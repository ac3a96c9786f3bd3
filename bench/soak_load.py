"""The clients of a soak: a mixed load whose every answer is known beforehand, and what came of it.

What is asked: names again and again (hits), names whose answers end after two seconds, names never asked before, names
that do not exist, names without the type, answers of 4 and of 60 kB, over UDP and TCP; and datagrams that are no
queries. A reply is right, or a failure that says so (SERVFAIL), or *wrong*; one that takes longer than 4.5 s is late:
four seconds are the resolver's, half a one is this machine's.
"""

import random
import secrets
import socket
from collections import Counter
from dataclasses import dataclass, field

import trio

from tests.faults.answers import NOERROR, NXDOMAIN, REFUSED, SERVFAIL, TXT, ZONE, A, address_of, question_end, text_of
from tests.faults.asker import query

LATE = 4.5  # seconds
_GIVE_UP = 8.0
_AAAA = 28
_FAILED = {SERVFAIL, REFUSED}
_TRUNCATED = 0x02
# (kind, share of the load)
_MIX = {"hit": 40, "ending": 15, "new": 25, "no": 6, "void": 4, "aaaa": 2, "big": 3, "huge": 1, "junk": 4}
_KINDS, _SHARES = list(_MIX), list(_MIX.values())
_TCP_SHARE = 0.1
_MOST_KEPT = 20  # descriptions of what went wrong


@dataclass
class Outcome:
    """What came of all questions so far."""

    asked: int = 0
    answered: int = 0
    failed: int = 0  # SERVFAIL
    under_way: int = 0
    slowest: float = 0.0
    kinds: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)  # SERVFAIL by the fault that was at work
    wrong: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)

    def note(self, where: list[str], text: str) -> None:
        """Remember it, but not without bound; the first ones tell the most."""
        where.append(text if len(where) < _MOST_KEPT else "...")


class Load:
    """So many questions a second to one port, until it is cancelled."""

    def __init__(self, port: int, per_second: float, seed: int) -> None:
        self.outcome = Outcome()
        self.moment = ""  # the fault that is at work, for what is remembered
        self._place = ("127.0.0.1", port)
        self._per_second = per_second
        self._dice = random.Random(seed)  # noqa: S311 - a load that can be repeated
        self._new = 0

    async def run(self, nursery: trio.Nursery) -> None:
        """Ask; each question is a task of `nursery`, so that ending the load lets the last ones come home."""
        while True:
            await trio.sleep(self._dice.expovariate(self._per_second))
            nursery.start_soon(self._ask_one)

    async def _ask_one(self) -> None:
        dice, outcome = self._dice, self.outcome
        kind = dice.choices(_KINDS, _SHARES)[0]
        if kind == "junk":
            await _send_junk(self._place, dice)
            return
        name, rdtype = self._choose(kind)
        tcp = kind == "huge" or dice.random() < _TCP_SHARE
        outcome.asked += 1
        outcome.under_way += 1
        how = "TCP" if tcp else "UDP"
        outcome.kinds[f"{kind} {how}"] += 1
        wire, start, reply, moment = query(name, rdtype), trio.current_time(), b"", self.moment
        try:
            with trio.move_on_after(_GIVE_UP):
                reply = await (_by_tcp if tcp else _by_udp)(self._place, wire)
        except OSError as error:
            outcome.note(outcome.wrong, f"{name}: {error} ({moment})")
        took = trio.current_time() - start
        outcome.under_way -= 1
        outcome.slowest = max(outcome.slowest, took)
        if took > LATE or not reply:
            outcome.note(outcome.late, f"{name} {how}: {len(reply)} octets after {took:.2f} s ({moment})")
        elif problem := judge(name, rdtype, wire, reply):
            outcome.note(outcome.wrong, f"{name}: {problem} ({moment}): {reply[:80].hex()}")
        elif reply[3] & 15 in _FAILED:
            outcome.failed += 1
            outcome.failures[", ".join(moment.split(", ")[:2])] += 1
        else:
            outcome.answered += 1

    def _choose(self, kind: str) -> tuple[str, int]:
        self._new += 1
        number = self._dice.randrange(40)
        match kind:
            case "hit":
                return f"a-hit{number}.{ZONE}", A
            case "ending":
                return f"ttl2-ending{number}.{ZONE}", A
            case "aaaa":
                return f"a-hit{number}.{ZONE}", _AAAA
            case "big" | "huge":
                return f"{kind}-{number % 8}.{ZONE}", TXT
            case _:
                return f"{'a' if kind == 'new' else kind}-new{self._new}.{ZONE}", A


def judge(name: str, rdtype: int, wire: bytes, reply: bytes) -> str:
    """What is wrong with a reply; "" for nothing. SERVFAIL is not wrong, nor is a truncated one."""
    end = question_end(wire)
    if reply[:2] != wire[:2] or not reply[2] & 0x80:
        return "no reply to this query"
    if reply[12:end].lower() != wire[12:end].lower():
        return "another question"
    rcode, count = reply[3] & 15, int.from_bytes(reply[6:8])
    if rcode in _FAILED or reply[2] & _TRUNCATED:
        return ""
    if rcode != (NXDOMAIN if name.startswith("no-") else NOERROR):
        return f"rcode {rcode}"
    wanted = b"" if rdtype == _AAAA or name.startswith(("no-", "void-")) else _data(name)
    if count != bool(wanted):
        return f"{count} records"
    # owner 2, type 2, class 2, TTL 4, length 2
    return "" if not wanted or reply[end + 12 : end + 12 + len(wanted)] == wanted else "other data"


def _data(name: str) -> bytes:
    if name.startswith(("big-", "huge-")):
        return text_of(name)
    return socket.inet_aton(address_of(name))


async def _by_udp(place: tuple[str, int], wire: bytes) -> bytes:
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        await sock.connect(place)
        await sock.send(wire)
        return await sock.recv(65535)


async def _by_tcp(place: tuple[str, int], wire: bytes) -> bytes:
    got = b""
    async with await trio.open_tcp_stream(*place) as stream:
        await stream.send_all(len(wire).to_bytes(2) + wire)
        while len(got) < 2 or len(got) < 2 + int.from_bytes(got[:2]):
            data = await stream.receive_some(65536)
            if not data:
                return b""
            got += data
    return got[2:]


async def _send_junk(place: tuple[str, int], dice: random.Random) -> None:
    """A datagram of noise, or a query that was cut or bent; whatever comes back is nobody's."""
    octets = bytearray(query(f"a-junk.{ZONE}", A))
    match dice.randrange(3):
        case 0:
            octets = bytearray(secrets.token_bytes(dice.randrange(1, 200)))
        case 1:
            del octets[dice.randrange(1, len(octets)) :]
        case _:
            octets[dice.randrange(2, len(octets))] ^= 1 << dice.randrange(8)
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        await sock.connect(place)
        await sock.send(octets)
