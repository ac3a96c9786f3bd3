"""Who asks a resolver in a storm, and whom it asks: every answer bears the number of the exchange that it came of.

Messages are made and read here by hand, by RFC 1035 and RFC 8914 alone: an A record's address, or an SOA record's
serial, is the number.
"""

import functools
import heapq
import random
import struct
from collections import defaultdict, deque
from dataclasses import dataclass, field

from stubresolver.cache import AnswerCache, CacheOptions
from stubresolver.errors import ConnectFailed, ExchangeTimeout, NoUpstream, PolicyRefused
from stubresolver.resolve import Resolver, ResolverOptions
from stubresolver.wire.edns import short_reply
from stubresolver.wire.query import Query

LATEST = 3.8  # `query_timeout`: who exchanges has called back by then
MALFORMED = ("cut", "elsewhere", "stranger's id", "no response")
FAILURES = ("error", "SERVFAIL", *MALFORMED)
GOOD = ("address", "NXDOMAIN", "NODATA")
ERRORS = (NoUpstream("nothing stands"), ConnectFailed("refused"), ExchangeTimeout("late"), PolicyRefused("no", None))
HERE = 0x7F000000  # numbers from here on: not of an exchange but of what is known here, by its version
INSTEAD = 0x7E000000  # ... or of what stands for what is withheld
RESCUE = 0x7D000000  # ... or of the last resort
CLIENT, HOLD = 1.8, 30.0  # RFC 8767 s5, as docs/cache.md has it
DETOUR_TTL = 5
DUST = 1e-6


def name(text):
    return b"".join(bytes((len(label),)) + label.encode() for label in text.split(".")) + b"\0"


def own_reply(query, number):
    """A reply that is no exchange's."""
    return short_reply(query, 0, answers=1, records=struct.pack(">HHHIHI", 0xC00C, 1, 1, 30, 4, number))


def answer(wire, what, number, ttl):
    """What an upstream says to a query."""
    end = wire.index(b"\0\0\x29\x10\0", 12)
    question = wire[12:end]
    if what == "elsewhere":
        question = b"\x05wrong" + question
    rcode = {"SERVFAIL": 2, "NXDOMAIN": 3}.get(what, 0)
    denies = what in ("NXDOMAIN", "NODATA")
    counts = (1, int(not rcode and not denies), int(denies), 0)
    records = struct.pack(">HHHIHI", 0xC00C, 1, 1, ttl, 4, number) if counts[1] else b""
    if denies:
        records = struct.pack(">BHHIHHIIIII", 0, 6, 1, ttl, 22, 0, number, 1, 1, 1, ttl)
    bits = b"\1" if what == "no response" else b"\x81"
    said = wire[:2] + bits + bytes((0x80 | rcode,)) + struct.pack(">4H", *counts) + question + records
    if what == "stranger's id":
        return b"\1\1" + said[2:]
    return said[:-3] if what == "cut" else said


EXAMPLE, TIME, HERE_KNOWN = name("example"), name("time.example"), name("router.home")
NAMES = [name(f"n{number}.example") for number in range(8)] + [name("a.corp"), name("b.corp"), TIME, HERE_KNOWN]


@dataclass
class Said:
    """What a reply says."""

    rcode: int
    number: int | None
    ttl: int | None
    codes: list[int]  # of extended errors


def read(reply, question):
    """A reply to a question of so many octets."""
    answers, authority, additional = struct.unpack_from(">3H", reply, 6)
    position = 12 + len(question)
    number = ttl = None
    if answers:
        _, _, _, ttl, _, number = struct.unpack_from(">HHHIHI", reply, position)
        position += 16
    elif authority:
        _, _, _, ttl, _, _, number = struct.unpack_from(">BHHIHHI", reply, position)
        position += 33
    codes = []
    if additional:
        assert reply[position : position + 3] == b"\0\0\x29"
        position += 11
        while position < len(reply):
            code, length = struct.unpack_from(">HH", reply, position)
            codes += struct.unpack_from(">H", reply, position + 4) if code == 15 else ()
            position += 4 + length
    assert position == len(reply)
    return Said(reply[3] & 0xF, number, ttl, codes)


@dataclass(eq=False)
class Asked:
    """One exchange."""

    key: bytes
    wire: bytes
    reply: object
    at: float
    order: int  # of all that happens
    detour: bool
    what: str
    ttl: int
    landed: float | None = None
    overtaken: int | None = None  # by which `forget` and the like; or by one that it had to give way to

    def result(self, chance):
        """What the one who asked is told."""
        if self.what == "error":
            return chance.choice(ERRORS)
        return answer(self.wire, self.what, self.order, self.ttl)


@dataclass(eq=False)
class Client:
    """One query, and what came back."""

    query: Query
    question: bytes
    at: float
    order: int
    in_detour: bool
    fallback: Asked | None  # what could be given out if nothing better is to be had
    replies: list[bytes] = field(default_factory=list)


class Far:
    """Upstream or detour: answers in every way, once, within `LATEST` seconds."""

    def __init__(self, storm, *, detour):
        self.storm, self.is_detour = storm, detour
        self.fault = None  # what becomes of every exchange; None: whatever chance says

    def exchange_soon(self, wire, reply):
        storm, chance = self.storm, self.storm.chance
        what = self.fault or chance.choices([*GOOD, *FAILURES], [20, 3, 3, 4, 3, 1, 1, 1, 1])[0]
        delay = chance.choice([0.0, 0.02, 0.02, 0.3, chance.uniform(0, LATEST), 2.5, LATEST])
        ttl = chance.choice([0, 1, 5, 12, 30, 100])
        if storm.quiet:
            what, delay = "address", 0.02
        asked = Asked(storm.asking.key, wire, reply, storm.now, storm.tick(), self.is_detour, what, ttl)
        storm.begun(asked)
        if delay or not storm.waits:  # who is answered at once gets what was kept when he asked
            heapq.heappush(storm.due, (storm.now + delay, asked.order, asked))
        else:
            storm.land(asked)

    def takes(self, key):
        return not key[:-5].endswith(b"\4corp\0")

    def vet(self, query, _answer):
        return self.storm.local.instead(query.name)


class Instead:
    """Stands for an answer that is withheld."""

    ttl = 60

    def __init__(self, version):
        self.number = INSTEAD + version

    def render(self, query, _age):
        return own_reply(query, self.number)


class Known:
    """What is known here, in one version of it."""

    def __init__(self, version, answered, withheld):
        self.version, self.answered, self.withheld = version, answered, withheld

    def reply(self, query):
        return own_reply(query, HERE + self.version) if query.name in self.answered else None

    def instead(self, asked):
        return Instead(self.version) if asked in self.withheld else None

    def vet(self, query, _answer):
        return self.instead(query.name)


class Storm:
    """One resolver, whoever asks it and whomever it asks, and what must hold."""

    def __init__(self, seed):
        chance = self.chance = random.Random(seed)  # noqa: S311 - no secret
        self.cache_options = CacheOptions(
            stale=chance.random() < 0.8, stale_seconds=chance.choice([20, 90, 259_200]), prefetch=chance.random() < 0.8
        )
        self.options = ResolverOptions(max_flights=chance.choice([2, 8, 1024]), max_askers=chance.choice([2, 256]))
        self.now, self.order, self.overtaken = 0.0, 0, 0
        self.due, self.exchanges, self.flying, self.under_way, self.given_way = [], {}, [], set(), 0
        self.kept, self.trouble = {}, defaultdict(lambda: deque(maxlen=4))
        self.asking = self.landing = self.detour = None
        self.waits = self.down = self.stopping = self.quiet = self.peace = False
        self.asked = self.raised = 0
        self.waiting, self.wrong = set(), []
        self.upstream, self.stranger = Far(self, detour=False), Far(self, detour=True)
        self.local = Known(0, {HERE_KNOWN}, set())
        self.cache = AnswerCache(self.cache_options)
        self.resolver = Resolver(self.upstream, self.cache, self.options, self.local, last_resort=self.last_resort)

    def tick(self):
        self.order += 1
        return self.order

    def last_resort(self, query):
        return own_reply(query, RESCUE) if self.down and query.name == TIME else None

    # Whom it asks.

    def begun(self, asked):
        taken = self.detour is not None and self.detour.takes(asked.key)
        self.require(asked.detour == taken, "a detour is for all that it takes, and for nothing else")
        self.require(asked.key[:-1] == asked.wire[12 : 11 + len(asked.key)], "another question is asked")
        self.require(self.waits or not asked.detour, "a detour is told a name that nobody waits for")
        self.require(not self.stopping, "a new exchange after `stop`")
        self.require(len(self.flying) < self.options.max_flights, "more exchanges than places")
        self.exchanges[asked.order] = asked
        self.flying.append(asked)
        self.under_way.add(asked)

    def land(self, asked):
        asked.landed = self.now
        self.under_way.discard(asked)
        if asked in self.flying:
            self._leave(asked)
            if not asked.detour:
                self._remember(asked)
        before, self.landing = self.landing, asked
        asked.reply(asked.result(self.chance))
        self.landing = before

    def _remember(self, asked):
        if asked.what not in GOOD:
            self.trouble[asked.key].append(self.now)
        elif asked.ttl and self.local.instead(asked.key[:-5]) is None:
            self.kept[asked.key] = asked
        else:
            self.kept.pop(asked.key, None)

    def _leave(self, asked):
        """Nobody who asks from now on waits for it."""
        self.flying.remove(asked)
        if not asked.detour and self.now >= asked.at + CLIENT - DUST:
            self.trouble[asked.key].append(asked.at + CLIENT)

    def overtake(self, chosen=lambda _key: True, *, kept=True):
        """Nobody who asks from now on gets what was asked before."""
        order = self.overtaken = self.tick()
        for asked in [asked for asked in self.flying if chosen(asked.key)]:
            asked.overtaken = order
            self._leave(asked)
        if kept:
            self.kept = {key: asked for key, asked in self.kept.items() if not chosen(key)}

    # Who asks it.

    def ask(self):
        chance, resolver = self.chance, self.resolver
        asked = chance.choice(NAMES)
        mixed = bytes(chance.choice((octet, octet ^ 32)) if 97 <= octet <= 122 else octet for octet in asked)
        question = mixed + b"\0\1\0\1"
        opt = chance.choice([b"", b"\0\0\x29\x04\xd0" + bytes(6), b"\0\0\x29\x04\xd0" + bytes(6)])
        wire = chance.randbytes(2) + b"\1\0\0\1\0\0\0\0\0" + bytes((len(opt) > 0,)) + question + opt
        query = Query(wire, tcp=chance.random() < 0.3)
        client = Client(query, question, self.now, self.tick(), self.detour is not None, self.fallback(query.key))
        self.asked += 1
        self.waiting.add(client)
        self.asking = query
        reply = resolver.answer_nowait(query, self.now)
        if reply is not None:
            self.told(client, reply, at_once=True)
        else:
            asker = chance.choice([b"a", b"a", b"a", b"b", b"c"])
            reply = resolver.shed(query, self.now, asker) if chance.random() < 0.9 else None
            gone, self.given_way = self.given_way, resolver.statistics().given_way
            for asked in self.flying[: self.given_way - gone]:
                asked.overtaken = self.tick()
                self._leave(asked)
                self.under_way.remove(asked)
            if reply is not None:
                self.told(client, reply, refused=True)
            else:
                self.waits = True
                resolver.answer_soon(query, functools.partial(self.tell, client), asker)
                self.waits = False
        self.asking = None

    def tell(self, client, reply):
        self.told(client, reply)
        if self.chance.random() < 0.02:
            self.raised += 1
            raise OSError("nobody is there any more")

    def fallback(self, key):
        """What may be given out if nothing better is to be had."""
        asked = self.kept.get(key)
        stale = self.cache_options.stale_seconds if self.cache_options.stale else 0
        return asked if asked is not None and self.now < asked.landed + asked.ttl + stale else None

    def told(self, client, reply, *, at_once=False, refused=False):
        client.replies.append(reply)
        self.waiting.discard(client)
        query = client.query
        said = read(reply, client.question)
        edns = bool(query.key[-1] & 2)
        self.require(said.number is not None or not self.peace, "a failure while all is well")
        self.require(len(client.replies) == 1, "a second reply")
        self.require(reply[:2] == query.wire[:2], "somebody else's id")
        self.require(reply[12 : 12 + len(client.question)] == client.question, "another question, or letter case")
        self.require(reply[10:12] == bytes((0, edns)), "EDNS for whom it is not")
        self.require(self.now <= client.at + LATEST + DUST, "late")
        if said.number is None:
            self.require(said.rcode == 2 and (said.codes or not edns), "a failure without a reason")
            self.require(self.fallback(query.key) is None, "a failure instead of what has ended")
            self.require(at_once or refused or not self.last_resort(query), "a failure instead of the last resort")
        elif said.number >= HERE:
            self.require(said.number == HERE + self.local.version and query.name in self.local.answered, "not known")
        elif said.number >= INSTEAD:
            right = said.number == INSTEAD + self.local.version and query.name in self.local.withheld
            self.require(right, "withheld by nobody")
        elif said.number >= RESCUE:
            self.require(self.last_resort(query), "the last resort, not in need")
        else:
            self._told_of(client, said, self.exchanges[said.number], at_once=at_once)
        waited = self.now > client.at + CLIENT + DUST and not client.in_detour and self.overtaken < client.order
        had = client.fallback is not None and client.fallback is self.fallback(query.key)
        self.require(not (waited and had), "waited for longer than 1.8 s while something was at hand")

    def _told_of(self, client, said, asked, *, at_once):
        """An answer of an exchange."""
        key = client.query.key
        self.require(asked.key == key and asked.what in GOOD, "the answer to another question, or a failure")
        self.require(self.local.instead(client.query.name) is None, "what is withheld")
        if asked is self.landing:
            self.require(asked.overtaken is None or client.order < asked.overtaken, "joined after it was overtaken")
            self.require(said.ttl == (min(asked.ttl, DETOUR_TTL) if asked.detour else asked.ttl), "another TTL")
            self.require(client.in_detour or not asked.detour, "a detour that was not set")
            return
        self.require(self.kept.get(key) is asked, "something that may not be kept")
        age, stale = self.now - asked.landed, 3 in said.codes or 19 in said.codes
        if age < asked.ttl:
            self.require(said.ttl == (30 if stale else asked.ttl - int(age)) or not key[-1] & 2, "another TTL")
            return
        self.require(self.fallback(key) is asked and said.ttl == 30, "beyond its bounds")
        self.require(stale or not key[-1] & 2, "old, and does not say so")
        self.require(not at_once or self.now <= self.trouble_at(asked) + HOLD + DUST, "old, and no reason")

    def trouble_at(self, kept):
        """When it was last seen that nothing better than this is to be had."""
        flying = [asked.at for asked in self.flying if asked.key == kept.key and not asked.detour]
        overdue = [at + CLIENT for at in flying if self.now >= at + CLIENT - DUST]
        return max((at for at in [*overdue, *self.trouble[kept.key]] if at >= kept.landed), default=-1e9)

    def require(self, right, what):
        """What goes wrong within a reply the resolver would count as the client's fault."""
        if not right:
            self.wrong.append((self.now, what))
            raise AssertionError(what)
